"""Episodes, not messages: whether an alert is open, from everything that was ever said of it.

Alertmanager delivers at least once, from several peers, and out of order. An alert's state therefore depends on
three maxima only (the newest start heard firing, the newest end heard resolved, and that episode's start), which are
the same whatever the order and however often a report comes.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alertbot.domain.events import ReportedAlert
from alertbot.domain.model import Alert, AlertStatus
from alertbot.domain.reasons import Reason
from alertbot.domain.values import copied

#: How long after a close a "firing" that belongs to the closed episode is taken for a late one. Alertmanager gives up
#: on a request after group_interval (5 m by default) and the wait for its peers (15 s each), and a peer that was cut
#: off
#: catches up within its own group_interval; later than this it is the sender's present opinion that the alert fires.
LATE: Final = timedelta(minutes=10)
#: How often it is written down that an open alert was heard again.
SEEN_EVERY: Final = timedelta(minutes=1)


def is_open(fired: datetime | None, end: datetime | None, start: datetime | None) -> bool:
    """The one rule. A start equal to the last end is a new episode, unless it is that episode's own start."""
    if fired is None:
        return False
    if end is None or fired > end:
        return True
    return fired == end and start is not None and fired > start


def merge(prior: Alert, report: ReportedAlert, now: datetime) -> tuple[Alert, Reason]:
    """The alert after one more report, and what the report was.

    NEW_EPISODE: it fires, and did not. ALERT_RESOLVED: it does not fire any more. Anything else changes nothing that
    people
    were told: DUPLICATE, START_MOVED (Alertmanager keeps no record of a close within one group_interval and sends the
    new start as a continuation), HEARD_AGAIN (it was cut off before), STALE_FIRING, STALE_RESOLVED, NEVER_FIRED_HERE.
    """
    return _fires(prior, report, now) if report.firing else _resolves(prior, report, now)


def _fires(prior: Alert, report: ReportedAlert, now: datetime) -> tuple[Alert, Reason]:
    start = report.starts_at or (prior.fired_at if prior.firing and prior.fired_at else now)
    fired = start if prior.fired_at is None else max(start, prior.fired_at)
    if prior.firing:
        if prior.status is AlertStatus.UNKNOWN:
            return _open(prior, report, fired, prior.changed_at, now), Reason.HEARD_AGAIN
        if fired != prior.fired_at:
            return replace(prior, fired_at=fired, starts_at=fired, seen_at=now), Reason.START_MOVED
        if now - prior.seen_at < SEEN_EVERY:
            return prior, Reason.DUPLICATE
        return copied(prior, seen_at=now), Reason.DUPLICATE
    if is_open(start, prior.cleared_end, prior.cleared_start):
        return _open(prior, report, fired, now, now), Reason.NEW_EPISODE
    if now - prior.changed_at >= LATE:
        # The sender holds to the old start: it never took the alert for resolved, or merged the new episode into the
        # old
        # one (Alertmanager does, where their times overlap). Forget the close.
        again = replace(prior, cleared_end=None, cleared_start=None)
        return _open(again, report, fired, now, now), Reason.NEW_EPISODE
    return replace(prior, fired_at=fired), Reason.STALE_FIRING


def _open(prior: Alert, report: ReportedAlert, fired: datetime, changed: datetime, now: datetime) -> Alert:
    return copied(
        prior,
        status=AlertStatus.FIRING,
        annotations=report.annotations,
        generator_url=report.generator_url,
        fired_at=fired,
        starts_at=fired,
        ends_at=None,
        changed_at=changed,
        seen_at=now,
    )


def _resolves(prior: Alert, report: ReportedAlert, now: datetime) -> tuple[Alert, Reason]:
    end = report.ends_at or now
    start = report.starts_at or (prior.fired_at if prior.fired_at and prior.fired_at <= end else end)
    # An end before its own start comes of clocks that differ: over it is all the same.
    end = max(end, start)
    if prior.cleared_end is not None and prior.cleared_start is not None:
        end, start = max((end, start), (prior.cleared_end, prior.cleared_start))
    heard = replace(prior, cleared_end=end, cleared_start=start)
    if prior.firing:
        if is_open(prior.fired_at, end, start):
            return heard, Reason.STALE_RESOLVED
        closed = replace(heard, status=AlertStatus.RESOLVED, ends_at=end, changed_at=now, seen_at=now)
        return closed, Reason.ALERT_RESOLVED
    return heard, Reason.DUPLICATE if prior.incident else Reason.NEVER_FIRED_HERE
