"""What a decision knows: what was loaded, and what was decided since but is not committed yet.

The engine fills one situation per transaction, lets any number of events be decided over it, and writes what
changed at the end.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import chain
from typing import Final

from alertbot.domain.deploys import Deploy
from alertbot.domain.inhibit import SourceLike
from alertbot.domain.model import Alert, Entry, Incident, Want
from alertbot.domain.policy import Policy
from alertbot.domain.windows import Window

#: How many sources of a relation a decision looks at, on each side. It needs one that holds; more are only named.
SOURCES_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class ActiveSource:
    """A firing alert on the source side of a relation."""

    identity: str
    starts_at: datetime
    two_sided: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """What follows from one event: new values of alerts and incidents, what destinations should show, and why.

    The next time to wake is `Incident.wake_at`. `entries` has a line for everything done and not done.
    """

    alerts: tuple[Alert, ...] = ()
    incidents: tuple[Incident, ...] = ()
    wants: tuple[Want, ...] = ()
    entries: tuple[Entry, ...] = ()
    windows: tuple[Window, ...] = ()
    deploys: tuple[Deploy, ...] = ()


@dataclass(slots=True)
class Situation:
    """A working set. `decide` reads it; only `add` and `apply` change it."""

    policy: Policy
    alerts: dict[tuple[str, str], Alert] = field(default_factory=dict)
    """By (incident, identity)."""
    incidents: dict[str, Incident] = field(default_factory=dict)
    deploys: dict[str, Deploy] = field(default_factory=dict)
    known_windows: dict[str, Window] = field(default_factory=dict)
    """Those that are not over, and others that were asked for by name."""
    _held_in: dict[str, dict[tuple[str, str], None]] = field(default_factory=dict)
    _open_windows: list[Window] | None = None
    _newest: dict[str, str] = field(default_factory=dict)
    _by_identity: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _by_incident: dict[str, list[tuple[str, str]]] = field(default_factory=dict)
    _sources: dict[str, dict[str, SourceLike | None]] = field(default_factory=dict)
    _sorted: dict[str, list[SourceLike]] = field(default_factory=dict)
    _waiting: dict[str, dict[str, None]] = field(default_factory=dict)
    labelled: tuple[str, ...] = ()
    ended: set[str] = field(default_factory=set)
    """Relations of which a source ended, and that is not committed yet: there may be others that were not loaded."""

    def add(
        self,
        *,
        alerts: Iterable[Alert] = (),
        incidents: Iterable[Incident] = (),
        relations: Mapping[str, Iterable[SourceLike]] | None = None,
        waiting: Mapping[str, Iterable[str]] | None = None,
        labelled: Iterable[str] = (),
        windows: Iterable[Window] = (),
        deploys: Iterable[Deploy] = (),
    ) -> None:
        """Takes in what was loaded. What is known already is newer and stays."""
        for incident in incidents:
            self.incidents.setdefault(incident.id, incident)
            known = self._newest.get(incident.key)
            if known is None or self.incidents[known].created_at < incident.created_at:
                self._newest[incident.key] = incident.id
        for alert in alerts:
            if (alert.incident, alert.identity) not in self.alerts:
                self._put(alert)
        for name, sources in (relations or {}).items():
            there = self._sources.setdefault(name, {})
            self._sorted.pop(name, None)
            for source in sources:
                there.setdefault(source.identity, source)
        for name, ids in (waiting or {}).items():
            self._waiting.setdefault(name, {}).update(dict.fromkeys(ids))
        self.labelled = tuple(dict.fromkeys((*self.labelled, *labelled)))
        for window in windows:
            self.known_windows.setdefault(window.id, window)
            self._open_windows = None
        for deploy in deploys:
            self.deploys.setdefault(deploy.id, deploy)

    def apply(self, decision: Decision) -> None:
        """Takes in what was decided."""
        for incident in decision.incidents:
            if incident.id not in self.incidents:
                self._newest[incident.key] = incident.id
            self.incidents[incident.id] = incident
        for alert in decision.alerts:
            self._put(alert)
            for name in alert.source_of:
                there = self._sources.setdefault(name, {})
                self._sorted.pop(name, None)
                if alert.firing and alert.current:
                    there[alert.identity] = ActiveSource(alert.identity, alert.starts_at, name in alert.two_sided)
                elif alert.current:
                    there[alert.identity] = None
                    self.ended.add(name)
            if alert.hold is not None and alert.hold.relation is not None:
                self._waiting.setdefault(alert.hold.relation, {})[alert.incident] = None
        self.deploys |= {deploy.id: deploy for deploy in decision.deploys}
        if decision.windows:
            self.known_windows |= {window.id: window for window in decision.windows}
            self._open_windows = None

    def _put(self, alert: Alert) -> None:
        key = (alert.incident, alert.identity)
        if key not in self.alerts:
            self._by_identity.setdefault(alert.identity, []).append(key)
            self._by_incident.setdefault(alert.incident, []).append(key)
        self.alerts[key] = alert
        for window in alert.held_in:
            self._held_in.setdefault(window, {})[key] = None

    def current(self, identity: str) -> list[Alert]:
        """The rows of an alert's latest episode: one for each incident that it is in."""
        rows = [self.alerts[k] for k in self._by_identity.get(identity, ())]
        return [a for a in rows if a.current]

    def members(self, incident: str) -> list[Alert]:
        """The alerts of an incident of which something is left to tell, in the order of their starts."""
        rows = [self.alerts[k] for k in self._by_incident.get(incident, ())]
        return sorted((a for a in rows if not a.settled), key=lambda a: (a.starts_at, a.identity))

    def newest(self, key: str) -> Incident | None:
        """The newest incident of a group key."""
        found = self._newest.get(key)
        return None if found is None else self.incidents[found]

    def sources(self, relation: str) -> list[SourceLike]:
        """The firing sources of a relation, the earliest first: at most `SOURCES_NAMED` a side."""
        found = self._sorted.get(relation)
        if found is None:
            firing = [s for s in self._sources.get(relation, {}).values() if s is not None]
            firing.sort(key=lambda s: (s.starts_at, s.identity))
            sides = ([s for s in firing if s.two_sided is side][:SOURCES_NAMED] for side in (False, True))
            found = sorted(chain.from_iterable(sides), key=lambda s: (s.starts_at, s.identity))
            self._sorted[relation] = found
        return found

    def waiting(self, relation: str) -> list[str]:
        """Incidents with an alert that this relation holds, or held."""
        return list(self._waiting.get(relation, ()))

    def windows(self) -> list[Window]:
        """The windows that are not over, the earliest first."""
        if self._open_windows is None:
            found = [w for w in self.known_windows.values() if not w.over]
            self._open_windows = sorted(found, key=lambda w: (w.starts_at, w.id))
        return self._open_windows

    def held_in(self, windows: Collection[str]) -> list[Alert]:
        """The alerts that one of these windows held in their present or last episode, settled ones too."""
        named = frozenset(windows)
        keys = {key: None for window in named for key in self._held_in.get(window, ())}
        found = [self.alerts[key] for key in keys]
        found = [a for a in found if a.current and not named.isdisjoint(a.held_in)]
        return sorted(found, key=lambda a: (a.starts_at, a.identity, a.incident))
