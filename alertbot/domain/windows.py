"""Windows: the times in which a deploy or a maintenance explains alerts. Each is a source of holds.

A window holds what an inhibit rule says that it holds, by its labels, from its start until it is over. That it is over
is decided by an event of its own, at `ends_at` or before, and never by the look at one alert: so what it held
is judged together, and the verdict knows all of it. Its end is stored and is never missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Final

from alertbot.domain.intervals import TimeInterval, contains, next_change
from alertbot.domain.reasons import Reason

#: What a maintenance window is called among the sources, if nothing else is said.
MAINTENANCE_NAME: Final = "Maintenance"
#: How long before its end a maintenance window is announced to be over soon, if it holds something.
NOTICE: Final = timedelta(minutes=10)
#: How long the release of what a window held waits for Alertmanager to say what still fires.
ASKING: Final = timedelta(seconds=3)
#: How far back the start of a repeating window is looked for.
LONGEST_INTERVAL: Final = timedelta(days=31)


class WindowKind(StrEnum):
    """What explains the alerts."""

    DEPLOY = "deploy"
    MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class StillFiring:
    """Alerts of one name in one incident that fire when their window is over. `after` is the time from the window's
    start to the first of them.
    """

    incident: str
    name: str
    severity: str
    after: timedelta
    count: int = 1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of everything that a window, and those it stands for, held.

    `held` still waits for something else. `still` and `cleared_names` name the worst, and some. `first_after` is the
    time from the start to the first alert.
    """

    at: datetime
    cleared: int
    firing: int
    held: int
    severity: str
    windows: tuple[str, ...]
    first_after: timedelta = timedelta(0)
    still: tuple[StillFiring, ...] = ()
    cleared_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Window:
    """One source of holds that is not an alert.

    `id` is its identity as a source: a maintenance window's own id, or that of a deploy's try. `labels` are what
    inhibit rules match. `deploy` is the deploy's id. `joined` are windows that ended before it while it held
    some of what they held: their verdict is given with its own. `why` is what ended it or, if nothing else does before
    `ends_at`, will.
    """

    id: str
    kind: WindowKind
    labels: Mapping[str, str]
    starts_at: datetime
    ends_at: datetime
    why: Reason = Reason.MAINTENANCE_OVER
    deploy: str = ""
    by: str = ""
    reason: str = ""
    joined: tuple[str, ...] = ()
    announced: bool = False
    """That it ends soon was said, or did not need to be."""
    asked_at: datetime | None = None
    """When Alertmanager began to be asked what still fires."""
    stopped: bool = False
    """Somebody or something stopped it: nothing that is said of it after that puts its end off."""
    over_at: datetime | None = None
    verdict: Verdict | None = None

    @property
    def over(self) -> bool:
        """It holds nothing any more."""
        return self.over_at is not None

    @property
    def wake_at(self) -> datetime | None:
        """The next time at which it must be decided, if any."""
        if self.over:
            return None
        return self.ends_at if self.announced else self.ends_at - NOTICE

    @property
    def title(self) -> str:
        """A maintenance window by what it is called and for what."""
        name = self.labels.get("alertname", MAINTENANCE_NAME)
        rest = ", ".join(f"{k}={v}" for k, v in sorted(self.labels.items()) if k != "alertname")
        return f"{name} ({rest})" if rest else name


@dataclass(frozen=True, slots=True)
class Recurring:
    """A maintenance window that opens by itself, in each of these intervals."""

    name: str
    labels: Mapping[str, str]
    intervals: tuple[TimeInterval, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Naming:
    """Which labels of an alert name the deployed thing: `deploys.labels`. The first that it has counts."""

    service: tuple[str, ...] = ("service", "app", "job")
    environment: tuple[str, ...] = ("environment", "env", "namespace")
    canonical: Mapping[str, str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        named = dict.fromkeys(self.service, "service") | dict.fromkeys(self.environment, "environment")
        object.__setattr__(self, "canonical", {**named, "service": "service", "environment": "environment"})

    def of_alert(self, name: str, labels: Mapping[str, str]) -> str:
        """What an alert's labels say of a window's label; empty where they say nothing."""
        mapped = {"service": self.service, "environment": self.environment}.get(name, (name,))
        return next((labels[n] for n in mapped if labels.get(n)), "")

    def agree(self, name: str, window: Mapping[str, str], alert: Mapping[str, str]) -> bool:
        """Whether a window and an alert are equal in a label, each by its own name for it.

        A label that the window has under just this name is compared with the alert's own.
        """
        canonical = self.canonical.get(name, name)
        if name != canonical and name in window:
            return window[name] == alert.get(name, "")
        return window.get(canonical, "") == self.of_alert(canonical, alert)


def going_on(recurring: Sequence[Recurring], now: datetime) -> list[Window]:
    """The repeating windows that are open at `now`. The same occurrence has the same id at any time of it."""
    return [
        Window(
            id=f"{each.name}-{(start := _since(each.intervals, _minute(now))):%Y%m%dT%H%M}",
            kind=WindowKind.MAINTENANCE,
            labels=each.labels,
            starts_at=start,
            ends_at=(end := _until(each.intervals, _minute(now))),
            announced=end - start <= 2 * NOTICE,
            by="alertbot.yml",
            reason=each.reason,
        )
        for each in recurring
        if any(contains(interval, now) for interval in each.intervals)
    ]


def _minute(now: datetime) -> datetime:
    """Intervals know no seconds, so what is found for a minute is good for all of it."""
    return now.replace(second=0, microsecond=0)


@lru_cache(maxsize=64)
def _until(intervals: tuple[TimeInterval, ...], minute: datetime) -> datetime:
    """The first boundary after it. Where there is none, an end to look again at: every hold has one."""
    return next_change(intervals, minute, LONGEST_INTERVAL) or minute + LONGEST_INTERVAL


@lru_cache(maxsize=64)
def _since(intervals: tuple[TimeInterval, ...], minute: datetime) -> datetime:
    """The last boundary up to it."""
    for back in (timedelta(days=1), timedelta(days=8), LONGEST_INTERVAL):
        last, change = None, next_change(intervals, minute - back, back)
        while change is not None:
            last, change = change, next_change(intervals, change, minute - change)
        if last is not None:
            return last
    return minute - LONGEST_INTERVAL
