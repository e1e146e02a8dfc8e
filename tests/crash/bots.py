"""Real alertbot processes that faults befall, a sender that does not give up, and how to see that all is told."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import aiohttp

SERVE: Final = (sys.executable, "-m", "alertbot", "serve")

CONFIG: Final = """
global:
  slack_bot_token: xoxb-stand-in
  slack_api_url: {slack}/api/
  pagerduty_url: {pagerduty}/
  limits: {{slack_posts_per_second: {posts}, slack_updates_per_minute: {updates}, pagerduty_per_minute: {events}}}
web: {{listen: '127.0.0.1:{port}'}}
store: {store}
storms: {{cards: {cards}, every: 500ms, quiet: 3s}}
route: {{receiver: ops, group_by: [alertname, instance], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}
receivers:
  - name: ops
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#ops-alerts'}}]
"""


class Bot:
    """`alertbot serve` in a process of its own, on a port that stays the same over its deaths."""

    def __init__(self, config: Path, port: int, *, command: Sequence[str] = SERVE) -> None:
        self.config = config
        self.command = command
        self.url = f"http://127.0.0.1:{port}"
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        command = [*self.command, "--config", str(self.config)]
        log = (self.config.parent / "log").open("ab")
        self.process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
        log.close()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    async def kill(self) -> None:
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.kill(self.process.pid, signal.SIGKILL)
            await self.process.wait()


async def send(
    session: aiohttp.ClientSession, bots: Sequence[Bot], chance: random.Random, content: bytes
) -> Counter[int]:
    """To any of them until one takes it, as through a balancer. What was answered how often; 0: nothing was."""
    answers: Counter[int] = Counter()
    while not answers[200]:
        status = 0
        with suppress(aiohttp.ClientError, TimeoutError):
            url = chance.choice(bots).url
            async with session.post(f"{url}/webhooks/alertmanager", data=content) as answer:
                status = answer.status
        assert status in (0, 200, 503), status
        answers[status] += 1
        if status != 200:
            await asyncio.sleep(0.1)
    return answers


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
