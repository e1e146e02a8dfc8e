"""Deploys: what senders say of them, made into what is known of each.

The rules, each with its rows in tests/domain/test_deploys.py:

- *One deploy counts once.* A report belongs to a known deploy that carries its name (the sender's id); else to
  one of the same pipeline run, service and environment; else to one of the same commit, service (or, from
  one sender, repository) and environment that no sender of this kind has named yet and that is near in time. So
  GitHub's `deployment`, its `deployment_status`es and its `workflow_run` are one deploy, and so is what a pipeline and
  a webhook both tell of. Deliveries that come again change nothing.
- *A report without an id* belongs to the newest unfinished deploy of its service, environment and version.
- *A re-run* (a higher attempt of the same run, or a start later than the end of the same id) is the next try of
  the same deploy: it starts anew, and what is still heard of an earlier try is stale. So is a success that is told
  again with a time more than `settle` after the first: a promotion, or a service that came back.
- *Several jobs of one run* in one environment are parts of one deploy. It goes on while one of them does, and has
  failed when one of them has. Where GitHub's deployments speak, their run only ends what they left open.
- *A redeploy of the same version* and *a rollback* (to a version that was there before the present one) are deploys
  like any other; `kind` tells them apart.
- *Overlapping deploys* of one service stay apart, and each ends by itself.
- *An end before its start*: the end counts. The start, when it comes, only says since when. Order is by the sender's
  own times where both reports have one.
- *A missing end*: it ends `max_duration` after its start, without `settle`. An end that is heard after that
  is recorded, and brings nothing back.
- *Clocks that differ*: no time is later than when we heard it, nor earlier than `max_duration + lookback` before
  that, and no end is before its start.
- *Success* counts as going on for `settle`; a *failure* (also: cancelled) ends at once. A success that turns into a
  failure while it settles is a failure; later, that is for alerts to tell.
- *A deploy that waits* (for an approval, for a runner) does not go on: it starts when its wait is over.
- *A pipeline run that is no deploy by its name* never makes one. It may end one that it is known to contain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Final

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


class DeployReason(StrEnum):
    """What a report came to."""

    STARTED = "deploy_started"
    RETRIED = "deploy_retried"
    ENDED = "deploy_ended"
    UPDATED = "deploy_updated"
    HEARD_AGAIN = "deploy_heard_again"
    STALE = "deploy_stale"
    NO_DEPLOY = "no_deploy"


@dataclass(frozen=True, slots=True)
class DeploySettings:
    """The `deploys` section. The label names are tried in order; the first that an alert has counts."""

    settle: timedelta = timedelta(minutes=5)
    max_duration: timedelta = timedelta(minutes=30)
    lookback: timedelta = timedelta(hours=2)
    service_labels: tuple[str, ...] = ("service", "app", "job")
    environment_labels: tuple[str, ...] = ("environment", "env", "namespace")


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
    `first_started_at` is when the first of them began. `aliases` are all names it was reported under.
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
    def compare_url(self) -> str:
        """The link to what changed since the deploy before; empty where that is not known."""
        if PREVIOUS not in self.diff_url:
            return self.diff_url
        if not self.previous_commit or _same_commit(self.previous_commit, self.commit):
            return ""
        return self.diff_url.replace(PREVIOUS, self.previous_commit)


@dataclass(frozen=True, slots=True)
class Heard:
    """What a report came to. `deploys` are those it is about, changed or not; more than one only where the end of a
    run ends its deploys to several environments, none where it is no deploy.
    """

    reason: DeployReason
    deploys: tuple[Deploy, ...] = ()


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


def heard(known: Sequence[Deploy], report: DeployReport, now: datetime, settings: DeploySettings) -> Heard:
    """What is known after a report that came in at `now`; the rules are those above.

    `known` must have the deploys of `lookback + max_duration` before `now` and, for `kind` and the
    previous version, the last successful ones before that.
    """
    found = _found(known, report, now, settings)
    if not found:
        if report.joins_only:
            return Heard(DeployReason.NO_DEPLOY)
        deploy = _opened(known, report, now, settings)
        reason = DeployReason.ENDED if deploy.status.ended else DeployReason.STARTED
        return Heard(reason, (_compared(deploy, known, report),))
    reasons: list[DeployReason] = []
    deploys: list[Deploy] = []
    for before in found:
        after, reason = _told(before, report, now, settings)
        after = _compared(after, known, report)
        if reason is DeployReason.UPDATED and after == before:
            reason = DeployReason.HEARD_AGAIN
        deploys.append(after)
        reasons.append(reason)
    return Heard(min(reasons, key=list(DeployReason).index), tuple(deploys))


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


def end_missing(deploy: Deploy, now: datetime, settings: DeploySettings) -> bool:
    """It has ended by `max_duration` alone: nobody has told its end, or not by then."""
    latest = deploy.started_at + settings.max_duration
    waits = deploy.status is DeployStatus.WAITING
    return not waits and now >= latest and (deploy.ended_at is None or deploy.ended_at > latest)


def source_labels(deploy: Deploy) -> dict[str, str]:
    """The labels that `inhibit_rules` match a deploy by. Reported labels do not replace alertbot's own."""
    own = {
        "alertname": "Deployment",
        "service": deploy.service,
        "environment": deploy.environment,
        "version": deploy.version,
    }
    return {**deploy.labels, **{name: value for name, value in own.items() if value}}


def alert_value(name: str, labels: Mapping[str, str], settings: DeploySettings) -> str:
    """What an alert's labels say of a deploy's label, through `deploys.labels`; empty where they say nothing."""
    mapped = {"service": settings.service_labels, "environment": settings.environment_labels}.get(name, (name,))
    return next((labels[n] for n in mapped if labels.get(n)), "")


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
        theirs = {name: alert_value(name, alert_labels, settings) for name in labels}
        agreeing = tuple(n for n, v in labels.items() if v.casefold() == theirs[n].casefold())
        differ = {n for n in labels if theirs[n] and n not in agreeing}
        if differ & {"service", "environment"} or not {"service", "environment"} & set(agreeing):
            continue
        closeness = 1.0 if at < end else 1.0 - (at - end) / settings.lookback
        overlap = len(agreeing) / (len(agreeing) + len(differ))
        found.append(Suspect(deploy, at - deploy.started_at, closeness + overlap, agreeing))
    found.sort(key=lambda s: ("service" not in s.agreeing, -s.score, s.after, s.deploy.id))
    return found


# Which deploy a report is about.


def _found(known: Sequence[Deploy], report: DeployReport, now: datetime, settings: DeploySettings) -> list[Deploy]:
    """The known deploys that a report is about: as a rule one or none."""
    newest = sorted(known, key=lambda d: (d.started_at, d.heard_at, d.id), reverse=True)
    if report.name:
        if report.name == report.run:
            of_run = [d for d in newest if report.run in d.aliases]
            if of_run:
                return of_run
        same = [
            d for d in newest if report.name in d.aliases and _may_be(d.version, report.version, d, report, "version")
        ]
        if same:
            return same[:1]
        if report.run:
            same = [d for d in newest if report.run in d.aliases and _same_place(d, report)]
            if same:
                return same[:1]
    elif report.source:
        same = [d for d in newest if _fits_nameless(d, report, now, settings)]
        if same:
            return same[:1]
    if report.joins_only:
        # A test run of the same commit says nothing of its deploy.
        return []
    return [d for d in newest if _correlates(d, report, now, settings)][:1]


def _may_be(ours: str, said: str, deploy: Deploy, report: DeployReport, what: str) -> bool:
    """Whether two values of a field may mean the same: equal, or one of them unknown or guessed."""
    if not ours or not said or what in deploy.guessed or what in report.guessed:
        return True
    return ours.casefold() == said.casefold()


def _same_place(deploy: Deploy, report: DeployReport) -> bool:
    return _may_be(deploy.service, report.service, deploy, report, "service") and _may_be(
        deploy.environment, report.environment, deploy, report, "environment"
    )


def _fits_nameless(deploy: Deploy, report: DeployReport, now: datetime, settings: DeploySettings) -> bool:
    """A report without an id: by service, environment and version, of what is unfinished or lacks its start."""
    if deploy.service.casefold() != report.service.casefold():
        return False
    if deploy.environment.casefold() != report.environment.casefold():
        return False
    if report.version and deploy.version and report.version != deploy.version:
        return False
    near = now - deploy.started_at <= settings.max_duration
    if report.status.ended:
        # The same end again, or the end of what goes on; also of what took longer than it may.
        return deploy.ended_at is None or (near and deploy.status is report.status)
    return near and (deploy.ended_at is None or not deploy.start_known)


def _correlates(deploy: Deploy, report: DeployReport, now: datetime, settings: DeploySettings) -> bool:
    """Two senders that tell of one deploy: by commit, service or repository, environment, and time."""
    if not _same_commit(_commit(deploy), _commit(report)):
        return False
    told_by = {_kind(p.name) for p in deploy.parts if p.attempt == deploy.attempt}
    if _kind(report.name or f"{report.source}:") in told_by:
        return False
    if report.run and deploy.run and report.run != deploy.run:
        return False
    ours, said = deploy.environment.casefold(), report.environment.casefold()
    if ours and said and not (ours.startswith(said) or said.startswith(ours)):  # prod, production
        return False
    if deploy.source == report.source and report.repository:
        if deploy.repository != report.repository:
            return False
    elif not report.service or deploy.service.casefold() != report.service.casefold():
        return False
    since = deploy.ended_at or deploy.started_at
    return abs(_bounded(report.at, now, settings) - since) <= settings.max_duration


def _commit(it: Deploy | DeployReport) -> str:
    return it.commit or it.version


def _same_commit(a: str, b: str) -> bool:
    """One names the other: senders write commits in full or cut to some length."""
    a, b = a.lower(), b.lower()
    if min(len(a), len(b)) < SHORTEST_COMMIT or not (_HEX.issuperset(a) and _HEX.issuperset(b)):
        return False
    return a.startswith(b) or b.startswith(a)


def _kind(name: str) -> str:
    return name.partition(":")[0]


# What it changes.


def _bounded(said: datetime | None, now: datetime, settings: DeploySettings) -> datetime:
    """A sender's time by our clock: not in the future, not further back than anything that still matters."""
    if said is None:
        return now
    return max(min(said, now), now - settings.max_duration - settings.lookback)


def _opened(known: Sequence[Deploy], report: DeployReport, now: datetime, settings: DeploySettings) -> Deploy:
    at = _bounded(report.at, now, settings)
    ident = report.id
    if not ident or any(d.id == ident for d in known):
        told = (report.name, report.service, report.environment, report.version, report.source, at.isoformat())
        ident = sha256("\x1f".join(told).encode("utf-8", "replace")).hexdigest()[:10]
    name = report.name or f"{report.source}:{ident}"
    deploy = Deploy(
        id=ident,
        source=report.source,
        service=report.service,
        environment=report.environment,
        version=report.version,
        status=report.status,
        started_at=at,
        first_started_at=at,
        heard_at=now,
        run=report.run,
        run_attempt=report.attempt,
        guessed=report.guessed,
    )
    return _settled(_with_part(_filled(deploy, report, name), _merged(Part(name), report, at, settings)))


def _told(deploy: Deploy, report: DeployReport, now: datetime, settings: DeploySettings) -> tuple[Deploy, DeployReason]:
    """A deploy after one more report about it."""
    at = _bounded(report.at, now, settings)
    name = report.name or _nameless_part(deploy, report)
    last = next((p for p in reversed(deploy.parts) if p.name == name), None)
    if report.attempt and report.attempt < deploy.run_attempt:
        return _filled(deploy, report, name), DeployReason.STALE
    rerun = 0 < deploy.run_attempt < report.attempt
    if rerun and report.joins_only:
        # Its other jobs run again. That the deploy does is for the deploy to say.
        return deploy, DeployReason.HEARD_AGAIN
    if last is not None and last.attempt < deploy.attempt and not rerun and name != report.run:
        return deploy, DeployReason.STALE
    before = next((p for p in reversed(deploy.parts) if p.name == name and p.attempt < deploy.attempt), None)
    if (
        before is not None
        and before.ended_said is not None
        and report.at is not None
        and report.at <= before.ended_said
    ):
        return deploy, DeployReason.STALE
    filled = _filled(deploy, report, name)
    if report.attempt > filled.run_attempt:
        filled = replace(filled, run_attempt=report.attempt)
    if rerun or _starts_again(deploy, last, report, at, now, settings):
        part = _merged(Part(name, deploy.attempt + 1), report, at, settings)
        after = _settled(_with_part(replace(filled, attempt=deploy.attempt + 1, detail=report.detail), part))
        return after, DeployReason.RETRIED
    if last is None or last.attempt < deploy.attempt:
        last = Part(name, deploy.attempt)
    after = _settled(_with_part(filled, _merged(last, report, at, settings)))
    if after.status.ended and (after.status is not deploy.status):
        return replace(after, detail=report.detail or after.detail), DeployReason.ENDED
    return after, DeployReason.UPDATED


def _nameless_part(deploy: Deploy, report: DeployReport) -> str:
    """The part that a report without an id goes on with: the one of its sender, else a new one."""
    named = next((p.name for p in reversed(deploy.parts) if _kind(p.name) == report.source), "")
    return named or f"{report.source}:{deploy.id}"


def _starts_again(
    deploy: Deploy,
    last: Part | None,
    report: DeployReport,
    at: datetime,
    now: datetime,
    settings: DeploySettings,
) -> bool:
    """Whether a report starts the next try, although the pipeline does not call it one."""
    if report.joins_only or deploy.ended_at is None:
        return False
    if report.status.ended:
        # Told again that it succeeded, long after: it went live once more.
        live = last is not None and report.status is last.result is DeployStatus.SUCCEEDED and report.at is not None
        return live and _is_own(deploy, report) and at > deploy.ended_at + settings.settle
    if last is None or last.attempt < deploy.attempt:
        # One more job of it: part of the same try unless the try is well over.
        return _is_own(deploy, report) and at > deploy.ended_at + settings.settle
    if last.ended_at is None:
        return False
    if report.at is not None and last.ended_said is not None:
        return report.at > last.ended_said
    return now > last.ended_at + settings.max_duration


def _is_own(deploy: Deploy, report: DeployReport) -> bool:
    """The report is not that of the run which the deploy is part of."""
    return report.name != deploy.run or not report.name


def _merged(part: Part, report: DeployReport, at: datetime, settings: DeploySettings) -> Part:
    """A part after one more report about it."""
    status = report.status
    if status is DeployStatus.REQUESTED:
        return replace(part, requested_at=_least(part.requested_at, at))
    if status is DeployStatus.WAITING:
        return replace(part, waited_at=_greatest(part.waited_at, at))
    if status is DeployStatus.STARTED:
        said = _greatest(part.started_said, report.at)
        return replace(part, started_at=_least(part.started_at, at), started_said=said)
    if report.at is not None and part.started_said is not None and report.at < part.started_said:
        # It was started again since: this is the end of what was before.
        return part
    if part.ended_at is None:
        return replace(part, ended_at=at, ended_said=report.at, result=status)
    if status is part.result:
        # The same end again. The earliest that was heard of it is nearest to what happened.
        return replace(part, ended_at=min(part.ended_at, at), ended_said=_least(part.ended_said, report.at))
    later = report.at > part.ended_said if report.at and part.ended_said else at >= part.ended_at
    if later and at <= part.ended_at + settings.settle:
        return replace(part, ended_at=at, ended_said=report.at, result=status)
    return part


def _least(a: datetime | None, b: datetime | None) -> datetime | None:
    return min((t for t in (a, b) if t is not None), default=None)


def _greatest(a: datetime | None, b: datetime | None) -> datetime | None:
    return max((t for t in (a, b) if t is not None), default=None)


def _with_part(deploy: Deploy, part: Part) -> Deploy:
    others = tuple(p for p in deploy.parts if (p.name, p.attempt) != (part.name, part.attempt))
    return replace(deploy, parts=tuple(sorted((*others, part), key=lambda p: (p.attempt, p.name))))


def _settled(deploy: Deploy) -> Deploy:
    """Status and times, from the parts of the latest try."""
    current = [p for p in deploy.parts if p.attempt == deploy.attempt]
    run = next((p for p in current if p.name == deploy.run), None)
    own = [p for p in current if p is not run] or current
    failed = [p.ended_at for p in own if p.result is DeployStatus.FAILED and p.ended_at is not None]
    going = [p for p in own if p.status is DeployStatus.STARTED]
    done = [p.ended_at for p in own if p.result is DeployStatus.SUCCEEDED and p.ended_at is not None]
    ended: datetime | None = None
    if failed:
        status, ended = DeployStatus.FAILED, min(failed)
    elif done and not going:
        status, ended = DeployStatus.SUCCEEDED, max(done)
    elif run is not None and run.result is not None:
        status, ended = run.result, run.ended_at
    else:
        status = DeployStatus.STARTED if going else DeployStatus.WAITING
    began = [p.began_at for p in own if p.began_at is not None]
    waited = [p.waited_at for p in own if p.waited_at is not None]
    if began:
        start = min(began)
    elif ended is not None:
        start = ended
    else:
        start = max(waited)
    if ended is not None:
        ended = max(ended, start)
    first = start if deploy.attempt == 1 else min(deploy.first_started_at, start)
    return replace(deploy, status=status, started_at=start, ended_at=ended, first_started_at=first)


def _filled(deploy: Deploy, report: DeployReport, name: str) -> Deploy:
    """What is said for the first time, or was only guessed before, is taken; what is known stays."""
    changes: dict[str, object] = {}
    guessed = deploy.guessed
    for what in ("service", "environment", "version"):
        said, ours = getattr(report, what), getattr(deploy, what)
        if said and (not ours or (what in guessed and what not in report.guessed)):
            changes[what] = said
            guessed = guessed - {what} | (report.guessed & {what})
    for what in ("repository", "commit", "author", "title", "url", "diff_url", "rollback", "run", "detail"):
        if getattr(report, what) and not getattr(deploy, what):
            changes[what] = getattr(report, what)
    if _same_commit(deploy.commit, report.commit) and len(report.commit) > len(deploy.commit):
        changes["commit"] = report.commit
    aliases = list(deploy.aliases)
    aliases += [a for a in dict.fromkeys((name, report.run)) if a and a not in aliases]
    labels = {**report.labels, **deploy.labels}
    return replace(deploy, **changes, aliases=tuple(aliases), guessed=guessed, labels=labels)  # type: ignore[arg-type]


def _compared(deploy: Deploy, known: Sequence[Deploy], report: DeployReport) -> Deploy:
    """With what was there before it: the last success of the same service and environment that ended by its start."""
    earlier = sorted(
        (
            (d.ended_at, d.id, d)
            for d in known
            if d.id != deploy.id
            and d.ended_at is not None
            and d.ended_at <= deploy.started_at
            and d.status is DeployStatus.SUCCEEDED
            and (d.service, d.environment) == (deploy.service, deploy.environment)
        ),
        key=lambda entry: entry[:2],
    )
    kind = report.kind or (deploy.kind if deploy.kind is DeployKind.ROLLBACK else DeployKind.DEPLOY)
    if not earlier:
        return replace(deploy, kind=kind) if kind is not deploy.kind else deploy
    last = earlier[-1][2]
    if report.kind is None and kind is DeployKind.DEPLOY and deploy.version:
        if last.version == deploy.version:
            kind = DeployKind.REDEPLOY
        elif any(d.version == deploy.version for _, _, d in earlier):
            kind = DeployKind.ROLLBACK
    return replace(deploy, kind=kind, previous_version=last.version, previous_commit=last.commit)
