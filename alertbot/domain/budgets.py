"""How fast a provider may be spoken to: at most so many calls in any span of a length.

A log of the calls' times is exact where an average is not: PagerDuty counts events in a sliding minute.

Which rates are the providers' own: Slack takes about one message a second in a channel, and of `chat.update` (its tier
3) fifty a minute in a workspace (https://api.slack.com/docs/rate-limits); PagerDuty takes 120 events a minute for an
integration key. Text messages and mails have no such rule: there it is people who have had enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: What is limited: posts of a channel, edits of a workspace, events of a routing key, messages to an address.
SLACK_POSTS: Final = "slack_posts"
SLACK_UPDATES: Final = "slack_updates"
PAGERDUTY: Final = "pagerduty"
EMAIL: Final = "email"
SMS: Final = "sms"

#: Of each budget so much is left to what is more urgent: nothing by a critical incident's news, a tenth by any other
#: news (an acknowledgement, a close), three tenths by an edit that only counts.
KEPT: Final = (0.0, 0.1, 0.3)
CRITICAL, NEWS, COUNT = 0, 1, 2

#: More calls than this in a span are counted in a shorter one: their times are kept, each.
COUNTED: Final = 600


@dataclass(frozen=True, slots=True)
class Rate:
    """So many calls in any span of `per`."""

    count: int
    per: timedelta

    @classmethod
    def of(cls, calls: float, per: timedelta) -> Rate:
        """From a number that may be a fraction: half a call a second is one in two."""
        if calls < 1:
            return cls(1, per / calls)
        while calls > COUNTED:
            calls, per = calls / 2, per / 2
        return cls(int(calls), per * (int(calls) / calls))


_MINUTE: Final = timedelta(minutes=1)
#: What holds where the config says nothing.
RATES: Final[Mapping[str, Rate]] = {
    SLACK_POSTS: Rate(1, timedelta(seconds=1)),
    SLACK_UPDATES: Rate(50, _MINUTE),
    PAGERDUTY: Rate(120, _MINUTE),
    EMAIL: Rate(10, _MINUTE),
    SMS: Rate(5, _MINUTE),
}


@dataclass(frozen=True, slots=True)
class Budget:
    """At most `count` calls in any span of `per`. `keep` of them are left to what is more urgent than this call."""

    key: str
    count: int
    per: timedelta
    keep: int = 0


@dataclass(frozen=True, slots=True)
class Spent:
    """The times of the latest calls, ascending, and until when the provider itself said no."""

    times: tuple[datetime, ...] = ()
    closed_until: datetime | None = None


def free_at(spent: Spent, budget: Budget, now: datetime) -> datetime | None:
    """None where one more call may be made now; else when to ask again."""
    if spent.closed_until is not None and spent.closed_until > now:
        return spent.closed_until
    times = _recent(spent, budget, now)
    allowed = max(budget.count - budget.keep, 1)
    return None if len(times) < allowed else times[-allowed] + budget.per


def calls_left(spent: Spent, budget: Budget, now: datetime) -> int:
    """How many calls may be made now."""
    if spent.closed_until is not None and spent.closed_until > now:
        return 0
    return max(budget.count - budget.keep - len(_recent(spent, budget, now)), 0)


def spend(spent: Spent, budget: Budget, now: datetime) -> Spent:
    """One more call at this time."""
    return Spent((*_recent(spent, budget, now), now), None)


def closed(spent: Spent, until: datetime) -> Spent:
    """No call before this time: the provider said so."""
    return Spent(spent.times, until if spent.closed_until is None else max(until, spent.closed_until))


def _recent(spent: Spent, budget: Budget, now: datetime) -> tuple[datetime, ...]:
    """A time far in the future comes of a clock that was set back: it does not count."""
    return tuple(t for t in spent.times if now - budget.per < t <= now + budget.per)
