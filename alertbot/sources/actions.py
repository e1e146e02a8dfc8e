"""What people and our own outbox do, as events: it is recorded like everything else that comes in, and
replayed like it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, TypeVar

import msgspec

from alertbot.domain.events import (
    Acknowledged,
    Escalated,
    Event,
    KeptFailing,
    NoteAdded,
    Parsed,
    ReceiverTested,
    ResolvedByPerson,
    Unreadable,
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


class TestBody(msgspec.Struct):
    """One marked incident through a receiver. `nonce` keeps two tests of one instant apart."""

    receiver: _Text
    by: _Text
    nonce: str = ""


class KeptFailingBody(msgspec.Struct):
    """Every integration of a receiver keeps failing for an incident."""

    incident: _Text
    receiver: _Text


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


def test(body: bytes, at: datetime) -> Parsed:
    """`{"receiver", "by", "nonce"}`; raises `Unreadable`."""
    b = _read(TestBody, body)
    return _one(ReceiverTested(receiver=b.receiver, by=b.by, nonce=b.nonce))


def kept_failing(body: bytes, at: datetime) -> Parsed:
    """`{"incident", "receiver"}`, from our own outbox; raises `Unreadable`."""
    b = _read(KeptFailingBody, body)
    return _one(KeptFailing(incident=b.incident, receiver=b.receiver))


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
