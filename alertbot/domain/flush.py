"""An incident's time has come: what there is to tell of it, and whether to tell it now."""

from __future__ import annotations

from dataclasses import dataclass, field

from alertbot.domain import deadlines, escalate, heartbeats, inhibit, lifecycle, releases, silences
from alertbot.domain.levels import REMINDED
from alertbot.domain.model import Alert, AlertStatus, Cause, Hold, Incident, IncidentStatus, Level
from alertbot.domain.muting import muted
from alertbot.domain.reasons import Reason
from alertbot.domain.values import copied
from alertbot.domain.work import Work

_S = IncidentStatus


def wake(work: Work, incident_id: str) -> None:
    """What is due of: the end of a test, a flush, the end of flapping, a step of its escalation policy, a deadline, a
    reminder. In this order.
    """
    incident = work.incident(incident_id)
    if incident is None:
        return
    if incident.test:
        if incident.told:
            work.close(incident, Reason.TEST, by="alertbot")
        return
    if incident.watch:
        heartbeats.due(work, incident)
        return
    work.incidents[incident_id] = incident
    if incident.flush_at is not None and incident.flush_at <= work.now:
        _flush(work, incident)
    silences.look(work, work.incidents[incident_id])
    incident = work.incidents[incident_id]
    if incident.quiet_at is not None and incident.quiet_at <= work.now:
        _stop_flapping(work, incident)
    incident = work.incidents[incident_id]
    if incident.escalate_at is not None and incident.escalate_at <= work.now:
        escalate.step_due(work, incident, _kept_back(work, incident))
    incident = work.incidents[incident_id]
    if incident.ack_due_at is not None and incident.ack_due_at <= work.now:
        escalate.ack_overdue(work, incident)
    incident = work.incidents[incident_id]
    if incident.remind_at is not None and incident.remind_at <= work.now:
        escalate.remind_acknowledger(work, incident, _kept_back(work, incident))
    incident = work.incidents[incident_id]
    if incident.repeat_at is not None and incident.repeat_at <= work.now:
        _repeat(work, incident)


@dataclass(slots=True)
class _Seen:
    """The alerts of an incident, by what is to be told of them."""

    fresh: list[Alert] = field(default_factory=list)
    """Fire, nobody was told, and nothing holds them."""
    held: list[Alert] = field(default_factory=list)
    told: list[Alert] = field(default_factory=list)
    """Fire, and people know."""
    gone: list[Alert] = field(default_factory=list)
    """Resolved, and people do not know yet."""
    released: bool = False
    """One of the fresh ones was held until now."""


def _flush(work: Work, incident: Incident) -> None:
    """Looks at everything there is to tell of an incident, and tells it.

    1. For each alert that fires and was not told: held, muted, or fresh. 2. For each that resolved: told before, or
    settled without a word. 3. The step that follows for the incident.
    """
    if _too_early(work, incident):
        work.incidents[incident.id] = copied(incident, flush_at=work.now)
        return
    seen = _look(work, incident)
    releases.must_not_be_quiet(work, [*seen.fresh, *seen.held])
    # What is due already is a window's end, and that has an event of its own.
    ends = [a.hold.until for a in seen.held if a.hold and a.hold.until and a.hold.until > work.now]
    next_look = min(ends, default=None)
    counted = copied(
        incident,
        cause=_cause_of(incident),
        flush_at=next_look,
        firing=len(seen.told) + len(seen.fresh),
        held=len(seen.held),
        unknown=sum(a.status is AlertStatus.UNKNOWN for a in seen.told),
        resolved=incident.resolved + len(seen.gone),
    )
    if incident.told:
        _flush_told(work, incident, counted, seen)
    else:
        _flush_untold(work, counted, seen)


def _cause_of(incident: Incident) -> Cause | None:
    """What led to this flush. The time that it was meant to wait is no delay of ours."""
    cause, meant = incident.cause, incident.flush_at
    return copied(cause, at=max(cause.at, meant)) if cause is not None and meant is not None else cause


def _too_early(work: Work, incident: Incident) -> bool:
    """Sources ended in this very transaction, and no other is known that holds one of its alerts. Only so many sources
    are loaded: once the end of these is committed, those that are left will be.
    """
    if not work.situation.ended:
        return False
    for alert in work.situation.members(incident.id):
        if not alert.firing or alert.announced:
            continue
        ended = any(name in work.situation.ended for _, name in inhibit.target_of(work.policy, alert.labels))
        if ended and not inhibit.hold_for(work.policy, alert, work, work.now, alert.hold):
            return True
    return False


def _look(work: Work, incident: Incident) -> _Seen:
    mute = muted(work.policy, work.route(incident), work.now)
    seen = _Seen()
    for alert in work.situation.members(incident.id):
        if alert.firing and alert.announced:
            seen.told.append(alert)
        elif alert.firing:
            hold = inhibit.hold_for(work.policy, alert, work, work.now, alert.hold) or mute
            hold = hold or silences.hold(alert, work.now)
            now = _hold(work, alert, hold)
            (seen.fresh if hold is None else seen.held).append(now)
            seen.released = seen.released or (hold is None and alert.hold is not None)
        elif alert.announced:
            seen.gone.append(alert)
            work.put(copied(alert, settled=True, hold=None))
        else:
            _settle_unsaid(work, alert)
    return seen


def _flush_untold(work: Work, incident: Incident, seen: _Seen) -> None:
    """People do not hold it for open: it opens, waits, or ends without a word."""
    if (seen.fresh or seen.held) and incident.status is _S.RESOLVED:
        # A person resolved it without knowing of these.
        incident = lifecycle.step(incident, _S.PENDING)
    if seen.fresh:
        reason = Reason.REFIRED if incident.openings else Reason.FIRST_NOTIFICATION
        if seen.released:
            reason = Reason.HOLD_ENDED
        work.open(incident, reason, [*seen.told, *seen.fresh])
    elif seen.held:
        work.incidents[incident.id] = copied(lifecycle.step(incident, _S.HELD), cause=None)
    else:
        at = incident.resolved_at if incident.status is _S.RESOLVED else work.now
        repeat_at = incident.repeat_at if seen.told else None
        ended = copied(lifecycle.step(incident, _S.RESOLVED), resolved_at=at, repeat_at=repeat_at, cause=None)
        work.incidents[incident.id] = ended


def _flush_told(work: Work, before: Incident, incident: Incident, seen: _Seen) -> None:
    """People hold it for open: it gains alerts, loses some, or closes."""
    if seen.fresh:
        _gain(work, incident, seen)
    elif not seen.told:
        work.close(incident, Reason.ALL_RESOLVED, to=_S.HELD if seen.held else _S.RESOLVED)
    elif seen.gone:
        work.tell(incident, Reason.SOME_RESOLVED)
    elif _counts(before) != _counts(incident):
        work.tell(incident, Reason.ALERTS_CHANGED)
    else:
        work.incidents[incident.id] = copied(incident, flushed_at=work.now, cause=None)


def _counts(incident: Incident) -> tuple[int, int, int]:
    return incident.firing, incident.held, incident.unknown


def _gain(work: Work, incident: Incident, seen: _Seen) -> None:
    """New alerts in an open incident. An acknowledgement was of what was known then: it ends, and people hear anew."""
    worst = work.worst(seen.fresh)
    reason = Reason.HOLD_ENDED if seen.released else Reason.NEW_ALERT
    if work.policy.rank(incident.severity) == len(work.policy.severities):
        # The config has no such severity any more.
        incident = copied(incident, severity=work.worst(seen.told or seen.fresh))
    if work.policy.rank(worst) < work.policy.rank(incident.severity):
        incident = copied(incident, severity=worst)
        reason = Reason.SEVERITY_RAISED
    work.announce(seen.fresh)
    if incident.status is _S.ACKNOWLEDGED:
        incident = work.again(incident)
    incident = deadlines.rated(work.policy, incident)
    work.tell(copied(incident, repeat_at=work.next_repeat(incident), joined_at=work.now), reason)


def _hold(work: Work, alert: Alert, hold: Hold | None) -> Alert:
    """Records that an alert is held, by something else than before, or not any more."""
    before = alert.hold
    if hold == before:
        return alert
    after = copied(alert, hold=hold)
    if hold is not None and hold.windows:
        after = releases.credit(work, after, hold)
    work.put(after)
    if hold is None and before is not None:
        work.say("hold", Reason.RELEASED, alert=alert, by=before.by)
    elif hold is not None and (before is None or (before.reason, before.by) != (hold.reason, hold.by)):
        details = {"windows": ", ".join(hold.windows)} if hold.windows else {}
        work.say("hold", hold.reason, alert=alert, by=hold.by, until=hold.until, details=details)
    return after


def _settle_unsaid(work: Work, alert: Alert) -> None:
    held = alert.hold is not None
    work.put(copied(alert, settled=True, hold=None, cleared=held))
    reason = Reason.CLEARED_WHILE_HELD if held else Reason.RESOLVED_BEFORE_NOTIFY
    work.say("alert", reason, alert=alert, by=alert.hold.by if alert.hold else "")


# Flapping.


def _stop_flapping(work: Work, incident: Incident) -> None:
    """It was quiet for long enough: whatever holds now is told to everybody again, after a mute if it fires."""
    mute = muted(work.policy, work.route(incident), work.now)
    if mute is not None and incident.told:
        work.incidents[incident.id] = copied(incident, quiet_at=mute.until)
        work.say("incident", Reason.MUTED, incident=incident.id, by=mute.by, until=mute.until)
        return
    calm = copied(incident, flapping=False, quiet_at=None, changes=())
    waits = deadlines.waits(calm)
    work.tell(deadlines.begun(work.policy, calm, work.now) if waits else calm, Reason.FLAPPING_ENDED)


# Reminders.


def _kept_back(work: Work, incident: Incident) -> Hold | None:
    """Why reminders and escalations of what fires already are to wait now: a mute, or a hold over all of it."""
    mute = muted(work.policy, work.route(incident), work.now)
    if mute is not None:
        return mute
    firing = [a for a in work.situation.members(incident.id) if a.firing and a.announced]
    holds = [inhibit.hold_for(work.policy, a, work, work.now, None) or silences.hold(a, work.now) for a in firing]
    return holds[0] if holds and all(holds) else None


def _repeat(work: Work, incident: Incident) -> None:
    """`repeat_interval` is over: remind, unless it is acknowledged, flaps, is muted, or all of it is held.

    What a person resolved and still fires opens again under the same conditions, also where others of the incident wait
    or are held by then.
    """
    route = work.route(incident)
    later = copied(incident, repeat_at=work.now + route.repeat_interval)
    firing = [a for a in work.situation.members(incident.id) if a.firing and a.announced]
    if incident.status is _S.ACKNOWLEDGED or not firing:
        work.incidents[incident.id] = copied(incident, repeat_at=None)
        return
    held = _kept_back(work, incident)
    work.incidents[incident.id] = later
    if incident.flapping and incident.told:
        work.say("incident", Reason.FLAPPING, incident=incident.id)
    elif held is not None:
        if held.reason is Reason.MUTED:
            work.incidents[incident.id] = copied(later, repeat_at=held.until)
        work.say("incident", held.reason, incident=incident.id, by=held.by, until=held.until)
    elif not incident.told:
        work.open(copied(incident, firing=len(firing)), Reason.STILL_FIRING, firing)
    else:
        reminded = copied(later, reminders=incident.reminders + 1)
        work.incidents[incident.id] = reminded
        level = Level(_S.OPEN, reminded.openings, reminded.reminders, reminded.reminders)
        before = work.situation.incidents.get(incident.id, incident)
        for want in work.wants_for(reminded, Reason.REPEAT_INTERVAL, level, kind="remind"):
            # Who is brought in at this very time needs no reminder.
            if want.integration in REMINDED and want.receiver in (before.receiver, *before.also):
                work.wants[want.id] = want
        work.say("notification", Reason.REPEAT_INTERVAL, incident=incident.id)
