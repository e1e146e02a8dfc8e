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

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from alertbot.domain.deploys import (
    Deploy,
    DeployKind,
    DeployReport,
    DeploySettings,
    DeployStatus,
    Part,
    same_commit,
)
from alertbot.domain.reasons import Reason


@dataclass(frozen=True, slots=True)
class Heard:
    """What a report came to. `deploys` are those it is about, changed or not; more than one only where the end of a
    run ends its deploys to several environments, none where it is no deploy.
    """

    reason: Reason
    deploys: tuple[Deploy, ...] = ()


def heard(known: Sequence[Deploy], report: DeployReport, now: datetime, settings: DeploySettings) -> Heard:
    """What is known after a report that came in at `now`; the rules are those above.

    `known` must have the deploys of `lookback + max_duration` before `now` and, for `kind` and the
    previous version, the last successful ones before that.
    """
    found = _found(known, report, now, settings)
    if not found:
        if report.joins_only:
            return Heard(Reason.NO_DEPLOY)
        deploy = _opened(known, report, now, settings)
        reason = Reason.DEPLOY_ENDED if deploy.status.ended else Reason.DEPLOY_STARTED
        return Heard(reason, (_compared(deploy, known, report),))
    reasons: list[Reason] = []
    deploys: list[Deploy] = []
    for before in found:
        after, reason = _told(before, report, now, settings)
        after = _compared(after, known, report)
        if after != before:
            after = replace(after, heard_at=now)
        elif reason is Reason.DEPLOY_UPDATED:
            reason = Reason.DEPLOY_HEARD_AGAIN
        deploys.append(after)
        reasons.append(reason)
    return Heard(min(reasons, key=list(Reason).index), tuple(deploys))


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
    if not same_commit(_commit(deploy), _commit(report)):
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


def _told(deploy: Deploy, report: DeployReport, now: datetime, settings: DeploySettings) -> tuple[Deploy, Reason]:
    """A deploy after one more report about it."""
    at = _bounded(report.at, now, settings)
    name = report.name or _nameless_part(deploy, report)
    last = next((p for p in reversed(deploy.parts) if p.name == name), None)
    if report.attempt and report.attempt < deploy.run_attempt:
        return _filled(deploy, report, name), Reason.DEPLOY_STALE
    rerun = 0 < deploy.run_attempt < report.attempt
    if rerun and report.joins_only:
        # Its other jobs run again. That the deploy does is for the deploy to say.
        return deploy, Reason.DEPLOY_HEARD_AGAIN
    if last is not None and last.attempt < deploy.attempt and not rerun and name != report.run:
        return deploy, Reason.DEPLOY_STALE
    before = next((p for p in reversed(deploy.parts) if p.name == name and p.attempt < deploy.attempt), None)
    if (
        before is not None
        and before.ended_said is not None
        and report.at is not None
        and report.at <= before.ended_said
    ):
        return deploy, Reason.DEPLOY_STALE
    filled = _filled(deploy, report, name)
    if report.attempt > filled.run_attempt:
        filled = replace(filled, run_attempt=report.attempt)
    if rerun or _starts_again(deploy, last, report, at, now, settings):
        part = _merged(Part(name, deploy.attempt + 1), report, at, settings)
        after = _settled(_with_part(replace(filled, attempt=deploy.attempt + 1, detail=report.detail), part))
        return after, Reason.DEPLOY_RETRIED
    if last is None or last.attempt < deploy.attempt:
        last = Part(name, deploy.attempt)
    after = _settled(_with_part(filled, _merged(last, report, at, settings)))
    if after.status.ended and (after.status is not deploy.status):
        return replace(after, detail=report.detail or after.detail), Reason.DEPLOY_ENDED
    return after, Reason.DEPLOY_UPDATED


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
    if same_commit(deploy.commit, report.commit) and len(report.commit) > len(deploy.commit):
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
