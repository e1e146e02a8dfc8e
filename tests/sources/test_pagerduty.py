"""PagerDuty's webhooks as bytes: the recorded ones, and what they are made into."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from alertbot.domain.events import RemoteChange, RemoteChanged, Unreadable
from alertbot.sources import pagerduty
from tests.conftest import CORPUS

AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
RECORDED = CORPUS / "pagerduty_webhooks"


def body(kind: str, **data: Any) -> bytes:
    event = {"id": "E1", "event_type": kind, "occurred_at": "2026-11-21T11:59:00.5Z", "data": data}
    return json.dumps({"event": {**event, "agent": {"type": "user_reference", "summary": "Bo"}}}).encode()


def change(raw: bytes) -> RemoteChanged:
    (event,) = pagerduty.parse(raw, AT).events
    assert isinstance(event, RemoteChanged)
    return event


@pytest.mark.skipif(not RECORDED.exists(), reason="the corpus of recorded data is not on this machine")
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("acknowledged_v3", "acknowledged PQ1K5C8 PIG 208"),
        ("unacknowledged_v3", "unacknowledged PQ1K5C8 PIG 208"),
        ("resolved_v3", "resolved PCPZE64 PIG 208"),
        ("reopened_v3", "reopened Q05XJA8GDXGOB3 Harsh Santwani"),
        ("annotated_v3", "annotated Q3B15VLMF3ASBD Harsh Santwani"),
        ("escalate_v3", "other Q3B15VLMF3ASBD Harsh Santwani"),
    ],
)
def test_each_recorded_webhook_says_what_happened_to_which_incident_by_whom(name: str, told: str) -> None:
    event = change((RECORDED / f"{name}.json").read_bytes())
    assert f"{event.change.value} {event.remote} {event.by}" == told
    assert (event.by_person, event.incident) == (True, ""), "these are no incidents of ours"
    assert event.event


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        # Ours is the incident's id, and from the second opening on which one it is.
        ("abcdefgh23", ("abcdefgh23", 1)),
        ("abcdefgh23.4", ("abcdefgh23", 4)),
        # Others make other keys.
        ("d387d7bd2e0a4294a5307339dfe1669a", ("", 0)),
        ("abcdefgh23.0", ("", 0)),
        ("", ("", 0)),
    ],
)
def test_a_key_that_is_ours(key: str, ours: tuple[str, int]) -> None:
    event = change(body("incident.acknowledged", id="P1", incident_key=key))
    assert (event.incident, event.opening) == ours
    assert pagerduty.is_ours(key) is bool(ours[0])


def test_a_note_names_its_incident_by_pagerdutys_id_and_the_key_is_put_beside_it() -> None:
    raw = body("incident.annotated", id="N1", content="looking", incident={"id": "P1"})
    assert pagerduty.named(raw) == pagerduty.Named("P1", "", matters=True)
    event = change(pagerduty.with_key(raw, "abcdefgh23.2"))
    assert (event.change, event.incident, event.opening, event.text) == (
        RemoteChange.ANNOTATED, "abcdefgh23", 2, "looking",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("incident.reassigned", {"assignees": [{"summary": "Ana"}, {"summary": "Bo"}]}, "reassigned to Ana, Bo"),
        ("incident.escalated", {"assignees": []}, "escalated"),
        ("incident.priority_updated", {"priority": {"summary": "P1"}}, "priority P1"),
        ("incident.priority_updated", {"priority": None}, "priority taken away"),
    ],
)
def test_what_else_happens_is_said_in_words(kind: str, data: dict[str, Any], said: str) -> None:
    assert change(body(kind, id="P1", **data)).text == said


@pytest.mark.parametrize("kind", ["incident.triggered", "pagey.ping", "service.updated", "incident.responder.added"])
def test_what_concerns_no_state_of_an_incident_is_nothing(kind: str) -> None:
    assert pagerduty.parse(body(kind, id="P1"), AT).events == ()


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b'{"event": 1}', b'{"messages": [{"event": "incident.trigger"}]}'])
def test_what_is_no_webhook_of_version_3_is_unreadable(raw: bytes) -> None:
    with pytest.raises(Unreadable):
        pagerduty.parse(raw, AT)


def test_no_time_is_later_than_ours() -> None:
    raw = body("incident.resolved", id="P1").replace(b"2026-11-21T11:59:00.5Z", b"2031-01-01T00:00:00Z")
    assert change(raw).at == AT
