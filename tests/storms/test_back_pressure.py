"""More comes in than can be decided: the door says so in time, and what it took is not dropped."""

from __future__ import annotations

import asyncio
import json

import pytest

from alertbot.clock import MovableClock
from alertbot.domain.events import RawEvent
from alertbot.domain.reasons import Reason
from alertbot.domain.situation import Decision
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


def webhook(n: int, severity: str = "low") -> RawEvent:
    labels = {"alertname": f"Down{n}", "severity": severity}
    alert = {"status": "firing", "labels": labels, "annotations": {"text": "x" * 10_000}}
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


async def order_of_decisions(events: list[RawEvent]) -> list[str]:
    """The alert names, or what else it was, in the order in which they are decided once all of them wait."""
    decided: list[str] = []

    def on_decision(decision: Decision) -> None:
        decided.extend(
            a.labels["alertname"] for a in decision.alerts if a.firing and a.labels["alertname"] not in decided
        )
        decided.extend(e.reason.value for e in decision.entries if e.reason is Reason.NOTE_ADDED)

    engine = Engine(MemoryStore(), policy(), MovableClock(START), SOURCES, on_decision=on_decision)
    for raw in events:
        await engine.accept(raw, SOURCES[raw.source](raw.body, START))
    while await engine.turn():
        pass
    return decided


async def test_while_many_wait_a_critical_alert_is_decided_before_them() -> None:
    waiting = [webhook(n) for n in range(200)]
    decided = await order_of_decisions([*waiting, webhook(998, "critical"), webhook(999, "critical")])
    assert decided[:2] == ["Down998", "Down999"], "in their own order"
    assert decided[2:] == [f"Down{n}" for n in range(200)]


async def test_a_critical_alert_does_not_pass_what_a_person_did() -> None:
    note = RawEvent(START, "note", json.dumps({"incident": "none", "by": "ann", "text": "looking"}).encode())
    waiting = [webhook(n) for n in range(100)]
    decided = await order_of_decisions([*waiting, note, webhook(999, "critical")])
    assert decided[-1] == "Down999"


async def test_where_few_wait_all_keep_their_order() -> None:
    decided = await order_of_decisions([*(webhook(n) for n in range(20)), webhook(999, "critical")])
    assert decided[-1] == "Down999"
