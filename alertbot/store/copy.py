"""One store's contents into another, by what every store can do: from SQLite to Redis and back.

What a bot needs to go on is copied: events with what is undecided, alerts, incidents, deliveries with what their
destinations show, the record, what is parked, windows and deploys. Not copied: what was spent of the providers' rates
(a minute's worth), which destinations fail, and small facts: these are found anew.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

from alertbot.domain.model import Alert, Delivery, DeliveryStatus, Incident
from alertbot.store.base import Changes, Filing, Outcome, Store, StoreUnusable

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

    Raises `StoreUnusable` where the target is not empty, or another replica still has events of the source. A copy
    that breaks off leaves a target that is not empty: begin again with a new one.
    """
    if (await target.events(_BEGINNING, 0, 1)) or (await target.incidents(limit=1)).incidents:
        raise StoreUnusable("the target is not empty: nothing was copied; name a new file, or another ?prefix=")
    await source.renew(now)
    undecided = {event.seq for event in await source.undecided(_ALL)}
    if len(undecided) != (await source.stats(now)).undecided:
        raise StoreUnusable("another replica still works on the source: stop all of them, and wait 15 seconds")
    copied = Copied()
    seqs = await _copy_events(source, target, undecided, copied)
    incidents = [i async for i in _incidents(source)][::-1]  # the newest of a key is the one that comes last
    windows = await source.windows(_BEGINNING, _ALL)
    await target.commit(Changes(windows=windows, deploys=await source.deploys(_BEGINNING, limit=_ALL)))
    for name in ("", *(i.id for i in incidents)):
        alerts: Sequence[Alert] = await source.members(name, _ALL)
        for start in range(0, len(alerts), _PAGE):
            await target.commit(Changes(alerts=alerts[start : start + _PAGE]))
        copied.alerts += len(alerts)
    for start in range(0, len(incidents), _PAGE):
        await target.commit(Changes(incidents=incidents[start : start + _PAGE]))
    copied.incidents = len(incidents)
    homes = (*(i.id for i in incidents), *(w.id for w in windows))
    deliveries = [d for home in homes for d in await source.deliveries(home)]
    storms = [await source.delivery(name) for name in sorted({d.storm for d in deliveries if d.storm})]
    for delivery in (*(s for s in storms if s is not None), *deliveries):
        await _copy_delivery(target, delivery, now)
        copied.deliveries += 1
    await _copy_record(source, target, seqs, copied)
    return copied


async def _copy_events(source: Store, target: Store, undecided: set[int], copied: Copied) -> dict[str, str]:
    """Returns the old seqs with their new ones, as what is parked refers to them."""
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


async def _copy_delivery(target: Store, delivery: Delivery, now: datetime) -> None:
    """Wanted, claimed and recorded as it stands. One that was being worked on comes out uncertain, and due."""
    want, at = delivery.want, max(now, delivery.want.at)
    if delivery.storm:  # its storm stands in for it, so it was never claimed
        await target.commit(Changes(wants=[want]))
        await target.refile(Filing(delivery.storm, at, fold=[delivery.id]))
        return
    if delivery == Delivery(want.id, want, created_at=delivery.created_at):
        await target.commit(Changes(wants=[want]))
        return
    # A lane of its own, so that nothing else is claimed there; the same level then only moves it.
    lane = f"copy:{delivery.id}"
    await target.commit(Changes(wants=[replace(want, lane=lane)]))
    (taken,) = await target.claim(lane, at, "copy", timedelta(days=1), 1)
    waits = delivery.status in (DeliveryStatus.PENDING, DeliveryStatus.RETRYING) or bool(delivery.lease)
    await target.record(
        Outcome(
            id=taken.id,
            lease=taken.lease,
            at=at,
            status=delivery.status,
            shown=delivery.shown,
            attempts=delivery.attempts,
            next_at=delivery.next_at or (at if waits else None),
            uncertain=delivery.uncertain or bool(delivery.lease),
            remote=delivery.remote,
            remote_id=delivery.remote_id,
            last_error=delivery.last_error,
            sent_at=delivery.sent_at,
            failing_since=delivery.failing_since,
        )
    )
    await target.commit(Changes(wants=[want]))


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
            ref = item.ref if item.kind == "delivery" else seqs.get(item.ref, item.ref)
            await target.commit(Changes(parked=[replace(item, ref=ref)]))
            copied.parked += 1
