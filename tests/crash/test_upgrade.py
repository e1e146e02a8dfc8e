"""This version and the next one on one Redis: rolled out replica by replica, and where that cannot be."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.crash.bots import CONFIG, SERVE, Bot, all_incidents, ask, kind, of, send, until_settled
from tests.crash.test_storm import body
from tests.crash.versions import NUMBER, REASON, TITLE, VERSION, next_version
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.redis_servers import RedisServer
from tests.standins.slack import SlackStandin

PATIENCE: Final = 300.0
RATE: Final = 20


class Replicas:
    """Two bots on one Redis, and the providers."""

    def __init__(self, redis: RedisServer, slack: SlackStandin, pagerduty: PagerDutyStandin) -> None:
        self.redis = redis
        self.slack = slack
        self.pagerduty = pagerduty
        self.bots: list[Bot] = []
        self.start = datetime.now(UTC)
        self.answers: Counter[int] = Counter()
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))
        self._chance = random.Random(11)

    async def ready(self) -> Sequence[Bot]:
        for bot in self.bots:
            await self.until_ready(bot)
        return self.bots

    async def replace(self, bot: Bot, command: tuple[str, ...]) -> None:
        """As an orchestrator does: asked to end, started anew, and left alone until it is ready."""
        await self.stop(bot)
        bot.command = command
        await bot.start()
        await self.until_ready(bot)

    async def stop(self, bot: Bot) -> None:
        bot.signal(signal.SIGTERM)
        assert await self.ended(bot) == 0

    async def ended(self, bot: Bot) -> int:
        """Its exit code."""
        assert bot.process is not None
        return await bot.process.wait()

    async def until_ready(self, bot: Bot) -> None:
        while True:
            with suppress(aiohttp.ClientError, TimeoutError):
                async with self.session.get(f"{bot.url}/-/ready") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.1)

    async def fires(self, *numbers: int, to: Bot | None = None) -> None:
        for n in numbers:
            self.answers += await send(self.session, [to] if to else self.bots, self._chance, body(n, self.start))

    async def resolves(self, *numbers: int, to: Bot | None = None) -> None:
        for n in numbers:
            content = body(n, self.start, datetime.now(UTC))
            self.answers += await send(self.session, [to] if to else self.bots, self._chance, content)

    def documents(self) -> list[str]:
        """The incidents as they stand in Redis."""
        with self.redis.client() as client:
            return [doc.decode() for doc in client.hvals("{alertbot}:incidents")]

    def version(self, bot: Bot) -> str:
        return next(line for line in reversed(self.log(bot)) if " serves on " in line).split()[1]

    def log(self, bot: Bot) -> list[str]:
        return (bot.config.parent / "log").read_text().splitlines()

    async def told(self, bot: Bot, incidents: int) -> None:
        """Every incident is over, was told once at each destination, and shows how it ended."""
        await until_settled(self.session, bot.url, 0)
        found = await all_incidents(self.session, bot.url)
        assert Counter(i["status"] for i in found) == {"resolved": incidents}
        assert self.pagerduty.open() == []
        pages = Counter(page.dedup_key for page in self.pagerduty.pages)
        assert (len(pages), set(pages.values())) == (incidents, {1}), "no page twice"
        cards = [m for m in self.slack.messages("#ops-alerts") if kind(m) == "card"]
        assert set(Counter(of(m) for m in cards).values()) == {1}, "no card twice"
        assert [m["text"] for m in cards if "resolved" not in m["text"]] == []


@pytest.fixture
async def replicas(
    tmp_path: Path, real_server: Callable[[str], Path], unused_tcp_port_factory: Callable[[], int]
) -> AsyncIterator[Replicas]:
    """Two of this version, started."""
    redis = RedisServer(
        real_server("redis-server"), tmp_path / "redis", appendonly="yes", appendfsync="always", save='""'
    ).start()
    async with AsyncExitStack() as stack:
        stack.callback(redis.stop)
        slack = await stack.enter_async_context(
            SlackStandin(posts_per_second=RATE, post_burst=RATE, tiers={"chat.update": 5000})
        )
        pagerduty = await stack.enter_async_context(PagerDutyStandin(per_minute=5000))
        made = Replicas(redis, slack, pagerduty)
        stack.push_async_callback(made.session.close)
        for name in ("one", "two"):
            port = unused_tcp_port_factory()
            config = tmp_path / name / "alertbot.yml"
            config.parent.mkdir()
            config.write_text(
                CONFIG.format(
                    cards=100, slack=slack.url, pagerduty=pagerduty.url, posts=RATE, updates=5000, events=5000,
                    port=port, store=f"{{url: '{redis.url}'}}", key=ROUTING_KEY,
                )
            )  # fmt: skip
            made.bots.append(Bot(config, port))
            stack.push_async_callback(made.bots[-1].kill)
            await made.bots[-1].start()
        yield made


async def test_a_version_is_rolled_out_and_back_under_load_and_nothing_is_lost_doubled_or_refused(
    replicas: Replicas, tmp_path: Path
) -> None:
    async with asyncio.timeout(PATIENCE):
        await roll_out_and_back(replicas, next_version(tmp_path / "next"))


async def roll_out_and_back(replicas: Replicas, newer: tuple[str, ...]) -> None:
    one, two = await replicas.ready()
    sent = 0
    rolling = True

    async def load() -> None:
        """What fires is heard of again, and the earlier half resolves, through whichever replica is there."""
        nonlocal sent
        while rolling:
            await replicas.fires(sent, sent // 2)
            if sent % 2:
                await replicas.resolves(sent // 2)
            sent += 1
            await asyncio.sleep(0.2)

    loading = asyncio.create_task(load())
    await replicas.replace(one, newer)
    assert (replicas.version(one), replicas.version(two)) != (VERSION, VERSION)
    await replicas.fires(1000, to=one)
    await until_open(replicas, one, "h1000")
    assert any('"seen_by"' in doc for doc in replicas.documents()), "the next version keeps more than this one knows"
    reasons = await timeline(replicas, two, "h1000")
    assert REASON in reasons, "a reason that only the next version has is shown by this one"
    await replicas.resolves(1000, to=two)
    await replicas.replace(two, newer)
    await replicas.replace(one, SERVE)  # back again
    await replicas.replace(one, newer)
    rolling = False
    await loading
    await replicas.resolves(*range(sent))
    await replicas.told(two, sent + 1)
    assert replicas.answers[503] == 0, "no sender was refused"
    for bot in replicas.bots:
        assert replicas.version(bot) == VERSION
        assert [line for line in replicas.log(bot) if "Traceback" in line or '"level": "error"' in line] == []


async def test_a_version_with_another_schema_is_refused_until_it_is_alone_and_then_goes_on_with_what_is_there(
    replicas: Replicas, tmp_path: Path
) -> None:
    async with asyncio.timeout(PATIENCE):
        await stop_and_start_anew(replicas, next_version(tmp_path / "next", schema=True))


async def stop_and_start_anew(replicas: Replicas, newer: tuple[str, ...]) -> None:
    one, two = await replicas.ready()
    await replicas.fires(*range(10))
    await until_open(replicas, two, "h9")

    # A rolling upgrade: the new one is refused, and the old ones go on.
    await replicas.stop(one)
    one.command = newer
    await one.start()
    assert await replicas.ended(one) == 2
    assert "replicas of an older alertbot work on it (1): stop them all" in replicas.log(one)[-1]
    await replicas.fires(10, to=two)

    # As docs/running.md says: all are stopped, the new ones are started.
    await replicas.stop(two)
    two.command = newer
    await one.start()
    await two.start()
    await replicas.ready()
    documents = replicas.documents()
    assert len(documents) == 11
    assert all(TITLE in doc for doc in documents)
    await replicas.fires(11)
    await replicas.resolves(*range(12))
    await replicas.told(one, 12)

    # There is no way back with the same store.
    await replicas.stop(two)
    two.command = SERVE
    await two.start()
    assert await replicas.ended(two) == 2
    assert f"was written by a newer alertbot (schema {NUMBER}" in replicas.log(two)[-1]


async def incident_of(replicas: Replicas, bot: Bot, instance: str) -> dict[str, Any] | None:
    found = await all_incidents(replicas.session, bot.url)
    return next((i for i in found if i["labels"]["instance"] == instance), None)


async def until_open(replicas: Replicas, bot: Bot, instance: str) -> None:
    while (found := await incident_of(replicas, bot, instance)) is None or found["status"] != "open":  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.1)


async def timeline(replicas: Replicas, bot: Bot, instance: str) -> list[str]:
    found = await incident_of(replicas, bot, instance)
    assert found is not None
    page = await ask(replicas.session, f"{bot.url}/api/v1/incidents/{found['id']}/timeline")
    return [entry["reason"] for entry in page["entries"]]
