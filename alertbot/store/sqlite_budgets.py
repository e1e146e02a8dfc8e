"""Budgets beside the file: spent in memory, written with the next outcome.

Nobody else has the file, so what is in memory is the truth; and a call to a provider waits for no commit of its own. A
crash forgets the calls that were under way: the provider then says 429, and that is obeyed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime

from alertbot.domain import budgets
from alertbot.domain.budgets import Budget, Spent
from alertbot.store import codec

Rows = Sequence[tuple[str, str]]


class WrittenBehind:
    """`take` gives what is to be written, and `give_back` takes it back if that could not be."""

    def __init__(self) -> None:
        self._spent: dict[str, Spent] = {}
        self._dirty: set[str] = set()

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

    def all(self) -> Mapping[str, Spent]:
        """See `Store.spent`."""
        return dict(self._spent)

    def restore(self, spent: Mapping[str, Spent]) -> None:
        """See `Store.restore`."""
        for key, one in spent.items():
            self._keep(key, one)

    def take(self) -> Rows:
        """What was spent and is not written."""
        rows = [(key, codec.text(self._spent[key])) for key in sorted(self._dirty)]
        self._dirty.clear()
        return rows

    def give_back(self, rows: Rows) -> None:
        """These are still to be written."""
        self._dirty.update(key for key, _ in rows)

    def _of(self, key: str) -> Spent:
        return self._spent.get(codec.key(key), Spent())

    def _keep(self, key: str, spent: Spent) -> None:
        self._spent[codec.key(key)] = spent
        self._dirty.add(codec.key(key))


def write(c: sqlite3.Connection, rows: Rows) -> None:
    """Writes them, inside a transaction."""
    sql = "INSERT INTO budgets VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET doc = excluded.doc"
    c.executemany(sql, rows)
