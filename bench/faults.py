"""`python -m bench.faults`: a storm while something fails, and what became of every alert of it.

Two replicas on one Redis, or one bot on SQLite, are real processes; so are Slack and PagerDuty, which take as much as
comes and keep what they took. So many distinct critical alerts, each an incident of its own, are sent to either bot at
random, again and again until one answers 200, as Alertmanager does. While they come, the fault strikes, in steps. When
all is known every alert is resolved, in the same way and with the same fault.

    accepted   alerts answered 200
    told       of these, named by a PagerDuty incident and by a Slack card
    recorded   not told, and the record says why
    lost       neither
    doubled    PagerDuty incidents, Slack cards over one an alert
    wrong      PagerDuty incidents left open and Slack cards that do not say that it is over, at the end
    settled    seconds from the last answer 200 until nothing is open or under way
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import uvloop

from alertbot.domain.reasons import Reason
from alertbot.store.redis import LIVES
from bench.storm_sinks import names
from tests.crash.bots import CONFIG, SERVE, Bot, all_incidents, ask, kind, send, until_settled
from tests.crash.driver import alert
from tests.standins.faults import FlakyProxy
from tests.standins.pagerduty import ROUTING_KEY
from tests.standins.process import StandinProcess
from tests.standins.redis_servers import Cluster, RedisServer, Watched, followers, free_port

#: Requests under way at once: as from a few Alertmanagers with many groups.
AT_ONCE: Final = 20
#: Seconds over which the alerts of one step are spread, unless the fault itself takes longer.
SPREAD: Final = 1.0
#: A little longer than a replica counts as alive after it said so.
LEASE: Final = LIVES.total_seconds() + 5
#: Seconds within which a bot that was started answers.
START: Final = 60.0
#: Seconds without any progress after which a run is given up.
PATIENCE: Final = 120.0
#: When a fault that does not last strikes, in seconds: most of the alerts of its step are yet to come.
EARLY: Final = SPREAD / 5
#: What a slow link adds to each answer, in seconds: much, and more than an answer may take.
SLOW: Final = (0.1, 0.5, 4.0)
#: A key of the bots, which says in which node of a cluster they are.
KEYS: Final = "{alertbot}:"
#: Room for a storm and for the log that SQLite keeps (64 MiB): full by what is written beside it alone.
DISK: Final = "128m"

#: Why an alert may have no page or card of its own.
SAID_WHY: Final = {Reason.RESOLVED_BEFORE_NOTIFY, Reason.FOLDED_INTO_STORM}
UNLIMITED: Final = 100_000
#: The most that the config takes: a storm of cards is no fault.
MOST_CARDS: Final = 500
CLOCKED: Final = (sys.executable, "-m", "bench.clock_steps")
#: `serve` on a file system of its own, in memory, that nobody else sees.
ON_A_SMALL_DISK: Final = (
    "unshare", "--map-root-user", "--mount", "sh", "-c", f'mount -t tmpfs -o size={DISK} tmpfs "$0" && exec "$@"',
)  # fmt: skip


@dataclass(slots=True)
class Scene:
    """What a fault can get at."""

    folder: Path
    chance: random.Random
    session: aiohttp.ClientSession
    """To ask with: patient."""
    sender: aiohttp.ClientSession
    """To send alerts with: it gives up early, and tries again."""
    bots: list[Bot] = field(default_factory=list)
    redis: RedisServer | None = None
    watched: Watched | None = None
    cluster: Cluster | None = None
    proxy: FlakyProxy | None = None
    """Between the first bot and Redis."""

    @property
    def server(self) -> RedisServer:
        assert self.redis is not None
        return self.redis


Strike = Callable[[Scene, int], Any]


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong: `strike` in each of `steps` steps. `store` says what the bots keep everything in."""

    name: str
    steps: int
    strike: Strike
    store: str = "redis"
    command: Sequence[str] = SERVE


async def up(scene: Scene, bot: Bot) -> None:
    """Returns when it answers."""
    async with asyncio.timeout(START):
        await ask(scene.session, f"{bot.url}/api/v1/incidents?limit=1")


async def kill(scene: Scene, step: int) -> None:
    bot = scene.bots[step % len(scene.bots)]
    await up(scene, bot)
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
    await bot.kill()
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
    await bot.start()


async def kill_redis(scene: Scene, step: int) -> None:
    await asyncio.sleep(scene.chance.uniform(0.0, 1.0))
    await asyncio.to_thread(scene.server.kill)
    await asyncio.sleep(scene.chance.uniform(0.0, 3.0))
    await asyncio.to_thread(scene.server.start)


async def fail_over(scene: Scene, step: int) -> None:
    """The master is killed, the next time stopped and continued: it does not know that it is not the master."""

    def master() -> RedisServer:
        if scene.watched is not None:
            return scene.watched.named()
        assert scene.cluster is not None
        return scene.cluster.master_of(KEYS)

    await asyncio.sleep(1.0)
    old = await asyncio.to_thread(master)
    if step % 2:
        old.signal(signal.SIGSTOP)
    else:
        old.kill()
    async with asyncio.timeout(PATIENCE):
        while (new := await asyncio.to_thread(master)) is old:  # noqa: ASYNC110 - another process: nothing tells
            await asyncio.sleep(0.2)
        await asyncio.sleep(2.0)
        if step % 2:
            old.signal(signal.SIGCONT)
        else:
            await asyncio.to_thread(old.start)
        while not await asyncio.to_thread(followers, new):  # noqa: ASYNC110 - another process: nothing tells
            await asyncio.sleep(0.2)


async def slow(scene: Scene, step: int) -> None:
    """Each answer of Redis comes so many seconds late, at one replica."""
    proxy = scene.proxy
    assert proxy is not None
    await asyncio.sleep(EARLY)
    proxy.delay = SLOW[step % len(SLOW)]
    await asyncio.sleep(10.0)
    proxy.delay = 0.0


async def part(scene: Scene, step: int) -> None:
    """In turns: refused, swallowed, and done without an answer."""
    proxy = scene.proxy
    assert proxy is not None
    await asyncio.sleep(1.0)
    match step % 3:
        case 0:
            await proxy.refuse()
            await asyncio.sleep(LEASE)
            await proxy.accept()
        case 1:
            proxy.blackhole = True
            proxy.sever()
            await asyncio.sleep(LEASE)
            proxy.blackhole = False
            proxy.sever()
        case _:
            proxy.swallow_answer = True
            await asyncio.sleep(5.0)
            proxy.swallow_answer = False


async def pause(scene: Scene, step: int) -> None:
    bot = scene.bots[step % 2]
    await asyncio.sleep(0.5)
    bot.signal(signal.SIGSTOP)
    await asyncio.sleep(LEASE)
    bot.signal(signal.SIGCONT)


async def step_clock(scene: Scene, step: int) -> None:
    """The first bot's clock: a minute on and back again, then a minute back and on again."""
    first, then = (signal.SIGUSR1, signal.SIGUSR2) if step % 2 == 0 else (signal.SIGUSR2, signal.SIGUSR1)
    await asyncio.sleep(1.0)
    scene.bots[0].signal(first)
    await asyncio.sleep(LEASE)
    scene.bots[0].signal(then)


async def fill_disk(scene: Scene, step: int) -> None:
    process = scene.bots[0].process
    assert process is not None
    ballast = Path(f"/proc/{process.pid}/root{scene.folder}/disk/ballast")
    await asyncio.sleep(EARLY)
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    await asyncio.sleep(5.0)
    ballast.unlink()


async def fill_redis(scene: Scene, step: int) -> None:
    def limit(more: int | None) -> None:
        with scene.server.client() as client:
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", 0 if more is None else used + more)

    await asyncio.sleep(EARLY)
    await asyncio.to_thread(limit, 4 * 1024)
    await asyncio.sleep(5.0)
    await asyncio.to_thread(limit, None)


def faults(kills: int) -> list[Fault]:
    """All of them; `kills` replicas are killed in the first."""
    return [
        Fault(f"a replica killed, {kills} times", kills, kill),
        Fault(f"the one bot on SQLite killed, {kills} times", kills, kill, "sqlite"),
        Fault("Redis killed and started again, 6 times", 6, kill_redis),
        Fault("Sentinel failover: master killed, then stopped", 2, fail_over, "sentinel"),
        Fault("Cluster failover: master killed, then stopped", 2, fail_over, "cluster"),
        Fault("one replica cut off from Redis, then half cut off; twice", 6, part),
        Fault("a slow link to Redis at one replica, 6 times", 6, slow),
        Fault("a replica stopped for longer than its lease, 4 times", 4, pause),
        Fault("a replica's clock a minute off, 4 times", 4, step_clock, command=CLOCKED),
        Fault("disk full under SQLite, 6 times", 6, fill_disk, "sqlite", ON_A_SMALL_DISK),
        Fault("Redis full, 6 times", 6, fill_redis),
    ]


@dataclass(frozen=True, slots=True)
class Run:
    """What came of one fault; see the module's words."""

    accepted: int
    refused: int
    unanswered: int
    told: int
    recorded: int
    lost: int
    pages_doubled: int
    cards_doubled: int
    wrong: int
    storm: float
    settled: float

    @property
    def failed(self) -> bool:
        """Whether a promise is broken."""
        return bool(self.lost or self.pages_doubled or self.cards_doubled or self.wrong)


class Storm:
    """One fault under one storm, with fresh servers."""

    def __init__(self, fault: Fault, alerts: int, folder: Path) -> None:
        self._fault = fault
        self._alerts = range(alerts)
        self._folder = folder
        self._chance = random.Random(alerts)
        self._answers: Counter[int] = Counter()

    async def run(self) -> Run:
        """Fires, waits until all is known, resolves, waits until all is told, counts."""
        async with contextlib.AsyncExitStack() as stack:
            session, sender = [
                await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=seconds)))
                for seconds in (60, 3)
            ]
            slack = await stack.enter_async_context(StandinProcess("slack"))
            pagerduty = await stack.enter_async_context(StandinProcess("pagerduty"))
            await slack.configure(limited=False)
            await pagerduty.configure(limited=False)
            scene = Scene(self._folder, self._chance, session, sender)
            await self._start(scene, stack, slack.url, pagerduty.url)
            half, begun, start = self._fault.steps // 2, time.monotonic(), datetime.now(UTC)
            await self._all(scene, range(half), start, None)
            # What is resolved before it is told need not be told any more: allowed, and no test of telling.
            for name, value in (("open_incidents", len(self._alerts)), ("outbox_due", 0)):
                await self._until(scene, name, value)
            await self._all(scene, range(half, self._fault.steps), start, datetime.now(UTC))
            stormed = time.monotonic()
            for name in ("events_undecided", "open_incidents", "outbox_due"):
                await self._until(scene, name, 0)
            async with asyncio.timeout(PATIENCE):
                await until_settled(session, scene.bots[-1].url, 0)
            settled = time.monotonic()
            calls, chat = (await pagerduty.state())["kept"], (await slack.state())["kept"]
            return await self._count(scene, calls, chat, stormed - begun, settled - stormed)

    async def _start(self, scene: Scene, stack: contextlib.AsyncExitStack, slack: str, pagerduty: str) -> None:
        stores = await self._stores(scene, stack)
        for n, store in enumerate(stores):
            folder, port = self._folder / str(n), free_port()
            folder.mkdir()
            config = folder / "alertbot.yml"
            config.write_text(
                CONFIG.format(
                    slack=slack, pagerduty=pagerduty, cards=MOST_CARDS, posts=UNLIMITED, updates=UNLIMITED,
                    events=UNLIMITED, port=port, store=store, key=ROUTING_KEY,
                )
            )  # fmt: skip
            command = self._fault.command
            if command is ON_A_SMALL_DISK:
                command = [*command, str(self._folder / "disk"), *SERVE]
            scene.bots.append(Bot(config, port, command=command))
            stack.push_async_callback(scene.bots[-1].kill)
            await scene.bots[-1].start()
        for bot in scene.bots:
            await up(scene, bot)

    async def _stores(self, scene: Scene, stack: contextlib.AsyncExitStack) -> list[str]:
        """`store` in the config of each bot."""
        if self._fault.store == "sqlite":
            (self._folder / "disk").mkdir()
            return [f"{{url: 'sqlite:///{self._folder}/disk/alertbot.db'}}"]
        found = shutil.which("redis-server")
        assert found, "redis-server is not installed"
        if self._fault.store == "sentinel":
            scene.watched = Watched(Path(found), self._folder / "redis")
            stack.callback(scene.watched.stop)
            await asyncio.to_thread(scene.watched.start)
            return [f"{{url: '{scene.watched.url}', wait_replicas: 1}}"] * 2
        always = {"appendonly": "yes", "appendfsync": "always", "save": '""'}
        if self._fault.store == "cluster":
            scene.cluster = Cluster(Path(found), self._folder / "redis", 1, **always)
            stack.callback(scene.cluster.stop)
            await asyncio.to_thread(scene.cluster.start)
            return [f"{{url: '{scene.cluster.url}', wait_replicas: 1}}"] * 2
        scene.redis = RedisServer(Path(found), self._folder / "redis", **always)
        stack.callback(scene.redis.stop)
        await asyncio.to_thread(scene.redis.start)
        scene.proxy = await stack.enter_async_context(FlakyProxy(scene.redis.port))
        return [f"{{url: 'redis://127.0.0.1:{port}/0'}}" for port in (scene.proxy.port, scene.redis.port)]

    async def _all(self, scene: Scene, steps: range, start: datetime, end: datetime | None) -> None:
        """Every alert once, a share of them with each step of the fault."""
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(n: int) -> None:
            await asyncio.sleep(self._chance.uniform(0.0, SPREAD))
            async with gate:
                form = {"version": "4", "alerts": [alert(name(n), "h", start, end)]}
                self._answers += await send(scene.sender, scene.bots, self._chance, json.dumps(form).encode())

        for n, step in enumerate(steps):
            await asyncio.gather(self._fault.strike(scene, step), *map(one, self._alerts[n :: len(steps)]))

    async def _until(self, scene: Scene, gauge: str, value: int) -> None:
        """Waits until a gauge of the last bot has come to a value, for as long as it moves."""
        before, moved = -1.0, time.monotonic()
        while time.monotonic() - moved < PATIENCE:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with scene.session.get(f"{scene.bots[-1].url}/metrics") as answer:
                    found = re.search(rf"^alertbot_{gauge} (\S+)$", await answer.text(), re.MULTILINE)
                now = before if found is None else float(found[1])
                if now == value:
                    return
                if now != before:
                    before, moved = now, time.monotonic()
            await asyncio.sleep(0.5)
        raise TimeoutError(f"{gauge} stays at {before}")

    async def _count(
        self, scene: Scene, calls: dict[str, Any], chat: dict[str, Any], storm: float, settled: float
    ) -> Run:
        # A storm's page names some of those that it stands in for; it is no second page of theirs.
        paged: Counter[str] = Counter()
        for page in calls["pages"]:
            if not page["dedup_key"].startswith("storm"):
                paged.update(names(page["summary"]))
        posted = [m for channel in chat["channels"].values() for m in channel["messages"].values() if kind(m) == "card"]
        cards = Counter(n for message in posted for n in names(message["text"]))
        sent = {name(n) for n in self._alerts}
        told = sent & paged.keys() & cards.keys()
        doubled = {n for n, times in (paged + cards).items() if paged[n] > 1 or cards[n] > 1}
        recorded = 0
        for incident in await all_incidents(scene.session, scene.bots[-1].url):
            of = incident["labels"]["alertname"]
            if of in told - doubled:
                continue
            record = await ask(scene.session, f"{scene.bots[-1].url}/api/v1/incidents/{incident['id']}/timeline")
            reasons = {entry["reason"] for entry in record["entries"]}
            recorded += of not in told and bool(reasons & SAID_WHY)
            if of in doubled or not reasons & SAID_WHY:
                found = [page for page in calls["incidents"] if of in page["summary"]]
                print(json.dumps([incident, record, found]), file=sys.stderr)
        open_pages = sum(incident["status"] != "resolved" for incident in calls["incidents"])
        return Run(
            accepted=len(sent),
            refused=self._answers[503],
            unanswered=self._answers[0],
            told=len(told),
            recorded=recorded,
            lost=len(sent) - len(told) - recorded,
            pages_doubled=paged.total() - len(paged),
            cards_doubled=cards.total() - len(cards),
            wrong=open_pages + sum("resolved" not in message["text"] for message in posted),
            storm=storm,
            settled=settled,
        )


def name(n: int) -> str:
    """Of an alert, as `bench.storm_sinks.names` finds it."""
    return f"Storm{n:05d}"


HEADER: Final = (
    "| fault | alerts accepted | answered 503 | not answered | told | recorded | lost | pages doubled | cards doubled"
    " | wrong | storm | settled |"
)


def row(fault: Fault, run: Run) -> str:
    """One line of the table."""
    counts = (
        run.accepted, run.refused, run.unanswered, run.told, run.recorded, run.lost, run.pages_doubled,
        run.cards_doubled, run.wrong,
    )  # fmt: skip
    cells = [fault.name, *(f"{n:,}" for n in counts), f"{run.storm:.0f} s", f"{run.settled:.1f} s"]
    return f"| {' | '.join(cells)} |"


async def run(chosen: Sequence[Fault], alerts: int) -> bool:
    """All of them, one after the other; whether every promise was kept."""
    print("\n".join([HEADER, "|---" + "|---:" * (HEADER.count("|") - 2) + "|"]), flush=True)
    failed = False
    for fault in chosen:
        folder = Path(tempfile.mkdtemp(prefix="alertbot-faults-"))
        outcome = await Storm(fault, alerts, folder).run()
        print(row(fault, outcome), flush=True)
        tracebacks = sum("Traceback" in line for log in folder.glob("*/log") for line in log.open())
        if outcome.failed or tracebacks:
            print(f"{fault.name}: {tracebacks} tracebacks; logs and stores stay in {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
        failed |= outcome.failed
    return not failed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.faults")
    parser.add_argument("--alerts", type=int, default=1_000, help="how many, each of its own incident")
    parser.add_argument("--kills", type=int, default=20, help="where replicas are killed")
    parser.add_argument("--only", nargs="+", default=[""], help="faults whose names contain one of these")
    given = parser.parse_args()
    chosen = [f for f in faults(given.kills) if any(part in f.name for part in given.only)]
    if not uvloop.run(run(chosen, given.alerts)):
        sys.exit(1)


if __name__ == "__main__":
    main()
