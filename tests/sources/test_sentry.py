"""Sentry's webhooks: issues, rules of issues, rules of metrics."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from alertbot.domain.events import AlertsReported, ReportedAlert, Unreadable
from alertbot.sources import sentry
from tests.domain.script import Script

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
ISSUE: dict[str, Any] = {
    "id": "1170820242",
    "title": "ReferenceError: blooopy is not defined",
    "culprit": "?(runner)",
    "level": "error",
    "permalink": None,
    "web_url": "https://sentry.example.org/organizations/acme/issues/1170820242/",
    "project": {"id": "1", "name": "Front end", "slug": "front-end"},
    "status": "unresolved",
    "substatus": "new",
}
EVENT: dict[str, Any] = {
    "issue_id": "1170820242",
    "title": "ReferenceError: blooopy is not defined",
    "culprit": "?(runner)",
    "level": "fatal",
    "project": 1,
    "tags": [["browser", "Chrome"], ["environment", "prod"], None, ["odd"]],
    "url": "https://sentry.example.org/api/0/projects/acme/front-end/events/e4874d66/",
    "web_url": "https://sentry.example.org/organizations/acme/issues/1170820242/events/e4874d66/",
}
METRIC: dict[str, Any] = {
    "description_title": "Critical: Too many errors",
    "description_text": "1000 events in the last 10 minutes",
    "metric_alert": {
        "id": "4",
        "title": "Sacred Marmot",
        "alert_rule": {"id": "7", "name": "Too many errors", "projects": ["bar", "foo"], "environment": None},
    },
    "web_url": "https://sentry.example.org/organizations/acme/alerts/1/",
}


def read(action: str, **data: Any) -> tuple[ReportedAlert, ...]:
    """The alerts that a body of this action tells of."""
    parsed = sentry.parse(json.dumps({"action": action, "data": data}).encode(), NOW)
    assert parsed.accepted == len(parsed.events)
    if not parsed.events:
        return ()
    (event,) = parsed.events
    assert isinstance(event, AlertsReported)
    assert event.named
    return event.alerts


def test_a_new_issue_is_an_alert() -> None:
    assert read("created", issue=ISSUE) == (
        ReportedAlert(
            fingerprint="sentry-issue-1170820242",
            labels={"alertname": ISSUE["title"], "project": "front-end", "severity": "error"},
            annotations={"summary": ISSUE["title"], "description": "?(runner)"},
            firing=True,
            generator_url=ISSUE["web_url"],
        ),
    )


def test_an_issue_that_a_rule_tells_of_is_named_by_the_rule_and_is_the_same_alert() -> None:
    assert read("triggered", event=EVENT, triggered_rule="Checkout is broken") == (
        ReportedAlert(
            fingerprint="sentry-issue-1170820242",
            labels={
                "alertname": "Checkout is broken",
                "project": "front-end",
                "severity": "critical",
                "environment": "prod",
            },
            annotations={"summary": EVENT["title"], "description": "?(runner)"},
            firing=True,
            generator_url=EVENT["web_url"],
        ),
    )


@pytest.mark.parametrize(
    ("action", "fires"),
    [
        ("created", [True]),
        # A regression, an escalation, or somebody took it out of the archive.
        ("unresolved", [True]),
        ("resolved", [False]),
        ("archived", [False]),
        # The older word for it.
        ("ignored", [False]),
        # Whose it is says nothing of whether it fires.
        ("assigned", []),
        ("something newer", []),
    ],
)
def test_what_is_done_to_an_issue_begins_or_ends_its_alert(action: str, fires: list[bool]) -> None:
    assert [a.firing for a in read(action, issue=ISSUE)] == fires


@pytest.mark.parametrize(
    ("action", "said"),
    [
        # Of the lower level nothing is said: it fires on, if it did.
        ("critical", {"critical": True}),
        # Below the upper threshold again, or not over it yet.
        ("warning", {"warning": True, "critical": False}),
        ("resolved", {"warning": False, "critical": False}),
        ("something newer", {}),
    ],
)
def test_the_two_levels_of_a_metric_rule_are_two_alerts(action: str, said: dict[str, bool]) -> None:
    alerts = read(action, **METRIC)
    assert {a.labels["severity"]: a.firing for a in alerts} == said
    assert [a.fingerprint for a in alerts] == [f"sentry-metric-7-{level}" for level in said]
    assert all(a.labels["alertname"] == "Too many errors" and a.labels["project"] == "bar,foo" for a in alerts)


@pytest.mark.parametrize(
    ("level", "severity"),
    [
        # Sentry's most urgent, and a word of ours for it.
        ("fatal", "critical"),
        ("error", "error"),
        ("warning", "warning"),
        ("info", "info"),
        ("debug", "info"),
        ("sample", "info"),
        # None is none: routing then takes it for medium.
        (None, None),
    ],
)
def test_a_level_is_a_severity_in_the_words_of_the_field(level: str | None, severity: str | None) -> None:
    (alert,) = read("created", issue={**ISSUE, "level": level})
    assert alert.labels.get("severity") == severity


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"comment": "looks bad", "issue_id": 5},
        {"error": EVENT},
        {"installation": {"status": "installed"}},
        {"issue": "text", "event": 5, "metric_alert": []},
    ],
)
def test_what_is_no_alert_is_none(data: dict[str, Any]) -> None:
    assert read("created", **data) == ()
    assert read("triggered", **data) == ()


@pytest.mark.parametrize(
    ("action", "data", "where"),
    [
        ("resolved", {"issue": {**ISSUE, "id": None}}, "data.issue.id"),
        ("triggered", {"event": {**EVENT, "issue_id": ""}}, "data.event.issue_id"),
        ("critical", {"metric_alert": {"id": "4"}}, "data.metric_alert.alert_rule.id"),
    ],
)
def test_what_names_nothing_is_refused_with_its_field(action: str, data: dict[str, Any], where: str) -> None:
    with pytest.raises(Unreadable) as refused:
        read(action, **data)
    assert refused.value.where == where


def test_fields_of_any_other_kind_cost_no_alert() -> None:
    odd: list[Any] = [None, 5, [], {}, [[]], "x\x00", "\ud800"]
    for value in odd:
        (alert,) = read("created", issue={"id": 5, **{k: value for k in ISSUE if k != "id"}})
        assert alert.fingerprint == "sentry-issue-5"
        (alert,) = read("triggered", event={"issue_id": 5, **{k: value for k in EVENT if k != "issue_id"}})
        assert alert.generator_url == ""


async def test_an_issue_is_one_alert_until_its_end_whatever_it_is_called_meanwhile() -> None:
    s = Script()
    await s.act("0:00", "sentry", action="triggered", data={"event": EVENT, "triggered_rule": "Checkout is broken"})
    await s.until("0:10")
    assert s.heard("slack") == ["0:10 slack open first_notification 1/0/0"]
    # Another rule of the same issue, and its own lifecycle: the same alert.
    await s.act("0:20", "sentry", action="triggered", data={"event": EVENT, "triggered_rule": "Many users"})
    await s.act("0:30", "sentry", action="unresolved", data={"issue": ISSUE})
    await s.until("5:00")
    assert s.heard("slack") == []
    assert await s.open_alerts() == {"sentry-issue-1170820242"}
    await s.act("6:00", "sentry", action="resolved", data={"issue": ISSUE})
    await s.until("6:30")
    assert s.heard("slack") == ["6:00 slack resolve all_resolved 0/1/0"]
    assert await s.open_alerts() == set()
    # A regression long after is called what it is called then.
    await s.act("40:00", "sentry", action="unresolved", data={"issue": ISSUE})
    await s.until("40:10")
    assert s.heard("slack") == ["40:10 slack open first_notification 1/0/0"]
    assert s.replay.lines[-1]["labels"] == {"alertname": ISSUE["title"]}


async def test_a_metric_rule_that_becomes_critical_is_news_and_its_end_ends_both_levels() -> None:
    s = Script()
    await s.act("0:00", "sentry", action="warning", data=METRIC)
    await s.until("0:10")
    assert s.heard("slack") == ["0:10 slack open first_notification 1/0/0"]
    await s.act("5:00", "sentry", action="critical", data=METRIC)
    await s.until("6:10")
    (line,) = s.heard("slack")
    assert line.endswith("2/0/0")
    await s.act("8:00", "sentry", action="resolved", data=METRIC)
    await s.until("9:30")
    assert [line.split()[2] for line in s.heard("slack")] == ["resolve"]
    assert await s.open_alerts() == set()
