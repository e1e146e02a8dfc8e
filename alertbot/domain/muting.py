"""Whether a route is muted at a time, by `mute_time_intervals` and `active_time_intervals`."""

from __future__ import annotations

from datetime import datetime, timedelta

from alertbot.domain.intervals import contains, next_change
from alertbot.domain.model import Hold
from alertbot.domain.policy import Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.routing import Route

#: When to look again at a mute that has no end within the horizon of `next_change`.
LOOK_AGAIN = timedelta(days=1)


def muted(policy: Policy, route: Route, now: datetime) -> Hold | None:
    """The mute in force and its end, or None.

    As in Alertmanager a route is muted inside any of its mute intervals, and outside all of its active intervals if it
    has any. The end is the first boundary of any of them; what is still muted then waits on.
    """
    intervals = policy.intervals or {}
    if not route.mute_time_intervals and not route.active_time_intervals:
        return None
    by = next(
        (n for n in route.mute_time_intervals if any(contains(i, now) for i in intervals[n])),
        None,
    )
    if by is None:
        active = route.active_time_intervals
        if not active or any(contains(i, now) for n in active for i in intervals[n]):
            return None
        by = ",".join(active)
    named = (*route.mute_time_intervals, *route.active_time_intervals)
    ends = [e for n in named if (e := next_change(intervals[n], now)) is not None]
    return Hold(Reason.MUTED, by, now, min(ends, default=now + LOOK_AGAIN))
