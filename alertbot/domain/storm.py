"""A storm: so many incidents at one destination that one card or page stands in for them.

What it says of them is worked out here: how many, of what, since when, what they have in common, which are the worst.
When a storm begins and ends is in `alertbot.storms`, for it depends on what a destination takes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from alertbot.domain.model import SEVERITY_LABEL, Alert, Incident, IncidentStatus

#: How many of each are named.
WORST: Final = 10
NAMED: Final = 6
#: A label that so large a part of the alerts share is what they have in common.
SHARED: Final = 0.9
#: Labels that are counted by themselves, or say nothing of where it is.
_COUNTED: Final = frozenset({"alertname", "severity", SEVERITY_LABEL})


@dataclass(frozen=True, slots=True)
class Group:
    """Incidents that have a name in common: how many of them are open, and how many there were."""

    name: str
    open: int
    total: int


@dataclass(frozen=True, slots=True)
class Storm:
    """What a storm's card says. `total` counts all its incidents, `open` those still open, `alerts` what fires in them.

    `members` are the open ones by id and title, the most urgent first. `over`: nothing of it is left to tell here.
    """

    since: datetime
    total: int
    open: int
    alerts: int
    severity: str
    severities: Sequence[Group] = ()
    services: Sequence[Group] = ()
    names: Sequence[Group] = ()
    common: Sequence[tuple[str, str]] = ()
    worst: Sequence[Incident] = ()
    members: Sequence[tuple[str, str]] = ()
    over: bool = False

    @property
    def title(self) -> str:
        """One line."""
        named = ", ".join(f"{g.name} ×{g.total}" for g in (self.names or self.severities)[:3])
        rest = len(self.names) - 3
        more = f" and {rest} more" if rest > 0 else ""
        return f"Storm: {self.total} incidents{': ' + named if named else ''}{more}"


def service_of(labels: Mapping[str, str], names: Sequence[str]) -> str:
    """The deployed thing that labels name, by the first of the names that is there; else empty."""
    return next((labels[n] for n in names if labels.get(n)), "")


def storm_of(
    incidents: Sequence[Incident],
    sample: Iterable[Alert],
    since: datetime,
    severities: Sequence[str],
    services: Sequence[str],
) -> Storm:
    """What to say of these incidents. `sample` are firing alerts of some of them; `services` label names."""
    ranks = {name: rank for rank, name in enumerate(severities)}
    told = sorted(
        (i for i in incidents if _open(i)), key=lambda i: (ranks.get(i.severity, len(ranks)), i.created_at, i.id)
    )
    worst = told[0].severity if told else _worst(incidents, ranks)
    alerts = list(sample)
    by_alert: dict[str, Mapping[str, str]] = {a.incident: a.labels for a in alerts}

    def name(incident: Incident) -> str:
        return incident.labels.get("alertname") or by_alert.get(incident.id, {}).get("alertname", "")

    def service(incident: Incident) -> str:
        return service_of(incident.labels, services) or service_of(by_alert.get(incident.id, {}), services)

    return Storm(
        since=since,
        total=len(incidents),
        open=len(told),
        alerts=sum(i.firing for i in told),
        severity=worst,
        severities=sorted(_groups(incidents, lambda i: i.severity), key=lambda g: ranks.get(g.name, len(ranks))),
        services=_groups(incidents, service),
        names=_groups(incidents, name),
        common=_common(alerts),
        worst=told[:WORST],
        members=[(i.id, i.title) for i in told],
    )


def _open(incident: Incident) -> bool:
    return incident.status is not IncidentStatus.RESOLVED


def _worst(incidents: Sequence[Incident], ranks: Mapping[str, int]) -> str:
    return min((i.severity for i in incidents), key=lambda s: ranks.get(s, len(ranks)), default="")


def _groups(incidents: Sequence[Incident], name: Callable[[Incident], str]) -> list[Group]:
    total: Counter[str] = Counter()
    open_: Counter[str] = Counter()
    for incident in incidents:
        key = name(incident)
        if key:
            total[key] += 1
            open_[key] += _open(incident)
    return [Group(key, open_[key], n) for key, n in sorted(total.items(), key=lambda item: (-item[1], item[0]))]


def _common(alerts: Sequence[Alert]) -> list[tuple[str, str]]:
    """Label values that nearly all of the alerts share, the rarest names last."""
    if len(alerts) < 2:
        return []
    pairs = Counter((k, v) for a in alerts for k, v in a.labels.items() if k not in _COUNTED)
    enough = SHARED * len(alerts)
    return sorted((pair for pair, n in pairs.items() if n >= enough), key=lambda pair: (-pairs[pair], pair))[:NAMED]
