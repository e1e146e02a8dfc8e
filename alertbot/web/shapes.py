"""The API's JSON, as models: what is answered is built from them, and so is the OpenAPI description.

Times are RFC 3339 in UTC, keys are snake_case. None of these shapes has a place for a secret.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from alertbot.domain import model
from alertbot.domain.deploys import Deploy as DomainDeploy
from alertbot.domain.deploys import Suspect as DomainSuspect
from alertbot.domain.explain import sentence
from alertbot.domain.matchers import matches_all
from alertbot.domain.policy import Policy
from alertbot.domain.windows import Window
from alertbot.store.base import Parked as ParkedItem


class Shape(BaseModel):
    """An object of the API. Every key is always there."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class Error(BaseModel):
    """What is wrong, and where in what was sent. Some errors say more under further keys."""

    model_config = ConfigDict(extra="allow", json_schema_serialization_defaults_required=True)

    error: str
    where: str = ""


class Accepted(Shape):
    """How many alerts of a webhook's body were understood (repeats too), and how many were parked."""

    accepted: int
    set_aside: int


class Alert(Shape):
    """An alert in an incident. `held_by` names the inhibit rule or time interval that keeps it back."""

    fingerprint: str
    status: Literal["firing", "resolved", "held", "cleared", "unknown"]
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None
    held_by: str | None
    held_until: datetime | None


class Delivery(Shape):
    """What one destination was told of an incident. `to` is never a secret."""

    receiver: str
    integration: str
    to: str
    status: Literal["pending", "sent", "retrying", "parked", "dry_run", "folded"]
    attempts: int
    last_error: str | None
    remote_id: str | None
    sent_at: datetime | None


class Counts(Shape):
    """How many alerts an incident has, where `alerts` lists only some."""

    firing: int
    held: int
    resolved: int


class Deploy(Shape):
    """What is known of a deploy. `holds_until`: alerts may be held because of it until then; null once that is over."""

    id: str
    service: str
    environment: str
    version: str
    status: Literal["started", "succeeded", "failed"]
    kind: Literal["deploy", "redeploy", "rollback"]
    source: str
    author: str
    commit: str
    title: str
    url: str
    diff_url: str
    rollback: str
    labels: dict[str, str]
    started_at: datetime
    ended_at: datetime | None
    holds_until: datetime | None


class Suspect(Deploy):
    """A deploy that an incident may come from. `after` is in seconds, from its start to the alert's; `agreeing` are the
    labels that both have.
    """

    after: float
    agreeing: list[str]


class Deploys(Shape):
    """Deploys, those heard of last first."""

    deploys: list[Deploy]


class Maintenance(Shape):
    """A maintenance window. `warning` says what is odd about it."""

    id: str
    status: Literal["active", "ended"]
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    by: str
    reason: str
    warning: str | None


class MaintenanceList(Shape):
    """Maintenance windows, the latest start first."""

    maintenance: list[Maintenance]


class Silence(Shape):
    """Why nobody is disturbed by some alerts that fire, named by fingerprint. `until` is null: until they resolve.

    `via`: made through alertbot, or in Alertmanager; or there is none, and Alertmanager inhibits them. `problem`: it is
    muted here only, or not wholly kept in Alertmanager, and why.
    """

    by: str
    since: datetime
    until: datetime | None
    comment: str
    via: Literal["alertbot", "alertmanager", "inhibited"]
    alerts: list[str]
    problem: str | None


class Incident(Shape):
    """What is paged, acknowledged, resolved.

    In a list, `alerts` has the first hundred; `counts` is true always.
    """

    id: str
    status: Literal["pending", "held", "open", "acknowledged", "resolved"]
    severity: str
    receivers: list[str]
    labels: dict[str, str]
    title: str
    url: str
    opened_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    resolved_at: datetime | None
    flapping: bool
    silences: list[Silence]
    counts: Counts
    alerts: list[Alert]
    deliveries: list[Delivery]
    runbook: str | None
    deploys: list[Suspect]
    suspect: Suspect | None


class Incidents(Shape):
    """A part of a list, and the cursor of the next part: None at the end."""

    incidents: list[Incident]
    next: str | None


class Entry(Shape):
    """One decision: when, about what, why (the reason's name, and in words), by whom or by which rule."""

    at: datetime
    kind: str
    reason: str
    text: str
    by: str | None
    details: dict[str, str]


class Timeline(Shape):
    """A part of an incident's record, oldest first, and the cursor of the next part: None at the end."""

    entries: list[Entry]
    next: str | None


class Explanation(Shape):
    """One alert and every decision about it. `incident` is null for one that never had one here."""

    incident: str | None
    alert: Alert
    entries: list[Entry]


class Explanations(Shape):
    """The alerts that have the labels asked for, the newest first."""

    alerts: list[Explanation]


class Parked(Shape):
    """Something that could not be read or delivered. `ref` is the event's number or the delivery's name."""

    id: str
    at: datetime
    kind: Literal["alert", "event", "delivery"]
    ref: str
    where: str
    error: str


class ParkedDetail(Parked):
    """A parked thing with what came in, as text; what is not UTF-8 of it is replaced by U+FFFD."""

    raw: str


class ParkedList(Shape):
    """What waits for a person."""

    parked: list[Parked]


class Done(Shape):
    """It was done."""

    done: Literal[True] = True


class Tested(Shape):
    """A test of a receiver: the incident that was made for it."""

    receiver: str
    incident: Incident | None


class Reloaded(Shape):
    """The config was taken; what is odd in it."""

    warnings: list[str]


class Request(BaseModel):
    """A request's body. Unknown keys are refused: a misspelt one would be passed over in silence."""

    model_config = ConfigDict(extra="forbid", strict=True)


class By(Request):
    """Who acts; the API itself where nobody is named."""

    by: str = Field(default="api", min_length=1, max_length=200)


class NewNote(By):
    """Something to write down."""

    text: str = Field(min_length=1, max_length=10_000)


class NewDeploy(Request):
    """What happened to a deploy. `at` is RFC 3339, now without it; an end names the deploy by its `id`, or by service,
    environment and version. `rollback` is a command or link that takes it back.
    """

    status: Literal["started", "succeeded", "failed"]
    service: str = Field(default="", max_length=200)
    environment: str = Field(default="", max_length=200)
    version: str = Field(default="", max_length=200)
    id: str = Field(default="", max_length=100)
    author: str = ""
    url: str = ""
    commit: str = ""
    labels: dict[str, str] = {}
    at: str = ""
    title: str = ""
    diff_url: str = ""
    rollback: str = ""
    repository: str = ""
    kind: Literal["", "deploy", "redeploy", "rollback"] = ""


class NewMaintenance(Request):
    """A window opens with `labels` (or an `alertname`) and a `duration` as `2h`. `extend` and `end` name its `id`."""

    action: Literal["start", "extend", "end"] = "start"
    id: str = Field(default="", max_length=100)
    alertname: str = Field(default="", max_length=200)
    labels: dict[str, str] = {}
    duration: str = ""
    by: str = Field(default="api", min_length=1, max_length=200)
    reason: str = Field(default="", max_length=1000)


class NewSilence(By):
    """For how long (`1h`; empty: until its alerts resolve), and why."""

    duration: str = Field(default="", max_length=50)
    comment: str = Field(default="", max_length=2_000)


class Retry(Request):
    """How to try again: for a parked alert, `alert` replaces what came in."""

    alert: dict[str, Any] | None = None


def alert_shape(alert: model.Alert) -> Alert:
    """An alert as the API shows it. A hold shows only while the alert fires."""
    hold = alert.hold if alert.firing else None
    return Alert(
        fingerprint=alert.fingerprint,
        status="held" if hold else "cleared" if alert.cleared and not alert.firing else alert.status.value,
        labels=dict(alert.labels),
        annotations=dict(alert.annotations),
        starts_at=alert.starts_at,
        ends_at=alert.ends_at,
        held_by=hold.by if hold else None,
        held_until=hold.until if hold else None,
    )


def delivery_shape(delivery: model.Delivery) -> Delivery:
    """A delivery as the API shows it."""
    want = delivery.want
    return Delivery(
        receiver=want.receiver,
        integration=want.integration,
        to=want.to,
        status=delivery.status.value,
        attempts=delivery.attempts,
        last_error=delivery.last_error or None,
        remote_id=delivery.remote_id or None,
        sent_at=delivery.sent_at,
    )


def deploy_shape(deploy: DomainDeploy, holds_until: datetime | None = None) -> Deploy:
    """A deploy as the API shows it."""
    return Deploy.model_validate({**_deploy(deploy), "holds_until": holds_until})


def suspect_shape(suspect: DomainSuspect) -> Suspect:
    """A suspect as the API shows it."""
    after = suspect.after.total_seconds()
    more = {"holds_until": None, "after": after, "agreeing": list(suspect.agreeing)}
    return Suspect.model_validate(_deploy(suspect.deploy) | more)


def _deploy(deploy: DomainDeploy) -> dict[str, Any]:
    same = ("id", "service", "environment", "version", "source", "author", "commit", "title", "url", "rollback")
    return {
        **{name: getattr(deploy, name) for name in same},
        "status": deploy.status.value if deploy.status.ended else "started",
        "kind": deploy.kind.value,
        "diff_url": deploy.compare_url,
        "labels": dict(deploy.labels),
        "started_at": deploy.started_at,
        "ended_at": deploy.ended_at,
    }


def maintenance_shape(window: Window, policy: Policy) -> Maintenance:
    """A maintenance window as the API shows it, with a warning where it can hold nothing."""
    holds = any(matches_all(rule.source_matchers, window.labels) for rule in policy.inhibit_rules)
    return Maintenance(
        id=window.id,
        status="ended" if window.over or window.stopped else "active",
        labels=dict(window.labels),
        starts_at=window.starts_at,
        ends_at=window.over_at or window.ends_at,
        by=window.by,
        reason=window.reason,
        warning=None if holds else "no inhibit rule has a source with these labels: it holds nothing",
    )


def silence_shapes(incident: model.Incident, alerts: Iterable[model.Alert]) -> list[Silence]:
    """The silences that alerts which fire are under, each once."""
    found: dict[model.Silence, list[str]] = {}
    for alert in alerts:
        if alert.firing and alert.silence is not None:
            found.setdefault(alert.silence, []).append(alert.fingerprint)
    return [
        Silence(
            by=silence.by,
            since=silence.since,
            until=silence.until,
            comment=silence.comment,
            via="inhibited" if silence.inhibited else "alertmanager" if silence.id else "alertbot",
            alerts=fingerprints,
            problem=(silence.made_here and incident.silence is not None and incident.silence.problem) or None,
        )
        for silence, fingerprints in found.items()
    ]


def incident_shape(
    incident: model.Incident,
    alerts: Sequence[model.Alert],
    deliveries: Sequence[model.Delivery],
    external_url: str,
    runbook: str | None,
    suspects: Sequence[DomainSuspect] = (),
) -> Incident:
    """An incident as the API shows it."""
    return Incident(
        id=incident.id,
        status=incident.status.value,
        severity=incident.severity,
        receivers=list(dict.fromkeys([incident.receiver, *(d.want.receiver for d in deliveries)])),
        labels=dict(incident.labels),
        title=incident.title,
        url=f"{external_url}incidents/{incident.id}",
        opened_at=incident.opened_at,
        acknowledged_at=incident.acknowledged_at,
        acknowledged_by=incident.acknowledged_by,
        resolved_at=incident.resolved_at,
        flapping=incident.flapping,
        silences=silence_shapes(incident, alerts),
        counts=Counts(firing=incident.firing, held=incident.held, resolved=incident.resolved),
        alerts=[alert_shape(a) for a in alerts],
        deliveries=[delivery_shape(d) for d in deliveries],
        runbook=runbook,
        deploys=[suspect_shape(s) for s in suspects],
        suspect=suspect_shape(suspects[0]) if suspects else None,
    )


def entry_shape(entry: model.Entry) -> Entry:
    """A line of the record as the API shows it.

    The alert it is about and a hold's end are among the details.
    """
    details = dict(entry.details)
    if entry.identity:
        details["fingerprint"] = entry.identity
    if entry.until is not None:
        details["until"] = entry.until.isoformat().replace("+00:00", "Z")
    return Entry(
        at=entry.at,
        kind=entry.kind,
        reason=entry.reason.value,
        text=sentence(entry),
        by=entry.by or None,
        details=details,
    )


def parked_shape(item: ParkedItem) -> Parked:
    """A parked thing, in a list."""
    return Parked.model_validate(_parked(item))


def parked_detail(item: ParkedItem) -> ParkedDetail:
    """A parked thing, whole."""
    return ParkedDetail.model_validate({**_parked(item), "raw": item.raw.decode(errors="replace")})


def _parked(item: ParkedItem) -> dict[str, Any]:
    fields = ("id", "at", "kind", "ref", "where", "error")
    return {name: getattr(item, name) for name in fields}
