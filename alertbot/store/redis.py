"""The shared store: one Redis, or Sentinel's, or a cluster, for any number of replicas.

Reads are questions; a write is worked out here, by the same pure rules as in every back end, and taken by Redis only if
what it was worked out from still stands there. Where it does not, it is worked out again. Where everything is:
`redis_rows`; what Redis does: `redis.lua`; how it is reached: `redis_client`.
"""

# the protocol says what each method does
from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec
from redis.exceptions import NoPermissionError, ResponseError

from alertbot.domain import budgets as budget_rules
from alertbot.domain.breakers import Breaker
from alertbot.domain.budgets import Budget, Spent
from alertbot.domain.deploys import Deploy
from alertbot.domain.enrichment import Past
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Delivery, Entry, Incident, IncidentStatus, Want
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import Window
from alertbot.redis_url import RedisUrl
from alertbot.store import codec
from alertbot.store.base import (
    BreakerChange,
    Changed,
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
    StoreError,
    StoreUnavailable,
    StoreUnusable,
    TakenOver,
)
from alertbot.store.redis_client import Client, NotAsBefore, Step, WrongVersion
from alertbot.store.redis_rows import (
    alert_places,
    deploy_places,
    drop_parked,
    entry_places,
    event_record,
    incident_places,
    joined,
    load_step,
    moved,
    numbered,
    ordered,
    ordered_time,
    place_of,
    prefix,
    put,
    put_entry,
    put_parked,
    read_number,
    row_places,
    source,
    stored_event,
    window_places,
)
from alertbot.store.redis_settings import SETTINGS, durability, eviction
from alertbot.store.rows import Row, claimed, clashes, filed, orphaned, recorded, retried, waits, wanted

log = logging.getLogger("alertbot.store")
T = TypeVar("T")

#: The layout in `redis_rows`. Replicas of one version share a store; an unknown one is refused.
SCHEMA: Final = "1"
#: How long a replica counts as alive after it said so; how long nobody else gets an incident that it is waking.
LIVES: Final = timedelta(seconds=15)
#: Things read, or forgotten, in one go: Redis serves nobody else meanwhile.
AT_ONCE: Final = 500
#: Bytes of bodies read in one go.
BODIES: Final = 8 * 1024 * 1024
#: Incidents forgotten in one go, with all that hangs on them.
INCIDENTS: Final = 20

#: The digest of an empty list (`redis.lua`).
NOTHING: Final = hashlib.sha1(b"*0", usedforsecurity=False).hexdigest().encode()

_TOLD: Final = (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)
_parked: Final = msgspec.json.Decoder(Parked)

#: What becomes of a delivery's row; None: it is not there, or not to be touched.
Move = Callable[[Row | None], Row | None]


@dataclass(slots=True)
class _Write:
    """What one transaction writes, before it is known what is there."""

    alerts: Sequence[Alert] = ()
    incidents: Sequence[Incident] = ()
    moves: Mapping[str, Move] = field(default_factory=dict)
    wants: Sequence[Want] = ()
    entries: Sequence[Entry] = ()
    parked: Sequence[Parked] = ()
    windows: Sequence[Window] = ()
    deploys: Sequence[Deploy] = ()
    more: Sequence[Step] = ()
    needs: str = ""
    """The delivery without whose move nothing is written."""


class RedisStore:
    """See `alertbot.store.base.Store`.

    `allow_eviction` serves on a Redis that throws away what it has no room for; `wait_replicas` and `wait_disk` say
    where a write must be before it counts. `readonly` only looks.
    """

    def __init__(
        self,
        url: str,
        *,
        readonly: bool = False,
        allow_eviction: bool = False,
        wait_replicas: int = 0,
        wait_disk: bool = False,
    ) -> None:
        self._client = Client(RedisUrl.of(url), wait_replicas=wait_replicas, wait_disk=wait_disk)
        self._unanswered: set[str] = set()
        """Leases that may be held by nobody: the claim's answer was lost."""
        self._readonly = readonly
        self._allow_eviction = allow_eviction

    # Opening and closing.

    async def open(self) -> None:
        """Raises `StoreUnusable` for a store of another version, or a Redis that would throw it away."""
        self._client.connect()
        try:
            await self._look_at_settings()
            await self._look_at_waiting()
            await self._check_schema()
        except StoreError:
            await self._client.close()
            raise

    async def _look_at_settings(self) -> None:
        shown = self._client.address.shown
        try:
            found = [text.decode() for text in _pairs(await self._client.command("CONFIG", "GET", *SETTINGS))]
        except StoreError as error:
            if not isinstance(error.__cause__, NoPermissionError | ResponseError):
                raise
            log.warning(
                "%s does not tell its settings: whether it keeps what it is given is for you to know"
                " (appendonly yes, appendfsync always or everysec, maxmemory-policy noeviction)",
                shown,
            )
            return
        settings = dict(zip(found[::2], found[1::2], strict=True))
        evicts = eviction(settings)
        if evicts and not (self._allow_eviction or self._readonly):
            raise StoreUnusable(f"{shown}: {evicts}, or set store.allow_eviction: true to take that risk")
        for what in (evicts, durability(settings)):
            if what:
                log.warning("%s: %s", shown, what)

    async def _look_at_waiting(self) -> None:
        """Whether Redis can wait as it is told to."""
        client = self._client
        if (client.wait_replicas or client.wait_disk) and client.address.scheme == "redis+cluster":
            raise StoreUnusable(
                "store.wait_replicas and store.wait_disk are not for a cluster: set its min-replicas-to-write"
            )
        if client.wait_disk:
            try:
                await client.command("WAITAOF", 0, 0, 0)
            except StoreUnavailable:
                raise
            except StoreError as error:
                raise StoreUnusable(f"store.wait_disk needs WAITAOF, of Redis 7.2: {error}") from None

    async def _check_schema(self) -> None:
        key = f"{self._client.prefix}schema"
        if not self._readonly:
            await self._client.command("SET", key, SCHEMA, "NX")
        found = await self._client.command("GET", key)
        version = found.decode() if found else ""
        if version != SCHEMA:
            raise self._wrong(version)

    def _wrong(self, version: str) -> StoreUnusable:
        shown = f"{self._client.address.shown} prefix {self._client.address.prefix}"
        if not version:
            return StoreUnusable(f"{shown} holds no alertbot; start one first")
        if version.isdecimal() and int(version) > int(SCHEMA):
            what = f"was written by a newer alertbot (schema {version}, this one knows {SCHEMA}): upgrade alertbot"
            return StoreUnusable(f"{shown} {what}")
        return StoreUnusable(f"{shown} is of schema {version}, and this alertbot knows {SCHEMA} only")

    async def close(self) -> None:
        with suppress(StoreError):  # then the others find out by themselves
            await self._ask(("leave",))
        await self._client.close()

    # Asking and writing.

    async def _ask(self, *steps: Step, digests: bool = False) -> list[Any]:
        return await self._known(lambda: self._client.ask(SCHEMA, steps, digests=digests))

    async def _take(
        self, checks: Sequence[tuple[bytes, Step]], steps: Sequence[Step], *, once: bool = True
    ) -> list[Any]:
        """Raises `NotAsBefore`."""
        return await self._known(lambda: self._client.write(SCHEMA, checks, steps, once=once))

    async def _known(self, ask: Callable[[], Any]) -> list[Any]:
        try:
            found: list[Any] = await ask()
        except WrongVersion as error:
            if error.version:
                raise self._wrong(error.version) from None
            log.error("%s came back empty: all that was stored is gone", self._client.address.shown)
            await self._check_schema()
            found = await ask()
        return found

    async def _docs(self, hash_: str, names: Sequence[str]) -> list[bytes]:
        """Documents that are there, in order."""
        found: list[bytes] = []
        for start in range(0, len(names), AT_ONCE):
            (page,) = await self._ask(("docs", hash_, *names[start : start + AT_ONCE]))
            found += [doc for doc in page if doc is not None]
        return found

    async def _put(self, write: _Write, checks: Sequence[tuple[bytes, Step]] = ()) -> bool:
        """One transaction; False, and nothing written, where the move that it needs says so.

        Raises `NotAsBefore` for one of `checks`.
        """
        alerts = {place_of(a): a for a in write.alerts}
        incidents = {codec.key(i.id): i for i in write.incidents}
        rows = list(dict.fromkeys(codec.key(name) for name in (*write.moves, *(w.id for w in write.wants))))
        parked = {codec.key(p.id): p for p in write.parked}
        windows = {codec.key(w.id): w for w in write.windows}
        deploys = {codec.key(d.id): d for d in write.deploys}
        if not (alerts or incidents or rows or parked or windows or deploys or write.entries or write.more):
            return True
        numbers = len(incidents) + len(rows) + len(write.entries)
        questions: list[Step] = [
            ("docs", "alerts", *alerts),
            ("docs", "incidents", *incidents),
            ("docs", "rows", *rows),
            ("docs", "parked", *parked),
            ("docs", "windows", *windows),
            ("docs", "deploys", *deploys),
        ]
        while True:
            answers = await self._ask(*questions, ("HINCRBY", "counters", "numbers", numbers), digests=True)
            number = iter(range(answers[-1] - numbers + 1, answers[-1] + 1))
            steps: list[Step] = [*write.more]
            before = [None if old is None else codec.alert.decode(old) for old in answers[1]]
            for alert, known in zip(alerts.values(), before, strict=True):
                steps += _put_alert(known, alert)
            if any(k and _differs(k, alert) for k, alert in zip(before, alerts.values(), strict=True)):
                steps.append(("mark",))
            for incident, old in zip(incidents.values(), answers[3], strict=True):
                steps += _put_incident(old, incident, number)
            moved_rows = _move_rows(write, dict(zip(rows, answers[5], strict=True)), number)
            if moved_rows is None:
                return False
            steps += moved_rows
            for entry in write.entries:
                steps += put_entry(next(number), entry)
            for item, old in zip(parked.values(), answers[7], strict=True):
                steps += put_parked(None if old is None else _parked.decode(old), item)
            for window, old in zip(windows.values(), answers[9], strict=True):
                steps.append(put("windows", codec.key(window.id), codec.text(window)))
                gone = () if old is None else window_places(codec.window.decode(old))
                steps += moved(gone, window_places(window))
            for deploy, old in zip(deploys.values(), answers[11], strict=True):
                steps.append(put("deploys", codec.key(deploy.id), codec.text(deploy)))
                gone = () if old is None else deploy_places(codec.deploy.decode(old))
                steps += moved(gone, deploy_places(deploy))
            same = [(answers[2 * n], question) for n, question in enumerate(questions) if len(question) > 2]
            try:
                await self._take((*checks, *same), steps)
            except NotAsBefore as error:
                if error.check <= len(checks):
                    raise
                continue
            return True

    # The record of events.

    async def append(self, events: Sequence[RawEvent]) -> Sequence[int]:
        if not events:
            return []
        words = [word for e in events for word in (str(codec.us(e.at)), event_record(e))]
        (first,) = await self._take((), [("append", *words)])
        return range(int(first), int(first) + len(events))

    async def undecided(self, limit: int) -> Sequence[StoredEvent]:
        found: list[StoredEvent] = []
        while len(found) < limit:
            after = found[-1].seq if found else 0
            (seqs,) = await self._ask(("mine", after, min(AT_ONCE, limit - len(found))))
            if not seqs:
                break
            found += await self._bodies([int(seq) for seq in seqs])
        return found

    async def renew(self, now: datetime) -> Renewal:
        ((taken, *left),) = await self._ask(("renew", codec.us(now), codec.us(now + LIVES)))
        names = [*_texts(left), *await self._claimed_unheard()]
        if names:
            moves: dict[str, Move] = {name: _if_there(orphaned) for name in names}
            await self._put(_Write(moves=moves, more=[("HDEL", "leases", *names)]))
        return Renewal(now + LIVES / 3, taken + len(names))

    async def _claimed_unheard(self) -> list[str]:
        """Deliveries that were claimed here, and nobody was told."""
        if not self._unanswered:
            return []
        lost, self._unanswered = self._unanswered, set()
        try:
            (leases,) = await self._ask(("HGETALL", "leases"))
            mine = [name for name, owner in zip(*[iter(_texts(leases))] * 2, strict=True) if owner == self._client.me]
            rows = [_numbered_row(doc)[1].delivery for doc in await self._docs("rows", mine)]
        except StoreError:
            self._unanswered |= lost
            raise
        return [codec.key(delivery.id) for delivery in rows if delivery.lease in lost]

    @property
    def shared(self) -> bool:
        """With whoever else has the URL."""
        return True

    @property
    def changed_elsewhere(self) -> int:
        """As the latest answer said."""
        return self._client.changed_elsewhere

    async def _bodies(self, seqs: Sequence[int]) -> list[StoredEvent]:
        """Events by their seqs, without those that are gone."""
        found: list[StoredEvent] = []
        while seqs:
            (records,) = await self._ask(("bodies", BODIES, *seqs))
            found += [stored_event(seq, r) for seq, r in zip(seqs, records, strict=False) if r]
            seqs = seqs[len(records) :]
        return found

    async def events(self, since: datetime, after: int, limit: int) -> Sequence[StoredEvent]:
        start = codec.us(since)
        seqs: list[int] = []
        while len(seqs) < limit:
            (page,) = await self._ask(("ZRANGEBYSCORE", "events", f"({after}", "+inf", "LIMIT", 0, AT_ONCE))
            for seq, at in (member.split(b":") for member in page):
                after = int(seq)
                if int(at) >= start:
                    seqs.append(after)
            if len(page) < AT_ONCE:
                break
        return await self._bodies(seqs[:limit])

    async def event(self, seq: int) -> StoredEvent | None:
        (record,) = await self._ask(("HGET", "bodies", seq))
        return None if record is None else stored_event(seq, record)

    # Deciding.

    async def load(self, keys: Keys) -> Loaded:
        labelled = [] if keys.labels is None else await self._labelled(keys.labels)
        asked = replace(keys, incidents=keys.incidents | frozenset(labelled), labels=None)
        question = load_step(asked)
        digest, answer = await self._ask(question, digests=True)
        relations: dict[str, list[Source]] = {}
        for relation, one in sorted(
            map(source, _texts(answer[2])), key=lambda s: (s[0], s[1].starts_at, s[1].identity)
        ):
            relations.setdefault(relation, []).append(one)
        waiting: dict[str, list[str]] = {}
        for relation, incident in sorted(text.split("\0") for text in _texts(answer[3])):
            waiting.setdefault(relation, []).append(incident)
        return Loaded(
            alerts=sorted(_all(codec.alerts, answer[0]), key=lambda a: (a.incident, a.identity)),
            incidents=sorted(_incidents(answer[1]), key=lambda i: i.id),
            relations=relations,
            waiting=waiting,
            labelled=labelled,
            windows=sorted(_all(codec.windows, answer[4]), key=lambda w: w.id),
            deploys=sorted(_all(codec.deploys, answer[5]), key=lambda d: d.id),
            seen=((digest, question),),
        )

    async def _labelled(self, labels: Mapping[str, str]) -> list[str]:
        """Told incidents with such an alert. What opens meanwhile is not among them."""
        answers = await self._ask(*(("beginning", "listed", prefix(status)) for status in _TOLD))
        told = [name for page in answers for *_, name in (text.split("\0") for text in _texts(page))]
        pieces = codec.searchable(labels)
        found: set[str] = set()
        for start in range(0, len(told), INCIDENTS):
            steps: list[Step] = [
                ("matching", "members", prefix(name), "", 100_000, *pieces) for name in told[start : start + INCIDENTS]
            ]
            for _, *docs in await self._ask(*steps):
                alerts = _all(codec.alerts, docs)
                found |= {a.incident for a in alerts if a.firing and codec.has_labels(a.labels, labels)}
        return sorted(found)

    async def commit(self, changes: Changes) -> None:
        write = _Write(
            alerts=changes.alerts,
            incidents=changes.incidents,
            wants=changes.wants,
            entries=changes.entries,
            parked=changes.parked,
            windows=changes.windows,
            deploys=changes.deploys,
            more=[("done", *changes.done)] if changes.done else (),
        )
        ours: list[tuple[bytes, Step]] = [(NOTHING, ("lost", *changes.done))] if changes.done else []
        try:
            await self._put(write, (*ours, *changes.seen))
        except NotAsBefore as error:
            if ours and error.check == 1:
                raise TakenOver([int(seq) for seq in error.answer]) from None
            raise Changed("what was loaded has changed since") from None

    async def due(self, now: datetime, limit: int) -> Due:
        incidents, windows = await self._ask(
            ("due", codec.us(now), codec.us(now + LIVES), limit),
            ("ZRANGEBYSCORE", "windows.wake", "-inf", codec.us(now), "LIMIT", 0, limit),
        )
        return Due(_texts(incidents), _texts(windows))

    async def next_wake(self) -> datetime | None:
        (found,) = await self._ask(("next_wake",))
        return None if found is None else codec.at(int(found))

    async def firing(self, after: tuple[str, str], limit: int) -> Sequence[Alert]:
        step = ("ZRANGEBYLEX", "unsettled", f"({joined(*after)}", "+", "LIMIT", 0, limit)
        (places,) = await self._ask(step)
        return _all(codec.alerts, await self._docs("alerts", _texts(places)))

    # Delivering.

    async def lanes(self, now: datetime) -> Lanes:
        found, raging, broken = await self._ask(
            ("lanes", codec.us(now)), ("ZRANGE", "raging", 0, -1), ("HGETALL", "breakers")
        )
        texts = _texts(found)
        return Lanes(
            [lane for _, lane in sorted(zip(texts[1::2], texts[::2], strict=True))],
            frozenset(text.partition("\0")[0] for text in _texts(raging)),
            dict(zip(_texts(broken[::2]), map(codec.breaker.decode, broken[1::2]), strict=True)),
        )

    async def claim(self, lane: str, now: datetime, lease: str, lease_for: timedelta, limit: int) -> Sequence[Delivery]:
        question: Step = ("due_in", codec.key(lane), codec.us(now), limit)
        while True:
            digest, docs = await self._ask(question, digests=True)
            taken: list[Row] = []
            steps: list[Step] = []
            for seq, old in map(_numbered_row, docs):
                taken.append(claimed(old, lease, now + lease_for))
                steps += _put_row(seq, old, taken[-1])
                steps.append(("HSET", "leases", codec.key(old.delivery.id), self._client.me))
            if not taken:
                return []
            try:
                await self._take([(digest, question)], steps)
            except NotAsBefore:
                continue
            except StoreUnavailable:
                self._unanswered.add(lease)
                raise
            return [row.delivery for row in taken]

    async def record(self, outcome: Outcome) -> bool:
        moves: dict[str, Move] = {outcome.id: lambda row: None if row is None else recorded(row, outcome)}
        return await self._put(_Write(moves=moves, entries=outcome.entries, parked=outcome.parked, needs=outcome.id))

    async def next_delivery(self) -> datetime | None:
        (found,) = await self._ask(("ZRANGE", "due", 0, 0, "WITHSCORES"))
        return codec.at(int(float(found[1]))) if found else None

    # Storms.

    async def waiting(self, lane: str, now: datetime, limit: int) -> Sequence[Delivery]:
        (docs,) = await self._ask(("due_in", codec.key(lane), codec.us(now), limit))
        return [row.delivery for _, row in map(_numbered_row, docs) if waits(row, now)]

    async def refile(self, filing: Filing) -> bool:
        moves: dict[str, Move] = {name: _if_there(move) for name, move in filed(filing).items()}
        write = _Write(moves=moves, wants=filing.wants, entries=filing.entries)
        questions: list[Step] = [("beginning", "raging", prefix(want.lane)) for want in filing.wants]
        while True:
            answers = await self._ask(*questions, digests=True) if questions else []
            for want, members in zip(filing.wants, answers[1::2], strict=True):
                if any(clashes(row, want) for row in await self._rows_of(members)):
                    return False
            try:
                return await self._put(write, [*zip(answers[::2], questions, strict=True)])
            except NotAsBefore:
                continue

    async def folded(self, storm: str) -> Sequence[Delivery]:
        return await self._listed("folded", storm)

    async def storms(self, lane: str) -> Sequence[Delivery]:
        return await self._listed("raging", lane)

    async def _listed(self, index: str, name: str) -> list[Delivery]:
        """Deliveries of an index by one name, in the order in which they were first wanted."""
        (members,) = await self._ask(("beginning", index, prefix(name)))
        return [row.delivery for row in await self._rows_of(members)]

    async def _rows_of(self, members: Sequence[bytes]) -> list[Row]:
        docs = await self._docs("rows", [text.rpartition("\0")[2] for text in _texts(members)])
        return [row for _, row in map(_numbered_row, docs)]

    # Budgets.

    async def _spent(self, keys: Sequence[str]) -> tuple[tuple[bytes, Step], list[Spent]]:
        question: Step = ("docs", "budgets", *map(codec.key, keys))
        digest, docs = await self._ask(question, digests=True)
        return (digest, question), [Spent() if doc is None else codec.spent.decode(doc) for doc in docs]

    async def spend(self, budgets: Sequence[Budget], now: datetime) -> datetime | None:
        while True:
            check, spent = await self._spent([b.key for b in budgets])
            both = list(zip(budgets, spent, strict=True))
            waits_until = [at for b, s in both if (at := budget_rules.free_at(s, b, now)) is not None]
            if waits_until:
                return max(waits_until)
            try:
                await self._take(
                    [check],
                    [put("budgets", codec.key(b.key), codec.text(budget_rules.spend(s, b, now))) for b, s in both],
                )
            except NotAsBefore:
                continue
            return None

    async def calls_left(self, budget: Budget, now: datetime) -> int:
        _, (spent,) = await self._spent([budget.key])
        return budget_rules.calls_left(spent, budget, now)

    async def close_budget(self, key: str, until: datetime) -> None:
        while True:
            check, (spent,) = await self._spent([key])
            try:
                await self._take(
                    [check], [put("budgets", codec.key(key), codec.text(budget_rules.closed(spent, until)))]
                )
            except NotAsBefore:
                continue
            return

    # Breakers.

    async def breaker(self, lane: str, change: BreakerChange) -> Breaker | None:
        name = codec.key(lane)
        question: Step = ("docs", "breakers", name)
        while True:
            digest, (doc,) = await self._ask(question, digests=True)
            before = None if doc is None else codec.breaker.decode(doc)
            after = change(before)
            if after == before:
                return after
            step = ("HDEL", "breakers", name) if after is None else put("breakers", name, codec.text(after))
            try:
                await self._take([(digest, question)], [step], once=after is not None)
            except NotAsBefore:
                continue
            return after

    # Looking.

    async def incident(self, incident_id: str) -> Incident | None:
        found = _incidents(await self._docs("incidents", [codec.key(incident_id)]))
        return found[0] if found else None

    async def incidents(
        self,
        *,
        statuses: Sequence[str] = (),
        severity: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        before = ""
        if cursor is not None:
            created, name = codec.read_incident_cursor(cursor)
            before = joined(ordered_time(codec.at(created)), name)
        oldest = "" if since is None else ordered_time(since)
        found = [
            i
            for status in sorted(set(statuses)) or [""]
            for i in await self._by(status, before, oldest, severity, limit)
        ]
        found.sort(key=lambda i: (i.created_at, i.id), reverse=True)
        return Page(found[:limit], codec.incident_cursor(found[limit - 1]) if len(found) > limit else None)

    async def _by(self, status: str, before: str, oldest: str, severity: str | None, limit: int) -> list[Incident]:
        """The newest incidents of a status, of one more than `limit` at the most."""
        found: list[Incident] = []
        head = prefix(status)
        top: str | bytes = f"({head}{before}" if before else _past(head)
        while len(found) <= limit:
            count = min(limit + 1, AT_ONCE)
            (page,) = await self._ask(("ZREVRANGEBYLEX", "listed", top, f"[{head}{oldest}", "LIMIT", 0, count))
            docs = await self._docs("incidents", [text.rpartition("\0")[2] for text in _texts(page)])
            found += [i for i in _incidents(docs) if severity is None or i.severity == severity]
            if len(page) < count:
                break
            top = b"(" + page[-1]
        return found[: limit + 1]

    async def past(self, key: str, since: datetime, limit: int = 100) -> Past:
        (members,) = await self._ask(("beginning", "newest", prefix(key)))
        names = [text.rpartition("\0")[2] for text in reversed(_texts(members))]
        found = [i for i in _incidents(await self._docs("incidents", names)) if i.created_at >= since][:limit]
        lines = await self._ask(*(("beginning", "entries.of", prefix(i.id)) for i in found))
        seqs = sorted((int(line.rpartition(b"\0")[2]) for page in lines for line in page), reverse=True)
        for start in range(0, len(seqs), AT_ONCE):
            for doc in await self._docs("entries", [str(seq) for seq in seqs[start : start + AT_ONCE]]):
                entry = codec.entry.decode(doc)
                if entry.reason is Reason.NOTE_ADDED:
                    return Past(found, entry)
        return Past(found)

    async def windows(self, since: datetime, limit: int = 500) -> Sequence[Window]:
        open_, over = await self._ask(
            ("ZRANGE", "windows.open", 0, -1), ("ZRANGEBYSCORE", "windows.over", codec.us(since), "+inf")
        )
        found = _all(codec.windows, await self._docs("windows", _texts([*open_, *over])))
        return sorted(found, key=lambda w: (-codec.us(w.starts_at), w.id))[:limit]

    async def window(self, window_id: str) -> Window | None:
        found = _all(codec.windows, await self._docs("windows", [codec.key(window_id)]))
        return found[0] if found else None

    async def deploys(self, since: datetime, service: str | None = None, limit: int = 500) -> Sequence[Deploy]:
        if service is None:
            (found,) = await self._ask(("ZRANGEBYSCORE", "deploys.heard", codec.us(since), "+inf"))
            names = _texts(found)
        else:
            (found,) = await self._ask(("beginning", "deploys.of", prefix(service)))
            names = [text.rpartition("\0")[2] for text in _texts(found)]
        deploys = [d for d in _all(codec.deploys, await self._docs("deploys", names)) if d.heard_at >= since]
        return sorted(deploys, key=lambda d: (-codec.us(d.heard_at), d.id))[:limit]

    async def deploy(self, deploy_id: str) -> Deploy | None:
        found = _all(codec.deploys, await self._docs("deploys", [codec.key(deploy_id)]))
        return found[0] if found else None

    async def members(self, incident_id: str, limit: int = 1000) -> Sequence[Alert]:
        (places,) = await self._ask(("beginning", "members", prefix(incident_id)))
        found = _all(codec.alerts, await self._docs("alerts", _texts(places)))
        found.sort(key=lambda a: a.identity)
        found.sort(key=lambda a: (a.firing, a.starts_at), reverse=True)
        return found[:limit]

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        return await self._listed("of", incident_id)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        docs = await self._docs("rows", [codec.key(delivery_id)])
        return _numbered_row(docs[0])[1].delivery if docs else None

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
        found: list[tuple[int, Entry]] = []
        while len(found) <= limit:
            seqs = await self._entry_seqs(incident, identity, after)
            (docs,) = await self._ask(("docs", "entries", *seqs))
            for seq, doc in zip(seqs, docs, strict=True):
                entry = None if doc is None else codec.entry.decode(doc)
                if entry and (not identity or entry.identity == identity) and (since is None or entry.at > since):
                    found.append((seq, entry))
            if len(seqs) < AT_ONCE:
                break
            after = seqs[-1]
        more = len(found) > limit
        return EntryPage([entry for _, entry in found[:limit]], str(found[limit - 1][0]) if more else None)

    async def _entry_seqs(self, incident: str, identity: str, after: int) -> list[int]:
        """The next seqs of an incident, or of an alert, or of any: those are numbers that may have no entry."""
        if not incident and not identity:
            (last,) = await self._ask(("HGET", "counters", "numbers"))
            return list(range(after + 1, min(after + AT_ONCE, int(last or 0)) + 1))
        index, head = ("entries.of", prefix(incident)) if incident else ("entries.on", prefix(identity))
        step = ("ZRANGEBYLEX", index, f"({head}{ordered(after)}", _past(head), "LIMIT", 0, AT_ONCE)
        (members,) = await self._ask(step)
        return [int(member.rpartition(b"\0")[2]) for member in members]

    async def find_alerts(self, labels: Mapping[str, str], limit: int = 100) -> Sequence[Alert]:
        found: list[Alert] = []
        cursor: bytes | str = ""
        while True:
            ((cursor, *docs),) = await self._ask(
                ("matching", "current", "", cursor, AT_ONCE, *codec.searchable(labels))
            )
            found += [a for a in _all(codec.alerts, docs) if codec.has_labels(a.labels, labels)]
            if not cursor:
                break
        found.sort(key=lambda a: (a.identity, a.incident))
        found.sort(key=lambda a: a.starts_at, reverse=True)
        return found[:limit]

    # Parked.

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        (names,) = await self._ask(("ZREVRANGE", "parked.at", 0, limit - 1))
        return _all(codec.parked, await self._docs("parked", _texts(names)))

    async def parked_item(self, parked_id: str) -> Parked | None:
        name = codec.key(parked_id)
        doc, raw = await self._ask(("HGET", "parked", name), ("HGET", "parked.raw", name))
        return None if doc is None else codec.parked_item(doc.decode(), raw or b"")

    async def retry_parked(self, parked_id: str, now: datetime) -> bool:
        while True:
            check, item = await self._parked(parked_id)
            if item is None:
                return False
            write = _Write(more=[*drop_parked([item])])
            if item.kind == "delivery":
                write.needs = item.ref
                write.moves = {item.ref: lambda row: None if row is None else retried(row, now)}
            elif item.kind == "event":
                if not item.ref.isdecimal() or not (await self._ask(("HEXISTS", "bodies", item.ref)))[0]:
                    return False
                write.more = [
                    *write.more,
                    ("ZADD", "undecided", item.ref, item.ref),
                    ("HSET", "owners", item.ref, self._client.me),
                ]
            try:
                return await self._put(write, [check])
            except NotAsBefore:
                continue

    async def drop_parked(self, parked_id: str) -> bool:
        while True:
            check, item = await self._parked(parked_id)
            if item is None:
                return False
            try:
                await self._take([check], [*drop_parked([item])])
            except NotAsBefore:
                continue
            return True

    async def _parked(self, parked_id: str) -> tuple[tuple[bytes, Step], Parked | None]:
        question: Step = ("docs", "parked", codec.key(parked_id))
        digest, (doc,) = await self._ask(question, digests=True)
        return (digest, question), None if doc is None else _parked.decode(doc)

    async def stats(self, now: datetime) -> Stats:
        told = [("ZLEXCOUNT", "listed", f"[{prefix(status)}", _past(prefix(status))) for status in _TOLD]
        sizes = await self._ask(
            ("ZCARD", "undecided"),
            ("ZCOUNT", "due", "-inf", codec.us(now)),
            ("HLEN", "parked"),
            ("ZCARD", "raging"),
            ("ZCARD", "folded"),
            *told,
        )
        undecided, due, parked, raging, folded = sizes[:5]
        return Stats(undecided, due, parked, sum(sizes[5:]), raging, folded)

    # Forgetting.

    async def trim(self, before: datetime) -> int:
        """In pieces, so that nobody waits for long; an interrupted one goes on at the next call."""
        limit = codec.us(before)
        await self._trim_parked(limit)
        forgotten = await self._trim_events(limit)
        await self._trim_storms(limit)
        forgotten += await self._trim_incidents(limit)
        await self._trim_windows(limit)
        await self._trim_deploys(limit)
        forgotten += await self._trim_alerts(limit)
        await self._trim_entries(limit)
        return forgotten

    async def _older(self, index: str, limit: int) -> list[str]:
        (found,) = await self._ask(("ZRANGEBYSCORE", index, "-inf", f"({limit}"))
        return _texts(found)

    async def _forget(
        self, names: Sequence[str], hash_: str, steps: Callable[[list[bytes | None]], Iterable[Step]]
    ) -> None:
        """Takes the steps for these documents, in pieces; a piece that changes meanwhile is left for the next time."""
        for start in range(0, len(names), AT_ONCE):
            question: Step = ("docs", hash_, *names[start : start + AT_ONCE])
            digest, docs = await self._ask(question, digests=True)
            try:
                await self._take([(digest, question)], [*steps(docs)], once=False)
            except NotAsBefore:
                continue

    async def _trim_parked(self, limit: int) -> None:
        def steps(docs: Iterable[bytes | None]) -> Iterator[Step]:
            items = [_parked.decode(doc) for doc in docs if doc is not None]
            yield from drop_parked([item for item in items if item.kind != "delivery"])

        await self._forget(await self._older("parked.at", limit), "parked", steps)

    async def _trim_events(self, limit: int) -> int:
        (kept,) = await self._ask(("beginning", "parked.ref", prefix("event")))
        parked = {text.split("\0")[1] for text in _texts(kept)}
        after, forgotten = 0, 0
        while True:
            (page,) = await self._ask(("ZRANGEBYSCORE", "events", f"({after}", "+inf", "LIMIT", 0, AT_ONCE))
            old = [member.decode() for member in page if int(member.partition(b":")[2]) < limit]
            seqs = [m.partition(":")[0] for m in old]
            if not old:
                return forgotten
            after = int(page[-1].partition(b":")[0])
            question: Step = ("docs", "owners", *seqs)
            digest, owners = await self._ask(question, digests=True)
            gone = [m for m, s, owner in zip(old, seqs, owners, strict=True) if owner is None and s not in parked]
            steps = [step for m in gone for step in (("ZREM", "events", m), ("HDEL", "bodies", m.partition(":")[0]))]
            try:
                await self._take([(digest, question)], steps, once=False)
            except NotAsBefore:
                continue
            forgotten += len(gone)

    async def _trim_storms(self, limit: int) -> None:
        for name in await self._older("storms", limit):
            questions: list[Step] = [("docs", "rows", name), ("beginning", "folded", prefix(name))]
            digest, (doc,), empty, members = await self._ask(*questions, digests=True)
            if doc is None or members:
                continue
            seq, row = _numbered_row(doc)
            if row.due_at is None:
                await self._try([(digest, questions[0]), (empty, questions[1])], _put_row(seq, row, None))

    async def _try(self, checks: Sequence[tuple[bytes, Step]], steps: Iterable[Step]) -> bool:
        """Whether it could be done: else it is left for the next time."""
        try:
            await self._take(checks, [*steps], once=False)
        except NotAsBefore:
            return False
        return True

    async def _trim_incidents(self, limit: int) -> int:
        return sum([await self._trim_incident(name) for name in await self._older("ended", limit)])

    async def _trim_incident(self, name: str) -> int:
        """An incident with its alerts, deliveries, entries and what is parked of it. Returns how many it and its
        alerts are; 0 while one of them is unsettled.
        """
        here: list[Step] = [("docs", "incidents", name), ("beginning", "unsettled", prefix(name))]
        digest, (doc,), settled, unsettled = await self._ask(*here, digests=True)
        if doc is None or unsettled:
            return 0
        (members,) = await self._ask(("beginning", "members", prefix(name)))
        alerts = _all(codec.alerts, await self._docs("alerts", _texts(members)))
        seq, text = read_number(doc)
        steps: list[Step] = [
            *(("HDEL", "incidents", name), ("HDEL", "woken", name)),
            *moved(incident_places(seq, codec.incident.decode(text)), ()),
            *(step for alert in alerts for step in _drop_alert(alert)),
            *await self._what_hangs_on(name),
        ]
        done = await self._try([(digest, here[0]), (settled, here[1])], steps)
        return len(alerts) + 1 if done else 0

    async def _what_hangs_on(self, name: str) -> list[Step]:
        """The steps that forget the deliveries of an incident or window, its entries and what is parked of it."""
        of, lines = await self._ask(*(("beginning", index, prefix(name)) for index in ("of", "entries.of")))
        rows = [_numbered_row(d) for d in await self._docs("rows", [t.rpartition("\0")[2] for t in _texts(of)])]
        refs = [("beginning", "parked.ref", prefix("delivery", row.delivery.id)) for _, row in rows]
        names = [t.rpartition("\0")[2] for page in await self._ask(*refs) for t in _texts(page)]
        steps: list[Step] = [step for seq, row in rows for step in _put_row(seq, row, None)]
        steps += drop_parked([_parked.decode(d) for d in await self._docs("parked", names)])
        seqs = [int(line.rpartition(b"\0")[2]) for line in lines]
        for start in range(0, len(seqs), AT_ONCE):
            page = seqs[start : start + AT_ONCE]
            (docs,) = await self._ask(("docs", "entries", *page))
            steps += _drop_entries(page, docs)
        return steps

    async def _trim_windows(self, limit: int) -> None:
        for name in await self._older("windows.over", limit):
            question: Step = ("docs", "windows", name)
            digest, (doc,) = await self._ask(question, digests=True)
            if doc is not None:
                places = moved(window_places(codec.window.decode(doc)), ())
                steps = [("HDEL", "windows", name), *places, *await self._what_hangs_on(name)]
                await self._try([(digest, question)], steps)

    async def _trim_deploys(self, limit: int) -> None:
        def steps(docs: Iterable[bytes | None]) -> Iterator[Step]:
            for deploy in _all(codec.deploys, docs):
                yield "HDEL", "deploys", codec.key(deploy.id)
                yield from moved(deploy_places(deploy), ())

        await self._forget(await self._older("deploys.heard", limit), "deploys", steps)

    async def _trim_alerts(self, limit: int) -> int:
        forgotten = 0

        def steps(docs: Iterable[bytes | None]) -> Iterator[Step]:
            nonlocal forgotten
            alerts = _all(codec.alerts, docs)
            forgotten += len(alerts)
            for alert in alerts:
                yield from _drop_alert(alert)

        await self._forget(await self._older("settled", limit), "alerts", steps)
        return forgotten

    async def _trim_entries(self, limit: int) -> None:
        seqs = await self._older("entries.loose", limit)
        for start in range(0, len(seqs), AT_ONCE):
            page = [int(seq) for seq in seqs[start : start + AT_ONCE]]
            (docs,) = await self._ask(("docs", "entries", *page))
            await self._take((), [*_drop_entries(page, docs)], once=False)

    # Small facts.

    async def get_meta(self, key: str) -> str | None:
        (found,) = await self._ask(("HGET", "meta", key))
        return None if found is None else found.decode()

    async def set_meta(self, key: str, value: str) -> None:
        await self._take((), [("HSET", "meta", key, value)])

    # What people did a moment ago.

    async def once(self, key: str, now: datetime, until: datetime) -> bool:
        (added,) = await self._take((), [("once", codec.us(now), codec.us(until), codec.key(key))])
        return int(added) == 1

    async def remember(self, key: str, until: datetime) -> None:
        await self._take((), [("ZADD", "once", codec.us(until), codec.key(key))])


def _pairs(answer: Any) -> list[bytes]:
    """What CONFIG GET answers: a list, or in another protocol a map."""
    return [part for pair in answer.items() for part in pair] if isinstance(answer, dict) else list(answer)


def _texts(found: Sequence[bytes]) -> list[str]:
    return [text.decode() for text in found]


def _all(decoder: msgspec.json.Decoder[list[T]], docs: Iterable[bytes | None]) -> list[T]:
    """The values of the documents that are there."""
    return decoder.decode(b"[" + b",".join(doc for doc in docs if doc is not None) + b"]")


def _incidents(docs: Iterable[bytes | None]) -> list[Incident]:
    return _all(codec.incidents, (read_number(doc)[1] for doc in docs if doc is not None))


def _numbered_row(doc: bytes) -> tuple[int, Row]:
    seq, text = read_number(doc)
    return seq, codec.row.decode(text)


def _past(head: str) -> bytes:
    """The end of all members that begin so."""
    return b"(" + head.encode() + b"\xff"


def _if_there(move: Callable[[Row], Row]) -> Move:
    return lambda row: None if row is None else move(row)


def _differs(old: Alert, new: Alert) -> bool:
    """More than that it was seen again."""
    return (old.status, old.current, old.labels) != (new.status, new.current, new.labels)


def _put_alert(old: Alert | None, new: Alert) -> Iterator[Step]:
    yield put("alerts", place_of(new), codec.text(new))
    yield from moved(() if old is None else alert_places(old), alert_places(new))


def _drop_alert(alert: Alert) -> Iterator[Step]:
    yield "HDEL", "alerts", place_of(alert)
    yield from moved(alert_places(alert), ())


def _put_incident(old: bytes | None, new: Incident, numbers: Iterator[int]) -> Iterator[Step]:
    if old is None:
        seq = next(numbers)
        yield from moved((), incident_places(seq, new))
    else:
        seq, text = read_number(old)
        yield from moved(incident_places(seq, codec.incident.decode(text)), incident_places(seq, new))
    yield put("incidents", codec.key(new.id), numbered(seq, codec.text(new)))
    yield "HDEL", "woken", codec.key(new.id)


def _put_row(seq: int, old: Row | None, new: Row | None) -> Iterator[Step]:
    """Writes or, with None, forgets a delivery."""
    yield from moved(() if old is None else row_places(seq, old), () if new is None else row_places(seq, new))
    if old is not None and (new is None or not new.delivery.lease):
        yield "HDEL", "leases", codec.key(old.delivery.id)
    if new is not None:
        yield put("rows", codec.key(new.delivery.id), numbered(seq, codec.text(new)))
    elif old is not None:
        yield "HDEL", "rows", codec.key(old.delivery.id)


def _move_rows(write: _Write, docs: Mapping[str, bytes | None], numbers: Iterator[int]) -> list[Step] | None:
    """The steps of all moves and wants; None where the move that it needs says no."""
    before = {name: None if doc is None else _numbered_row(doc) for name, doc in docs.items()}
    after = {name: None if found is None else found[1] for name, found in before.items()}
    for name, move in write.moves.items():
        row = move(after[codec.key(name)])
        if row is None and name == write.needs:
            return None
        after[codec.key(name)] = row or after[codec.key(name)]
    for want in write.wants:
        after[codec.key(want.id)] = wanted(after[codec.key(want.id)], want)
    steps: list[Step] = []
    for name, row in after.items():
        known = before[name]
        seq, old = (next(numbers), None) if known is None else known
        if row is not None and row is not old:
            steps += _put_row(seq, old, row)
    return steps


def _drop_entries(seqs: Sequence[int], docs: Sequence[bytes | None]) -> Iterator[Step]:
    for seq, doc in zip(seqs, docs, strict=True):
        if doc is not None:
            yield "HDEL", "entries", seq
            yield from moved(entry_places(seq, codec.entry.decode(doc)), ())
