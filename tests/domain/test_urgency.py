"""What may be decided before what came earlier."""

from __future__ import annotations

import pytest

from alertbot.domain.events import Acknowledged, AlertsReported, Event, ReportedAlert
from alertbot.domain.urgency import is_passable, is_urgent
from tests.domain.script import policy, rule

POLICY = policy(inhibit_rules=(rule("maintenance", 'alertname="Maintenance"', 'alertname="Database"'),))


def alert(name: str, severity: str = "critical", *, firing: bool = True) -> ReportedAlert:
    return ReportedAlert(name, {"alertname": name, "severity": severity}, {}, firing)


CRITICAL, LOW = alert("Down"), alert("Slow", "low")


@pytest.mark.parametrize(
    ("rule_in_english", "urgent", "events"),
    [
        ("a critical alert goes before others", True, [AlertsReported("alertmanager", (CRITICAL,))]),
        ("and takes with it what is in its body", True, [AlertsReported("alertmanager", (LOW, CRITICAL))]),
        ("no other severity does", False, [AlertsReported("alertmanager", (LOW,))]),
        (
            "a resolve could pass its own firing",
            False,
            [AlertsReported("alertmanager", (alert("Down", firing=False),))],
        ),
        (
            "what a rule could hold must not pass the source",
            False,
            [AlertsReported("alertmanager", (CRITICAL, alert("Database")))],
        ),
        ("a cut body is judged whole", False, [AlertsReported("alertmanager", (CRITICAL,), truncated=3)]),
        ("a person's act keeps its place", False, [Acknowledged("ann", "i1")]),
        ("nothing is not urgent", False, []),
    ],
)
def test_what_is_urgent(rule_in_english: str, urgent: bool, events: list[Event]) -> None:
    assert is_urgent(POLICY, events) is urgent, rule_in_english


def test_reports_are_passed_and_what_people_do_is_not() -> None:
    assert is_passable([AlertsReported("alertmanager", (LOW,))])
    assert not is_passable([Acknowledged("ann", "i1")])
