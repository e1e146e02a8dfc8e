"""When a bot on a clock that the test moves has nothing left to do, and how to move the clock on from there."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from alertbot.clock import MovableClock
from alertbot.outbox import Outbox
from alertbot.store.base import Store

#: Seconds after which a bot that is not done by then has a defect.
PATIENCE: Final = 15


async def settle(store: Store, clock: MovableClock, outbox: Outbox, held: Callable[[], int] = lambda: 0) -> None:
    """Returns when all is decided and delivered that can be at this time; `held` is how many requests a provider holds.

    Raises AssertionError that says what is left where that does not happen.
    """
    left = ""
    try:
        async with asyncio.timeout(PATIENCE):
            while left := await _left(store, clock.now(), outbox, held()):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"at {clock.now()} there is still to do: {left}") from None


async def advance(
    store: Store, clock: MovableClock, outbox: Outbox, span: timedelta, settled: Callable[[], Awaitable[None]]
) -> None:
    """Moves the clock on, and stops at each time at which something becomes due until `settled` returns."""
    target = clock.now() + span
    await settled()
    while True:
        now = clock.now()
        times = [t for t in (await store.next_wake(), await store.next_delivery()) if t is not None and t > now]
        if outbox.closed(now):  # what waits for a lane hides when the next thing is due
            times += outbox.closed(now).values()
        if min([*times, target]) >= target:
            break
        clock.move_to(min(times))
        await settled()
    clock.move_to(target)
    await settled()


async def _left(store: Store, now: datetime, outbox: Outbox, held: int) -> str:
    """What is still to do at this time; empty where nothing is."""
    stats = await store.stats(now)
    wake = await store.next_wake()
    lanes = [lane for lane in (await store.lanes(now)).due if lane not in outbox.closed(now)]
    if stats.undecided or (wake is not None and wake <= now) or lanes:
        return f"{stats}, next wake {wake}, {lanes}"
    return f"{outbox.under_way} attempts are under way" if outbox.under_way > held else ""
