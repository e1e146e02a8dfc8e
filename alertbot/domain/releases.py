"""Windows open, move and end; what they held is released together, with a verdict.

A window ends at the time that it has for that, or before: its deploy failed, somebody ended it, or what it holds is too
much to be kept quiet. Whatever ends it, `due` is where that takes effect. While something else holds what it
held, its verdict is left to that one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alertbot.domain import deploys, episodes, inhibit
from alertbot.domain.deploy_reports import heard
from alertbot.domain.deploys import Deploy, DeploySettings, DeployStatus
from alertbot.domain.events import (
    DeployReported,
    MaintenanceAction,
    MaintenanceReported,
    ReleaseChecked,
    ReportedAlert,
)
from alertbot.domain.levels import TOLD_OF_WINDOWS
from alertbot.domain.model import SEVERITY_LABEL, Alert, Hold, IncidentStatus, Level, Want
from alertbot.domain.reasons import Reason
from alertbot.domain.severity import WORD_LABELS
from alertbot.domain.windows import ASKING, MAINTENANCE_NAME, NOTICE, StillFiring, Verdict, Window, WindowKind
from alertbot.domain.work import Work

#: What a verdict names of what still fires, and of what cleared.
NAMED: Final = 20


# Deploys.


def deploy_reported(work: Work, event: DeployReported) -> None:
    """What is known of the deploy, and the window that follows from it."""
    known = {**work.situation.deploys, **work.deploys}
    result = heard(list(known.values()), event.report, work.now, work.policy.deploys)
    for deploy in result.deploys:
        if deploy != known.get(deploy.id):
            work.deploys[deploy.id] = deploy
            _follow(work, deploy)
    named = result.deploys[0] if result.deploys else None
    details = _about(named) if named else {"service": event.report.service, "version": event.report.version}
    record = named.identity if named is not None and work.window(named.identity) is not None else ""
    by = "the API" if event.report.source == "api" else event.report.source
    work.say("deploy", result.reason, incident=record, by=by, details=details)


def _about(deploy: Deploy) -> dict[str, str]:
    said = {"deploy": deploy.id, "service": deploy.service, "environment": deploy.environment}
    said |= {"version": deploy.version, "author": deploy.author, "status": deploy.status.value}
    return {name: value for name, value in said.items() if value}


def _follow(work: Work, deploy: Deploy) -> None:
    """The window of a deploy's present try; those of earlier tries end."""
    for earlier in work.windows():
        if earlier.deploy == deploy.id and earlier.id != deploy.identity:
            _end(work, earlier, Reason.DEPLOY_TRIED_AGAIN)
    settings = work.policy.deploys
    ends_at = deploys.ends_at(deploy, settings)
    window = work.window(deploy.identity)
    if window is None:
        if ends_at <= work.now:
            return
        window = Window(
            id=deploy.identity,
            kind=WindowKind.DEPLOY,
            labels={},
            starts_at=deploy.started_at,
            ends_at=ends_at,
            deploy=deploy.id,
            announced=True,
        )
    elif window.over or window.stopped:
        return
    window = replace(
        window,
        labels=deploys.source_labels(deploy),
        starts_at=deploy.started_at,
        ends_at=max(ends_at, work.now),
        why=_why(deploy, work.policy.deploys),
    )
    work.put_window(window)
    _look_again(work, window)


def _why(deploy: Deploy, settings: DeploySettings) -> Reason:
    """What ends its window, as far as is known of it now."""
    if deploys.end_missing(deploy, settings):
        return Reason.DEPLOY_END_MISSING
    return Reason.DEPLOY_FAILED if deploy.status is DeployStatus.FAILED else Reason.DEPLOY_SETTLED


# Maintenance.


def maintenance_reported(work: Work, event: MaintenanceReported) -> None:
    """A window opens, is extended, or ends."""
    window = work.window(event.id) or next((w for w in work.windows() if w.id == event.id), None)  # or a repeating one
    about = {"window": event.id, "reason": event.reason}
    if event.action is MaintenanceAction.START:
        if window is not None:
            _record(work, window, Reason.MAINTENANCE_KNOWN, by=event.by, details=about)
            return
        window = Window(
            id=event.id,
            kind=WindowKind.MAINTENANCE,
            labels={"alertname": MAINTENANCE_NAME, **event.labels},
            starts_at=work.now,
            ends_at=work.now + (event.duration or timedelta(0)),
            announced=(event.duration or timedelta(0)) <= 2 * NOTICE,
            by=event.by,
            reason=event.reason,
        )
        work.put_window(window)
        _record(work, window, Reason.MAINTENANCE_STARTED, by=event.by, until=window.ends_at, details=about)
    elif window is None or window.kind is not WindowKind.MAINTENANCE:
        work.say("maintenance", Reason.NO_SUCH_WINDOW, by=event.by, details=about)
    elif window.over or window.stopped:
        _record(work, window, Reason.WINDOW_OVER, by=event.by, details=about)
    elif event.action is MaintenanceAction.END:
        _end(work, window, Reason.MAINTENANCE_ENDED)
        _record(work, window, Reason.MAINTENANCE_ENDED, by=event.by, details=about)
    else:
        ends_at = window.ends_at + (event.duration or timedelta(0))
        work.put_window(replace(window, ends_at=ends_at, announced=ends_at - work.now <= NOTICE, asked_at=None))
        _record(work, window, Reason.MAINTENANCE_EXTENDED, by=event.by, until=ends_at, details=about)
        _look_again(work, window)


# What is held.


def credit(work: Work, alert: Alert, hold: Hold) -> Alert:
    """The alert, marked as held by the windows of a hold. A repeating window begins to be kept with the first."""
    for window in work.windows():
        if window.id in hold.windows and work.window(window.id) is None:
            work.put_window(window)
    new = tuple(w for w in hold.windows if w not in alert.held_in)
    return replace(alert, held_in=(*alert.held_in, *new)) if new else alert


def must_not_be_quiet(work: Work, alerts: Iterable[Alert]) -> None:
    """Ends the hold of each deploy that holds more of one service than `panic_threshold`, or of which a held alert
    has become worse: the same labels fire with a more urgent severity.
    """
    deploying = [w for w in work.windows() if w.kind is WindowKind.DEPLOY and not w.stopped]
    if not deploying:
        return
    worst: dict[tuple[tuple[str, str], ...], int] = {}
    for alert in alerts:
        same, rank = _but_severity(alert), work.policy.rank(alert.severity)
        worst[same] = min(rank, worst.get(same, rank))
    naming, threshold = work.policy.deploys.naming, work.policy.deploys.panic_threshold
    for window in deploying:
        held = [a for a in work.held_in([window.id]) if a.firing and a.hold is not None and not a.announced]
        services: dict[str, set[str]] = {}
        for alert in held:
            service = naming.of_alert("service", alert.labels) or window.labels.get("service", "")
            services.setdefault(service, set()).add(alert.identity)
        most = max(services, key=lambda s: len(services[s]), default="")
        risen = next((a for a in held if worst.get(_but_severity(a), 99) < work.policy.rank(a.severity)), None)
        if len(services.get(most, ())) > threshold:
            details = {"deploy": window.deploy, "service": most, "held": str(len(services[most]))}
            _record(work, window, Reason.TOO_MANY_HELD, details=details)
            _end(work, window, Reason.TOO_MANY_HELD)
        elif risen is not None:
            _record(work, window, Reason.HELD_ALERT_WORSENED, alert=risen, details={"deploy": window.deploy})
            _end(work, window, Reason.HELD_ALERT_WORSENED)


def _but_severity(alert: Alert) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((k, v) for k, v in alert.labels.items() if k not in (SEVERITY_LABEL, *WORD_LABELS)))


def _end(work: Work, window: Window, why: Reason) -> None:
    """It is to end now, for this reason."""
    if not window.stopped:
        work.put_window(replace(window, ends_at=work.now, announced=True, stopped=True, why=why))


def _look_again(work: Work, window: Window) -> None:
    """What it holds is held until another time now."""
    _flush(work, [a for a in work.held_in([window.id]) if a.firing and a.hold is not None])


def _flush(work: Work, alerts: Sequence[Alert]) -> None:
    for name in dict.fromkeys(a.incident for a in alerts):
        incident = work.incident(name)
        if incident is not None:
            work.flush_by(incident, work.now)


# The end.


def due(work: Work, window_id: str) -> None:
    """A notice before the end; at the end Alertmanager's word, where it can be had, on what is held; the release."""
    window = work.window(window_id)
    if window is None or window.over:
        return
    held = work.held_in([window_id, *window.joined])
    waiting = [a for a in held if a.firing and a.hold is not None]
    if window.ends_at > work.now:
        _notice(work, window, waiting)
        return
    if work.policy.alertmanager and window.asked_at is None and waiting and window.why not in _AT_ONCE:
        # What it holds is held until the answer, or until the wait for it is over.
        work.put_window(replace(window, asked_at=work.now, ends_at=work.now + ASKING, announced=True))
        _record(work, window, Reason.ASKING_ALERTMANAGER, until=work.now + ASKING, details=_named(window))
        return
    _release(work, window, held, waiting)


#: What is not to wait a second for anything.
_AT_ONCE: Final = frozenset({Reason.TOO_MANY_HELD, Reason.HELD_ALERT_WORSENED})
#: What stands in the record from the moment on at which it was to end.
_RECORDED: Final = _AT_ONCE | {Reason.MAINTENANCE_ENDED}


def checked(work: Work, event: ReleaseChecked) -> None:
    """Alertmanager's word: what does not fire there any more is resolved, and the rest is released."""
    for identity in event.gone:
        for alert in work.current(identity):
            if alert.firing:
                gone = ReportedAlert(
                    identity, alert.labels, {}, firing=False, starts_at=alert.fired_at, ends_at=work.now
                )
                closed, reason = episodes.merge(alert, gone, work.now)
                work.put(closed)
                work.say("alert", reason, alert=closed, by="alertmanager")
                _flush(work, [closed])
    window = work.window(event.window)
    if window is not None and not window.over and window.asked_at is not None:
        work.put_window(replace(window, ends_at=work.now))


def _notice(work: Work, window: Window, waiting: Sequence[Alert]) -> None:
    """It ends soon: those who would have heard of what it holds can still do something about it."""
    work.put_window(replace(window, announced=True))
    if waiting:
        _tell(work, window, waiting, "notice", Reason.MAINTENANCE_ENDS_SOON)


def _release(work: Work, window: Window, held: Sequence[Alert], waiting: Sequence[Alert]) -> None:
    over = replace(window, over_at=work.now)
    work.put_window(over)
    _flush(work, waiting)
    kept = {a.identity: hold for a in waiting if (hold := _held_on(work, a)) is not None}
    going_on = {w for hold in kept.values() for w in hold.windows}
    heir = max((w for w in work.windows() if w.id in going_on), key=lambda w: (w.ends_at, w.id), default=None)
    if heir is not None or window.why not in _RECORDED:
        _record(work, window, window.why, details=_named(window) | ({"left_to": heir.id} if heir else {}))
    if heir is not None:
        joined = dict.fromkeys((*heir.joined, *window.joined, window.id))
        work.put_window(replace(heir, joined=tuple(joined)))
    elif held:
        over = replace(over, verdict=_verdict(work, over, held, kept.keys()))
        work.put_window(over)
        _tell(work, over, held, "verdict", window.why)


def _held_on(work: Work, alert: Alert) -> Hold | None:
    """What holds it now that a window is over."""
    return inhibit.hold_for(work.policy, alert, work, work.now, alert.hold)


def _verdict(work: Work, window: Window, held: Sequence[Alert], kept: Collection[str]) -> Verdict:
    """`kept` are the identities that something else holds."""
    alerts = list({a.identity: a for a in held}.values())
    still = [a for a in alerts if a.firing and a.identity not in kept]
    still.sort(key=lambda a: (work.policy.rank(a.severity), a.starts_at, a.identity))
    gone = [a for a in alerts if not a.firing]
    windows = [w for name in (*window.joined, window.id) if (w := work.window(name)) is not None]
    start = min((w.starts_at for w in windows), default=window.starts_at)
    return Verdict(
        at=work.now,
        cleared=len(gone),
        firing=len(still),
        held=sum(a.firing and a.identity in kept for a in alerts),
        severity=work.worst(still or alerts),
        windows=(*window.joined, window.id),
        first_after=max(min(a.starts_at for a in alerts) - start, timedelta(0)),
        still=tuple(_by_name(still, start)[:NAMED]),
        cleared_names=tuple(dict.fromkeys(_name(a) for a in gone))[:NAMED],
    )


def _by_name(alerts: Sequence[Alert], start: datetime) -> list[StillFiring]:
    """Alerts in order, those of one name and severity in one incident together."""
    found: dict[tuple[str, str, str], StillFiring] = {}
    for a in alerts:
        key = (a.incident, _name(a), a.severity)
        one = found.get(key) or StillFiring(*key, after=max(a.starts_at - start, timedelta(0)), count=0)
        found[key] = replace(one, count=one.count + 1)
    return list(found.values())


def _name(alert: Alert) -> str:
    return alert.labels.get("alertname") or "an alert without a name"


def _record(work: Work, window: Window, reason: Reason, **more: object) -> None:
    """Adds a line to a window's own record, which is kept as an incident's is, under its id."""
    work.say(window.kind.value, reason, incident=window.id, **more)  # type: ignore[arg-type]  # by name


def _named(window: Window) -> dict[str, str]:
    return {"window": window.id} | ({"deploy": window.deploy} if window.deploy else {})


def _tell(work: Work, window: Window, alerts: Sequence[Alert], kind: str, reason: Reason) -> None:
    """One post in each channel in which these alerts would have appeared, or did."""
    revision = 1 if kind == "verdict" else int(window.ends_at.timestamp())
    rank = work.policy.rank(window.verdict.severity if window.verdict else work.worst(alerts))
    level = Level(IncidentStatus.OPEN, 1, revision, revision)
    told: set[tuple[str, str]] = set()
    for name in dict.fromkeys(a.incident for a in alerts):
        incident = work.incident(name)
        for receiver in [] if incident is None else work.receivers(incident):
            for d in receiver.destinations:
                if d.integration in TOLD_OF_WINDOWS and (d.integration, d.to) not in told:
                    told.add((d.integration, d.to))
                    want = Want(
                        window.id, receiver.name, d.integration, d.to, d.lane, level, reason, work.now, rank, kind
                    )
                    work.wants[want.id] = want
