"""What is durable and not decided yet, in the order in which it is decided."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Final, Generic, TypeVar

T = TypeVar("T")

#: With fewer than so many waiting nothing overtakes: they are one batch.
HURRY: Final = 64


class Backlog(Generic[T]):
    """First come, first served; but while many wait, what is urgent goes before them.

    What may go first, and before what, is its user's to say.
    """

    def __init__(self) -> None:
        self._urgent: deque[T] = deque()
        self._others: deque[tuple[T, bool]] = deque()
        self._impassable = 0

    def add(self, item: T, *, passable: bool, urgent: Callable[[], bool]) -> None:
        """`passable`: others may be decided before it. `urgent` is asked only where it would go before others."""
        if len(self._others) >= HURRY and passable and not self._impassable and urgent():
            self._urgent.append(item)
            return
        self._others.append((item, passable))
        self._impassable += not passable

    def done(self, item: T) -> None:
        """It is decided: nearly always the first one, or the first that is not urgent."""
        for n, one in enumerate(self._urgent):
            if one is item:
                del self._urgent[n]
                return
            if n == HURRY:
                break
        for n, (one, passable) in enumerate(self._others):
            if one is item:
                del self._others[n]
                self._impassable -= not passable
                return

    def __len__(self) -> int:
        return len(self._urgent) + len(self._others)

    def __iter__(self) -> Iterator[T]:
        return chain(self._urgent, (item for item, _ in self._others))
