"""What was done to an incident in PagerDuty, done here too; what we did ourselves comes back and changes nothing.

PagerDuty delivers at least once, and we may hear it in any order (https://developer.pagerduty.com/docs/webhooks-behavior):
messages are told apart by their ids, and ordered by `occurred_at`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from alertbot.domain import deadlines, lifecycle, people, silences
from alertbot.domain.events import Acknowledged, NoteAdded, RemoteChange, RemoteChanged, ResolvedByPerson
from alertbot.domain.model import Incident, IncidentStatus, Said
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
    if event.change is _C.OTHER and event.calls and heard.status is _S.ACKNOWLEDGED:
        # Given to somebody else, who is called: what the one had who acknowledged, nobody has now.
        details = {"via": VIA, "what": event.text}
        work.say("person", Reason.CHANGED_REMOTELY, incident=incident.id, by=event.by, details=details)
        event = replace(event, change=_C.UNACKNOWLEDGED)
    if event.change in _STATES:
        if _is_late(heard, event):
            _late(work, heard, event)
            return
        heard = replace(heard, remote_at=event.at, remote=_said(heard, event))
        work.incidents[incident.id] = heard
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


#: What an incident is there after a change by somebody else than us.
_THERE: Final = {
    _C.ACKNOWLEDGED: _S.ACKNOWLEDGED,
    _C.UNACKNOWLEDGED: _S.OPEN,
    _C.RESOLVED: _S.RESOLVED,
    _C.REOPENED: _S.OPEN,
}


def _said(incident: Incident, event: RemoteChanged) -> Said | None:
    """What it shows by its own word. An acknowledgement by no person is our own event, and so is a resolve of what is
    closed here: what we know of those is newer.
    """
    if not event.by_person and (event.change is _C.ACKNOWLEDGED or not incident.told):
        return incident.remote
    count = incident.remote.count + 1 if incident.remote is not None else 1
    return Said(count, _THERE[event.change], event.opening)


def _is_late(incident: Incident, event: RemoteChanged) -> bool:
    """Something later was heard already; or it is of an earlier opening, which we closed ourselves (a flapping incident
    keeps its opening there); or it was resolved before people there could know of what fires since; or done anew
    before it was acknowledged or resolved here.
    """
    if incident.remote_at is not None and event.at < incident.remote_at:
        return True
    if event.change is _C.RESOLVED and incident.told and _before_more_joined(incident, event):
        return True
    ended = {_C.UNACKNOWLEDGED: incident.acknowledged_at, _C.REOPENED: incident.resolved_at}.get(event.change)
    if ended is not None and event.at < ended:
        return True
    return event.opening < incident.openings and not incident.flapping


def _before_more_joined(incident: Incident, event: RemoteChanged) -> bool:
    return incident.joined_at is not None and event.at < incident.joined_at


def _late(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """It changes nothing here. What is left of it there is to be what it is here."""
    details = {"change": event.change.value}
    work.say("person", Reason.REMOTE_STALE, incident=incident.id, by=event.by, details=details)
    if event.opening < incident.openings and event.change is _C.REOPENED:
        # There are two of it there now, under two keys.
        reopened = replace(incident, remote=_said(incident, event))
        work.incidents[incident.id] = reopened
        if incident.told:
            work.tell(reopened, Reason.REMOTE_STALE)
    elif event.opening == incident.openings and event.change is _C.RESOLVED and incident.told:
        # What joined may have been told to what was resolved by then: it is told once more.
        work.tell(replace(incident, joined_at=work.now), Reason.NEW_ALERT)


def _acknowledged(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """By a person. What acknowledges by itself is our own event."""
    if not event.by_person or (incident.status is _S.ACKNOWLEDGED and not incident.quieted):
        _echo(work, incident, event)
        return
    people.acknowledge(work, Acknowledged(by=event.by, incident=incident.id, via=VIA))
    taken = work.incidents[incident.id]
    if taken.status is not _S.ACKNOWLEDGED:
        return
    if _before_more_joined(incident, event):
        # Who took it did not know of what joined before we heard of that, and PagerDuty called nobody for it.
        work.tell(work.again(taken), Reason.NEW_ALERT)
    else:
        # As of when it was done there: what was done there after that may be heard already.
        work.incidents[incident.id] = replace(taken, acknowledged_at=event.at)


def _unacknowledged(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """It is nobody's again: PagerDuty calls by itself, and here the clocks start anew."""
    if incident.status is not _S.ACKNOWLEDGED:
        _echo(work, incident, event)
        return
    opened = replace(lifecycle.step(incident, _S.OPEN), acknowledged_at=None, acknowledged_by=None, quieted=False)
    _open(work, replace(opened, cause=work.cause), event, Reason.UNACKNOWLEDGED)


def _resolved(work: Work, incident: Incident, event: RemoteChanged) -> None:
    """By a person. PagerDuty may resolve by a time limit: nobody looked then, so here it stays open, and there it is
    opened again.
    """
    if not incident.told:
        _echo(work, incident, event)
    elif event.by_person:
        people.resolve(work, ResolvedByPerson(incident=incident.id, by=event.by, via=VIA))
        work.incidents[incident.id] = replace(work.incidents[incident.id], resolved_at=event.at)
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
    silences.told(work, opened, reason)


def _say_so(work: Work, incident: Incident, event: RemoteChanged) -> None:
    details = {"via": VIA, "what": event.text}
    work.say("person", Reason.CHANGED_REMOTELY, incident=incident.id, by=event.by, details=details)
    if incident.told:
        work.tell(replace(incident, cause=work.cause), Reason.CHANGED_REMOTELY)


def _echo(work: Work, incident: Incident, event: RemoteChanged) -> None:
    work.say("person", Reason.REMOTE_ECHO, incident=incident.id, by=event.by)
