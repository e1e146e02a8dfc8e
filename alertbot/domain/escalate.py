"""Nobody acknowledged in time: who is brought in, who asked for it, and that it is overdue."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from alertbot.domain import deadlines
from alertbot.domain.events import Escalated
from alertbot.domain.model import Hold, Incident, IncidentStatus, Level
from alertbot.domain.policy import EscalationStep
from alertbot.domain.reasons import Reason
from alertbot.domain.work import Work

#: Where the one who acknowledged is reminded: in the thread of the incident's card.
THREADED: Final = frozenset({"slack"})


def step_due(work: Work, incident: Incident, held: Hold | None) -> None:
    """The time of the next step has come. `held`: why it is to wait, which it does until that ends."""
    step = deadlines.next_step(work.policy, incident)
    if step is None or not deadlines.waits(incident):
        work.incidents[incident.id] = replace(incident, escalate_at=None, escalates_to="")
    elif incident.flapping:
        # When it is quiet it is told anew, and that starts the clocks.
        work.incidents[incident.id] = replace(incident, escalate_at=None, escalates_to="")
        work.say("incident", Reason.FLAPPING, incident=incident.id)
    elif held is not None:
        _put_off(work, incident, step, held)
    else:
        _bring_in(work, incident, step)


def _put_off(work: Work, incident: Incident, step: EscalationStep, held: Hold) -> None:
    """A hold that may end at any time is looked at again a flush later, and said once: one without an end, and that of
    a maintenance window, which people end early.
    """
    since = incident.unacknowledged_since or work.now
    again = work.now + max(work.route(incident).group_interval, deadlines.LOOK_AGAIN)
    if held.until is not None:
        again = min(again, held.until) if held.windows else held.until
    work.incidents[incident.id] = replace(incident, escalate_at=again)
    if incident.escalate_at == since + step.after:
        work.say("incident", held.reason, incident=incident.id, by=held.by, until=held.until)


def by_person(work: Work, event: Escalated) -> None:
    """Somebody wants the next step at once; also of what is acknowledged: one who has it may need others."""
    incident = work.named(event.incident, event.by)
    if incident is None:
        return
    details = {"via": event.via}
    step = deadlines.next_step(work.policy, incident)
    if not incident.told:
        details["status"] = incident.status.value
        work.say("person", Reason.NOT_OPEN, incident=incident.id, by=event.by, details=details)
    elif step is None:
        known = work.policy.escalation_of(incident) is not None
        reason = Reason.OUT_OF_STEPS if known else Reason.NO_ESCALATION
        work.say("person", reason, incident=incident.id, by=event.by, details=details)
    else:
        urged = incident if incident.status is IncidentStatus.OPEN else _urge(incident, step.receiver)
        _bring_in(work, replace(urged, cause=work.cause), step, event.by, event.via)


def _urge(incident: Incident, receiver: str) -> Incident:
    return replace(incident, urged=(*incident.urged, receiver))


def _bring_in(work: Work, incident: Incident, step: EscalationStep, by: str = "", via: str = "") -> None:
    """From now on the step's receiver hears of the incident; one that does already is told once more."""
    name = step.receiver
    known = name in (incident.receiver, *incident.also)
    taken = replace(
        incident,
        also=incident.also if known else (*incident.also, name),
        escalated={**incident.escalated, name: incident.escalated.get(name, 0) + 1},
        resting=tuple(r for r in incident.resting if r != name),
        steps_taken=incident.steps_taken + 1,
    )
    details = {"receiver": name, "step": str(taken.steps_taken), "via": via} if via else {"receiver": name}
    work.say("person" if by else "incident", Reason.ESCALATED, incident=incident.id, by=by, details=details)
    work.tell(deadlines.scheduled(work.policy, taken), Reason.ESCALATED)


def ack_overdue(work: Work, incident: Incident) -> None:
    """`ack_within` is over: counted and shown. It sends nothing: the card named the time from the start."""
    overdue = deadlines.waits(incident)
    work.incidents[incident.id] = replace(incident, ack_due_at=None, overdue=overdue)
    if overdue:
        details = {"severity": incident.severity}
        work.say("incident", Reason.ACK_OVERDUE, incident=incident.id, details=details)


def remind_acknowledger(work: Work, incident: Incident, held: Hold | None) -> None:
    """Acknowledged for `ack_within` and not resolved: the one who has it is reminded, once."""
    reminded = replace(incident, remind_at=None, reminders=incident.reminders + 1)
    work.incidents[incident.id] = reminded
    if incident.status is not IncidentStatus.ACKNOWLEDGED or incident.flapping:
        return
    if held is not None:
        work.incidents[incident.id] = replace(incident, remind_at=held.until)
        work.say("incident", held.reason, incident=incident.id, by=held.by, until=held.until)
        return
    level = Level(IncidentStatus.ACKNOWLEDGED, reminded.openings, reminded.reminders, reminded.reminders)
    for want in work.wants_for(reminded, Reason.NOT_RESOLVED, level, kind="remind"):
        if want.integration in THREADED:
            work.wants[want.id] = want
    work.say("notification", Reason.NOT_RESOLVED, incident=incident.id, by=incident.acknowledged_by or "")
