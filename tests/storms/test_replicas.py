"""Several replicas on one store: a dead destination is tried as one bot would, and a flood is one storm."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from alertbot.domain.breakers import FORGOTTEN_AFTER, PROBE, probed
from alertbot.domain.model import Delivery
from alertbot.store.memory import MemoryStore
from alertbot.storms import Storms
from tests.domain.script import START
from tests.storms.test_storms import hosts
from tests.storms.weather import Weather

LANE = "pagerduty:key"


async def tries(replicas: int) -> list[datetime]:
    """When a dead PagerDuty is asked in five minutes, while ten more incidents come every minute."""
    w = Weather("pagerduty")
    w.replicas = [w.replica() for _ in range(replicas)]
    w.to.down.add("pagerduty")
    for minute in range(5):
        await w.report(hosts(10 * minute, 10 * minute + 10), "critical")
        await w.run(60)
    return w.to.tried


async def test_three_replicas_try_a_dead_destination_no_more_often_than_one() -> None:
    one, three = await tries(1), await tries(3)
    assert three.count(START) < 5 + 3 * 4, "what each had under way when it broke"
    one, three = ([at for at in times if at > START] for times in (one, three))
    assert 20 <= len(one) <= 30, "each quarter of a minute, and a little more often at first"
    assert three == one


async def test_a_replica_that_starts_asks_a_dead_destination_nothing_and_shows_it_as_the_others_do() -> None:
    w = Weather("pagerduty")
    w.to.down.add("pagerduty")
    await w.report(hosts(0, 10), "critical")
    await w.run(60)
    before = len(w.to.tried)
    late = w.replica()
    await w.report(hosts(10, 20), "critical")
    while await w.engine.turn():
        pass
    await late.drain()
    assert len(w.to.tried) == before
    assert late.broken == w.outbox.broken != {}
    assert late.closed(w.clock.now()) == w.outbox.closed(w.clock.now())


async def test_once_a_dead_destination_answers_one_of_the_replicas_all_go_on() -> None:
    w = Weather("pagerduty")
    w.replicas.append(w.replica())
    w.to.down.add("pagerduty")
    await w.report(hosts(0, 30), "critical")
    await w.run(120)
    w.to.down.clear()
    await w.run(17)
    assert len({s.incident for s in w.said("pagerduty", what="trigger")}) == 30
    assert len(w.said("pagerduty")) == 30
    await w.run(1)
    assert [outbox.broken for outbox in w.replicas] == [{}, {}]


async def test_what_is_due_waits_a_minute_for_a_replica_that_died_while_it_tried_and_no_longer() -> None:
    w = Weather("pagerduty")
    w.to.down.add("pagerduty")
    await w.report(hosts(0, 10), "critical")
    await w.run(30)
    until = w.outbox.broken[LANE].until
    assert until is not None
    w.clock.move_to(until)
    await w.store.breaker(LANE, partial(probed, lease="of the dead", now=until))
    w.to.down.clear()
    await w.run(PROBE.total_seconds() - 1)
    assert w.said("pagerduty") == []
    await w.run(2)
    assert len({s.incident for s in w.said("pagerduty")}) == 10


async def test_a_destination_that_nothing_waits_for_any_more_is_not_shown_as_broken_for_ever() -> None:
    w = Weather("pagerduty")
    w.to.down.add("pagerduty")
    await w.report(hosts(0, 10), "critical")
    await w.run(30)
    await w.report(hosts(0, 10), "critical", resolved=True)
    await w.run(60)
    assert w.outbox.broken
    w.clock.advance(FORGOTTEN_AFTER + timedelta(minutes=1))
    await w.run(1)
    assert w.outbox.broken == {}


class Meeting(MemoryStore):
    """The first two that ask for a lane's storms hear the answer at the same time."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.both = asyncio.Event()

    async def storms(self, lane: str) -> Sequence[Delivery]:
        found = await super().storms(lane)
        self.asked += 1
        if self.asked == 2:
            self.both.set()
        await self.both.wait()
        return found


async def test_of_two_replicas_that_see_a_flood_at_once_one_begins_the_storm_and_the_other_joins_it() -> None:
    store = Meeting()
    w = Weather("slack", store=store)
    await w.report(hosts(0, 30))
    while await w.engine.turn():
        pass
    w.clock.advance(timedelta(seconds=1))
    await w.report(hosts(30, 60))
    while await w.engine.turn():
        pass
    one, two = (Storms(store, w.policy, w.limiter) for _ in range(2))
    now = w.clock.now()
    first = asyncio.create_task(one.sweep("slack:#ops", now, stormy=False))
    while store.asked < 1:  # noqa: ASYNC110 - the store tells nobody
        await asyncio.sleep(0)
    # The other one does not see these: for it the storm has another name.
    taken = await store.claim("slack:#ops", now, "w", timedelta(minutes=1), 30)
    await asyncio.gather(first, two.sweep("slack:#ops", now, stormy=False))
    store.asked = 0
    (storm,) = await store.storms("slack:#ops")
    assert len(await store.folded(storm.id)) == 60 - len(taken)
    assert await store.waiting("slack:#ops", now, 100) == []
