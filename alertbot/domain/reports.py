"""Alerts were reported: which episodes begin and end, and in which incidents."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from alertbot.domain import episodes, inhibit, lifecycle, silences
from alertbot.domain.events import RECONCILE, AlertsReported, ReportedAlert
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.model import SEVERITY_LABEL, Alert, AlertStatus, Incident, IncidentStatus
from alertbot.domain.policy import HEARTBEAT, Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.routing import Route, group_labels, incident_key
from alertbot.domain.severity import severities_of
from alertbot.domain.values import copied
from alertbot.domain.work import Work

_S = IncidentStatus


def same_labels(known: Mapping[str, str], sent: Mapping[str, str]) -> bool:
    """Whether a known alert has just the labels that were sent: the severity that we add does not count."""
    if SEVERITY_LABEL in sent:
        sent = {k: v for k, v in sent.items() if k != SEVERITY_LABEL}
    return len(known) == len(sent) + 1 and sent.items() <= known.items()


def incident_id(key: str, at: datetime) -> str:
    """The id of the incident of a key that begins at a time: 50 bits, short, safe in a URL, the same in every
    replay.
    """
    digest = hashlib.sha256(f"{key}\n{at.isoformat()}".encode()).digest()
    return base64.b32encode(digest).decode().lower()[:10]


def _title(group: Mapping[str, str], labels: Mapping[str, str]) -> str:
    name = group.get("alertname") or labels.get("alertname") or "Alerts"
    rest = ", ".join(v for k, v in group.items() if k not in ("alertname", SEVERITY_LABEL))
    return f"{name} ({rest})" if rest else name


def report(work: Work, event: AlertsReported) -> None:
    """Each alert by itself; then, where all that was left of a truncated body is resolved, what was cut off."""
    match_severity = severities_of(work.policy)
    heard = {_report_one(work, event, report, match_severity.with_severity(report.labels)) for report in event.alerts}
    for incident, firing in work.firing.items():
        work.incidents[incident] = copied(work.incidents[incident], firing=firing)
    _look_at_waiting(work)
    if event.truncated > 0 and not any(r.firing for r in event.alerts):
        _cut_off(work, event, heard)


def _report_one(work: Work, event: AlertsReported, report: ReportedAlert, labels: Mapping[str, str]) -> str:
    identity = report.fingerprint
    rows = work.current(identity)
    if rows and not event.named and not same_labels(rows[0].labels, report.labels):
        identity = fingerprint(report.labels)
        rows = work.current(identity)
    if not rows:
        rows = [_unheard(work, event, report, identity, labels)]
    elif report.firing and not rows[0].firing:
        # It may fire again: what an earlier config made of its labels counts no more.
        rows = [labelled(work.policy, row, labels) for row in rows]
    if event.source == RECONCILE and report.firing:
        report = _present(rows[0], report)
    merged = [(row, *episodes.merge(row, report, work.now)) for row in rows]
    reason = merged[0][2]
    if reason is Reason.NEW_EPISODE:
        _opens(work, event, [after for _, after, _ in merged])
        for row in work.current(identity) if event.source == RECONCILE else ():
            work.say("alert", Reason.FOUND_THERE, alert=row)
        return identity
    if event.source == RECONCILE and reason is Reason.ALERT_RESOLVED:
        work.say("alert", Reason.GONE_THERE, alert=rows[0])
    for before, after, why in merged:
        if after is not before:
            work.put(after)
        if why is Reason.ALERT_RESOLVED:
            _schedule(work, after.incident)
            _count(work, after.incident, -1)
            work.ended.update(dict.fromkeys(after.source_of))
        elif why is Reason.HEARD_AGAIN:
            # Of its rows only those in the incident of the truncated body were marked.
            _schedule(work, after.incident)
            reason = why
    work.say("alert", reason, alert=merged[0][1])
    return identity


def _present(row: Alert, report: ReportedAlert) -> ReportedAlert:
    """What a look at Alertmanager found to fire, fires: it cannot be a late word of an episode that is closed."""
    end = row.cleared_end
    if row.firing or end is None or episodes.is_open(report.starts_at, end, row.cleared_start):
        return report
    return copied(report, starts_at=end + timedelta(microseconds=1))


def _unheard(
    work: Work, event: AlertsReported, report: ReportedAlert, identity: str, labels: Mapping[str, str]
) -> Alert:
    """An alert before its first report: resolved, and nobody was told anything."""
    found = inhibit.sides(work.policy, labels)
    return Alert(
        incident="",
        identity=identity,
        fingerprint=report.fingerprint,
        labels=labels,
        annotations=report.annotations,
        severity=labels[SEVERITY_LABEL],
        status=AlertStatus.RESOLVED,
        starts_at=report.starts_at or work.now,
        changed_at=work.now,
        seen_at=work.now,
        ends_at=report.ends_at,
        generator_url=report.generator_url,
        source=event.source,
        group_key=event.group_key,
        external_url=event.external_url,
        settled=True,
        source_of=found.source_of,
        two_sided=found.two_sided,
    )


def labelled(policy: Policy, alert: Alert, labels: Mapping[str, str]) -> Alert:
    """The alert with these labels, `alertbot_severity` among them, and with what this policy makes of them."""
    found = inhibit.sides(policy, labels)
    return copied(
        alert,
        labels=labels,
        severity=labels[SEVERITY_LABEL],
        source_of=found.source_of,
        two_sided=found.two_sided,
    )


def _opens(work: Work, event: AlertsReported, rows: Sequence[Alert]) -> None:
    """An episode begins: into the incidents of the routes that take it now; other rows are history."""
    base = rows[0]
    before = {row.incident: row for row in rows}
    went: set[str] = set()
    for route in work.policy.takes(event.source, base.labels):
        incident = _join(work, route, base)
        row = before.get(incident.id)
        told = row is not None and row.announced and not row.settled and incident.told
        if incident.id in went:
            continue
        went.add(incident.id)
        alert = copied(
            base,
            incident=incident.id,
            group_key=event.group_key,
            external_url=event.external_url,
            source=event.source,
            announced=told,
            settled=False,
            hold=None,
            cleared=False,
            held_in=(),
            current=True,
            silence=silences.of_refire(incident, row),
            vouched=False,
        )
        work.put(alert)
        # It closed and fires again before anybody was told of the close: for people it never stopped.
        if told:
            work.say("alert", Reason.START_MOVED, alert=alert)
        else:
            # Until when it waits for the rest of its group.
            waits = incident.flush_at if incident.flush_at and incident.flush_at > work.now else None
            details = {"route": route.key, "receiver": incident.receiver}
            work.say("alert", Reason.NEW_EPISODE, alert=alert, until=waits, details=details)
            _count(work, incident.id, 1)
            if row is not None and row.announced and row.settled:
                # People saw it among the resolved ones.
                counted = work.incidents[incident.id]
                work.incidents[incident.id] = copied(counted, resolved=max(0, counted.resolved - 1))
    for row in rows:
        known = work.row(row.incident, row.identity)
        if known is not None and row.incident not in went:
            work.put(copied(known, current=False, hold=None))


def _count(work: Work, incident_id: str, more: int) -> None:
    """While nobody was told of an incident its alerts are counted as they come; from its flush on, by the flush."""
    incident = work.incident(incident_id)
    if incident is not None and incident.status is _S.PENDING:
        work.firing[incident_id] = max(0, work.firing.get(incident_id, incident.firing) + more)


def _join(work: Work, route: Route, alert: Alert) -> Incident:
    """The incident that a new episode goes into: the one there is, the one just closed, or a new one."""
    group = group_labels(route, alert.labels)
    key = incident_key(route, group)
    found = before = work.newest(key)
    if found is not None and found.status is _S.RESOLVED:
        recent = found.resolved_at is not None and work.now - found.resolved_at <= route.reopen_within
        # A person resolved it and some of it still fires: it will open again, so another would be its double.
        unfinished = found.repeat_at is not None
        again = copied(lifecycle.step(found, _S.PENDING), flush_at=None)
        found = again if recent or unfinished or found.flapping else None
    if found is None:
        found = Incident(
            id=incident_id(key, work.now),
            key=key,
            route=route.key,
            receiver=route.receiver,
            labels=group,
            title=alert.annotations["summary"] if alert.source == HEARTBEAT else _title(group, alert.labels),
            severity=alert.severity,
            status=_S.PENDING,
            created_at=work.now,
            changes=before.changes if before is not None else (),
        )
        work.begin(found)
    work.incidents[found.id] = found
    _schedule(work, found.id)
    return work.incidents[found.id]


def _look_at_waiting(work: Work) -> None:
    """What the sources that ended have held is looked at: once, however many of them ended."""
    for waiting in dict.fromkeys(i for name in work.ended for i in work.situation.waiting(name)):
        incident = work.incident(waiting)
        if incident is not None:
            # Not at once: what its end releases is often about to resolve too. Alertmanager waits for the
            # target's next group flush.
            work.flush_by(incident, work.now + work.route(incident).group_interval)


def _cut_off(work: Work, event: AlertsReported, heard: set[str]) -> None:
    """A truncated body whose rest is resolved says nothing of what was cut: still open, marked as unknown."""
    touched = {a.incident for identity in heard for a in work.current(identity) if a.incident}
    for incident in sorted(touched):
        for member in work.situation.members(incident):
            alert = work.alerts.get((incident, member.identity), member)
            if alert.identity in heard or alert.status is not AlertStatus.FIRING:
                continue
            if alert.group_key == event.group_key:
                work.put(copied(alert, status=AlertStatus.UNKNOWN))
                work.say("alert", Reason.CUT_OFF, alert=alert)
                _schedule(work, incident)


def _schedule(work: Work, incident_id: str) -> None:
    """Asks for a look at an incident whose alerts changed: after `group_wait`, or `group_interval` if it is open."""
    incident = work.incident(incident_id)
    if incident is None:
        return
    route = work.route(incident)
    if incident.told:
        last = incident.flushed_at
        at = work.now if last is None else max(work.now, last + route.group_interval)
    elif incident.status is _S.RESOLVED:
        at = work.now
    else:
        at = work.now + route.group_wait
    work.flush_by(incident, at)
