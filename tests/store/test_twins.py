"""SQLite, Redis and the twin in memory answer every question alike, whatever was done to them before."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from alertbot.domain.model import AlertStatus, Delivery, DeliveryStatus, IncidentStatus, Level
from alertbot.store import open_store
from alertbot.store.base import Changes, EntryPage, Keys, Store
from tests.store.builders import alert, at, deploy, entry, failed, held, incident, parked, raw, sent, want, window

IDENTITIES = ["a", "b", "ß\x1f", "d"]
INCIDENTS = ["i1", "i10", "i2", ""]
RELATIONS = ["r", "q\x1fprod"]
WINDOWS = ["w1", "w2", "ß\x1f"]
SERVICES = ["api", "db"]
LANES = ["slack:#ops", "slack:#dev", "pagerduty:k"]

seconds = st.integers(0, 40)
times = seconds.map(at)
maybe_times = st.none() | times
relations = st.lists(st.sampled_from(RELATIONS), unique=True).map(tuple)
labels = st.fixed_dictionaries(
    {"service": st.sampled_from(["api", "db", ""])}, optional={"env": st.sampled_from(["prod", 'p"\\'])}
)
alerts = st.builds(
    alert,
    st.sampled_from(IDENTITIES),
    st.sampled_from(INCIDENTS),
    labels=labels,
    status=st.sampled_from(AlertStatus),
    starts_at=times,
    seen_at=times,
    settled=st.booleans(),
    current=st.booleans(),
    source_of=relations,
    two_sided=relations,
    hold=st.none() | st.builds(held, st.none() | st.sampled_from(RELATIONS)),
    held_in=st.lists(st.sampled_from(WINDOWS), unique=True).map(tuple),
)
windows = st.builds(
    window, st.sampled_from(WINDOWS), starts_at=times, ends_at=times, announced=st.booleans(), over_at=maybe_times
)
deploys = st.builds(
    deploy, st.sampled_from(["d1", "d2", "d3"]), service=st.sampled_from(SERVICES), started_at=times, heard_at=times
)
incidents = st.builds(
    incident,
    st.sampled_from(INCIDENTS[:3]),
    st.just("k"),
    st.sampled_from(IncidentStatus),
    severity=st.sampled_from(["high", "low"]),
    created_at=st.just(at(0)),
    resolved_at=maybe_times,
    flush_at=maybe_times,
    repeat_at=maybe_times,
)
wants = st.builds(
    lambda home, to, lane, revision, status, when, rank: want(
        home, lane=lane, to=to, level=Level(status, 1, revision, revision), at=when, rank=rank
    ),
    st.sampled_from(INCIDENTS[:3]),
    st.sampled_from(["#ops", "#dev"]),
    st.sampled_from(LANES),
    st.integers(1, 6),
    st.sampled_from([IncidentStatus.OPEN, IncidentStatus.RESOLVED]),
    times,
    st.integers(0, 2),
)
entries = st.builds(entry, st.sampled_from(INCIDENTS), st.sampled_from(["", *IDENTITIES]), times)
references = st.sampled_from(["1", "2", "3", want("i1", to="#ops").id, want("i2", to="#dev").id, "gone"])
parked_things = st.builds(
    parked,
    st.sampled_from(["p1", "p2", "p3"]),
    st.sampled_from(["alert", "event", "delivery"]),
    references,
    times,
    st.binary(max_size=5),
)


def some(elements: st.SearchStrategy[Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(elements, max_size=3)


class Twins(RuleBasedStateMachine):
    """Does the same to both, and compares each answer and all that can be looked at."""

    def url(self) -> str:
        """Of a new, empty store beside the twin in memory."""
        raise NotImplementedError

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.stores = [open_store("memory:"), open_store(self.url())]
        for store in self.stores:
            self.loop.run_until_complete(store.open())
        self.claimed: list[Delivery] = []
        self.lease = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for store in self.stores:
                self.loop.run_until_complete(store.close())
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self.folder.cleanup()

    def both(self, ask: Callable[[Store], Coroutine[Any, Any, Any]]) -> Any:
        memory, other = (self.loop.run_until_complete(ask(store)) for store in self.stores)
        assert comparable(memory) == comparable(other)
        return memory

    @rule(bodies=some(st.binary(max_size=9)), when=times)
    def append(self, bodies: list[bytes], when: Any) -> None:
        self.both(lambda store: store.append([raw(body, when) for body in bodies]))

    @rule(
        done=some(st.integers(1, 5)),
        alerts=some(alerts),
        incidents=some(incidents),
        wants=some(wants),
        entries=some(entries),
        parked=some(parked_things),
        windows=some(windows),
        deploys=some(deploys),
    )
    def commit(self, done: list[int], **changes: Any) -> None:
        undecided = {event.seq for event in self.both(lambda store: store.undecided(100))}
        self.both(lambda store: store.commit(Changes(done=sorted(undecided.intersection(done)), **changes)))

    @rule(lane=st.sampled_from(LANES), now=times, lease_for=seconds, limit=st.integers(1, 3))
    def claim(self, lane: str, now: Any, lease_for: int, limit: int) -> None:
        self.lease += 1
        for_how_long = at(lease_for) - at(0)
        self.claimed += self.both(lambda store: store.claim(lane, now, f"w{self.lease}", for_how_long, limit))

    @precondition(lambda self: self.claimed)
    @rule(data=st.data(), now=times, uncertain=st.booleans(), next_at=times, entries=some(entries))
    def record(self, data: st.DataObject, now: Any, uncertain: bool, next_at: Any, entries: list[Any]) -> None:
        delivery = data.draw(st.sampled_from(self.claimed))
        outcome = data.draw(
            st.sampled_from(
                [
                    sent(delivery, now, uncertain=uncertain),
                    failed(delivery, now, next_at, uncertain=uncertain),
                    failed(delivery, now, None, status=DeliveryStatus.PARKED),
                ]
            )
        )
        self.both(lambda store: store.record(replace(outcome, entries=entries)))

    @rule(name=st.sampled_from(["p1", "p2", "p3"]), now=times)
    def retry_parked(self, name: str, now: Any) -> None:
        self.both(lambda store: store.retry_parked(name, now))

    @rule(name=st.sampled_from(["p1", "p2", "p3"]))
    def drop_parked(self, name: str) -> None:
        self.both(lambda store: store.drop_parked(name))

    @rule(before=times)
    def trim(self, before: Any) -> None:
        self.both(lambda store: store.trim(before))

    @rule(
        keys=st.builds(
            Keys,
            identities=st.frozensets(st.sampled_from(IDENTITIES)),
            incident_keys=st.frozensets(st.sampled_from(["k", "none"])),
            incidents=st.frozensets(st.sampled_from(INCIDENTS)),
            members=st.frozensets(st.sampled_from(INCIDENTS)),
            relations=st.frozensets(st.sampled_from(RELATIONS)),
            waiting=st.frozensets(st.sampled_from(RELATIONS)),
            labels=st.none() | labels,
            windows=st.frozensets(st.sampled_from(WINDOWS)),
            held_in=st.frozensets(st.sampled_from(WINDOWS)),
            services=st.frozensets(st.sampled_from(SERVICES)),
            deploys_since=maybe_times,
        )
    )
    def load(self, keys: Keys) -> None:
        self.both(lambda store: store.load(keys))

    @rule(now=times, after=st.tuples(st.sampled_from(INCIDENTS), st.sampled_from(IDENTITIES)), wanted=labels)
    def look(self, now: Any, after: tuple[str, str], wanted: dict[str, str]) -> None:
        self.both(lambda store: store.due(now, 2))
        self.both(lambda store: store.lanes(now))
        self.both(lambda store: store.stats(now))
        self.both(lambda store: store.firing(after, 3))
        self.both(lambda store: store.events(now, 0, 10))
        self.both(lambda store: store.find_alerts(wanted, 3))
        self.both(lambda store: store.entries(identity=IDENTITIES[0], since=now))
        self.both(lambda store: store.incidents(statuses=["open", "resolved"], limit=2))
        self.both(lambda store: store.windows(now, 2))
        self.both(lambda store: store.deploys(now, None, 2))
        self.both(lambda store: store.deploys(now, "api"))

    @invariant()
    def what_is_known_is_the_same(self) -> None:
        if not hasattr(self, "stores"):
            return
        self.both(everything)


def comparable(answer: Any) -> Any:
    """What two stores have to agree on: a cursor is each one's own."""
    match answer:
        case range():
            return list(answer)
        case list():
            return [comparable(one) for one in answer]
        case EntryPage(entries, cursor):
            return list(entries), cursor is None
        case _:
            return answer


async def everything(store: Store) -> list[Any]:
    """What can be asked without knowing what was done."""
    return [
        await store.undecided(100),
        await store.next_wake(),
        await store.next_delivery(),
        await store.parked(),
        await store.entries(limit=5),
        *[await store.window(name) for name in WINDOWS],
        *[await store.deploy(name) for name in ("d1", "d2", "d3")],
        *[await ask(name) for name in INCIDENTS for ask in (store.incident, store.members, store.deliveries)],
    ]


class SqliteTwins(Twins):
    """A file, whose bot is started again now and then."""

    def url(self) -> str:
        return f"sqlite:///{Path(self.folder.name) / 'alertbot.db'}"

    @rule()
    def start_again(self) -> None:
        memory, other = self.stores
        self.loop.run_until_complete(other.close())
        self.loop.run_until_complete(memory.open())
        self.stores[1] = open_store(self.url())
        self.loop.run_until_complete(self.stores[1].open())


class RedisTwins(Twins):
    """A Redis, where a start ends nobody's leases."""

    new_url: Callable[[], str]

    def url(self) -> str:
        return type(self).new_url()


@pytest.fixture(autouse=True)
def _redis(request: pytest.FixtureRequest) -> None:
    if request.cls is TestRedisTwins:
        RedisTwins.new_url = staticmethod(request.getfixturevalue("redis_url"))


TestTwins = SqliteTwins.TestCase
TestRedisTwins = RedisTwins.TestCase
TestTwins.settings = settings(
    max_examples=30, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
# A failure there is told as it was found: to make it smaller takes many times as long.
TestRedisTwins.settings = settings(TestTwins.settings, phases=[Phase.explicit, Phase.reuse, Phase.generate])
