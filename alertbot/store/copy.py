"""One store's contents into another, by what every store can do: from SQLite to Redis and back.

All that a bot knows is copied: events with what is undecided, alerts, incidents, deliveries as they stand (storms, what
is folded into them, leases), the record, what is parked, windows, deploys, what was spent of the providers' rates (so
that the bot cannot exceed them by moving), and small facts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from alertbot.domain.model import Alert, Incident
from alertbot.store.base import Changes, Parked, Store, StoreUnusable

_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
_PAGE: Final = 200
_ALL: Final = 1_000_000


@dataclass(slots=True)
class Copied:
    """How much it was."""

    events: int = 0
    incidents: int = 0
    alerts: int = 0
    deliveries: int = 0
    entries: int = 0
    parked: int = 0


async def copy(source: Store, target: Store, now: datetime) -> Copied:
    """Copies all of an open store into an open, empty one. Nobody else may use either meanwhile.

    Raises `StoreUnusable` where the target is not empty, or a replica lives on either. A copy that breaks off leaves a
    target that is not empty: begin again with a new one.
    """
    if (await target.events(_BEGINNING, 0, 1)) or (await target.incidents(limit=1)).incidents:
        raise StoreUnusable("the target is not empty: nothing was copied; name a new file, or another ?prefix=")
    if (await source.renew(now)).others or (await target.renew(now)).others:
        raise StoreUnusable("a replica still works on one of the two: stop all of them, and wait 15 seconds")
    copied = Copied()
    seqs = await _copy_events(source, target, copied)
    incidents = [i async for i in _incidents(source)][::-1]  # the newest of a key is the one that comes last
    windows = await source.windows(_BEGINNING, _ALL)
    await target.commit(Changes(windows=windows, deploys=await source.deploys(_BEGINNING, limit=_ALL)))
    async for alerts in _alerts(source, ["", *(i.id for i in incidents)]):
        await target.commit(Changes(alerts=alerts))
        copied.alerts += len(alerts)
    for start in range(0, len(incidents), _PAGE):
        await target.commit(Changes(incidents=incidents[start : start + _PAGE]))
    copied.incidents = len(incidents)
    async for rows in source.rows():  # nobody has a lease: who had one is gone, and its outcome not known
        await target.restore(rows, {})
        copied.deliveries += len(rows)
    await target.restore((), await source.spent())
    for key, value in (await source.facts()).items():
        await target.set_meta(key, value)
    await _copy_record(source, target, seqs, copied)
    return copied


async def _copy_events(source: Store, target: Store, copied: Copied) -> dict[str, str]:
    """Returns the old seqs with their new ones, as what is parked refers to them."""
    undecided = {event.seq for event in await source.undecided(_ALL)}
    seqs: dict[str, str] = {}
    after = 0
    while page := await source.events(_BEGINNING, after, _PAGE):
        after = page[-1].seq
        new = await target.append([stored.event for stored in page])
        seqs |= {str(stored.seq): str(seq) for stored, seq in zip(page, new, strict=True)}
        done = [seq for stored, seq in zip(page, new, strict=True) if stored.seq not in undecided]
        await target.commit(Changes(done=done))
        copied.events += len(page)
    return seqs


async def _incidents(source: Store) -> AsyncIterator[Incident]:
    cursor = None
    while True:
        page = await source.incidents(cursor=cursor, limit=_PAGE)
        for incident in page.incidents:
            yield incident
        cursor = page.next
        if cursor is None:
            return


async def _alerts(source: Store, incidents: Sequence[str]) -> AsyncIterator[Sequence[Alert]]:
    """Page by page, whatever an incident has: a commit costs as much as a page."""
    page: list[Alert] = []
    for name in incidents:
        for alert in await source.members(name, _ALL):
            page.append(alert)
            if len(page) == _PAGE:
                yield page
                page = []
    yield page


async def _copy_record(source: Store, target: Store, seqs: dict[str, str], copied: Copied) -> None:
    cursor = None
    while True:
        page = await source.entries(cursor=cursor, limit=1000)
        await target.commit(Changes(entries=page.entries))
        copied.entries += len(page.entries)
        cursor = page.next
        if cursor is None:
            break
    for head in reversed(await source.parked(_ALL)):
        item = await source.parked_item(head.id)
        if item is not None:
            await target.commit(Changes(parked=[item if item.kind == "delivery" else _renumbered(item, seqs)]))
            copied.parked += 1


def _renumbered(item: Parked, seqs: Mapping[str, str]) -> Parked:
    """With the new seq of its event, in its id too: an event of that seq, parked later, is not to take its place."""
    seq = seqs.get(item.ref, item.ref)
    return replace(item, ref=seq, id=item.id.replace(item.ref, seq, 1))
