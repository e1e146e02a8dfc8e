"""A storm with everything going wrong: the bot is killed again and again, Slack says 429, PagerDuty fails and hangs."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import aiohttp

from alertbot.domain.fingerprint import fingerprint
from tests.crash.bots import CONFIG, Bot, all_incidents, ask, kind, of, send, until_settled
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.slack import SlackStandin

INCIDENTS: Final = 300
CRITICAL: Final = 60
#: On Redis fewer: what each leaves there waits for 15 s of the wall clock.
KILLS: Final = {"sqlite": 20, "redis": 8}
#: The providers' rates, all raised by the same factor: the storm is as long as it is by their own, and the test is not.
FASTER: Final = 10
#: PagerDuty's a minute, so few that it has a storm too.
EVENTS: Final = 240
PATIENCE: Final = 150.0


def body(n: int, start: datetime, end: datetime | None = None) -> bytes:
    severity = "critical" if n < CRITICAL else "high"
    labels = {"alertname": "HostDown", "severity": severity, "instance": f"h{n}", "service": f"s{n % 3}"}
    alert = {
        "status": "resolved" if end else "firing",
        "labels": labels,
        "annotations": {},
        "startsAt": start.isoformat(),
        "endsAt": end.isoformat() if end else "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint(labels),
    }
    return json.dumps({"version": "4", "alerts": [alert]}).encode()


async def test_a_storm_with_many_kills_and_both_providers_failing_loses_nothing_and_doubles_nothing(
    tmp_path: Path, unused_tcp_port: int, new_store: Callable[[], str]
) -> None:
    chance = random.Random(20)
    store = new_store()
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(
            SlackStandin(posts_per_second=FASTER, post_burst=FASTER, tiers={"chat.update": 50 * FASTER})
        )
        pagerduty = await stack.enter_async_context(PagerDutyStandin(per_minute=EVENTS))
        session = await stack.enter_async_context(
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5), connector=aiohttp.TCPConnector(limit=20))
        )
        config = tmp_path / "alertbot.yml"
        config.write_text(
            CONFIG.format(
                cards=10, slack=slack.url, pagerduty=pagerduty.url, posts=FASTER, updates=50 * FASTER, events=EVENTS,
                port=unused_tcp_port, store=f"{{url: '{store}'}}", key=ROUTING_KEY,
            )
        )  # fmt: skip
        bot = Bot(config, unused_tcp_port)
        stack.push_async_callback(bot.kill)
        await bot.start()

        async def kill_again_and_again() -> None:
            for _ in range(KILLS[store.partition(":")[0]]):
                await ask(session, f"{bot.url}/api/v1/incidents?limit=1")
                await asyncio.sleep(chance.uniform(0.0, 1.0))
                await bot.kill()
                await bot.start()

        async def spoil() -> None:
            limited = {"ok": False, "error": "ratelimited"}
            slack.faults.add("answer", "*", status=429, headers={"Retry-After": "1"}, body=limited, times=40)
            pagerduty.faults.add("answer", status=503, times=None)
            await asyncio.sleep(8)
            pagerduty.faults.clear()
            pagerduty.faults.add("done_close", times=5)
            slack.faults.add("done_close", "chat.postMessage", times=3)
            pagerduty.faults.add("hang", times=2, seconds=3)

        start = datetime.now(UTC)
        async with asyncio.timeout(PATIENCE):
            fires = [send(session, [bot], chance, body(n, start)) for n in range(INCIDENTS)]
            await asyncio.gather(kill_again_and_again(), spoil(), *fires)
            # On Redis what a killed one took is decided once it counts as dead: what ends before that is never told.
            while len(await all_incidents(session, bot.url)) < INCIDENTS:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.5)
            end = datetime.now(UTC)
            # Half goes, and the rest stays until the storm is over and has cards of its own; then that goes too.
            await asyncio.gather(*(send(session, [bot], chance, body(n, start, end)) for n in range(5, INCIDENTS)))
            await until_settled(session, bot.url, 5)
            await asyncio.gather(*(send(session, [bot], chance, body(n, start, end)) for n in range(5)))
            await until_settled(session, bot.url, 0)

        incidents = await all_incidents(session, bot.url)
        assert Counter(i["status"] for i in incidents) == {"resolved": INCIDENTS}
        assert pagerduty.open() == [], "nobody is called for what is over"
        assert all(n == 1 for n in Counter(page.dedup_key for page in pagerduty.pages).values()), "no page twice"
        cards = [m for m in slack.messages("#ops-alerts") if kind(m) == "card"]
        assert all(n == 1 for n in Counter(of(m) for m in cards).values()), "no card twice"
        assert [m["text"] for m in cards if "resolved" not in m["text"]] == [], "each shows how it ended"
        known = {page.dedup_key for page in pagerduty.pages}
        told = [i for i in incidents if {d["status"] for d in i["deliveries"]} & {"pending", "retrying", "parked"}]
        assert told == []
        assert len(known) >= 2
