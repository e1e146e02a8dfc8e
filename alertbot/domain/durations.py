"""Durations as Prometheus and Alertmanager write them (prometheus/common model.ParseDuration), and for people."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

_UNITS: Final = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_DURATION: Final = re.compile(
    r"(?:(?P<y>[0-9]+)y)?(?:(?P<w>[0-9]+)w)?(?:(?P<d>[0-9]+)d)?(?:(?P<h>[0-9]+)h)?"
    r"(?:(?P<m>[0-9]+)m)?(?:(?P<s>[0-9]+)s)?(?:(?P<ms>[0-9]+)ms)?"
)
#: Go's durations are 64 bits of nanoseconds; Prometheus refuses what does not fit.
_LONGEST_MS: Final = (2**63 - 1) // 1_000_000


class DurationError(ValueError):
    """This is no duration. Whoever wrote it mends it."""


def parse_duration(text: str) -> timedelta:
    """`1h30m`, `5m`, `250ms`, `0`: units from the largest to the smallest, each once, whole numbers.

    Raises `DurationError`.
    """
    if text == "0":
        return timedelta(0)
    found = _DURATION.fullmatch(text)
    if not text or found is None:
        raise DurationError(f"not a valid duration: {text!r} (as 30s, 5m, 1h30m, 7d)")
    numbers = {unit: number.lstrip("0") for unit, number in found.groupdict(default="").items()}
    # More digits than the longest has in milliseconds: out of range before they are read as a number.
    digits = max(map(len, numbers.values()))
    total = 0 if digits > 13 else sum(int(n or "0") * _UNITS[unit] for unit, n in numbers.items())
    if digits > 13 or total > _LONGEST_MS:
        raise DurationError(f"duration out of range: {text!r}")
    return timedelta(milliseconds=total)


def format_duration(span: timedelta) -> str:
    """As Prometheus prints it: `1h30m`, `0s`. Years and weeks only where nothing smaller remains."""
    # Go's division: what is less than a millisecond is cut off.
    left = abs(span) // timedelta(milliseconds=1)
    if left == 0:
        return "0s"
    out = "-" if span < timedelta(0) else ""
    for unit, size in _UNITS.items():
        if unit in ("y", "w") and left % size:
            # model.Duration.String: 12w6d is harder to read than 90d.
            continue
        if count := left // size:
            out += f"{count}{unit}"
            left -= count * size
    return out


def humanize(span: timedelta) -> str:
    """For people: `40 s`, `12 min`, `3 h 5 min`, `2 d 4 h`. Two units at the most; less than a second is `0 s`."""
    seconds = max(0, int(span.total_seconds()))
    if seconds < 60:
        return f"{seconds} s"
    minutes = seconds // 60
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
