"""Until when somebody has to acknowledge, and who is brought in if nobody does. Times only: who is told then stands in
`escalate`.

All of them count from the time at which an incident opened, or opened again. An acknowledgement stops them; when it
ends they start anew.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.policy import EscalationStep, Policy, Severity

#: How often a step is looked at again that waits for a hold without an end.
LOOK_AGAIN: Final = timedelta(minutes=1)


def next_step(policy: Policy, incident: Incident) -> EscalationStep | None:
    """The step of the incident's policy that comes after those taken; None: there is no policy, or no step left.

    A policy that repeats starts again when its last step was taken.
    """
    escalation = policy.escalation_of(incident)
    if escalation is None:
        return None
    rounds, place = divmod(incident.steps_taken, len(escalation.steps))
    if rounds > escalation.repeat:
        return None
    step = escalation.steps[place]
    return EscalationStep(rounds * escalation.steps[-1].after + step.after, step.receiver)


def begun(policy: Policy, incident: Incident, now: datetime) -> Incident:
    """It opened: everything counts from now. Whom an earlier opening's escalation brought in rests until a step of
    this one.
    """
    opened = replace(
        incident,
        unacknowledged_since=now,
        steps_taken=0,
        resting=tuple(name for name in incident.escalated if name != incident.receiver),
        urged=(),
        overdue=False,
        remind_at=None,
    )
    return scheduled(policy, rated(policy, opened))


def rated(policy: Policy, incident: Incident) -> Incident:
    """With the time by which its severity wants an acknowledgement: a higher one may want it sooner."""
    since, severity = incident.unacknowledged_since, _severity(policy, incident)
    if since is None or incident.overdue:
        return incident
    within = severity.ack_within if severity is not None else None
    return replace(incident, ack_due_at=None if within is None else since + within)


def scheduled(policy: Policy, incident: Incident) -> Incident:
    """With the time and the receiver of its next step, where it waits for an acknowledgement."""
    step, since = next_step(policy, incident), incident.unacknowledged_since
    if step is None or since is None:
        return replace(incident, escalate_at=None, escalates_to="")
    return replace(incident, escalate_at=since + step.after, escalates_to=step.receiver)


def stopped(incident: Incident) -> Incident:
    """Nothing is waited for any more: it is acknowledged, or over."""
    return replace(
        incident,
        unacknowledged_since=None,
        escalate_at=None,
        escalates_to="",
        ack_due_at=None,
        overdue=False,
        remind_at=None,
    )


def acknowledged(policy: Policy, incident: Incident, now: datetime) -> Incident:
    """Somebody has it, and is reminded after `ack_within` where the severity says so."""
    severity = _severity(policy, incident)
    within = severity.ack_within if severity is not None and severity.remind_acknowledged else None
    return replace(stopped(incident), remind_at=None if within is None else now + within)


def waits(incident: Incident) -> bool:
    """It is open, and nobody has acknowledged it."""
    return incident.status is IncidentStatus.OPEN and incident.unacknowledged_since is not None


def _severity(policy: Policy, incident: Incident) -> Severity | None:
    return next((s for s in policy.severities if s.name == incident.severity), None)
