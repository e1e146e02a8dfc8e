"""`python -m bench.storm`: a storm through alertbot, and through Alertmanager's own Slack and PagerDuty receivers.

So many distinct alerts, each a group of its own, are posted to a real Alertmanager: to one that tells alertbot, or to
one that tells Slack and PagerDuty itself. A tenth is critical, two tenths are high, the rest medium. Critical and high
ones go to PagerDuty (one key) and to a Slack channel for each severity, the rest to a third channel. No group waits to
fill. All resolve once all is told, or once a third of the time is over.

    limited   the providers' real limits, by the stand-ins of the tests: see tests/standins
    instant   providers that take everything at once

A critical alert counts as paged when an open PagerDuty page names it: its own, or a storm's page that lists it. The
last state of an alert can be seen in Slack when the newest message that names it says that it is over, or when a
storm's board, which counts many and links to all of them, does not count it as open any more. All processes share this
machine's processors, the stand-ins too.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import sqlite3
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from bench.storm_servers import (
    ALONE,
    BEARER,
    BEFORE_BOT,
    INTERVAL,
    KEY,
    Process,
    alertmanager,
    alertmanager_path,
    bot,
    sink,
)
from bench.storm_sinks import names

SIZES: Final = (100, 1_000, 10_000)
VARIANTS: Final = ("limited", "instant")
THROUGH: Final = ("alertbot", "Alertmanager alone")
BATCH: Final = 500
#: Nothing comes any more when for so long nothing came: everything is repeated once a group interval at least.
QUIET: Final = INTERVAL + 2


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert of the storm."""

    number: int

    @property
    def name(self) -> str:
        """As `bench.storm_sinks.NAME` finds it."""
        return f"Storm{self.number:05d}"

    @property
    def severity(self) -> str:
        """The word in its label."""
        return "critical" if self.number % 10 == 0 else "high" if self.number % 10 < 3 else "warning"

    def form(self, starts: datetime, ends: datetime) -> dict[str, Any]:
        """As POST /api/v2/alerts takes it."""
        n = self.number
        labels = {
            "alertname": self.name, "severity": self.severity, "environment": "production", "team": f"team-{n % 7}",
            "service": f"service-{n % 20}", "instance": f"10.0.{n // 250}.{n % 250}:9100", "node": f"node-{n % 50}",
        }  # fmt: skip
        annotations = {
            "summary": f"{self.name} on node-{n % 50}: requests fail",
            "description": "More than five in a hundred requests have failed for some minutes; see the dashboard.",
        }
        times = {"startsAt": starts.isoformat(), "endsAt": ends.isoformat()}
        return {"labels": labels, "annotations": annotations, **times, "generatorURL": "http://prometheus/graph?g0=1"}


@dataclass(frozen=True, slots=True)
class Run:
    """What became of one storm. Seconds count from the first alert's POST to Alertmanager; NaN: it never came to it."""

    first_page: float
    last_page: float
    since_door: float
    """The longest that a critical alert took to a page since its webhook was at alertbot's door."""
    paged: float
    """Critical alerts that were on an open page before they resolved."""
    told: float
    """When every alert was named or counted in Slack, and the critical and high ones on a page too."""
    posts: float
    """Messages that a channel shows as new; replies in threads are not among them."""
    posts_in_a_second: float
    """The most that one channel saw within a second."""
    edits: float
    limited: float
    """Calls that were answered 429."""
    stale: float
    """Alerts that Slack shows as firing in the end, when all have resolved."""
    unseen: float
    """Alerts that Slack never showed, neither by name nor counted by a board."""
    pages: float
    """Pages opened: people called."""
    open_pages: float
    """Pages still open in the end."""
    rss: float
    cpu: float
    before_rss: float
    """Of the Alertmanager before alertbot; else 0."""
    before_cpu: float


class Provider:
    """A sink of ours, asked how far it is."""

    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{process.port}/_standin"
        self._session = session
        self.port = process.port

    async def get(self, what: str) -> dict[str, Any]:
        """Its `progress` or `record`: see `bench.storm_sinks`."""
        async with self._session.get(f"{self._base}/{what}") as response:
            found: dict[str, Any] = await response.json()
            return found


async def post(session: aiohttp.ClientSession, port: int, alerts: Sequence[Alert], *, starts: datetime) -> None:
    """All of them in batches: firing, or with `starts` in the past resolved by now."""
    now = datetime.now(UTC)
    resolved = starts < now - timedelta(seconds=1)
    ends = now if resolved else now + timedelta(hours=1)
    for at in range(0, len(alerts), BATCH):
        body = [alert.form(starts, ends) for alert in alerts[at : at + BATCH]]
        async with session.post(f"http://127.0.0.1:{port}/api/v2/alerts", json=body) as response:
            assert response.status == 200, await response.text()


@dataclass(frozen=True, slots=True)
class Storm:
    """One storm of `size` alerts against fresh servers, in `bound` seconds at most."""

    variant: str
    size: int
    through: str
    bound: float

    async def run(self) -> Run:
        """Fires, waits, resolves, waits, counts."""
        timeout = aiohttp.ClientTimeout(total=300)
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            slack, pagerduty = [
                Provider(await stack.enter_async_context(sink(kind, instant=self.variant == "instant")), session)
                for kind in ("slack", "pagerduty")
            ]
            front, ours, store = await stack.enter_async_context(self._servers(slack.port, pagerduty.port))
            measured = ours or front
            alerts = [Alert(n) for n in range(self.size)]
            starts = datetime.now(UTC)
            begun, cpu = time.time(), measured.cpu()
            await post(session, front.port, alerts, starts=starts)
            told = await self._told(slack, pagerduty, begun + self.bound / 3)
            # Alertmanager takes an alert that ends where it starts for one that never was.
            await asyncio.sleep(max(0.0, begun + 1.5 - time.time()))
            resolved = time.time()
            await post(session, front.port, alerts, starts=starts)
            await self._settled(slack, pagerduty, begun + self.bound)
            chat, calls = await slack.get("record"), await pagerduty.get("record")
            paged = {a.name: at for a in alerts if a.severity == "critical"
                     and (at := calls["paged"].get(a.name, resolved)) < resolved}  # fmt: skip
            door = at_the_door(store) if store else {}
            return Run(
                first_page=min(paged.values(), default=math.nan) - begun,
                last_page=max(paged.values(), default=math.nan) - begun,
                since_door=max((at - door[name] for name, at in paged.items() if name in door), default=math.nan),
                paged=len(paged),
                told=told - begun,
                posts=len(chat["posts"]),
                posts_in_a_second=densest(chat["posts"]),
                edits=chat["edits"],
                limited=chat["limited"] + calls["limited"],
                stale=chat["firing"],
                unseen=max(self.size - chat["settled"] - chat["firing"], 0),
                pages=calls["opened"],
                open_pages=calls["open"],
                rss=measured.peak(),
                cpu=measured.cpu() - cpu,
                before_rss=front.peak() if ours else 0.0,
                before_cpu=front.cpu() if ours else 0.0,
            )

    @contextlib.asynccontextmanager
    async def _servers(self, slack: int, pagerduty: int) -> AsyncIterator[tuple[Process, Process | None, Path | None]]:
        """The Alertmanager that takes the alerts; alertbot behind it and its store, if it is there."""
        if self.through != "alertbot":
            config = ALONE.format(slack=slack, pagerduty=pagerduty, key=KEY, bearer=BEARER)
            async with alertmanager(config) as alone:
                yield alone, None, None
            return
        async with (
            bot(slack=slack, pagerduty=pagerduty, instant=self.variant == "instant") as (ours, store),
            alertmanager(BEFORE_BOT.format(bot=ours.port)) as front,
        ):
            yield front, ours, store

    async def _told(self, slack: Provider, pagerduty: Provider, deadline: float) -> float:
        """Waits until every alert is named or counted in Slack, and the urgent ones on pages. NaN if that never is."""
        urgent = sum(Alert(n).severity != "warning" for n in range(self.size))
        begun = time.time()
        while (now := time.time()) < deadline:
            chat, calls = await slack.get("progress"), await pagerduty.get("progress")
            if chat["told"] >= self.size and calls["paged"] >= urgent:
                return now
            if now - max(begun, chat["last"], calls["last"]) > QUIET:
                break
            await asyncio.sleep(0.1)
        return math.nan

    async def _settled(self, slack: Provider, pagerduty: Provider, deadline: float) -> None:
        """Waits until all is seen to be over, or nothing comes any more, or time is up."""
        begun = time.time()
        while (now := time.time()) < deadline:
            chat, calls = await slack.get("progress"), await pagerduty.get("progress")
            over = chat["settled"] >= self.size and not calls["open"]
            if over or now - max(begun, chat["last"], calls["last"]) > QUIET:
                return
            await asyncio.sleep(0.25)


def at_the_door(store: Path) -> dict[str, float]:
    """When the first webhook of each alert was at alertbot's door, from its own record."""
    with contextlib.closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as c:
        rows = c.execute("SELECT at, body FROM events WHERE source = 'alertmanager' ORDER BY seq DESC").fetchall()
    return {name: at / 1e6 for at, body in rows for name in names(body.decode())}


def densest(posts: Sequence[tuple[float, str]]) -> int:
    """The most posts of one channel within any second."""
    most = 0
    by_channel: dict[str, list[float]] = {}
    for at, channel in sorted(posts):
        recent = by_channel.setdefault(channel, [])
        recent.append(at)
        while recent[0] <= at - 1:
            recent.pop(0)
        most = max(most, len(recent))
    return most


def median(runs: Sequence[Run]) -> Run:
    """Field by field."""
    return Run(*(statistics.median(values) for values in zip(*(astuple(run) for run in runs), strict=True)))


HEADER: Final = (
    "| providers | alerts | through | first critical page | last | after its webhook | criticals paged | all told"
    " | messages in Slack | a second and channel, at most | edits | answered 429 | firing in Slack | never in Slack"
    " | pages opened | left open | MiB | CPU s |"
)
NOTES: Final = """
Seconds from the first alert's POST to Alertmanager; "after its webhook" is the longest that a critical alert took from
alertbot's door to an open page. MiB and CPU are alertbot's own, and (+) those of the Alertmanager before it."""


def row(storm: Storm, run: Run) -> str:
    """One line of the table."""

    def seconds(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.2f} s"

    def beside(ours: float, before: float, digits: int) -> str:
        return f"{ours:,.{digits}f}" + (f" (+{before:,.{digits}f})" if storm.through == "alertbot" else "")

    posted = (run.posts, run.posts_in_a_second, run.edits, run.limited, run.stale, run.unseen)
    counts = (*posted, run.pages, run.open_pages)
    cells = [
        storm.variant, f"{storm.size:,}", storm.through, seconds(run.first_page), seconds(run.last_page),
        seconds(run.since_door), f"{run.paged:,.0f} of {storm.size // 10:,}", seconds(run.told),
        *(f"{n:,.0f}" for n in counts), beside(run.rss, run.before_rss, 0), beside(run.cpu, run.before_cpu, 1),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(found: dict[Storm, list[Run]]) -> str:
    """In Markdown, what is compared one below the other."""
    rule = "|---" * 3 + "|---:" * (HEADER.count("|") - 4) + "|"
    return "\n".join([HEADER, rule, *(row(storm, median(runs)) for storm, runs in found.items()), NOTES])


async def run(args: argparse.Namespace) -> None:
    """All storms in turns: of what is compared, no one has the quieter machine."""
    found: dict[Storm, list[Run]] = {}
    for variant in args.variant:
        for size in args.sizes:
            storms = [Storm(variant, size, through, args.bound) for through in args.through]
            for turn in range(args.runs):
                for storm in storms if turn % 2 == 0 else reversed(storms):
                    outcome = await storm.run()
                    print(row(storm, outcome), file=sys.stderr, flush=True)
                    found.setdefault(storm, []).append(outcome)
    print(table(found))
    if args.json:
        rows = [{**asdict(storm), "runs": [asdict(run) for run in runs]} for storm, runs in found.items()]
        args.json.write_text(json.dumps(rows, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.storm")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="how many alerts")
    parser.add_argument("--runs", type=int, default=1, help="of each; the table has the medians")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--through", nargs="+", choices=THROUGH, default=THROUGH)
    parser.add_argument("--bound", type=float, default=120.0, help="seconds that one run takes at most")
    parser.add_argument("--json", type=Path, help="where all figures go")
    given = parser.parse_args()
    if alertmanager_path() is None:
        parser.error("Alertmanager is not installed (Debian: prometheus-alertmanager)")
    uvloop.run(run(given))


if __name__ == "__main__":
    main()
