"""Several replicas on one Redis: whose an event is, and that no decision overwrites another's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from alertbot.clock import MovableClock
from alertbot.domain.breakers import BREAKS_AFTER, Breaker, failed, probed
from alertbot.domain.budgets import Budget
from alertbot.domain.events import RawEvent
from alertbot.domain.model import Alert, AlertStatus
from alertbot.domain.reasons import Reason
from alertbot.engine import Engine
from alertbot.sources import SOURCES
from alertbot.store import open_store
from alertbot.store.base import Changed, Changes, Filing, Keys, Store, StoreUnavailable, TakenOver
from alertbot.store.redis import LIVES, RedisStore
from tests.domain.script import policy
from tests.standins.faults import FlakyProxy
from tests.standins.redis_servers import RedisServer
from tests.store.builders import T0, alert, at, entry, held, incident, raw, sent, want

LANE = "slack:#ops"
Pair = tuple[Store, Store]


@pytest.fixture
async def pair(redis_url: Callable[[], str]) -> AsyncIterator[Pair]:
    """Two replicas that live."""
    url = redis_url()
    both = open_store(url), open_store(url)
    for store in both:
        await store.open()
        await store.renew(T0)
    yield both
    for store in both:
        await store.close()


async def seqs_of(store: Store) -> Sequence[int]:
    return [event.seq for event in await store.undecided(100)]


# Whose an event is.


async def test_an_event_belongs_to_the_replica_that_took_it(pair: Pair) -> None:
    a, b = pair
    (first,) = await a.append([raw(b"1")])
    (second,) = await b.append([raw(b"2")])
    assert (await seqs_of(a), await seqs_of(b)) == ([first], [second])
    assert (await b.renew(T0 + LIVES)).taken == 0, "a lives to the end of its time"


async def test_what_a_dead_replica_left_is_taken_over_when_its_time_is_over(pair: Pair) -> None:
    a, b = pair
    seqs = list(await a.append([raw(b"1"), raw(b"2")]))
    after = T0 + LIVES + timedelta(milliseconds=1)
    renewal = await b.renew(after)
    assert renewal.taken == 2
    assert renewal.again_at is not None
    assert after < renewal.again_at < after + LIVES
    assert (await seqs_of(a), await seqs_of(b)) == ([], seqs)


async def test_a_replica_that_was_only_paused_cannot_commit_what_was_taken_over(pair: Pair) -> None:
    a, b = pair
    mine, other = await a.append([raw(b"1"), raw(b"2")])
    await b.renew(T0 + 2 * LIVES)
    await b.commit(Changes(done=[mine], entries=[entry(by="b")]))
    await a.renew(T0 + 3 * LIVES)
    for seqs in ([mine], [other], [mine, other]):
        with pytest.raises(TakenOver) as refused:
            await a.commit(Changes(done=seqs, entries=[entry(by="a")]))
        assert refused.value.seqs == set(seqs), "decided by another, or another's to decide"
    assert [e.by for e in (await b.entries(incident="i1")).entries] == ["b"]


async def test_what_a_dead_replica_was_delivering_is_due_again_and_its_outcome_uncertain(pair: Pair) -> None:
    a, b = pair
    await a.commit(Changes(wants=[want("i1"), want("i2")]))
    (late,) = await a.claim(LANE, at(1), "wa", timedelta(minutes=2), 1)
    (mine,) = await b.claim(LANE, at(1), "wb", timedelta(minutes=2), 1)
    assert (await b.renew(T0 + LIVES)).taken == 0
    assert (await b.renew(T0 + LIVES + timedelta(seconds=1))).taken == 1
    (again,) = await b.claim(LANE, T0 + LIVES + timedelta(seconds=1), "wb2", timedelta(minutes=2), 5)
    assert (again.id, again.uncertain) == (late.id, True)
    assert not await a.record(sent(late, T0 + 2 * LIVES))
    assert await b.record(sent(mine, T0 + 2 * LIVES)), "its own goes on"


async def test_a_replica_that_stops_in_good_order_leaves_its_events_at_once(pair: Pair) -> None:
    a, b = pair
    (seq,) = await a.append([raw(b"1")])
    await a.close()
    assert (await b.renew(at(1))).taken == 1
    assert await seqs_of(b) == [seq]


async def test_an_incident_that_one_replica_wakes_is_not_due_for_another_for_a_while(pair: Pair) -> None:
    a, b = pair
    await a.commit(Changes(incidents=[incident("i1", flush_at=at(5)), incident("i2", flush_at=at(9))]))
    assert (await a.due(at(5), 10)).incidents == ["i1"]
    assert (await b.due(at(6), 10)).incidents == []
    assert await b.next_wake() == at(9)
    assert (await a.due(at(6), 10)).incidents == ["i1"], "its own stays due"
    assert (await b.due(at(9), 10)).incidents == ["i2"]
    assert await b.next_wake() == at(9), "its own, until it is decided"
    await b.commit(Changes(incidents=[incident("i2")]))
    assert await b.next_wake() == at(6) + LIVES, "in case the other dies"
    assert (await b.due(at(6) + LIVES, 10)).incidents == ["i1"]


# What was loaded must still stand there.

RELATION = "r"
ROWS = {
    "an alert changed": (Keys(identities=frozenset({"a"})), Changes(alerts=[alert(seen_at=at(1))])),
    "an alert came": (Keys(identities=frozenset({"b"})), Changes(alerts=[alert("b")])),
    "an incident changed": (Keys(incidents=frozenset({"i1"})), Changes(incidents=[incident(firing=9)])),
    "an incident has a newer one of its key": (
        Keys(incident_keys=frozenset({"key of i1"})),
        Changes(incidents=[incident("i2", "key of i1")]),
    ),
    "an incident has a new member": (Keys(members=frozenset({"i1"})), Changes(alerts=[alert("b")])),
    "a relation has a source": (
        Keys(relations=frozenset({RELATION})),
        Changes(alerts=[alert("b", "i9", source_of=(RELATION,))]),
    ),
    "somebody waits for a relation": (
        Keys(waiting=frozenset({RELATION})),
        Changes(alerts=[alert("b", "i9", hold=held(RELATION))]),
    ),
}


@pytest.mark.parametrize("row", ROWS)
async def test_a_decision_is_refused_whole_where_what_it_was_made_from_has_changed(pair: Pair, row: str) -> None:
    a, b = pair
    keys, change = ROWS[row]
    await a.commit(Changes(alerts=[alert()], incidents=[incident()]))
    (seq,) = await a.append([raw()])
    before = await a.load(keys)
    await b.commit(change)
    decided = Changes(done=[seq], entries=[entry(by="a")], wants=[want()], seen=before.seen)
    with pytest.raises(Changed):
        await a.commit(decided)
    assert list((await a.entries(incident="i1")).entries) == []
    assert await a.next_delivery() is None
    assert await seqs_of(a) == [seq], "it is still to be decided"
    after = await a.load(keys)
    await a.commit(replace(decided, seen=after.seen))
    assert await seqs_of(a) == []


async def test_a_decision_stands_while_only_others_change(pair: Pair) -> None:
    a, b = pair
    await a.commit(Changes(alerts=[alert()], incidents=[incident()]))
    loaded = await a.load(Keys(identities=frozenset({"a"}), members=frozenset({"i1"})))
    await b.commit(Changes(alerts=[alert("b", "i2")], incidents=[incident("i2")], wants=[want("i1")]))
    await a.commit(Changes(alerts=[alert(seen_at=at(3))], seen=loaded.seen))


async def test_a_hundred_counts_by_two_replicas_at_once_are_a_hundred(pair: Pair) -> None:
    await pair[0].commit(Changes(incidents=[incident()]))

    async def count(store: Store) -> None:
        for _ in range(50):
            while True:
                loaded = await store.load(Keys(incidents=frozenset({"i1"})))
                (now,) = loaded.incidents
                try:
                    await store.commit(Changes(incidents=[replace(now, firing=now.firing + 1)], seen=loaded.seen))
                except Changed:
                    continue
                break

    await asyncio.gather(*map(count, pair))
    found = await pair[0].incident("i1")
    assert found is not None
    assert found.firing == 100


async def test_a_replica_hears_that_another_changed_an_alert_and_not_that_it_did_so_itself(pair: Pair) -> None:
    a, b = pair

    async def changed(alert: Alert) -> tuple[bool, bool]:
        before = a.changed_elsewhere, b.changed_elsewhere
        await a.commit(Changes(alerts=[alert]))
        await b.append([raw()])
        return a.changed_elsewhere != before[0], b.changed_elsewhere != before[1]

    assert await changed(alert()) == (False, False), "a new one is no change"
    assert await changed(alert(seen_at=at(60))) == (False, False), "nor is a repeat"
    assert await changed(alert(status=AlertStatus.RESOLVED)) == (False, True)


# Deliveries and budgets.


async def test_two_replicas_that_claim_at_once_never_get_the_same(pair: Pair) -> None:
    await pair[0].commit(Changes(wants=[want(f"i{n}") for n in range(60)]))

    async def take(store: Store, worker: str) -> list[str]:
        mine: list[str] = []
        while found := await store.claim(LANE, at(1), worker, LIVES, 3):
            mine += [delivery.id for delivery in found]
        return mine

    first, second = await asyncio.gather(take(pair[0], "a"), take(pair[1], "b"))
    assert len(first) + len(second) == len({*first, *second}) == 60


async def test_a_lane_that_a_dead_replica_was_trying_is_tried_by_another_once_it_is_known(pair: Pair) -> None:
    a, b = pair
    await a.commit(Changes(wants=[want("i1")]))
    await a.breaker(LANE, lambda _: Breaker("slack", "#ops", BREAKS_AFTER, at(0), "HTTP 503", at(0), 1, at(1)))
    await a.breaker(LANE, partial(probed, lease="wa", now=at(1)))
    assert await a.claim(LANE, at(1), "wa", timedelta(minutes=2), 1)
    await b.renew(T0 + LIVES)
    after = T0 + LIVES + timedelta(seconds=1)
    breaker = (await b.lanes(after)).breakers[LANE]
    assert (breaker.probe, breaker.closed(after)) == ("wa", True), "a may live"
    await b.renew(after)
    breaker = (await b.lanes(after)).breakers[LANE]
    assert (breaker.probe, breaker.closed(after), breaker.opened) == ("", False, at(0))


async def test_a_budget_is_one_for_all_replicas(pair: Pair) -> None:
    budget = Budget("k", 20, timedelta(minutes=1))
    spent = await asyncio.gather(*(store.spend([budget], at(1)) for store in pair for _ in range(15)))
    assert spent.count(None) == 20


async def test_of_replicas_that_want_to_try_a_dead_lane_one_may_and_all_know(pair: Pair) -> None:
    a, b = pair
    for n in range(BREAKS_AFTER):
        await pair[n % 2].breaker(LANE, lambda x: failed(x or Breaker("slack", "#ops"), LANE, "w", at(1), "HTTP 503"))
    leases = [(store, f"w{n}") for n in range(20) for store in pair]
    tries = [store.breaker(LANE, partial(probed, lease=lease, now=at(60))) for store, lease in leases]
    assert len({breaker.probe for breaker in await asyncio.gather(*tries) if breaker is not None}) == 1
    assert (await a.lanes(at(60))).breakers == (await b.lanes(at(60))).breakers != {}
    await a.breaker(LANE, lambda _: None)
    assert (await b.lanes(at(60))).breakers == {}


async def test_of_what_people_do_twice_at_once_one_is_the_first(pair: Pair) -> None:
    firsts = await asyncio.gather(*(store.once("escalate i1", T0, at(15)) for store in pair for _ in range(20)))
    assert sum(firsts) == 1


async def test_of_two_replicas_that_begin_a_storm_at_once_one_does(pair: Pair) -> None:
    storms = [want(f"storm-{n}", kind="storm:1") for n in range(20)]
    begun = await asyncio.gather(*(pair[n % 2].refile(Filing(s.id, T0, wants=[s])) for n, s in enumerate(storms)))
    assert sum(begun) == 1
    (raging,) = await pair[0].storms(LANE)
    assert raging.want == storms[begun.index(True)]


# The way there.


class AppendsLate(RedisStore):
    """Its first append is given up for lost, and arrives when it is told to."""

    late: Sequence[RawEvent] = ()

    async def append(self, events: Sequence[RawEvent]) -> Sequence[int]:
        if not self.late:
            self.late = events
            raise StoreUnavailable("given up")
        return await super().append(events)


async def test_an_event_that_arrives_after_its_append_was_given_up_is_decided_all_the_same(
    redis_url: Callable[[], str],
) -> None:
    store, clock = AppendsLate(redis_url()), MovableClock(T0)
    await store.open()
    engine = Engine(store, policy(), clock, SOURCES)
    await engine.start()
    body = b'{"incident": "i1", "by": "ada"}'
    with pytest.raises(StoreUnavailable):
        await engine.accept(RawEvent(T0, "acknowledge", body), SOURCES["acknowledge"](body, T0))
    await engine.look_again()  # as it does by itself, and there is nothing yet
    await store.append(store.late)
    async with asyncio.timeout(10):
        while await store.undecided(1):
            clock.advance(LIVES / 3)
            await asyncio.sleep(0.01)
    assert [e.reason for e in (await store.entries(incident="i1")).entries] == [Reason.NO_SUCH_INCIDENT]
    await engine.stop()
    await store.close()


class LosesAnswers(FlakyProxy):
    """Closes instead of the next so many answers, once `first` of them have gone through."""

    first = 0
    lose = 0

    @property
    def swallow_answer(self) -> bool:
        if self.first:
            self.first -= 1
            return False
        self.lose -= 1
        return self.lose >= 0

    @swallow_answer.setter
    def swallow_answer(self, value: bool) -> None:
        assert not value


async def test_an_event_whose_answer_was_lost_is_stored_once(
    redis_server: RedisServer, redis_url: Callable[[], str]
) -> None:
    proxy = LosesAnswers(redis_server.port)
    await proxy.start()
    url = redis_url().replace(str(redis_server.port), str(proxy.port))
    store = RedisStore(url)
    await store.open()
    await store.append([raw(b"warm")])
    with redis_server.client() as client:
        client.config_resetstat()
        proxy.lose = 1
        (seq,) = await store.append([raw(b"once")])
        # Asked again it writes too: WAIT waits for what its own connection wrote, or for nothing.
        assert client.info("commandstats")["cmdstat_expire"]["calls"] == 1
    assert [e.event.body for e in await store.undecided(10)] == [b"warm", b"once"]
    assert (await store.undecided(10))[-1].seq == seq
    await store.close()
    await proxy.stop()


async def test_what_was_claimed_unheard_is_due_again_once_redis_is_back(
    redis_server: RedisServer, redis_url: Callable[[], str]
) -> None:
    proxy = LosesAnswers(redis_server.port)
    await proxy.start()
    url = redis_url()
    store, beside = RedisStore(url.replace(str(redis_server.port), str(proxy.port))), RedisStore(url)
    await store.open()
    await beside.open()
    await store.renew(T0)
    await store.commit(Changes(wants=[want()]))
    proxy.first, proxy.lose = 1, 2  # what is due is heard; that it was claimed is not, nor when asked again
    with pytest.raises(StoreUnavailable):
        await store.claim(LANE, at(1), "lost", timedelta(minutes=2), 1)
    proxy.lose = 0
    assert list(await beside.claim(LANE, at(2), "w", timedelta(minutes=2), 1)) == [], "it is claimed"
    async with asyncio.timeout(10):
        while True:
            try:
                await store.renew(at(3))
            except StoreUnavailable:
                await asyncio.sleep(0.05)
                continue
            break
    (again,) = await beside.claim(LANE, at(4), "w", timedelta(minutes=2), 1)
    assert again.uncertain
    await store.close()
    await beside.close()
    await proxy.stop()


async def test_a_redis_that_is_gone_is_said_at_once_and_found_again_by_itself(
    redis_server: RedisServer, redis_url: Callable[[], str]
) -> None:
    proxy = FlakyProxy(redis_server.port)
    await proxy.start()
    store = RedisStore(redis_url().replace(str(redis_server.port), str(proxy.port)))
    await store.open()
    await proxy.refuse()
    started = asyncio.get_running_loop().time()
    for _ in range(100):
        with pytest.raises(StoreUnavailable):
            await store.append([raw()])
    assert asyncio.get_running_loop().time() - started < 2
    await proxy.accept()
    async with asyncio.timeout(10):
        while True:
            try:
                await store.append([raw(b"back")])
            except StoreUnavailable:
                await asyncio.sleep(0.01)
                continue
            break
    assert [e.event.body for e in await store.undecided(10)] == [b"back"]
    await store.close()
    await proxy.stop()
