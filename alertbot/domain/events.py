"""What can happen, as values. Sources make them from bytes; `domain.decide` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alertbot.domain.deploys import DeployReport
from alertbot.domain.model import Silence

#: The `source` of alerts that our own look at Alertmanager found, or found gone.
RECONCILE: Final = "reconcile"


@dataclass(frozen=True, slots=True)
class ReportedAlert:
    """One alert of one report. `starts_at`/`ends_at` are None where the sender gave none (or year 1)."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    firing: bool
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    generator_url: str = ""


@dataclass(frozen=True, slots=True)
class AlertsReported:
    """One body of an alerting webhook. `truncated` counts the alerts that the sender cut off. `named`: the sender knows
    its alerts by ids of its own and not, as Alertmanager does, by their labels, which may change while they fire.
    """

    source: str
    alerts: tuple[ReportedAlert, ...]
    group_key: str = ""
    external_url: str = ""
    truncated: int = 0
    named: bool = False


@dataclass(frozen=True, slots=True)
class Woken:
    """The time that an incident asked to be woken at has come."""

    incident: str


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """Somebody takes it. By incident id, or every open incident with an alert that has these labels."""

    by: str
    incident: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    via: str = "api"


@dataclass(frozen=True, slots=True)
class ResolvedByPerson:
    """Somebody says that it is over."""

    incident: str
    by: str
    via: str = "api"


@dataclass(frozen=True, slots=True)
class NoteAdded:
    """Somebody wrote something down."""

    incident: str
    by: str
    text: str
    via: str = "api"


@dataclass(frozen=True, slots=True)
class Escalated:
    """Somebody wants the next step of the escalation policy at once."""

    incident: str
    by: str
    via: str = "api"


@dataclass(frozen=True, slots=True)
class Assigned:
    """Somebody gives it to somebody: `to` has it from now on."""

    incident: str
    to: str
    by: str
    via: str = "api"


@dataclass(frozen=True, slots=True)
class Silenced:
    """Somebody wants to hear no more of an incident's alerts that fire: for a time, or (None) until they resolve."""

    incident: str
    by: str
    duration: timedelta | None = None
    comment: str = ""
    via: str = "api"


@dataclass(frozen=True, slots=True)
class Unsilenced:
    """Somebody ends the silence that was made through alertbot."""

    incident: str
    by: str
    via: str = "api"


@dataclass(frozen=True, slots=True)
class ActRefused:
    """Somebody wanted to do something that is not theirs to do. `act` is the name of it."""

    incident: str
    by: str
    act: str
    via: str = "api"


@dataclass(frozen=True, slots=True)
class SilenceKept:
    """How the silence of an incident stands in Alertmanager: of how many alerts, and why not of all."""

    incident: str
    alerts: int
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SeenThere:
    """What Alertmanager's API says of alerts that fire here: who silences them (None: nobody), and that it has them."""

    silences: Mapping[str, Silence | None] = field(default_factory=dict)
    """By identity; only where that changed."""
    vouched: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    """Alerts whose silence, made through alertbot, somebody ended there."""


@dataclass(frozen=True, slots=True)
class HeartbeatsExpected:
    """alertbot knows its heartbeats: at a start (`started`), or with a new config.

    `watches` are the ids of the records that wait for one already.
    """

    watches: tuple[str, ...] = ()
    started: bool = False


class RemoteChange(StrEnum):
    """What happened to an incident in PagerDuty."""

    ACKNOWLEDGED = "acknowledged"
    UNACKNOWLEDGED = "unacknowledged"
    RESOLVED = "resolved"
    REOPENED = "reopened"
    ANNOTATED = "annotated"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class RemoteChanged:
    """Something happened to an incident in PagerDuty, at a time of PagerDuty's clock.

    `event` names the message, `remote` PagerDuty's incident; `incident` and `opening` are ours (empty: not known).
    `text` is a note, or says what happened else. `calls`: by this message, people are being called there.
    """

    change: RemoteChange
    event: str
    at: datetime
    remote: str
    incident: str
    opening: int
    by: str
    by_person: bool
    text: str = ""
    calls: bool = False


@dataclass(frozen=True, slots=True)
class KeptFailing:
    """Every integration of a receiver keeps failing for this incident: its fallback is to stand in."""

    incident: str
    receiver: str


@dataclass(frozen=True, slots=True)
class ReceiverTested:
    """`alertbot test RECEIVER`: one marked incident through a receiver, to be taken back at once after.

    `nonce` keeps two tests of the same instant apart.
    """

    receiver: str
    by: str
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class DeployReported:
    """A sender said something of a deploy."""

    report: DeployReport


class MaintenanceAction(StrEnum):
    """What is done to a maintenance window."""

    START = "start"
    EXTEND = "extend"
    END = "end"


@dataclass(frozen=True, slots=True)
class MaintenanceReported:
    """Somebody opens, extends (`duration` more than it has) or ends a maintenance window.

    `labels` are what inhibit rules match it by. `duration` is None only for an end.
    """

    action: MaintenanceAction
    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    duration: timedelta | None = None
    by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WindowDue:
    """The time that a deploy's or maintenance's window asked to be looked at has come."""

    window: str


@dataclass(frozen=True, slots=True)
class ReleaseChecked:
    """Alertmanager was asked, before what a window held is released. `gone` are the fingerprints that do not fire."""

    window: str
    gone: tuple[str, ...] = ()


Event = (
    AlertsReported
    | Woken
    | Acknowledged
    | ResolvedByPerson
    | NoteAdded
    | Escalated
    | RemoteChanged
    | HeartbeatsExpected
    | KeptFailing
    | ReceiverTested
    | DeployReported
    | MaintenanceReported
    | WindowDue
    | ReleaseChecked
    | Assigned
    | ActRefused
    | Silenced
    | Unsilenced
    | SilenceKept
    | SeenThere
)


@dataclass(frozen=True, slots=True)
class SetAside:
    """A part of a body that could not be read: where it stands, and what was wrong with it."""

    where: str
    error: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a source made of one body. `accepted` counts the alerts or things understood."""

    events: tuple[Event, ...]
    accepted: int = 0
    set_aside: tuple[SetAside, ...] = ()


class Unreadable(ValueError):
    """The whole body makes no sense; no retry can mend it. `where` points into it."""

    def __init__(self, error: str, where: str = "") -> None:
        super().__init__(error)
        self.where = where


@dataclass(frozen=True, slots=True)
class RawEvent:
    """What came in, as it came in. Kept for `retention`; it feeds `replay --from-store`."""

    at: datetime
    source: str
    body: bytes
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A raw event with its place in the record."""

    seq: int
    event: RawEvent
