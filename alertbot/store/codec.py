"""Values to text and back, for the back ends that keep them outside the process.

Records are JSON of the domain's own dataclasses: readable in a shell, and a field that was added with a
default is simply absent in an older record. Times in columns and scores are whole microseconds since 1970 in
UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from alertbot.domain.breakers import Breaker
from alertbot.domain.budgets import Spent
from alertbot.domain.deploys import Deploy
from alertbot.domain.model import Alert, Entry, Incident
from alertbot.domain.windows import Window
from alertbot.store.base import Parked
from alertbot.store.rows import Row

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_encoder = msgspec.json.Encoder()

alert = msgspec.json.Decoder(Alert)
alerts = msgspec.json.Decoder(list[Alert])
incident = msgspec.json.Decoder(Incident)
incidents = msgspec.json.Decoder(list[Incident])
entry = msgspec.json.Decoder(Entry)
entries = msgspec.json.Decoder(list[tuple[int, Entry]])
row = msgspec.json.Decoder(Row)
rows = msgspec.json.Decoder(list[Row])
parked = msgspec.json.Decoder(list[Parked])
window = msgspec.json.Decoder(Window)
windows = msgspec.json.Decoder(list[Window])
deploy = msgspec.json.Decoder(Deploy)
deploys = msgspec.json.Decoder(list[Deploy])
spent = msgspec.json.Decoder(Spent)
breaker = msgspec.json.Decoder(Breaker)


class _Labels(msgspec.Struct):
    labels: dict[str, str]


labels = msgspec.json.Decoder(_Labels)
"""Only an alert's labels: a search reads many alerts and wants few."""


def text(value: Any) -> str:
    """JSON of a domain value. Raises UnicodeEncodeError for text that is not Unicode (a lone surrogate)."""
    return _encoder.encode(value).decode()


def label_text(name: str, value: str) -> str:
    """What stands in an alert's text if it has this label: enough to pass over most that have not."""
    return f"{text(name)}:{text(value)}"


def searchable(wanted: Mapping[str, str]) -> list[str]:
    """Pieces that the text of every alert with these labels contains; an empty value is as good as none."""
    return [label_text(name, value) for name, value in wanted.items() if value]


def has_labels(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether all wanted labels are there. A missing label is the empty string, as everywhere in
    Alertmanager.
    """
    return all(found.get(name, "") == value for name, value in wanted.items())


def key(value: str) -> str:
    """A text fit for a column that is looked up: JSON functions of some SQLite versions end a text at NUL."""
    return value.replace("\0", "�") if "\0" in value else value


def keys(values: Iterable[str]) -> str:
    """A JSON list of keys, sorted so that equal sets make equal statements."""
    return text(sorted(key(v) for v in values))


def us(at: datetime) -> int:
    """Microseconds since 1970. Raises TypeError for a time without a zone."""
    return (at - _EPOCH) // _MICROSECOND


def us_or_none(at: datetime | None) -> int | None:
    """As `us`, with None for None."""
    return None if at is None else (at - _EPOCH) // _MICROSECOND


def at(microseconds: int) -> datetime:
    """The time that `us` counted."""
    return _EPOCH + timedelta(microseconds=microseconds)


def incident_cursor(of: Incident) -> str:
    """The place of an incident in a list that is ordered by creation, newest first."""
    return f"{us(of.created_at)}.{of.id}"


def read_incident_cursor(cursor: str) -> tuple[int, str]:
    """(created_at in microseconds, id). Raises ValueError for a cursor that we did not make."""
    created, dot, name = cursor.partition(".")
    if not dot:
        raise ValueError(f"not a cursor: {cursor!r}")
    return int(created), name


def read_entry_cursor(cursor: str) -> int:
    """The place of an entry in the record. Raises ValueError for a cursor that we did not make."""
    return int(cursor)


_parked_item = msgspec.json.Decoder(Parked)


def parked_item(doc: str, raw: bytes) -> Parked:
    """A parked thing with what came in."""
    return replace(_parked_item.decode(doc), raw=raw)
