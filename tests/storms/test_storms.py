"""At the worst hour: what people see of hundreds of incidents, and that nothing of it is lost."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from alertbot.domain.model import DeliveryStatus, IncidentStatus
from tests.storms.weather import Said, Weather


def hosts(first: int, after: int) -> list[str]:
    return [f"h{n}" for n in range(first, after)]


def most_in(said: list[Said], span: timedelta) -> int:
    """The greatest number of calls in any such span."""
    times = [s.at for s in said]
    return max(sum(t - span < other <= t for other in times) for t in times)


# Slack.


async def test_as_many_as_a_channel_takes_in_ten_seconds_are_cards_one_a_second_and_no_storm() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 10))
    await w.run(15)
    posts = w.said("slack", what="post")
    assert [s.storm for s in posts] == [False] * 10
    assert most_in(posts, timedelta(seconds=1)) == 1
    assert await w.unseen() == []


async def test_a_hundred_at_once_are_one_board_that_is_edited_and_not_a_hundred_cards() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 60), zone="a")
    await w.run(3)
    await w.report(hosts(60, 100), zone="a")
    await w.run(30)
    (board,) = w.said("slack", what="post")
    assert board.storm
    assert board.seconds <= 1
    edits = w.said("slack", what="edit")
    assert 1 <= len(edits) <= 2, "what does not change is not edited"
    storm = edits[-1].job.storm
    assert storm is not None
    assert (storm.total, storm.open, storm.alerts) == (100, 100, 100)
    assert ("zone", "a") in storm.common
    assert len(storm.worst) == 10
    assert [(g.name, g.open, g.total) for g in storm.names] == [("HostDown", 100, 100)]
    assert await w.unseen() == []


async def test_in_a_storm_critical_incidents_keep_cards_of_their_own_and_go_first() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100))
    await w.report(hosts(200, 205), "critical")
    await w.run(20)
    posts = w.said("slack", what="post")
    assert Counter((s.storm, s.severity) for s in posts if not s.storm) == {(False, "critical"): 5}
    assert sum(s.storm for s in posts) == 1
    assert max(s.seconds for s in posts) <= 6
    assert most_in(posts, timedelta(seconds=1)) == 1


async def test_a_hundred_critical_incidents_are_seen_at_once_on_a_board_and_each_gets_its_card_one_a_second() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100), "critical")
    await w.run(2)
    board = w.said("slack", storm=True)[0]
    assert board.seconds <= 1, "before the cards: it stands in for most of them"
    assert board.job.storm is not None
    cards = {s.incident for s in w.said("slack", storm=False)}
    assert board.job.storm.total + 60 == 100
    assert len(cards) <= 2
    await w.run(60)
    assert await w.unseen() == []
    await w.run(58)
    posts = w.said("slack", what="post")
    assert len({s.incident for s in posts if not s.storm}) == 100
    assert most_in(posts, timedelta(seconds=1)) == 1
    assert len(posts) == 101


async def test_a_critical_incident_that_resolves_before_its_card_is_posted_ends_on_the_board() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100), "critical")
    await w.run(10)
    await w.report(hosts(0, 100), "critical", resolved=True)
    await w.run(300)
    assert len(w.said("slack", what="post", storm=False)) < 100
    storm = w.said("slack", storm=True)[-1].job.storm
    assert storm is not None
    assert storm.over
    assert storm.open == 0
    assert await w.unseen() == []


async def test_a_storm_ends_and_says_so_and_what_still_fires_gets_its_card() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100))
    await w.run(60)
    await w.report(hosts(5, 100), resolved=True)
    await w.run(50)
    assert len(w.said("slack", what="post")) == 1, "two minutes are not over"
    await w.run(240)
    last = w.said("slack", storm=True)[-1].job
    assert last.storm is not None
    assert last.storm.over
    assert (last.storm.open, last.storm.total) == (5, 100)
    assert last.incident.status is IncidentStatus.RESOLVED
    cards = w.said("slack", storm=False, what="post")
    assert {s.incident for s in cards} == {i.id for i in last.storm.worst}
    assert await w.unseen() == []
    await w.run(600)
    assert len(w.said("slack", what="post")) == 6, "and that is all"


async def test_no_two_edits_of_a_board_have_the_same_revision_however_long_nothing_changed_between_them() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100))
    await w.run(15)
    await w.report(hosts(0, 100), resolved=True)
    await w.run(300)
    revisions = [s.job.delivery.want.level.revision for s in w.said("slack")]
    assert len(revisions) == 3, "posted, all resolved, over"
    assert sorted(set(revisions)) == revisions


async def test_a_storm_of_which_most_goes_on_firing_stays_one_board() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100))
    await w.run(1200)
    assert len(w.said("slack", what="post")) == 1
    await w.report(hosts(100, 101))
    await w.run(60)
    assert len(w.said("slack", what="post")) == 1, "one more joins it"
    storm = w.said("slack")[-1].job.storm
    assert storm is not None
    assert storm.total == 101


async def test_a_bot_that_is_restarted_in_a_storm_goes_on_with_the_same_board() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100))
    await w.run(2)
    w.replicas = [w.replica()]
    await w.report(hosts(100, 150))
    await w.run(30)
    assert len({s.incident for s in w.said("slack")}) == 1
    storm = w.said("slack")[-1].job.storm
    assert storm is not None
    assert storm.total == 150


async def test_why_an_incident_has_no_card_is_in_its_record() -> None:
    w = Weather("slack")
    await w.report(hosts(0, 100))
    await w.run(5)
    incident = (await w.store.incidents(limit=1)).incidents[0]
    (delivery,) = await w.store.deliveries(incident.id)
    assert delivery.status is DeliveryStatus.FOLDED
    reasons = [e.reason.value for e in (await w.store.entries(incident=incident.id)).entries]
    assert "folded_into_storm" in reasons


# PagerDuty.


async def test_each_of_five_hundred_critical_incidents_is_on_an_open_page_at_once_within_pagerdutys_rate() -> None:
    w = Weather("pagerduty")
    await w.report(hosts(0, 500), "critical")
    await w.run(2)
    own = {s.incident for s in w.said("pagerduty", storm=False)}
    listed = {i for s in w.said("pagerduty", storm=True) for i, _ in s.job.storm.members}  # type: ignore[union-attr]
    everything = {i.id for i in (await w.store.incidents(limit=1000)).incidents}
    assert own | listed == everything
    assert len(own) >= 100, "as many as the budget allows have their own"
    assert len({s.incident for s in w.said("pagerduty", storm=True)}) == 1
    await w.run(600)
    assert most_in(w.said("pagerduty"), timedelta(minutes=1)) <= 120
    assert {s.incident for s in w.said("pagerduty", storm=False)} == everything, "each got its own in the end"
    assert w.said("pagerduty", storm=True)[-1].what == "resolve", "and the storm's page is closed"
    assert await w.unseen() == []


async def test_a_storms_page_closes_when_its_last_member_does() -> None:
    w = Weather("pagerduty")
    await w.report(hosts(0, 400), "critical")
    await w.run(3)
    await w.report(hosts(0, 400), "critical", resolved=True)
    await w.run(900)
    opened = {s.incident for s in w.said("pagerduty", what="trigger")}
    closed = {s.incident for s in w.said("pagerduty", what="resolve")}
    assert opened == closed
    assert len(opened) < 400, "what closed meanwhile was never on a page of its own"
    assert most_in(w.said("pagerduty"), timedelta(minutes=1)) <= 120
    assert await w.unseen() == []


async def test_in_a_storm_all_but_the_critical_fold_to_one_page_a_service() -> None:
    w = Weather("pagerduty")
    await w.report(hosts(0, 150), "high", service="checkout")
    await w.report(hosts(150, 300), "high", service="search")
    await w.report(hosts(300, 310), "critical", service="search")
    await w.run(10)
    pages = w.said("pagerduty", storm=True)
    assert len({s.incident for s in pages}) == 2
    assert {s.job.storm.services[0].name for s in pages} == {"checkout", "search"}  # type: ignore[union-attr]
    assert len({s.incident for s in w.said("pagerduty", storm=False)}) == 10
    assert await w.unseen() == []


# Mail and text messages.


async def test_many_mails_are_a_digest_now_and_then() -> None:
    w = Weather("email")
    await w.report(hosts(0, 200))
    await w.run(60)
    assert [(s.storm, s.what) for s in w.said("email")] == [(True, "open")]
    await w.report(hosts(200, 250))
    await w.run(900)
    assert [s.what for s in w.said("email")] == ["open", "update"]
    storm = w.said("email")[-1].job.storm
    assert storm is not None
    assert storm.total == 250
    await w.report(hosts(0, 248), resolved=True)
    await w.run(330)
    last = w.said("email")[-1].job
    assert last.storm is not None
    assert (last.action.value, last.storm.open, last.storm.over) == ("update", 2, True), "no false all-clear"
    await w.report(hosts(248, 250), resolved=True)
    await w.run(60)
    assert [(s.storm, s.what) for s in w.said("email")[-2:]] == [(False, "resolve")] * 2
    assert len(w.said("email")) == 5


async def test_many_texts_are_one_text_with_a_count() -> None:
    w = Weather("sms")
    await w.report(hosts(0, 200), "critical")
    await w.run(300)
    (text,) = w.said("sms")
    assert text.job.incident.title == "Storm: 200 incidents: HostDown ×200"


async def test_a_few_mails_and_texts_go_out_one_by_one() -> None:
    w = Weather("email", "sms")
    await w.report(hosts(0, 3), "critical")
    await w.run(30)
    assert [(s.integration, s.storm) for s in w.said("email") + w.said("sms")] == [("email", False)] * 3 + [
        ("sms", False)
    ] * 3


# Destinations that fail.


async def test_a_dead_destination_is_tried_now_and_then_and_catches_up_with_what_holds_then() -> None:
    w = Weather("slack", "pagerduty")
    w.to.down.add("pagerduty")
    await w.report(hosts(0, 20), "critical")
    await w.run(60)
    assert "pagerduty:key" in w.outbox.broken
    await w.report(hosts(10, 20), "critical", resolved=True)
    await w.run(120)
    w.to.down.clear()
    await w.run(60)
    assert w.outbox.broken == {}
    paged = {s.job.incident.labels["instance"] for s in w.said("pagerduty", what="trigger")}
    assert paged == set(hosts(0, 10)), "what is over is not told any more"
    assert len(w.said("slack", what="post")) >= 20, "Slack was not kept waiting"


@pytest.mark.parametrize("count", [1, 30])
async def test_the_fallback_gets_each_incident_of_a_dead_destination_also_those_that_were_not_tried(count: int) -> None:
    w = Weather("pagerduty", fallback=True)
    w.to.down.add("pagerduty")
    await w.report(hosts(0, 1), "critical")
    await w.run(120)
    await w.report(hosts(1, count), "critical")
    await w.run(420)
    told = {i.id for s in w.said("email") for i in ([s.job.incident] if not s.storm else [])}
    for said in w.said("email", storm=True):
        assert said.job.storm is not None
        told |= {name for name, _ in said.job.storm.members}
    assert told == {i.id for i in (await w.store.incidents(limit=1000)).incidents}
