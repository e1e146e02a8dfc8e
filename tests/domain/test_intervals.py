"""Time intervals agree with Alertmanager row for row, and the next change is where brute force finds it."""

from __future__ import annotations

import json
from dataclasses import replace
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


def test_going_from_change_to_change_finds_every_one_that_alertmanager_has(corpus: Path) -> None:
    rows: list[dict[str, Any]] = json.loads((corpus / "time_intervals.json").read_text())["cases"]
    for row in (r for r in rows if r["valid"]):
        intervals = _parse(row["yaml"])
        at, end = map(datetime.fromisoformat, row["window"])
        found = 0
        while (at := next_change(intervals, at, end - at) or end) < end:
            found += 1
        assert found == row["transitions_in_window"], row["yaml"]


@pytest.mark.parametrize(
    ("location", "spec", "at", "expected"),
    [
        # The clock jumps over a start: the interval begins when it jumps.
        ("America/New_York", {"times": ["02:30-04:00"]}, "2026-03-08T06:00:00Z", "2026-03-08T07:00:00Z"),
        # The clock jumps over the whole of a range: that day has none.
        ("America/New_York", {"times": ["02:15-02:45"]}, "2026-03-08T05:00:00Z", "2026-03-09T06:15:00Z"),
        # An hour that comes twice is inside twice, and outside in between.
        ("America/New_York", {"times": ["01:00-01:30"]}, "2026-11-01T05:30:00Z", "2026-11-01T06:00:00Z"),
        # A clock set back by half an hour: out when it is set, in again a quarter of an hour later.
        ("Australia/Lord_Howe", {"times": ["01:45-02:00"]}, "2026-04-04T14:46:00Z", "2026-04-04T15:00:00Z"),
        ("Australia/Lord_Howe", {"times": ["01:45-02:00"]}, "2026-04-04T15:00:00Z", "2026-04-04T15:15:00Z"),
        # Midnight itself does not exist: the day begins at one.
        ("America/Santiago", {"weekdays": ["sunday"]}, "2026-09-05T12:00:00Z", "2026-09-06T04:00:00Z"),
        # A clock set back over midnight: the day ends twice.
        ("America/St_Johns", {"weekdays": ["saturday"]}, "2006-10-29T02:30:00Z", "2006-10-29T02:31:00Z"),
        ("America/St_Johns", {"weekdays": ["saturday"]}, "2006-10-29T02:31:00Z", "2006-10-29T03:30:00Z"),
        # A day that a place left out: Samoa had no 30 December 2011, a Friday.
        ("Pacific/Apia", {"weekdays": ["friday"]}, "2011-12-29T00:00:00Z", "2012-01-05T10:00:00Z"),
        ("Pacific/Apia", {"weekdays": ["saturday"]}, "2011-12-29T00:00:00Z", "2011-12-30T10:00:00Z"),
        # A day of leap years alone, further away than the horizon.
        ("UTC", {"months": ["february"], "days_of_month": ["29"]}, "2026-01-01T00:00:00Z", None),
        # The second before counts, and the time itself does not: strictly after.
        ("UTC", {"times": ["09:00-17:00"]}, "2026-01-01T08:59:59.999999Z", "2026-01-01T09:00:00Z"),
        ("UTC", {"times": ["09:00-17:00"]}, "2026-01-01T09:00:00Z", "2026-01-01T17:00:00Z"),
        # Two ranges that touch are one.
        ("UTC", {"times": ["22:00-24:00", "00:00-06:00"]}, "2026-01-01T23:00:00Z", "2026-01-02T06:00:00Z"),
    ],
)
def test_where_clocks_are_set_the_change_is_exact(
    location: str, spec: dict[str, list[str]], at: str, expected: str | None
) -> None:
    loaded: dict[str, Any] = {**spec, "location": location}
    if "times" in spec:
        loaded["times"] = [dict(zip(("start_time", "end_time"), t.split("-"), strict=True)) for t in spec["times"]]
    found = next_change([parse_interval(loaded)], datetime.fromisoformat(at))
    assert found == (expected and datetime.fromisoformat(expected))


#: Where clocks were set in unusual ways, and the UTC day before it.
odd_clocks = st.sampled_from(
    [
        ("Pacific/Apia", datetime(2011, 12, 29, tzinfo=UTC)),
        ("America/St_Johns", datetime(2006, 10, 28, tzinfo=UTC)),
        ("America/St_Johns", datetime(2006, 4, 1, tzinfo=UTC)),
        ("Antarctica/Troll", datetime(2026, 3, 28, tzinfo=UTC)),
        ("America/Havana", datetime(2026, 10, 31, tzinfo=UTC)),
        ("Africa/Cairo", datetime(2026, 10, 29, tzinfo=UTC)),
        ("Asia/Pyongyang", datetime(2018, 5, 4, tzinfo=UTC)),
    ]
)


@settings(max_examples=40)
@given(odd_clocks, st.lists(st.tuples(specs, st.booleans()), min_size=1, max_size=3), st.integers(0, 1439))
def test_every_change_around_an_odd_clock_is_found(
    odd: tuple[str, datetime], drawn: list[tuple[TimeInterval, bool]], minute: int
) -> None:
    location, day = odd
    intervals = [replace(i, location=location) if moved else i for i, moved in drawn]
    start = day + timedelta(minutes=minute)
    inside = [any(contains(i, start + timedelta(minutes=n)) for i in intervals) for n in range(2 * 1440)]
    expected = [start + timedelta(minutes=n) for n in range(1, 2 * 1440) if inside[n] != inside[n - 1]]
    end, found, at = start + timedelta(minutes=2 * 1440 - 1), [], start
    while change := next_change(intervals, at, end - at):
        found.append(change)
        at = change
    assert found == expected


def test_a_change_at_the_horizon_is_found_and_one_after_it_is_not() -> None:
    nine_to_five = [parse_interval({"times": [{"start_time": "09:00", "end_time": "17:00"}]})]
    midnight, nine = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 9, tzinfo=UTC)
    assert next_change(nine_to_five, midnight, timedelta(hours=9)) == nine
    assert next_change(nine_to_five, midnight, timedelta(hours=9, microseconds=-1)) is None


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        # Overnight takes two ranges.
        ({"times": [{"start_time": "22:00", "end_time": "06:00"}]}, "overnight takes two ranges"),
        # A time has two digits each.
        ({"times": [{"start_time": "9:00", "end_time": "17:00"}]}, "9:00, invalid format"),
        # A range of weekdays does not wrap; the week begins on Sunday.
        ({"weekdays": ["friday:monday"]}, "friday:monday"),
        # Days of the month go from 1 or from -1.
        ({"days_of_month": [0]}, "0 is not a valid day of the month"),
        ({"days_of_month": ["-5:5"]}, "end day must be negative"),
        ({"months": ["martius"]}, "martius is not a valid month"),
        ({"location": "Nowhere/City"}, "unknown time zone Nowhere/City"),
        # No way out of the time zone database.
        ({"location": "../../etc/passwd"}, "unknown time zone"),
        ({"timezone": "UTC"}, "unknown field timezone"),
        ({"times": "09:00"}, "times is a list"),
    ],
)
def test_an_invalid_interval_says_what_is_wrong(spec: dict[str, Any], said: str) -> None:
    with pytest.raises(IntervalError, match=said):
        parse_interval(spec)


def test_numbers_and_texts_mean_the_same() -> None:
    texts = {"days_of_month": ["1", "-1"], "months": ["3"], "years": ["2026"]}
    assert parse_interval({k: [int(v) for v in vs] for k, vs in texts.items()}) == parse_interval(texts)


def test_an_empty_list_of_ranges_takes_no_time_at_all() -> None:
    assert not contains(parse_interval({"times": []}), datetime(2026, 1, 1, tzinfo=UTC))


def test_what_never_changes_has_no_next_change() -> None:
    assert next_change([parse_interval({"years": ["2020"]})], datetime(2026, 1, 1, tzinfo=UTC)) is None
    assert next_change([TimeInterval()], datetime(2026, 1, 1, tzinfo=UTC)) is None
