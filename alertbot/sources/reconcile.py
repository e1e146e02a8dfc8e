"""What our own look at Alertmanager found (`alertbot.reconcile`), as events: recorded and replayed like all others.

Both sides of the form are here, so that what is written can be read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from alertbot.domain.events import (
    RECONCILE,
    AlertsReported,
    Event,
    Parsed,
    ReportedAlert,
    SeenThere,
    SilenceKept,
    Unreadable,
)
from alertbot.domain.model import Silence

_Body = TypeVar("_Body", bound=msgspec.Struct)


class Found(msgspec.Struct):
    """An alert that fires there and is not open here (`ends_at` is None), or is open here and gone there."""

    fingerprint: str
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime | None = None
    annotations: dict[str, str] = {}
    generator_url: str = ""


class ReconcileBody(msgspec.Struct, kw_only=True):
    """What a look found. `silences` by identity: null where an alert is silenced no more."""

    found: Sequence[Found] = ()
    gone: Sequence[Found] = ()
    silences: Mapping[str, Silence | None] = {}
    vouched: Sequence[str] = ()
    ended: Sequence[str] = ()
    """Alerts whose silence, made through alertbot, somebody ended there."""
    external_url: str = ""


class SilenceKeptBody(msgspec.Struct):
    """How an incident's silence stands in Alertmanager."""

    incident: str
    alerts: int
    problem: str = ""


def parse(body: bytes, at: datetime) -> Parsed:
    """A `ReconcileBody` as JSON; raises `Unreadable`."""
    b = _read(ReconcileBody, body)
    events: list[Event] = [
        AlertsReported(RECONCILE, tuple(map(_report, alerts)), external_url=b.external_url)
        for alerts in (b.gone, b.found)
        if alerts
    ]
    if b.silences or b.vouched or b.ended:
        events.append(SeenThere(b.silences, tuple(b.vouched), tuple(b.ended)))
    return Parsed(tuple(events), accepted=len(b.found) + len(b.gone))


def silence_kept(body: bytes, at: datetime) -> Parsed:
    """A `SilenceKeptBody` as JSON; raises `Unreadable`."""
    b = _read(SilenceKeptBody, body)
    return Parsed((SilenceKept(b.incident, b.alerts, b.problem),), accepted=1)


def _report(found: Found) -> ReportedAlert:
    return ReportedAlert(
        fingerprint=found.fingerprint,
        labels=found.labels,
        annotations=found.annotations,
        firing=found.ends_at is None,
        starts_at=found.starts_at,
        ends_at=found.ends_at,
        generator_url=found.generator_url,
    )


def _read(model: type[_Body], body: bytes) -> _Body:
    try:
        return msgspec.json.decode(body, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise Unreadable(str(e)) from None
