"""Storms and budgets, in every store: what waits, what a storm stands in for, and what may be spent."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from alertbot.domain.budgets import Budget
from alertbot.domain.model import DeliveryStatus, IncidentStatus, Level
from alertbot.store.base import Changes, Filing, Store
from tests.store.builders import T0, at, entry, incident, sent, want

LANE = "slack:#ops"
LEASE = timedelta(seconds=60)
MINUTE = timedelta(minutes=1)


async def three(store: Store) -> list[str]:
    wants = [replace(want(), incident=f"i{n}", at=at(n)) for n in range(3)]
    await store.commit(Changes(incidents=[incident(f"i{n}") for n in range(3)], wants=wants))
    return [w.id for w in wants]


async def test_what_waits_is_due_new_and_in_nobodys_hands(store: Store) -> None:
    ids = await three(store)
    assert [d.id for d in await store.waiting(LANE, at(10), 10)] == ids
    assert [d.id for d in await store.waiting(LANE, at(1), 10)] == ids[:2]
    assert [d.id for d in await store.waiting(LANE, at(10), 1)] == ids[:1]
    assert not await store.waiting("slack:#other", at(10), 10)
    (first,) = await store.claim(LANE, at(10), "w", LEASE, 1)
    assert [d.id for d in await store.waiting(LANE, at(10), 10)] == ids[1:]
    assert await store.record(sent(first, at(11)))
    await store.commit(Changes(wants=[replace(first.want, level=replace(first.want.level, revision=9), at=at(12))]))
    assert [d.id for d in await store.waiting(LANE, at(13), 10)] == ids[1:], "one that has a card does not wait for one"


async def test_what_is_folded_is_not_due_and_a_newer_want_keeps_it_folded(store: Store) -> None:
    ids = await three(store)
    await store.refile(Filing("storm-1", at(5), fold=ids[1:]))
    assert [d.id for d in await store.folded("storm-1")] == ids[1:]
    assert {d.status for d in await store.folded("storm-1")} == {DeliveryStatus.FOLDED}
    resolved = Level(IncidentStatus.RESOLVED, 1, 7, 7)
    await store.commit(Changes(wants=[replace(want(), incident="i1", level=resolved, at=at(6))]))
    assert [d.id for d in await store.claim(LANE, at(10), "w", LEASE, 10)] == ids[:1]
    assert (await store.folded("storm-1"))[0].want.level == resolved


async def test_one_that_was_claimed_meanwhile_is_not_folded(store: Store) -> None:
    ids = await three(store)
    await store.claim(LANE, at(1), "w", LEASE, 1)
    await store.refile(Filing("storm-1", at(5), fold=ids))
    assert [d.id for d in await store.folded("storm-1")] == ids[1:]


async def test_a_promoted_one_stays_in_its_storm_until_its_own_card_is_there(store: Store) -> None:
    ids = await three(store)
    await store.refile(Filing("storm-1", at(5), fold=ids))
    await store.refile(Filing("storm-1", at(6), promote=ids[:1]))
    assert len(await store.folded("storm-1")) == 3
    assert not await store.waiting(LANE, at(10), 10), "it is in a storm, and does not wait for another"
    (mine,) = await store.claim(LANE, at(10), "w", LEASE, 10)
    assert mine.id == ids[0]
    assert await store.record(sent(mine, at(11)))
    assert [d.id for d in await store.folded("storm-1")] == ids[1:]


@pytest.mark.parametrize("told", [False, True])
async def test_at_its_end_a_storm_lets_go_what_is_over_and_what_still_fires_gets_its_card(
    store: Store, told: bool
) -> None:
    ids = await three(store)
    await store.refile(Filing("storm-1", at(5), fold=ids))
    over = replace(want(), incident="i0", level=Level(IncidentStatus.RESOLVED, 1, 7, 7), at=at(6))
    await store.commit(Changes(wants=[over]))
    await store.refile(Filing("storm-1", at(9), leave=ids, told=told))
    assert not await store.folded("storm-1")
    due = [] if told else ids[1:]
    assert [d.id for d in await store.claim(LANE, at(10), "w", LEASE, 10)] == due


async def test_a_storm_goes_on_while_something_of_it_is_due(store: Store) -> None:
    storm = replace(want(), incident="storm-1", kind="storm:1")
    await store.refile(Filing(storm.id, at(0), wants=[storm]))
    assert [d.id for d in await store.storms(LANE)] == [storm.id]
    assert not await store.storms("slack:#other")
    (mine,) = await store.claim(LANE, at(1), "w", LEASE, 1)
    assert [d.id for d in await store.storms(LANE)] == [storm.id]
    assert await store.record(sent(mine, at(2)))
    assert not await store.storms(LANE)


async def test_of_a_part_of_a_lane_one_storm_goes_on_at_a_time(store: Store) -> None:
    ids = await three(store)
    storm, late = (want(f"storm-{n}", kind="storm:1", at=at(n)) for n in (1, 2))
    assert await store.refile(Filing(storm.id, at(3), fold=ids[:1], wants=[storm]))
    entries = [entry("i1")]
    assert not await store.refile(Filing(late.id, at(4), fold=ids[1:], wants=[late], entries=entries))
    assert await store.delivery(late.id) is None
    assert [d.id for d in await store.waiting(LANE, at(10), 10)] == ids[1:]
    assert not (await store.entries(incident="i1")).entries
    others = [want("storm-3", kind="storm:2"), want("storm-4", kind="storm:1", lane="slack:#other")]
    assert [await store.refile(Filing(o.id, at(4), wants=[o])) for o in others] == [True, True]
    newer = replace(storm, level=replace(storm.level, revision=9), at=at(5))
    assert await store.refile(Filing(storm.id, at(5), fold=ids[1:2], wants=[newer])), "it is that storm"
    (mine,) = [d for d in await store.claim(LANE, at(6), "w", LEASE, 9) if d.id == storm.id]
    assert await store.record(sent(mine, at(7)))
    assert await store.refile(Filing(late.id, at(8), wants=[late])), "the other one is over"


async def test_a_budget_is_a_number_of_calls_in_any_span(store: Store) -> None:
    three_a_minute = Budget("k", 3, MINUTE)
    for second in (0, 1, 30):
        assert await store.spend([three_a_minute], at(second)) is None
    assert await store.spend([three_a_minute], at(40)) == at(60)
    assert await store.calls_left(three_a_minute, at(59.9)) == 0
    assert await store.spend([three_a_minute], at(60)) is None, "the first is a minute ago"
    assert await store.spend([three_a_minute], at(60)) == at(61)
    assert await store.spend([Budget("other", 1, MINUTE)], at(60)) is None


async def test_of_several_budgets_all_are_spent_or_none(store: Store) -> None:
    one, two = Budget("one", 1, MINUTE), Budget("two", 1, 2 * MINUTE)
    assert await store.spend([two], at(0)) is None
    assert await store.spend([one, two], at(1)) == at(120)
    assert await store.calls_left(one, at(1)) == 1


async def test_part_of_a_budget_is_kept_for_what_is_urgent(store: Store) -> None:
    keeps = Budget("k", 3, MINUTE, keep=1)
    assert await store.spend([keeps], at(0)) is None
    assert await store.spend([keeps], at(1)) is None
    assert await store.spend([keeps], at(2)) == at(60)
    assert await store.spend([replace(keeps, keep=0)], at(2)) is None


async def test_nothing_is_spent_before_the_provider_allows_it(store: Store) -> None:
    budget = Budget("k", 3, MINUTE)
    await store.close_budget("k", at(90))
    await store.close_budget("k", at(30))
    assert await store.spend([budget], at(40)) == at(90)
    assert await store.calls_left(budget, at(40)) == 0
    assert await store.spend([budget], at(90)) is None
    assert await store.calls_left(budget, at(91)) == 2


async def test_a_clock_that_is_set_back_closes_no_budget_for_long(store: Store) -> None:
    budget = Budget("k", 1, MINUTE)
    assert await store.spend([budget], at(3600)) is None
    assert await store.spend([budget], T0) is None
    assert await store.spend([budget], at(-30)) == at(60)
