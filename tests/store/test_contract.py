"""What every store does: one suite over all back ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertbot.domain.deploys import DeployKind, DeployStatus, Part
from alertbot.domain.model import Alert, AlertStatus, Cause, DeliveryStatus, IncidentStatus, Level
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import StillFiring, Verdict, WindowKind
from alertbot.store.base import DEPLOYS_LOADED, SOURCES_LOADED, Changes, Keys, Source, Store
from tests.store.builders import (
    T0,
    alert,
    at,
    deploy,
    entry,
    failed,
    held,
    incident,
    parked,
    raw,
    sent,
    want,
    window,
)

LANE = "slack:#ops"
LEASE = timedelta(seconds=60)


async def claim_one(store: Store, seconds: float, lease: str = "w1", lane: str = LANE) -> Any:
    (delivery,) = await store.claim(lane, at(seconds), lease, LEASE, 10)
    return delivery


# The record of events.


async def test_an_event_comes_back_as_it_came_in(store: Store) -> None:
    event = raw(b"\x00\xff\xfe not text \x00", at(0.123456), "grafana", "0af7651916cd43dd8448eb211c80319c")
    (seq,) = await store.append([event])
    found = await store.event(seq)
    assert found is not None
    assert found.event == event
    assert await store.event(seq + 1) is None


async def test_events_are_numbered_in_the_order_in_which_they_were_given(store: Store) -> None:
    first = list(await store.append([raw(b"1"), raw(b"2"), raw(b"")]))
    second = list(await store.append([raw(b"4")]))
    assert first + second == sorted(first + second)
    assert [e.event.body for e in await store.undecided(10)] == [b"1", b"2", b"", b"4"]
    assert list(await store.append([])) == []


async def test_what_is_done_is_not_undecided_any_more(store: Store) -> None:
    seqs = list(await store.append([raw(str(n).encode()) for n in range(5)]))
    await store.commit(Changes(done=[seqs[0], seqs[3]]))
    assert [e.seq for e in await store.undecided(10)] == [seqs[1], seqs[2], seqs[4]]
    assert [e.seq for e in await store.undecided(2)] == [seqs[1], seqs[2]]
    assert (await store.event(seqs[0])) is not None


async def test_a_hundred_appends_at_once_are_all_stored_under_their_own_seq(store: Store) -> None:
    seqs = await asyncio.gather(*(store.append([raw(b"a%d" % n), raw(b"b%d" % n)]) for n in range(100)))
    flat = [seq for pair in seqs for seq in pair]
    assert len(set(flat)) == 200
    for n, (first, second) in enumerate(seqs):
        assert second > first
        found = [await store.event(first), await store.event(second)]
        assert [e.event.body for e in found if e is not None] == [b"a%d" % n, b"b%d" % n]
    assert [e.seq for e in await store.undecided(1000)] == sorted(flat)


async def test_more_events_than_are_read_at_once_come_in_order(store: Store) -> None:
    seqs = list(await store.append([raw(b"%d" % n) for n in range(2500)]))
    found = await store.undecided(1_000_000)
    assert [e.seq for e in found] == seqs
    assert [e.event.body for e in found] == [b"%d" % n for n in range(2500)]


async def test_bodies_of_many_megabytes_come_back_whole(store: Store) -> None:
    bodies = [bytes([n]) * 9_000_000 for n in range(4)]
    await store.append([raw(body) for body in bodies])
    assert [e.event.body for e in await store.undecided(10)] == bodies


async def test_the_record_is_read_from_a_time_on_and_in_pages(store: Store) -> None:
    # The clock of the second event went back: order is the order of arrival.
    seqs = list(await store.append([raw(b"old", at(-100)), raw(b"1", at(5)), raw(b"2", at(3)), raw(b"3", at(9))]))
    await store.commit(Changes(done=seqs))
    assert [e.event.body for e in await store.events(at(0), 0, 10)] == [b"1", b"2", b"3"]
    assert [e.event.body for e in await store.events(at(4), 0, 10)] == [b"1", b"3"]
    page = await store.events(at(0), 0, 2)
    assert [e.event.body for e in page] == [b"1", b"2"]
    assert [e.event.body for e in await store.events(at(0), page[-1].seq, 2)] == [b"3"]
    assert list(await store.events(at(0), seqs[-1], 2)) == []
    assert list(await store.events(at(10), 0, 2)) == []


# Loading.


async def test_nothing_is_loaded_from_an_empty_store(store: Store) -> None:
    names = frozenset({"x"})
    loaded = await store.load(Keys(names, names, names, names, names, names, {"service": "api"}))
    assert list(loaded.alerts) == []
    assert list(loaded.incidents) == []
    assert dict(loaded.relations) == {}
    assert dict(loaded.waiting) == {}
    assert list(loaded.labelled) == []


async def test_every_field_of_an_alert_and_an_incident_survives(store: Store) -> None:
    full = alert(
        "ünïcode \x1f\"'\\",
        labels={"a": "\u2028<!channel>", "b": "\x00", "": "é"},
        ends_at=at(3),
        generator_url="http://x",
        source="grafana",
        group_key="{}:{}",
        external_url="http://y",
        cleared_end=at(-1),
        cleared_start=at(-2),
        hold=held("r", until=at(900.000001), sources=("s1", "s2")),
        announced=True,
        cleared=True,
        source_of=("r1", "r2"),
        two_sided=("r2",),
    )
    home = incident(
        key="k\x1f1",
        opened_at=T0,
        acknowledged_at=at(1),
        acknowledged_by="ann",
        resolved_at=at(2),
        resolved_by="bob",
        openings=2,
        revision=7,
        news=6,
        flapping=True,
        changes=(T0, at(1)),
        quiet_at=at(5),
        flush_at=at(6),
        repeat_at=at(7),
        firing=3,
        cause=Cause(T0, "ab" * 16),
        test=True,
    )
    await store.commit(Changes(alerts=[full], incidents=[home]))
    loaded = await store.load(Keys(identities=frozenset({full.identity}), incident_keys=frozenset({home.key})))
    assert list(loaded.alerts) == [full]
    assert list(loaded.incidents) == [home]
    assert await store.incident("i1") == home
    assert list(await store.members("i1")) == [full]


async def test_identities_load_current_alerts_wherever_they_live(store: Store) -> None:
    old, new, other = alert("a", "i1", current=False), alert("a", "i2"), alert("b", "i1", settled=True)
    await store.commit(Changes(alerts=[old, new, other, alert("c")]))
    loaded = await store.load(Keys(identities=frozenset({"a", "b", "gone"})))
    assert list(loaded.alerts) == [other, new]
    assert list(loaded.incidents) == []


async def test_an_alert_that_is_written_again_is_the_same_row(store: Store) -> None:
    await store.commit(Changes(alerts=[alert("a", settled=False), alert("a", severity="low")]))
    last = alert("a", severity="critical", settled=True)
    await store.commit(Changes(alerts=[last]))
    assert list((await store.load(Keys(identities=frozenset({"a"})))).alerts) == [last]
    assert list(await store.members("i1")) == [last]
    assert list(await store.firing(("", ""), 10)) == []


async def test_members_load_the_incident_and_what_is_unsettled_in_it(store: Store) -> None:
    rows = [alert("a"), alert("b", settled=True), alert("c", current=False), alert("d", "i2")]
    await store.commit(Changes(alerts=rows, incidents=[incident("i1"), incident("i2")]))
    loaded = await store.load(Keys(members=frozenset({"i1"}), identities=frozenset({"a"})))
    assert list(loaded.alerts) == [rows[0], rows[2]]
    assert [i.id for i in loaded.incidents] == ["i1"]


async def test_the_newest_incident_of_a_key_is_the_one_first_written_last(store: Store) -> None:
    await store.commit(Changes(incidents=[incident("z", "k"), incident("m", "k"), incident("x", "other")]))
    await store.commit(Changes(incidents=[incident("b", "k", created_at=at(-5))]))
    # An older one that changes afterwards does not become the newest.
    await store.commit(Changes(incidents=[incident("z", "k", IncidentStatus.RESOLVED)]))
    loaded = await store.load(Keys(incident_keys=frozenset({"k", "unknown"})))
    assert [i.id for i in loaded.incidents] == ["b"]


async def test_an_incident_named_twice_is_loaded_once(store: Store) -> None:
    await store.commit(Changes(incidents=[incident("i1", "k"), incident("i2", "k2")]))
    loaded = await store.load(
        Keys(
            incident_keys=frozenset({"k"}),
            incidents=frozenset({"i1", "i2", "i3"}),
            members=frozenset({"i1"}),
        )
    )
    assert [i.id for i in loaded.incidents] == ["i1", "i2"]


async def test_sources_are_the_firing_current_alerts_of_a_relation(store: Store) -> None:
    rows = [
        alert("late", starts_at=at(9), source_of=("r", "q"), two_sided=("r",)),
        alert("early", starts_at=at(1), source_of=("r",)),
        alert("cut off", starts_at=at(5), source_of=("r",), status=AlertStatus.UNKNOWN),
        alert("over", source_of=("r",), status=AlertStatus.RESOLVED),
        alert("moved", source_of=("r",), current=False),
        alert("elsewhere", source_of=("other",)),
    ]
    await store.commit(Changes(alerts=rows))
    loaded = await store.load(Keys(relations=frozenset({"r", "q", "none"})))
    name = "HighErrorRate"
    assert {r: list(s) for r, s in loaded.relations.items()} == {
        "r": [
            Source("early", at(1), False, name),
            Source("cut off", at(5), False, name),
            Source("late", at(9), True, name),
        ],
        "q": [Source("late", at(9), False, name)],
    }


async def test_a_source_that_resolves_moves_or_ends_its_part_is_gone(store: Store) -> None:
    source = alert("s", source_of=("r", "q"))
    relations = Keys(relations=frozenset({"r", "q"}))
    for changed, left in (
        (replace(source, status=AlertStatus.RESOLVED), []),
        (source, ["q", "r"]),
        (replace(source, current=False), []),
        (source, ["q", "r"]),
        (replace(source, source_of=("q",)), ["q"]),
    ):
        await store.commit(Changes(alerts=[changed]))
        assert sorted((await store.load(relations)).relations) == left


async def test_of_many_sources_the_earliest_of_each_side_are_loaded(store: Store) -> None:
    many = SOURCES_LOADED + 5
    one_sided = [alert(f"o{n:03}", starts_at=at(many - n), source_of=("r",)) for n in range(many)]
    two_sided = [alert(f"t{n:03}", starts_at=at(n), source_of=("r",), two_sided=("r",)) for n in range(many)]
    await store.commit(Changes(alerts=one_sided + two_sided))
    found = (await store.load(Keys(relations=frozenset({"r"})))).relations["r"]
    assert [s.identity for s in found if not s.two_sided] == [f"o{n:03}" for n in range(many - 1, 4, -1)]
    assert [s.identity for s in found if s.two_sided] == [f"t{n:03}" for n in range(SOURCES_LOADED)]
    assert [s.starts_at for s in found] == sorted(s.starts_at for s in found)


async def test_waiting_names_each_incident_with_a_held_alert_once(store: Store) -> None:
    rows = [alert(f"a{n}", f"i{n % 3}", hold=held("r")) for n in range(30)]
    rows += [alert("b", "i7", hold=held("q")), alert("c", "i8", hold=held("r"), settled=True)]
    await store.commit(Changes(alerts=rows))
    asked = Keys(waiting=frozenset({"r", "q", "none"}))
    waiting = (await store.load(asked)).waiting
    assert {r: list(i) for r, i in waiting.items()} == {"r": ["i0", "i1", "i2"], "q": ["i7"]}
    await store.commit(Changes(alerts=[replace(a, hold=None) for a in rows if a.incident != "i1"]))
    assert {r: list(i) for r, i in (await store.load(asked)).waiting.items()} == {"r": ["i1"]}


async def test_labels_name_told_incidents_with_a_firing_alert_that_has_them_all(store: Store) -> None:
    both = {"service": "api", "team": "core"}
    rows = [
        alert("a", "open", labels=both),
        alert("b", "acknowledged", labels={**both, "more": "x"}),
        alert("c", "pending", labels=both),
        alert("d", "over", labels=both),
        alert("e", "resolved alert", labels=both, status=AlertStatus.RESOLVED),
        alert("f", "one label", labels={"service": "api"}),
        alert("g", "another value", labels={"service": "api2", "team": "core"}),
        alert("h", "in a value", labels={"service": "api", "x": '"team":"core"'}),
    ]
    statuses = {"acknowledged": "acknowledged", "pending": "pending", "over": "resolved"}
    homes = [incident(a.incident, status=IncidentStatus(statuses.get(a.incident, "open"))) for a in rows]
    await store.commit(Changes(alerts=rows, incidents=homes))
    loaded = await store.load(Keys(labels=both))
    assert list(loaded.labelled) == ["acknowledged", "open"]
    assert [i.id for i in loaded.incidents] == ["acknowledged", "open"]
    # A label that is missing is the empty string.
    assert "one label" in (await store.load(Keys(labels={"team": ""}))).labelled
    assert list((await store.load(Keys(labels={"instance": "nowhere"}))).labelled) == []


async def test_an_identity_with_a_nul_byte_is_found_again(store: Store) -> None:
    odd = alert("a\x00b", "i1", source_of=("r\x00x",), hold=held("h\x00y"))
    await store.commit(Changes(alerts=[odd]))
    loaded = await store.load(Keys(frozenset({"a\x00b"}), relations=frozenset({"r\x00x"}), members=frozenset({"i1"})))
    assert list(loaded.alerts) == [odd]
    assert len(loaded.relations) == 1


# Waking, and going through all.


async def test_incidents_are_due_in_the_order_of_their_times(store: Store) -> None:
    await store.commit(
        Changes(
            incidents=[
                incident("c", flush_at=at(30)),
                incident("a", flush_at=at(20), repeat_at=at(10)),
                incident("b", quiet_at=at(10)),
                incident("never"),
            ]
        )
    )
    assert list((await store.due(at(9), 10)).incidents) == []
    assert list((await store.due(at(10), 10)).incidents) == ["a", "b"]
    assert list((await store.due(at(99), 2)).incidents) == ["a", "b"]
    assert list((await store.due(at(99), 9)).incidents) == ["a", "b", "c"]
    assert await store.next_wake() == at(10)
    await store.commit(Changes(incidents=[incident("a"), incident("b", flush_at=at(40))]))
    assert await store.next_wake() == at(30)
    assert list((await store.due(at(99), 9)).incidents) == ["c", "b"]


async def test_without_incidents_nothing_wakes(store: Store) -> None:
    assert await store.next_wake() is None
    assert await store.next_delivery() is None


async def test_unsettled_alerts_are_gone_through_in_order_past_a_place(store: Store) -> None:
    rows = [alert(identity, home) for home in ("i1", "i10", "i2") for identity in ("a", "b")]
    await store.commit(Changes(alerts=[*reversed(rows), alert("x", "i1", settled=True)]))
    seen: list[Alert] = []
    after = ("", "")
    while page := await store.firing(after, 4):
        seen += page
        after = (page[-1].incident, page[-1].identity)
    assert seen == rows


# Delivering.


async def test_a_want_makes_a_delivery_that_is_due_at_its_time(store: Store) -> None:
    asked = want(at=at(5))
    await store.commit(Changes(wants=[asked]))
    assert list((await store.lanes(at(4))).due) == []
    assert list(await store.claim(LANE, at(4), "w1", LEASE, 10)) == []
    assert await store.next_delivery() == at(5)
    assert list((await store.lanes(at(5))).due) == [LANE]
    delivery = await claim_one(store, 5)
    assert delivery.want == asked
    assert (delivery.id, delivery.lease, delivery.uncertain) == (asked.id, "w1", False)
    assert (delivery.shown, delivery.status, delivery.attempts) == (Level(), DeliveryStatus.PENDING, 0)
    assert await store.delivery(asked.id) == delivery
    assert list(await store.deliveries("i1")) == [delivery]
    assert await store.delivery("nothing") is None


async def test_a_claimed_delivery_is_nobody_elses_until_its_lease_runs_out(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    await claim_one(store, 0)
    assert list(await store.claim(LANE, at(59), "w2", LEASE, 10)) == []
    assert list((await store.lanes(at(59))).due) == []
    assert await store.next_delivery() == at(60)
    assert list((await store.lanes(at(60))).due) == [LANE]
    again = await claim_one(store, 60, "w2")
    assert (again.lease, again.uncertain) == ("w2", True)


async def test_the_outcome_of_one_whose_lease_was_taken_over_is_refused_and_writes_nothing(
    store: Store,
) -> None:
    await store.commit(Changes(wants=[want()]))
    late = await claim_one(store, 0)
    current = await claim_one(store, 60, "w2")
    refused = sent(late, at(61), entries=[entry(by="late")], parked=[parked()])
    assert await store.record(refused) is False
    assert await store.delivery(late.id) == current
    assert list((await store.entries(incident="i1")).entries) == []
    assert list(await store.parked()) == []
    assert await store.record(sent(current, at(62))) is True
    # Recorded once: the lease is used up.
    assert await store.record(sent(current, at(63))) is False


async def test_an_outcome_after_the_leases_end_counts_while_nobody_else_took_it(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    slow = await claim_one(store, 0)
    assert await store.record(sent(slow, at(3600))) is True


async def test_nobody_can_record_without_a_lease_or_a_delivery(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    unclaimed = await store.delivery(want().id)
    assert unclaimed is not None
    assert await store.record(sent(unclaimed, at(1))) is False
    assert await store.record(replace(sent(unclaimed, at(1)), id="nothing", lease="w1")) is False


async def test_a_recorded_success_leaves_nothing_due_and_is_kept_whole(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    delivery = await claim_one(store, 0)
    noted = entry(by="slack")
    assert await store.record(sent(delivery, at(1), entries=[noted]))
    assert await store.next_delivery() is None
    assert list(await store.claim(LANE, at(9999), "w2", LEASE, 10)) == []
    after = await store.delivery(delivery.id)
    assert after is not None
    assert after.shown == delivery.want.level
    assert (after.status, after.lease, after.sent_at) == (DeliveryStatus.SENT, "", at(1))
    assert (dict(after.remote), after.remote_id) == ({"channel": "C1", "ts": "1.5"}, "C1/1.5")
    assert list((await store.entries(incident="i1")).entries) == [noted]


async def test_a_failed_attempt_is_due_again_at_its_next_time(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    delivery = await claim_one(store, 0)
    assert await store.record(failed(delivery, at(1), at(30)))
    assert await store.next_delivery() == at(30)
    assert list(await store.claim(LANE, at(29), "w1", LEASE, 10)) == []
    again = await claim_one(store, 30)
    assert (again.attempts, again.last_error, again.failing_since) == (1, "HTTP 503", at(1))
    assert (again.status, again.uncertain) == (DeliveryStatus.RETRYING, False)


async def test_uncertainty_stays_until_an_outcome_says_otherwise(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    first = await claim_one(store, 0)
    assert await store.record(failed(first, at(1), at(2), uncertain=True))
    second = await claim_one(store, 2)
    assert second.uncertain
    assert await store.record(failed(second, at(3), at(4), uncertain=True))
    await store.commit(Changes(wants=[want(revision=2)]))
    third = await claim_one(store, 4)
    assert third.uncertain
    assert await store.record(failed(third, at(5), at(6), uncertain=False))
    assert not (await claim_one(store, 6)).uncertain


async def test_a_newer_want_during_an_attempt_is_due_at_once_after_it(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    delivery = await claim_one(store, 0)
    newer = want(revision=2, at=at(1))
    await store.commit(Changes(wants=[newer]))
    assert await store.next_delivery() == at(60)
    assert await store.record(sent(delivery, at(2)))
    assert await store.next_delivery() == at(1)
    again = await claim_one(store, 2)
    assert again.want == newer
    assert again.shown == delivery.want.level
    assert await store.record(sent(again, at(3)))
    assert await store.next_delivery() is None


async def test_a_newer_want_during_an_attempt_that_failed_waits_for_the_back_off(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    delivery = await claim_one(store, 0)
    await store.commit(Changes(wants=[want(revision=2, at=at(1))]))
    assert await store.record(failed(delivery, at(2), at(40)))
    assert await store.next_delivery() == at(40)
    assert (await claim_one(store, 40)).want.level.revision == 2


async def test_a_newer_want_during_a_back_off_changes_what_is_told_and_not_when(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    assert await store.record(failed(await claim_one(store, 0), at(1), at(40)))
    await store.commit(Changes(wants=[want(revision=2, at=at(2))]))
    assert await store.next_delivery() == at(40)
    again = await claim_one(store, 40)
    assert (again.want.level.revision, again.attempts) == (2, 1)


@pytest.mark.parametrize(
    "status", [DeliveryStatus.SENT, DeliveryStatus.DRY_RUN, DeliveryStatus.FOLDED, DeliveryStatus.PARKED]
)
async def test_a_new_want_makes_what_was_finished_due_again_and_keeps_what_is_shown(
    store: Store, status: DeliveryStatus
) -> None:
    await store.commit(Changes(wants=[want()]))
    delivery = await claim_one(store, 0)
    assert await store.record(sent(delivery, at(1), status=status, attempts=3, failing_since=T0))
    await store.commit(Changes(wants=[want(revision=2, at=at(5))]))
    assert await store.next_delivery() == at(5)
    again = await claim_one(store, 5)
    assert again.shown == delivery.want.level
    assert (again.attempts, again.remote_id, again.failing_since) == (3, "C1/1.5", T0)
    assert again.status is DeliveryStatus.PENDING


async def test_the_same_want_again_is_not_due_again(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    assert await store.record(sent(await claim_one(store, 0), at(1)))
    await store.commit(Changes(wants=[want(at=at(5), lane="slack:#new", rank=0)]))
    assert await store.next_delivery() is None
    # But it goes by the lane that it has now.
    await store.commit(Changes(wants=[want(revision=2, lane="slack:#new", at=at(6))]))
    assert list((await store.lanes(at(6))).due) == ["slack:#new"]


async def test_a_want_that_waits_moves_to_another_lane_at_once(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    await store.commit(Changes(wants=[want(lane="slack:#new", at=at(5))]))
    assert list((await store.lanes(at(0))).due) == ["slack:#new"]


async def test_an_older_want_does_not_replace_a_newer_one(store: Store) -> None:
    await store.commit(Changes(wants=[want(revision=5), want(revision=4, at=at(9))]))
    assert (await claim_one(store, 0)).want.level.revision == 5


async def test_several_wants_of_one_change_count_as_the_last(store: Store) -> None:
    await store.commit(Changes(wants=[want(revision=1), want(revision=3), want("i2"), want(revision=4)]))
    found = await store.claim(LANE, at(0), "w1", LEASE, 10)
    assert sorted((d.want.incident, d.want.level.revision) for d in found) == [("i1", 4), ("i2", 1)]


async def test_a_claim_takes_the_most_urgent_first_then_the_longest_waiting(store: Store) -> None:
    await store.commit(
        Changes(
            wants=[
                want("low", rank=3, at=at(1)),
                want("newer", rank=1, at=at(5)),
                want("older", rank=1, at=at(2)),
                want("urgent", rank=0, at=at(6)),
                want("later", rank=0, at=at(100)),
                want("other lane", rank=0, lane="pagerduty:k", to="k"),
            ]
        )
    )
    # A want that replaces one that waits keeps its place: what changes all the time must not wait for ever.
    await store.commit(Changes(wants=[want("older", 2, rank=1, at=at(7))]))
    first = await store.claim(LANE, at(10), "w1", LEASE, 3)
    second = await store.claim(LANE, at(10), "w2", LEASE, 3)
    assert [d.want.incident for d in first] == ["urgent", "older", "newer"]
    assert [d.want.incident for d in second] == ["low"]


async def test_lanes_come_in_the_order_of_their_most_urgent_delivery(store: Store) -> None:
    await store.commit(
        Changes(
            wants=[
                want("i1", lane="a", rank=2, at=at(0)),
                want("i2", lane="b", rank=1, at=at(9)),
                want("i3", lane="c", rank=1, at=at(5)),
                want("i4", lane="a", rank=1, at=at(7)),
                want("i5", lane="d", rank=0, at=at(50)),
                want("i6", lane="e", rank=1, at=at(5)),
            ]
        )
    )
    assert list((await store.lanes(at(10))).due) == ["c", "e", "a", "b"]
    assert list((await store.lanes(at(50))).due) == ["d", "c", "e", "a", "b"]


async def test_one_off_posts_are_deliveries_of_their_own(store: Store) -> None:
    await store.commit(Changes(wants=[want(), want(kind="remind")]))
    found = await store.claim(LANE, at(0), "w1", LEASE, 10)
    assert sorted(d.want.kind for d in found) == ["incident", "remind"]


# Looking.


async def page_through(store: Store, **filters: Any) -> list[str]:
    names: list[str] = []
    cursor = None
    while True:
        page = await store.incidents(**filters, cursor=cursor, limit=2)
        names += [i.id for i in page.incidents]
        if page.next is None:
            return names
        cursor = page.next


async def test_incidents_are_listed_newest_first_by_every_filter(store: Store) -> None:
    await store.commit(
        Changes(
            incidents=[
                incident("a", created_at=at(1)),
                incident("b", status=IncidentStatus.RESOLVED, created_at=at(3)),
                incident("c", severity="low", created_at=at(2)),
                incident("d", status=IncidentStatus.ACKNOWLEDGED, created_at=at(2)),
                incident("e", created_at=at(0)),
            ]
        )
    )
    assert await page_through(store) == ["b", "d", "c", "a", "e"]
    assert await page_through(store, statuses=["open"]) == ["c", "a", "e"]
    assert await page_through(store, statuses=["open", "acknowledged"]) == ["d", "c", "a", "e"]
    assert await page_through(store, severity="low") == ["c"]
    assert await page_through(store, since=at(2)) == ["b", "d", "c"]
    assert await page_through(store, statuses=["open"], severity="high", since=at(1)) == ["a"]
    assert await page_through(store, statuses=["held"]) == []
    assert await store.incident("a") == incident("a", created_at=at(1))
    assert await store.incident("nothing") is None


async def test_a_page_ends_where_the_list_does(store: Store) -> None:
    await store.commit(Changes(incidents=[incident(f"i{n}", created_at=at(n)) for n in range(4)]))
    assert (await store.incidents(limit=4)).next is None
    assert (await store.incidents(limit=3)).next is not None


async def test_a_cursor_stays_in_its_place_while_incidents_come_and_change(store: Store) -> None:
    await store.commit(Changes(incidents=[incident(f"i{n}", created_at=at(n)) for n in range(6)]))
    first = await store.incidents(limit=3)
    changed = incident("i2", status=IncidentStatus.RESOLVED, created_at=at(2))
    await store.commit(Changes(incidents=[incident("new", created_at=at(99)), changed]))
    second = await store.incidents(cursor=first.next, limit=3)
    assert [i.id for i in first.incidents] == ["i5", "i4", "i3"]
    assert [i.id for i in second.incidents] == ["i2", "i1", "i0"]


@pytest.mark.parametrize("cursor", ["", "x", "1", "x.y", "-"])
async def test_a_cursor_that_we_did_not_make_is_the_callers_fault(store: Store, cursor: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        await store.incidents(cursor=cursor)
    if not cursor.isdecimal():
        with pytest.raises(ValueError, match=r".*"):
            await store.entries(incident="i1", cursor=cursor)


async def test_members_are_listed_firing_first_then_newest_first(store: Store) -> None:
    rows = [
        alert("old", starts_at=at(1)),
        alert("new", starts_at=at(3)),
        alert("over", starts_at=at(9), status=AlertStatus.RESOLVED, settled=True),
        alert("cut off", starts_at=at(2), status=AlertStatus.UNKNOWN),
        alert("elsewhere", "i2"),
    ]
    await store.commit(Changes(alerts=rows))
    assert [a.identity for a in await store.members("i1")] == ["new", "cut off", "old", "over"]
    assert [a.identity for a in await store.members("i1", 2)] == ["new", "cut off"]
    assert list(await store.members("nothing")) == []
    several = await store.members_of(["i2", "nothing", "i1"], 2)
    assert {name: [a.identity for a in of] for name, of in several.items()} == {
        "i1": ["new", "cut off"],
        "i2": ["elsewhere"],
        "nothing": [],
    }
    assert await store.members_of([]) == {}


async def test_the_past_of_a_group_is_its_incidents_newest_first_and_the_latest_note(store: Store) -> None:
    group = [incident(f"i{n}", key="{}:{a}", created_at=at(n), resolved_by=f"p{n}") for n in range(4)]
    other = incident("other", key="{}:{b}", created_at=at(9))
    notes = [
        entry("i1", when=at(50), reason=Reason.NOTE_ADDED, by="ada", details={"note": "earlier"}),
        entry("i3", when=at(51), reason=Reason.NOTE_ADDED, by="bob", details={"note": "the latest"}),
        entry("i0", when=at(52), reason=Reason.NOTE_ADDED, details={"note": "of one that is too old"}),
        entry("other", when=at(53), reason=Reason.NOTE_ADDED, details={"note": "of another group"}),
        entry("i2", when=at(54)),
    ]
    await store.commit(Changes(incidents=[*group, other], entries=notes))
    past = await store.past("{}:{a}", at(1))
    assert list(past.incidents) == [group[3], group[2], group[1]]
    assert past.note == notes[1]
    some = await store.past("{}:{a}", at(1), limit=1)
    assert (list(some.incidents), some.note) == ([group[3]], notes[1])
    nobodys = await store.past("{}:{c}", T0)
    assert (list(nobodys.incidents), nobodys.note) == ([], None)


async def test_deliveries_are_listed_in_the_order_in_which_they_were_wanted(store: Store) -> None:
    wants = [want(to=f"#{n}", lane=f"slack:#{n}") for n in (3, 1, 2)]
    await store.commit(Changes(wants=wants))
    await store.commit(Changes(wants=[replace(wants[2], level=Level(IncidentStatus.OPEN, 1, 9, 9))]))
    assert [d.want.to for d in await store.deliveries("i1")] == ["#3", "#1", "#2"]
    assert list(await store.deliveries("nothing")) == []
    await store.commit(Changes(wants=[want("i2")]))
    several = await store.deliveries_of(["i2", "nothing", "i1"])
    assert several == {"i1": await store.deliveries("i1"), "i2": await store.deliveries("i2"), "nothing": []}
    assert len(several["i2"]) == 1


async def test_more_than_one_page_of_incidents_is_listed_with_the_alerts_and_deliveries_of_each(store: Store) -> None:
    names = [f"i{n}" for n in range(120)]
    await store.commit(Changes(alerts=[alert("a", name) for name in names], wants=[want(name) for name in names]))
    assert {name: [a.incident for a in of] for name, of in (await store.members_of(names)).items()} == {
        name: [name] for name in names
    }
    assert {name: [d.want.incident for d in of] for name, of in (await store.deliveries_of(names)).items()} == {
        name: [name] for name in names
    }


async def test_the_record_of_an_incident_and_of_an_alert_reads_oldest_first_in_pages(store: Store) -> None:
    lines = [entry("i1", "a" if n % 2 else "", at(n), f"#{n}") for n in range(7)]
    lines[3] = replace(lines[3], until=at(900), details={"k": "v"}, labels={"alertname": "X"})
    await store.commit(Changes(entries=[*lines[:4], entry("i2", "a", at(3.5), "other"), *lines[4:]]))
    page = await store.entries(incident="i1", limit=5)
    assert list(page.entries) == lines[:5]
    await store.commit(Changes(entries=[entry("i1", by="more", when=at(8))]))
    rest = await store.entries(incident="i1", cursor=page.next, limit=5)
    assert [e.by for e in rest.entries] == ["#5", "#6", "more"]
    assert rest.next is None
    assert [e.by for e in (await store.entries(identity="a")).entries] == ["#1", "#3", "other", "#5"]
    assert [e.by for e in (await store.entries(incident="i1", identity="a")).entries] == ["#1", "#3", "#5"]
    assert [e.by for e in (await store.entries(incident="i1", since=at(4))).entries] == ["#5", "#6", "more"]
    assert len((await store.entries()).entries) == 9
    assert list((await store.entries(incident="nothing")).entries) == []


async def test_alerts_are_found_by_all_of_their_labels(store: Store) -> None:
    rows = [
        alert("a", labels={"service": "api", "env": "prod"}, starts_at=at(1)),
        alert("b", labels={"service": "api", "env": "prod", "x": "y"}, starts_at=at(2)),
        alert("c", labels={"service": "api", "env": "dev"}, starts_at=at(3)),
        alert("d", labels={"service": "api", "env": "prod"}, current=False),
        alert("e", labels={"service": "api"}, starts_at=at(4), status=AlertStatus.RESOLVED, settled=True),
        alert("f", labels={"service": 'a"p\\i'}, starts_at=at(5)),
    ]
    await store.commit(Changes(alerts=rows))

    async def found(limit: int = 100, **labels: str) -> list[str]:
        return [a.identity for a in await store.find_alerts(labels, limit)]

    assert await found(service="api", env="prod") == ["b", "a"]
    assert await found(service="api") == ["e", "c", "b", "a"]
    assert await found(2, service="api") == ["e", "c"]
    assert await found(service="api", env="") == ["e"]
    assert await found(service='a"p\\i') == ["f"]
    assert await found(service="ap") == []


async def test_sizes_are_counted(store: Store) -> None:
    seqs = list(await store.append([raw(), raw(), raw()]))
    statuses = ("pending", "held", "open", "acknowledged", "resolved")
    await store.commit(
        Changes(
            done=[seqs[0]],
            incidents=[incident(s, status=IncidentStatus(s)) for s in statuses],
            wants=[want("a"), want("b"), want("c", at=at(50))],
            parked=[parked("p1"), parked("p2")],
        )
    )
    await store.claim(LANE, at(0), "w1", LEASE, 1)
    now = await store.stats(at(10))
    assert (now.undecided, now.due_deliveries, now.parked, now.open_incidents) == (2, 1, 2, 2)
    assert (await store.stats(at(60))).due_deliveries == 3


async def test_small_facts_are_kept(store: Store) -> None:
    assert await store.get_meta("policy") is None
    await store.set_meta("policy", "abc")
    await store.set_meta("policy", "def")
    assert await store.get_meta("policy") == "def"


# Parked.


async def test_parked_things_are_listed_newest_first_and_without_what_came_in(store: Store) -> None:
    first, second = parked("p1", body=b"\x00\xff{"), parked("p2", "event", "7", at(1), b"x" * 100_000)
    await store.commit(Changes(parked=[first, second]))
    assert list(await store.parked()) == [replace(second, raw=b""), replace(first, raw=b"")]
    assert list(await store.parked(1)) == [replace(second, raw=b"")]
    assert await store.parked_item("p1") == first
    assert await store.parked_item("p2") == second
    assert await store.parked_item("p3") is None


async def test_a_thing_that_is_parked_again_is_parked_once(store: Store) -> None:
    await store.commit(Changes(parked=[parked("p1", body=b"1")]))
    await store.commit(Changes(parked=[parked("p1", when=at(5), body=b"2")]))
    assert [p.at for p in await store.parked()] == [at(5)]
    item = await store.parked_item("p1")
    assert item is not None
    assert item.raw == b"2"


async def test_a_parked_thing_can_be_dropped_once(store: Store) -> None:
    await store.commit(Changes(parked=[parked("p1")]))
    assert await store.drop_parked("p1") is True
    assert await store.drop_parked("p1") is False
    assert await store.retry_parked("p1", at(0)) is False


async def test_a_parked_event_that_is_retried_is_undecided_again_in_its_old_place(store: Store) -> None:
    seqs = list(await store.append([raw(b"bad"), raw(b"good")]))
    await store.commit(Changes(done=[seqs[0]], parked=[parked("p1", "event", str(seqs[0]))]))
    assert [e.seq for e in await store.undecided(10)] == [seqs[1]]
    assert await store.retry_parked("p1", at(9)) is True
    assert [e.seq for e in await store.undecided(10)] == seqs
    assert list(await store.parked()) == []


async def test_a_parked_delivery_that_is_retried_is_due_with_a_fresh_count(store: Store) -> None:
    await store.commit(Changes(wants=[want()]))
    delivery = await claim_one(store, 0)
    given_up = failed(
        delivery,
        at(1),
        None,
        status=DeliveryStatus.PARKED,
        attempts=9,
        uncertain=True,
        parked=[parked("p1", "delivery", delivery.id, at(1))],
    )
    assert await store.record(given_up)
    assert await store.next_delivery() is None
    assert [p.id for p in await store.parked()] == ["p1"]
    assert await store.retry_parked("p1", at(50)) is True
    assert list(await store.parked()) == []
    assert await store.next_delivery() == at(50)
    again = await claim_one(store, 50)
    assert (again.attempts, again.failing_since, again.uncertain) == (0, None, True)


async def test_a_part_of_a_body_that_is_retried_only_goes(store: Store) -> None:
    (seq,) = await store.append([raw()])
    await store.commit(Changes(done=[seq], parked=[parked("p1", "alert", str(seq))]))
    assert await store.retry_parked("p1", at(0)) is True
    assert list(await store.parked()) == []
    assert list(await store.undecided(10)) == []


@pytest.mark.parametrize(("kind", "ref"), [("event", "99"), ("event", "no number"), ("delivery", "gone")])
async def test_what_refers_to_nothing_cannot_be_retried_and_stays(store: Store, kind: str, ref: str) -> None:
    await store.commit(Changes(parked=[parked("p1", kind, ref)]))
    assert await store.retry_parked("p1", at(0)) is False
    assert [p.id for p in await store.parked()] == ["p1"]


# Forgetting.


async def test_what_is_over_and_older_is_forgotten_with_all_that_hangs_on_it(store: Store) -> None:
    seqs = list(await store.append([raw(b"old", at(0)), raw(b"waits", at(0)), raw(b"new", at(100))]))
    over = IncidentStatus.RESOLVED
    await store.commit(
        Changes(
            done=[seqs[0], seqs[2]],
            incidents=[
                incident("old", "k", over, resolved_at=at(10)),
                incident("new", "k2", over, resolved_at=at(60)),
                incident("open", "k3"),
                incident("restless", "k4", over, resolved_at=at(10)),
            ],
            alerts=[
                alert("a", "old", settled=True, source_of=("r",)),
                alert("b", "new", settled=True, seen_at=at(60)),
                alert("c", "open", settled=True, source_of=("r",)),
                alert("d", "open"),
                alert("e", "", settled=True),
                alert("f", "restless"),
            ],
            wants=[want("old"), want("new"), want("open")],
            entries=[entry("old", "a"), entry("open", "d"), entry("", "e"), entry("", "e", at(70), "later")],
            parked=[
                parked("p1", "delivery", want("old").id, at(10)),
                parked("p2", "delivery", want("open").id, at(10)),
                parked("p3", "alert", "1", at(10)),
                parked("p4", "alert", "1", at(90)),
            ],
        )
    )
    # An event, two incidents' worth of alerts: the one with a settled alert, and settled alerts elsewhere.
    assert await store.trim(at(50)) == 1 + 1 + 3
    assert [e.event.body for e in await store.events(at(-1), 0, 10)] == [b"waits", b"new"]
    assert [i.id for i in (await store.incidents()).incidents] == ["restless", "open", "new"]
    loaded = await store.load(Keys(frozenset("abcdef"), incident_keys=frozenset({"k"}), relations=frozenset({"r"})))
    assert [a.identity for a in loaded.alerts] == ["b", "d", "f"]
    assert list(loaded.incidents) == []
    assert dict(loaded.relations) == {}
    assert list(await store.deliveries("old")) == []
    assert len(await store.deliveries("new")) == 1
    assert {d.want.incident for d in await store.claim(LANE, at(0), "w1", LEASE, 10)} == {"new", "open"}
    assert [p.id for p in await store.parked()] == ["p4", "p2"]
    assert [(e.incident, e.by) for e in (await store.entries()).entries] == [("open", ""), ("", "later")]
    assert await store.trim(at(50)) == 0


async def test_a_parked_event_is_kept_for_as_long_as_it_is_parked(store: Store) -> None:
    (seq,) = await store.append([raw(b"bad", at(0))])
    await store.commit(Changes(done=[seq], parked=[parked("p1", "event", str(seq), at(80))]))
    assert await store.trim(at(50)) == 0
    assert await store.retry_parked("p1", at(90)) is True
    assert [e.seq for e in await store.undecided(10)] == [seq]


async def test_more_than_is_forgotten_at_once_is_forgotten_too(store: Store) -> None:
    seqs = list(await store.append([raw() for _ in range(1203)]))
    over = [incident(f"i{n}", status=IncidentStatus.RESOLVED, resolved_at=T0) for n in range(1203)]
    await store.commit(Changes(done=seqs, incidents=over, entries=[entry("") for _ in range(1203)]))
    assert await store.trim(at(1)) == 2406
    assert list((await store.entries()).entries) == []
    assert (await store.incidents()).incidents == []


async def test_seqs_are_never_given_twice_even_after_forgetting(store: Store) -> None:
    (first,) = await store.append([raw()])
    await store.commit(Changes(done=[first]))
    await store.trim(at(1))
    (second,) = await store.append([raw()])
    assert second > first


async def test_closing_twice_is_no_error(store: Store) -> None:
    await store.close()
    await store.close()


# Deploys and windows.


async def test_every_field_of_a_window_and_a_deploy_survives(store: Store) -> None:
    still = (StillFiring("i1", "ünïcode \x1f\"'", "high", timedelta(seconds=3), 2),)
    verdict = Verdict(at(61), 3, 2, 1, "high", ("w0", "ß\x1f"), timedelta(microseconds=5), still, ("<!channel>",))
    full = window(
        "ß\x1f", kind=WindowKind.MAINTENANCE, labels={"alertname": "\u2028", "": "é"}, why=Reason.MAINTENANCE_ENDED,
        by="ana", reason="new disks", joined=("w0",), asked_at=at(58), stopped=True, over_at=at(61), verdict=verdict,
    )  # fmt: skip
    told = deploy(
        "dépl\x1f", status=DeployStatus.FAILED, ended_at=at(5), aliases=("github_run:1", "api:d1"),
        parts=(Part("github_run:1", 2, at(0), at(1), at(2), at(3), at(4), at(5), DeployStatus.FAILED),),
        run="github_run:1", run_attempt=2, attempt=2, kind=DeployKind.ROLLBACK, previous_version="a0",
        previous_commit="c0", repository="acme/shop", commit="c1", author="ana", title="t", url="https://x",
        diff_url="{previous}", rollback="make rollback", detail="failure", labels={"team": "<!channel>"},
        guessed=frozenset({"service", "version"}),
    )  # fmt: skip
    await store.commit(Changes(windows=[full, window("plain")], deploys=[told, deploy("plain")]))
    assert await store.window("ß\x1f") == full
    assert await store.window("plain") == window("plain")
    assert await store.deploy("dépl\x1f") == told
    assert await store.deploy("plain") == deploy("plain")
    assert (await store.window("none"), await store.deploy("none")) == (None, None)


async def test_windows_that_are_not_over_are_loaded_with_any_name_and_others_only_by_theirs(store: Store) -> None:
    await store.commit(Changes(windows=[window("open"), window("over", over_at=at(5)), window("past", over_at=at(1))]))

    async def loaded(*names: str) -> set[str]:
        return {w.id for w in (await store.load(Keys(windows=frozenset(names)))).windows}

    assert await loaded() == set()
    assert await loaded("") == {"open"}
    assert await loaded("over") == {"open", "over"}
    assert await loaded("over", "open", "none") == {"open", "over"}


async def test_a_window_is_due_at_its_end_or_at_the_notice_before_it_and_no_more_once_it_is_over(store: Store) -> None:
    quiet = window("quiet", ends_at=at(100))
    noted = window("noted", ends_at=at(700), announced=False)
    await store.commit(Changes(windows=[quiet, noted], incidents=[incident("i1", flush_at=at(300))]))
    assert await store.next_wake() == at(100)
    assert (await store.due(at(99), 10)).windows == []
    assert (await store.due(at(100), 10)).windows == ["noted", "quiet"], "the notice is ten minutes before the end"
    due = await store.due(at(300), 1)
    assert (list(due.windows), list(due.incidents)) == (["noted"], ["i1"]), "at most so many of each"
    await store.commit(Changes(windows=[replace(quiet, over_at=at(100)), replace(noted, announced=True)]))
    assert await store.next_wake() == at(300)
    assert (await store.due(at(699), 10)).windows == []
    assert (await store.due(at(700), 10)).windows == ["noted"]


async def test_what_a_window_held_is_found_by_it_until_a_new_episode_begins(store: Store) -> None:
    both = alert("a", held_in=("w1", "w2"), settled=True)
    await store.commit(Changes(alerts=[both, alert("b", held_in=("w2",)), alert("c")], incidents=[incident("i1")]))

    async def held_in(*names: str) -> set[str]:
        return {a.identity for a in (await store.load(Keys(held_in=frozenset(names)))).alerts}

    assert await held_in("w1") == {"a"}, "settled ones too"
    assert await held_in("w1", "w2") == {"a", "b"}
    await store.commit(Changes(alerts=[replace(both, held_in=(), settled=False)]))
    assert await held_in("w1", "w2") == {"b"}
    await store.commit(Changes(alerts=[replace(both, held_in=("w2",), current=False)]))
    assert await held_in("w2") == {"b"}, "not what a later episode has replaced"


async def test_deploys_are_loaded_by_service_and_by_time(store: Store) -> None:
    many = [deploy(f"old{n:02}", heard_at=at(n)) for n in range(30)]
    await store.commit(Changes(deploys=[*many, deploy("web", service="web", heard_at=at(50))]))
    by_service = (await store.load(Keys(services=frozenset({"api"})))).deploys
    assert {d.id for d in by_service} == {f"old{n:02}" for n in range(30 - DEPLOYS_LOADED, 30)}, "the latest of it"
    by_time = (await store.load(Keys(deploys_since=at(28)))).deploys
    assert {d.id for d in by_time} == {"old28", "old29", "web"}
    assert len((await store.load(Keys(services=frozenset({"api"}), deploys_since=at(28)))).deploys) == 21, "each once"


async def test_deploys_are_listed_by_when_they_were_heard_of_last(store: Store) -> None:
    first, second = deploy("d1", heard_at=at(1)), deploy("d2", service="web", heard_at=at(2))
    await store.commit(Changes(deploys=[first, second]))
    assert [d.id for d in await store.deploys(at(0))] == ["d2", "d1"]
    await store.commit(Changes(deploys=[replace(first, heard_at=at(3))]))
    assert [d.id for d in await store.deploys(at(0))] == ["d1", "d2"]
    assert [d.id for d in await store.deploys(at(0), "web")] == ["d2"]
    assert [d.id for d in await store.deploys(at(3))] == ["d1"]
    assert [d.id for d in await store.deploys(at(0), limit=1)] == ["d1"]


async def test_windows_are_listed_while_they_are_open_and_since_a_time(store: Store) -> None:
    await store.commit(
        Changes(windows=[window("a", starts_at=at(1)), window("b", starts_at=at(2)), window("c", over_at=at(50))])
    )
    assert [w.id for w in await store.windows(at(60))] == ["b", "a"], "the latest starts first"
    assert [w.id for w in await store.windows(at(40))] == ["b", "a", "c"]
    assert [w.id for w in await store.windows(at(40), 1)] == ["b"]


async def test_windows_and_deploys_are_found_by_their_names_and_what_is_not_there_is_left_out(store: Store) -> None:
    windows, deploys = [window("a"), window("b", over_at=at(50)), window("c")], [deploy("d"), deploy("e")]
    await store.commit(Changes(windows=windows, deploys=deploys))
    assert await store.windows_named(["b", "nothing", "a"]) == {"a": windows[0], "b": windows[1]}
    assert await store.deploys_named(["e", "nothing"]) == {"e": deploys[1]}
    assert (await store.windows_named([]), await store.deploys_named([])) == ({}, {})


async def test_a_window_is_forgotten_when_it_is_long_over_with_its_record_and_its_posts(store: Store) -> None:
    over = window("w1", over_at=at(10))
    verdict = want("w1", kind="verdict")
    await store.commit(
        Changes(
            windows=[over, window("w2", over_at=at(30)), window("w3", ends_at=at(5))],
            deploys=[deploy("d1", heard_at=at(10)), deploy("d2", heard_at=at(30))],
            alerts=[alert("a", held_in=("w1", "w3"))],
            incidents=[incident("i1")],
            wants=[verdict],
            entries=[entry("w1", when=at(10)), entry("i1", when=at(10))],
        )
    )
    await store.trim(at(20))
    assert [await store.window(name) is not None for name in ("w1", "w2", "w3")] == [False, True, True]
    assert [await store.deploy(name) is not None for name in ("d1", "d2")] == [False, True]
    assert await store.delivery(verdict.id) is None
    assert list((await store.entries(incident="w1")).entries) == []
    assert len((await store.entries(incident="i1")).entries) == 1
    assert {a.identity for a in (await store.load(Keys(held_in=frozenset({"w3"})))).alerts} == {"a"}


async def test_a_release_is_one_transaction(store: Store) -> None:
    """The window is over, its verdict is wanted, and what it held is due: or none of it."""
    (seq,) = await store.append([raw()])
    changes = Changes(
        done=[seq],
        windows=[window("w1", over_at=at(60))],
        wants=[want("w1", kind="verdict")],
        incidents=[incident("i1", flush_at=at(60))],
    )
    await store.commit(changes)
    await store.commit(replace(changes, done=()))
    assert len(await store.deliveries("w1")) == 1, "said twice, it is wanted once"
    assert (await store.due(at(60), 10)).windows == []
    assert (await store.due(at(60), 10)).incidents == ["i1"]
