"""The life of a delivery's row: wanted, claimed, recorded, retried. Pure, and the same in every back end."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from alertbot.domain.levels import action_for, shown_after
from alertbot.domain.model import Delivery, DeliveryStatus, Want
from alertbot.store.base import Filing, Outcome

T = TypeVar("T")


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


def grouped(names: Iterable[str], values: Iterable[T], name_of: Callable[[T], str]) -> dict[str, list[T]]:
    """Values by the name that each is of, in their order; a list for every name."""
    groups: dict[str, list[T]] = {name: [] for name in names}
    for value in values:
        groups[name_of(value)].append(value)
    return groups


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
    if delivery.storm and row.due_at is None:
        return replace(row, delivery=replace(delivery, want=want))
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
        storm="" if outcome.shown.status is not None else row.delivery.storm,
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


def waits(row: Row, now: datetime) -> bool:
    """It is due, in nobody's hands, and its incident has nothing at this destination yet: a storm can stand in."""
    delivery = row.delivery
    return (
        delivery.want.kind == "incident"
        and row.due_at is not None
        and row.due_at <= now
        and not delivery.lease
        and delivery.shown.status is None
        and not delivery.storm
        and not delivery.uncertain
        and not row.in_flight
    )


def raging(row: Row) -> bool:
    """It is a storm, and not over: something of it is due, or will be."""
    return row.delivery.want.kind.startswith("storm:") and row.due_at is not None


def clashes(row: Row, want: Want) -> bool:
    """It is another storm for what a storm is wanted for."""
    own = row.delivery.want
    return raging(row) and (own.lane, own.kind) == (want.lane, want.kind) and own.id != want.id


def folded(row: Row, storm: str, now: datetime) -> Row:
    """The row while a storm's card or page stands in for it; unchanged where that cannot be."""
    if not waits(row, now):
        return row
    return replace(row, delivery=replace(row.delivery, storm=storm, status=DeliveryStatus.FOLDED), due_at=None)


def promoted(row: Row, storm: str, now: datetime) -> Row:
    """The row when it is to get its own card or page. It stays in the storm until that is there."""
    if row.delivery.storm != storm or row.due_at is not None:
        return row
    return replace(row, delivery=replace(row.delivery, status=DeliveryStatus.PENDING), since=now, due_at=now)


def left(row: Row, storm: str, now: datetime, *, told: bool) -> Row:
    """The row after its storm. What needs no telling any more, and with `told` what the storm has told, is done."""
    if row.delivery.storm != storm or row.due_at is not None:
        return row
    delivery = replace(row.delivery, storm="")
    action = action_for(delivery)
    if action is None or told:
        return replace(row, delivery=replace(delivery, shown=shown_after(delivery, action)))
    return replace(row, delivery=replace(delivery, status=DeliveryStatus.PENDING), since=now, due_at=now)


def filed(filing: Filing) -> dict[str, Callable[[Row], Row]]:
    """What becomes of each row that a filing names."""
    storm, at = filing.storm, filing.at
    moves: dict[str, Callable[[Row], Row]] = {}
    moves |= dict.fromkeys(filing.fold, lambda row: folded(row, storm, at))
    moves |= dict.fromkeys(filing.promote, lambda row: promoted(row, storm, at))
    moves |= dict.fromkeys(filing.leave, lambda row: left(row, storm, at, told=filing.told))
    return moves
