"""What is known of destinations that fail, and what people did a moment ago: in every store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from alertbot.domain.breakers import Breaker, failed, probed
from alertbot.store import open_store
from alertbot.store.base import Filing, Store
from tests.store.builders import T0, at, sent, want

LANE = "slack:#ops"
WELL = Breaker("slack", "#ops")


def fails(second: int) -> Callable[[Breaker | None], Breaker | None]:
    return lambda b: failed(b or WELL, LANE, "w", at(second), f"HTTP {500 + second}")


async def test_a_lane_that_answers_has_no_breaker_and_one_that_fails_has_one_until_it_answers(store: Store) -> None:
    assert (await store.lanes(T0)).breakers == {}
    assert await store.breaker(LANE, lambda b: b) is None
    assert (await store.lanes(T0)).breakers == {}
    first = await store.breaker(LANE, fails(1))
    assert first == failed(WELL, LANE, "w", at(1), "HTTP 501")
    second = await store.breaker(LANE, fails(2))
    assert second is not None
    assert second.failures == 2
    await store.breaker("pagerduty:k", lambda _: replace(WELL, to="ß\x1f", opened=T0, until=at(9), probe="a", probes=3))
    breakers = (await store.lanes(T0)).breakers
    assert breakers == {LANE: second, "pagerduty:k": Breaker("slack", "ß\x1f", 0, None, "", T0, 3, at(9), "a")}
    assert await store.breaker(LANE, lambda _: None) is None
    assert set((await store.lanes(T0)).breakers) == {"pagerduty:k"}


async def test_of_changes_at_once_none_is_lost(store: Store) -> None:
    await asyncio.gather(*(store.breaker(LANE, fails(n)) for n in range(1, 21)))
    assert (await store.lanes(T0)).breakers[LANE].failures == 20


async def test_a_restart_does_not_forget_that_a_destination_is_dead(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'alertbot.db'}"
    for expected in (None, 1, 2):
        store = open_store(url)
        await store.open()
        known = (await store.lanes(T0)).breakers.get(LANE)
        assert (known.failures if known else None) == expected
        await store.breaker(LANE, fails(1))
        await store.close()


async def test_a_file_that_is_opened_again_has_nobody_who_tries_a_lane(tmp_path: Path) -> None:
    """Whoever had it is dead: there is no need to wait for as long as a try may take."""
    url = f"sqlite:///{tmp_path / 'alertbot.db'}"
    broken = replace(WELL, failures=5, failed_at=at(3), opened=at(3), probes=1, until=at(5))
    for expected in (None, replace(broken, until=at(3))):
        store = open_store(url)
        await store.open()
        assert (await store.lanes(T0)).breakers.get(LANE) == expected
        await store.breaker(LANE, lambda _: probed(broken, "w", at(5)))
        await store.close()


async def test_lanes_with_a_storm_are_known_until_it_is_over(store: Store) -> None:
    storm = replace(want(), incident="storm-1", kind="storm:1")
    assert (await store.lanes(at(1))).stormy == frozenset()
    assert await store.refile(Filing(storm.id, at(0), wants=[storm]))
    assert (await store.lanes(at(1))).stormy == {LANE}
    (mine,) = await store.claim(LANE, at(1), "w", timedelta(minutes=1), 1)
    assert (await store.lanes(at(1))).stormy == {LANE}
    assert await store.record(sent(mine, at(2)))
    assert (await store.lanes(at(3))).stormy == frozenset()


# What people did a moment ago.


async def test_what_somebody_did_is_remembered_until_its_time_is_over(store: Store) -> None:
    assert await store.once("a press", T0, at(15))
    assert not await store.once("a press", at(14), at(30))
    assert await store.once("another", at(14), at(30))
    assert await store.once("a press", at(15), at(30)), "the second time did not make it longer"


async def test_it_can_be_remembered_for_longer_and_forgotten(store: Store) -> None:
    assert await store.once("done", T0, at(15))
    await store.remember("done", at(3600))
    assert not await store.once("done", at(3599), at(4000))
    assert await store.once("failed", T0, at(15))
    await store.remember("failed", at(1))
    assert await store.once("failed", at(1), at(15))
    assert await store.get_meta("done") is None
