"""Silence is news: an alert that fires all the time, such as Watchdog, must keep arriving.

Each label set that matches a heartbeat is waited for by itself: of two Prometheis that both send Watchdog, either may
fall silent. What is waited for is an incident's record that nobody is told of (`Incident.watch`), with the time when
it is missed. What is missed is then an alert of our own, `HeartbeatSilent`, in an incident like any other; it resolves
when the heartbeat is back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Final

from alertbot.domain import inhibit, lifecycle, reports
from alertbot.domain.events import AlertsReported, HeartbeatsExpected, ReportedAlert
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.matchers import matches_all
from alertbot.domain.model import SEVERITY_LABEL, Alert, AlertStatus, Incident, IncidentStatus
from alertbot.domain.policy import HEARTBEAT, Heartbeat, Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.routing import group_labels, incident_key
from alertbot.domain.severity import WORD_LABELS, severities_of
from alertbot.domain.work import Work

_S = IncidentStatus

#: Noticed so much after its time, a silence was ours: we were down, or the store was away. It gets another period.
LATE: Final = timedelta(seconds=30)

ALERTNAME: Final = "HeartbeatSilent"


def sift(policy: Policy, event: AlertsReported) -> tuple[AlertsReported, list[tuple[Heartbeat, ReportedAlert]]]:
    """What of a report is an alert like any other, and what is a heartbeat."""
    if not policy.heartbeats:
        return event, []
    severities = severities_of(policy)
    found = [(_of(policy, severities.with_severity(report.labels)), report) for report in event.alerts]
    beats = [(heartbeat, report) for heartbeat, report in found if heartbeat is not None]
    if not beats:
        return event, []
    return replace(event, alerts=tuple(report for heartbeat, report in found if heartbeat is None)), beats


def _of(policy: Policy, labels: Mapping[str, str]) -> Heartbeat | None:
    return next((h for h in policy.heartbeats if matches_all(h.matchers, labels)), None)


def keys_of(policy: Policy, heartbeat: Heartbeat, labels: Mapping[str, str]) -> Iterable[tuple[str, str, str]]:
    """For a heartbeat with these labels, and for the one that was never heard: the key of what waits for it, the key of
    its incident, and the identity of its alert.
    """
    for watched in (labels, {}):
        silent = _silent(policy, heartbeat, watched)
        route = policy.routes[heartbeat.route]
        group = group_labels(route, severities_of(policy).with_severity(silent))
        yield _key(heartbeat, watched), incident_key(route, group), fingerprint(silent)


def relations_of(policy: Policy, heartbeat: Heartbeat, labels: Mapping[str, str]) -> Iterable[str]:
    """Whom its alert may hold: who waits for its end."""
    silent = severities_of(policy).with_severity(_silent(policy, heartbeat, labels))
    return inhibit.sides(policy, silent).source_of


def expect(work: Work, event: HeartbeatsExpected) -> None:
    """alertbot started, or took a config: what was never heard is waited for from now on. After a start nothing is
    missed before a whole period.
    """
    known = [i for i in map(work.incident, event.watches) if i is not None and i.watch]
    for watch in known:
        heartbeat = _heartbeat(work.policy, watch)
        if heartbeat is not None and event.started and watch.flush_at is not None:
            soonest = work.now + heartbeat.period
            work.incidents[watch.id] = replace(watch, flush_at=max(watch.flush_at, soonest))
    names = {_name(watch) for watch in known}
    for heartbeat in work.policy.heartbeats:
        if heartbeat.name not in names:
            _wait_for(work, heartbeat, {})


def heard(work: Work, beats: Iterable[tuple[Heartbeat, ReportedAlert]]) -> None:
    """Each puts off the time at which it is missed; one that was missed is back."""
    for heartbeat, report in beats:
        details = {"heartbeat": heartbeat.name}
        reason = Reason.HEARTBEAT if report.firing else Reason.HEARTBEAT_RESOLVED
        entry_of = _reported(work, report)
        work.say("alert", reason, alert=entry_of, by=heartbeat.name, details=details)
        if not report.firing:
            continue
        never = work.newest(_key(heartbeat, {}))
        if never is not None and never.status is _S.PENDING:
            _forget(work, never)
            _is_back(work, heartbeat, {})
        _wait_for(work, heartbeat, report.labels)
        _is_back(work, heartbeat, report.labels)


def due(work: Work, watch: Incident) -> None:
    """Its time has come: it is missed, unless it was us who were away."""
    heartbeat = _heartbeat(work.policy, watch)
    if heartbeat is None:
        _forget(work, watch)
        return
    if watch.flush_at is None or watch.flush_at > work.now:
        return
    if work.now - watch.flush_at > LATE:
        work.incidents[watch.id] = replace(watch, flush_at=work.now + heartbeat.period)
        return
    work.incidents[watch.id] = replace(watch, flush_at=None)
    labels = _silent(work.policy, heartbeat, watch.labels)
    since = watch.flushed_at or work.now
    which = ", ".join(f"{k}={v}" for k, v in sorted(watch.labels.items()) if k not in _NOT_TOLD)
    of = f"Heartbeat {heartbeat.name}{f' of {which}' if which else ''}"
    silence = (
        f"silent since {since:%Y-%m-%d %H:%M} UTC" if watch.labels else f"not heard since {since:%Y-%m-%d %H:%M} UTC"
    )
    told = {"summary": f"{of} is {silence}", "description": _DESCRIPTION}
    alert = ReportedAlert(fingerprint(labels), labels, told, firing=True, starts_at=since)
    reports.report(work, AlertsReported(HEARTBEAT, (alert,)))


_NOT_TOLD: Final = frozenset({"alertname", *WORD_LABELS, SEVERITY_LABEL})
_DESCRIPTION: Final = (
    "An alert that fires all the time did not arrive: its Prometheus, its Alertmanager or the way here is broken, "
    "and other alerts would not arrive either."
)


def _key(heartbeat: Heartbeat, labels: Mapping[str, str]) -> str:
    return f"{HEARTBEAT}\n{heartbeat.name}\n{fingerprint(labels) if labels else ''}"


def _name(watch: Incident) -> str:
    return watch.key.split("\n")[1]


def _heartbeat(policy: Policy, watch: Incident) -> Heartbeat | None:
    return next((h for h in policy.heartbeats if h.name == _name(watch)), None)


def labels_of(policy: Policy, watch: Incident) -> tuple[Heartbeat, Mapping[str, str]] | None:
    """What a record waits for; None where the config has it no more."""
    heartbeat = _heartbeat(policy, watch)
    return None if heartbeat is None else (heartbeat, watch.labels)


def _silent(policy: Policy, heartbeat: Heartbeat, labels: Mapping[str, str]) -> dict[str, str]:
    """The labels of the alert that a heartbeat with these labels is missed."""
    kept = {k: v for k, v in labels.items() if k not in _NOT_TOLD}
    severity = heartbeat.severity or policy.severities[0].name
    return {**kept, "alertname": ALERTNAME, "heartbeat": heartbeat.name, "severity": severity}


def _wait_for(work: Work, heartbeat: Heartbeat, labels: Mapping[str, str]) -> None:
    key, until = _key(heartbeat, labels), work.now + heartbeat.period
    known = work.newest(key)
    if known is not None and known.status is _S.PENDING:
        work.incidents[known.id] = replace(known, flush_at=until, flushed_at=work.now)
        return
    watch = Incident(
        id=reports.incident_id(key, work.now),
        key=key,
        route=heartbeat.route,
        receiver=heartbeat.receiver,
        labels=dict(labels),
        title=f"Heartbeat {heartbeat.name}",
        severity=heartbeat.severity or work.policy.severities[0].name,
        status=_S.PENDING,
        created_at=work.now,
        flushed_at=work.now,
        flush_at=until,
        watch=True,
    )
    work.begin(watch)


def _forget(work: Work, watch: Incident) -> None:
    ended = lifecycle.step(watch, _S.RESOLVED)
    work.incidents[watch.id] = replace(ended, flush_at=None, resolved_at=work.now)


def _is_back(work: Work, heartbeat: Heartbeat, labels: Mapping[str, str]) -> None:
    silent = _silent(work.policy, heartbeat, labels)
    identity = fingerprint(silent)
    firing = [row for row in work.current(identity) if row.firing]
    if firing:
        back = ReportedAlert(identity, silent, {}, firing=False, starts_at=firing[0].starts_at, ends_at=work.now)
        reports.report(work, AlertsReported(HEARTBEAT, (back,)))


def _reported(work: Work, report: ReportedAlert) -> Alert:
    """What the record says an entry is about: a heartbeat has no row of its own."""
    return Alert(
        incident="",
        identity=report.fingerprint,
        fingerprint=report.fingerprint,
        labels=report.labels,
        annotations={},
        severity="",
        status=AlertStatus.FIRING if report.firing else AlertStatus.RESOLVED,
        starts_at=report.starts_at or work.now,
        changed_at=work.now,
        seen_at=work.now,
    )
