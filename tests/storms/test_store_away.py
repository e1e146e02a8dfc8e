"""The store is away for a moment while something is to be told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any

import pytest

from alertbot.domain.budgets import Budget
from alertbot.store.base import StoreUnavailable
from alertbot.store.memory import MemoryStore
from tests.storms.weather import Weather


class Faltering(MemoryStore):
    """Does not answer one question the next time that it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.refuses: set[str] = set()

    async def _or_away(self, question: str, answer: Callable[..., Awaitable[Any]], *asked: Any) -> Any:
        if question in self.refuses:
            self.refuses.remove(question)
            raise StoreUnavailable("away")
        return await answer(*asked)

    async def incident(self, incident_id: str) -> Any:
        return await self._or_away("incident", super().incident, incident_id)

    async def members(self, incident_id: str, limit: int = 1000) -> Any:
        return await self._or_away("members", super().members, incident_id, limit)

    async def spend(self, budgets: Sequence[Budget], now: datetime) -> Any:
        return await self._or_away("spend", super().spend, budgets, now)


@pytest.mark.parametrize(
    ("question", "seconds"),
    [
        # What is asked before an attempt is asked again as soon as it can be, not when the lease has run out.
        ("incident", 1.0),
        ("members", 1.0),
        # Within an attempt it may have told something already: tried again, as one whose outcome is not known.
        ("spend", 10.0),
    ],
)
async def test_a_store_that_is_away_for_a_moment_does_not_make_a_page_late(question: str, seconds: float) -> None:
    store = Faltering()
    weather = Weather("pagerduty", store=store)
    await weather.report(["a"], "critical")
    while await weather.engine.turn():
        pass
    store.refuses.add(question)
    await weather.run(seconds)
    assert not store.refuses
    assert [said.what for said in weather.to.said] == ["trigger"]
