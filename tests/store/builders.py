"""Values to store: each with what matters to a test said, and the rest made up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from alertbot.domain.deploys import Deploy, DeployStatus
from alertbot.domain.events import RawEvent
from alertbot.domain.model import (
    Alert,
    AlertStatus,
    Cause,
    Delivery,
    DeliveryStatus,
    Entry,
    Hold,
    Incident,
    IncidentStatus,
    Level,
    Want,
)
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import Window, WindowKind
from alertbot.store.base import Outcome, Parked

T0 = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def at(seconds: float) -> datetime:
    """A time so many seconds after `T0`."""
    return T0 + timedelta(seconds=seconds)


def window(name: str = "w1", **changes: Any) -> Window:
    values: dict[str, Any] = {
        "id": name,
        "kind": WindowKind.DEPLOY,
        "labels": {"alertname": "Deployment", "service": "api"},
        "starts_at": T0,
        "ends_at": at(60),
        "announced": True,
        "deploy": "d1",
    }
    return Window(**(values | changes))


def deploy(name: str = "d1", **changes: Any) -> Deploy:
    values: dict[str, Any] = {
        "id": name,
        "source": "api",
        "service": "api",
        "environment": "prod",
        "version": "a1",
        "status": DeployStatus.STARTED,
        "started_at": T0,
        "first_started_at": T0,
        "heard_at": T0,
    }
    return Deploy(**(values | changes))


def raw(body: bytes = b"{}", when: datetime = T0, source: str = "alertmanager", trace_id: str = "") -> RawEvent:
    return RawEvent(when, source, body, trace_id)


def alert(identity: str = "a", incident: str = "i1", **changes: Any) -> Alert:
    values: dict[str, Any] = {
        "incident": incident,
        "identity": identity,
        "fingerprint": identity,
        "labels": {"alertname": "HighErrorRate", "service": "api", "instance": identity},
        "annotations": {"summary": "too many errors"},
        "severity": "high",
        "status": AlertStatus.FIRING,
        "starts_at": T0,
        "changed_at": T0,
        "seen_at": T0,
        "fired_at": T0,
    }
    return Alert(**(values | changes))


def held(relation: str, **changes: Any) -> Hold:
    values: dict[str, Any] = {"reason": Reason.INHIBITED, "by": "deploy", "since": T0, "relation": relation}
    return Hold(**(values | changes))


def incident(name: str = "i1", key: str = "", status: IncidentStatus = IncidentStatus.OPEN, **changes: Any) -> Incident:
    values: dict[str, Any] = {
        "id": name,
        "key": key or f"key of {name}",
        "route": "root",
        "receiver": "ops",
        "labels": {"alertname": "HighErrorRate"},
        "title": "HighErrorRate",
        "severity": "high",
        "status": status,
        "created_at": T0,
    }
    return Incident(**(values | changes))


def want(incident: str = "i1", revision: int = 1, lane: str = "slack:#ops", **changes: Any) -> Want:
    values: dict[str, Any] = {
        "incident": incident,
        "receiver": "ops",
        "integration": "slack",
        "to": "#ops",
        "lane": lane,
        "level": Level(IncidentStatus.OPEN, 1, revision, revision),
        "reason": Reason.FIRST_NOTIFICATION,
        "at": T0,
        "rank": 1,
        "cause": Cause(T0, "ab" * 16),
    }
    return Want(**(values | changes))


def entry(incident: str = "i1", identity: str = "", when: datetime = T0, by: str = "", **changes: Any) -> Entry:
    reason = changes.pop("reason", Reason.NEW_EPISODE)
    return Entry(when, "alert", reason, incident, identity, by, **changes)


def parked(name: str = "p1", kind: str = "alert", ref: str = "1", when: datetime = T0, body: bytes = b"") -> Parked:
    return Parked(name, when, kind, ref, "alerts[3]", "labels is not an object", body)


def sent(delivery: Delivery, when: datetime, **changes: Any) -> Outcome:
    """The outcome of an attempt that succeeded, unless changed."""
    remote: Mapping[str, str] = {"channel": "C1", "ts": "1.5"}
    values: dict[str, Any] = {
        "id": delivery.id,
        "lease": delivery.lease,
        "at": when,
        "status": DeliveryStatus.SENT,
        "shown": delivery.want.level,
        "attempts": 0,
        "next_at": None,
        "uncertain": False,
        "remote": remote,
        "remote_id": "C1/1.5",
        "last_error": "",
        "sent_at": when,
    }
    return Outcome(**(values | changes))


def failed(delivery: Delivery, when: datetime, next_at: datetime | None, **changes: Any) -> Outcome:
    """The outcome of an attempt that failed and is made again."""
    values: dict[str, Any] = {
        "status": DeliveryStatus.RETRYING,
        "shown": delivery.shown,
        "attempts": delivery.attempts + 1,
        "next_at": next_at,
        "remote": delivery.remote,
        "remote_id": delivery.remote_id,
        "last_error": "HTTP 503",
        "sent_at": None,
        "failing_since": delivery.failing_since or when,
    }
    return sent(delivery, when, **(values | changes))
