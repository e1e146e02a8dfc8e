"""The graph of an alert: its own expression over the last hour, asked of Prometheus, as a line of characters."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import parse_qs, urlsplit

from alertbot.domain.enrichment import Enrichment, Graph
from alertbot.domain.model import Alert, Incident
from alertbot.enrich.prometheus import Prometheus, Series, numbers

SPAN: Final = timedelta(hours=1)
STEP: Final = timedelta(minutes=3)
STEPS: Final = SPAN // STEP + 1
#: A longer expression is not asked.
MAX_EXPRESSION: Final = 10_000

GAP: Final = "·"
_LEVELS: Final = "▁▂▃▄▅▆▇█"
#: A comparison with a number at the end: it would leave out all that is within bounds.
_THRESHOLD: Final = re.compile(r"(.+?)\s*(?:[=!><]=|[><])\s*(?:bool\s+)?[-+]?[0-9][0-9.eE+-]*\s*", re.DOTALL)
_SET_OPERATOR: Final = re.compile(r"\b(and|or|unless)\b", re.IGNORECASE)


class Graphs:
    """Asks for an incident's first firing alert that names its expression."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus

    async def __call__(self, incident: Incident, alerts: Sequence[Alert], now: datetime) -> Enrichment:
        """Raises `Unanswered`."""
        named = ((a, expression_of(a.generator_url)) for a in alerts if a.firing)
        alert, expression = next(((a, e) for a, e in named if e), (None, ""))
        if alert is None:
            return Enrichment()
        start = now - SPAN
        found = await self._prometheus.series(without_threshold(expression), start, now, STEP)
        own = series_of(alert.labels, found)
        return Enrichment() if own is None else Enrichment(graph=graph_of(numbers(own, start, STEP, STEPS)))


def expression_of(generator_url: str) -> str:
    """The expression in the link that Prometheus gives an alert (`…/graph?g0.expr=…`); empty where it has none."""
    try:
        found = parse_qs(urlsplit(generator_url).query).get("g0.expr", [""])[0]
    except ValueError:  # no address, or one with too many fields
        return ""
    return found if len(found) <= MAX_EXPRESSION else ""


def without_threshold(expression: str) -> str:
    """`rate(x[5m]) > 0.1` as `rate(x[5m])`; an expression that is more than that stays as it is."""
    bare = re.sub(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`", lambda m: "_" * len(m[0]), expression)
    found = _THRESHOLD.fullmatch(bare)
    if found is None or _SET_OPERATOR.search(bare):
        return expression
    left = found[1]
    whole = all(left.count(a) == left.count(b) for a, b in ("()", "[]", "{}"))
    return expression[: len(left)] if whole else expression


def series_of(labels: Mapping[str, str], found: Sequence[Series]) -> Series | None:
    """The alert's own series: all of its labels are the alert's. A single one is it in any case."""
    if len(found) == 1:
        return found[0]
    for series in found:
        own = {k: v for k, v in series.metric.items() if k != "__name__"}
        if own and own.items() <= labels.items():
            return series
    return None


def graph_of(values: Sequence[float | None]) -> Graph | None:
    """A line from the lowest to the highest; a step without a number is a gap. None without any number."""
    there = [v for v in values if v is not None]
    if not there:
        return None
    low, high = min(there), max(there)
    top = len(_LEVELS) - 1

    def level(value: float | None) -> str:
        if value is None:
            return GAP
        # Divided first: the distance of two numbers may be more than a number can be.
        return _LEVELS[round((value / 2 - low / 2) / (high / 2 - low / 2) * top)] if high > low else _LEVELS[0]

    return Graph("".join(map(level, values)), low, high, there[-1], SPAN)
