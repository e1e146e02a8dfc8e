"""What a storm says of its incidents."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alertbot.domain.budgets import Budget, Rate, Spent, closed, free_at, spend
from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.storm import Group, storm_of
from tests.store.builders import T0, alert, at, incident

NAMES = ["critical", "high", "medium", "low"]
SERVICES = ("service", "app")


def one(name: str, severity: str = "high", *, over: bool = False, **labels: str) -> Incident:
    status = IncidentStatus.RESOLVED if over else IncidentStatus.OPEN
    return replace(incident(name, status=status), severity=severity, labels=labels, title=name, firing=0 if over else 2)


def test_the_worst_are_the_most_urgent_then_the_oldest_and_only_what_is_open() -> None:
    found = storm_of(
        [
            one("b", "high"), one("a", "high"), one("z", "critical"), one("gone", "critical", over=True),
            *(one(f"low{n}", "low") for n in range(20)),
        ],
        [], T0, NAMES, SERVICES,
    )  # fmt: skip
    assert [i.id for i in found.worst[:3]] == ["z", "a", "b"]
    assert len(found.worst) == 10
    assert (found.total, found.open, found.alerts, found.severity) == (24, 23, 46, "critical")
    assert found.severities == [Group("critical", 1, 2), Group("high", 2, 2), Group("low", 20, 20)]


def test_a_service_is_named_by_the_first_label_that_names_one_and_by_an_alert_where_the_group_does_not() -> None:
    incidents = [one("i1", service="api"), one("i2", app="web"), one("i3"), one("i4")]
    sample = [alert("x", "i3", labels={"app": "web", "alertname": "Slow"})]
    found = storm_of(incidents, sample, T0, NAMES, SERVICES)
    assert found.services == [Group("web", 2, 2), Group("api", 1, 1)]
    assert found.names == [Group("Slow", 1, 1)]


def test_what_nearly_all_alerts_share_is_what_they_have_in_common() -> None:
    sample = [alert(f"a{n}", labels={"alertname": "Down", "zone": "z1", "host": f"h{n}"}) for n in range(10)]
    sample[9] = alert("a9", labels={"alertname": "Down", "zone": "z2", "host": "h9"})
    assert storm_of([], sample, T0, NAMES, SERVICES).common == [("zone", "z1")]
    assert storm_of([], sample[:1], T0, NAMES, SERVICES).common == [], "one alert has nothing in common"


def test_the_title_is_one_line_and_names_the_three_most_frequent_alerts() -> None:
    counts = {"a": 1, "b": 5, "c": 3, "d": 2}
    incidents = [one(f"{name}{n}", alertname=name) for name, count in counts.items() for n in range(count)]
    found = storm_of(incidents, [], T0, NAMES, SERVICES)
    assert found.title == "Storm: 11 incidents: b ×5, c ×3, d ×2 and 1 more"


@pytest.mark.parametrize(
    ("calls", "count", "seconds", "in_english"),
    [
        (1, 1, 1.0, "one a second"),
        (0.5, 1, 2.0, "half a call a second is one in two"),
        (2.5, 2, 0.8, "two and a half a second are two in 0.8 s"),
        (50, 50, 1.0, "fifty"),
        (1_000_000, 488, 0.0005, "so many that they are counted in a shorter span"),
    ],
)
def test_a_rate_is_whole_calls_in_a_span(calls: float, count: int, seconds: float, in_english: str) -> None:
    rate = Rate.of(calls, timedelta(seconds=1))
    assert rate.count == count, in_english
    assert rate.per.total_seconds() == pytest.approx(seconds, rel=0.05)


def test_any_span_has_at_most_so_many_calls() -> None:
    budget, spent, taken = Budget("k", 3, timedelta(seconds=10)), Spent(), []
    for second in range(60):
        if free_at(spent, budget, at(second)) is None:
            spent = spend(spent, budget, at(second))
            taken.append(second)
    assert all(len([t for t in taken if start <= t < start + 10]) <= 3 for start in range(60))
    assert len(taken) == 18
    shut = closed(spent, at(100))
    assert free_at(shut, budget, at(99)) == at(100)
