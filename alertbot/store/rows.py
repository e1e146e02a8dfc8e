"""The life of a delivery's row: wanted, claimed, recorded, retried. Pure, and the same in every back end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from alertbot.domain.model import Delivery, DeliveryStatus, Want
from alertbot.store.base import Outcome


@dataclass(frozen=True, slots=True)
class Row:
    """A delivery and what decides when a worker may take it."""

    delivery: Delivery
    since: datetime
    """The time of the oldest want that is not shown yet: the place in the queue, kept while newer wants
    replace it.
    """
    due_at: datetime | None
    """When it may be claimed; while it is leased, when the lease runs out. None: nothing to do."""
    in_flight: bool = False
    """An attempt began whose outcome is not known."""
    renewed: bool = False
    """A newer want came after the claim."""


def wanted(row: Row | None, want: Want) -> Row:
    """The row after one more want.

    A want that is older than the one it has changes nothing; one of the same level only moves it to another
    lane or rank. A new one is due at its time, but a worker that holds the row goes on, and a back-off stays.
    """
    if row is None:
        return Row(Delivery(want.id, want, created_at=want.at), want.at, want.at)
    delivery, old = row.delivery, row.delivery.want
    if want.level.revision < old.level.revision:
        return row
    if want.level == old.level:
        return replace(row, delivery=replace(delivery, want=replace(old, lane=want.lane, rank=want.rank)))
    if delivery.lease:
        return replace(row, delivery=replace(delivery, want=want), renewed=True)
    if delivery.status is DeliveryStatus.RETRYING and delivery.next_at is not None:
        return replace(row, delivery=replace(delivery, want=want))
    since = want.at if row.due_at is None else row.since
    delivery = replace(delivery, want=want, status=DeliveryStatus.PENDING)
    return replace(row, delivery=delivery, since=since, due_at=want.at)


def claimed(row: Row, lease: str, until: datetime) -> Row:
    """The row in a worker's hands. An attempt that nobody recorded makes it uncertain."""
    delivery = replace(row.delivery, lease=lease, uncertain=row.delivery.uncertain or row.in_flight)
    return replace(row, delivery=delivery, due_at=until, in_flight=True, renewed=False)


def recorded(row: Row, outcome: Outcome) -> Row | None:
    """The row after an attempt; None where the lease is not this worker's any more."""
    if not outcome.lease or row.delivery.lease != outcome.lease:
        return None
    behind = row.renewed and outcome.next_at is None
    want = row.delivery.want
    delivery = replace(
        row.delivery,
        shown=outcome.shown,
        status=DeliveryStatus.PENDING if behind else outcome.status,
        attempts=outcome.attempts,
        next_at=outcome.next_at,
        uncertain=outcome.uncertain,
        lease="",
        remote=outcome.remote,
        remote_id=outcome.remote_id,
        last_error=outcome.last_error,
        sent_at=outcome.sent_at,
        failing_since=outcome.failing_since,
    )
    return Row(
        delivery,
        since=want.at if behind else row.since,
        due_at=want.at if behind else outcome.next_at,
        in_flight=outcome.uncertain,
    )


def orphaned(row: Row) -> Row:
    """The row after its worker is known to be dead: due again at once, and its outcome is not known."""
    return replace(row, due_at=row.since)


def retried(row: Row, now: datetime) -> Row:
    """The row after a person asked for another try: due now, with a fresh count of attempts."""
    if row.delivery.lease:
        return replace(row, renewed=True)
    delivery = replace(row.delivery, status=DeliveryStatus.PENDING, attempts=0, next_at=None, failing_since=None)
    return replace(row, delivery=delivery, since=now, due_at=now)
