"""Forgetting in Redis: in pieces, each over what it was worked out from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Final

from alertbot.store import codec
from alertbot.store.redis_client import NotAsBefore, Step
from alertbot.store.redis_link import Link
from alertbot.store.redis_rows import (
    all_of,
    deploy_places,
    drop_parked,
    incident_places,
    moved,
    numbered_row,
    parked_doc,
    prefix,
    read_number,
    texts,
    window_places,
)
from alertbot.store.redis_write import drop_alert, drop_entries, put_row

#: Things forgotten in one go, each with all its places: Redis serves nobody else meanwhile.
FORGOTTEN: Final = 100


async def trim(link: Link, before: datetime) -> int:
    """In pieces, so that nobody waits for long; an interrupted one goes on at the next call."""
    limit = codec.us(before)
    await _trim_parked(link, limit)
    forgotten = await _trim_events(link, limit)
    await _trim_storms(link, limit)
    forgotten += await _trim_incidents(link, limit)
    await _trim_windows(link, limit)
    await _trim_deploys(link, limit)
    forgotten += await _trim_alerts(link, limit)
    await _trim_entries(link, limit)
    return forgotten


async def _older(link: Link, index: str, limit: int) -> list[str]:
    (found,) = await link.ask(("ZRANGEBYSCORE", index, "-inf", f"({limit}"))
    return texts(found)


async def _forget(
    link: Link, names: Sequence[str], hash_: str, steps: Callable[[list[bytes | None]], Iterable[Step]]
) -> None:
    """Takes the steps for these documents, in pieces; a piece that changes meanwhile is left for the next time."""
    for start in range(0, len(names), FORGOTTEN):
        question: Step = ("docs", hash_, *names[start : start + FORGOTTEN])
        digest, docs = await link.ask(question, digests=True)
        try:
            await link.take([(digest, question)], [*steps(docs)], once=False)
        except NotAsBefore:
            continue


async def _trim_parked(link: Link, limit: int) -> None:
    def steps(docs: Iterable[bytes | None]) -> Iterator[Step]:
        items = [parked_doc.decode(doc) for doc in docs if doc is not None]
        yield from drop_parked([item for item in items if item.kind != "delivery"])

    await _forget(link, await _older(link, "parked.at", limit), "parked", steps)


async def _trim_events(link: Link, limit: int) -> int:
    (kept,) = await link.ask(("beginning", "parked.ref", prefix("event")))
    parked = {text.split("\0")[1] for text in texts(kept)}
    after, forgotten = 0, 0
    while True:
        (page,) = await link.ask(("ZRANGEBYSCORE", "events", f"({after}", "+inf", "LIMIT", 0, FORGOTTEN))
        old = [member.decode() for member in page if int(member.partition(b":")[2]) < limit]
        seqs = [m.partition(":")[0] for m in old]
        if not old:
            return forgotten
        after = int(page[-1].partition(b":")[0])
        question: Step = ("docs", "owners", *seqs)
        digest, owners = await link.ask(question, digests=True)
        gone = [m for m, s, owner in zip(old, seqs, owners, strict=True) if owner is None and s not in parked]
        steps = [step for m in gone for step in (("ZREM", "events", m), ("HDEL", "bodies", m.partition(":")[0]))]
        try:
            await link.take([(digest, question)], steps, once=False)
        except NotAsBefore:
            continue
        forgotten += len(gone)


async def _trim_storms(link: Link, limit: int) -> None:
    for name in await _older(link, "storms", limit):
        questions: list[Step] = [("docs", "rows", name), ("beginning", "folded", prefix(name))]
        digest, (doc,), empty, members = await link.ask(*questions, digests=True)
        if doc is None or members:
            continue
        seq, row = numbered_row(doc)
        if row.due_at is None:
            await link.attempt([(digest, questions[0]), (empty, questions[1])], put_row(seq, row, None))


async def _trim_incidents(link: Link, limit: int) -> int:
    return sum([await _trim_incident(link, name) for name in await _older(link, "ended", limit)])


async def _trim_incident(link: Link, name: str) -> int:
    """An incident with its alerts, deliveries, entries and what is parked of it. Returns how many it and its
    alerts are; 0 while one of them is unsettled.
    """
    here: list[Step] = [("docs", "incidents", name), ("beginning", "unsettled", prefix(name))]
    digest, (doc,), settled, unsettled = await link.ask(*here, digests=True)
    if doc is None or unsettled:
        return 0
    (members,) = await link.ask(("beginning", "members", prefix(name)))
    alerts = all_of(codec.alerts, await link.docs("alerts", texts(members)))
    seq, text = read_number(doc)
    steps: list[Step] = [
        *(("HDEL", "incidents", name), ("HDEL", "woken", name)),
        *moved(incident_places(seq, codec.incident.decode(text)), ()),
        *(step for alert in alerts for step in drop_alert(alert)),
        *await _what_hangs_on(link, name),
    ]
    done = await link.attempt([(digest, here[0]), (settled, here[1])], steps)
    return len(alerts) + 1 if done else 0


async def _what_hangs_on(link: Link, name: str) -> list[Step]:
    """The steps that forget the deliveries of an incident or window, its entries and what is parked of it."""
    of, lines = await link.ask(*(("beginning", index, prefix(name)) for index in ("of", "entries.of")))
    rows = [numbered_row(d) for d in await link.docs("rows", [t.rpartition("\0")[2] for t in texts(of)])]
    refs = [("beginning", "parked.ref", prefix("delivery", row.delivery.id)) for _, row in rows]
    names = [t.rpartition("\0")[2] for page in await link.ask(*refs) for t in texts(page)]
    steps: list[Step] = [step for seq, row in rows for step in put_row(seq, row, None)]
    steps += drop_parked([parked_doc.decode(d) for d in await link.docs("parked", names)])
    seqs = [int(line.rpartition(b"\0")[2]) for line in lines]
    for start in range(0, len(seqs), FORGOTTEN):
        page = seqs[start : start + FORGOTTEN]
        (docs,) = await link.ask(("docs", "entries", *page))
        steps += drop_entries(page, docs)
    return steps


async def _trim_windows(link: Link, limit: int) -> None:
    for name in await _older(link, "windows.over", limit):
        question: Step = ("docs", "windows", name)
        digest, (doc,) = await link.ask(question, digests=True)
        if doc is not None:
            places = moved(window_places(codec.window.decode(doc)), ())
            steps = [("HDEL", "windows", name), *places, *await _what_hangs_on(link, name)]
            await link.attempt([(digest, question)], steps)


async def _trim_deploys(link: Link, limit: int) -> None:
    def steps(docs: Iterable[bytes | None]) -> Iterator[Step]:
        for deploy in all_of(codec.deploys, docs):
            yield "HDEL", "deploys", codec.key(deploy.id)
            yield from moved(deploy_places(deploy), ())

    await _forget(link, await _older(link, "deploys.heard", limit), "deploys", steps)


async def _trim_alerts(link: Link, limit: int) -> int:
    forgotten = 0

    def steps(docs: Iterable[bytes | None]) -> Iterator[Step]:
        nonlocal forgotten
        alerts = all_of(codec.alerts, docs)
        forgotten += len(alerts)
        for alert in alerts:
            yield from drop_alert(alert)

    await _forget(link, await _older(link, "settled", limit), "alerts", steps)
    return forgotten


async def _trim_entries(link: Link, limit: int) -> None:
    seqs = await _older(link, "entries.loose", limit)
    for start in range(0, len(seqs), FORGOTTEN):
        page = [int(seq) for seq in seqs[start : start + FORGOTTEN]]
        (docs,) = await link.ask(("docs", "entries", *page))
        await link.take((), [*drop_entries(page, docs)], once=False)
