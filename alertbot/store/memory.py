"""The twin in memory: what a store means, in dicts. For replay and for tests; nothing survives the process.

It never waits, so a replay of months runs as fast as its decisions.
"""

# the protocol says what each method does
from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import nsmallest
from itertools import chain, islice
from typing import Generic, TypeVar

from alertbot.domain import budgets as budget_rules
from alertbot.domain.breakers import Breaker
from alertbot.domain.budgets import Budget, Spent
from alertbot.domain.deploys import Deploy
from alertbot.domain.enrichment import Past
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Delivery, Entry, Incident, IncidentStatus, Want
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import Window
from alertbot.store import codec
from alertbot.store.base import (
    DEPLOYS_LOADED,
    SOURCES_LOADED,
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
    Source,
    Stats,
)
from alertbot.store.rows import Row, claimed, clashes, filed, orphaned, raging, recorded, retried, waits, wanted

T = TypeVar("T", int, tuple[datetime, str])
Place = tuple[str, str]  # (incident, identity)


class _Sorted(Generic[T]):
    """A list that stays in order."""

    def __init__(self) -> None:
        self._items: list[T] = []

    def add(self, item: T) -> None:
        insort(self._items, item)

    def discard(self, item: T) -> None:
        at = bisect_left(self._items, item)
        if at < len(self._items) and self._items[at] == item:
            del self._items[at]

    def __iter__(self) -> Iterator[T]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class MemoryStore:
    """See `alertbot.store.base.Store`, whose every rule it follows."""

    def __init__(self) -> None:
        self._seq = 0
        self._events: dict[int, StoredEvent] = {}
        self._undecided: _Sorted[int] = _Sorted()
        self._alerts: dict[Place, Alert] = {}
        self._by_incident: defaultdict[str, dict[str, Alert]] = defaultdict(dict)
        self._unsettled: defaultdict[str, set[str]] = defaultdict(set)
        self._current: defaultdict[str, set[str]] = defaultdict(set)
        self._sources: defaultdict[str, dict[Place, Source]] = defaultdict(dict)
        self._held: defaultdict[str, set[Place]] = defaultdict(set)
        self._incidents: dict[str, Incident] = {}
        self._newest: dict[str, list[str]] = {}
        self._wake: _Sorted[tuple[datetime, str]] = _Sorted()
        self._rows: dict[str, Row] = {}
        self._raging: dict[str, Row] = {}
        self._spent: dict[str, Spent] = {}
        self._breakers: dict[str, Breaker] = {}
        self._once: dict[str, datetime] = {}
        self._deliveries_of: defaultdict[str, list[str]] = defaultdict(list)
        self._due: _Sorted[tuple[datetime, str]] = _Sorted()
        self._entry_seq = 0
        self._entries: dict[int, Entry] = {}
        self._entries_of: defaultdict[str, list[int]] = defaultdict(list)
        self._entries_on: defaultdict[str, list[int]] = defaultdict(list)
        self._parked: dict[str, Parked] = {}
        self._windows: dict[str, Window] = {}
        self._deploys: dict[str, Deploy] = {}
        self._held_in: defaultdict[str, set[Place]] = defaultdict(set)
        self._meta: dict[str, str] = {}

    async def open(self) -> None:
        """Ends the leases of before: whoever held them is gone."""
        for delivery_id, row in list(self._rows.items()):
            if row.delivery.lease:
                self._put_row(delivery_id, orphaned(row))

    async def close(self) -> None:
        """Nothing to do."""

    # The record of events.

    async def append(self, events: Sequence[RawEvent]) -> Sequence[int]:
        seqs = []
        for event in events:
            self._seq += 1
            self._events[self._seq] = StoredEvent(self._seq, event)
            self._undecided.add(self._seq)
            seqs.append(self._seq)
        return seqs

    async def undecided(self, limit: int) -> Sequence[StoredEvent]:
        return [self._events[seq] for seq, _ in zip(self._undecided, range(limit), strict=False)]

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
        found = (e for e in self._events.values() if e.seq > after and e.event.at >= since)
        return [event for event, _ in zip(found, range(limit), strict=False)]

    async def event(self, seq: int) -> StoredEvent | None:
        return self._events.get(seq)

    # Deciding.

    async def load(self, keys: Keys) -> Loaded:
        places = {(i, identity) for identity in keys.identities for i in self._current.get(identity, ())}
        places |= {(i, identity) for i in keys.members for identity in self._unsettled.get(i, ())}
        held = (place for window in keys.held_in for place in self._held_in.get(window, ()))
        places |= {place for place in held if self._alerts[place].current}
        labelled = [] if keys.labels is None else self._labelled(keys.labels)
        ids = {*keys.incidents, *keys.members, *labelled}
        ids |= {self._newest[key][-1] for key in keys.incident_keys if self._newest.get(key)}
        return Loaded(
            alerts=[self._alerts[place] for place in sorted(places)],
            incidents=[self._incidents[i] for i in sorted(ids) if i in self._incidents],
            relations={r: self._sources_of(r) for r in sorted(keys.relations) if self._sources.get(r)},
            waiting={r: sorted({i for i, _ in self._held[r]}) for r in sorted(keys.waiting) if self._held.get(r)},
            labelled=labelled,
            windows=[w for name, w in sorted(self._windows.items()) if name in keys.windows or not w.over]
            if keys.windows
            else [],
            deploys=self._deploys_of(keys),
        )

    def _deploys_of(self, keys: Keys) -> list[Deploy]:
        heard = sorted(self._deploys.values(), key=_latest)
        found = [d for d in heard if keys.deploys_since is not None and d.heard_at >= keys.deploys_since]
        for service in keys.services:
            found += [d for d in heard if d.service == service][:DEPLOYS_LOADED]
        return sorted({d.id: d for d in found}.values(), key=lambda d: d.id)

    def _labelled(self, labels: Mapping[str, str]) -> list[str]:
        return sorted(
            incident.id
            for incident in self._incidents.values()
            if incident.told
            and any(
                alert.firing and codec.has_labels(alert.labels, labels)
                for alert in self._by_incident.get(incident.id, {}).values()
            )
        )

    def _sources_of(self, relation: str) -> list[Source]:
        found = self._sources[relation]
        sides: list[tuple[datetime, str, str]] = []
        for side in (False, True):
            places = ((s.starts_at, s.identity, i) for (i, _), s in found.items() if s.two_sided is side)
            sides += nsmallest(SOURCES_LOADED, places)
        return [found[i, identity] for _, identity, i in sorted(sides)]

    async def commit(self, changes: Changes) -> None:
        for seq in changes.done:
            self._undecided.discard(seq)
        for alert in changes.alerts:
            self._put_alert((alert.incident, alert.identity), alert)
        for incident in changes.incidents:
            self._put_incident(incident.id, incident)
        self._windows |= {window.id: window for window in changes.windows}
        self._deploys |= {deploy.id: deploy for deploy in changes.deploys}
        self._put_wants(changes.wants)
        self._put_record(changes.entries, changes.parked)

    def _put_alert(self, place: Place, alert: Alert | None) -> None:
        """Writes or, with None, forgets an alert, and keeps the ways to find it."""
        incident, identity = place
        old = self._alerts.pop(place, None)
        if old is not None:
            del self._by_incident[incident][identity]
            self._unsettled[incident].discard(identity)
            self._current[identity].discard(incident)
            for window in old.held_in:
                self._held_in[window].discard(place)
            for relation in old.source_of:
                self._sources[relation].pop(place, None)
            if old.hold is not None and old.hold.relation is not None:
                self._held[old.hold.relation].discard(place)
        if alert is None:
            return
        self._alerts[place] = alert
        self._by_incident[incident][identity] = alert
        for window in alert.held_in:
            self._held_in[window].add(place)
        if not alert.settled:
            self._unsettled[incident].add(identity)
            if alert.hold is not None and alert.hold.relation is not None:
                self._held[alert.hold.relation].add(place)
        if alert.current:
            self._current[identity].add(incident)
            if alert.firing:
                name = alert.labels.get("alertname", "")
                for relation in alert.source_of:
                    source = Source(identity, alert.starts_at, relation in alert.two_sided, name)
                    self._sources[relation][place] = source

    def _put_incident(self, incident_id: str, incident: Incident | None) -> None:
        """Writes or, with None, forgets an incident, and keeps the ways to find it."""
        old = self._incidents.get(incident_id)
        if old is not None and old.wake_at is not None:
            self._wake.discard((old.wake_at, incident_id))
        if incident is None:
            if old is not None:
                del self._incidents[incident_id]
                self._newest[old.key].remove(incident_id)
            return
        if old is None:
            self._newest.setdefault(incident.key, []).append(incident_id)
        self._incidents[incident_id] = incident
        if incident.wake_at is not None:
            self._wake.add((incident.wake_at, incident_id))

    def _put_row(self, delivery_id: str, row: Row | None) -> None:
        """Writes or, with None, forgets a delivery, and keeps the ways to find it."""
        old = self._rows.pop(delivery_id, None) if row is None else self._rows.get(delivery_id)
        if old is not None and old.due_at is not None:
            self._due.discard((old.due_at, delivery_id))
        self._raging.pop(delivery_id, None)
        if row is None:
            return
        if old is None:
            self._deliveries_of[row.delivery.want.incident].append(delivery_id)
        self._rows[delivery_id] = row
        if row.due_at is not None:
            self._due.add((row.due_at, delivery_id))
        if raging(row):
            self._raging[delivery_id] = row

    def _put_wants(self, wants: Sequence[Want]) -> None:
        for want in wants:
            self._put_row(want.id, wanted(self._rows.get(want.id), want))

    def _put_record(self, entries: Sequence[Entry], parked: Sequence[Parked]) -> None:
        for entry in entries:
            self._entry_seq += 1
            self._entries[self._entry_seq] = entry
            self._entries_of[entry.incident].append(self._entry_seq)
            self._entries_on[entry.identity].append(self._entry_seq)
        for item in parked:
            self._parked[item.id] = item

    async def due(self, now: datetime, limit: int) -> Due:
        found: list[str] = []
        for wake_at, incident_id in self._wake:
            if wake_at > now or len(found) == limit:
                break
            found.append(incident_id)
        windows = sorted((w.wake_at, w.id) for w in self._windows.values() if w.wake_at is not None)
        return Due(found, [name for wake_at, name in windows[:limit] if wake_at <= now])

    async def next_wake(self) -> datetime | None:
        windows = (w.wake_at for w in self._windows.values() if w.wake_at is not None)
        incidents = (wake_at for wake_at, _ in self._wake)
        return min(chain(islice(incidents, 1), windows), default=None)

    async def firing(self, after: tuple[str, str], limit: int) -> Sequence[Alert]:
        places = (place for place, alert in self._alerts.items() if not alert.settled and place > after)
        return [self._alerts[place] for place in nsmallest(limit, places)]

    # Delivering.

    def _claimable(self, now: datetime) -> list[Row]:
        """What may be claimed now; the most urgent and longest waiting first."""
        found = []
        for due_at, delivery_id in self._due:
            if due_at > now:
                break
            found.append(self._rows[delivery_id])
        return sorted(found, key=lambda row: (row.delivery.want.rank, row.since, row.delivery.id))

    async def lanes(self, now: datetime) -> Lanes:
        best: dict[str, tuple[int, datetime]] = {}
        for row in self._claimable(now):
            best.setdefault(row.delivery.want.lane, (row.delivery.want.rank, row.since))
        stormy = frozenset(row.delivery.want.lane for row in self._raging.values())
        return Lanes(sorted(best, key=lambda lane: (best[lane], lane)), stormy, dict(self._breakers))

    async def claim(self, lane: str, now: datetime, lease: str, lease_for: timedelta, limit: int) -> Sequence[Delivery]:
        found = [row for row in self._claimable(now) if row.delivery.want.lane == lane][:limit]
        taken = [claimed(row, lease, now + lease_for) for row in found]
        for row in taken:
            self._put_row(row.delivery.id, row)
        return [row.delivery for row in taken]

    async def record(self, outcome: Outcome) -> bool:
        old = self._rows.get(outcome.id)
        row = None if old is None else recorded(old, outcome)
        if row is None:
            return False
        self._put_row(outcome.id, row)
        self._put_record(outcome.entries, outcome.parked)
        return True

    async def waiting(self, lane: str, now: datetime, limit: int) -> Sequence[Delivery]:
        due = [row for row in self._claimable(now) if row.delivery.want.lane == lane and not row.delivery.storm]
        return [row.delivery for row in due[:limit] if waits(row, now)]

    async def refile(self, filing: Filing) -> bool:
        if any(clashes(row, want) for want in filing.wants for row in self._raging.values()):
            return False
        for delivery_id, move in filed(filing).items():
            if delivery_id in self._rows:
                self._put_row(delivery_id, move(self._rows[delivery_id]))
        self._put_wants(filing.wants)
        self._put_record(filing.entries, ())
        return True

    async def folded(self, storm: str) -> Sequence[Delivery]:
        return [row.delivery for row in self._rows.values() if row.delivery.storm == storm]

    async def storms(self, lane: str) -> Sequence[Delivery]:
        return [row.delivery for row in self._rows.values() if raging(row) and row.delivery.want.lane == lane]

    async def spend(self, budgets: Sequence[Budget], now: datetime) -> datetime | None:
        spent = [(b, self._spent.get(b.key, Spent())) for b in budgets]
        waits_until = [at for at in (budget_rules.free_at(s, b, now) for b, s in spent) if at is not None]
        if waits_until:
            return max(waits_until)
        for b, s in spent:
            self._spent[b.key] = budget_rules.spend(s, b, now)
        return None

    async def calls_left(self, budget: Budget, now: datetime) -> int:
        return budget_rules.calls_left(self._spent.get(budget.key, Spent()), budget, now)

    async def close_budget(self, key: str, until: datetime) -> None:
        self._spent[key] = budget_rules.closed(self._spent.get(key, Spent()), until)

    async def breaker(self, lane: str, change: BreakerChange) -> Breaker | None:
        after = change(self._breakers.pop(lane, None))
        if after is not None:
            self._breakers[lane] = after
        return after

    async def next_delivery(self) -> datetime | None:
        return next((due_at for due_at, _ in self._due), None)

    # Looking.

    async def incident(self, incident_id: str) -> Incident | None:
        return self._incidents.get(incident_id)

    async def incidents(
        self,
        *,
        statuses: Sequence[str] = (),
        severity: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        before = None if cursor is None else codec.read_incident_cursor(cursor)
        found = [
            incident
            for incident in self._incidents.values()
            if (not statuses or incident.status in statuses)
            and (severity is None or incident.severity == severity)
            and (since is None or incident.created_at >= since)
            and (before is None or (codec.us(incident.created_at), incident.id) < before)
        ]
        found.sort(key=lambda incident: (incident.created_at, incident.id), reverse=True)
        more = len(found) > limit
        return Page(found[:limit], codec.incident_cursor(found[limit - 1]) if more else None)

    async def past(self, key: str, since: datetime, limit: int = 100) -> Past:
        found = [i for name in reversed(self._newest.get(key, ())) if (i := self._incidents[name]).created_at >= since]
        seqs = sorted((seq for i in found[:limit] for seq in self._entries_of.get(i.id, ())), reverse=True)
        notes = (self._entries[seq] for seq in seqs if self._entries[seq].reason is Reason.NOTE_ADDED)
        return Past(found[:limit], next(notes, None))

    async def members(self, incident_id: str, limit: int = 1000) -> Sequence[Alert]:
        return (await self.members_of([incident_id], limit))[incident_id]

    async def members_of(self, incident_ids: Sequence[str], limit: int = 100) -> Mapping[str, Sequence[Alert]]:
        found: dict[str, Sequence[Alert]] = {}
        for name in incident_ids:
            alerts = sorted(self._by_incident.get(name, {}).values(), key=lambda a: a.identity)
            alerts.sort(key=lambda a: (a.firing, a.starts_at), reverse=True)
            found[name] = alerts[:limit]
        return found

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        return (await self.deliveries_of([incident_id]))[incident_id]

    async def deliveries_of(self, incident_ids: Sequence[str]) -> Mapping[str, Sequence[Delivery]]:
        return {name: [self._rows[d].delivery for d in self._deliveries_of.get(name, ())] for name in incident_ids}

    async def delivery(self, delivery_id: str) -> Delivery | None:
        row = self._rows.get(delivery_id)
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
        after = 0 if cursor is None else codec.read_entry_cursor(cursor)
        if incident:
            seqs: Sequence[int] = self._entries_of.get(incident, ())
        elif identity:
            seqs = self._entries_on.get(identity, ())
        else:
            seqs = list(self._entries)
        found = [
            seq
            for seq in seqs
            if seq > after
            and (not identity or self._entries[seq].identity == identity)
            and (since is None or self._entries[seq].at > since)
        ]
        more = len(found) > limit
        return EntryPage([self._entries[s] for s in found[:limit]], str(found[limit - 1]) if more else None)

    async def find_alerts(self, labels: Mapping[str, str], limit: int = 100) -> Sequence[Alert]:
        found = [a for a in self._alerts.values() if a.current and codec.has_labels(a.labels, labels)]
        found.sort(key=lambda a: (a.identity, a.incident))
        found.sort(key=lambda a: a.starts_at, reverse=True)
        return found[:limit]

    async def windows(self, since: datetime, limit: int = 500) -> Sequence[Window]:
        found = [w for w in self._windows.values() if w.over_at is None or w.over_at >= since]
        return sorted(found, key=lambda w: (-codec.us(w.starts_at), w.id))[:limit]

    async def window(self, window_id: str) -> Window | None:
        return self._windows.get(window_id)

    async def windows_named(self, window_ids: Sequence[str]) -> Mapping[str, Window]:
        return {name: self._windows[name] for name in window_ids if name in self._windows}

    async def deploys(self, since: datetime, service: str | None = None, limit: int = 500) -> Sequence[Deploy]:
        found = (d for d in self._deploys.values() if d.heard_at >= since and service in (None, d.service))
        return sorted(found, key=_latest)[:limit]

    async def deploy(self, deploy_id: str) -> Deploy | None:
        return self._deploys.get(deploy_id)

    async def deploys_named(self, deploy_ids: Sequence[str]) -> Mapping[str, Deploy]:
        return {name: self._deploys[name] for name in deploy_ids if name in self._deploys}

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        found = sorted(self._parked.values(), key=lambda item: (item.at, item.id), reverse=True)
        return [replace(item, raw=b"") for item in found[:limit]]

    async def parked_item(self, parked_id: str) -> Parked | None:
        return self._parked.get(parked_id)

    async def retry_parked(self, parked_id: str, now: datetime) -> bool:
        item = self._parked.get(parked_id)
        if item is None:
            return False
        if item.kind == "delivery":
            if item.ref not in self._rows:
                return False
            self._put_row(item.ref, retried(self._rows[item.ref], now))
        elif item.kind == "event":
            seq = int(item.ref) if item.ref.isdecimal() else 0
            if seq not in self._events:
                return False
            self._undecided.discard(seq)
            self._undecided.add(seq)
        del self._parked[parked_id]
        return True

    async def drop_parked(self, parked_id: str) -> bool:
        return self._parked.pop(parked_id, None) is not None

    async def stats(self, now: datetime) -> Stats:
        return Stats(
            undecided=len(self._undecided),
            due_deliveries=len(self._claimable(now)),
            parked=len(self._parked),
            open_incidents=sum(incident.told for incident in self._incidents.values()),
            storms=sum(raging(row) for row in self._rows.values()),
            folded=sum(row.delivery.storm != "" for row in self._rows.values()),
        )

    async def trim(self, before: datetime) -> int:
        for item in list(self._parked.values()):
            if item.at < before and item.kind != "delivery":
                del self._parked[item.id]
        undecided = set(self._undecided)
        kept = {item.ref for item in self._parked.values() if item.kind == "event"}
        events = [
            seq
            for seq, stored in self._events.items()
            if stored.event.at < before and seq not in undecided and str(seq) not in kept
        ]
        for seq in events:
            del self._events[seq]
        for name, row in list(self._rows.items()):
            idle = row.due_at is None and row.since < before and row.delivery.want.kind.startswith("storm:")
            if idle and not any(other.delivery.storm == name for other in self._rows.values()):
                self._put_row(name, None)
        over = [i for i in self._incidents.values() if self._over(i, before)]
        gone = {incident.id for incident in over}
        windows = {w.id for w in self._windows.values() if w.over_at is not None and w.over_at < before}
        for name in windows:
            del self._windows[name]
        for deploy in [d for d in self._deploys.values() if d.heard_at < before]:
            del self._deploys[deploy.id]
        alerts = [
            place
            for place, alert in self._alerts.items()
            if place[0] in gone or (alert.settled and alert.seen_at < before)
        ]
        for place in alerts:
            self._put_alert(place, None)
        undelivered = {d for name in gone | windows for d in self._deliveries_of.pop(name, ())}
        for incident_id in gone:
            self._put_incident(incident_id, None)
        for delivery_id in undelivered:
            self._put_row(delivery_id, None)
        for item in list(self._parked.values()):
            if item.kind == "delivery" and item.ref in undelivered:
                del self._parked[item.id]
        for seq, entry in list(self._entries.items()):
            if entry.incident in gone | windows or (not entry.incident and entry.at < before):
                del self._entries[seq]
                self._entries_of[entry.incident].remove(seq)
                self._entries_on[entry.identity].remove(seq)
        return len(events) + len(alerts) + len(gone)

    def _over(self, incident: Incident, before: datetime) -> bool:
        return (
            incident.status is IncidentStatus.RESOLVED
            and (incident.resolved_at or incident.created_at) < before
            and not self._unsettled.get(incident.id)
        )

    async def get_meta(self, key: str) -> str | None:
        return self._meta.get(key)

    async def set_meta(self, key: str, value: str) -> None:
        self._meta[key] = value

    async def facts(self) -> Mapping[str, str]:
        return dict(self._meta)

    async def spent(self) -> Mapping[str, Spent]:
        return dict(self._spent)

    async def rows(self) -> AsyncIterator[Sequence[Row]]:
        yield list(self._rows.values())

    async def restore(self, rows: Sequence[Row], spent: Mapping[str, Spent]) -> None:
        self._spent |= spent
        for row in rows:
            self._put_row(row.delivery.id, row)

    async def once(self, key: str, now: datetime, until: datetime) -> bool:
        self._once = {k: end for k, end in self._once.items() if end > now}
        if key in self._once:
            return False
        self._once[key] = until
        return True

    async def remember(self, key: str, until: datetime) -> None:
        self._once[key] = until


def _latest(deploy: Deploy) -> tuple[int, str]:
    """The order of deploys: those heard of last first."""
    return -codec.us(deploy.heard_at), deploy.id
