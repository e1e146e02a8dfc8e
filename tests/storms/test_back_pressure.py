"""More comes in than can be decided: the door says so in time, and what it took is not dropped."""

from __future__ import annotations

import asyncio
import json

import pytest

from alertbot.clock import MovableClock
from alertbot.domain.events import RawEvent
from alertbot.engine import Engine
from alertbot.sources import SOURCES
from alertbot.store.base import Changes, StoreUnavailable
from alertbot.store.memory import MemoryStore
from tests.domain.script import START, policy


class SlowStore(MemoryStore):
    """Appends at once, and commits nothing before it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_commit = asyncio.Event()

    async def commit(self, changes: Changes) -> None:
        await self.may_commit.wait()
        await super().commit(changes)


def webhook(n: int) -> RawEvent:
    alert = {"status": "firing", "labels": {"alertname": f"Down{n}"}, "annotations": {"text": "x" * 10_000}}
    return RawEvent(START, "alertmanager", json.dumps({"version": "4", "alerts": [alert]}).encode())


async def test_over_its_bound_the_door_refuses_and_all_that_it_took_is_decided() -> None:
    store, clock = SlowStore(), MovableClock(START)
    engine = Engine(store, policy(), clock, SOURCES, backlog=100_000)
    await engine.start()
    taken = 0

    async def flood() -> None:
        nonlocal taken
        for n in range(100):
            raw = webhook(n)
            await engine.accept(raw, SOURCES["alertmanager"](raw.body, START))
            taken += 1

    with pytest.raises(StoreUnavailable, match="wait to be decided"):
        await flood()
    assert 9 <= taken <= 12, "a hundred kilobytes are ten of these"
    store.may_commit.set()
    while (await store.stats(START)).undecided:  # noqa: ASYNC110 - the engine tells nobody
        await asyncio.sleep(0)
    await engine.accept(webhook(200), SOURCES["alertmanager"](webhook(200).body, START))
    await engine.stop()
    names = {i.labels["alertname"] for i in (await store.incidents()).incidents}
    assert names >= {f"Down{n}" for n in range(taken)}
