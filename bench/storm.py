"""`python -m bench.storm`: a storm through alertbot, and through Alertmanager's own Slack and PagerDuty receivers.

So many distinct alerts, each a group of its own, are sent to a real Alertmanager 0.25; a tenth is critical, two tenths
are high, the rest medium. Critical and high ones go to PagerDuty (one key) and to a Slack channel for each severity,
the rest to a third channel. Nothing waits for a group to fill. All resolve once all is told, or once a third of the
time is over.

    limited   the providers' real limits: see tests/standins
    instant   providers that take everything at once

A critical alert counts as paged when an open PagerDuty page names it: its own, or a storm's page that lists it, by the
alert's name or by its incident's id. What Slack shows of an alert in the end is what the last message says that names
it; a board that counts many stands for all of them, and must say in the end that it is over. All processes share this
machine's processors, the stand-ins too. CPU and memory are those of the one process; where that is alertbot, those of
the Alertmanager before it stand beside.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import math
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass, field, fields
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

SIZES: Final = (100, 1_000, 10_000)
VARIANTS: Final = ("limited", "instant")
THROUGH: Final = ("alertbot", "alertmanager")
BATCH: Final = 500
#: From so many alerts on a single run is enough: it takes minutes.
LARGE: Final = 10_000
#: Seconds that a run takes at most.
BOUND: Final = {"limited": 180.0, "instant": 240.0}
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
    """What became of one storm. Seconds count from the first alert's POST; NaN where it never came to it."""

    first_page: float
    last_page: float
    paged: float
    """Criticals that were on an open page before they resolved."""
    told: float
    """When every alert was named or counted in Slack, and the urgent ones on a page too."""
    posts: float
    replies: float
    edits: float
    posts_in_a_second: float
    """The most that one channel saw within a second."""
    limited: float
    """Calls that were answered 429."""
    pages: float
    """Calls that people got: openings at PagerDuty."""
    open_pages: float
    """At the end, when everything has resolved."""
    firing_cards: float
    """Alerts that Slack still shows as firing then."""
    unseen: float
    """Alerts that no message names: at best a board counted them."""
    boards: float
    """Messages that stand for many."""
    open_boards: float
    """Those that do not say in the end that it is over."""
    rss: float
    cpu_told: float
    """From the first alert up to the resolving."""
    cpu: float
    before_rss: float
    """Of the Alertmanager before alertbot; else 0."""
    before_cpu: float
    took: float
    still_open: Sequence[str] = field(default=())
    board_texts: Sequence[str] = field(default=())
    """What the boards said last."""


class Provider:
    """A sink of ours, asked how far it is."""

    def __init__(self, process: Process, session: aiohttp.ClientSession) -> None:
        self._base = f"http://127.0.0.1:{process.port}/_standin"
        self._session = session
        self.port = process.port

    async def progress(self) -> dict[str, Any]:
        """See `bench.storm_sinks`."""
        return await self._get("progress")

    async def record(self) -> dict[str, Any]:
        """See `bench.storm_sinks`."""
        return await self._get("record")

    async def _get(self, what: str) -> dict[str, Any]:
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
    """One storm of `size` alerts against fresh servers."""

    variant: str
    size: int
    through: str
    bound: float

    async def run(self) -> Run:
        """Fires, waits, resolves, waits, counts."""
        timeout = aiohttp.ClientTimeout(total=300)
        async with contextlib.AsyncExitStack() as stack:
            session = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            instant = self.variant == "instant"
            slack, pagerduty = [
                Provider(await stack.enter_async_context(sink(kind, instant=instant)), session)
                for kind in ("slack", "pagerduty")
            ]
            servers = await stack.enter_async_context(self._servers(slack.port, pagerduty.port))
            front, measured = servers[0], servers[-1]
            alerts = [Alert(n) for n in range(self.size)]
            starts = datetime.now(UTC)
            begun, cpu = time.time(), measured.cpu()
            await post(session, front.port, alerts, starts=starts)
            all_told = await self._until(slack, pagerduty, begun + self.bound / 3, ended=False)
            # Alertmanager takes an alert that ends where it starts for one that never was.
            await asyncio.sleep(max(0.0, begun + 1.5 - time.time()))
            resolved, cpu_told = time.time(), measured.cpu() - cpu
            await post(session, front.port, alerts, starts=starts)
            await self._until(slack, pagerduty, begun + self.bound, ended=True)
            usage = (measured.peak(), cpu_told, measured.cpu() - cpu)
            before = (front.peak(), front.cpu()) if front is not measured else (0.0, 0.0)
            took = time.time() - begun
            times = (begun, resolved, took)
            return self._result(await slack.record(), await pagerduty.record(), times, all_told, usage, before)

    @contextlib.asynccontextmanager
    async def _servers(self, slack: int, pagerduty: int) -> AsyncIterator[list[Process]]:
        """The Alertmanager that takes the alerts first, the process to be measured last."""
        if self.through == "alertmanager":
            config = ALONE.format(slack=slack, pagerduty=pagerduty, key=KEY, bearer=BEARER)
            async with alertmanager(config) as alone:
                yield [alone]
            return
        async with (
            bot(slack=slack, pagerduty=pagerduty, instant=self.variant == "instant") as ours,
            alertmanager(BEFORE_BOT.format(bot=ours.port)) as front,
        ):
            yield [front, ours]

    async def _until(self, slack: Provider, pagerduty: Provider, deadline: float, *, ended: bool) -> bool:
        """Until every alert is named (`ended`: and all is closed), or nothing comes any more, or time is up.

        Whether it came to the first.
        """
        begun = time.time()
        urgent = sum(Alert(n).severity != "warning" for n in range(self.size))
        while (now := time.time()) < deadline:
            await asyncio.sleep(0.25)
            chat, calls = await slack.progress(), await pagerduty.progress()
            if ended and calls["open"] == chat["firing"] == chat["boards"] == 0 and chat["told"] >= self.size:
                return True
            if not ended and chat["told"] >= self.size and calls["named"] == urgent:
                return True
            # A board that is open says something once it is over, however quiet it is till then.
            waits = ended and chat["boards"] > 0
            if not waits and now - max(begun, chat["last"], calls["last"]) > QUIET:
                break
        return False

    def _result(
        self,
        slack: dict[str, Any],
        pagerduty: dict[str, Any],
        times: tuple[float, float, float],
        all_told: bool,
        usage: tuple[float, float, float],
        before: tuple[float, float],
    ) -> Run:
        begun, resolved, took = times
        critical = {Alert(n).name for n in range(self.size) if Alert(n).severity == "critical"}
        paged, still_open, pages = on_pages(pagerduty["events"], incidents(slack, pagerduty))
        seconds = sorted(at - begun for name, at in paged.items() if name in critical and at < resolved)
        shown: dict[str, tuple[float, bool]] = {}
        boards = [m for m in slack["messages"] if m["board"]]
        for message in sorted((m for m in slack["messages"] if not m["board"]), key=lambda m: float(m["at"])):
            shown.update((name, (message["at"], message["ended"])) for name in message["names"])
        news = [at for at in (*(at for at, _ in slack["posts"]), *paged.values()) if at < resolved]
        return Run(
            first_page=seconds[0] if seconds else float("nan"),
            last_page=seconds[-1] if seconds else float("nan"),
            paged=len(seconds),
            told=max(news) - begun if all_told else float("nan"),
            posts=len(slack["posts"]),
            replies=slack["replies"],
            edits=slack["edits"],
            posts_in_a_second=densest(slack["posts"]),
            limited=slack["answers"].get("ratelimited", 0) + pagerduty["answers"].get("429", 0),
            pages=pages,
            open_pages=len(still_open),
            firing_cards=sum(not ended for _, ended in shown.values()),
            unseen=self.size - len(shown),
            boards=len(boards),
            open_boards=sum(not m["ended"] for m in boards),
            rss=usage[0],
            cpu_told=usage[1],
            cpu=usage[2],
            before_rss=before[0],
            before_cpu=before[1],
            took=took,
            still_open=still_open[:10],
            board_texts=[m["text"] for m in boards],
        )


def incidents(slack: dict[str, Any], pagerduty: dict[str, Any]) -> dict[str, str]:
    """An incident's id → its alert's name, from the cards and the pages of single alerts."""
    found = {m["incident"]: m["names"][0] for m in slack["messages"] if m["incident"] and len(m["names"]) == 1}
    for _, action, key, mentioned, _ in pagerduty["events"]:
        if action == "trigger" and len(mentioned) == 1:
            found[key.partition(".")[0]] = mentioned[0]
    return found


def on_pages(events: Sequence[Sequence[Any]], known: dict[str, str]) -> tuple[dict[str, float], list[str], int]:
    """When each alert was first on an open page, by its name; the keys still open in the end; how many were opened."""
    paged: dict[str, float] = {}
    still: dict[str, None] = {}
    opened = 0
    for at, action, key, mentioned, words in events:
        if action == "resolve":
            still.pop(key, None)
        elif action == "trigger":
            opened += key not in still
            still[key] = None
            for name in {*mentioned, *(known[word] for word in words if word in known)}:
                paged.setdefault(name, at)
    return paged, list(still), opened


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
    """Field by field; of the words, those of the last run."""
    numbers = {
        f.name: statistics.median(getattr(run, f.name) for run in runs)
        for f in fields(Run)
        if f.name not in ("still_open", "board_texts")
    }
    return Run(**numbers, still_open=runs[-1].still_open, board_texts=runs[-1].board_texts)


HEADER: Final = (
    "| providers | alerts | through | first critical page | last | criticals paged | all told | pages | posts | replies"
    " | edits | posts/s/channel | 429s | open at PD | firing in Slack | not named in Slack | boards (open) | RSS MiB"
    " | CPU s told | CPU s all |"
)


def row(storm: Storm, run: Run) -> str:
    """One line of the table."""

    def seconds(value: float) -> str:
        return "–" if math.isnan(value) else f"{value:.2f} s"

    def beside(ours: float, before: float) -> str:
        return f"{ours:,.1f} (+{before:,.1f})" if storm.through == "alertbot" else f"{ours:,.1f}"

    counts = (run.posts, run.replies, run.edits, run.posts_in_a_second, run.limited)
    missing = (run.open_pages, run.firing_cards, run.unseen)
    cells = [
        storm.variant, f"{storm.size:,}", storm.through,
        seconds(run.first_page), seconds(run.last_page), f"{run.paged:,.0f} of {storm.size // 10:,}",
        seconds(run.told), f"{run.pages:,.0f}", *(f"{n:,.0f}" for n in (*counts, *missing)),
        f"{run.boards:,.0f} ({run.open_boards:,.0f})", beside(run.rss, run.before_rss),
        f"{run.cpu_told:,.1f}", beside(run.cpu, run.before_cpu),
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def table(found: dict[Storm, list[Run]]) -> str:
    """In Markdown, what is compared one below the other."""
    rule = "|---" * 3 + "|---:" * (HEADER.count("|") - 4) + "|"
    return "\n".join([HEADER, rule, *(row(storm, median(runs)) for storm, runs in found.items())])


async def run(args: argparse.Namespace) -> None:
    """All storms in turns: of what is compared, no one has the quieter machine."""
    found: dict[Storm, list[Run]] = {}
    for variant in args.variant:
        for size in args.sizes:
            storms = [Storm(variant, size, through, args.bound or BOUND[variant]) for through in args.through]
            for turn in range(1 if size >= LARGE else args.runs):
                for storm in storms if turn % 2 == 0 else reversed(storms):
                    outcome = await storm.run()
                    print(row(storm, outcome), file=sys.stderr, flush=True)
                    for what, some in (("open", outcome.still_open), ("board", outcome.board_texts)):
                        for text in some[:3]:
                            print(f"    {what}: {text}", file=sys.stderr, flush=True)
                    found.setdefault(storm, []).append(outcome)
    print(table(found))
    if args.json:
        rows = [{**asdict(storm), "runs": [asdict(run) for run in runs]} for storm, runs in found.items()]
        args.json.write_text(json.dumps(rows, indent=1))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.storm")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="how many alerts")
    parser.add_argument("--runs", type=int, default=3, help=f"of each; from {LARGE:,} alerts on always one")
    parser.add_argument("--variant", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--through", nargs="+", choices=THROUGH, default=THROUGH)
    parser.add_argument("--bound", type=float, help="seconds that one run takes at most")
    parser.add_argument("--json", type=Path, help="where all figures go")
    given = parser.parse_args()
    if alertmanager_path() is None:
        parser.error("Alertmanager is not installed (Debian: prometheus-alertmanager)")
    uvloop.run(run(given))


if __name__ == "__main__":
    main()
