"""Durations at their edges, and that what is printed is read back."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot.domain.durations import DurationError, format_duration, parse_duration

#: 2^63 - 1 nanoseconds, in whole milliseconds.
LONGEST = 9_223_372_036_854


@given(st.integers(0, LONGEST))
def test_what_is_printed_is_read_back(milliseconds: int) -> None:
    span = timedelta(milliseconds=milliseconds)
    assert parse_duration(format_duration(span)) == span


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        # Leading zeros say nothing.
        ("0000000000000000000000001m", 60_000),
        ("0y0s", 0),
        # The longest that Go's 64 bits of nanoseconds hold.
        (f"{LONGEST}ms", LONGEST),
        # Units may be left out between two.
        ("1y1ms", 31_536_000_001),
    ],
)
def test_durations_at_the_edges(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == timedelta(milliseconds=milliseconds)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        # One millisecond more than fits.
        (f"{LONGEST + 1}ms", "out of range"),
        # More digits than Python reads as a number.
        ("9" * 5000 + "s", "out of range"),
        # Digits of other scripts, a line's end, a unit twice, and units in the wrong order.
        ("\u0661s", "not a valid duration"),
        ("1h\n", "not a valid duration"),
        ("1h1h", "not a valid duration"),
        ("1ms1s", "not a valid duration"),
    ],
)
def test_what_is_no_duration_says_so(text: str, said: str) -> None:
    with pytest.raises(DurationError, match=said):
        parse_duration(text)


@pytest.mark.parametrize(
    ("span", "printed"),
    [
        # What is less than a millisecond is cut off.
        (timedelta(microseconds=1_999), "1ms"),
        (timedelta(microseconds=999), "0s"),
        # A sign in front of the whole.
        (timedelta(minutes=-90), "-1h30m"),
    ],
)
def test_odd_spans_are_printed_as_prometheus_prints_them(span: timedelta, printed: str) -> None:
    assert format_duration(span) == printed
