"""The statements of the embedded store: rows to values, values to rows.

SQLite lets go of Python's lock at every row, and in a busy process each return costs up to a switch interval:
so a list is fetched as one row of JSON, and many rows are written by one statement.
"""

# ruff: noqa: S608  # all pieces of SQL are our constants; values are bound
from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

import msgspec

from alertbot.domain.deploys import Deploy
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Entry, Incident, IncidentStatus, Want
from alertbot.domain.windows import Window
from alertbot.store import codec
from alertbot.store.base import DEPLOYS_LOADED, SOURCES_LOADED, Changes, Keys, Loaded, Parked, Source
from alertbot.store.rows import Row, raging, wanted
from alertbot.store.sqlite_file import first
from alertbot.store.sqlite_threads import EventRow

T = TypeVar("T")
SqlRow = tuple[Any, ...]

#: Bytes of bodies and number of events that are read as one row.
BODIES: Final = 16 * 1024 * 1024
EVENTS: Final = 1000
#: Things forgotten in one transaction.
TRIMMED_AT_ONCE: Final = 500

# Reading.


def docs(c: sqlite3.Connection, decoder: msgspec.json.Decoder[list[T]], sql: str, params: Sequence[Any]) -> list[T]:
    """The values of a query's column `doc`, in its order: fetched as one row."""
    return decoder.decode(f"[{first(c, f'SELECT group_concat(doc) FROM ({sql})', params) or ''}]")


def delivery_of(c: sqlite3.Connection, delivery_id: str) -> Row | None:
    """A delivery by its id."""
    found = first(c, "SELECT doc FROM deliveries WHERE id = ?", (codec.key(delivery_id),))
    return None if found is None else codec.row.decode(found)


UNDECIDED: Final = (
    "SELECT u.seq, length(e.body) AS size FROM (SELECT seq FROM undecided"
    " WHERE seq > ? ORDER BY seq LIMIT ?) AS u"
    " CROSS JOIN events AS e ON e.seq = u.seq"
)
RECORDED: Final = "SELECT seq, length(body) AS size FROM events WHERE +at >= ? AND seq > ? ORDER BY seq LIMIT ?"


def bodies(c: sqlite3.Connection, places: str, params: SqlRow, after: int, limit: int) -> list[StoredEvent]:
    """Events of which `places` gives seq and size, past a seq: as one row for each `BODIES` bytes."""
    sql = (
        f"WITH places AS ({places}),"
        " sums AS (SELECT seq, sum(size) OVER (ORDER BY seq) - size AS before FROM places)"
        " SELECT json_group_array(json_array(e.seq, e.at, e.source, e.trace_id, length(e.body))),"
        " CAST(group_concat(e.body, '') AS BLOB)"
        " FROM sums CROSS JOIN events AS e ON e.seq = sums.seq WHERE sums.before < ?"
    )
    found: list[StoredEvent] = []
    while len(found) < limit:
        heads, joined = c.execute(sql, (*params, after, min(limit - len(found), EVENTS), BODIES)).fetchone()
        start = 0
        for seq, at, source, trace_id, size in _heads.decode(heads):
            body = joined[start : start + size] if size else b""
            found.append(StoredEvent(seq, RawEvent(codec.at(at), source, body, trace_id)))
            start += size
            after = seq
        if heads == "[]":
            break
    return found


#: What stands in the text of a delivery that has nothing at its destination: enough to pass over most that have.
NOTHING_SHOWN: Final = '"shown":{"status":null'

#: Lanes with something due, by their most urgent: a few steps of the index for each, however much is due.
LANES: Final = (
    "WITH RECURSIVE l (lane) AS (SELECT min(lane) FROM deliveries WHERE due_at IS NOT NULL UNION ALL SELECT"
    " (SELECT min(lane) FROM deliveries WHERE due_at IS NOT NULL AND lane > l.lane) FROM l WHERE lane IS NOT NULL)"
    " SELECT json_group_array(lane) FROM (SELECT d.lane FROM l CROSS JOIN deliveries AS d ON d.seq = (SELECT seq"
    " FROM deliveries INDEXED BY deliveries_lane WHERE lane = l.lane AND due_at <= ? ORDER BY rank, since, id LIMIT 1)"
    " ORDER BY d.rank, d.since, d.lane)"
)
#: Storms that are not over: of a lane, and in which lanes.
RAGING: Final = "SELECT doc FROM deliveries WHERE raging = 1 AND lane = ? ORDER BY seq"
STORMY: Final = "SELECT json_group_array(lane) FROM (SELECT DISTINCT lane FROM deliveries WHERE raging = 1)"

_heads = msgspec.json.Decoder(list[tuple[int, int, str, str, int]])
HAS_PIECE: Final = " AND instr(a.doc, ?)"

_ALERTS_BY_IDENTITY: Final = (
    "SELECT group_concat(a.doc) FROM json_each(?) AS k"
    " CROSS JOIN alerts AS a INDEXED BY alerts_current ON a.identity = k.value AND a.current = 1"
)
_MEMBERS: Final = (
    "SELECT group_concat(a.doc) FROM json_each(?) AS k"
    " CROSS JOIN alerts AS a INDEXED BY alerts_unsettled ON a.incident = k.value AND a.settled = 0"
)
_INCIDENTS_BY_ID: Final = (
    "SELECT group_concat(i.doc) FROM json_each(?) AS k CROSS JOIN incidents AS i ON i.id = k.value"
)
_INCIDENTS_BY_KEY: Final = (
    "SELECT group_concat(i.doc) FROM json_each(?) AS k"
    " CROSS JOIN incidents AS i ON i.seq = (SELECT max(seq) FROM incidents WHERE key = k.value)"
)
_RELATIONS: Final = (
    "SELECT json_group_array(json_array(s.relation, s.identity, s.starts_at, s.two_sided, s.name))"
    " FROM json_each(?) AS k CROSS JOIN (SELECT 0 AS two_sided UNION ALL SELECT 1) AS side"
    " CROSS JOIN sources AS s ON s.seq IN (SELECT seq FROM sources WHERE relation = k.value"
    f" AND two_sided = side.two_sided ORDER BY starts_at, identity, incident LIMIT {SOURCES_LOADED})"
)
#: One step of the index for each incident, however many of its alerts are held.
_WAITING: Final = (
    "WITH RECURSIVE w (relation, incident) AS ("
    " SELECT k.value, (SELECT min(incident) FROM alerts WHERE held_by = k.value) FROM json_each(?) AS k"
    " UNION ALL SELECT relation, (SELECT min(incident) FROM alerts WHERE held_by = w.relation"
    " AND incident > w.incident) FROM w WHERE w.incident IS NOT NULL)"
    " SELECT json_group_array(json_array(relation, incident)) FROM w WHERE incident IS NOT NULL"
)
_HELD_IN: Final = (
    "SELECT group_concat(a.doc) FROM (SELECT DISTINCT h.incident, h.identity FROM json_each(?) AS k"
    " CROSS JOIN held AS h ON h.window = k.value) AS h"
    " CROSS JOIN alerts AS a ON a.incident = h.incident AND a.identity = h.identity AND a.current = 1"
)
_WINDOWS: Final = (
    "SELECT group_concat(w.doc) FROM windows AS w WHERE w.over_at IS NULL OR w.id IN (SELECT value FROM json_each(?))"
)
_DEPLOYS_OF: Final = (
    "SELECT group_concat(d.doc) FROM json_each(?) AS k CROSS JOIN deploys AS d ON d.seq IN (SELECT seq FROM deploys"
    f" WHERE service = k.value ORDER BY heard_at DESC, id LIMIT {DEPLOYS_LOADED})"
)
_DEPLOYS_SINCE: Final = (
    "SELECT group_concat(d.doc) FROM json_each(?) AS k CROSS JOIN deploys AS d ON d.heard_at >= k.value"
)
_OPEN_AND_FIRING: Final = (
    "SELECT i.id, a.doc FROM incidents AS i INDEXED BY incidents_status"
    " CROSS JOIN alerts AS a ON a.incident = i.id AND a.firing = 1 WHERE i.status IN ('open', 'acknowledged')"
)


def load(c: sqlite3.Connection, keys: Keys) -> Loaded:
    """One statement, so one view of the data. With labels there are two, and a transaction around them."""
    if keys.labels is None:
        return _load_named(c, keys, [])
    c.execute("BEGIN")
    loaded = _load_named(c, keys, _labelled(c, keys.labels))
    c.execute("COMMIT")
    return loaded


def _labelled(c: sqlite3.Connection, labels: Mapping[str, str]) -> list[str]:
    pieces = codec.searchable(labels)
    found: set[str] = set()
    for incident, doc in c.execute(_OPEN_AND_FIRING + HAS_PIECE * len(pieces), pieces):
        if incident not in found and codec.has_labels(codec.labels.decode(doc).labels, labels):
            found.add(incident)
    return sorted(found)


def _load_named(c: sqlite3.Connection, keys: Keys, labelled: list[str]) -> Loaded:
    since = [] if keys.deploys_since is None else [codec.us(keys.deploys_since)]
    parts = (
        (_ALERTS_BY_IDENTITY, keys.identities),
        (_MEMBERS, keys.members),
        (_HELD_IN, keys.held_in),
        (_INCIDENTS_BY_ID, keys.incidents | keys.members | frozenset(labelled)),
        (_INCIDENTS_BY_KEY, keys.incident_keys),
        (_RELATIONS, keys.relations),
        (_WAITING, keys.waiting),
        (_WINDOWS, keys.windows),
        (_DEPLOYS_OF, keys.services),
    )
    sql = ", ".join(f"({part})" if named else "NULL" for part, named in parts)
    params = [codec.keys(named) for _, named in parts if named]
    sql += f", ({_DEPLOYS_SINCE})" if since else ", NULL"
    params += [codec.text(since)] if since else []
    found = c.execute(f"SELECT {sql}", params).fetchone()
    current, members, held, by_id, by_key, relations, waiting, windows, of_services, recent = found
    alerts = {
        (a.incident, a.identity): a for docs in (current, members) for a in codec.alerts.decode(f"[{docs or ''}]")
    }
    was_held = codec.alerts.decode(f"[{held or ''}]")
    # A row says that it was held once; the alert says whether that was in its latest episode.
    alerts |= {(a.incident, a.identity): a for a in was_held if not keys.held_in.isdisjoint(a.held_in)}
    incidents = {i.id: i for docs in (by_id, by_key) for i in codec.incidents.decode(f"[{docs or ''}]")}
    deploys = {d.id: d for docs in (of_services, recent) for d in codec.deploys.decode(f"[{docs or ''}]")}
    return Loaded(
        alerts=[alerts[place] for place in sorted(alerts)],
        incidents=[incidents[i] for i in sorted(incidents)],
        relations=_read_relations(relations or "[]"),
        waiting=_read_waiting(waiting or "[]"),
        labelled=labelled,
        windows=sorted(codec.windows.decode(f"[{windows or ''}]"), key=lambda w: w.id),
        deploys=[deploys[d] for d in sorted(deploys)],
    )


def _read_relations(text: str) -> dict[str, list[Source]]:
    rows = msgspec.json.decode(text, type=list[tuple[str, str, int, int, str]])
    found: dict[str, list[Source]] = {}
    for relation, identity, starts_at, two_sided, name in sorted(rows, key=lambda row: (row[0], row[2], row[1])):
        found.setdefault(relation, []).append(Source(identity, codec.at(starts_at), bool(two_sided), name))
    return found


def _read_waiting(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for relation, incident in sorted(msgspec.json.decode(text, type=list[tuple[str, str]])):
        found.setdefault(relation, []).append(incident)
    return found


# Writing.


@dataclass(frozen=True, slots=True)
class _Into:
    """A table, the columns written, and what happens to a row that is there."""

    table: str
    columns: tuple[str, ...]
    conflict: str = ""

    def sql(self, rows: int) -> str:
        one = f"({', '.join('?' * len(self.columns))})"
        values = ", ".join([one] * rows)
        return f"INSERT INTO {self.table} ({', '.join(self.columns)}) VALUES {values}{self.conflict}"


def _upsert(table: str, columns: tuple[str, ...], by: tuple[str, ...]) -> _Into:
    sets = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in by)
    return _Into(table, columns, f" ON CONFLICT ({', '.join(by)}) DO UPDATE SET {sets}")


_EVENTS: Final = _Into("events", ("at", "source", "trace_id", "body"))
ALERTS: Final = _upsert(
    "alerts",
    ("incident", "identity", "settled", "current", "firing", "starts_at", "seen_at", "held_by", "doc"),
    ("incident", "identity"),
)
SOURCES: Final = _Into("sources", ("relation", "two_sided", "starts_at", "identity", "incident", "name"))
INCIDENTS: Final = _upsert(
    "incidents", ("id", "key", "status", "severity", "created_at", "ended_at", "wake_at", "doc"), ("id",)
)
DELIVERIES: Final = _upsert(
    "deliveries", ("id", "incident", "lane", "rank", "since", "due_at", "storm", "raging", "doc"), ("id",)
)
_ENTRIES: Final = _Into("entries", ("at", "incident", "identity", "doc"))
WINDOWS: Final = _upsert("windows", ("id", "starts_at", "wake_at", "over_at", "doc"), ("id",))
DEPLOYS: Final = _upsert("deploys", ("id", "service", "heard_at", "doc"), ("id",))
HELD: Final = _Into("held", ("window", "incident", "identity"), " ON CONFLICT DO NOTHING")
_PARKED: Final = _upsert("parked", ("id", "at", "kind", "ref", "doc", "raw"), ("id",))
#: An alert whose place in the indexes stays: they are left alone. Most reports are repeats.
_ALERTS_REPEATED: Final = replace(
    ALERTS,
    conflict=" ON CONFLICT (incident, identity) DO UPDATE SET firing = excluded.firing,"
    " starts_at = excluded.starts_at, seen_at = excluded.seen_at, doc = excluded.doc",
)
_ALERTS_BEFORE: Final = (
    "SELECT (SELECT json_group_array(json_array(a.incident, a.identity, a.settled, a.current, a.held_by))"
    " FROM json_each(?1) AS k CROSS JOIN alerts AS a ON a.incident = json_extract(k.value, '$[0]')"
    " AND a.identity = json_extract(k.value, '$[1]')),"
    " (SELECT json_group_array("
    "json_array(s.seq, s.relation, s.two_sided, s.starts_at, s.identity, s.incident, s.name))"
    " FROM json_each(?1) AS k CROSS JOIN sources AS s INDEXED BY sources_alert"
    " ON s.incident = json_extract(k.value, '$[0]') AND s.identity = json_extract(k.value, '$[1]'))"
)
_places = msgspec.json.Decoder(list[tuple[str, str, int, int, str | None]])
_source_places = msgspec.json.Decoder(list[tuple[int, str, int, int, str, str, str]])
#: Rows a statement. Few lengths, so that the prepared statements are few.
_LENGTHS: Final = (256, 128, 64, 32, 16, 8, 4, 2, 1)


def insert(c: sqlite3.Connection, into: _Into, rows: Sequence[SqlRow]) -> int:
    """Writes rows in order with few statements; returns the rowid of the last."""
    start, last = 0, 0
    for length in _LENGTHS:
        while len(rows) - start >= length:
            flat = [value for row in rows[start : start + length] for value in row]
            last = c.execute(into.sql(length), flat).lastrowid or 0
            start += length
    return last


def append(c: sqlite3.Connection, rows: Sequence[EventRow]) -> int:
    """Writes events; returns the first one's seq. They are consecutive, for nobody else writes."""
    return insert(c, _EVENTS, rows) - len(rows) + 1


def alert_row(alert: Alert) -> SqlRow:
    """An alert with what it is found by."""
    held_by = None if alert.settled or alert.hold is None else alert.hold.relation
    return (
        codec.key(alert.incident),
        codec.key(alert.identity),
        alert.settled,
        alert.current,
        alert.firing,
        codec.us(alert.starts_at),
        codec.us(alert.seen_at),
        None if held_by is None else codec.key(held_by),
        codec.text(alert),
    )


def source_rows(alert: Alert) -> Iterable[SqlRow]:
    """The places of an alert on the source side of relations."""
    if alert.current and alert.firing:
        starts_at, name = codec.us(alert.starts_at), codec.key(alert.labels.get("alertname", ""))
        for relation in alert.source_of:
            both = relation in alert.two_sided
            yield (
                codec.key(relation),
                both,
                starts_at,
                codec.key(alert.identity),
                codec.key(alert.incident),
                name,
            )


def incident_row(incident: Incident) -> SqlRow:
    """An incident with what it is found by."""
    ended = incident.status is IncidentStatus.RESOLVED
    return (
        codec.key(incident.id),
        codec.key(incident.key),
        incident.status,
        incident.severity,
        codec.us(incident.created_at),
        codec.us(incident.resolved_at or incident.created_at) if ended else None,
        codec.us_or_none(incident.wake_at),
        codec.text(incident),
    )


def window_row(window: Window) -> SqlRow:
    """A window with what it is found by."""
    return (
        codec.key(window.id),
        codec.us(window.starts_at),
        codec.us_or_none(window.wake_at),
        codec.us_or_none(window.over_at),
        codec.text(window),
    )


def deploy_row(deploy: Deploy) -> SqlRow:
    """A deploy with what it is found by."""
    return codec.key(deploy.id), codec.key(deploy.service), codec.us(deploy.heard_at), codec.text(deploy)


def delivery_row(row: Row) -> SqlRow:
    """A delivery with what it is found by."""
    want = row.delivery.want
    return (
        codec.key(row.delivery.id),
        codec.key(want.incident),
        codec.key(want.lane),
        want.rank,
        codec.us(row.since),
        codec.us_or_none(row.due_at),
        codec.key(row.delivery.storm),
        raging(row),
        codec.text(row),
    )


class RecordToWrite:
    """Entries, parked things and wants, encoded outside the writer's thread."""

    def __init__(self, entries: Sequence[Entry], parked: Sequence[Parked], wants: Sequence[Want] = ()) -> None:
        self._entries = [(codec.us(e.at), codec.key(e.incident), codec.key(e.identity), codec.text(e)) for e in entries]
        self._parked = [
            (
                codec.key(p.id),
                codec.us(p.at),
                p.kind,
                codec.key(p.ref),
                codec.text(replace(p, raw=b"")),
                p.raw,
            )
            for p in parked
        ]
        self._wants = wants
        self.size = sum(len(e[-1]) for e in self._entries) + sum(len(p[-1]) for p in self._parked) + 1024 * len(wants)

    def run(self, c: sqlite3.Connection) -> None:
        """Writes all of it, inside a transaction."""
        if self._wants:
            ids = codec.keys({want.id for want in self._wants})
            sql = "SELECT d.doc FROM json_each(?) AS k CROSS JOIN deliveries AS d ON d.id = k.value"
            before = {row.delivery.id: row for row in docs(c, codec.rows, sql, (ids,))}
            after: dict[str, Row] = {}
            for want in self._wants:
                after[want.id] = wanted(after.get(want.id, before.get(want.id)), want)
            insert(
                c,
                DELIVERIES,
                [delivery_row(row) for name, row in after.items() if row is not before.get(name)],
            )
        insert(c, _ENTRIES, self._entries)
        insert(c, _PARKED, self._parked)


class ChangesToWrite:
    """A decision, encoded outside the writer's thread."""

    def __init__(self, changes: Changes) -> None:
        alerts = {(a.incident, a.identity): a for a in changes.alerts}.values()
        self._done = codec.text(list(changes.done)) if changes.done else ""
        self._alerts = [alert_row(alert) for alert in alerts]
        self._sources = [row for alert in alerts for row in source_rows(alert)]
        self._incidents = [incident_row(i) for i in {i.id: i for i in changes.incidents}.values()]
        self._windows = [window_row(w) for w in changes.windows]
        self._deploys = [deploy_row(d) for d in changes.deploys]
        self._held = [
            (codec.key(window), codec.key(a.incident), codec.key(a.identity)) for a in alerts for window in a.held_in
        ]
        self._record = RecordToWrite(changes.entries, changes.parked, changes.wants)
        written = (self._alerts, self._incidents, self._windows, self._deploys)
        docs = sum(len(row[-1]) for rows in written for row in rows)
        self.size = docs + self._record.size

    def run(self, c: sqlite3.Connection) -> None:
        """Writes all of it, inside a transaction."""
        if self._done:
            c.execute("DELETE FROM undecided WHERE seq IN (SELECT value FROM json_each(?))", (self._done,))
        if self._alerts:
            self._write_alerts(c)
        insert(c, INCIDENTS, self._incidents)
        insert(c, WINDOWS, self._windows)
        insert(c, DEPLOYS, self._deploys)
        insert(c, HELD, self._held)
        self._record.run(c)

    def _write_alerts(self, c: sqlite3.Connection) -> None:
        """Only what changes is written: a row of an index costs as much as the alert itself."""
        found, sources = c.execute(_ALERTS_BEFORE, (codec.text([row[:2] for row in self._alerts]),)).fetchone()
        before = {(row[0], row[1]): row[2:] for row in _places.decode(found)}
        repeated: list[SqlRow] = []
        changed: list[SqlRow] = []
        for row in self._alerts:
            same = before.get((row[0], row[1])) == (row[2], row[3], row[7])
            (repeated if same else changed).append(row)
        insert(c, ALERTS, changed)
        insert(c, _ALERTS_REPEATED, repeated)
        old = {row[1:]: row[0] for row in _source_places.decode(sources)}
        new = set(self._sources)
        if gone := [seq for source, seq in old.items() if source not in new]:
            c.execute("DELETE FROM sources WHERE seq IN (SELECT value FROM json_each(?))", (codec.text(gone),))
        insert(c, SOURCES, [source for source in self._sources if source not in old])


# Forgetting: each step returns how many rows it took, of at most TRIMMED_AT_ONCE, and how many of them count.


def trim_parked(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Parked parts of bodies and events: nobody wanted them for as long as anything is kept."""
    sql = (
        "DELETE FROM parked WHERE seq IN"
        " (SELECT seq FROM parked WHERE at < ? AND kind <> 'delivery' ORDER BY at LIMIT ?)"
    )
    return c.execute(sql, (before, TRIMMED_AT_ONCE)).rowcount, 0


def trim_events(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Events that are decided and not parked."""
    sql = (
        "DELETE FROM events WHERE seq IN (SELECT seq FROM events AS e INDEXED BY events_at WHERE at < ?"
        " AND NOT EXISTS (SELECT 1 FROM undecided AS u WHERE u.seq = e.seq)"
        " AND NOT EXISTS (SELECT 1 FROM parked WHERE kind = 'event' AND ref = CAST(e.seq AS TEXT)) LIMIT ?)"
    )
    rows = c.execute(sql, (before, TRIMMED_AT_ONCE)).rowcount
    return rows, rows


def trim_incidents(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Resolved incidents with their alerts, deliveries and entries."""
    sql = (
        "SELECT id FROM incidents AS i WHERE ended_at < ? AND NOT EXISTS"
        " (SELECT 1 FROM alerts INDEXED BY alerts_unsettled WHERE incident = i.id AND settled = 0) LIMIT ?"
    )
    gone = [name for (name,) in c.execute(sql, (before, TRIMMED_AT_ONCE))]
    if not gone:
        return 0, 0
    named = (codec.text(gone),)
    among = "IN (SELECT value FROM json_each(?))"
    c.execute(
        f"DELETE FROM parked WHERE kind = 'delivery' AND ref IN (SELECT id FROM deliveries WHERE incident {among})",
        named,
    )
    c.execute(f"DELETE FROM deliveries WHERE incident {among}", named)
    c.execute(f"DELETE FROM entries WHERE incident <> '' AND incident {among}", named)
    c.execute(f"DELETE FROM sources WHERE incident {among}", named)
    alerts = c.execute(f"DELETE FROM alerts WHERE incident {among}", named).rowcount
    c.execute(f"DELETE FROM incidents WHERE id {among}", named)
    return len(gone), len(gone) + alerts


def trim_storms(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Storms that are over."""
    sql = (
        "DELETE FROM deliveries WHERE seq IN (SELECT seq FROM deliveries AS d WHERE since < ? AND due_at IS NULL"
        " AND incident LIKE 'storm-%' AND NOT EXISTS (SELECT 1 FROM deliveries WHERE storm <> '' AND storm = d.id)"
        " LIMIT ?)"
    )
    return c.execute(sql, (before, TRIMMED_AT_ONCE)).rowcount, 0


def trim_windows(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Windows that are over, with their verdict's deliveries and entries."""
    sql = "SELECT id FROM windows WHERE over_at < ? LIMIT ?"
    gone = [name for (name,) in c.execute(sql, (before, TRIMMED_AT_ONCE))]
    among, named = "IN (SELECT value FROM json_each(?))", (codec.text(gone),)
    c.execute(
        f"DELETE FROM parked WHERE kind = 'delivery' AND ref IN (SELECT id FROM deliveries WHERE incident {among})",
        named,
    )
    c.execute(f"DELETE FROM deliveries WHERE incident {among}", named)
    c.execute(f"DELETE FROM entries WHERE incident <> '' AND incident {among}", named)
    c.execute(f"DELETE FROM held WHERE window {among}", named)
    c.execute(f"DELETE FROM windows WHERE id {among}", named)
    return len(gone), 0


def trim_deploys(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Deploys."""
    sql = "DELETE FROM deploys WHERE seq IN (SELECT seq FROM deploys WHERE heard_at < ? ORDER BY heard_at LIMIT ?)"
    return c.execute(sql, (before, TRIMMED_AT_ONCE)).rowcount, 0


def trim_alerts(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Settled alerts."""
    sql = "SELECT json_group_array(seq) FROM (SELECT seq FROM alerts WHERE settled = 1 AND seen_at < ? LIMIT ?)"
    gone = (first(c, sql, (before, TRIMMED_AT_ONCE)),)
    c.execute(
        "DELETE FROM sources WHERE seq IN (SELECT s.seq FROM json_each(?) AS k"
        " CROSS JOIN alerts AS a ON a.seq = k.value CROSS JOIN sources AS s"
        " ON s.incident = a.incident AND s.identity = a.identity)",
        gone,
    )
    rows = c.execute("DELETE FROM alerts WHERE seq IN (SELECT value FROM json_each(?))", gone).rowcount
    return rows, rows


def trim_entries(c: sqlite3.Connection, before: int) -> tuple[int, int]:
    """Entries that belong to no incident."""
    sql = "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries WHERE incident = '' AND at < ? LIMIT ?)"
    return c.execute(sql, (before, TRIMMED_AT_ONCE)).rowcount, 0


#: In this order.
TRIMS: Final = (
    trim_parked,
    trim_events,
    trim_incidents,
    trim_windows,
    trim_deploys,
    trim_storms,
    trim_alerts,
    trim_entries,
)
