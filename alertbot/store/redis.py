"""The shared store: one Redis, or Sentinel's, or a cluster, for any number of replicas.

Reads are questions; a write is worked out here, by the same pure rules as in every back end, and taken by Redis only if
what it was worked out from still stands there. Where it does not, it is worked out again. Where everything is:
`redis_rows`; how it is written: `redis_write`; looking: `redis_look`; forgetting: `redis_trim`; what Redis does:
`redis.lua`; how it is reached: `redis_link`, `redis_client`.
"""

# the protocol says what each method does
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from alertbot.domain import budgets as budget_rules
from alertbot.domain.breakers import Breaker, released
from alertbot.domain.budgets import Budget, Spent
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Delivery
from alertbot.redis_url import RedisUrl
from alertbot.store import codec
from alertbot.store.base import (
    BreakerChange,
    Changed,
    Changes,
    Due,
    Filing,
    Keys,
    Lanes,
    Loaded,
    Outcome,
    Parked,
    Renewal,
    Source,
    StoreError,
    StoreUnavailable,
    TakenOver,
)
from alertbot.store.redis_client import NOTHING, Client, NotAsBefore, Step
from alertbot.store.redis_link import AT_ONCE, Link
from alertbot.store.redis_look import TOLD, Looks
from alertbot.store.redis_rows import (
    all_of,
    drop_parked,
    event_record,
    incidents_of,
    joined,
    load_step,
    numbered_row,
    parked_doc,
    prefix,
    put,
    source,
    texts,
)
from alertbot.store.redis_schema import SCHEMA, Schema
from alertbot.store.redis_trim import trim
from alertbot.store.redis_write import Move, Write, if_there, put_all, put_row
from alertbot.store.rows import Row, claimed, clashes, filed, orphaned, recorded, retried, waits

#: How long a replica counts as alive after it said so; how long nobody else gets an incident that it is waking.
LIVES: Final = timedelta(seconds=15)
#: Deliveries claimed in one go.
CLAIMED: Final = 50
#: Incidents searched in one go, with all their alerts.
INCIDENTS: Final = 20


class RedisStore(Looks):
    """See `alertbot.store.base.Store`.

    `allow_eviction` serves on a Redis that throws away what it has no room for; `wait_replicas` and `wait_disk` say
    where a write must be before it counts. `readonly` only looks. `schema`: what it has to be, or is brought up to.
    """

    def __init__(
        self,
        url: str,
        *,
        readonly: bool = False,
        allow_eviction: bool = False,
        wait_replicas: int = 0,
        wait_disk: bool = False,
        schema: Schema = SCHEMA,
    ) -> None:
        self._client = Client(RedisUrl.of(url), wait_replicas=wait_replicas, wait_disk=wait_disk)
        super().__init__(Link(self._client, readonly=readonly, allow_eviction=allow_eviction, schema=schema))
        self._unanswered: set[str] = set()
        """Leases that may be held by nobody: the claim's answer was lost."""

    async def open(self) -> None:
        """Raises `StoreUnusable` for a store of a newer version, of an older one that is still worked on, or a Redis
        that would throw it away.
        """
        await self._link.open()

    async def examine(self) -> list[str]:
        """What an operator should know of this Redis before a start; writes nothing. Raises what `open` would."""
        return await self._link.examine()

    async def close(self) -> None:
        await self._link.close()

    # The record of events.

    async def append(self, events: Sequence[RawEvent]) -> Sequence[int]:
        if not events:
            return []
        words = [word for e in events for word in (str(codec.us(e.at)), event_record(e))]
        (first,) = await self._link.take((), [("append", *words)])
        return range(int(first), int(first) + len(events))

    async def undecided(self, limit: int) -> Sequence[StoredEvent]:
        found: list[StoredEvent] = []
        after = b"0"
        while after and len(found) < limit:
            ((after, *seqs),) = await self._link.ask(("mine", after, AT_ONCE))
            found += await self._bodies([int(seq) for seq in seqs[: limit - len(found)]])
        return found

    async def renew(self, now: datetime) -> Renewal:
        left, living, (after, taken, mine) = await self._link.ask(
            ("renew", codec.us(now), codec.us(now + LIVES)), ("ZCARD", "replicas"), ("take_over", 0, AT_ONCE)
        )
        while after:
            ((after, more, ours),) = await self._link.ask(("take_over", after, AT_ONCE))
            taken, mine = taken + more, mine + ours
        names = [*texts(left), *await self._claimed_unheard()]
        if names:
            await self._release(names, now)
            moves: dict[str, Move] = {name: if_there(orphaned) for name in names}
            await put_all(self._link, Write(moves=moves, more=[("HDEL", "leases", *names)]))
        return Renewal(now + LIVES / 3, taken + len(names), living - 1, mine)

    async def _release(self, names: Sequence[str], now: datetime) -> None:
        """Lanes that were being tried with these deliveries: nobody does any more."""
        leases = {numbered_row(doc)[1].delivery.lease for doc in await self._link.docs("rows", names)}
        for lane, doc in await self._all("breakers"):
            probe = codec.breaker.decode(doc).probe
            if probe in leases:
                await self.breaker(lane.decode(), partial(released, lease=probe, now=now))

    async def _claimed_unheard(self) -> list[str]:
        """Deliveries that were claimed here, and nobody was told."""
        if not self._unanswered:
            return []
        lost, self._unanswered = self._unanswered, set()
        try:
            (leases,) = await self._link.ask(("HGETALL", "leases"))
            mine = [name for name, owner in zip(*[iter(texts(leases))] * 2, strict=True) if owner == self._client.me]
            rows = [numbered_row(doc)[1].delivery for doc in await self._link.docs("rows", mine)]
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

    # Deciding.

    async def load(self, keys: Keys) -> Loaded:
        labelled = [] if keys.labels is None else await self._labelled(keys.labels)
        asked = replace(keys, incidents=keys.incidents | frozenset(labelled), labels=None)
        question = load_step(asked)
        digest, answer = await self._link.ask(question, digests=True)
        relations: dict[str, list[Source]] = {}
        for relation, one in sorted(map(source, texts(answer[2])), key=lambda s: (s[0], s[1].starts_at, s[1].identity)):
            relations.setdefault(relation, []).append(one)
        waiting: dict[str, list[str]] = {}
        for relation, incident in sorted(text.split("\0") for text in texts(answer[3])):
            waiting.setdefault(relation, []).append(incident)
        return Loaded(
            alerts=sorted(all_of(codec.alerts, answer[0]), key=lambda a: (a.incident, a.identity)),
            incidents=sorted(incidents_of(answer[1]), key=lambda i: i.id),
            relations=relations,
            waiting=waiting,
            labelled=labelled,
            windows=sorted(all_of(codec.windows, answer[4]), key=lambda w: w.id),
            deploys=sorted(all_of(codec.deploys, answer[5]), key=lambda d: d.id),
            seen=((digest, question),),
        )

    async def _labelled(self, labels: Mapping[str, str]) -> list[str]:
        """Told incidents with such an alert. What opens meanwhile is not among them."""
        answers = await self._link.ask(*(("beginning", "listed", prefix(status)) for status in TOLD))
        told = [name for page in answers for *_, name in (text.split("\0") for text in texts(page))]
        pieces = codec.searchable(labels)
        found: set[str] = set()
        for start in range(0, len(told), INCIDENTS):
            steps: list[Step] = [
                ("matching", "members", prefix(name), "", 100_000, *pieces) for name in told[start : start + INCIDENTS]
            ]
            for _, *docs in await self._link.ask(*steps):
                alerts = all_of(codec.alerts, docs)
                found |= {a.incident for a in alerts if a.firing and codec.has_labels(a.labels, labels)}
        return sorted(found)

    async def commit(self, changes: Changes) -> None:
        write = Write(
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
            await put_all(self._link, write, (*ours, *changes.seen))
        except NotAsBefore as error:
            if ours and error.check == 1:
                raise TakenOver([int(seq) for seq in error.answer]) from None
            raise Changed("what was loaded has changed since") from None

    async def due(self, now: datetime, limit: int) -> Due:
        incidents, windows = await self._link.ask(
            ("due", codec.us(now), codec.us(now + LIVES), limit),
            ("ZRANGEBYSCORE", "windows.wake", "-inf", codec.us(now), "LIMIT", 0, limit),
        )
        return Due(texts(incidents), texts(windows))

    async def next_wake(self) -> datetime | None:
        (found,) = await self._link.ask(("next_wake",))
        return None if found is None else codec.at(int(found))

    async def firing(self, after: tuple[str, str], limit: int) -> Sequence[Alert]:
        step = ("ZRANGEBYLEX", "unsettled", f"({joined(*after)}", "+", "LIMIT", 0, limit)
        (places,) = await self._link.ask(step)
        return all_of(codec.alerts, await self._link.docs("alerts", texts(places)))

    # Delivering.

    async def lanes(self, now: datetime) -> Lanes:
        found, raging, broken = await self._link.ask(
            ("lanes", codec.us(now)), ("ZRANGE", "raging", 0, -1), ("HGETALL", "breakers")
        )
        words = texts(found)
        return Lanes(
            [lane for _, lane in sorted(zip(words[1::2], words[::2], strict=True))],
            frozenset(text.partition("\0")[0] for text in texts(raging)),
            dict(zip(texts(broken[::2]), map(codec.breaker.decode, broken[1::2]), strict=True)),
        )

    async def claim(self, lane: str, now: datetime, lease: str, lease_for: timedelta, limit: int) -> Sequence[Delivery]:
        found: list[Delivery] = []
        more = True
        while more and len(found) < limit:
            wanted = min(limit - len(found), CLAIMED)
            question: Step = ("due_in", codec.key(lane), codec.us(now), wanted)
            try:
                digest, docs = await self._link.ask(question, digests=True)
                rows = [(seq, old, claimed(old, lease, now + lease_for)) for seq, old in map(numbered_row, docs)]
                steps = [step for row in rows for step in put_row(*row)]
                steps += [("HSET", "leases", codec.key(old.delivery.id), self._client.me) for _, old, _ in rows]
                if steps:
                    await self._link.take([(digest, question)], steps)
            except NotAsBefore:
                continue
            except StoreUnavailable:
                self._unanswered.add(lease)
                raise
            found += [row.delivery for *_, row in rows]
            more = len(rows) == wanted
        return found

    async def record(self, outcome: Outcome) -> bool:
        moves: dict[str, Move] = {outcome.id: lambda row: None if row is None else recorded(row, outcome)}
        return await put_all(
            self._link, Write(moves=moves, entries=outcome.entries, parked=outcome.parked, needs=outcome.id)
        )

    async def next_delivery(self) -> datetime | None:
        (found,) = await self._link.ask(("ZRANGE", "due", 0, 0, "WITHSCORES"))
        return codec.at(int(float(found[1]))) if found else None

    # Storms.

    async def waiting(self, lane: str, now: datetime, limit: int) -> Sequence[Delivery]:
        (docs,) = await self._link.ask(("due_in", codec.key(lane), codec.us(now), limit))
        return [row.delivery for _, row in map(numbered_row, docs) if waits(row, now)]

    async def refile(self, filing: Filing) -> bool:
        moves: dict[str, Move] = {name: if_there(move) for name, move in filed(filing).items()}
        write = Write(moves=moves, wants=filing.wants, entries=filing.entries)
        questions: list[Step] = [("beginning", "raging", prefix(want.lane)) for want in filing.wants]
        while True:
            answers = await self._link.ask(*questions, digests=True) if questions else []
            for want, members in zip(filing.wants, answers[1::2], strict=True):
                if any(clashes(row, want) for row in await self._rows_of(texts(members))):
                    return False
            try:
                return await put_all(self._link, write, [*zip(answers[::2], questions, strict=True)])
            except NotAsBefore:
                continue

    async def folded(self, storm: str) -> Sequence[Delivery]:
        return await self._listed("folded", storm)

    async def storms(self, lane: str) -> Sequence[Delivery]:
        return await self._listed("raging", lane)

    # Budgets.

    async def _spent(self, keys: Sequence[str]) -> tuple[tuple[bytes, Step], list[Spent]]:
        question: Step = ("docs", "budgets", *map(codec.key, keys))
        digest, docs = await self._link.ask(question, digests=True)
        return (digest, question), [Spent() if doc is None else codec.spent.decode(doc) for doc in docs]

    async def spend(self, budgets: Sequence[Budget], now: datetime) -> datetime | None:
        while True:
            check, spent = await self._spent([b.key for b in budgets])
            both = list(zip(budgets, spent, strict=True))
            waits_until = [at for b, s in both if (at := budget_rules.free_at(s, b, now)) is not None]
            if waits_until:
                return max(waits_until)
            try:
                await self._link.take(
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
                await self._link.take(
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
            digest, (doc,) = await self._link.ask(question, digests=True)
            before = None if doc is None else codec.breaker.decode(doc)
            after = change(before)
            if after == before:
                return after
            step = ("HDEL", "breakers", name) if after is None else put("breakers", name, codec.text(after))
            try:
                await self._link.take([(digest, question)], [step], once=after is not None)
            except NotAsBefore:
                continue
            return after

    # Parked.

    async def retry_parked(self, parked_id: str, now: datetime) -> bool:
        while True:
            check, item = await self._parked(parked_id)
            if item is None:
                return False
            write = Write(more=[*drop_parked([item])])
            if item.kind == "delivery":
                write.needs = item.ref
                write.moves = {item.ref: lambda row: None if row is None else retried(row, now)}
            elif item.kind == "event":
                if not item.ref.isdecimal() or not (await self._link.ask(("HEXISTS", "bodies", item.ref)))[0]:
                    return False
                write.more = [
                    *write.more,
                    ("ZADD", "undecided", item.ref, item.ref),
                    ("HSET", "owners", item.ref, self._client.me),
                ]
            try:
                return await put_all(self._link, write, [check])
            except NotAsBefore:
                continue

    async def drop_parked(self, parked_id: str) -> bool:
        while True:
            check, item = await self._parked(parked_id)
            if item is None:
                return False
            try:
                await self._link.take([check], [*drop_parked([item])])
            except NotAsBefore:
                continue
            return True

    async def _parked(self, parked_id: str) -> tuple[tuple[bytes, Step], Parked | None]:
        question: Step = ("docs", "parked", codec.key(parked_id))
        digest, (doc,) = await self._link.ask(question, digests=True)
        return (digest, question), None if doc is None else parked_doc.decode(doc)

    async def trim(self, before: datetime) -> int:
        return await trim(self._link, before)

    # Small facts.

    async def get_meta(self, key: str) -> str | None:
        (found,) = await self._link.ask(("HGET", "meta", key))
        return None if found is None else found.decode()

    async def set_meta(self, key: str, value: str) -> None:
        await self._link.take((), [("HSET", "meta", key, value)])

    # Moving.

    async def restore(self, rows: Sequence[Row], spent: Mapping[str, Spent]) -> None:
        moves: dict[str, Move] = {row.delivery.id: partial(_as_it_is, row) for row in rows}
        budgets = [put("budgets", codec.key(key), codec.text(one)) for key, one in spent.items()]
        await put_all(self._link, Write(moves=moves, more=budgets))

    # What people did a moment ago.

    async def once(self, key: str, now: datetime, until: datetime) -> bool:
        (added,) = await self._link.take((), [("once", codec.us(now), codec.us(until), codec.key(key))])
        return int(added) == 1

    async def remember(self, key: str, until: datetime) -> None:
        await self._link.take((), [("ZADD", "once", codec.us(until), codec.key(key))])


def _as_it_is(row: Row, _: Row | None) -> Row:
    return row
