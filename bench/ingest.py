"""`python -m bench.ingest`: webhooks in, durable and decided, beside a handler that does nothing.

One server process, the load from this one, two cores between them; everything on loopback and on the disk of the temp
folder. A run floods a server over 64 connections for some seconds and ends when nothing that was accepted is undecided
any more: *decided* is all of it by that time, *2xx* is what was answered by the end of the flood. What is compared is
measured in turns, the handler that does nothing in each of them; a ratio is the median of the turns' ratios.

What comes in:
    new       every alert was never heard before; each body is a group, and an incident, of its own
    repeats   known alerts, told again five minutes later, as Alertmanager does at its `group_interval` and
              `repeat_interval`: that each was heard again is written down
    twins     known bodies again within a minute, byte by byte, as from the other one of two Alertmanagers, or from one
              that waited too long for an answer: counted, and nothing more
    mixed     of ten bodies three new, three repeats, two twins, and two that resolve what an earlier one fired

The load's alerts are warnings, and their groups' `group_wait` is not over within a run: what is sent of them is not
part of the cost.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop

from alertbot.clock import MovableClock
from alertbot.config.load import load as load_config
from alertbot.domain.events import RawEvent
from alertbot.engine import Engine
from alertbot.sources import SOURCES
from alertbot.store import open_store
from bench.bodies import ALERTS, Template
from bench.client import Load, Sink, request
from bench.servers import STORE, Server, alertbot, noop, write_config

CONNECTIONS: Final = 64
KINDS: Final = ("new", "repeats", "twins", "mixed")
#: Bodies a kind is known of: of twins as many as are told over and over, of repeats more than a run can send.
TWINS: Final = {"4 KB": 500, "100 alerts": 50}
REPEATS: Final = {"4 KB": 10_000, "100 alerts": 1_000}
#: Where the groups' numbers begin.
FIRST_REPEAT: Final = 500_000
FIRST_NEW: Final = 1_000_000
FIRST_PROBE: Final = 90_000_000
#: Critical webhooks in one run. More than a routing key may send a minute, alertbot would hold back by itself.
PROBES: Final = 100
#: How long ago the repeats were heard before.
AGO: Final = timedelta(minutes=5)
#: What we want, as shares of the handler that does nothing.
WANTED: Final = {"4 KB": 0.35, "100 alerts": 0.10}
#: What we want of the latency at half load, in milliseconds, and of the growth, in MiB.
WANTED_P99: Final = {"4 KB": 15.0, "100 alerts": 30.0}
WANTED_GROWTH: Final = 75.0


@dataclass(frozen=True, slots=True)
class Rates:
    """Webhooks a second."""

    answered: float
    decided: float


def traffic(kind: str, size: str) -> Iterator[bytes]:
    """The requests of a kind of traffic. It ends where all that can be repeated was."""
    fires, ends = Template(ALERTS[size]), Template(ALERTS[size], resolved=True)
    twins = itertools.cycle([request(fires.body(n)) for n in range(TWINS[size])])
    repeats = (request(fires.body(FIRST_REPEAT + n)) for n in range(REPEATS[size]))
    new = (request(fires.body(n)) for n in itertools.count(FIRST_NEW))
    resolved = (request(ends.body(n)) for n in itertools.count(FIRST_NEW))
    kinds = {"new": new, "repeats": repeats, "twins": twins}
    if kind in kinds:
        return kinds[kind]
    turns = itertools.cycle((new, twins, repeats, new, repeats, resolved, new, twins, repeats, resolved))
    return (one for some in turns if (one := next(some, None)) is not None)


async def remember(folder: Path, size: str) -> Path:
    """Writes a store that has heard the repeats once, `AGO`. Returns its file."""
    folder.mkdir()
    write_config(folder)
    policy = load_config(folder / "alertbot.yml", {}).policy
    store = open_store(f"sqlite:///{folder / STORE}")
    await store.open()
    clock = MovableClock(datetime.now(UTC) - AGO)
    engine = Engine(store, policy, clock, SOURCES)
    template = Template(ALERTS[size])
    for first in range(0, REPEATS[size], 200):
        for n in range(first, min(first + 200, REPEATS[size])):
            body = template.body(FIRST_REPEAT + n)
            parsed = SOURCES["alertmanager"](body, clock.now())
            await engine.accept(RawEvent(clock.now(), "alertmanager", body, "0" * 32), parsed)
        while await engine.turn():
            pass
    await store.close()
    return folder / STORE


async def teach(server: Server, size: str) -> None:
    """The twins for the first time; decided when this returns."""
    template = Template(ALERTS[size])
    load = Load(server.port, map(request, map(template.body, range(TWINS[size]))).__next__)
    await load.connect(8)
    await load.flood(count=TWINS[size])
    load.close()
    assert set(load.answers) == {200}, load.answers
    await server.reaches("alertbot_events_undecided", 0, within=30)


async def flood(kind: str, size: str, seconds: float, remembered: Path) -> Rates:
    """One run against an alertbot with a store of its own."""
    async with alertbot(store=remembered if kind in ("repeats", "mixed") else None) as server:
        await teach(server, size)
        load = Load(server.port, traffic(kind, size).__next__)
        await load.connect(CONNECTIONS)
        begun = time.monotonic()
        count = REPEATS[size] if kind == "repeats" else 10**9
        took = await load.flood(seconds=seconds, count=count)
        await server.reaches("alertbot_events_undecided", 0, within=120)
        drained = time.monotonic() - begun
        load.close()
        assert set(load.answers) == {200}, load.answers
        return Rates(load.answers[200] / took, load.answers[200] / drained)


async def floor(size: str, seconds: float) -> Rates:
    """The same load against a handler that does nothing."""
    async with noop() as server:
        load = Load(server.port, traffic("twins", size).__next__)
        await load.connect(CONNECTIONS)
        await load.flood(seconds=0.3)
        load.answers.clear()
        took = await load.flood(seconds=seconds)
        load.close()
        return Rates(load.answers[200] / took, load.answers[200] / took)


@dataclass(slots=True)
class Measured:
    """A row: what the turns came to."""

    runs: list[Rates] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)

    @property
    def answered(self) -> float:
        return statistics.median(r.answered for r in self.runs)

    @property
    def decided(self) -> float:
        return statistics.median(r.decided for r in self.runs)


async def throughput(
    sizes: Sequence[str], kinds: Sequence[str], seconds: float, turns: int, stores: dict[str, Path]
) -> dict[tuple[str, str], Measured]:
    """All runs, in turns; prints the table."""
    rows = {(size, kind): Measured() for size in sizes for kind in ("no-op", *kinds)}
    for turn in range(turns):
        for size in sizes:
            say(f"turn {turn + 1} of {turns}: {size}")
            beside = await floor(size, seconds)
            rows[size, "no-op"].runs.append(beside)
            for kind in kinds:
                rates = await flood(kind, size, seconds, stores[size])
                rows[size, kind].runs.append(rates)
                rows[size, kind].ratios.append(rates.decided / beside.decided)
    print(f"\nWebhooks a second, medians of {turns} runs of {seconds:g} s in turns, {CONNECTIONS} connections:\n")
    table("body", "traffic", "2xx/s", "decided/s", "alerts/s", "of no-op", "from", "to", "wanted")
    for (size, kind), row in rows.items():
        cells = [size, kind, f"{row.answered:,.0f}", f"{row.decided:,.0f}"]
        if kind == "no-op":
            print_row(*cells, "", "1", "", "", "")
            continue
        ratios = (statistics.median(row.ratios), min(row.ratios), max(row.ratios))
        wanted = f"≥ {WANTED[size]:.2f}"
        print_row(*cells, f"{row.decided * ALERTS[size]:,.0f}", *(f"{r:.3f}" for r in ratios), wanted)
    print(
        "\nnew: all alerts are news. repeats: all are known, told again after five minutes, and each is written. twins:"
        "\nknown bodies again within a minute, only counted. mixed: 30 % new, 30 % repeats, 20 % twins, 20 % resolve."
    )
    return rows


async def latency(size: str, rate: float, seconds: float, remembered: Path) -> list[float]:
    """Milliseconds from a critical webhook to its request at PagerDuty, while mixed traffic comes at a rate.

    Besides the load come `PROBES` critical webhooks of one alert, each a new incident. Those of the first second are
    left out.
    """
    probes = PROBES / seconds
    sent: dict[bytes, float] = {}
    took: list[float] = []
    critical, numbers = Template(1, "critical"), itertools.count(FIRST_PROBE)
    none_left = asyncio.Event()

    def send() -> bytes:
        number = next(numbers)
        if number == FIRST_PROBE + int(probes):  # a second to become warm
            took.clear()
        sent[b"Group%08d" % number] = time.monotonic()
        none_left.clear()
        return request(critical.body(number))

    def heard(body: bytes) -> None:
        now = time.monotonic()
        at = body.find(b"Group")
        if (begun := sent.pop(body[at : at + 13], None)) is not None:
            took.append((now - begun) * 1000)
        if not sent:
            none_left.set()

    loop = asyncio.get_running_loop()
    sink = await loop.create_server(lambda: Sink(heard), "127.0.0.1", 0)
    async with alertbot(pagerduty=sink.sockets[0].getsockname()[1], store=remembered) as server:
        await teach(server, size)
        load, probing = Load(server.port, traffic("mixed", size).__next__), Load(server.port, send)
        await load.connect(CONNECTIONS)
        await probing.connect(CONNECTIONS)
        share, _ = await asyncio.gather(load.steady(rate, seconds), probing.steady(probes, seconds))
        async with asyncio.timeout(30):
            await none_left.wait()
        for one in (load, probing):
            assert set(one.answers) == {200}, one.answers
            one.close()
        if share < 0.97:
            print(f"(only {share:.0%} of the load could be sent)")
    sink.close()
    return took


async def latencies(
    sizes: Sequence[str], rates: dict[str, float], seconds: float, turns: int, stores: dict[str, Path]
) -> None:
    """All runs, in turns; prints the table."""
    runs: dict[str, list[list[float]]] = {size: [] for size in sizes}
    for turn in range(turns):
        for size in sizes:
            say(f"latency {turn + 1} of {turns}: {size}")
            runs[size].append(await latency(size, rates[size], seconds, stores[size]))
    print(
        "\nMilliseconds from a critical webhook to its request at PagerDuty, with half of the most mixed traffic beside"
        f"\nit; {turns} runs of {seconds:g} s, and the p99 of the best and the worst of them:\n"
    )
    table("body", "load/s", "p50", "p99", "from", "to", "wanted", "probes")
    for size in sizes:
        took = [ms for some in runs[size] for ms in some]
        p99s = [at(some, 0.99) for some in runs[size]]
        cells = [f"{ms:.1f}" for ms in (at(took, 0.5), at(took, 0.99), min(p99s), max(p99s))]
        print_row(size, f"{rates[size]:,.0f}", *cells, f"≤ {WANTED_P99[size]:.0f}", str(len(took)))


def at(values: Sequence[float], share: float) -> float:
    """A quantile."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)]


async def growth() -> None:
    """Resident memory before and after 100,000 alerts in 1,000 incidents became open, and at the most."""
    say("memory")
    async with alertbot(wait="0s") as server:
        await teach(server, "4 KB")
        await server.reaches("alertbot_outbox_due", 0, within=60)
        before, most = server.rss(), 0
        alerts = Template(100)
        load = Load(server.port, (request(alerts.body(n)) for n in itertools.count(FIRST_NEW)).__next__)
        await load.connect(16)
        running = asyncio.create_task(load.flood(count=1000))
        while not running.done():
            most = max(most, server.rss())
            await asyncio.wait([running], timeout=0.01)
        load.close()
        await server.reaches("alertbot_events_undecided", 0, within=120)
        await server.reaches("alertbot_outbox_due", 0, within=120)
        assert await server.metric("alertbot_open_incidents") == 1000 + TWINS["4 KB"]
        await asyncio.sleep(1)
        after = server.rss()
    print("\nMiB of resident memory for 100,000 open alerts in 1,000 incidents, all of them delivered (to the log):\n")
    table("before", "after", "growth", "wanted", "most on the way")
    mib = [round(n / 2**20) for n in (before, after, after - before, max(most, after))]
    print_row(str(mib[0]), str(mib[1]), str(mib[2]), f"≤ {WANTED_GROWTH:.0f}", str(mib[3]))


def table(*names: str) -> None:
    print_row(*names)
    print_row(*(("---:" if name not in ("body", "traffic") else "---") for name in names))


def print_row(*cells: str) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


def say(what: str) -> None:
    """For whoever waits; not part of the results."""
    print(what, file=sys.stderr, flush=True)


async def run(args: argparse.Namespace) -> None:
    sizes = [args.size] if args.size else list(ALERTS)
    kinds: list[str] = [args.kind] if args.kind else list(KINDS)
    with tempfile.TemporaryDirectory(prefix="alertbot-bench-") as folder:
        stores: dict[str, Path] = {}
        if {"throughput", "latency"} & set(args.what):
            for n, size in enumerate(sizes):
                say(f"writing a store that remembers {REPEATS[size] * ALERTS[size]:,} alerts")
                stores[size] = await remember(Path(folder) / str(n), size)
        rates: dict[str, float] = {}
        if "throughput" in args.what:
            found = await throughput(sizes, kinds, args.seconds, args.turns, stores)
            rates = {size: row.decided / 2 for (size, kind), row in found.items() if kind == "mixed"}
        if "latency" in args.what:
            for size in sizes:
                if size not in rates:
                    rates[size] = (await flood("mixed", size, args.seconds, stores[size])).decided / 2
            await latencies(sizes, rates, args.seconds * 3, args.turns, stores)
    if "memory" in args.what:
        await growth()


WHAT: Final = ("throughput", "latency", "memory")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.ingest")
    parser.add_argument("what", nargs="*", default=list(WHAT), help=f"of {', '.join(WHAT)}; all of them by default")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each run floods")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--size", choices=list(ALERTS))
    parser.add_argument("--kind", choices=KINDS)
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
