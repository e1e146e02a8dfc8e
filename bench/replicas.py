"""`python -m bench.replicas`: one bot on SQLite beside one, two and four replicas on one Redis.

All processes, Redis and the load share this machine's processors: what more replicas bring is seen only up to their
number. Redis writes as `docs/running.md` wants it (`appendonly yes`, `appendfsync always`), on the disk of the temp
folder, as SQLite does.

    throughput   webhooks of six new alerts, as fast as they are answered, until all that was accepted is decided
    latency      from a critical webhook to its request at PagerDuty, at a steady rate
    growth       what a new alert costs while so many others are open
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Final

import uvloop

from bench.bodies import ALERTS, Template
from bench.client import Load, Sink, request
from bench.ingest import CONNECTIONS, at, print_row, table
from bench.servers import Server, alertbot
from tests.standins.redis_servers import RedisServer

#: Replicas on Redis; 0 is the one bot on SQLite.
REPLICAS: Final = (0, 1, 2, 4)
OPEN: Final = (100, 10_000, 100_000)
#: Critical webhooks a second, of one alert each. PagerDuty's limit of a key is 120 a minute: more would be held back.
RATE: Final = 2.0
SIZE: Final = "4 KB"
#: Webhooks whose cost is measured at each number of open alerts.
MEASURED: Final = 200


def title(replicas: int) -> str:
    return f"{replicas} on Redis" if replicas else "1 on SQLite"


@contextlib.asynccontextmanager
async def bots(replicas: int, *, pagerduty: int = 9) -> AsyncIterator[list[Server]]:
    """So many replicas with a fresh Redis, or the one bot on SQLite."""
    async with contextlib.AsyncExitStack() as stack:
        url = ""
        if replicas:
            found = shutil.which("redis-server")
            assert found, "redis-server is not installed"
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alertbot-replicas-")))
            always = {"appendonly": "yes", "appendfsync": "always", "save": '""'}
            redis = RedisServer(Path(found), folder, **always).start()
            stack.callback(redis.stop)
            url = redis.url
        yield [await stack.enter_async_context(alertbot(pagerduty=pagerduty, url=url)) for _ in range(max(replicas, 1))]


async def flood(servers: Sequence[Server], bodies: Iterator[bytes], *, seconds: float, count: int) -> tuple[float, int]:
    """Sends to all of them at once, for a time or a count each; seconds until all is decided, and how many it was."""
    loads = [Load(server.port, bodies.__next__) for server in servers]
    begun = time.monotonic()
    for load in loads:
        await load.connect(max(CONNECTIONS // len(loads), 1))
    await asyncio.gather(*(load.flood(seconds=seconds, count=count) for load in loads))
    for server in servers:
        await server.reaches("alertbot_events_undecided", 0, within=300)
    took = time.monotonic() - begun
    for load in loads:
        load.close()
        assert set(load.answers) == {200}, load.answers
    return took, sum(load.answers[200] for load in loads)


def new(first: int = 0) -> Iterator[bytes]:
    """Webhooks of new alerts, each a group of its own."""
    template = Template(ALERTS[SIZE])
    return (request(template.body(n)) for n in itertools.count(first))


async def throughput(replicas: int, seconds: float) -> float:
    """Alerts a second."""
    async with bots(replicas) as servers:
        bodies = new()
        await flood(servers, bodies, seconds=0.5, count=10**9)
        took, sent = await flood(servers, bodies, seconds=seconds, count=10**9)
        return sent * ALERTS[SIZE] / took


async def latency(replicas: int, seconds: float) -> list[float]:
    """Milliseconds of each webhook."""
    sent: dict[bytes, float] = {}
    took: list[float] = []
    template, numbers = Template(1, "critical"), itertools.count()

    def send() -> bytes:
        number = next(numbers)
        sent[b"Group%08d" % number] = time.monotonic()
        return request(template.body(number))

    def heard(body: bytes) -> None:
        found = body.find(b"Group")
        if (begun := sent.pop(body[found : found + 13], None)) is not None:
            took.append((time.monotonic() - begun) * 1000)

    sink = await asyncio.get_running_loop().create_server(lambda: Sink(heard), "127.0.0.1", 0)
    async with sink, bots(replicas, pagerduty=sink.sockets[0].getsockname()[1]) as servers:
        loads = [Load(server.port, send) for server in servers]
        for load in loads:
            await load.connect(2)
        await asyncio.gather(*(load.steady(RATE / len(loads), seconds) for load in loads))
        async with asyncio.timeout(30):
            while sent:  # noqa: ASYNC110 - another process: nothing tells
                await asyncio.sleep(0.01)
        for load in loads:
            load.close()
    return took


async def growth(replicas: int, levels: Sequence[int]) -> list[float]:
    """Milliseconds that a new alert takes until it is decided, under a flood, at each number of open alerts."""
    found = []
    async with bots(replicas) as servers:
        fill, open_, bodies = Template(100), 0, new(first=500_000)
        for level in levels:
            missing = max(level - open_, 0) // 100
            groups = map(request, map(fill.body, itertools.count(open_)))
            if missing:
                await flood(servers[:1], groups, seconds=3600, count=missing)
            took, sent = await flood(servers, bodies, seconds=3600, count=MEASURED // len(servers))
            found.append(took * 1000 / (sent * ALERTS[SIZE]))
            open_ += missing * 100 + sent * ALERTS[SIZE]
    return found


async def run(args: argparse.Namespace) -> None:
    """In turns, so that of what is compared no one has the quieter machine."""
    rates: dict[int, list[float]] = {n: [] for n in args.replicas}
    waits: dict[int, list[float]] = {n: [] for n in args.replicas}
    for turn in range(args.turns):
        for n in args.replicas if turn % 2 == 0 else reversed(args.replicas):
            rates[n].append(await throughput(n, args.seconds))
            waits[n] += await latency(n, args.seconds * 4)
            print(f"{title(n)}: {rates[n][-1]:,.0f} alerts/s", file=sys.stderr, flush=True)
    table("replicas", "alerts/s decided", "from", "to", "webhook to page, p50 ms", "p99 ms", "pages")
    for n in args.replicas:
        figures = (statistics.median(rates[n]), min(rates[n]), max(rates[n]), at(waits[n], 0.5), at(waits[n], 0.99))
        print_row(title(n), *(f"{figure:,.0f}" for figure in figures), str(len(waits[n])))
    print()
    table("ms a new alert, with so many open", *(f"{level:,}" for level in args.open))
    for n in args.replicas:
        if n <= 2:
            print_row(title(n), *(f"{ms:.2f}" for ms in await growth(n, args.open)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.replicas")
    parser.add_argument("--replicas", type=int, nargs="+", default=REPLICAS, help="on Redis; 0: one on SQLite")
    parser.add_argument("--open", type=int, nargs="+", default=OPEN, help="open alerts at which a new one is measured")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each run floods")
    parser.add_argument("--turns", type=int, default=2, help="of throughput and latency")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
