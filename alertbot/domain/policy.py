"""What the configuration means, as plain values for the decision. `config/` makes it from alertbot.yml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Final

from alertbot.domain.deploys import DeploySettings
from alertbot.domain.intervals import TimeInterval
from alertbot.domain.matchers import Matcher
from alertbot.domain.model import Incident
from alertbot.domain.routing import Route, match
from alertbot.domain.windows import Recurring


@dataclass(frozen=True, slots=True)
class Severity:
    """One level of urgency and the foreign words for it."""

    name: str
    aliases: tuple[str, ...] = ()
    ack_within: timedelta | None = None
    remind_acknowledged: bool = False
    """Whoever acknowledged is reminded after `ack_within`, if it is not resolved by then."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One integration of a receiver.

    `to` is what may be shown of it (a channel, an address, PagerDuty's integration name). `lane` names the thing at the
    provider whose order, budget and health are shared (a channel, a routing key's hash): never a secret. `notes`: what
    people write down is written there too.
    """

    integration: str
    to: str
    lane: str
    send_resolved: bool = True
    notes: bool = False


@dataclass(frozen=True, slots=True)
class Receiver:
    """A named set of destinations. `fallback` stands in when all of them keep failing for `fallback_after`."""

    name: str
    destinations: tuple[Destination, ...]
    fallback: str | None = None
    fallback_after: timedelta = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """So long after the opening without an acknowledgement, this receiver is brought in."""

    after: timedelta
    receiver: str


@dataclass(frozen=True, slots=True)
class Escalation:
    """Steps in the order of their times, taken once and `repeat` times more."""

    name: str
    steps: tuple[EscalationStep, ...]
    repeat: int = 0


#: The source of alerts that are our own, and what the keys of their routes begin with.
HEARTBEAT: Final = "heartbeat"


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """An alert that must keep arriving; silent for longer than `every` and `grace`, the receiver is told."""

    name: str
    matchers: tuple[Matcher, ...]
    every: timedelta
    receiver: str
    grace: timedelta = timedelta(minutes=1)
    severity: str = ""

    @property
    def period(self) -> timedelta:
        """How long it may be silent."""
        return self.every + self.grace

    @property
    def route(self) -> str:
        """The key of the route that its incidents have: no part of the tree."""
        return f"{HEARTBEAT}:{self.name}"


@dataclass(frozen=True, slots=True)
class InhibitRule:
    """While a source fires, targets with the same `equal` labels are held, for `duration` at the most."""

    name: str
    source_matchers: tuple[Matcher, ...]
    target_matchers: tuple[Matcher, ...]
    equal: tuple[str, ...] = ()
    duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Flapping:
    """`changes` opens and closes `within` a time are flapping, until nothing changed for `quiet`."""

    changes: int
    within: timedelta
    quiet: timedelta


@dataclass(frozen=True, slots=True)
class Storms:
    """When one card stands in for many: more than `cards` new incidents wait for theirs at a destination.

    It is edited every `every`, and over when for `quiet` nothing new came and no more than `cards` are still open.
    """

    cards: int = 10
    every: timedelta = timedelta(seconds=5)
    quiet: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Policy:
    """All that a decision may depend on besides what happened and when."""

    severities: tuple[Severity, ...]
    route: Route
    receivers: Mapping[str, Receiver]
    inhibit_rules: tuple[InhibitRule, ...] = ()
    intervals: Mapping[str, tuple[TimeInterval, ...]] | None = None
    flapping: Flapping | None = None
    storms: Storms = Storms()
    escalations: Mapping[str, Escalation] = field(default_factory=dict)
    heartbeats: tuple[Heartbeat, ...] = ()
    deploys: DeploySettings = field(default_factory=DeploySettings)
    maintenance: tuple[Recurring, ...] = ()
    alertmanager: bool = False
    """An Alertmanager can be asked, and can keep a silence."""
    routes: Mapping[str, Route] = field(init=False, repr=False, compare=False)
    """Every node of the tree by its key."""

    def __post_init__(self) -> None:
        own = {
            h.route: replace(
                self.route, key=h.route, receiver=h.receiver, group_by=None, group_wait=timedelta(0), routes=()
            )
            for h in self.heartbeats
        }
        object.__setattr__(self, "routes", {**{r.key: r for r in self.route.walk()}, **own})

    def takes(self, source: str, labels: Mapping[str, str]) -> list[Route]:
        """The routes that take an alert: of the tree, or for one of our own its heartbeat's."""
        if source == HEARTBEAT:
            return [self.routes[f"{HEARTBEAT}:{labels[HEARTBEAT]}"]]
        return match(self.route, labels)

    def route_of(self, incident: Incident) -> Route:
        """The incident's route; the root's where the policy has changed and it is gone."""
        return self.routes.get(incident.route, self.route)

    def escalation_of(self, incident: Incident) -> Escalation | None:
        """What its route says about an incident that nobody acknowledges."""
        return self.escalations.get(self.route_of(incident).escalation or "")

    def rank(self, severity: str) -> int:
        """Place of a severity in the order of urgency; 0 is the most urgent, unknown ones come last."""
        for i, s in enumerate(self.severities):
            if s.name == severity:
                return i
        return len(self.severities)
