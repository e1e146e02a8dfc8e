"""A storm with everything going wrong: the bot is killed again and again, Slack says 429, PagerDuty fails and hangs."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp

from alertbot.domain.fingerprint import fingerprint
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.slack import SlackStandin

INCIDENTS: Final = 300
CRITICAL: Final = 60
KILLS: Final = 20
#: The providers' rates, all raised by the same factor: the storm is as long as it is by their own, and the test is not.
FASTER: Final = 10
#: PagerDuty's a minute, so few that it has a storm too.
EVENTS: Final = 240
PATIENCE: Final = 150.0

CONFIG: Final = """
global:
  slack_bot_token: xoxb-stand-in
  slack_api_url: {slack}/api/
  pagerduty_url: {pagerduty}/
  limits: {{slack_posts_per_second: {posts}, slack_updates_per_minute: {updates}, pagerduty_per_minute: {events}}}
web: {{listen: '127.0.0.1:{port}'}}
store: {{url: '{store}'}}
storms: {{cards: 10, every: 500ms, quiet: 3s}}
route: {{receiver: ops, group_by: [alertname, instance], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}
receivers:
  - name: ops
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#ops-alerts'}}]
"""


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


class Bot:
    """`alertbot serve` in a process of its own, on a port that stays the same over its deaths."""

    def __init__(self, config: Path, port: int) -> None:
        self.config = config
        self.url = f"http://127.0.0.1:{port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [sys.executable, "-m", "alertbot", "serve", "--config", str(self.config)]
        log = (self.config.parent / "log").open("ab")
        self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        log.close()

    async def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()


async def send(session: aiohttp.ClientSession, url: str, content: bytes) -> None:
    """Until it is taken, as Alertmanager does."""
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.post(f"{url}/webhooks/alertmanager", data=content) as answer:
                if answer.status == 200:
                    return
                assert answer.status == 503
        await asyncio.sleep(0.1)


async def ask(session: aiohttp.ClientSession, url: str) -> dict[str, Any]:
    while True:
        with suppress(aiohttp.ClientError, TimeoutError):
            async with session.get(url) as answer:
                found: dict[str, Any] = await answer.json()
                return found
        await asyncio.sleep(0.1)


async def all_incidents(session: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = await ask(session, f"{url}/api/v1/incidents?limit=500{cursor}")
        found += page["incidents"]
        if page["next"] is None:
            return found
        cursor = f"&cursor={page['next']}"


async def test_a_storm_with_twenty_kills_and_both_providers_failing_loses_nothing_and_doubles_nothing(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    chance = random.Random(20)
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
                slack=slack.url, pagerduty=pagerduty.url, posts=FASTER, updates=50 * FASTER, events=EVENTS,
                port=unused_tcp_port, store=f"sqlite:///{tmp_path / 'alertbot.db'}", key=ROUTING_KEY,
            )
        )  # fmt: skip
        bot = Bot(config, unused_tcp_port)
        stack.push_async_callback(bot.kill)
        await bot.start()

        async def kill_again_and_again() -> None:
            for _ in range(KILLS):
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
            fires = [send(session, bot.url, body(n, start)) for n in range(INCIDENTS)]
            await asyncio.gather(kill_again_and_again(), spoil(), *fires)
            end = datetime.now(UTC)
            # Half goes, and the rest stays until the storm is over and has cards of its own; then that goes too.
            await asyncio.gather(*(send(session, bot.url, body(n, start, end)) for n in range(5, INCIDENTS)))
            await until_settled(session, bot.url, 5)
            await asyncio.gather(*(send(session, bot.url, body(n, start, end)) for n in range(5)))
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


async def until_settled(session: aiohttp.ClientSession, url: str, open_: int) -> None:
    """Waits until so many incidents are open, and all is told: nothing is due, and no storm stands in for anything."""
    while True:
        incidents = await all_incidents(session, url)
        states = {d["status"] for i in incidents for d in i["deliveries"]}
        still = sum(i["status"] == "open" for i in incidents)
        async with session.get(f"{url}/metrics") as answer:
            storms = "alertbot_storms 0.0" in await answer.text()
        if still == open_ and storms and not states & {"pending", "retrying"}:
            return
        await asyncio.sleep(1)


def kind(message: dict[str, Any]) -> str:
    return str(message.get("metadata", {}).get("event_payload", {}).get("kind"))


def of(message: dict[str, Any]) -> str:
    return str(message["metadata"]["event_payload"]["delivery"])
