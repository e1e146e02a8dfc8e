"""The changes of one decision, over a situation that stays as it was; and the steps of which people are told."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Final

from alertbot.domain import deadlines, lifecycle
from alertbot.domain.deploys import Deploy
from alertbot.domain.inhibit import SourceLike
from alertbot.domain.levels import PAGING, SPEAKS
from alertbot.domain.model import Alert, Cause, Entry, Incident, IncidentStatus, Level, Want
from alertbot.domain.policy import Receiver
from alertbot.domain.reasons import NEWS, Reason
from alertbot.domain.routing import Route
from alertbot.domain.situation import Decision, Situation
from alertbot.domain.values import copied
from alertbot.domain.windows import Window, going_on

_S = IncidentStatus

#: What has a line in the record of its own, with more in it than that people were told.
SAID_ALREADY: Final = frozenset(
    {
        Reason.ACKNOWLEDGED, Reason.RESOLVED_BY_PERSON, Reason.NOTE_ADDED, Reason.ASSIGNED, Reason.SILENCED,
        Reason.SILENCE_KEPT, Reason.SILENCE_ENDS_SOON, Reason.UNSILENCED, Reason.INHIBITED_THERE, Reason.FELL_BACK,
        Reason.TEST, Reason.ESCALATED, Reason.UNACKNOWLEDGED, Reason.REOPENED, Reason.CHANGED_REMOTELY,
    }
)  # fmt: skip
#: What disturbs nobody, and stops what still calls.
QUIETING: Final = frozenset({Reason.ACKNOWLEDGED, Reason.SILENCED, Reason.RESOLVED_BY_PERSON, Reason.ASSIGNED})


class Work:
    """The changes of one decision over a situation that stays as it was."""

    def __init__(self, situation: Situation, now: datetime, trace_id: str = "") -> None:
        self.situation = situation
        self.policy = situation.policy
        self.now = now
        self.cause = Cause(now, trace_id)
        self.alerts: dict[tuple[str, str], Alert] = {}
        self.incidents: dict[str, Incident] = {}
        self.firing: dict[str, int] = {}
        """Alerts that fire in an incident of which nobody was told yet, where that changed."""
        self.wants: dict[str, Want] = {}
        self.entries: list[Entry] = []
        self.known_windows: dict[str, Window] = {}
        self.deploys: dict[str, Deploy] = {}
        self.ended: dict[str, None] = {}
        """Inhibition relations of which a source ended."""
        self._open_windows: list[Window] | None = None
        self._fresh_rows: dict[str, set[tuple[str, str]]] = {}
        self._newest_here: dict[str, str] = {}

    def decision(self) -> Decision:
        """All of it as one value."""
        return Decision(
            tuple(self.alerts.values()),
            tuple(self.incidents.values()),
            tuple(self.wants.values()),
            tuple(self.entries),
            tuple(self.known_windows.values()),
            tuple(self.deploys.values()),
        )

    # What is known now, the changes of this decision included.

    def incident(self, incident_id: str) -> Incident | None:
        """An incident as it is by now."""
        return self.incidents.get(incident_id) or self.situation.incidents.get(incident_id)

    def newest(self, key: str) -> Incident | None:
        """The newest incident of a group key."""
        here = self._newest_here.get(key)
        if here is not None:
            return self.incidents[here]
        known = self.situation.newest(key)
        return None if known is None else self.incidents.get(known.id, known)

    def current(self, identity: str) -> list[Alert]:
        """The rows of an alert's latest episode, one for each incident that it is in."""
        rows = [self.alerts.get((a.incident, identity), a) for a in self.situation.current(identity)]
        rows += [self.alerts[k] for k in sorted(self._fresh_rows.get(identity, ()))]
        return [a for a in rows if a.current]

    def sources(self, relation: str) -> list[SourceLike]:
        """The firing sources of a relation (see `alertbot.domain.inhibit.Sources`)."""
        return self.situation.sources(relation)

    def windows(self) -> list[Window]:
        """The windows that are not over by now, the earliest first; a repeating one that has held nothing yet too."""
        if self._open_windows is None:
            known = {w.id: w for w in self.situation.windows()} | self.known_windows
            for window in going_on(self.policy.maintenance, self.now):
                if self.window(window.id) is None:
                    known[window.id] = window
            self._open_windows = sorted((w for w in known.values() if not w.over), key=lambda w: (w.starts_at, w.id))
        return self._open_windows

    def put_window(self, window: Window) -> None:
        """Takes in a window's new value."""
        self.known_windows[window.id] = window
        self._open_windows = None

    def window(self, window_id: str) -> Window | None:
        """A window as it is by now."""
        return self.known_windows.get(window_id) or self.situation.known_windows.get(window_id)

    def held_in(self, windows: Collection[str]) -> list[Alert]:
        """The alerts that one of these windows held, as they are by now."""
        found = {(a.incident, a.identity): a for a in self.situation.held_in(windows)}
        found |= {key: alert for key, alert in self.alerts.items() if key in found or alert.held_in}
        named = frozenset(windows)
        return [a for a in found.values() if a.current and not named.isdisjoint(a.held_in)]

    def row(self, incident: str, identity: str) -> Alert | None:
        """An alert in one incident, as it is by now; None where it has no row there."""
        key = (incident, identity)
        return self.alerts.get(key) or self.situation.alerts.get(key)

    def put(self, alert: Alert) -> None:
        """Takes in an alert's new value."""
        key = (alert.incident, alert.identity)
        if key not in self.alerts and key not in self.situation.alerts:
            self._fresh_rows.setdefault(alert.identity, set()).add(key)
        self.alerts[key] = alert

    def begin(self, incident: Incident) -> None:
        """Takes in a new incident: the newest of its key from now on."""
        self.incidents[incident.id] = incident
        self._newest_here[incident.key] = incident.id

    def members(self, incident: str) -> list[Alert]:
        """The alerts of an incident of which something is left to tell, as they are by now."""
        known = [self.alerts.get((incident, a.identity), a) for a in self.situation.members(incident)]
        return [a for a in known if not a.settled]

    def route(self, incident: Incident) -> Route:
        """The incident's route; the root's where the policy has changed and it is gone."""
        return self.policy.route_of(incident)

    def say(self, kind: str, reason: Reason, *, alert: Alert | None = None, incident: str = "", **more: object) -> None:
        """Adds a line to the record; `more` are further fields of `Entry`."""
        about = {} if alert is None else {"identity": alert.identity, "labels": alert.labels}
        place = incident or (alert.incident if alert is not None else "")
        self.entries.append(Entry(self.now, kind, reason, place, **about, **more))  # type: ignore[arg-type]  # by name

    # Steps that people are told of.

    def open(self, incident: Incident, reason: Reason, alerts: Sequence[Alert]) -> None:
        """People are told that it opens (again)."""
        self.announce(alerts)
        opened = lifecycle.step(incident, _S.OPEN)
        opened = copied(
            opened,
            severity=self.worst(alerts),
            openings=incident.openings + 1,
            opened_at=incident.opened_at if incident.openings else self.now,
            acknowledged_at=None,
            acknowledged_by=None,
            resolved_at=None,
            resolved_by=None,
            quieted=False,
        )
        opened = copied(opened, repeat_at=self.next_repeat(opened))
        self.tell(self.changes_state(deadlines.begun(self.policy, opened, self.now)), reason)

    def again(self, incident: Incident) -> Incident:
        """Its acknowledgement ended: it opens anew, and PagerDuty has to call under another key."""
        opened = copied(
            lifecycle.step(incident, _S.OPEN),
            openings=incident.openings + 1,
            acknowledged_at=None,
            acknowledged_by=None,
            quieted=False,
        )
        return deadlines.begun(self.policy, copied(opened, repeat_at=self.next_repeat(opened)), self.now)

    def close(
        self,
        incident: Incident,
        reason: Reason,
        *,
        by: str | None = None,
        to: IncidentStatus = _S.RESOLVED,
    ) -> None:
        """People are told that it is over, as far as they knew of it."""
        closed = copied(
            deadlines.stopped(lifecycle.step(incident, to)),
            resolved_at=self.now,
            resolved_by=by,
            acknowledged_at=None if to is _S.HELD else incident.acknowledged_at,
            acknowledged_by=None if to is _S.HELD else incident.acknowledged_by,
            repeat_at=None,
            quieted=False,
        )
        if incident.test:
            closed = copied(closed, flush_at=None)
        self.tell(closed if incident.test else self.changes_state(closed), reason)

    def worst(self, alerts: Iterable[Alert]) -> str:
        """The most urgent severity among them."""
        return min((a.severity for a in alerts), key=self.policy.rank)

    def announce(self, alerts: Iterable[Alert]) -> None:
        """From now on people know that these fire."""
        for alert in alerts:
            known = self.alerts.get((alert.incident, alert.identity), alert)
            self.put(copied(known, announced=True, hold=None))

    def next_repeat(self, incident: Incident) -> datetime:
        """When people are reminded, if nothing happens."""
        return self.now + self.route(incident).repeat_interval

    def changes_state(self, incident: Incident) -> Incident:
        """Counts an open or close, and finds that it flaps."""
        rule = self.policy.flapping
        if rule is None:
            return incident
        changes = (*(t for t in incident.changes if self.now - t <= rule.within), self.now)[-2 * rule.changes :]
        flaps = incident.flapping or len(changes) >= rule.changes
        if flaps and not incident.flapping:
            self.say("incident", Reason.FLAPPING, incident=incident.id, details={"changes": str(len(changes))})
        return copied(incident, changes=changes, flapping=flaps, quiet_at=self.now + rule.quiet if flaps else None)

    # Telling.

    def tell(self, incident: Incident, reason: Reason, *, only: str = "") -> None:
        """Raises what the destinations should show by one revision.

        Of a flapping incident, those that page hear nothing more: not from the change on at which it was found to flap,
        which they are still told. `only` names the one receiver that hears of it.
        """
        known = self.situation.incidents.get(incident.id)
        was_flapping = known is not None and known.flapping and incident.flapping
        # What a person did disturbs nobody, and stops what still calls.
        quiet = was_flapping and reason not in QUIETING and reason is not Reason.ESCALATED
        revision = incident.revision + 1
        reopened = known is None or known.openings != incident.openings
        news = revision if reason in NEWS or reopened or reason is Reason.FLAPPING_ENDED else incident.news
        # `group_interval` is between flushes: a note or an acknowledgement puts nothing off.
        flushed_at = incident.flushed_at if reason in SAID_ALREADY else self.now
        incident = copied(incident, revision=revision, news=news, flushed_at=flushed_at)
        # While it waits to open (again) it is, for people, still what it was: over.
        status = incident.status if incident.told else _S.RESOLVED
        level = Level(status, incident.openings, revision, news, quiet=quiet)
        why = Reason.FLAPPING if incident.flapping and reason not in SAID_ALREADY else reason
        for want in self._as_said(incident, self.wants_for(incident, why, level)):
            if want.receiver == only or not (only or (quiet and want.integration in PAGING)):
                self.wants[want.id] = want
        self.incidents[incident.id] = copied(incident, cause=None)
        if reason not in SAID_ALREADY:
            self.say("notification", why, incident=incident.id, details={"caused_by": reason.value})

    def _as_said(self, incident: Incident, wants: list[Want]) -> list[Want]:
        """PagerDuty is not told what it said. Where there are several services it could have been any of them, and it
        is harmless to tell them all.
        """
        said = incident.remote
        if said is None or len({want.lane for want in wants if want.integration == SPEAKS}) > 1:
            return wants
        return [
            copied(want, level=copied(want.level, said=said)) if want.integration == SPEAKS else want for want in wants
        ]

    def write_note(self, incident: Incident) -> None:
        """What was written down just now is written wherever notes are kept, as a post of its own."""
        level = Level(incident.status, incident.openings, incident.revision, incident.revision)
        noting = {d for receiver in self.receivers(incident) for d in receiver.destinations if d.notes}
        lanes: set[str] = set()
        for want in self.wants_for(incident, Reason.NOTE_ADDED, level, kind=f"note:{incident.revision}"):
            keeps = any((d.integration, d.to, d.lane) == (want.integration, want.to, want.lane) for d in noting)
            # Two receivers may have the same service behind them.
            if keeps and want.lane not in lanes:
                lanes.add(want.lane)
                self.wants[want.id] = want

    def wants_for(self, incident: Incident, reason: Reason, level: Level, kind: str = "incident") -> list[Want]:
        """One want for each destination that is to hear of it. A post of its own is not for receivers that rest."""
        return [
            Want(
                incident=incident.id,
                receiver=receiver.name,
                integration=d.integration,
                to=d.to,
                lane=d.lane,
                level=_level_at(receiver, incident, level),
                reason=reason,
                at=self.now,
                rank=self.policy.rank(incident.severity),
                kind=kind,
                cause=incident.cause,
            )
            for receiver in self.receivers(incident)
            if kind == "incident" or receiver.name not in incident.resting
            for d in receiver.destinations
            if d.send_resolved or level.status is not _S.RESOLVED
        ]

    def named(self, incident: str, by: str) -> Incident | None:
        """The incident that somebody acted on; that there is none is recorded."""
        found = self.incident(incident)
        if found is None:
            self.say("person", Reason.NO_SUCH_INCIDENT, incident=incident, by=by)
        return found

    def receivers(self, incident: Incident) -> list[Receiver]:
        """The route's receiver and those brought in; the root route's where the policy has changed and its own is
        gone.
        """
        own = self.policy.receivers.get(incident.receiver)
        if own is None:
            own = self.policy.receivers[self.policy.route.receiver]
            self.say("config", Reason.RECEIVER_REMOVED, incident=incident.id, by=incident.receiver)
        more = [self.policy.receivers[name] for name in incident.also if name in self.policy.receivers]
        return [own, *more]

    def flush_by(self, incident: Incident, at: datetime) -> None:
        """Looks at an incident at a time, or before."""
        first = at if incident.flush_at is None else min(at, incident.flush_at)
        if first != incident.flush_at or incident.cause is None:
            incident = copied(incident, flush_at=first, cause=incident.cause or self.cause)
        self.incidents[incident.id] = incident


def _level_at(receiver: Receiver, incident: Incident, level: Level) -> Level:
    """The level as one receiver is to show it."""
    name = receiver.name
    if name not in incident.escalated:
        return level
    rests = name in incident.resting and level.status is not _S.RESOLVED
    return copied(
        level,
        quiet=level.quiet or rests,
        escalated=incident.escalated[name],
        urged=name in incident.urged,
    )
