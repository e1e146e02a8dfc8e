"""What people and replays look up in Redis: nothing here writes."""

# the protocol says what each method does
from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Final

from alertbot.domain.budgets import Spent
from alertbot.domain.deploys import Deploy
from alertbot.domain.enrichment import Past
from alertbot.domain.events import StoredEvent
from alertbot.domain.model import Alert, Delivery, Entry, Incident, IncidentStatus
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import Window
from alertbot.store import codec
from alertbot.store.base import (
    EntryPage,
    Page,
    Parked,
    Stats,
)
from alertbot.store.redis_link import AT_ONCE, Link
from alertbot.store.redis_rows import (
    all_of,
    end_of,
    incidents_of,
    joined,
    numbered_row,
    ordered,
    ordered_time,
    prefix,
    stored_event,
    texts,
)
from alertbot.store.rows import Row, grouped

#: Alerts that are searched in one go.
SEARCHED: Final = 200
#: Incidents whose alerts or deliveries are listed in one go.
INCIDENTS: Final = 50
#: Bytes of bodies read in one go.
BODIES: Final = 8 * 1024 * 1024

#: The statuses of incidents that somebody was told of, and that are not over.
TOLD: Final = (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)


class Looks:
    """The half of `alertbot.store.redis.RedisStore` that only reads."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def events(self, since: datetime, after: int, limit: int) -> Sequence[StoredEvent]:
        start = codec.us(since)
        seqs: list[int] = []
        while len(seqs) < limit:
            (page,) = await self._link.ask(("ZRANGEBYSCORE", "events", f"({after}", "+inf", "LIMIT", 0, AT_ONCE))
            for seq, at in (member.split(b":") for member in page):
                after = int(seq)
                if int(at) >= start:
                    seqs.append(after)
            if len(page) < AT_ONCE:
                break
        return await self._bodies(seqs[:limit])

    async def event(self, seq: int) -> StoredEvent | None:
        (record,) = await self._link.ask(("HGET", "bodies", seq))
        return None if record is None else stored_event(seq, record)

    async def _bodies(self, seqs: Sequence[int]) -> list[StoredEvent]:
        """Events by their seqs, without those that are gone."""
        found: list[StoredEvent] = []
        while seqs:
            (records,) = await self._link.ask(("bodies", BODIES, *seqs))
            found += [stored_event(seq, r) for seq, r in zip(seqs, records, strict=False) if r]
            seqs = seqs[len(records) :]
        return found

    async def incident(self, incident_id: str) -> Incident | None:
        found = incidents_of(await self._link.docs("incidents", [codec.key(incident_id)]))
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
        top: str | bytes = f"({head}{before}" if before else end_of(head)
        while len(found) <= limit:
            count = min(limit + 1, AT_ONCE)
            (page,) = await self._link.ask(("ZREVRANGEBYLEX", "listed", top, f"[{head}{oldest}", "LIMIT", 0, count))
            docs = await self._link.docs("incidents", [text.rpartition("\0")[2] for text in texts(page)])
            found += [i for i in incidents_of(docs) if severity is None or i.severity == severity]
            if len(page) < count:
                break
            top = b"(" + page[-1]
        return found[: limit + 1]

    async def past(self, key: str, since: datetime, limit: int = 100) -> Past:
        (members,) = await self._link.ask(("beginning", "newest", prefix(key)))
        names = [text.rpartition("\0")[2] for text in reversed(texts(members))]
        found = [i for i in incidents_of(await self._link.docs("incidents", names)) if i.created_at >= since][:limit]
        lines = await self._link.ask(*(("beginning", "entries.of", prefix(i.id)) for i in found))
        seqs = sorted((int(line.rpartition(b"\0")[2]) for page in lines for line in page), reverse=True)
        for start in range(0, len(seqs), AT_ONCE):
            for doc in await self._link.docs("entries", [str(seq) for seq in seqs[start : start + AT_ONCE]]):
                entry = codec.entry.decode(doc)
                if entry.reason is Reason.NOTE_ADDED:
                    return Past(found, entry)
        return Past(found)

    async def windows(self, since: datetime, limit: int = 500) -> Sequence[Window]:
        open_, over = await self._link.ask(
            ("ZRANGE", "windows.open", 0, -1), ("ZRANGEBYSCORE", "windows.over", codec.us(since), "+inf")
        )
        found = all_of(codec.windows, await self._link.docs("windows", texts([*open_, *over])))
        return sorted(found, key=lambda w: (-codec.us(w.starts_at), w.id))[:limit]

    async def windows_named(self, window_ids: Sequence[str]) -> Mapping[str, Window]:
        found = all_of(codec.windows, await self._link.docs("windows", [codec.key(name) for name in window_ids]))
        return {window.id: window for window in found}

    async def window(self, window_id: str) -> Window | None:
        return (await self.windows_named([window_id])).get(window_id)

    async def deploys(self, since: datetime, service: str | None = None, limit: int = 500) -> Sequence[Deploy]:
        if service is None:
            (found,) = await self._link.ask(("ZRANGEBYSCORE", "deploys.heard", codec.us(since), "+inf"))
            names = texts(found)
        else:
            (found,) = await self._link.ask(("beginning", "deploys.of", prefix(service)))
            names = [text.rpartition("\0")[2] for text in texts(found)]
        deploys = [d for d in all_of(codec.deploys, await self._link.docs("deploys", names)) if d.heard_at >= since]
        return sorted(deploys, key=lambda d: (-codec.us(d.heard_at), d.id))[:limit]

    async def deploys_named(self, deploy_ids: Sequence[str]) -> Mapping[str, Deploy]:
        found = all_of(codec.deploys, await self._link.docs("deploys", [codec.key(name) for name in deploy_ids]))
        return {deploy.id: deploy for deploy in found}

    async def deploy(self, deploy_id: str) -> Deploy | None:
        return (await self.deploys_named([deploy_id])).get(deploy_id)

    async def members_of(self, incident_ids: Sequence[str], limit: int = 100) -> Mapping[str, Sequence[Alert]]:
        places = [place for page in await self._beginning("members", incident_ids) for place in page]
        found: list[Alert] = []
        for start in range(0, len(places), AT_ONCE):  # decoded in pieces, for there may be many
            found += all_of(codec.alerts, await self._link.docs("alerts", places[start : start + AT_ONCE]))
        found.sort(key=lambda a: a.identity)
        found.sort(key=lambda a: (a.firing, a.starts_at), reverse=True)
        return {name: of[:limit] for name, of in grouped(incident_ids, found, lambda a: a.incident).items()}

    async def members(self, incident_id: str, limit: int = 1000) -> Sequence[Alert]:
        return (await self.members_of([incident_id], limit))[incident_id]

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        return await self._listed("of", incident_id)

    async def delivery(self, delivery_id: str) -> Delivery | None:
        docs = await self._link.docs("rows", [codec.key(delivery_id)])
        return numbered_row(docs[0])[1].delivery if docs else None

    async def deliveries_of(self, incident_ids: Sequence[str]) -> Mapping[str, Sequence[Delivery]]:
        return grouped(incident_ids, await self._listed("of", *incident_ids), lambda d: d.want.incident)

    async def _listed(self, index: str, *names: str) -> list[Delivery]:
        """Deliveries of an index by some names, of each in the order in which they were first wanted."""
        members = [text for page in await self._beginning(index, names) for text in page]
        return [row.delivery for row in await self._rows_of(members)]

    async def _rows_of(self, members: Sequence[str]) -> list[Row]:
        """The rows of an index's members, which end with their ids."""
        docs = await self._link.docs("rows", [text.rpartition("\0")[2] for text in members])
        return [row for _, row in map(numbered_row, docs)]

    async def _beginning(self, index: str, names: Sequence[str]) -> list[list[str]]:
        """The members of an index by each of some names."""
        found: list[list[str]] = []
        for start in range(0, len(names), INCIDENTS):
            questions = (("beginning", index, prefix(name)) for name in names[start : start + INCIDENTS])
            found += map(texts, await self._link.ask(*questions))
        return found

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
            (docs,) = await self._link.ask(("docs", "entries", *seqs))
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
            (last,) = await self._link.ask(("HGET", "counters", "numbers"))
            return list(range(after + 1, min(after + AT_ONCE, int(last or 0)) + 1))
        index, head = ("entries.of", prefix(incident)) if incident else ("entries.on", prefix(identity))
        step = ("ZRANGEBYLEX", index, f"({head}{ordered(after)}", end_of(head), "LIMIT", 0, AT_ONCE)
        (members,) = await self._link.ask(step)
        return [int(member.rpartition(b"\0")[2]) for member in members]

    async def find_alerts(self, labels: Mapping[str, str], limit: int = 100) -> Sequence[Alert]:
        found: list[Alert] = []
        cursor: bytes | str = ""
        while True:
            ((cursor, *docs),) = await self._link.ask(
                ("matching", "current", "", cursor, SEARCHED, *codec.searchable(labels))
            )
            found += [a for a in all_of(codec.alerts, docs) if codec.has_labels(a.labels, labels)]
            if not cursor:
                break
        found.sort(key=lambda a: (a.identity, a.incident))
        found.sort(key=lambda a: a.starts_at, reverse=True)
        return found[:limit]

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        (names,) = await self._link.ask(("ZREVRANGE", "parked.at", 0, limit - 1))
        return all_of(codec.parked, await self._link.docs("parked", texts(names)))

    async def parked_item(self, parked_id: str) -> Parked | None:
        name = codec.key(parked_id)
        doc, raw = await self._link.ask(("HGET", "parked", name), ("HGET", "parked.raw", name))
        return None if doc is None else codec.parked_item(doc.decode(), raw or b"")

    async def stats(self, now: datetime) -> Stats:
        told = [("ZLEXCOUNT", "listed", f"[{prefix(status)}", end_of(prefix(status))) for status in TOLD]
        sizes = await self._link.ask(
            ("ZCARD", "undecided"),
            ("ZCOUNT", "due", "-inf", codec.us(now)),
            ("HLEN", "parked"),
            ("ZCARD", "raging"),
            ("ZCARD", "folded"),
            *told,
        )
        undecided, due, parked, raging, folded = sizes[:5]
        return Stats(undecided, due, parked, sum(sizes[5:]), raging, folded)

    async def facts(self) -> Mapping[str, str]:
        return {key.decode(): value.decode() for key, value in await self._all("meta")}

    async def spent(self) -> Mapping[str, Spent]:
        return {key.decode(): codec.spent.decode(doc) for key, doc in await self._all("budgets")}

    async def _all(self, hash_: str) -> list[tuple[bytes, bytes]]:
        (found,) = await self._link.ask(("HGETALL", hash_))
        return list(zip(found[::2], found[1::2], strict=True))

    async def rows(self) -> AsyncIterator[Sequence[Row]]:
        (members,) = await self._link.ask(("ZRANGE", "of", 0, -1))
        wanted = sorted((text.split("\0")[1:] for text in texts(members)), key=itemgetter(0))
        for start in range(0, len(wanted), AT_ONCE):
            docs = await self._link.docs("rows", [name for _, name in wanted[start : start + AT_ONCE]])
            yield [row for _, row in map(numbered_row, docs)]
