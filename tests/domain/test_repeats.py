"""Repeats are recognised without loading what they repeat, and nothing but repeats is."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from alertbot.clock import MovableClock
from alertbot.domain.decide import decide
from alertbot.domain.events import AlertsReported, RawEvent
from alertbot.domain.model import AlertStatus
from alertbot.domain.reasons import Reason
from alertbot.domain.repeats import REMEMBERED, Repeats, marks
from alertbot.domain.situation import Situation
from alertbot.engine import Engine
from alertbot.sources import SOURCES, alertmanager
from alertbot.store.base import Changes, Keys, Loaded, StoreUnavailable
from alertbot.store.memory import MemoryStore
from tests.domain.script import START, alert, at, policy

# The sieve beside the decision itself, each report a transaction.


class Ear:
    """Sifts, decides what is left, and remembers what was committed."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self.situation = Situation(policy())
        self.repeats = Repeats(remembered)

    def left(self, offset: str, *alerts: dict[str, Any], **body: Any) -> int:
        """How many alerts of a body are left to be decided; then they are."""
        event = parsed(offset, *alerts, **body)
        new = self.repeats.sift(event, at(offset), set())
        self._decide(new, at(offset))
        return len(new.alerts)

    def _decide(self, event: AlertsReported, now: datetime) -> None:
        decision = decide(self.situation, event, now)
        self.situation.apply(decision)
        self.repeats.take(marks(self.situation, [event], decision.alerts))

    def status(self, identity: str) -> AlertStatus:
        """Of an alert in its one incident."""
        (row,) = self.situation.current(identity)
        return row.status


def parsed(offset: str, *alerts: dict[str, Any], **body: Any) -> AlertsReported:
    """A body as the door hands it on."""
    whole = {"version": "4", "groupKey": "{}:{}", "alerts": list(alerts), **body}
    (event,) = alertmanager.parse(json.dumps(whole).encode(), at(offset)).events
    assert isinstance(event, AlertsReported)
    return event


@pytest.mark.parametrize(
    ("second", "left", "rule"),
    [
        (alert("Down", "0:00"), 0, "that it still fires is no news"),
        (alert("Down", "0:00", "0:20"), 1, "that it does not is"),
        (alert("Down", "0:10"), 1, "a start that moved is written down"),
        (alert("Down", "0:00", host="b"), 1, "another label set is another alert"),
        (
            alert("Down", "0:00", host="b", fingerprint_=alert("Down", "0:00")["fingerprint"]),
            1,
            "and so it is where two senders call them by one fingerprint",
        ),
    ],
)
def test_only_what_was_said_before_is_sifted(second: dict[str, Any], left: int, rule: str) -> None:
    ear = Ear()
    assert ear.left("0:00", alert("Down", "0:00")) == 1
    assert ear.left("0:30", second) == left, rule


def test_of_a_body_the_repeats_are_sifted_and_the_news_are_left() -> None:
    ear = Ear()
    ear.left("0:00", alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b"))
    assert ear.left("0:30", alert("Down", "0:00", host="a"), alert("Down", "0:20", host="c")) == 1
    assert {a.labels.get("host") for a in ear.situation.alerts.values()} == {"a", "b", "c"}


def test_after_a_minute_a_repeat_is_let_through_so_that_it_is_written_that_it_was_heard() -> None:
    ear = Ear()
    ear.left("0:00", alert("Down", "0:00"))
    assert [ear.left(t, alert("Down", "0:00")) for t in ("0:59", "1:00", "1:59", "2:00")] == [0, 1, 0, 1]


def test_after_a_resolve_nothing_is_sifted_that_came_before_it_or_comes_after() -> None:
    ear = Ear()
    down = alert("Down", "0:00")
    ear.left("0:00", down)
    assert ear.left("0:10", alert("Down", "0:00", "0:09")) == 1
    late = [ear.left(t, down) for t in ("0:20", "0:21")]
    assert late == [1, 1], "a late one: what it is, the decision says"
    assert ear.left("0:30", alert("Down", "0:25")) == 1
    assert ear.status(down["fingerprint"]) is AlertStatus.FIRING


def test_a_resolve_in_the_same_transaction_lets_what_follows_it_through() -> None:
    ear = Ear()
    ear.left("0:00", alert("Down", "0:00"))
    left: set[str] = set()
    bodies = [alert("Down", "0:00"), alert("Down", "0:00", "0:09"), alert("Down", "0:00")]
    assert [len(ear.repeats.sift(parsed("0:10", b), at("0:10"), left).alerts) for b in bodies] == [0, 1, 1]


def test_the_twin_whose_start_is_older_is_not_remembered_in_place_of_the_start_that_counts() -> None:
    ear = Ear()
    ear.left("0:00", alert("Down", "0:00"))
    ear.left("0:05", alert("Down", "0:03"))
    twins = [alert("Down", "0:00"), alert("Down", "0:03")] * 2
    assert [ear.left("0:10", twin) for twin in twins] == [1, 0, 1, 0]


def test_of_two_label_sets_with_one_fingerprint_the_second_is_always_looked_up() -> None:
    ear = Ear()
    first = alert("Down", "0:00", host="a")
    second = alert("Down", "0:00", host="b", fingerprint_=first["fingerprint"])
    assert [ear.left("0:10", one) for one in (first, second, first, second)] == [1, 1, 0, 1]


def test_a_truncated_body_is_left_whole_for_its_alerts_vouch_for_one_another() -> None:
    ear = Ear()
    down = [alert("Down", "0:00", host=h) for h in "ab"]
    ear.left("0:00", *down)
    assert ear.left("0:10", *down, truncatedAlerts=3) == 2
    left: set[str] = set()
    ear.repeats.sift(parsed("0:20", *down, truncatedAlerts=3), at("0:20"), left)
    again = ear.repeats.sift(parsed("0:20", *down), at("0:20"), left)
    assert len(again.alerts) == 2, "what a truncated body decides is not remembered yet"


def test_an_alert_that_was_cut_off_is_heard_again() -> None:
    ear = Ear()
    kept, cut = alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b")
    ear.left("0:00", kept, cut)
    ear.left("0:10", alert("Down", "0:00", "0:09", host="a"), truncatedAlerts=1)
    assert ear.status(cut["fingerprint"]) is AlertStatus.UNKNOWN
    assert ear.left("0:20", cut) == 1
    assert ear.status(cut["fingerprint"]) is AlertStatus.FIRING


def test_no_more_are_remembered_than_fit_and_the_oldest_go_first() -> None:
    ear = Ear(remembered=20)
    alerts = [alert("Down", "0:00", host=str(n)) for n in range(21)]
    for one in alerts:
        ear.left("0:00", one)
    event = parsed("0:10", *alerts)
    forgotten = ear.repeats.sift(event, at("0:10"), set()).alerts
    assert [a.labels["host"] for a in forgotten] == ["0", "1", "2"], "a tenth at a time"


def test_a_body_of_more_than_fit_keeps_the_bound_too() -> None:
    ear = Ear(remembered=20)
    alerts = [alert("Down", "0:00", host=str(n)) for n in range(100)]
    ear.left("0:00", *alerts)
    assert len(ear.repeats.sift(parsed("0:10", *alerts), at("0:10"), set()).alerts) >= 80


def test_who_starts_anew_remembers_nothing() -> None:
    ear = Ear()
    ear.left("0:00", alert("Down", "0:00"))
    ear.repeats = Repeats()
    assert ear.left("0:10", alert("Down", "0:00")) == 1
    assert ear.left("0:20", alert("Down", "0:00")) == 0


# In the engine: a repeat is counted, and costs the store nothing.


class WatchedStore(MemoryStore):
    """Keeps in mind what was loaded; can be away."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[Keys] = []
        self.away = False

    async def load(self, keys: Keys) -> Loaded:
        self.loads.append(keys)
        return await super().load(keys)

    async def commit(self, changes: Changes) -> None:
        if self.away:
            raise StoreUnavailable("away")
        await super().commit(changes)


class Decided:
    """What was counted."""

    def __init__(self) -> None:
        self.reasons: Counter[Reason] = Counter()

    def decided(self, reason: Reason) -> None:
        self.reasons[reason] += 1

    def unacknowledged(self, severity: str) -> None:
        """Not of interest here."""


class Bot:
    """An engine on a store, driven by hand."""

    def __init__(self, store: WatchedStore) -> None:
        self.store = store
        self.clock = MovableClock(START)
        self.counts = Decided()
        self.engine = Engine(store, policy(), self.clock, SOURCES, counts=self.counts)

    async def report(self, offset: str, *alerts: dict[str, Any], **body: Any) -> None:
        """Accepts a body and decides it."""
        whole = {"version": "4", "groupKey": "{}:{}", "alerts": list(alerts), **body}
        self.clock.move_to(at(offset))
        raw = RawEvent(at(offset), "alertmanager", json.dumps(whole).encode())
        await self.engine.accept(raw, alertmanager.parse(raw.body, raw.at))
        await self.engine.turn()


async def test_a_repeat_is_counted_as_a_duplicate_is_done_and_loads_nothing() -> None:
    bot = Bot(WatchedStore())
    down = [alert("Down", "0:00", host=h) for h in "ab"]
    await bot.report("0:00", *down)
    bot.store.loads.clear()
    bot.counts.reasons.clear()
    await bot.report("0:05", *down)
    assert bot.counts.reasons == {Reason.DUPLICATE: 2}
    assert bot.store.loads == []
    assert await bot.store.undecided(10) == []


async def test_what_could_not_be_committed_is_not_remembered() -> None:
    bot = Bot(WatchedStore())
    bot.store.away = True
    with pytest.raises(StoreUnavailable):
        await bot.report("0:00", alert("Down", "0:00"))
    bot.store.away = False
    await bot.engine.turn()
    assert [a.status for a in await bot.store.firing(("", ""), 10)] == [AlertStatus.FIRING]


async def test_after_a_restart_the_first_repeat_is_looked_up_again() -> None:
    store = WatchedStore()
    await Bot(store).report("0:00", alert("Down", "0:00"))
    bot = Bot(store)
    store.loads.clear()
    await bot.report("0:05", alert("Down", "0:00"))
    assert store.loads
    assert bot.counts.reasons == {Reason.DUPLICATE: 1}
    store.loads.clear()
    await bot.report("0:10", alert("Down", "0:00"))
    assert store.loads == []


async def test_between_two_repeats_a_resolve_closes_and_a_refire_opens() -> None:
    bot = Bot(WatchedStore())
    await bot.report("0:00", alert("Down", "0:00"))
    await bot.report("0:05", alert("Down", "0:00"))
    await bot.report("0:10", alert("Down", "0:00", "0:09"))
    assert [a.status for a in await bot.store.firing(("", ""), 10) if a.firing] == []
    await bot.report("0:15", alert("Down", "0:14"))
    assert [a.status for a in await bot.store.firing(("", ""), 10)] == [AlertStatus.FIRING]
    assert bot.counts.reasons[Reason.NEW_EPISODE] == 2
