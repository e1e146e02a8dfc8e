"""What is left of the error budgets of the objectives that an incident belongs to, asked of Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from alertbot.config.models import Slo
from alertbot.domain.durations import format_duration
from alertbot.domain.enrichment import Enrichment, ErrorBudget
from alertbot.domain.matchers import matches_all
from alertbot.domain.model import Alert, Incident
from alertbot.enrich.prometheus import Prometheus

#: Objectives of one incident that are asked for and shown, in the configuration's order.
MOST: Final = 3


class Budgets:
    """Asks for the objectives whose matchers take one of the incident's alerts."""

    def __init__(self, prometheus: Prometheus, slos: Sequence[Slo]) -> None:
        self._prometheus = prometheus
        self._slos = slos

    async def __call__(self, incident: Incident, alerts: Sequence[Alert], now: datetime) -> Enrichment:
        """Raises `Unanswered`."""
        asked = []
        for slo in self._slos:
            matchers = [m for line in slo.matchers for m in line]
            taken = next((a for a in alerts if a.firing and matches_all(matchers, a.labels)), None)
            if taken is not None:
                asked.append((slo, taken.labels))
        found = await asyncio.gather(*(self._budget(slo, labels, now) for slo, labels in asked[:MOST]))
        return Enrichment(budgets=tuple(b for b in found if b is not None))

    async def _budget(self, slo: Slo, labels: Mapping[str, str], now: datetime) -> ErrorBudget | None:
        window = format_duration(slo.window)
        patterns = [slo.query] if slo.query is not None else [slo.good, slo.total]
        queries = [p.fill(labels, window=window) for p in patterns if p is not None]
        if not all(queries):
            return None
        answers = await asyncio.gather(*(self._prometheus.number(q, now) for q in queries))
        left = answers[0] if len(answers) == 1 else left_of(slo.objective, *answers)
        return None if left is None else ErrorBudget(slo.name, slo.objective, slo.window, left)


def left_of(objective: float, good: float | None, total: float | None) -> float | None:
    """The share of the budget that is left, of an objective in percent. None without any event.

    Where nothing was good, `good` may have no series at all.
    """
    if not total:
        return None
    return 1 - (1 - (good or 0.0) / total) / (1 - objective / 100)
