"""`time_intervals` with Alertmanager's meaning (timeinterval/timeinterval.go).

Every field that is given must match, each by any of its ranges; the intervals of one name are alternatives. A time's
end is
exclusive, a range of days or months is inclusive. Days of the month count from the end where they are negative, and
are clamped
to the month. Everything is read on the clock of the interval's location, UTC by default.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from heapq import merge
from typing import Any, Final
from zoneinfo import ZoneInfo

_WEEKDAYS: Final = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_TIME: Final = re.compile(r"(?:([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00))")
_FIELDS: Final = ("times", "weekdays", "days_of_month", "months", "years", "location")
_DAY: Final = timedelta(days=1)
_DAY_MINUTES: Final = 24 * 60
_SECOND: Final = timedelta(seconds=1)


class IntervalError(ValueError):
    """This is no time interval; the message says what is wrong. Whoever wrote it mends it."""


#: First and last of a range, both in it; of a time of day the minute it starts, and the minute it ends before.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """One alternative. A field that is None was not given, and matches always.

    `times` in minutes of the day, `weekdays` from 0 for Sunday.
    """

    times: tuple[Range, ...] | None = None
    weekdays: tuple[Range, ...] | None = None
    days_of_month: tuple[Range, ...] | None = None
    months: tuple[Range, ...] | None = None
    years: tuple[Range, ...] | None = None
    location: str = "UTC"

    @property
    def zone(self) -> tzinfo:
        """The clock that it is read on."""
        return _zone(self.location)


@lru_cache(maxsize=64)
def _zone(location: str) -> tzinfo:
    """Go's names: `UTC`, `Local` (the machine's own), or a place of the time zone database."""
    if location == "UTC":
        return UTC
    if location == "Local":
        # Asking for a time's local form is how Python tells; the offset of each instant is the machine's own.
        return _Local()
    return ZoneInfo(location)


class _Local(tzinfo):
    """The machine's clock, whatever its rules for summer time are."""

    def fromutc(self, dt: datetime) -> datetime:
        return dt.replace(tzinfo=UTC).astimezone().replace(tzinfo=self)

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        return None if dt is None else dt.replace(tzinfo=None).astimezone().utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:
        return None

    def tzname(self, dt: datetime | None) -> str:
        return "Local"


def parse_interval(spec: Mapping[str, Any]) -> TimeInterval:
    """One entry of a `time_intervals` list, as it was loaded from YAML. Raises `IntervalError`."""
    if not isinstance(spec, Mapping):
        raise IntervalError("a time interval is a mapping of times, weekdays, days_of_month, months, years, location")
    unknown = [str(k) for k in spec if k not in _FIELDS]
    if unknown:
        raise IntervalError(f"unknown field {unknown[0]}: expected one of {', '.join(_FIELDS)}")
    return TimeInterval(
        times=_each(spec, "times", _time_range),
        weekdays=_each(spec, "weekdays", lambda v: _ordered(v, _weekday, "start day cannot be before end day")),
        days_of_month=_each(spec, "days_of_month", _days),
        months=_each(spec, "months", lambda v: _ordered(v, _month, "end month is before start month")),
        years=_each(spec, "years", lambda v: _ordered(v, _year, "end year is before start year")),
        location=_location(spec.get("location")),
    )


def contains(interval: TimeInterval, at: datetime) -> bool:
    """Whether a time (aware) lies inside."""
    local = at.astimezone(interval.zone)
    return _in(interval.times, local.hour * 60 + local.minute, exclusive=True) and _on_day(interval, local)


def next_change(
    intervals: Sequence[TimeInterval], at: datetime, horizon: timedelta = timedelta(days=400)
) -> datetime | None:
    """The first time after `at` at which being inside any of them begins or ends (UTC).

    None where nothing changes up to and including `at + horizon`.
    """
    now = any(contains(i, at) for i in intervals)
    start = at.astimezone(UTC)
    for time in merge(*(_boundaries(i, start, start + horizon) for i in intervals)):
        if any(contains(i, time) for i in intervals) != now:
            return time
    return None


def _boundaries(interval: TimeInterval, start: datetime, last: datetime) -> Iterator[datetime]:
    """The times after `start`, in order, at which the interval may begin or end.

    While the location's clock is not set these are the starts and ends of its times on the days that it takes, and the
    midnights at which such days begin and end. When the clock is set, that moment is one too.
    """
    minutes = sorted({0, *(m for r in interval.times or () for m in r if m < _DAY_MINUTES)})
    for begin, end, offset in _steady(interval.zone, start, last):
        if begin > start:
            yield begin
        first = (begin + offset).date()
        before = False
        for n in range((end + offset).date().toordinal() - first.toordinal() + 1):
            day = first + n * _DAY
            taken = _on_day(interval, day)
            if taken or before:
                midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) - offset
                for minute in minutes if taken else (0,):
                    time = midnight + timedelta(minutes=minute)
                    if begin < time <= end:
                        yield time
            before = taken


def _steady(zone: tzinfo, start: datetime, last: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """The stretches of time, first to last, over which a zone's clock is not set, with its offset from UTC in each.

    It is looked at once a day, and the moment at which it was set is found by halving: to the second, as the time
    zone database has it.
    """
    begin, time, offset = start, start, _offset(zone, start)
    while time < last:
        ahead = min(time + _DAY, last)
        if _offset(zone, ahead) != offset:
            old, new = time, ahead
            while new - old > _SECOND:
                middle = old + (new - old) / 2
                if _offset(zone, middle) == offset:
                    old = middle
                else:
                    new = middle
            # A clock is set on a whole second; no stretch begins between two.
            ahead = new.replace(microsecond=0)
            yield begin, ahead, offset
            begin, offset = ahead, _offset(zone, ahead)
        time = ahead
    yield begin, last, offset


def _offset(zone: tzinfo, at: datetime) -> timedelta:
    return at.astimezone(zone).replace(tzinfo=None) - at.replace(tzinfo=None)


def _on_day(interval: TimeInterval, day: date) -> bool:
    """Whether the interval takes a day of its location's calendar."""
    return (
        _in_month(interval.days_of_month, day)
        and _in(interval.months, day.month)
        and _in(interval.weekdays, day.isoweekday() % 7)
        and _in(interval.years, day.year)
    )


def _in(ranges: tuple[Range, ...] | None, value: int, *, exclusive: bool = False) -> bool:
    return ranges is None or any(a <= value < b + (not exclusive) for a, b in ranges)


def _in_month(ranges: tuple[Range, ...] | None, day: date) -> bool:
    if ranges is None:
        return True
    days = monthrange(day.year, day.month)[1]
    for first, last in ranges:
        begin = first if first > 0 else days + first + 1
        end = last if last > 0 else days + last + 1
        if begin <= days and begin <= day.day <= end:
            return True
    return False


# Parsing.


def _each(spec: Mapping[str, Any], field: str, parse: Callable[[Any], Range]) -> tuple[Range, ...] | None:
    values = spec.get(field)
    if values is None:
        return None
    if isinstance(values, str | Mapping) or not isinstance(values, Iterable):
        raise IntervalError(f"{field} is a list")
    return tuple(parse(v) for v in values)


def _time_range(value: Any) -> Range:
    if not isinstance(value, Mapping):
        raise IntervalError("a time is a mapping of start_time and end_time")
    unknown = [str(k) for k in value if k not in ("start_time", "end_time")]
    if unknown:
        raise IntervalError(f"unknown field {unknown[0]}: expected start_time and end_time")
    if not value.get("start_time") or not value.get("end_time"):
        raise IntervalError("both start and end times must be provided")
    start, end = _minute(value["start_time"]), _minute(value["end_time"])
    if start >= end:
        raise IntervalError("start time cannot be equal or greater than end time (overnight takes two ranges)")
    return start, end


def _minute(value: Any) -> int:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise IntervalError(f"couldn't parse timestamp {value}, invalid format: expected HH:MM")
    hour, minute, day, _ = found.groups()
    return 24 * 60 if day else int(hour) * 60 + int(minute)


def _ends(value: Any) -> tuple[str, str]:
    parts = str(value).split(":")
    if len(parts) > 2 or isinstance(value, bool | Mapping | list):
        raise IntervalError(f"couldn't parse range {value}, invalid format")
    return parts[0], parts[-1]


def _ordered(value: Any, member: Callable[[str], int], wrong: str) -> Range:
    first, last = _ends(value)
    begin, end = member(first), member(last)
    if begin > end:
        raise IntervalError(f"{value}: {wrong}")
    return begin, end


def _weekday(text: str) -> int:
    if text.lower() not in _WEEKDAYS:
        raise IntervalError(f"{text} is not a valid weekday")
    return _WEEKDAYS.index(text.lower())


def _month(text: str) -> int:
    """A name or any number: Alertmanager takes 0 and 13 too, which no time is in."""
    if text.lower() in _MONTHS:
        return _MONTHS.index(text.lower()) + 1
    return _number(text, "month")


def _year(text: str) -> int:
    return _number(text, "year")


def _number(text: str, what: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise IntervalError(f"{text} is not a valid {what}")
    return int(text)


def _days(value: Any) -> Range:
    first, last = _ends(value)
    begin, end = _number(first, "day of the month"), _number(last, "day of the month")
    for day in (begin, end):
        if day == 0 or not -31 <= day <= 31:
            raise IntervalError(f"{day} is not a valid day of the month: out of range")
    if begin < 0 < end:
        raise IntervalError("end day must be negative if start day is negative")
    # What would be empty in every month; the shortest has 28 days.
    if (begin if begin > 0 else 28 + begin) > (end if end > 0 else 28 + end):
        raise IntervalError(f"end day {end} is always before start day {begin}")
    return begin, end


def _location(value: Any) -> str:
    if value is None or value == "":
        return "UTC"
    try:
        _zone(str(value))
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise IntervalError(f"unknown time zone {value}") from None
    return str(value)
