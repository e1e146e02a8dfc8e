"""What is known of a deploy, when it counts as going on, and of which alerts it is the suspect.

What senders say of it becomes that in `alertbot.domain.deploy_reports`, where the rules stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alertbot.domain.windows import Naming

#: Digits of a commit that are enough to name it.
SHORTEST_COMMIT: Final = 7
#: In a report's `diff_url`: the commit that was deployed before.
PREVIOUS: Final = "{previous}"

_HEX: Final = frozenset("0123456789abcdef")


class DeployStatus(StrEnum):
    """How far a deploy is. `requested`: asked for; counts as started unless somebody says that it waits."""

    REQUESTED = "requested"
    WAITING = "waiting"
    STARTED = "started"
    SUCCEEDED = "succeeded"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Nothing more is to come."""
        return self in (DeployStatus.SUCCEEDED, DeployStatus.FAILED)


class DeployKind(StrEnum):
    """What a deploy is, compared with the successful ones before it."""

    DEPLOY = "deploy"
    REDEPLOY = "redeploy"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """The `deploys` section: `naming` says which labels of an alert name the deployed thing."""

    settle: timedelta = timedelta(minutes=5)
    max_duration: timedelta = timedelta(minutes=30)
    lookback: timedelta = timedelta(hours=2)
    panic_threshold: int = 20
    naming: Naming = field(default_factory=Naming)


@dataclass(frozen=True, slots=True)
class DeployReport:
    """One thing that a sender said of a deploy.

    `name` is the sender's name for it with its kind in front (`vercel:dpl_1`), unique among all senders; empty
    where it has none. `run` is the name of the pipeline run that it is part of, equal to `name` where the run itself
    is reported; `attempt` counts the tries of that run from 1, 0 where it is not said. `at` is the sender's time, None
    for "now". `guessed` names the fields among service, environment and version that we made up from other
    things: they give way to what is said. `joins_only`: this may be no deploy at all, and opens none.
    `diff_url` may contain `PREVIOUS`. `rollback` is the command or link that takes the deploy back.
    """

    source: str
    status: DeployStatus
    service: str = ""
    environment: str = ""
    version: str = ""
    id: str = ""
    name: str = ""
    run: str = ""
    attempt: int = 0
    at: datetime | None = None
    repository: str = ""
    commit: str = ""
    author: str = ""
    title: str = ""
    url: str = ""
    diff_url: str = ""
    rollback: str = ""
    detail: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    kind: DeployKind | None = None
    guessed: frozenset[str] = frozenset()
    joins_only: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """What is known under one name in one try of a deploy. `*_said` are the sender's own times, for their order alone.

    Each time is the least (`requested_at`, `started_at`) or greatest (the others) that was heard, so that the order
    and the repetition of reports do not matter.
    """

    name: str
    attempt: int = 1
    requested_at: datetime | None = None
    waited_at: datetime | None = None
    started_at: datetime | None = None
    started_said: datetime | None = None
    ended_at: datetime | None = None
    ended_said: datetime | None = None
    result: DeployStatus | None = None

    @property
    def status(self) -> DeployStatus:
        """An end counts whatever else was heard; a start ends the wait."""
        if self.result is not None:
            return self.result
        if self.started_at is None and self.waited_at is not None:
            return DeployStatus.WAITING
        return DeployStatus.STARTED

    @property
    def began_at(self) -> datetime | None:
        """Since when it goes on or went on; None where that was never heard."""
        times = [self.started_at] if self.waited_at is not None else [self.requested_at, self.started_at]
        return min((t for t in times if t is not None), default=None)


@dataclass(frozen=True, slots=True)
class Deploy:
    """What is known of one deploy.

    `status`, `started_at` and `ended_at` are those of the latest try; `attempt` counts the tries from 1, and
    `first_started_at` is when the first of them began. `aliases` are all names it was reported under. `heard_at` is
    when something new was heard of it last.
    `run_attempt` is the pipeline's own count, 0 where it has none.
    """

    id: str
    source: str
    service: str
    environment: str
    version: str
    status: DeployStatus
    started_at: datetime
    first_started_at: datetime
    heard_at: datetime
    ended_at: datetime | None = None
    aliases: tuple[str, ...] = ()
    parts: tuple[Part, ...] = ()
    run: str = ""
    run_attempt: int = 0
    attempt: int = 1
    kind: DeployKind = DeployKind.DEPLOY
    previous_version: str = ""
    previous_commit: str = ""
    repository: str = ""
    commit: str = ""
    author: str = ""
    title: str = ""
    url: str = ""
    diff_url: str = ""
    rollback: str = ""
    detail: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    guessed: frozenset[str] = frozenset()

    @property
    def identity(self) -> str:
        """The name of this try as a source of holds: what an earlier try released is not held by it again."""
        return self.id if self.attempt == 1 else f"{self.id}.{self.attempt}"

    @property
    def start_known(self) -> bool:
        """False where only its end was heard: `started_at` is then that end."""
        return any(p.began_at is not None for p in self.parts if p.attempt == self.attempt)

    @property
    def place(self) -> tuple[str, str, str]:
        """What was deployed where: service, environment, version."""
        return self.service, self.environment, self.version

    @property
    def named(self) -> str:
        """What was deployed where, and by whom."""
        what = " ".join(filter(None, (self.service, self.version))) or self.title or self.id
        where = f" to {self.environment}" if self.environment else ""
        return f"{what}{where}{f' by {self.author}' if self.author else ''}"

    @property
    def compare_url(self) -> str:
        """The link to what changed since the deploy before; empty where that is not known."""
        if PREVIOUS not in self.diff_url:
            return self.diff_url
        if not self.previous_commit or same_commit(self.previous_commit, self.commit):
            return ""
        return self.diff_url.replace(PREVIOUS, self.previous_commit)


@dataclass(frozen=True, slots=True)
class Suspect:
    """A deploy that may be the cause of an alert. `after` is the time from its start to the alert's.

    `score` is between 0 and 2: closeness in time (1 while it went on, 0 at the end of `lookback`) and the
    share of the labels that both have whose values agree; `agreeing` are those, by the deploy's names.
    """

    deploy: Deploy
    after: timedelta
    score: float
    agreeing: tuple[str, ...]


def ends_at(deploy: Deploy, settings: DeploySettings) -> datetime:
    """When it stops to count as going on, as far as is known now; never later than `settle` after `max_duration`."""
    latest = deploy.started_at + settings.max_duration
    if deploy.status is DeployStatus.WAITING:
        return deploy.started_at
    if deploy.ended_at is None or deploy.ended_at > latest:
        return latest
    return deploy.ended_at + settings.settle if deploy.status is DeployStatus.SUCCEEDED else deploy.ended_at


def going_on(deploy: Deploy, now: datetime, settings: DeploySettings) -> bool:
    """Whether it is a source of holds at `now`."""
    return deploy.started_at <= now < ends_at(deploy, settings)


def end_missing(deploy: Deploy, settings: DeploySettings) -> bool:
    """It ends by `max_duration` alone, as far as is known: nobody has told its end, or not by then."""
    latest = deploy.started_at + settings.max_duration
    return deploy.status is not DeployStatus.WAITING and (deploy.ended_at is None or deploy.ended_at > latest)


def source_labels(deploy: Deploy) -> dict[str, str]:
    """The labels that `inhibit_rules` match a deploy by. Reported labels do not replace alertbot's own."""
    own = {
        "alertname": "Deployment",
        "service": deploy.service,
        "environment": deploy.environment,
        "version": deploy.version,
    }
    return {**deploy.labels, **{name: value for name, value in own.items() if value}}


def suspects(
    deploys: Sequence[Deploy], alert_labels: Mapping[str, str], at: datetime, settings: DeploySettings
) -> list[Suspect]:
    """The deploys that an alert which started at `at` may come from, the likeliest first.

    One is a suspect from its start until `lookback` after its end, unless the alert names another service or
    environment; the alert must name at least one of the two. Those of the alert's own service come first.
    """
    found: list[Suspect] = []
    for deploy in deploys:
        end = ends_at(deploy, settings)
        if deploy.status is DeployStatus.WAITING or not deploy.started_at <= at <= end + settings.lookback:
            continue
        labels = {k: v for k, v in source_labels(deploy).items() if k not in ("alertname", "version")}
        theirs = {name: settings.naming.of_alert(name, alert_labels) for name in labels}
        agreeing = tuple(n for n, v in labels.items() if v.casefold() == theirs[n].casefold())
        differ = {n for n in labels if theirs[n] and n not in agreeing}
        if differ & {"service", "environment"} or not {"service", "environment"} & set(agreeing):
            continue
        closeness = 1.0 if at < end else 1.0 - (at - end) / settings.lookback
        overlap = len(agreeing) / (len(agreeing) + len(differ))
        found.append(Suspect(deploy, at - deploy.started_at, closeness + overlap, agreeing))
    found.sort(key=lambda s: ("service" not in s.agreeing, -s.score, s.after, s.deploy.id))
    return found


def same_commit(a: str, b: str) -> bool:
    """One names the other: senders write commits in full or cut to some length."""
    a, b = a.lower(), b.lower()
    if min(len(a), len(b)) < SHORTEST_COMMIT or not (_HEX.issuperset(a) and _HEX.issuperset(b)):
        return False
    return a.startswith(b) or b.startswith(a)
