"""What people do, as events in the record."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from alertbot.domain.events import (
    Acknowledged,
    Event,
    KeptFailing,
    NoteAdded,
    Parsed,
    ReceiverTested,
    ResolvedByPerson,
    Unreadable,
)
from alertbot.sources import SOURCES

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

READ: list[tuple[str, dict[str, Any], Event]] = [
    # By id, or by labels: then every open incident with an alert that has them.
    ("acknowledge", {"incident": "i1", "by": "ada"}, Acknowledged(by="ada", incident="i1")),
    ("acknowledge", {"labels": {"a": "b"}, "by": "ada"}, Acknowledged(by="ada", labels={"a": "b"})),
    (
        "acknowledge",
        {"incident": "i1", "by": "ada", "via": "slack"},
        Acknowledged(by="ada", incident="i1", via="slack"),
    ),
    ("resolve", {"incident": "i1", "by": "ada"}, ResolvedByPerson(incident="i1", by="ada")),
    (
        "note",
        {"incident": "i1", "by": "ada", "text": "looking"},
        NoteAdded(incident="i1", by="ada", text="looking"),
    ),
    (
        "test",
        {"receiver": "ops", "by": "ada", "nonce": "n"},
        ReceiverTested(receiver="ops", by="ada", nonce="n"),
    ),
    ("test", {"receiver": "ops", "by": "ada"}, ReceiverTested(receiver="ops", by="ada")),
    ("kept_failing", {"incident": "i1", "receiver": "ops"}, KeptFailing(incident="i1", receiver="ops")),
    # A record may be newer than its reader.
    ("resolve", {"incident": "i1", "by": "ada", "new": 1}, ResolvedByPerson(incident="i1", by="ada")),
]


@pytest.mark.parametrize(("source", "body", "event"), READ)
def test_an_action_is_read_as_its_event(source: str, body: dict[str, Any], event: Event) -> None:
    assert SOURCES[source](json.dumps(body).encode(), NOW) == Parsed(events=(event,), accepted=1)


def test_a_tick_is_only_a_time() -> None:
    assert SOURCES["tick"](b"", NOW) == Parsed(events=())


REFUSED = [
    ("acknowledge", b'{"by": "ada"}', "incident"),
    # No labels at all would be a match for everything.
    ("acknowledge", b'{"by": "ada", "labels": {}}', "incident"),
    ("acknowledge", b'{"by": "ada", "incident": "i1", "labels": {"a": "b"}}', "incident"),
    ("acknowledge", b'{"by": "ada", "labels": {"a": 1}}', "labels[...]"),
    ("acknowledge", b'{"incident": "i1"}', ""),
    ("acknowledge", b'{"incident": "i1", "by": ""}', "by"),
    ("resolve", b'{"incident": 5, "by": "ada"}', "incident"),
    ("note", b'{"incident": "i1", "by": "ada", "text": ""}', "text"),
    ("test", b"[]", ""),
    ("test", b"\xff", ""),
    ("note", b"", ""),
]


@pytest.mark.parametrize(("source", "body", "where"), REFUSED)
def test_an_action_that_makes_no_sense_is_refused_with_its_place(source: str, body: bytes, where: str) -> None:
    with pytest.raises(Unreadable) as e:
        SOURCES[source](body, NOW)
    assert e.value.where == where
    assert str(e.value)
