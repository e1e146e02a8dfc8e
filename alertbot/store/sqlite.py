"""The embedded store: one SQLite file, WAL, `synchronous=FULL`.

Who uses which connection: one thread writes (group commit), one reads for the engine and the outbox, one
reads for people (a slow page delays no decision), one checkpoints. The file is in `sqlite_file`, the threads
are in `sqlite_threads`, the statements in `sqlite_rows`; here is what each call does with them.
"""

# the protocol says what each method does
# ruff: noqa: S608  # all pieces of SQL are our constants; values are bound
from __future__ import annotations

import asyncio
import contextlib
import heapq
import sqlite3
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from alertbot.domain.breakers import Breaker, abandoned
from alertbot.domain.budgets import Budget, Spent
from alertbot.domain.deploys import Deploy
from alertbot.domain.enrichment import Past
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Delivery, Incident
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import Window
from alertbot.store import codec, sqlite_budgets
from alertbot.store.base import (
    BreakerChange,
    Changes,
    Due,
    EntryPage,
    Filing,
    Keys,
    Lanes,
    Loaded,
    Outcome,
    Page,
    Parked,
    Renewal,
    Stats,
    StoreError,
    StoreUnavailable,
)
from alertbot.store.rows import Row, claimed, clashes, filed, grouped, orphaned, recorded, retried, waits
from alertbot.store.sqlite_budgets import WrittenBehind
from alertbot.store.sqlite_file import SCHEMA, DatabaseFile, first
from alertbot.store.sqlite_rows import (
    DELIVERIES,
    HAS_PIECE,
    LANES,
    NOTHING_SHOWN,
    RAGING,
    RECORDED,
    STORMY,
    TRIMMED_AT_ONCE,
    TRIMS,
    UNDECIDED,
    ChangesToWrite,
    RecordToWrite,
    append,
    bodies,
    delivery_of,
    delivery_row,
    docs,
    insert,
    load,
)
from alertbot.store.sqlite_threads import Checkpointer, EventRow, Reader, Writer

T = TypeVar("T")

#: How the keys of small facts begin that are lanes' breakers, and of those that are forgotten at a time.
_BREAKER: Final = "breaker:"
_ONCE: Final = "once:"


class SqliteStore:
    """See `alertbot.store.base.Store`.

    `readonly` opens beside a running bot: nothing is locked, migrated or written. `schema` is the folder of
    the numbered migrations.
    """

    def __init__(self, path: str | Path, *, readonly: bool = False, schema: Path = SCHEMA) -> None:
        self.path = Path(path)
        self._readonly = readonly
        self._file = DatabaseFile(self.path, readonly=readonly, schema=schema)
        self._writer: Writer | None = None
        self._engine: Reader | None = None
        self._people: Reader | None = None
        self._checkpointer: Checkpointer | None = None
        self._budgets = WrittenBehind()
        self._breakers: dict[str, Breaker] = {}
        """As written: nobody else has the file."""

    @property
    def commits(self) -> int:
        """Transactions since the store was opened."""
        return 0 if self._writer is None else self._writer.commits

    @property
    def calls(self) -> int:
        """Calls that wrote since the store was opened: the work that `commits` carried."""
        return 0 if self._writer is None else self._writer.jobs

    # Opening and closing.

    async def open(self) -> None:
        """Raises `StoreUnusable` for a file that is damaged, foreign, newer, or in another alertbot's use."""
        file = self._file
        connection = await asyncio.to_thread(file.open)
        self._engine, self._people = (Reader(file.reading, file.translate) for _ in range(2))
        if self._readonly:
            connection.close()
            return
        await asyncio.to_thread(_end_leases, connection, file)
        self._budgets.read(connection)
        found = connection.execute("SELECT key, value FROM meta WHERE key GLOB ?", (f"{_BREAKER}*",)).fetchall()
        self._breakers = {key.removeprefix(_BREAKER): abandoned(codec.breaker.decode(doc)) for key, doc in found}
        self._checkpointer = Checkpointer(file.connect)
        self._writer = Writer(file, append, self._checkpointer.written)
        self._checkpointer.start()
        self._writer.start(connection)

    async def close(self) -> None:
        if self._writer is not None and (spent := self._budgets.take()):
            with contextlib.suppress(StoreUnavailable):  # closed already, or away: the provider will say 429
                await self._write(lambda c: sqlite_budgets.write(c, spent))
        await asyncio.to_thread(self._close)

    def _close(self) -> None:
        for part in (self._checkpointer, self._engine, self._people, self._writer):
            if part is not None:
                part.close()
        self._file.unlock()

    async def _write(
        self,
        run: Callable[[sqlite3.Connection], T] | None = None,
        *,
        events: Sequence[EventRow] = (),
        size: int = 0,
    ) -> T:
        if self._writer is None:
            raise StoreUnavailable(f"{self.path} is {'opened for reading only' if self._readonly else 'not open'}")
        result: T = await self._writer.submit(run, events=events, size=size)
        return result

    async def _read(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """For the engine and the outbox: by a key, and by an index."""
        if self._engine is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return await self._engine.run(run)

    async def _look(self, run: Callable[[sqlite3.Connection], T]) -> T:
        """For people: what may have to read much."""
        if self._people is None:
            raise StoreUnavailable(f"{self.path} is not open")
        return await self._people.run(run)

    # The record of events.

    async def append(self, events: Sequence[RawEvent]) -> Sequence[int]:
        if not events:
            return []
        rows = [(codec.us(e.at), e.source, e.trace_id, e.body) for e in events]
        first: int = await self._write(events=rows, size=sum(len(e.body) for e in events))
        return range(first, first + len(rows))

    async def undecided(self, limit: int) -> Sequence[StoredEvent]:
        return await self._read(lambda c: bodies(c, UNDECIDED, (), 0, limit))

    async def renew(self, now: datetime) -> Renewal:
        return Renewal()

    @property
    def shared(self) -> bool:
        """One process has it for itself."""
        return False

    @property
    def changed_elsewhere(self) -> int:
        """Nobody else writes here."""
        return 0

    async def events(self, since: datetime, after: int, limit: int) -> Sequence[StoredEvent]:
        start = codec.us(since)

        def read(c: sqlite3.Connection) -> list[StoredEvent]:
            past = after
            if not past:  # past all that is older, by the index; the next calls begin where this one ends
                oldest = first(c, "SELECT min(seq) FROM events INDEXED BY events_at WHERE at >= ?", (start,))
                past = (oldest or 1) - 1
            return bodies(c, RECORDED, (start,), past, limit)

        return await self._look(read)

    async def event(self, seq: int) -> StoredEvent | None:
        def read(c: sqlite3.Connection) -> StoredEvent | None:
            sql = "SELECT at, source, body, trace_id FROM events WHERE seq = ?"
            found = c.execute(sql, (seq,)).fetchone()
            return None if found is None else StoredEvent(seq, RawEvent(codec.at(found[0]), *found[1:]))

        return await self._look(read)

    # Deciding.

    async def load(self, keys: Keys) -> Loaded:
        return await self._read(lambda c: load(c, keys))

    async def commit(self, changes: Changes) -> None:
        write = ChangesToWrite(changes)
        await self._write(write.run, size=write.size)

    async def due(self, now: datetime, limit: int) -> Due:
        ids = "SELECT id FROM {} WHERE wake_at <= ?1 ORDER BY wake_at, id LIMIT ?2"
        arms = [f"(SELECT json_group_array(id) FROM ({ids.format(table)}))" for table in ("incidents", "windows")]
        sql = f"SELECT json_array(json({arms[0]}), json({arms[1]}))"
        found = await self._read(lambda c: first(c, sql, (codec.us(now), limit)))
        return Due(*msgspec.json.decode(found, type=tuple[list[str], list[str]]))

    async def next_wake(self) -> datetime | None:
        arms = [f"SELECT min(wake_at) AS at FROM {t} WHERE wake_at IS NOT NULL" for t in ("incidents", "windows")]
        found = await self._read(lambda c: first(c, f"SELECT min(at) FROM ({arms[0]} UNION ALL {arms[1]})"))
        return None if found is None else codec.at(found)

    async def firing(self, after: tuple[str, str], limit: int) -> Sequence[Alert]:
        sql = (
            "SELECT doc FROM alerts INDEXED BY alerts_unsettled"
            " WHERE settled = 0 AND (incident, identity) > (?, ?) ORDER BY incident, identity LIMIT ?"
        )
        place = (codec.key(after[0]), codec.key(after[1]))
        return await self._read(lambda c: docs(c, codec.alerts, sql, (*place, limit)))

    # Delivering.

    async def lanes(self, now: datetime) -> Lanes:
        due, stormy = await self._read(lambda c: (first(c, LANES, (codec.us(now),)), first(c, STORMY)))
        names = msgspec.json.Decoder(list[str])
        return Lanes(names.decode(due), frozenset(names.decode(stormy)), dict(self._breakers))

    async def claim(self, lane: str, now: datetime, lease: str, lease_for: timedelta, limit: int) -> Sequence[Delivery]:
        def run(c: sqlite3.Connection) -> list[Delivery]:
            sql = (
                "SELECT doc FROM deliveries INDEXED BY deliveries_lane WHERE lane = ? AND due_at <= ?"
                " ORDER BY rank, since, id LIMIT ?"
            )
            found = docs(c, codec.rows, sql, (codec.key(lane), codec.us(now), limit))
            taken = [claimed(row, lease, now + lease_for) for row in found]
            insert(c, DELIVERIES, [delivery_row(row) for row in taken])
            return [row.delivery for row in taken]

        return await self._write(run, size=1024 * limit)

    async def record(self, outcome: Outcome) -> bool:
        write = RecordToWrite(outcome.entries, outcome.parked)
        spent = self._budgets.take()

        def run(c: sqlite3.Connection) -> bool:
            old = delivery_of(c, outcome.id)
            row = None if old is None else recorded(old, outcome)
            sqlite_budgets.write(c, spent)
            if row is None:
                return False
            insert(c, DELIVERIES, [delivery_row(row)])
            write.run(c)
            return True

        try:
            return await self._write(run, size=write.size + 1024)
        except StoreError:
            self._budgets.give_back(spent)
            raise

    async def waiting(self, lane: str, now: datetime, limit: int) -> Sequence[Delivery]:
        sql = (
            "SELECT doc FROM deliveries INDEXED BY deliveries_lane WHERE lane = ? AND due_at <= ?"
            " AND storm = '' AND instr(doc, ?) ORDER BY rank, since, id LIMIT ?"
        )
        values = (codec.key(lane), codec.us(now), NOTHING_SHOWN, limit)
        found = await self._read(lambda c: docs(c, codec.rows, sql, values))
        return [row.delivery for row in found if waits(row, now)]

    async def refile(self, filing: Filing) -> bool:
        moves = filed(filing)
        write = RecordToWrite(filing.entries, (), filing.wants)

        def run(c: sqlite3.Connection) -> bool:
            for want in filing.wants:
                if any(clashes(row, want) for row in docs(c, codec.rows, RAGING, (codec.key(want.lane),))):
                    return False
            sql = "SELECT d.doc FROM json_each(?) AS k CROSS JOIN deliveries AS d ON d.id = k.value"
            rows = docs(c, codec.rows, sql, (codec.keys(moves),))
            moved = [(row, moves[row.delivery.id](row)) for row in rows]
            insert(c, DELIVERIES, [delivery_row(new) for old, new in moved if new is not old])
            write.run(c)
            return True

        return await self._write(run, size=write.size + 1024 * len(moves))

    async def folded(self, storm: str) -> Sequence[Delivery]:
        sql = "SELECT doc FROM deliveries WHERE storm <> '' AND storm = ? ORDER BY seq"
        found = await self._read(lambda c: docs(c, codec.rows, sql, (codec.key(storm),)))
        return [row.delivery for row in found]

    async def storms(self, lane: str) -> Sequence[Delivery]:
        found = await self._read(lambda c: docs(c, codec.rows, RAGING, (codec.key(lane),)))
        return [row.delivery for row in found]

    async def spend(self, budgets: Sequence[Budget], now: datetime) -> datetime | None:
        return self._budgets.spend(budgets, now)

    async def calls_left(self, budget: Budget, now: datetime) -> int:
        return self._budgets.left(budget, now)

    async def close_budget(self, key: str, until: datetime) -> None:
        self._budgets.close(key, until)

    async def breaker(self, lane: str, change: BreakerChange) -> Breaker | None:
        name = codec.key(lane)
        after = change(self._breakers.pop(name, None))
        if after is None:
            await self._write(lambda c: c.execute("DELETE FROM meta WHERE key = ?", (_BREAKER + name,)).rowcount)
        else:
            self._breakers[name] = after
            await self.set_meta(_BREAKER + name, codec.text(after))
        return after

    async def next_delivery(self) -> datetime | None:
        sql = "SELECT min(due_at) FROM deliveries WHERE due_at IS NOT NULL"
        found = await self._read(lambda c: first(c, sql))
        return None if found is None else codec.at(found)

    # Looking.

    async def incident(self, incident_id: str) -> Incident | None:
        sql = "SELECT doc FROM incidents WHERE id = ?"
        found = await self._read(lambda c: first(c, sql, (codec.key(incident_id),)))
        return None if found is None else codec.incident.decode(found)

    async def incidents(
        self,
        *,
        statuses: Sequence[str] = (),
        severity: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        where, params = "", list[Any]()
        if severity is not None:
            where += " AND severity = ?"
            params.append(severity)
        if since is not None:
            where += " AND created_at >= ?"
            params.append(codec.us(since))
        if cursor is not None:
            where += " AND (created_at, id) < (?, ?)"
            params.extend(codec.read_incident_cursor(cursor))
        # Each status by itself, for in each the index has them in order.
        order = "ORDER BY created_at DESC, id DESC LIMIT ?"
        by_status = [(" AND status = ?", [status]) for status in sorted(set(statuses))] or [("", [])]
        arms = [
            f"SELECT * FROM (SELECT created_at, id, doc FROM incidents WHERE 1{where}{one} {order})"
            for one, _ in by_status
        ]
        sql = f"SELECT doc FROM ({' UNION ALL '.join(arms)}) {order}"
        filled = [value for _, one in by_status for value in (*params, *one, limit + 1)]
        found = await self._look(lambda c: docs(c, codec.incidents, sql, (*filled, limit + 1)))
        more = len(found) > limit
        return Page(found[:limit], codec.incident_cursor(found[limit - 1]) if more else None)

    async def past(self, key: str, since: datetime, limit: int = 100) -> Past:
        of_group = "SELECT {} FROM incidents WHERE key = ? AND created_at >= ? ORDER BY seq DESC LIMIT ?"
        latest = (
            f"SELECT e.doc FROM ({of_group.format('id')}) AS i CROSS JOIN entries AS e INDEXED BY entries_incident"
            " ON e.incident = i.id AND e.incident <> '' WHERE json_extract(e.doc, '$.reason') = ?"
            " ORDER BY e.seq DESC LIMIT 1"
        )
        params = (codec.key(key), codec.us(since), limit)

        def read(c: sqlite3.Connection) -> Past:
            note = first(c, latest, (*params, Reason.NOTE_ADDED.value))
            incidents = docs(c, codec.incidents, of_group.format("doc"), params)
            return Past(incidents, None if note is None else codec.entry.decode(note))

        return await self._look(read)

    async def members_of(self, incident_ids: Sequence[str], limit: int = 100) -> Mapping[str, Sequence[Alert]]:
        sql = (
            "SELECT doc FROM (SELECT a.doc, row_number() OVER"
            " (PARTITION BY a.incident ORDER BY a.firing DESC, a.starts_at DESC, a.identity) AS place"
            " FROM json_each(?) AS k CROSS JOIN alerts AS a ON a.incident = k.value) WHERE place <= ? ORDER BY place"
        )
        found = await self._look(lambda c: docs(c, codec.alerts, sql, (codec.keys(incident_ids), limit)))
        return grouped(incident_ids, found, lambda a: a.incident)

    async def members(self, incident_id: str, limit: int = 1000) -> Sequence[Alert]:
        sql = "SELECT doc FROM alerts WHERE incident = ? ORDER BY firing DESC, starts_at DESC, identity LIMIT ?"
        return await self._read(lambda c: docs(c, codec.alerts, sql, (codec.key(incident_id), limit)))

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        sql = "SELECT doc FROM deliveries WHERE incident = ? ORDER BY seq"
        found = await self._read(lambda c: docs(c, codec.rows, sql, (codec.key(incident_id),)))
        return [row.delivery for row in found]

    async def deliveries_of(self, incident_ids: Sequence[str]) -> Mapping[str, Sequence[Delivery]]:
        sql = "SELECT d.doc FROM json_each(?) AS k CROSS JOIN deliveries AS d ON d.incident = k.value ORDER BY d.seq"
        found = await self._look(lambda c: docs(c, codec.rows, sql, (codec.keys(incident_ids),)))
        return grouped(incident_ids, (row.delivery for row in found), lambda d: d.want.incident)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        row = await self._read(lambda c: delivery_of(c, delivery_id))
        return None if row is None else row.delivery

    async def entries(
        self,
        *,
        incident: str = "",
        identity: str = "",
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 200,
    ) -> EntryPage:
        where = ["seq > ?"]
        params: list[Any] = [0 if cursor is None else codec.read_entry_cursor(cursor)]
        if incident:
            where.append("incident <> '' AND incident = ?")
            params.append(codec.key(incident))
        if identity:
            where.append("identity <> '' AND identity = ?")
            params.append(codec.key(identity))
        if since is not None:
            where.append("at > ?")
            params.append(codec.us(since))
        sql = f"SELECT json_array(seq, json(doc)) AS doc FROM entries WHERE {' AND '.join(where)} ORDER BY seq LIMIT ?"
        found = await self._read(lambda c: docs(c, codec.entries, sql, (*params, limit + 1)))
        more = len(found) > limit
        return EntryPage([entry for _, entry in found[:limit]], str(found[limit - 1][0]) if more else None)

    async def find_alerts(self, labels: Mapping[str, str], limit: int = 100) -> Sequence[Alert]:
        pieces = codec.searchable(labels)
        sql = "SELECT starts_at, identity, incident, doc FROM alerts AS a WHERE current = 1" + HAS_PIECE * len(pieces)

        def read(c: sqlite3.Connection) -> list[Alert]:
            found = (r for r in c.execute(sql, pieces) if codec.has_labels(codec.labels.decode(r[3]).labels, labels))
            newest = heapq.nsmallest(limit, found, key=lambda r: (-r[0], r[1], r[2]))
            return [codec.alert.decode(r[3]) for r in newest]

        return await self._look(read)

    async def windows(self, since: datetime, limit: int = 500) -> Sequence[Window]:
        sql = "SELECT doc FROM windows WHERE over_at IS NULL OR over_at >= ? ORDER BY starts_at DESC, id LIMIT ?"
        return await self._read(lambda c: docs(c, codec.windows, sql, (codec.us(since), limit)))

    async def window(self, window_id: str) -> Window | None:
        sql = "SELECT doc FROM windows WHERE id = ?"
        found = await self._read(lambda c: first(c, sql, (codec.key(window_id),)))
        return None if found is None else codec.window.decode(found)

    async def windows_named(self, window_ids: Sequence[str]) -> Mapping[str, Window]:
        sql = "SELECT w.doc FROM json_each(?) AS k CROSS JOIN windows AS w ON w.id = k.value"
        return {w.id: w for w in await self._read(lambda c: docs(c, codec.windows, sql, (codec.keys(window_ids),)))}

    async def deploys(self, since: datetime, service: str | None = None, limit: int = 500) -> Sequence[Deploy]:
        of = "" if service is None else " AND service = ?"
        sql = f"SELECT doc FROM deploys WHERE heard_at >= ?{of} ORDER BY heard_at DESC, id LIMIT ?"
        params = [codec.us(since), *([] if service is None else [codec.key(service)]), limit]
        return await self._read(lambda c: docs(c, codec.deploys, sql, params))

    async def deploy(self, deploy_id: str) -> Deploy | None:
        sql = "SELECT doc FROM deploys WHERE id = ?"
        found = await self._read(lambda c: first(c, sql, (codec.key(deploy_id),)))
        return None if found is None else codec.deploy.decode(found)

    async def deploys_named(self, deploy_ids: Sequence[str]) -> Mapping[str, Deploy]:
        sql = "SELECT d.doc FROM json_each(?) AS k CROSS JOIN deploys AS d ON d.id = k.value"
        return {d.id: d for d in await self._read(lambda c: docs(c, codec.deploys, sql, (codec.keys(deploy_ids),)))}

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        sql = "SELECT doc FROM parked ORDER BY at DESC, id DESC LIMIT ?"
        return await self._look(lambda c: docs(c, codec.parked, sql, (limit,)))

    async def parked_item(self, parked_id: str) -> Parked | None:
        def read(c: sqlite3.Connection) -> Parked | None:
            found = c.execute("SELECT doc, raw FROM parked WHERE id = ?", (codec.key(parked_id),)).fetchone()
            return None if found is None else codec.parked_item(found[0], found[1])

        return await self._look(read)

    async def retry_parked(self, parked_id: str, now: datetime) -> bool:
        def run(c: sqlite3.Connection) -> bool:
            item = c.execute("SELECT kind, ref FROM parked WHERE id = ?", (codec.key(parked_id),)).fetchone()
            if item is None:
                return False
            kind, ref = item
            if kind == "delivery":
                row = delivery_of(c, ref)
                if row is None:
                    return False
                insert(c, DELIVERIES, [delivery_row(retried(row, now))])
            elif kind == "event":
                seq = int(ref) if ref.isdecimal() else 0
                if first(c, "SELECT 1 FROM events WHERE seq = ?", (seq,)) is None:
                    return False
                c.execute("INSERT OR IGNORE INTO undecided VALUES (?)", (seq,))
            c.execute("DELETE FROM parked WHERE id = ?", (codec.key(parked_id),))
            return True

        return await self._write(run)

    async def drop_parked(self, parked_id: str) -> bool:
        return await self._write(
            lambda c: c.execute("DELETE FROM parked WHERE id = ?", (codec.key(parked_id),)).rowcount > 0
        )

    async def stats(self, now: datetime) -> Stats:
        sql = (
            "SELECT (SELECT count(*) FROM undecided), (SELECT count(*) FROM deliveries WHERE due_at <= ?),"
            " (SELECT count(*) FROM parked),"
            " (SELECT count(*) FROM incidents WHERE status IN ('open', 'acknowledged')),"
            " (SELECT count(*) FROM deliveries WHERE raging = 1), (SELECT count(*) FROM deliveries WHERE storm <> '')"
        )
        found = await self._look(lambda c: c.execute(sql, (codec.us(now),)).fetchone())
        return Stats(*found)

    async def trim(self, before: datetime) -> int:
        """In pieces, so that nobody waits for long: an interrupted one goes on at the next call."""
        limit = codec.us(before)
        forgotten = 0
        for step in TRIMS:
            while True:
                rows, counted = await self._write(lambda c, step=step: step(c, limit))  # type: ignore[misc]
                forgotten += counted
                if rows < TRIMMED_AT_ONCE:
                    break
        return forgotten

    async def get_meta(self, key: str) -> str | None:
        found: str | None = await self._read(lambda c: first(c, "SELECT value FROM meta WHERE key = ?", (key,)))
        return found

    async def set_meta(self, key: str, value: str) -> None:
        sql = "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
        await self._write(lambda c: c.execute(sql, (key, value)).rowcount)

    async def facts(self) -> Mapping[str, str]:
        sql = "SELECT key, value FROM meta WHERE key NOT GLOB ? AND key NOT GLOB ?"
        return dict(await self._look(lambda c: c.execute(sql, (f"{_BREAKER}*", f"{_ONCE}*")).fetchall()))

    async def spent(self) -> Mapping[str, Spent]:
        return self._budgets.all()

    async def rows(self) -> AsyncIterator[Sequence[Row]]:
        sql = "SELECT seq, doc FROM deliveries WHERE seq > ? ORDER BY seq LIMIT 500"
        page = [(0, "")]
        while page := await self._look(partial(_fetched, sql, (page[-1][0],))):
            yield [codec.row.decode(doc) for _, doc in page]

    async def restore(self, rows: Sequence[Row], spent: Mapping[str, Spent]) -> None:
        self._budgets.restore(spent)
        written = [delivery_row(row) for row in rows]
        await self._write(lambda c: insert(c, DELIVERIES, written), size=1024 * len(written))

    async def once(self, key: str, now: datetime, until: datetime) -> bool:
        def run(c: sqlite3.Connection) -> bool:
            c.execute("DELETE FROM meta WHERE key GLOB ? AND CAST(value AS INTEGER) <= ?", (f"{_ONCE}*", codec.us(now)))
            added = c.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (_ONCE + codec.key(key), codec.us(until)))
            return added.rowcount > 0

        return await self._write(run)

    async def remember(self, key: str, until: datetime) -> None:
        await self.set_meta(_ONCE + codec.key(key), str(codec.us(until)))


def _fetched(sql: str, params: Sequence[Any], c: sqlite3.Connection) -> list[tuple[int, str]]:
    return c.execute(sql, params).fetchall()


def _end_leases(connection: sqlite3.Connection, file: DatabaseFile) -> None:
    """The file's lock is ours, so whoever held a lease is dead: nobody has to wait for it to run out."""
    leased = "SELECT doc FROM deliveries WHERE due_at IS NOT NULL AND json_extract(doc, '$.delivery.lease') <> ''"
    try:
        connection.execute("BEGIN IMMEDIATE")
        insert(
            connection, DELIVERIES, [delivery_row(orphaned(row)) for row in docs(connection, codec.rows, leased, ())]
        )
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        file.unlock()
        raise file.translate(error) from error
