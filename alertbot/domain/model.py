"""The nouns: alert, incident, hold, delivery. Frozen values; a change is a new value.

All times are timezone-aware UTC datetimes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final

from alertbot.domain.reasons import Reason

#: Label added to every alert: the configured severity that its own word maps to.
SEVERITY_LABEL: Final = "alertbot_severity"


class AlertStatus(StrEnum):
    """What the sender last said of an alert."""

    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"
    """Cut off a truncated body that was otherwise resolved: still open here, no longer vouched for."""


class IncidentStatus(StrEnum):
    """See `alertbot.domain.lifecycle` for the steps between them."""

    PENDING = "pending"
    HELD = "held"
    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"


class Action(StrEnum):
    """What one notification does at its destination."""

    OPEN = "open"
    UPDATE = "update"
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    REMIND = "remind"
    ESCALATE = "escalate"
    VERDICT = "verdict"
    NOTICE = "notice"


class DeliveryStatus(StrEnum):
    """How far a delivery is, as the API shows it."""

    PENDING = "pending"
    SENT = "sent"
    RETRYING = "retrying"
    PARKED = "parked"
    DRY_RUN = "dry_run"
    FOLDED = "folded"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why an alert is kept back, and until when.

    `by` is the rule's or the time interval's name. `sources` are the identities of the alerts that
    hold it (none for a mute), `windows` the deploys and maintenance windows that do. `since` is the start of the
    first of them: a rule's `duration` counts from there. `until` is None where the hold ends with alerts.
    """

    reason: Reason
    by: str
    since: datetime
    until: datetime | None = None
    sources: tuple[str, ...] = ()
    relation: str | None = None
    windows: tuple[str, ...] = ()

    @property
    def muted(self) -> bool:
        """It is a time interval's, not a rule's."""
        return self.reason is Reason.MUTED


@dataclass(frozen=True, slots=True)
class Silence:
    """Nobody is to be disturbed by an alert that fires: who says so, from when to when (None: until it resolves), why.

    `id` is Alertmanager's; empty where the silence was made through alertbot. `inhibited`: no person's silence, but
    Alertmanager inhibits the alert. Of one made through alertbot, `ask_at` is when to ask whether it should go on,
    `kept` how many of its alerts Alertmanager keeps silent too, `problem` why not all.
    """

    by: str
    since: datetime
    until: datetime | None = None
    comment: str = ""
    id: str = ""
    inhibited: bool = False
    ask_at: datetime | None = None
    kept: int = 0
    problem: str = ""

    @property
    def made_here(self) -> bool:
        """Through alertbot."""
        return not self.id and not self.inhibited


@dataclass(frozen=True, slots=True)
class Alert:
    """One label set in one incident, over one or more episodes.

    `identity` is the fingerprint as it was sent; where two label sets came with one fingerprint it is
    computed from the labels. `incident` is empty for an alert that is known only as resolved.

    `fired_at` is the greatest `startsAt` heard in a firing report, `cleared_end`/`cleared_start` the
    greatest (`endsAt`, `startsAt`) heard in a resolved one: whether the alert is open follows from these three
    and from nothing else, so that order and repetition of reports do not matter.
    """

    incident: str
    identity: str
    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    severity: str
    status: AlertStatus
    starts_at: datetime
    changed_at: datetime
    seen_at: datetime
    ends_at: datetime | None = None
    generator_url: str = ""
    source: str = "alertmanager"
    group_key: str = ""
    external_url: str = ""
    fired_at: datetime | None = None
    cleared_end: datetime | None = None
    cleared_start: datetime | None = None
    hold: Hold | None = None
    announced: bool = False
    """People were told that this episode fires."""
    settled: bool = False
    """Nothing about this alert is left to tell. Only unsettled alerts are loaded for a decision."""
    cleared: bool = False
    """It resolved while it was held, and was never sent."""
    current: bool = True
    """False once a later episode of the same alert lives in another incident."""
    source_of: tuple[str, ...] = ()
    """The inhibition relations in which it is a source while it fires (see domain.inhibit)."""
    two_sided: tuple[str, ...] = ()
    """Those of them whose target side it matches too."""
    held_in: tuple[str, ...] = ()
    """The windows that held this episode: their verdict will speak of it."""
    silence: Silence | None = None
    vouched: bool = False
    """The API of our own Alertmanager has shown this episode: so its absence there means something."""

    @property
    def firing(self) -> bool:
        """Open as far as anybody knows."""
        return self.status is not AlertStatus.RESOLVED


@dataclass(frozen=True, slots=True)
class Cause:
    """What came in that led to a notification: when, and under which trace id (32 hex digits, or empty)."""

    at: datetime
    trace_id: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """What a destination itself said of an incident's state, for the `count`-th time: what it shows, whatever we told
    it before. `opening` is the one that it spoke of.
    """

    count: int
    status: IncidentStatus
    opening: int


@dataclass(frozen=True, slots=True)
class Incident:
    """The alerts that one route groups by its `group_by` labels.

    `key` is the route's key with the group labels; the newest incident of a key is the one that a refire
    may reopen. `openings` counts how often people were told that it opens. `revision` grows with each change that a
    destination should show; `news` is the last revision of which people are told again.
    """

    id: str
    key: str
    route: str
    receiver: str
    labels: Mapping[str, str]
    title: str
    severity: str
    status: IncidentStatus
    created_at: datetime
    opened_at: datetime | None = None
    acknowledged_at: datetime | None = None
    acknowledged_by: str | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    openings: int = 0
    revision: int = 0
    news: int = 0
    reminders: int = 0
    flapping: bool = False
    changes: tuple[datetime, ...] = ()
    """The latest opens and closes, for flap detection."""
    quiet_at: datetime | None = None
    flush_at: datetime | None = None
    """When to look at it next because its alerts changed (`group_wait`, `group_interval`, a hold's end)."""
    flushed_at: datetime | None = None
    repeat_at: datetime | None = None
    also: tuple[str, ...] = ()
    """Receivers that were brought in besides the route's own (a fallback, an escalation)."""
    unacknowledged_since: datetime | None = None
    """Since when it waits for an acknowledgement: what `domain.deadlines` counts from."""
    ack_due_at: datetime | None = None
    overdue: bool = False
    """Nobody acknowledged this opening within `ack_within`."""
    escalate_at: datetime | None = None
    escalates_to: str = ""
    """The receiver that is brought in then."""
    steps_taken: int = 0
    """Of its escalation policy, in this opening."""
    escalated: Mapping[str, int] = field(default_factory=dict)
    """How often escalations brought in each receiver, in all openings."""
    resting: tuple[str, ...] = ()
    """Those of them that no step of this opening has brought in: what is there is only edited."""
    urged: tuple[str, ...] = ()
    """Those that a person asked for although it is acknowledged."""
    remind_at: datetime | None = None
    """When the one who acknowledged is reminded."""
    firing: int = 0
    held: int = 0
    unknown: int = 0
    resolved: int = 0
    cause: Cause | None = None
    """What came in and is not told yet."""
    watch: bool = False
    """It only waits for a heartbeat until `flush_at`, and is no incident to anybody."""
    remote_at: datetime | None = None
    """When what PagerDuty last told of its state happened there, by PagerDuty's clock."""
    remote_events: tuple[str, ...] = ()
    """The latest of its messages: each may come more than once."""
    remote: Said | None = None
    """What people last did to it there."""
    joined_at: datetime | None = None
    """When people were last told of alerts that they did not know of while it was open."""
    test: bool = False
    silence: Silence | None = None
    """The one that was made through alertbot, while it is to be kept."""
    silence_at: datetime | None = None
    """When to look at the silences of its alerts."""
    quieted: bool = False
    """It is acknowledged because all that people know of is silenced, and by nobody else."""

    @property
    def wake_at(self) -> datetime | None:
        """The next time at which this incident must be decided again, if any."""
        timers = (
            self.flush_at, self.repeat_at, self.quiet_at, self.silence_at, self.escalate_at, self.ack_due_at,
            self.remind_at,
        )  # fmt: skip
        times = [t for t in timers if t is not None]
        return min(times) if times else None

    @property
    def told(self) -> bool:
        """People hold it for open: they were told that it opens and not that it closed."""
        return self.status in (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)


@dataclass(frozen=True, slots=True)
class Level:
    """What a destination shows, or should show, of an incident.

    `status` is None where it has heard nothing yet. `news` is the last revision that is worth telling again.
    `quiet`: the incident flaps, and what is there is only edited. `found` grows with what is learnt about the incident
    after a card was made: nothing of the incident changed, and the card says more. `escalated` counts how often an
    escalation brought the receiver in; `urged`: a person did, and an acknowledgement does not stop it.
    """

    status: IncidentStatus | None = None
    opening: int = 0
    revision: int = 0
    news: int = 0
    quiet: bool = False
    found: int = 0
    escalated: int = 0
    urged: bool = False
    said: Said | None = None
    """What PagerDuty last said of itself: it is believed over what it was told before that."""


@dataclass(frozen=True, slots=True)
class Want:
    """The level that one destination is to be brought to: what a decision asks of the outbox.

    `kind` is "incident" for the incident's own card or page, "storm:…" for the one that stands in for many (`incident`
    is then the storm's id), else the key of a one-off post ("remind"; "verdict" and "notice", where `incident` is
    a window's id).
    A later want for the same destination and kind replaces an earlier one that is not done yet.
    `rank` orders deliveries: 0 is the most urgent severity.
    """

    incident: str
    receiver: str
    integration: str
    to: str
    lane: str
    level: Level
    reason: Reason
    at: datetime
    rank: int
    kind: str = "incident"
    cause: Cause | None = None

    @property
    def id(self) -> str:
        """The delivery's name: stable, so that a repeated want finds its row again."""
        return delivery_id(self.incident, self.receiver, self.integration, self.to, self.kind)


def delivery_id(incident: str, receiver: str, integration: str, to: str, kind: str) -> str:
    """One name for what one incident (and post) looks like at one destination."""
    return "/".join((incident, kind, integration, receiver, to))


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one incident should look like at one destination, and how far that destination is behind.

    `uncertain`: an earlier attempt may have reached the provider without our knowing.
    `remote` is the provider's own reference (Slack: channel and ts).
    `fallback_from` names the receiver whose integrations kept failing, where this one stands in for it.
    """

    id: str
    want: Want
    shown: Level = Level()
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    """Attempts since the last success."""
    next_at: datetime | None = None
    uncertain: bool = False
    lease: str = ""
    remote: Mapping[str, str] = field(default_factory=dict)
    last_error: str = ""
    remote_id: str = ""
    sent_at: datetime | None = None
    created_at: datetime | None = None
    failing_since: datetime | None = None
    storm: str = ""
    """The delivery (of kind "storm:…") that stands in for this one, while it has no card or page of its own."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the record: what was decided about an incident or alert, when, and why.

    `kind` is one of alert, hold, incident, notification, person, delivery, config, deploy, maintenance. `by` names the
    rule, interval or person. `until` is the end of a hold. An entry whose `sent` is False tells of something that was
    not sent.
    """

    at: datetime
    kind: str
    reason: Reason
    incident: str = ""
    identity: str = ""
    by: str = ""
    until: datetime | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] | None = None
