"""A sender's word → our severity."""

from __future__ import annotations

import pytest

from alertbot.domain.policy import Severity
from alertbot.domain.severity import severity_map

FOUR = (
    Severity("critical", ("page", "P1")),
    Severity("high", ("error",)),
    Severity("medium", ("warning",)),
    Severity("low", ("info",)),
)


@pytest.mark.parametrize(
    ("rule", "labels", "severity"),
    [
        ("a severity's own name", {"severity": "high"}, "high"),
        ("an alias", {"severity": "page"}, "critical"),
        ("upper and lower case are one, in the alert", {"severity": "Warning"}, "medium"),
        ("and in the configuration", {"severity": "p1"}, "critical"),
        ("white space around a word is no part of it", {"severity": " info "}, "low"),
        ("severity before priority", {"severity": "low", "priority": "p1"}, "low"),
        ("priority before level", {"priority": "p1", "level": "info"}, "critical"),
        ("level alone", {"level": "error"}, "high"),
        ("an empty label is a missing one", {"severity": "", "level": "error"}, "high"),
        ("a known word before an unknown one", {"severity": "sev-9", "priority": "p1"}, "critical"),
        ("an unknown word is seen by a person", {"severity": "banana"}, "medium"),
        ("none is seen by a person", {"alertname": "X"}, "medium"),
        ("what a sender puts into our own label does not count", {"alertbot_severity": "low"}, "medium"),
    ],
)
def test_the_severity_of_an_alert(rule: str, labels: dict[str, str], severity: str) -> None:
    assert severity_map(FOUR).of(labels) == severity, rule


@pytest.mark.parametrize(
    ("rule", "names", "default"),
    [
        ("medium where there is one", ("critical", "medium", "low", "debug"), "medium"),
        ("else the last but one", ("sev1", "sev2", "sev3"), "sev2"),
        ("of two the more urgent", ("loud", "quiet"), "loud"),
        ("the only one", ("only",), "only"),
    ],
)
def test_an_unknown_word_is_never_the_quietest(rule: str, names: tuple[str, ...], default: str) -> None:
    assert severity_map(tuple(Severity(n) for n in names)).of({"severity": "banana"}) == default, rule


def test_our_label_is_added_and_replaces_one_that_was_sent() -> None:
    sent = {"severity": "page", "alertbot_severity": "low"}
    assert severity_map(FOUR).with_severity(sent) == {"severity": "page", "alertbot_severity": "critical"}
    assert sent["alertbot_severity"] == "low", "what was given stays as it is"
