"""Time intervals agree with Alertmanager row for row, and the next change is where brute force finds it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from alertbot.domain.intervals import IntervalError, TimeInterval, contains, next_change, parse_interval


def _parse(text: str) -> list[TimeInterval]:
    loaded = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  # texts only, as our own loader gives them
    if not isinstance(loaded, list):
        raise IntervalError("a list")
    return [parse_interval(entry) for entry in loaded]


def test_every_instant_is_inside_or_outside_as_alertmanager_says(corpus: Path) -> None:
    rows: list[dict[str, Any]] = json.loads((corpus / "time_intervals.json").read_text())["cases"]
    seen = refused = 0
    for row in rows:
        if not row["valid"]:
            with pytest.raises(IntervalError):
                _parse(row["yaml"])
            refused += 1
            continue
        intervals = _parse(row["yaml"])
        for instant in row["times"]:
            inside = any(contains(i, datetime.fromisoformat(instant["t"])) for i in intervals)
            assert inside is instant["contains"], (row["yaml"], instant)
            seen += 1
    assert (len(rows), refused, seen) == (63, 29, 3564)


minutes = st.integers(0, 1439)
times = st.tuples(minutes, minutes).filter(lambda t: t[0] < t[1])
specs = st.builds(
    TimeInterval,
    times=st.none() | st.lists(times, min_size=1, max_size=2).map(tuple),
    weekdays=st.none() | st.just(((1, 5),)),
    days_of_month=st.none() | st.sampled_from([((1, 7),), ((-3, -1),)]),
    location=st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
#: Days on which one of these clocks is set, and their neighbours.
days = st.sampled_from(
    [datetime(2026, m, d, tzinfo=UTC) for m, d in ((3, 7), (3, 28), (4, 4), (10, 24), (10, 31), (6, 1))]
)


@settings(max_examples=40, deadline=None)
@given(st.lists(specs, min_size=1, max_size=2), days, st.integers(0, 1439))
def test_the_next_change_is_where_brute_force_finds_it(
    intervals: list[TimeInterval], day: datetime, minute: int
) -> None:
    start = day + timedelta(minutes=minute, seconds=7)
    inside = any(contains(i, start) for i in intervals)
    aligned = start.replace(second=0)
    expected = next(
        (
            t
            for n in range(1, 3 * 1440)
            if any(contains(i, t := aligned + timedelta(minutes=n)) for i in intervals) != inside
        ),
        None,
    )
    found = next_change(intervals, start)
    assert found == expected if expected is not None else found is None or found >= aligned + timedelta(days=3)


def test_what_never_changes_has_no_next_change() -> None:
    assert next_change([parse_interval({"years": ["2020"]})], datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert next_change([TimeInterval()], datetime(2026, 1, 1, tzinfo=UTC)) is None
