"""An event loop in which time is simulated, and a schedule that says who may speak to the outside next.

All replicas run in one process. Each request to Redis and each answer of a provider waits for its turn; while nobody
computes and Redis is not being asked, a seeded choice lets one of those who wait go on, pauses or kills a whole replica
just there, or lets time pass. So one number names one interleaving.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, TypeVar

from alertbot.clock import SystemClock
from alertbot.redis_url import RedisUrl
from alertbot.store.base import StoreError, StoreUnavailable
from alertbot.store.redis import RedisStore
from alertbot.store.redis_client import Client, Step, Word

T = TypeVar("T")

#: The replica that the running task belongs to; empty for the world around them.
REPLICA: Final = ContextVar[str]("replica", default="")
#: What the running task asks of Redis.
ASKS: Final = ContextVar[str]("asks", default="")
#: Before requests with one of these a replica is paused more often: what comes next is a request to a provider.
BEFORE_A_CALL: Final = ("HSET budgets", "docs rows")
#: Real seconds for Redis to answer; a script takes less than one of its thousandths.
ANSWERS: Final = 30.0


class Fault(StrEnum):
    """What the network does to one request."""

    NEVER_SENT = "it does not arrive"
    ASKED_TWICE = "its answer is lost, and it is sent again"
    ANSWER_LOST = "it is done, and nobody hears of it"
    LATE = "it is given up, and arrives later"


@dataclass
class Odds:
    """How likely things go wrong, per turn; all are 0 while the world is quiet."""

    fault: float = 0.0
    pause: float = 0.0
    kill: float = 0.0
    pauses_left: int = 3
    kills_left: int = 2


@dataclass
class Schedule:
    """See the module's text. `on_kill` is told which replica is to die; `log` gets a line for each thing done."""

    chance: random.Random
    odds: Odds = field(default_factory=Odds)
    on_kill: Callable[[str], None] = lambda _: None
    at: Callable[[float], object] = lambda _: None
    """Has the loop look again at a time."""
    log: list[str] = field(default_factory=list)
    dead: set[str] = field(default_factory=set)
    paused: dict[str, float] = field(default_factory=dict)
    asking: int = 0
    turns: int = 0
    pause_before: dict[str, float] = field(default_factory=dict)
    """Seconds for which the first replica is paused that is about to ask Redis for something with these words."""
    sticky: float = 0.0
    """How likely the replica that had the last turn has the next one too."""
    _waiting: list[tuple[str, str, asyncio.Future[None]]] = field(default_factory=list)
    _last: str = ""

    def note(self, line: str) -> None:
        self.log.append(f"{asyncio.get_running_loop().time():8.2f} {line}")

    async def turn(self, who: str, what: str) -> None:
        """Returns when this replica may go on. One that is dead never does."""
        if who in self.dead:
            raise asyncio.CancelledError
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append((who, what, turn))
        await turn

    def fault(self, who: str) -> Fault | None:
        """What happens to the request that is about to be made."""
        if self.chance.random() >= self.odds.fault:
            return None
        fault = self.chance.choice(list(Fault))
        self.note(f"{who}: {fault}")
        return fault

    @contextmanager
    def asked(self) -> Iterator[None]:
        """While Redis is being asked no time passes, and nobody else goes on."""
        self.asking += 1
        try:
            yield
        finally:
            self.asking -= 1

    def free(self, now: float) -> list[tuple[str, str, asyncio.Future[None]]]:
        """Those who wait for their turn and are not paused."""
        self._waiting = [w for w in self._waiting if not w[2].done()]
        return [w for w in self._waiting if self.paused.get(w[0], now) <= now]

    def step(self, now: float) -> bool:
        """Lets one go on; False where nobody can, or time is to pass first."""
        free = self.free(now)
        if not free or self.chance.random() < 0.01:
            return False
        same = [w for w in free if w[0] == self._last]
        chosen = self.chance.choice(same if same and self.chance.random() < self.sticky else free)
        who, what, turn = chosen
        if who and self._breaks(who, what, now):
            return True
        self._waiting.remove(chosen)
        self._last = who
        self.turns += 1
        turn.set_result(None)
        return True

    def _breaks(self, who: str, what: str, now: float) -> bool:
        """Whether the replica is paused or killed instead."""
        for words, seconds in self.pause_before.items():
            if words in what:
                del self.pause_before[words]
                self._pause(who, what, now, seconds)
                return True
        odds, roll = self.odds, self.chance.random()
        pause = odds.pause * (10 if any(words in what for words in BEFORE_A_CALL) else 1)
        if odds.kills_left and roll < odds.kill:
            odds.kills_left -= 1
            self.log.append(f"{now:8.2f} {who} is killed before {what}")
            self.on_kill(who)
            return True
        if odds.pauses_left and odds.kill <= roll < odds.kill + pause:
            odds.pauses_left -= 1
            self._pause(who, what, now, self.chance.choice([3.0, 20.0, 40.0, 150.0]))
            return True
        return False

    def _pause(self, who: str, what: str, now: float, seconds: float) -> None:
        self.log.append(f"{now:8.2f} {who} is paused for {seconds:.0f} s before {what}")
        self.paused[who] = now + seconds
        self.at(now + seconds)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """Its time moves only when nobody has anything to do, and then at once to where somebody has."""

    def __init__(self, schedule: Schedule) -> None:
        self.seconds = 0.0
        self.schedule = schedule
        self._timers = 0
        self.tasks: dict[str, list[asyncio.Task[Any]]] = {}
        schedule.at = lambda when: self.call_at(when, lambda: None)
        super().__init__(_Idle(self))

    def time(self) -> float:
        return self.seconds

    def call_at(  # type: ignore[override]  # handed on as it comes
        self, when: float, *args: Any, **more: Any
    ) -> asyncio.TimerHandle:
        """Of those that are due at the same time, the one that was asked for first comes first."""
        if not self.schedule.asking:  # how often Redis is read from is not ours to say
            self._timers += 1
        return super().call_at(when + self._timers * 1e-12, *args, **more)

    @property
    def busy(self) -> bool:
        """Somebody has something to do now."""
        return bool(self._ready)  # type: ignore[attr-defined]  # the loop's own list of what runs next

    def create_task(self, coro: Coroutine[Any, Any, T], **more: Any) -> asyncio.Task[T]:  # type: ignore[override]
        task = super().create_task(coro, **more)
        context = more.get("context")
        self.tasks.setdefault(REPLICA.get() if context is None else context.get(REPLICA, ""), []).append(task)
        return task

    def kill(self, replica: str) -> None:
        """Ends all tasks of a replica where they stand."""
        for task in self.tasks.pop(replica, ()):
            task.cancel()


class _Idle(selectors.DefaultSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        schedule = self.loop.schedule
        if self.loop.busy:
            return []
        if schedule.asking:  # whatever the time: its answer comes before all that is due
            ready = super().select(ANSWERS)
            assert ready, "Redis does not answer"
            return ready
        if timeout == 0:
            return []
        if schedule.step(self.loop.seconds):
            return []
        if timeout is None:
            assert schedule.free(self.loop.seconds), "everybody waits for ever"
            timeout = 1.0
        some = schedule.chance.uniform(0.0, 2.0) if schedule.free(self.loop.seconds) else timeout
        self.loop.seconds += min(timeout, some)
        return []


class SteppingClient(Client):
    """The way to Redis of one replica: each request has its turn, and may meet a `Fault`."""

    def __init__(self, address: RedisUrl, schedule: Schedule, name: str) -> None:
        super().__init__(address)
        self.schedule = schedule
        self.name = name
        self.faults = False

    def _request(
        self, name: str, version: str, digests: bool, checks: Sequence[tuple[bytes, Step]], steps: Sequence[Step]
    ) -> list[Word]:
        asked = [*(step for _, step in checks), *steps]
        ASKS.set(" ".join(word for step in asked for word in step if isinstance(word, str))[:300])
        return super()._request(name, version, digests, checks, steps)

    async def _call(self, run: Callable[[Any], Awaitable[T]]) -> T:
        ask = super()._call

        async def asked() -> T:
            with self.schedule.asked():
                return await ask(run)

        await self.schedule.turn(self.name, f"Redis: {ASKS.get()}")
        fault = self.schedule.fault(self.name) if self.faults else None
        if fault is None:
            return await asked()
        if fault is Fault.LATE:
            world = REPLICA.set("")
            asyncio.get_running_loop().create_task(self._late(asked))
            REPLICA.reset(world)
        if fault in (Fault.ASKED_TWICE, Fault.ANSWER_LOST):
            await asked()
        if fault is Fault.ASKED_TWICE:
            await self.schedule.turn(self.name, "asking Redis again")
            return await asked()
        raise StoreUnavailable(f"simulated: {fault}")

    async def _late(self, asked: Callable[[], Awaitable[object]]) -> None:
        await asyncio.sleep(self.schedule.chance.choice([0.0, 1.0, 8.0, 30.0]))
        await self.schedule.turn("", "a late request to Redis")
        try:
            await asked()
        except StoreError:
            return  # nobody hears that either


class SteppingStore(RedisStore):
    """The real store over a `SteppingClient`."""

    def __init__(self, url: str, schedule: Schedule, name: str) -> None:
        super().__init__(url)
        self.client = self._client = self._link.client = SteppingClient(RedisUrl.of(url), schedule, name)


class LoopClock:
    """The loop's time, as one replica's clock shows it. A wait is as long as the system clock's at the most."""

    def __init__(self, start: datetime, ahead: timedelta = timedelta(0)) -> None:
        self.start = start + ahead

    def now(self) -> datetime:
        return self.start + timedelta(seconds=asyncio.get_running_loop().time())

    async def wait(self, signal: asyncio.Event, until: datetime | None) -> None:
        longest = SystemClock.LONGEST
        left = longest if until is None else min(until - self.now(), longest)
        if left <= timedelta(0):
            return
        try:
            async with asyncio.timeout(left.total_seconds()):
                await signal.wait()
        except TimeoutError:
            return
