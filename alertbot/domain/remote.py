"""What was done to an incident in PagerDuty, done here too; what we did ourselves comes back and changes nothing.

PagerDuty delivers at least once, and we may hear it in any order (https://developer.pagerduty.com/docs/webhooks-behavior):
messages are told apart by their ids, and ordered by `occurred_at`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from alertbot.domain import deadlines, lifecycle, people
from alertbot.domain.events import Acknowledged, NoteAdded, RemoteChange, RemoteChanged, ResolvedByPerson
from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.reasons import Reason
from alertbot.domain.work import Work

_S = IncidentStatus
_C = RemoteChange

VIA: Final = "pagerduty"
#: What a note ends with that alertbot wrote into PagerDuty: it is not taken for a new one.
SIGNATURE: Final = "(through alertbot)"
#: Messages remembered of one incident.
REMEMBERED: Final = 30
#: What changes the state. Of these only the latest counts.
_STATES: Final = frozenset({_C.ACKNOWLEDGED, _C.UNACKNOWLEDGED, _C.RESOLVED, _C.REOPENED})


def changed(work: Work, event: RemoteChanged) -> None:
    """One message: not ours, heard before, too late, our own, or something that somebody did."""
    incident = work.incident(event.incident) if event.incident else None
    if incident is None:
        work.say("person", Reason.NOT_OURS, by=event.by, details={"remote": event.remote})
        return
    if event.event and event.event in incident.remote_events:
        work.say("person", Reason.REMOTE_ECHO, incident=incident.id, by=event.by)
        return
    heard = replace(incident, remote_events=(*incident.remote_events, event.event)[-REMEMBERED:])
    work.incidents[incident.id] = heard
    if event.change in _STATES:
        if _is_late(heard, event):
            details = {"change": event.change.value}
            work.say("person", Reason.REMOTE_STALE, incident=incident.id, by=event.by, details=details)
            return
        heard = work.incidents[incident.id] = replace(heard, remote_at=event.at)
    match event.change:
        case _C.ACKNOWLEDGED:
            _acknowledged(work, heard, event)
        case _C.UNACKNOWLEDGED:
            _unacknowledged(work, heard, event)
        case _C.RESOLVED:
            _resolved(work, heard, event)
        case _C.REOPENED:
            _reopened(work, heard, event)
        case _C.ANNOTATED:
            if event.text.rstrip().endswith(SIGNATURE):
                _echo(work, heard, event)
            else:
                people.note(work, NoteAdded(heard.id, event.by, event.text, VIA))
        case _C.OTHER:
            _say_so(work, heard, event)


def _is_late(incident: Incident, event: RemoteChanged) -> bool:
    """Something later was heard already; or it is of an earlier opening, which we closed ourselves. A flapping
    incident keeps its opening there.
    """
    if incident.remote_at is not None and event.at < incident.remote_at:
        return True
    return event.opening < incident.openings and not incident.flapping


def _acknowledged(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """By a person. What acknowledges by itself is our own event."""
    if incident.status is _S.ACKNOWLEDGED or not event.by_person:
        _echo(work, incident, event)
    else:
        people.acknowledge(work, Acknowledged(by=event.by, incident=incident.id, via=VIA))


def _unacknowledged(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """It is nobody's again: PagerDuty calls by itself, and here the clocks start anew."""
    if incident.status is not _S.ACKNOWLEDGED:
        _echo(work, incident, event)
        return
    opened = replace(lifecycle.step(incident, _S.OPEN), acknowledged_at=None, acknowledged_by=None, cause=work.cause)
    _open(work, replace(opened, quieted=False), event, Reason.UNACKNOWLEDGED)


def _resolved(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """By a person. PagerDuty may resolve by a time limit: nobody looked then, so here it stays open."""
    if not incident.told:
        _echo(work, incident, event)
    elif event.by_person:
        people.resolve(work, ResolvedByPerson(incident=incident.id, by=event.by, via=VIA))
    else:
        _say_so(work, incident, event)


def _reopened(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """It is open again, in the same opening: PagerDuty calls under the key that it has."""
    firing = [a for a in work.members(incident.id) if a.firing and a.announced]
    if incident.told:
        _echo(work, incident, event)
    elif not firing:
        work.say("person", Reason.NOTHING_FIRES, incident=incident.id, by=event.by)
    else:
        opened = replace(
            lifecycle.step(incident, _S.OPEN),
            acknowledged_at=None,
            acknowledged_by=None,
            resolved_at=None,
            resolved_by=None,
            firing=len(firing),
            cause=work.cause,
        )
        _open(work, opened, event, Reason.REOPENED)


def _open(work: Work, incident: Incident, event: RemoteChanged, reason: Reason) -> None:
    opened = deadlines.begun(work.policy, replace(incident, repeat_at=work.next_repeat(incident)), work.now)
    work.say("person", reason, incident=incident.id, by=event.by, details={"via": VIA})
    work.tell(opened, reason, via=VIA)


def _say_so(work: Work, incident: Incident, event: RemoteChanged) -> None:
    details = {"via": VIA, "what": event.text}
    work.say("person", Reason.CHANGED_REMOTELY, incident=incident.id, by=event.by, details=details)
    if incident.told:
        work.tell(replace(incident, cause=work.cause), Reason.CHANGED_REMOTELY, via=VIA)


def _echo(work: Work, incident: Incident, event: RemoteChanged) -> None:
    work.say("person", Reason.REMOTE_ECHO, incident=incident.id, by=event.by)
