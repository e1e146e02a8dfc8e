"""`time_intervals` with Alertmanager's meaning (timeinterval/timeinterval.go).

Every field that is given must match, each by any of its ranges; the intervals of one name are alternatives. A time's
end is
exclusive, a range of days or months is inclusive. Days of the month count from the end where they are negative, and
are clamped
to the month. Everything is read on the clock of the interval's location, UTC by default.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
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
    return (
        _in(interval.times, local.hour * 60 + local.minute, exclusive=True)
        and _in_month(interval.days_of_month, local)
        and _in(interval.months, local.month)
        and _in(interval.weekdays, local.isoweekday() % 7)
        and _in(interval.years, local.year)
    )


def next_change(
    intervals: Sequence[TimeInterval], at: datetime, horizon: timedelta = timedelta(days=400)
) -> datetime | None:
    """The first time after `at` at which being inside any of them begins or ends (UTC); None within the horizon."""
    now = any(contains(i, at) for i in intervals)
    start = at.astimezone(UTC)
    day = datetime(start.year, start.month, start.day, tzinfo=UTC)
    while day <= start + horizon:
        for time in sorted({t for i in intervals for t in _boundaries(i, day)}):
            if time > start and any(contains(i, time) for i in intervals) != now:
                return time
        day += _DAY
    return None


def _boundaries(interval: TimeInterval, day: datetime) -> Iterator[datetime]:
    """The times within a UTC day at which the interval may begin or end.

    These are the starts and ends of its times on the location's clock, and its midnights; on a day on which that
    clock is set, every minute.
    """
    zone = interval.zone
    minutes = {0, *(m for r in interval.times or () for m in r if m < 24 * 60)}
    for n in (-1, 0, 1):
        local = (day + n * _DAY).date()
        set_today = _midnight(local, zone).utcoffset() != _midnight(local + _DAY, zone).utcoffset()
        for minute in range(24 * 60) if set_today else minutes:
            for fold in (0, 1) if set_today else (0,):
                there = datetime(local.year, local.month, local.day, minute // 60, minute % 60, tzinfo=zone, fold=fold)
                time = there.astimezone(UTC)
                if day <= time < day + _DAY:
                    yield time


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)


def _in(ranges: tuple[Range, ...] | None, value: int, *, exclusive: bool = False) -> bool:
    return ranges is None or any(a <= value < b + (not exclusive) for a, b in ranges)


def _in_month(ranges: tuple[Range, ...] | None, local: datetime) -> bool:
    if ranges is None:
        return True
    days = _days_in_month(local)
    for first, last in ranges:
        begin = first if first > 0 else days + first + 1
        end = last if last > 0 else days + last + 1
        if begin <= days and begin <= local.day <= end:
            return True
    return False


def _days_in_month(local: datetime) -> int:
    """Of the month that a time is in. By the calendar alone: a clock that is set in between does not count."""
    first = date(local.year, local.month, 1)
    after = date(local.year + local.month // 12, local.month % 12 + 1, 1) if local.year < 9999 else date.max
    return (after - first).days


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
