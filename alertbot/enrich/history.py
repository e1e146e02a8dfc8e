"""How an incident's group behaved before, by our own record."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from alertbot.domain.enrichment import Enrichment, Past, history_of
from alertbot.domain.model import Alert, Incident

#: How far back it looks.
WITHIN: Final = timedelta(days=30)


class Histories:
    """`past` is the store's question: the incidents of a group since a time."""

    def __init__(self, past: Callable[[str, datetime], Awaitable[Past]]) -> None:
        self._past = past

    async def __call__(self, incident: Incident, alerts: Sequence[Alert], now: datetime) -> Enrichment:
        """What the record has of the last `WITHIN`. Raises what the store raises."""
        past = await self._past(incident.key, now - WITHIN)
        return Enrichment(history=history_of(incident, past, WITHIN))
