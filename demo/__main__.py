"""`make demo`: a night with alertbot in half a minute, in real time, on loopback.

A bot of its own, with a store that is thrown away and no credentials, is told of a deploy and of alerts. What is
printed is the bot's own record, as `alertbot explain` tells it; the page shows the same.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from alertbot.client import Client

CONFIG: Final = Path(__file__).with_name("alertbot.yml")
#: Name, severity and summary of what fires; each on so many instances.
NOISE: Final = (
    ("HighLatency", "high", "requests take 2 s", 6),
    ("HighErrorRate", "high", "4 % of requests fail", 4),
    ("PodRestarting", "warning", "restarted twice", 8),
)
OUTAGE: Final = (("PaymentsDown", "critical", "no payment for a minute", 1),)


class Demo:
    """Does what a pipeline, Alertmanager and a person would do, and tells what the bot made of it."""

    def __init__(self, url: str) -> None:
        self._client = Client(url)
        self._began = datetime.now(UTC)
        self._fired: dict[str, datetime] = {}
        self._told: dict[str, int] = {}

    async def play(self) -> None:
        """The whole story."""
        self._say("ana deploys checkout a1b2c3 to prod")
        about = {"service": "checkout", "environment": "prod", "version": "a1b2c3", "author": "ana"}
        more = {"title": "New price rounding", "rollback": "kubectl rollout undo deployment/checkout"}
        deploy = await self._call("api/v1/deploys", {**about, **more, "status": "started"})
        await self._pass(2)
        self._say("it makes noise: 18 alerts in three names. A rule holds what a deploy explains: nobody is paged")
        await self._report(*NOISE)
        await self._pass(4)
        self._say("something critical fires in the middle. The rule leaves critical alerts out: it pages at once")
        await self._report(*OUTAGE)
        await self._pass(3)
        self._say("bob takes it, and mends it")
        (incident,) = await self._open("PaymentsDown")
        await self._call(f"api/v1/incidents/{incident}/acknowledge", {"by": "bob"})
        await self._pass(2)
        await self._report(*OUTAGE, resolved=True)
        self._say("the new pods are warm: two of the three names clear by themselves")
        await self._report(NOISE[0], NOISE[2], resolved=True)
        await self._pass(2)
        self._say("the deploy reports success; it has 8 s to settle")
        await self._call("api/v1/deploys", {"id": deploy["id"], "status": "succeeded"})
        await self._pass(11)
        self._say("the verdict is given, and what still fires is told, with the deploy as its suspect. ana takes it")
        (incident,) = await self._open("HighErrorRate")
        await self._call(f"api/v1/incidents/{incident}/acknowledge", {"by": "ana"})
        await self._pass(2)
        self._say("she rolls back, and it clears")
        await self._report(NOISE[1], resolved=True)
        await self._pass(4)

    async def _report(self, *alerts: tuple[str, str, str, int], resolved: bool = False) -> None:
        """As Alertmanager would: all of it in one body."""
        now = datetime.now(UTC)
        body = [
            {
                "status": "resolved" if resolved else "firing",
                "labels": {
                    "alertname": name, "severity": severity, "service": "checkout", "environment": "prod",
                    "instance": f"checkout-{n}",
                },
                "annotations": {"summary": summary},
                "startsAt": self._fired.setdefault(name, now).isoformat(),
                "endsAt": now.isoformat() if resolved else "0001-01-01T00:00:00Z",
            }
            for name, severity, summary, count in alerts
            for n in range(count)
        ]  # fmt: skip
        await self._call("webhooks/alertmanager", {"version": "4", "groupKey": "{}:{}", "alerts": body})

    async def _call(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return await self._client.call("POST", path, body=body)

    async def _open(self, name: str) -> list[str]:
        """The open incidents of an alert name, by id."""
        found = await self._client.call("GET", "api/v1/incidents", query=[("status", "open")])
        return [i["id"] for i in found["incidents"] if i["labels"]["alertname"] == name]

    async def _pass(self, seconds: int) -> None:
        """Lets time pass, and tells what the bot records meanwhile."""
        for _ in range(seconds):
            await asyncio.sleep(1)
            await self._tell()

    async def _tell(self) -> None:
        """What is new in the record of every incident and deploy, each kind of decision once."""
        incidents = (await self._client.call("GET", "api/v1/incidents"))["incidents"]
        deploys = (await self._client.call("GET", "api/v1/deploys"))["deploys"]
        named = [(i["id"], i["title"]) for i in reversed(incidents)]
        named += [(d["id"], f"deploy {d['service']} {d['version']}") for d in deploys]
        for ident, title in named:
            path = f"api/v1/incidents/{ident}/timeline"
            entries = (await self._client.call("GET", path, query=[("limit", "500")]))["entries"]
            new = entries[self._told.get(ident, 0) :]
            self._told[ident] = len(entries)
            for text in _grouped(entry["text"] for entry in new):
                print(f"             {title}: {text}")

    def _say(self, what: str) -> None:
        print(f"\n{(datetime.now(UTC) - self._began).total_seconds():4.0f} s  ── {what}", flush=True)


def _grouped(texts: Iterable[str]) -> list[str]:
    """Each text once, with how often it came."""
    counted: dict[str, int] = {}
    for text in texts:
        counted[text] = counted.get(text, 0) + 1
    return [f"{text} (x {count})" if count > 1 else text for text, count in counted.items()]


async def main(stay: bool) -> int:
    """Starts a bot, plays, and ends it. 1 where the bot does not start."""
    with tempfile.TemporaryDirectory(prefix="alertbot-demo-") as folder:
        shutil.copy(CONFIG, folder)
        bot = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "alertbot", "serve", "--log-level", "ERROR",
            cwd=folder, stderr=asyncio.subprocess.PIPE, limit=2**20,
        )  # fmt: skip
        try:
            assert bot.stderr is not None
            first = (await bot.stderr.readline()).decode()
            _, found, rest = first.partition("serves on ")
            if not found:
                print(first, end="", file=sys.stderr)
                return 1
            draining = asyncio.create_task(bot.stderr.read())
            url = rest.split(",")[0].strip()
            print(
                f"alertbot serves on {url} : open it, and watch. Nothing has credentials: what would be sent is shown."
            )
            await Demo(url).play()
            if stay:
                print(f"\nIt goes on serving on {url} until Ctrl-C.")
                await bot.wait()
            draining.cancel()
        finally:
            with suppress(ProcessLookupError):
                bot.send_signal(signal.SIGTERM)
            await bot.wait()
    return 0


if __name__ == "__main__":
    options = argparse.ArgumentParser(prog="make demo", description=__doc__)
    options.add_argument("--stay", action="store_true", help="go on serving at the end")
    with suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main(options.parse_args().stay)))
