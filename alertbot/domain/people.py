"""What people do with an incident, and who stands in when nobody can be reached."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Final

from alertbot.domain import deadlines, lifecycle
from alertbot.domain.events import (
    Acknowledged,
    ActRefused,
    Assigned,
    KeptFailing,
    NoteAdded,
    ReceiverTested,
    ResolvedByPerson,
)
from alertbot.domain.model import SEVERITY_LABEL, Incident, IncidentStatus
from alertbot.domain.policy import HEARTBEAT
from alertbot.domain.reasons import Reason
from alertbot.domain.reports import incident_id
from alertbot.domain.severity import severities_of
from alertbot.domain.work import Work

_S = IncidentStatus

#: A test incident that nobody took back is taken back after this.
TEST_LASTS: Final = timedelta(minutes=2)


def acknowledge(work: Work, event: Acknowledged) -> None:
    """Somebody takes one incident, or every open one with an alert that has these labels."""
    for found in [event.incident] if event.incident else work.situation.labelled:
        incident = work.named(found, event.by)
        if incident is None:
            continue
        if incident.status is not _S.OPEN and not incident.quieted:
            known = incident.status is _S.ACKNOWLEDGED
            _too_late(work, incident, event, Reason.ALREADY_ACKNOWLEDGED if known else Reason.NOT_OPEN)
            continue
        taken = replace(
            deadlines.acknowledged(work.policy, lifecycle.step(incident, _S.ACKNOWLEDGED), work.now),
            acknowledged_at=work.now,
            acknowledged_by=event.by,
            repeat_at=None,
            quieted=False,
            cause=work.cause,
        )
        work.say("person", Reason.ACKNOWLEDGED, incident=found, by=event.by, details={"via": event.via})
        work.tell(taken, Reason.ACKNOWLEDGED)


def resolve(work: Work, event: ResolvedByPerson) -> None:
    """Somebody says that it is over. If it still fires after `repeat_interval`, it opens again."""
    incident = work.named(event.incident, event.by)
    if incident is None:
        return
    if not incident.told:
        known = incident.status is _S.RESOLVED
        _too_late(work, incident, event, Reason.ALREADY_RESOLVED if known else Reason.NOT_OPEN)
        return
    details = {"via": event.via}
    work.say("person", Reason.RESOLVED_BY_PERSON, incident=incident.id, by=event.by, details=details)
    work.close(replace(incident, cause=work.cause), Reason.RESOLVED_BY_PERSON, by=event.by)
    # A heartbeat that a person gave up on is not asked for until it comes again.
    if not incident.test and not incident.route.startswith(f"{HEARTBEAT}:"):
        closed = work.incidents[incident.id]
        work.incidents[incident.id] = replace(closed, repeat_at=work.next_repeat(closed))


def note(work: Work, event: NoteAdded) -> None:
    """Somebody wrote something down."""
    incident = work.named(event.incident, event.by)
    if incident is None:
        return
    details = {"via": event.via, "note": event.text}
    work.say("person", Reason.NOTE_ADDED, incident=incident.id, by=event.by, details=details)
    if incident.openings:
        work.tell(replace(incident, cause=work.cause), Reason.NOTE_ADDED)
        if event.via != "pagerduty":
            work.write_note(work.incidents[incident.id])


def assign(work: Work, event: Assigned) -> None:
    """Somebody gives it to somebody, who has it then: as if that person had acknowledged."""
    incident = work.named(event.incident, event.by)
    if incident is None:
        return
    if not incident.told:
        known = incident.status is _S.RESOLVED
        _too_late(work, incident, event, Reason.ALREADY_RESOLVED if known else Reason.NOT_OPEN)
        return
    given = deadlines.acknowledged(work.policy, lifecycle.step(incident, _S.ACKNOWLEDGED), work.now)
    given = replace(
        given, acknowledged_at=work.now, acknowledged_by=event.to, repeat_at=None, quieted=False, cause=work.cause
    )
    details = {"via": event.via, "to": event.to}
    work.say("person", Reason.ASSIGNED, incident=incident.id, by=event.by, details=details)
    work.tell(given, Reason.ASSIGNED)


def refuse(work: Work, event: ActRefused) -> None:
    """Somebody may not do what they wanted to: that is recorded, and changes nothing."""
    details = {"via": event.via, "act": event.act}
    work.say("person", Reason.NOT_ALLOWED, incident=event.incident, by=event.by, details=details)


def test(work: Work, event: ReceiverTested) -> None:
    """A marked incident through a receiver. It is taken back by a person, or after `TEST_LASTS`."""
    if event.receiver not in work.policy.receivers:
        work.say("person", Reason.NO_SUCH_RECEIVER, by=event.by, details={"receiver": event.receiver})
        return
    key = f"test\n{event.receiver}\n{event.nonce}"
    incident = Incident(
        id=incident_id(key, work.now),
        key=key,
        route=work.policy.route.key,
        receiver=event.receiver,
        labels={"alertname": "AlertbotTest", "receiver": event.receiver},
        title=f"Test of receiver {event.receiver}: nothing is wrong",
        severity=_severity_of(work, event.receiver),
        status=_S.OPEN,
        created_at=work.now,
        opened_at=work.now,
        openings=1,
        firing=1,
        flush_at=work.now + TEST_LASTS,
        cause=work.cause,
        test=True,
    )
    work.say("person", Reason.TEST, incident=incident.id, by=event.by)
    work.tell(incident, Reason.TEST)


def _severity_of(work: Work, receiver: str) -> str:
    """What usually comes through a receiver: a drill is to ring as the real thing does."""
    for route in work.policy.route.walk():
        for matcher in route.matchers if route.receiver == receiver else ():
            if matcher.name == SEVERITY_LABEL and matcher.op == "=":
                return matcher.value
    return severities_of(work.policy).default


def fall_back(work: Work, event: KeptFailing) -> None:
    """The fallback is brought in, once, and from then on hears of the incident as the receiver itself does."""
    incident = work.incident(event.incident)
    failing = work.policy.receivers.get(event.receiver)
    if incident is None or failing is None or failing.fallback is None or not incident.told:
        return
    known = failing.fallback in (incident.receiver, *incident.also)
    if known and failing.fallback not in incident.resting:
        return
    details = {"receiver": failing.fallback}
    work.say("delivery", Reason.FELL_BACK, incident=incident.id, by=event.receiver, details=details)
    brought_in = replace(
        incident,
        also=incident.also if known else (*incident.also, failing.fallback),
        resting=tuple(name for name in incident.resting if name != failing.fallback),
    )
    work.tell(brought_in, Reason.FELL_BACK, only=failing.fallback)


def _too_late(
    work: Work, incident: Incident, event: Acknowledged | ResolvedByPerson | Assigned, reason: Reason
) -> None:
    """What somebody did to an incident that had moved on."""
    details = {"via": event.via, "status": incident.status.value}
    work.say("person", reason, incident=incident.id, by=event.by, details=details)
