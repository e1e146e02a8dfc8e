"""Inhibition between alerts, with Alertmanager's rule (inhibit/inhibit.go) above each row, and `duration`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest

from alertbot.domain import inhibit
from alertbot.domain.model import Alert, AlertStatus, Hold
from alertbot.domain.policy import InhibitRule
from alertbot.domain.reasons import Reason
from alertbot.domain.situation import ActiveSource
from alertbot.domain.windows import Window
from tests.domain.script import Script, alert, at, policy, rule

Labels = dict[str, str]

WORST = rule("worst", "s=critical", "s=~critical|warning", "cluster", "job")
DEPLOY = rule("deploy", "a=Deploy", "a=~Slow|Errors", "env")
ANY = rule("any", "a=Maintenance", "a=~Slow|Errors")
C = {"s": "critical", "cluster": "c", "job": "j"}


@dataclass(frozen=True)
class Known:
    """What may hold an alert, by relation."""

    active: dict[str, list[inhibit.SourceLike]]

    def sources(self, relation: str) -> Sequence[inhibit.SourceLike]:
        return self.active.get(relation, [])

    def windows(self) -> Sequence[Window]:
        return []


def fires(labels: Labels) -> Alert:
    """An alert that fires from the start on."""
    return Alert(
        incident="i", identity="x", fingerprint="x", labels=labels, annotations={}, severity="high",
        status=AlertStatus.FIRING, starts_at=at("0:00"), changed_at=at("0:00"), seen_at=at("0:00"),
    )  # fmt: skip


def holds(rules: tuple[InhibitRule, ...], sources: list[Labels], target: Labels) -> bool:
    """Whether the target, which fires like its sources, is held."""
    with_rules = policy(inhibit_rules=rules)
    active: dict[str, list[inhibit.SourceLike]] = {}
    for n, labels in enumerate([*sources, target]):
        found = inhibit.sides(with_rules, labels)
        for name in found.source_of:
            active.setdefault(name, []).append(ActiveSource(str(n), at("0:00"), name in found.two_sided))
    return inhibit.hold_for(with_rules, fires(target), Known(active), at("1:00"), None) is not None


@pytest.mark.parametrize(
    ("rules", "sources", "target", "expected"),
    [
        # A firing source with the same `equal` labels holds the target.
        ((DEPLOY,), [{"a": "Deploy", "env": "prod"}], {"a": "Slow", "env": "prod"}, True),
        # Another value does not.
        ((DEPLOY,), [{"a": "Deploy", "env": "beta"}], {"a": "Slow", "env": "prod"}, False),
        # A label that both lack is equal.
        ((DEPLOY,), [{"a": "Deploy"}], {"a": "Slow"}, True),
        # Missing is the same as empty.
        ((DEPLOY,), [{"a": "Deploy", "env": ""}], {"a": "Slow"}, True),
        # A label that only one lacks is not equal.
        ((DEPLOY,), [{"a": "Deploy"}], {"a": "Slow", "env": "prod"}, False),
        # Without `equal` any source holds any target.
        ((ANY,), [{"a": "Maintenance", "x": "1"}], {"a": "Errors", "x": "2"}, True),
        # What does not match the target side is not held.
        ((DEPLOY,), [{"a": "Deploy", "env": "prod"}], {"a": "Down", "env": "prod"}, False),
        # No source, no hold.
        ((DEPLOY,), [], {"a": "Slow", "env": "prod"}, False),
        # An alert that matches both sides does not hold itself.
        ((WORST,), [], {"s": "critical", "cluster": "c", "job": "j"}, False),
        # Nor do other alerts that match both sides hold it, for it is a source too.
        ((WORST,), [C | {"x": "1"}], C, False),
        # They do hold a target that is no source.
        ((WORST,), [{"s": "critical", "cluster": "c", "job": "j"}], {"s": "warning", "cluster": "c", "job": "j"}, True),
        # All `equal` labels have to agree.
        ((WORST,), [C | {"job": "k"}], C | {"s": "warning"}, False),
        # One of several rules is enough.
        ((DEPLOY, ANY), [{"a": "Maintenance"}], {"a": "Slow", "env": "prod"}, True),
    ],
)  # fmt: skip
def test_who_holds_whom(rules: tuple[InhibitRule, ...], sources: list[Labels], target: Labels, expected: bool) -> None:
    assert holds(rules, sources, target) is expected


SHORT = rule("short", "a=Deploy", "a=Slow", duration=timedelta(minutes=5))
LONG = rule("long", "a=Maintenance", "a=Slow", duration=timedelta(minutes=20))
ENDLESS = rule("endless", "a=Outage", "a=Slow")


@pytest.mark.parametrize(
    ("sources", "now", "by", "until"),
    [
        # `duration` counts from the source's start.
        ({"short": ["0:00"]}, "4:59", "short", "5:00"),
        # Its end is exclusive.
        ({"short": ["0:00"]}, "5:00", None, None),
        # Of overlapping sources the first one's start counts.
        ({"short": ["0:00", "3:00"]}, "4:00", "short", "5:00"),
        # Of several rules the one that ends last is named.
        ({"short": ["0:00"], "long": ["0:00"]}, "1:00", "long", "20:00"),
        # One without an end comes before all.
        ({"long": ["0:00"], "endless": ["0:30"]}, "1:00", "endless", None),
    ],
)
def test_how_long(sources: dict[str, list[str]], now: str, by: str | None, until: str | None) -> None:
    active: dict[str, list[inhibit.SourceLike]] = {
        name: [ActiveSource(start, at(start), False) for start in starts] for name, starts in sources.items()
    }
    rules = policy(inhibit_rules=(SHORT, LONG, ENDLESS))
    hold = inhibit.hold_for(rules, fires({"a": "Slow"}), Known(active), at(now), None)
    assert (hold.by if hold else None) == by
    assert (hold.until if hold else None) == (at(until) if until else None)


def test_a_source_that_takes_over_does_not_start_the_duration_anew() -> None:
    rules = policy(inhibit_rules=(SHORT,))
    before = Hold(reason=Reason.INHIBITED, by="short", since=at("0:00"), until=at("5:00"), relation="short")
    second = Known({"short": [ActiveSource("2", at("4:00"), False)]})
    assert inhibit.hold_for(rules, fires({"a": "Slow"}), second, at("4:30"), before) == Hold(
        Reason.INHIBITED, "short", at("0:00"), at("5:00"), ("2",), "short"
    )
    assert inhibit.hold_for(rules, fires({"a": "Slow"}), second, at("5:00"), before) is None


async def test_a_source_that_is_itself_held_still_holds() -> None:
    chain = (rule("a", "alertname=A", "alertname=B"), rule("b", "alertname=B", "alertname=C"))
    s = Script(policy(inhibit_rules=chain))
    await s.report("0:00", *(alert(name, "0:00") for name in "ABC"))
    await s.until("10:00")
    assert sorted(s.decisions()) == ["0:10 B held a", "0:10 C held b"]


async def test_sources_and_targets_of_one_body_are_judged_together_whatever_their_order() -> None:
    hold = rule("a", "alertname=A", "alertname=B")
    for names in ("AB", "BA"):
        s = Script(policy(inhibit_rules=(hold,)))
        await s.report("0:00", *(alert(name, "0:00") for name in names))
        await s.until("10:00")
        assert s.heard() == ["0:10 slack open first_notification 1/0/0"]


async def test_an_alert_that_people_know_of_is_not_reminded_of_while_it_is_inhibited_and_its_end_is_told() -> None:
    s = Script(policy(inhibit_rules=(rule("a", "alertname=A", "alertname=B"),)))
    await s.report("0:00", alert("B", "0:00"))
    await s.report("5:00", alert("A", "5:00"))
    await s.until("9:00:00")
    lines = [
        line for line in s.replay.lines if line.get("integration") == "slack" and line["labels"]["alertname"] == "B"
    ]
    assert [line["action"] for line in lines] == ["open"]
    await s.report("9:00:00", alert("B", "0:00", "8:59:00"))
    assert "9:00:00 slack resolve all_resolved 0/1/0" in s.heard()
