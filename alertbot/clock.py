"""Time as something that is passed in: the system's, or one that a test or a replay moves."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What time it is, and waiting for a time or a signal, whichever comes first."""

    def now(self) -> datetime: ...

    async def wait(self, signal: asyncio.Event, until: datetime | None) -> None:
        """Returns when `signal` is set or `until` has come. None: only the signal."""


class SystemClock:
    """The machine's clock. A wait is cut into pieces, so that a step of the clock is noticed."""

    LONGEST = timedelta(seconds=30)

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def wait(self, signal: asyncio.Event, until: datetime | None) -> None:
        left = self.LONGEST if until is None else min(until - self.now(), self.LONGEST)
        if left > timedelta(0):
            try:
                async with asyncio.timeout(left.total_seconds()):
                    await signal.wait()
            except TimeoutError:
                return


class MovableClock:
    """A clock that stands still until it is moved. Whoever waits for a time that has come then goes on."""

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._moved = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def move_to(self, time: datetime) -> None:
        """Sets the time, and lets every waiter look again. Also backwards, as real clocks do."""
        self._now = time
        self._moved.set()
        self._moved = asyncio.Event()

    def advance(self, by: timedelta) -> None:
        """Moves on by a span."""
        self.move_to(self._now + by)

    async def wait(self, signal: asyncio.Event, until: datetime | None) -> None:
        while not signal.is_set() and (until is None or self._now < until):
            moved = asyncio.ensure_future(self._moved.wait())
            signalled = asyncio.ensure_future(signal.wait())
            try:
                await asyncio.wait((moved, signalled), return_when=asyncio.FIRST_COMPLETED)
            finally:
                moved.cancel()
                signalled.cancel()
