"""Silences: nobody is disturbed by an alert that fires, because a person wants it so, or Alertmanager inhibits it.

A silence is of alerts, not of an incident: what joins later is told. While all that people know of an open incident is
silenced by people, it counts as acknowledged by who silenced it: PagerDuty stops to call, reminders and escalation
stop, and when the silence ends and it still fires, it is told anew. An inhibition in Alertmanager stops the reminders
alone, for nobody has taken the incident (docs/adr/0013).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from alertbot.domain import deadlines, inhibit, lifecycle
from alertbot.domain.events import SeenThere, Silenced, SilenceKept, Unsilenced
from alertbot.domain.model import Alert, Hold, Incident, IncidentStatus, Silence
from alertbot.domain.muting import muted
from alertbot.domain.reasons import Reason
from alertbot.domain.work import Work

_S = IncidentStatus

#: How long before its end a silence is asked about, and the shortest silence of which that is worth while.
ASK_BEFORE: Final = timedelta(minutes=10)
ASKED_FROM: Final = timedelta(minutes=30)
#: One of Alertmanager's may have been extended there since the last look: so much later it is over in any case.
LOOKED_FOR: Final = timedelta(minutes=5)
#: For so long an inhibition in Alertmanager counts after it was seen there.
INHIBITED_FOR: Final = timedelta(minutes=15)


def ends(silence: Silence) -> datetime | None:
    """When a silence is over here, whatever nobody says until then; None: with its alert."""
    if silence.until is None or not silence.id or silence.inhibited:
        return silence.until
    return silence.until + LOOKED_FOR


def in_force(alert: Alert, now: datetime) -> Silence | None:
    """The silence that an alert is under."""
    if alert.silence is None:
        return None
    end = ends(alert.silence)
    return alert.silence if end is None or end > now else None


def hold(alert: Alert, now: datetime) -> Hold | None:
    """What a silence does to an alert that is not told yet, and to reminders of one that is."""
    silence = in_force(alert, now)
    if silence is None:
        return None
    reason = Reason.INHIBITED_THERE if silence.inhibited else Reason.SILENCED
    return Hold(reason, silence.by, silence.since, ends(silence))


def of_refire(incident: Incident, row: Alert | None) -> Silence | None:
    """What an alert that fires again in the same incident is still under: the silence made here, while it is kept."""
    return row.silence if incident.silence is not None and row is not None and _made_here(row.silence) else None


def _made_here(silence: Silence | None) -> bool:
    return silence is not None and silence.made_here


def silence(work: Work, event: Silenced) -> None:
    """Exactly the alerts of the incident that fire now are silenced, in place of an earlier silence."""
    incident = work.incident(event.incident)
    if incident is None:
        work.say("person", Reason.NO_SUCH_INCIDENT, incident=event.incident, by=event.by)
        return
    firing = [a for a in work.members(incident.id) if a.firing]
    if incident.status is _S.RESOLVED or incident.test or not firing:
        details = {"via": event.via, "status": incident.status.value}
        work.say("person", Reason.NOT_OPEN, incident=incident.id, by=event.by, details=details)
        return
    until = None if event.duration is None else work.now + event.duration
    asked = until is not None and event.duration is not None and event.duration >= ASKED_FROM
    made = Silence(event.by, work.now, until, event.comment, ask_at=until - ASK_BEFORE if asked and until else None)
    for alert in firing:
        work.put(replace(alert, silence=made))
    if not work.policy.alertmanager:
        made = replace(made, problem="no Alertmanager is configured")
    details = {"via": event.via, "comment": event.comment}
    work.say("person", Reason.SILENCED, incident=incident.id, by=event.by, until=until, details=details)
    told(work, replace(incident, silence=made, cause=work.cause, flush_at=_flushed(incident, work.now)))


def unsilence(work: Work, event: Unsilenced) -> None:
    """What was silenced through alertbot is heard again."""
    incident = work.incident(event.incident)
    if incident is None:
        work.say("person", Reason.NO_SUCH_INCIDENT, incident=event.incident, by=event.by)
        return
    if incident.silence is None:
        work.say("person", Reason.NOT_SILENCED, incident=incident.id, by=event.by, details={"via": event.via})
        return
    for alert in work.members(incident.id):
        if _made_here(alert.silence):
            work.put(replace(alert, silence=None))
    work.say("person", Reason.UNSILENCED, incident=incident.id, by=event.by, details={"via": event.via})
    changed = replace(incident, silence=None, cause=work.cause, flush_at=_flushed(incident, work.now))
    told(work, changed, Reason.UNSILENCED)


def kept(work: Work, event: SilenceKept) -> None:
    """Alertmanager keeps the silence too, or does not, and why not."""
    incident = work.incident(event.incident)
    if incident is None or incident.silence is None:
        return
    if (incident.silence.kept, incident.silence.problem) == (event.alerts, event.problem):
        return
    problem = f"; muted here only: {event.problem}" if event.problem else ""
    details = {"kept": "one alert" if event.alerts == 1 else f"{event.alerts} alerts", "problem": problem}
    work.say("incident", Reason.SILENCE_KEPT, incident=incident.id, details=details)
    changed = replace(incident, silence=replace(incident.silence, kept=event.alerts, problem=event.problem))
    work.incidents[incident.id] = changed
    if changed.openings:
        work.tell(changed, Reason.SILENCE_KEPT)


def seen_there(work: Work, event: SeenThere) -> None:
    """What Alertmanager says of alerts that are open here. One that it does not silence any more is heard again."""
    for identity in event.vouched:
        for row in work.current(identity):
            work.put(replace(row, vouched=True))
    touched: dict[str, Reason] = {}
    for identity, found in (*event.silences.items(), *((i, None) for i in event.ended)):
        for row in work.current(identity):
            if not row.incident or not row.firing or row.silence == found:
                continue
            if _made_here(row.silence) is not (identity in event.ended):
                continue
            work.put(replace(row, silence=found))
            reason = _said(work, row, found)
            if reason is not None:
                touched[row.incident] = reason
    for incident_id, reason in touched.items():
        incident = work.incident(incident_id)
        if incident is None:
            continue
        own = incident.silence
        if not any(_made_here(a.silence) for a in work.members(incident_id)):
            own = None
        flush_at = _flushed(incident, work.now)
        told(work, replace(incident, silence=own, cause=work.cause, flush_at=flush_at), reason)


def _said(work: Work, alert: Alert, found: Silence | None) -> Reason | None:
    """Writes down that an alert is silenced or not any more; None where it only goes on."""
    before = alert.silence
    if found is None:
        if before is None:
            return None
        reason = Reason.RELEASED if before.inhibited else Reason.UNSILENCED
        work.say("alert", reason, alert=alert, by="Alertmanager")
        return Reason.ALERTS_CHANGED if before.inhibited else Reason.UNSILENCED
    if before is not None and replace(before, until=None) == replace(found, until=None, since=before.since):
        return None if found.inhibited else Reason.SILENCED
    reason = Reason.INHIBITED_THERE if found.inhibited else Reason.SILENCED
    until = None if found.inhibited else found.until
    work.say("alert", reason, alert=alert, by=found.by, until=until, details={"comment": found.comment})
    return reason


def look(work: Work, incident: Incident) -> None:
    """What of an incident's silences is over, is to be asked about, or means for it as a whole."""
    if incident.silence is None and incident.silence_at is None and not incident.quieted:
        return
    over = False
    for alert in work.members(incident.id):
        if alert.silence is not None and in_force(alert, work.now) is None:
            work.put(replace(alert, silence=None))
            over = over or (alert.firing and not alert.silence.inhibited)
    own = incident.silence
    if own is not None and _is_over(incident, own, work.now):
        incident, own = replace(incident, silence=None), None
    if own is not None and own.ask_at is not None and own.ask_at <= work.now:
        incident = replace(incident, silence=replace(own, ask_at=None))
        if incident.told and any(a.firing for a in work.members(incident.id)):
            work.say("incident", Reason.SILENCE_ENDS_SOON, incident=incident.id, by=own.by, until=own.until)
            work.tell(incident, Reason.SILENCE_ENDS_SOON)
            incident = work.incidents[incident.id]
    if over and not incident.quieted and incident.told:
        # Nobody is called again: others of it were heard all along, or somebody has it.
        work.say("incident", Reason.SILENCE_ENDED, incident=incident.id)
    _as_a_whole(work, incident, None)


def _is_over(incident: Incident, own: Silence, now: datetime) -> bool:
    return incident.status is _S.RESOLVED if own.until is None else own.until <= now


def told(work: Work, incident: Incident, reason: Reason = Reason.SILENCED) -> None:
    """People see that it is silenced, or no longer, wherever they were told of it; or that it is open again, unless
    all of it is silenced.
    """
    work.incidents[incident.id] = incident
    _as_a_whole(work, incident, reason)


def _as_a_whole(work: Work, incident: Incident, reason: Reason | None) -> None:
    """Acknowledged while all that people know of is silenced by people; told anew when that is over.

    `reason`: there is something to tell in any case; None: the time that was asked for has come.
    """
    known = [a for a in work.members(incident.id) if a.firing and a.announced]
    silenced = [s for a in known if (s := in_force(a, work.now)) is not None and not s.inhibited]
    incident = replace(incident, silence_at=_next_look(work, incident))
    if incident.status is _S.OPEN and known and len(silenced) == len(known):
        incident = replace(
            deadlines.stopped(lifecycle.step(incident, _S.ACKNOWLEDGED)),
            acknowledged_at=work.now,
            acknowledged_by=silenced[0].by,
            repeat_at=None,
            quieted=True,
        )
        reason = reason or Reason.SILENCED
    elif incident.status is _S.ACKNOWLEDGED and incident.quieted and len(silenced) < len(known):
        back = _kept_back(work, incident, known) if reason is None else None
        if reason is not None:
            # Once more, by the clock: then all that may keep people from being called is known.
            incident = replace(incident, silence_at=work.now)
        elif back is not None:
            later = work.now + work.route(incident).group_interval
            due = back.until is None or back.until <= work.now
            incident = replace(incident, silence_at=later if due else back.until)
            work.say("incident", back.reason, incident=incident.id, by=back.by, until=back.until)
        else:
            incident = replace(work.again(incident), cause=incident.cause or work.cause)
            reason = Reason.SILENCE_ENDED
    work.incidents[incident.id] = incident
    if reason is not None and incident.told:
        work.tell(incident, reason)


def _kept_back(work: Work, incident: Incident, known: Sequence[Alert]) -> Hold | None:
    """What else keeps people from being called now: a mute, or that rules inhibit all of it."""
    mute = muted(work.policy, work.route(incident), work.now)
    if mute is not None:
        return mute
    holds = [inhibit.hold_for(work.policy, a, work, work.now, None) for a in known]
    return holds[0] if all(holds) else None


def _next_look(work: Work, incident: Incident) -> datetime | None:
    own = incident.silence
    times = [ends(a.silence) for a in work.members(incident.id) if a.silence is not None and a.firing]
    times += [own.ask_at, own.until] if own is not None else []
    return min((t for t in times if t is not None), default=None)


def _flushed(incident: Incident, now: datetime) -> datetime | None:
    """What is not told yet is looked at at once where it is held already: its hold may begin or end."""
    return now if incident.held or incident.status is _S.HELD else incident.flush_at
