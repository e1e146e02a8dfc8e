"""Budgets beside the file: spent in memory, written behind.

Nobody else has the file, so what is in memory is the truth; and a call to a provider waits for no commit of its own. A
crash forgets the calls of the last milliseconds at most: the provider then says 429, and that is obeyed.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from alertbot.domain import budgets
from alertbot.domain.budgets import Budget, Spent
from alertbot.store import codec
from alertbot.store.base import StoreError

Run = Callable[[sqlite3.Connection], None]


class WrittenBehind:
    """`write` runs statements in the writer's next transaction."""

    def __init__(self, write: Callable[[Run], Awaitable[None]]) -> None:
        self._write = write
        self._spent: dict[str, Spent] = {}
        self._dirty: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def read(self, connection: sqlite3.Connection) -> None:
        """Takes up what is written."""
        rows = connection.execute("SELECT key, doc FROM budgets").fetchall()
        self._spent = {key: codec.spent.decode(doc) for key, doc in rows}

    def spend(self, wanted: Sequence[Budget], now: datetime) -> datetime | None:
        """See `Store.spend`."""
        waits = [at for b in wanted if (at := budgets.free_at(self._of(b.key), b, now)) is not None]
        if waits:
            return max(waits)
        for b in wanted:
            self._keep(b.key, budgets.spend(self._of(b.key), b, now))
        return None

    def left(self, budget: Budget, now: datetime) -> int:
        """See `Store.calls_left`."""
        return budgets.calls_left(self._of(budget.key), budget, now)

    def close(self, key: str, until: datetime) -> None:
        """See `Store.close_budget`."""
        self._keep(key, budgets.closed(self._of(key), until))

    async def flush(self) -> None:
        """Returns when all is written that was spent before, or cannot be."""
        if self._task is not None:
            await self._task

    def _of(self, key: str) -> Spent:
        return self._spent.get(codec.key(key), Spent())

    def _keep(self, key: str, spent: Spent) -> None:
        self._spent[codec.key(key)] = spent
        self._dirty.add(codec.key(key))
        if self._task is None:
            self._task = asyncio.create_task(self._write_behind(), name="budgets")

    async def _write_behind(self) -> None:
        try:
            while self._dirty:
                rows = [(key, codec.text(self._spent[key])) for key in sorted(self._dirty)]
                self._dirty.clear()
                await self._write(lambda c, rows=rows: _write(c, rows))  # type: ignore[misc]
        except StoreError:
            # Whoever needs the file hears of it from the file; what is in memory holds, and goes with the next call.
            self._dirty.update(self._spent)
        finally:
            self._task = None


def _write(c: sqlite3.Connection, rows: Sequence[tuple[str, str]]) -> None:
    sql = "INSERT INTO budgets VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET doc = excluded.doc"
    c.executemany(sql, rows)
