"""What people and our own outbox do, as events: it is recorded like everything else that comes in, and
replayed like it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from alertbot.domain.durations import DurationError, parse_duration
from alertbot.domain.events import (
    Acknowledged,
    ActRefused,
    Assigned,
    Escalated,
    Event,
    HeartbeatsExpected,
    KeptFailing,
    NoteAdded,
    Parsed,
    ReceiverTested,
    ReleaseChecked,
    ResolvedByPerson,
    Silenced,
    Unreadable,
    Unsilenced,
)

_Text = Annotated[str, msgspec.Meta(min_length=1)]
_Body = TypeVar("_Body", bound=msgspec.Struct)


class AcknowledgeBody(msgspec.Struct):
    """Somebody takes an incident, or every open incident with an alert that has these labels."""

    by: _Text
    incident: str = ""
    labels: dict[str, str] = {}
    via: str = "api"


class ResolveBody(msgspec.Struct):
    """Somebody says that an incident is over."""

    incident: _Text
    by: _Text
    via: str = "api"


class NoteBody(msgspec.Struct):
    """Somebody wrote something down."""

    incident: _Text
    by: _Text
    text: _Text
    via: str = "api"


class EscalateBody(msgspec.Struct):
    """Somebody wants the next step of an incident's escalation policy at once."""

    incident: _Text
    by: _Text
    via: str = "api"


class AssignBody(msgspec.Struct):
    """Somebody gives an incident to somebody."""

    incident: _Text
    to: _Text
    by: _Text
    via: str = "api"


class SilenceBody(msgspec.Struct):
    """Somebody wants to hear no more of an incident: for a `duration` as Alertmanager writes it, or until resolved."""

    incident: _Text
    by: _Text
    duration: str | None = None
    comment: str = ""
    via: str = "api"


class UnsilenceBody(msgspec.Struct):
    """Somebody ends the silence that was made through alertbot."""

    incident: _Text
    by: _Text
    via: str = "api"


class RefusedBody(msgspec.Struct):
    """Somebody wanted to do what they may not."""

    incident: _Text
    by: _Text
    act: _Text
    via: str = "api"


class HeartbeatsBody(msgspec.Struct):
    """alertbot knows its heartbeats; `watches` are the ids of what waits for one already."""

    watches: list[str] = []
    started: bool = False


class TestBody(msgspec.Struct):
    """One marked incident through a receiver. `nonce` keeps two tests of one instant apart."""

    receiver: _Text
    by: _Text
    nonce: str = ""


class KeptFailingBody(msgspec.Struct):
    """Every integration of a receiver keeps failing for an incident."""

    incident: _Text
    receiver: _Text


class ReleaseBody(msgspec.Struct):
    """What Alertmanager said of the alerts that a window held."""

    window: _Text
    gone: list[str] = []


def acknowledge(body: bytes, at: datetime) -> Parsed:
    """`{"incident"|"labels", "by", "via"}`; raises `Unreadable`."""
    b = _read(AcknowledgeBody, body)
    # No labels at all would be a match for everything.
    if bool(b.incident) == bool(b.labels):
        raise Unreadable("give either an incident or labels", "incident")
    return _one(Acknowledged(by=b.by, incident=b.incident, labels=b.labels, via=b.via))


def resolve(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "by", "via"}`; raises `Unreadable`."""
    b = _read(ResolveBody, body)
    return _one(ResolvedByPerson(incident=b.incident, by=b.by, via=b.via))


def note(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "by", "text", "via"}`; raises `Unreadable`."""
    b = _read(NoteBody, body)
    return _one(NoteAdded(incident=b.incident, by=b.by, text=b.text, via=b.via))


def escalate(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "by", "via"}`; raises `Unreadable`."""
    b = _read(EscalateBody, body)
    return _one(Escalated(incident=b.incident, by=b.by, via=b.via))


def assign(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "to", "by", "via"}`; raises `Unreadable`."""
    b = _read(AssignBody, body)
    return _one(Assigned(incident=b.incident, to=b.to, by=b.by, via=b.via))


def refused(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "by", "act", "via"}`; raises `Unreadable`."""
    b = _read(RefusedBody, body)
    return _one(ActRefused(incident=b.incident, by=b.by, act=b.act, via=b.via))


def silence(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "by", "duration", "comment", "via"}`; raises `Unreadable`."""
    b = _read(SilenceBody, body)
    try:
        duration = parse_duration(b.duration) if b.duration else None
    except DurationError as e:
        raise Unreadable(str(e), "duration") from None
    if duration is not None and not duration:
        raise Unreadable("a silence of no length silences nothing", "duration")
    return _one(Silenced(incident=b.incident, by=b.by, duration=duration, comment=b.comment, via=b.via))


def unsilence(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "by", "via"}`; raises `Unreadable`."""
    b = _read(UnsilenceBody, body)
    return _one(Unsilenced(incident=b.incident, by=b.by, via=b.via))


def heartbeats(body: bytes, at: datetime) -> Parsed:
    """`{"watches", "started"}`, from alertbot itself; raises `Unreadable`."""
    b = _read(HeartbeatsBody, body)
    return _one(HeartbeatsExpected(tuple(b.watches), b.started))


def test(body: bytes, at: datetime) -> Parsed:
    """`{"receiver", "by", "nonce"}`; raises `Unreadable`."""
    b = _read(TestBody, body)
    return _one(ReceiverTested(receiver=b.receiver, by=b.by, nonce=b.nonce))


def kept_failing(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "receiver"}`, from our own outbox; raises `Unreadable`."""
    b = _read(KeptFailingBody, body)
    return _one(KeptFailing(incident=b.incident, receiver=b.receiver))


def release(body: bytes, at: datetime) -> Parsed:
    """`{"window", "gone": [fingerprint, …]}`, from our own question to Alertmanager; raises `Unreadable`."""
    b = _read(ReleaseBody, body)
    return _one(ReleaseChecked(window=b.window, gone=tuple(b.gone)))


def tick(body: bytes, at: datetime) -> Parsed:
    """Time passes: nothing happened, and whatever is due by now comes due."""
    return Parsed(events=())


def _read(model: type[_Body], body: bytes) -> _Body:
    """A body that may be newer than its reader: unknown fields are passed over."""
    try:
        return msgspec.json.decode(body, type=model)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        # msgspec: "Expected `str`, got `int` - at `$.labels[...]`"
        error, _, where = str(e).partition(" - at ")
        raise Unreadable(error, where.strip("`").removeprefix("$").lstrip(".")) from None


def _one(event: Event) -> Parsed:
    return Parsed(events=(event,), accepted=1)
