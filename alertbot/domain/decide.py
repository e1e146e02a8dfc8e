"""The decision: what happened + what is known + the time → what is to be shown where, when to look again, and why.

Pure. `needs` says what to load for an event, `needs_more` what follows from what was loaded, `decide` answers. What
is decided
stands in `reports` (alerts), `flush` (the clock), `people`, and `releases` (deploys and maintenance).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from alertbot.domain import escalate, flush, heartbeats, inhibit, people, releases, remote, reports, silences
from alertbot.domain.events import (
    Acknowledged,
    ActRefused,
    AlertsReported,
    Assigned,
    DeployReported,
    Escalated,
    Event,
    HeartbeatsExpected,
    KeptFailing,
    MaintenanceReported,
    NoteAdded,
    ReceiverTested,
    ReleaseChecked,
    RemoteChanged,
    ResolvedByPerson,
    SeenThere,
    Silenced,
    SilenceKept,
    Unsilenced,
    WindowDue,
    Woken,
)
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.model import SEVERITY_LABEL, Alert
from alertbot.domain.policy import Heartbeat, Policy
from alertbot.domain.routing import group_labels, incident_key, match
from alertbot.domain.severity import severities_of
from alertbot.domain.situation import Decision, Situation
from alertbot.domain.windows import WindowKind, going_on
from alertbot.domain.work import Work


class Needs:
    """What to load, as sets (the store's `Keys` without the store)."""

    __slots__ = (
        "deploys_since", "held_in", "identities", "incident_keys", "incidents", "labels", "members", "relations",
        "services", "waiting", "windows",
    )  # fmt: skip

    def __init__(self) -> None:
        self.identities: set[str] = set()
        self.incident_keys: set[str] = set()
        self.incidents: set[str] = set()
        self.members: set[str] = set()
        self.relations: set[str] = set()
        self.waiting: set[str] = set()
        self.labels: Mapping[str, str] | None = None
        self.windows: set[str] = set()
        """With any name, also all that are not over."""
        self.held_in: set[str] = set()
        self.services: set[str] = set()
        self.deploys_since: datetime | None = None

    def all_windows(self, policy: Policy, now: datetime) -> None:
        """Those that are not over, and what is known of the repeating ones that go on."""
        self.windows.update(("", *(window.id for window in going_on(policy.maintenance, now))))


def needs(policy: Policy, event: Event, now: datetime, into: Needs) -> None:
    """What the event names by itself."""
    match event:
        case AlertsReported():
            into.identities.update(report.fingerprint for report in event.alerts)
        case Woken(incident):
            into.members.add(incident)
            into.all_windows(policy, now)
        case DeployReported(report):
            into.all_windows(policy, now)
            into.services.add(report.service)
            into.deploys_since = now - policy.deploys.lookback - policy.deploys.max_duration
        case MaintenanceReported() | WindowDue() | ReleaseChecked():
            into.all_windows(policy, now)
            into.windows.add(event.id if isinstance(event, MaintenanceReported) else event.window)
            into.identities.update(event.gone if isinstance(event, ReleaseChecked) else ())
        case Acknowledged():
            if event.incident:
                into.incidents.add(event.incident)
            else:
                into.labels = event.labels
        case ResolvedByPerson() | NoteAdded() | Assigned() | Escalated() | ActRefused() | KeptFailing() | SilenceKept():
            into.incidents.add(event.incident)
        case Silenced() | Unsilenced() | RemoteChanged():
            into.members.add(event.incident)
        case SeenThere():
            into.identities.update(event.silences, event.vouched, event.ended)
        case HeartbeatsExpected():
            into.incidents.update(event.watches)
        case ReceiverTested():
            pass


def needs_more(situation: Situation, event: Event, into: Needs) -> None:
    """What follows from what was loaded: other label sets of a fingerprint, the incidents that an alert may join, who
    waits for a source, who is cut off.
    """
    match event:
        case AlertsReported():
            match_severity = severities_of(situation.policy)
            cut_off = event.truncated > 0 and not any(r.firing for r in event.alerts)
            for report in event.alerts:
                rows = situation.current(report.fingerprint)
                known = bool(rows) and reports.same_labels(rows[0].labels, report.labels)
                if rows and not known:
                    into.identities.add(fingerprint(report.labels))
                # What fires and goes on to fire joins nothing. What resolves may fire again in the same transaction.
                if not (known and report.firing and all(row.firing for row in rows)):
                    labels = match_severity.with_severity(report.labels)
                    for route in match(situation.policy.route, labels):
                        into.incident_keys.add(incident_key(route, group_labels(route, labels)))
                for row in rows:
                    if row.incident:
                        into.incidents.add(row.incident)
                    if not report.firing:
                        into.waiting.update(row.source_of)
                    if cut_off and row.incident:
                        into.members.add(row.incident)
            for heartbeat, beat in heartbeats.sift(situation.policy, event)[1]:
                _needs_heartbeat(situation.policy, heartbeat, beat.labels, into)
        case Woken(incident):
            known_watch = situation.incidents.get(incident)
            if known_watch is not None and known_watch.watch:
                waited = heartbeats.labels_of(situation.policy, known_watch)
                if waited is not None:
                    _needs_heartbeat(situation.policy, *waited, into)
            for alert in situation.members(incident):
                if alert.firing:
                    into.relations.update(name for _, name in inhibit.target_of(situation.policy, alert.labels))
            into.held_in.update(w.id for w in situation.windows() if w.kind is WindowKind.DEPLOY)
        case DeployReported():
            # Also those that are over: what is told of a deploy late must not open its window again.
            into.windows.update(deploy.identity for deploy in situation.deploys.values())
            into.held_in.update(w.id for w in situation.windows() if w.kind is WindowKind.DEPLOY)
        case MaintenanceReported():
            into.held_in.add(event.id)
        case WindowDue(name):
            window = situation.known_windows.get(name)
            into.held_in.update((name, *window.joined) if window is not None else ())
        case ReleaseChecked():
            for identity in event.gone:
                into.incidents.update(row.incident for row in situation.current(identity) if row.incident)
        case SeenThere():
            for identity in (*event.silences, *event.ended):
                into.members.update(row.incident for row in situation.current(identity) if row.incident)
        case _:
            pass


def _needs_heartbeat(policy: Policy, heartbeat: Heartbeat, labels: Mapping[str, str], into: Needs) -> None:
    for watch, incident, identity in heartbeats.keys_of(policy, heartbeat, labels):
        into.incident_keys.update((watch, incident))
        into.identities.add(identity)
    into.waiting.update(heartbeats.relations_of(policy, heartbeat, labels))


def needs_last(situation: Situation, event: Event, more: Needs, into: Needs) -> None:
    """What follows from that again: the incidents that wait for a source or a window, and what else may hold them."""
    waiting = {incident for name in more.waiting for incident in situation.waiting(name)}
    held = situation.held_in(more.held_in)
    into.incidents.update({*waiting, *(alert.incident for alert in held)} - situation.incidents.keys())
    if isinstance(event, WindowDue):
        for alert in held:
            if alert.firing:
                into.relations.update(name for _, name in inhibit.target_of(situation.policy, alert.labels))


def decide(situation: Situation, event: Event, now: datetime, trace_id: str = "") -> Decision:
    """See the module's text. Raises nothing for any input that `needs` and `needs_more` were honoured for."""
    work = Work(situation, now, trace_id)
    match event:
        case AlertsReported():
            others, beats = heartbeats.sift(situation.policy, event)
            reports.report(work, others)
            heartbeats.heard(work, beats)
        case Woken(incident):
            flush.wake(work, incident)
        case Acknowledged():
            people.acknowledge(work, event)
        case ResolvedByPerson():
            people.resolve(work, event)
        case NoteAdded():
            people.note(work, event)
        case HeartbeatsExpected():
            heartbeats.expect(work, event)
        case Escalated():
            escalate.by_person(work, event)
        case RemoteChanged():
            remote.changed(work, event)
        case Assigned():
            people.assign(work, event)
        case ActRefused():
            people.refuse(work, event)
        case Silenced():
            silences.silence(work, event)
        case Unsilenced():
            silences.unsilence(work, event)
        case SilenceKept():
            silences.kept(work, event)
        case SeenThere():
            silences.seen_there(work, event)
        case KeptFailing():
            people.fall_back(work, event)
        case ReceiverTested():
            people.test(work, event)
        case DeployReported():
            releases.deploy_reported(work, event)
        case MaintenanceReported():
            releases.maintenance_reported(work, event)
        case WindowDue(window):
            releases.due(work, window)
        case ReleaseChecked():
            releases.checked(work, event)
    return work.decision()


def reindexed(policy: Policy, alert: Alert) -> Alert:
    """An alert as a changed policy sees it: its severity and the relations that it is a source in."""
    labels = severities_of(policy).with_severity({k: v for k, v in alert.labels.items() if k != SEVERITY_LABEL})
    return reports.labelled(policy, alert, labels)
