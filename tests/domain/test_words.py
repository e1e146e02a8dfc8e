"""Durations, fingerprints, severities, and the words of reasons."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alertbot.domain.durations import DurationError, format_duration, humanize, parse_duration
from alertbot.domain.explain import sentence
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.lifecycle import STEPS, IllegalStep, step
from alertbot.domain.model import Entry, Incident, IncidentStatus
from alertbot.domain.reasons import Reason
from alertbot.domain.severity import severity_map
from tests.domain.script import SEVERITIES


@pytest.mark.parametrize(
    ("text", "seconds", "printed"),
    [
        ("1h30m", 5400, "1h30m"),
        ("90m", 5400, "1h30m"),
        ("0", 0, "0s"),
        ("250ms", 0.25, "250ms"),
        ("2w", 1209600, "2w"),
        # Weeks and years only where nothing smaller remains, as Prometheus prints.
        ("36h", 129600, "1d12h"),
        ("1d", 86400, "1d"),
        ("1y", 31536000, "1y"),
    ],
)
def test_durations_are_prometheus(text: str, seconds: float, printed: str) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)
    assert format_duration(parse_duration(text)) == printed


@pytest.mark.parametrize("text", ["", "5", "m5", "5m1h", "1.5h", "-5m", "5 m", "300000y"])
def test_what_prometheus_refuses_is_refused(text: str) -> None:
    with pytest.raises(DurationError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
        (-5, "0 s"),
    ],
)
def test_durations_for_people(seconds: float, words: str) -> None:
    assert humanize(timedelta(seconds=seconds)) == words


def test_fingerprints_are_alertmanagers(corpus: Path) -> None:
    rows = json.loads((corpus / "fingerprints.json").read_text())["cases"]
    assert rows
    for row in rows:
        assert fingerprint(row["labels"]) == row["fingerprint"]


@pytest.mark.parametrize(
    ("labels", "severity"),
    [
        # Any case, names and aliases.
        ({"severity": "PAGE"}, "critical"),
        ({"severity": "warning"}, "medium"),
        # Another label where there is none called severity.
        ({"priority": "error"}, "high"),
        # Unknown or missing: never the quietest.
        ({"severity": "purple"}, "medium"),
        ({}, "medium"),
    ],
)
def test_every_word_maps_to_a_severity(labels: dict[str, str], severity: str) -> None:
    assert severity_map(SEVERITIES).of(labels) == severity


def test_every_reason_has_a_sentence() -> None:
    for reason in Reason:
        said = sentence(Entry(datetime(2026, 1, 5, tzinfo=UTC), "alert", reason, by="x", details={"note": "n"}))
        assert said
        assert "{" not in said


def test_a_step_that_the_table_does_not_have_is_refused() -> None:
    at = datetime(2026, 1, 5, tzinfo=UTC)
    for status in IncidentStatus:
        incident = Incident("i", "k", "{}", "r", {}, "t", "high", status, at)
        for to in IncidentStatus:
            if to is status or to in STEPS[status]:
                assert step(incident, to).status is to
            else:
                with pytest.raises(IllegalStep):
                    step(incident, to)
