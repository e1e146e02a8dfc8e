"""What stands where in Redis: a document for each value, and the places by which it is found.

Documents are in hashes, by id. An index is a sorted set: by a time in microseconds, or, with all scores 0, by the text
of its members, which are parts that a NUL byte separates. No part has one (`codec.key`), so that the order of members
is the order of their parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

import msgspec

from alertbot.domain.deploys import Deploy
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Entry, Incident, IncidentStatus
from alertbot.domain.windows import Window
from alertbot.store import codec
from alertbot.store.base import DEPLOYS_LOADED, SOURCES_LOADED, Keys, Parked, Source
from alertbot.store.redis_client import Step, Word
from alertbot.store.rows import Row, raging

T = TypeVar("T")
#: An index, the score and the member.
Place = tuple[str, int, str]

#: Words of one command, and an even number: Lua hands over some thousands at the most.
WORDS: Final = 1000
#: Added to a time so that its digits are as many, and in its order, from the year 1 on.
_BEFORE_1970: Final = 10**17


def joined(*parts: str) -> str:
    """A member of an index."""
    return "\0".join(codec.key(part) for part in parts)


def prefix(*parts: str) -> str:
    """What all members begin with that have these parts first."""
    return joined(*parts, "")


def ordered(number: int) -> str:
    """A number as a part."""
    return f"{number:020d}"


def ordered_time(at: datetime) -> str:
    """A time as a part."""
    return ordered(codec.us(at) + _BEFORE_1970)


def place_of(alert: Alert) -> str:
    """An alert's name in its hash."""
    return joined(alert.incident, alert.identity)


def alert_places(alert: Alert) -> Iterator[Place]:
    """By its incident, its identity, the relations it is a source of, and what holds or held it."""
    place = place_of(alert)
    yield "members", 0, place
    if alert.settled:
        yield "settled", codec.us(alert.seen_at), place
    else:
        yield "unsettled", 0, place
        if alert.hold is not None and alert.hold.relation is not None:
            yield "held", 0, joined(alert.hold.relation, alert.incident, alert.identity)
    if alert.current:
        yield "current", 0, joined(alert.identity, alert.incident)
        for window in alert.held_in:
            yield "held_in", 0, joined(window, alert.incident, alert.identity)
        if alert.firing:
            start, name = ordered_time(alert.starts_at), alert.labels.get("alertname", "")
            for relation in alert.source_of:
                side = "1" if relation in alert.two_sided else "0"
                yield "sources", 0, joined(relation, side, start, alert.identity, alert.incident, name)


def source(member: str) -> tuple[str, Source]:
    """A relation and a source of it."""
    relation, side, start, identity, _, name = member.split("\0")
    return relation, Source(identity, codec.at(int(start) - _BEFORE_1970), side == "1", name)


def incident_places(seq: int, incident: Incident) -> Iterator[Place]:
    """By its key (the newest has the highest seq), its status (and none), when it is due and when it ended."""
    created = ordered_time(incident.created_at)
    yield "newest", 0, joined(incident.key, ordered(seq), incident.id)
    for status in ("", incident.status):
        yield "listed", 0, joined(status, created, incident.id)
    if incident.wake_at is not None:
        yield "wake", codec.us(incident.wake_at), codec.key(incident.id)
    if incident.status is IncidentStatus.RESOLVED:
        yield "ended", codec.us(incident.resolved_at or incident.created_at), codec.key(incident.id)


def row_places(seq: int, row: Row) -> Iterator[Place]:
    """By its incident, its storm, its lane, and when it is due."""
    delivery, want = row.delivery, row.delivery.want
    order = ordered(seq)
    yield "of", 0, joined(want.incident, order, delivery.id)
    if row.due_at is not None:
        yield "due", codec.us(row.due_at), codec.key(delivery.id)
        yield "lane", 0, joined(want.lane, f"{want.rank:06d}", ordered_time(row.since), delivery.id)
    if delivery.storm:
        yield "folded", 0, joined(delivery.storm, order, delivery.id)
    if raging(row):
        yield "raging", 0, joined(want.lane, order, delivery.id)
    if want.kind.startswith("storm:"):
        yield "storms", codec.us(row.since), codec.key(delivery.id)


def entry_places(seq: int, entry: Entry) -> Iterator[Place]:
    """By its incident, its identity, and where it has no incident by its time."""
    yield "entries.of", 0, joined(entry.incident, ordered(seq))
    if entry.identity:
        yield "entries.on", 0, joined(entry.identity, ordered(seq))
    if not entry.incident:
        yield "entries.loose", codec.us(entry.at), str(seq)


def window_places(window: Window) -> Iterator[Place]:
    """By whether it is over, and when it is due or was over."""
    if window.over_at is None:
        yield "windows.open", 0, codec.key(window.id)
    else:
        yield "windows.over", codec.us(window.over_at), codec.key(window.id)
    if window.wake_at is not None:
        yield "windows.wake", codec.us(window.wake_at), codec.key(window.id)


def deploy_places(deploy: Deploy) -> Iterator[Place]:
    """By when it was heard of, and by its service: what was heard of last comes first."""
    yield "deploys.heard", codec.us(deploy.heard_at), codec.key(deploy.id)
    backwards = ordered(10**19 - codec.us(deploy.heard_at) - _BEFORE_1970)
    yield "deploys.of", 0, joined(deploy.service, backwards, deploy.id)


def parked_places(item: Parked) -> Iterator[Place]:
    """By its time, and by what it refers to."""
    yield "parked.at", codec.us(item.at), codec.key(item.id)
    yield "parked.ref", 0, joined(item.kind, item.ref, item.id)


def moved(old: Iterable[Place], new: Iterable[Place]) -> Iterator[Step]:
    """The steps from the old places to the new ones."""
    before, after = set(old), set(new)
    for index, _, member in sorted(before - after):
        yield "ZREM", index, member
    for index, score, member in sorted(after - before):
        yield "ZADD", index, score, member


def gathered(steps: Iterable[Step]) -> list[Step]:
    """The same in few commands: one for all that is put into, or taken from, a key. All is taken away before anything
    is put, for a member whose score changes is in both.
    """
    rest: list[Step] = []
    gone: dict[Step, list[Word]] = {}
    come: dict[Step, list[Word]] = {}
    for step in steps:
        into = gone if step[0] in ("ZREM", "HDEL") else come if step[0] in ("ZADD", "HSET") else None
        if into is None:
            rest.append(step)
        else:
            into.setdefault(step[:2], []).extend(step[2:])
    for head, words in (*gone.items(), *come.items()):
        rest += ((*head, *words[n : n + WORDS]) for n in range(0, len(words), WORDS))
    return rest


def put(hash_: str, name: str, doc: str | bytes) -> Step:
    """Writes a document. `name` is fit for a key (`codec.key`, `place_of`)."""
    return "HSET", hash_, name, doc


def numbered(seq: int, doc: str) -> str:
    """A document that remembers its place in the order of first writes."""
    return f"{seq} {doc}"


def read_number(text: bytes) -> tuple[int, bytes]:
    """The place, and the document."""
    seq, _, doc = text.partition(b" ")
    return int(seq), doc


def load_step(keys: Keys) -> Step:
    """The question for all that is named (labels are asked for apart)."""
    lists = (
        keys.identities, keys.incident_keys, keys.incidents, keys.members, keys.relations, keys.waiting, keys.held_in,
        keys.windows, keys.services,
    )  # fmt: skip
    words: list[str | int] = ["load"]
    for names in lists:
        words += (len(names), *sorted(codec.key(n) for n in names))
    since = "" if keys.deploys_since is None else codec.us(keys.deploys_since)
    return (*words, since, DEPLOYS_LOADED, SOURCES_LOADED)


class _Head(msgspec.Struct):
    at: int
    source: str
    trace_id: str


parked_doc: Final = msgspec.json.Decoder(Parked)
_head = msgspec.json.Decoder(_Head)


def event_record(event: RawEvent) -> bytes:
    """What is known of an event in one line, then its body as it came."""
    return codec.text(_Head(codec.us(event.at), event.source, event.trace_id)).encode() + b"\n" + event.body


def stored_event(seq: int, record: bytes) -> StoredEvent:
    """And back."""
    line, _, body = record.partition(b"\n")
    head = _head.decode(line)
    return StoredEvent(seq, RawEvent(codec.at(head.at), head.source, body, head.trace_id))


def put_entry(seq: int, entry: Entry) -> Iterator[Step]:
    """A new line of the record."""
    yield put("entries", str(seq), codec.text(entry))
    yield from moved((), entry_places(seq, entry))


def put_parked(old: Parked | None, new: Parked) -> Iterator[Step]:
    """A parked thing, or the same one again."""
    yield put("parked", codec.key(new.id), codec.text(replace(new, raw=b"")))
    yield put("parked.raw", codec.key(new.id), new.raw)
    yield from moved(() if old is None else parked_places(old), parked_places(new))


def drop_parked(items: Sequence[Parked]) -> Iterator[Step]:
    """Forgets parked things."""
    for item in items:
        yield "HDEL", "parked", codec.key(item.id)
        yield "HDEL", "parked.raw", codec.key(item.id)
        yield from moved(parked_places(item), ())


def texts(found: Sequence[bytes]) -> list[str]:
    """Names and members as text."""
    return [text.decode() for text in found]


def all_of(decoder: msgspec.json.Decoder[list[T]], docs: Iterable[bytes | None]) -> list[T]:
    """The values of the documents that are there."""
    return decoder.decode(b"[" + b",".join(doc for doc in docs if doc is not None) + b"]")


def incidents_of(docs: Iterable[bytes | None]) -> list[Incident]:
    """The incidents that are there."""
    return all_of(codec.incidents, (read_number(doc)[1] for doc in docs if doc is not None))


def numbered_row(doc: bytes) -> tuple[int, Row]:
    """Its place in the order of first writes, and the row."""
    seq, text = read_number(doc)
    return seq, codec.row.decode(text)


def end_of(head: str) -> bytes:
    """The end of all members that begin so."""
    return b"(" + head.encode() + b"\xff"
