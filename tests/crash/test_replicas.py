"""Two replicas on one Redis: they are killed, and one is stopped for longer than it counts as alive and goes on."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp
import pytest

from alertbot.domain.breakers import BREAKS_AFTER
from alertbot.store.redis import LIVES
from tests.crash.bots import CONFIG, Bot, all_incidents, ask, kind, of, send, until_settled
from tests.crash.test_storm import body
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.redis_servers import RedisServer
from tests.standins.slack import SlackStandin

INCIDENTS: Final = 120
KILLS: Final = 6
PATIENCE: Final = 180.0
#: So many a second that the storm is as long as the faults are.
RATE: Final = 20


@pytest.mark.parametrize("fault", ["kills", "a pause", "redis is killed"])
async def test_of_two_replicas_whatever_happens_to_one_nothing_is_lost_and_nothing_told_twice(
    tmp_path: Path, real_server: Callable[[str], Path], unused_tcp_port_factory: Callable[[], int], fault: str
) -> None:
    chance = random.Random(7)
    redis = RedisServer(
        real_server("redis-server"), tmp_path / "redis", appendonly="yes", appendfsync="always", save='""'
    ).start()
    async with AsyncExitStack() as stack:
        stack.callback(redis.stop)
        slack = await stack.enter_async_context(
            SlackStandin(posts_per_second=RATE, post_burst=RATE, tiers={"chat.update": 5000})
        )
        pagerduty = await stack.enter_async_context(PagerDutyStandin(per_minute=5000))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3), connector=aiohttp.TCPConnector(limit=20))
        )
        bots = []
        for n in range(2):
            port = unused_tcp_port_factory()
            folder = tmp_path / str(n)
            folder.mkdir()
            (folder / "alertbot.yml").write_text(
                CONFIG.format(
                    cards=10, slack=slack.url, pagerduty=pagerduty.url, posts=RATE, updates=5000, events=5000,
                    port=port, store=f"{{url: '{redis.url}'}}", key=ROUTING_KEY,
                )
            )  # fmt: skip
            bots.append(Bot(folder / "alertbot.yml", port))
            stack.push_async_callback(bots[-1].kill)
            await bots[-1].start()

        async def kills() -> None:
            for n in range(KILLS):
                bot = bots[n % 2]
                await ask(session, f"{bot.url}/api/v1/incidents?limit=1")
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await bot.kill()
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await bot.start()

        async def a_pause() -> None:
            await asyncio.sleep(2)
            bots[0].signal(signal.SIGSTOP)
            await asyncio.sleep(LIVES.total_seconds() + 5)  # another process's time cannot be moved
            bots[0].signal(signal.SIGCONT)

        async def redis_is_killed() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                redis.stop()
                await asyncio.sleep(0.5)
                redis.start()

        faults = {"kills": kills, "a pause": a_pause, "redis is killed": redis_is_killed}
        start = datetime.now(UTC)
        async with asyncio.timeout(PATIENCE):
            for bot in bots:
                await ask(session, f"{bot.url}/api/v1/incidents?limit=1")

            async def storm() -> None:
                for n in range(INCIDENTS):
                    await send(session, bots, chance, body(n, start))
                    await asyncio.sleep(0.05)

            await asyncio.gather(faults[fault](), storm())
            # What a dead replica took is decided once it counts as dead: what ends before that is never told.
            while len(await all_incidents(session, bots[1].url)) < INCIDENTS:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.5)
            end = datetime.now(UTC)
            await asyncio.gather(*(send(session, bots, chance, body(n, start, end)) for n in range(INCIDENTS)))
            await until_settled(session, bots[1].url, 0)

        incidents = await all_incidents(session, bots[0].url)
        assert Counter(i["status"] for i in incidents) == {"resolved": INCIDENTS}
        assert pagerduty.open() == []
        assert set(Counter(page.dedup_key for page in pagerduty.pages).values()) == {1}, "no page twice"
        cards = [m for m in slack.messages("#ops-alerts") if kind(m) == "card"]
        assert set(Counter(of(m) for m in cards).values()) == {1}, "no card twice"
        assert [m["text"] for m in cards if "resolved" not in m["text"]] == [], "each shows how it ended"
        for bot in bots:
            log = (bot.config.parent / "log").read_text().splitlines()
            assert [line for line in log if "Traceback" in line] == []


async def test_two_replicas_ask_a_dead_slack_no_more_often_than_one_and_both_show_it_and_both_go_on(
    tmp_path: Path, real_server: Callable[[str], Path], unused_tcp_port_factory: Callable[[], int]
) -> None:
    redis = RedisServer(real_server("redis-server"), tmp_path / "redis", save='""').start()
    async with AsyncExitStack() as stack:
        stack.callback(redis.stop)
        slack = await stack.enter_async_context(SlackStandin(posts_per_second=RATE, post_burst=RATE))
        pagerduty = await stack.enter_async_context(PagerDutyStandin(per_minute=5000))
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=3)))
        bots = []
        for n in range(3):
            folder = tmp_path / str(n)
            folder.mkdir()
            port = unused_tcp_port_factory()
            (folder / "alertbot.yml").write_text(
                CONFIG.format(
                    cards=50, slack=slack.url, pagerduty=pagerduty.url, posts=RATE, updates=5000, events=5000,
                    port=port, store=f"{{url: '{redis.url}'}}", key=ROUTING_KEY,
                )
            )  # fmt: skip
            bots.append(Bot(folder / "alertbot.yml", port))
            stack.push_async_callback(bots[-1].kill)
        two, late = bots[:2], bots[2]
        for bot in two:
            await bot.start()
        for bot in two:
            await ask(session, f"{bot.url}/api/v1/incidents?limit=1")

        async def broken(bot: Bot) -> bool:
            async with session.get(f"{bot.url}/metrics") as answer:
                return 'alertbot_destinations_broken{integration="slack"} 1.0' in await answer.text()

        async def until_all(bots: Sequence[Bot], *, are_broken: bool) -> None:
            while [await broken(bot) for bot in bots] != [are_broken] * len(bots):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.1)

        slack.faults.add("answer", "*", status=503, times=None)
        start, chance = datetime.now(UTC), random.Random(7)
        async with asyncio.timeout(PATIENCE):
            for n in range(20):
                await send(session, two, chance, body(n, start))
            await until_all(two, are_broken=True)
            await late.start()
            await ask(session, f"{late.url}/api/v1/incidents?limit=1")
            for n in range(20, 30):
                await send(session, bots, chance, body(n, start))
            await until_all(bots, are_broken=True)
            await asyncio.sleep(15)  # another process's time cannot be moved
            asked = [call.at for call in slack.requests]
            slack.faults.clear()
            await until_all(bots, are_broken=False)
            while sum(kind(m) == "card" for m in slack.messages("#ops-alerts")) < 30:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.1)
        # One bot's: five failures, then a try after each pause (the shortest that it can be). One attempt more may have
        # been under way at the other replica.
        pauses, span = [1.5, 3.0, 6.0, 11.25], max(asked) - min(asked)
        probes = 0
        while span >= 0:
            span -= pauses[min(probes, len(pauses) - 1)]
            probes += 1
        assert len(asked) <= BREAKS_AFTER + 1 + probes
        cards = [m for m in slack.messages("#ops-alerts") if kind(m) == "card"]
        assert set(Counter(of(m) for m in cards).values()) == {1}, "no card twice"
