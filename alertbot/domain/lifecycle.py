"""The life of an incident: the one table of its steps. An illegal step raises and changes nothing."""

from __future__ import annotations

from typing import Final

from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.values import copied

_S = IncidentStatus

#: From each status, where it can go and what takes it there.
STEPS: Final[dict[IncidentStatus, dict[IncidentStatus, str]]] = {
    _S.PENDING: {
        _S.OPEN: "group_wait is over and an alert fires that nothing holds",
        _S.HELD: "all that fires is held or muted",
        _S.RESOLVED: "nothing fires any more, and nobody was told",
    },
    _S.HELD: {
        _S.OPEN: "a hold ended and the alert still fires, or one joined that nothing holds",
        _S.RESOLVED: "all that was held cleared by itself",
    },
    _S.OPEN: {
        _S.ACKNOWLEDGED: "somebody takes it",
        _S.RESOLVED: "nothing fires any more, or somebody resolved it",
        _S.HELD: "what people knew of resolved; what is left is held",
    },
    _S.ACKNOWLEDGED: {
        _S.OPEN: "a new alert or a higher severity ends the acknowledgement",
        _S.RESOLVED: "nothing fires any more, or somebody resolved it",
        _S.HELD: "what people knew of resolved; what is left is held",
    },
    _S.RESOLVED: {
        _S.PENDING: "an alert fires again within reopen_within",
        _S.OPEN: "it was resolved by a person and still fires",
    },
}


class IllegalStep(ValueError):
    """An incident was to go where it cannot. A defect of ours, never of the input."""


def step(incident: Incident, to: IncidentStatus) -> Incident:
    """The incident in its next status; staying where it is is no step. Raises `IllegalStep`."""
    if incident.status is to:
        return incident
    if to not in STEPS[incident.status]:
        raise IllegalStep(f"{incident.id}: {incident.status} → {to}")
    return copied(incident, status=to)
