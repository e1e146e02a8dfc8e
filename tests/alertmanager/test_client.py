"""Alertmanager's API as we ask it: several members, slow ones, broken ones, and what their silence means."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from alertbot.alertmanager import Alertmanager, Matcher, Refused, Unreachable
from alertbot.clock import MovableClock
from alertbot.domain.fingerprint import fingerprint
from tests.standins.alertmanager import AlertmanagerStandin

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SOON = timedelta(seconds=5)


class Cluster:
    """Two members, and what asks them."""

    def __init__(self, members: Sequence[AlertmanagerStandin], client: Alertmanager, clock: MovableClock) -> None:
        self.a, self.b = members
        self.client = client
        self.clock = clock

    def fire_on(self, *members: AlertmanagerStandin, **labels: str) -> str:
        for member in members:
            member.fire(labels)
        return fingerprint(labels)


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    clock = MovableClock(START)
    async with AsyncExitStack() as stack:
        members = [
            await stack.enter_async_context(AlertmanagerStandin(clock=lambda: clock.now().timestamp())) for _ in "ab"
        ]
        session = await stack.enter_async_context(aiohttp.ClientSession())
        urls = [f"{m.url}/" for m in members]
        yield Cluster(members, Alertmanager(session, urls, clock), clock)


async def test_what_one_member_has_fires_and_what_none_has_does_not(cluster: Cluster) -> None:
    one = cluster.fire_on(cluster.b, alertname="One")
    both = cluster.fire_on(cluster.a, cluster.b, alertname="Both")
    assert await cluster.client.still_firing([one, both, "0" * 16], SOON) == {one: True, both: True, "0" * 16: False}


Spoil = Callable[[AlertmanagerStandin], Any]


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda m: m.faults.add("close", times=None), id="it drops the connection"),
        pytest.param(lambda m: m.faults.add("hang", times=None), id="it does not answer in time"),
        pytest.param(lambda m: m.faults.add("answer", times=None, status=503), id="it answers 503"),
        pytest.param(lambda m: m.faults.add("answer", times=None, status=410, body="gone"), id="its API is another"),
        pytest.param(lambda m: m.faults.add("answer", times=None, status=200, body={"a": 1}), id="it talks nonsense"),
        pytest.param(
            lambda m: m.faults.add("answer", "GET /api/v2/alerts", times=None, status=302, headers={"Location": "/"}),
            id="it sends us elsewhere",
        ),
    ],
)
async def test_a_member_that_gives_no_usable_answer_says_nothing(cluster: Cluster, spoil: Spoil) -> None:
    there = cluster.fire_on(cluster.a, alertname="Down")
    spoil(cluster.b)
    assert await cluster.client.still_firing([there, "0" * 16], timedelta(seconds=0.3)) == {
        there: True,
        "0" * 16: False,
    }
    spoil(cluster.a)
    assert await cluster.client.still_firing([there], timedelta(seconds=0.3)) is None


async def test_a_member_that_just_started_cannot_know_what_is_gone(cluster: Cluster) -> None:
    """Alertmanager keeps its alerts in memory: until Prometheus has sent again, what it has not may still fire."""
    there = cluster.fire_on(cluster.a, alertname="Down")
    cluster.a.restart()
    cluster.b.restart()
    again = cluster.fire_on(cluster.b, alertname="Up")
    assert await cluster.client.still_firing([there, again], SOON) == {again: True}
    look = await cluster.client.look()
    assert look is not None
    assert not look.complete
    cluster.clock.advance(timedelta(minutes=5))
    assert await cluster.client.still_firing([there, again], SOON) == {there: False, again: True}


async def test_how_long_a_member_takes_to_know_follows_its_resolve_timeout(cluster: Cluster) -> None:
    for member in (cluster.a, cluster.b):
        member.config = "global:\n  resolve_timeout: 30m\n"
        member.restart()
    cluster.clock.advance(timedelta(minutes=20))
    assert await cluster.client.still_firing(["0" * 16], SOON) == {}
    cluster.clock.advance(timedelta(minutes=10))
    assert await cluster.client.still_firing(["0" * 16], SOON) == {"0" * 16: False}


async def test_a_look_is_complete_only_with_every_member(cluster: Cluster) -> None:
    look = await cluster.client.look()
    assert look is not None
    assert look.complete
    cluster.a.faults.add("close", times=None)
    look = await cluster.client.look()
    assert look is not None
    assert not look.complete
    cluster.b.faults.add("close", times=None)
    assert await cluster.client.look() is None


async def test_an_answer_that_never_ends_is_cut(cluster: Cluster) -> None:
    cluster.fire_on(cluster.a, cluster.b, alertname="Down", text="x" * 5000)
    assert await cluster.client.still_firing(["0" * 16], SOON) is not None
    cluster.client.max_answer = 2000
    assert await cluster.client.still_firing(["0" * 16], SOON) is None


async def test_a_silence_is_made_where_a_member_answers_and_changed_and_ended(cluster: Cluster) -> None:
    cluster.a.faults.add("close", times=None)
    ends = START + timedelta(hours=1)
    matchers = [Matcher("alertname", "Down"), Matcher("text", 'a "b"\n\\ü')]
    made = await cluster.client.silence(matchers, START, ends, "ada", "why")
    (found,) = await cluster.client.silences()
    assert (found.id, found.created_by, found.comment, list(found.matchers)) == (made, "ada", "why", matchers)
    later = ends + timedelta(hours=1)
    assert await cluster.client.silence(matchers, found.starts_at, later, "ada", "why", made) == made
    assert [s.ends_at for s in await cluster.client.silences()] == [later]
    await cluster.client.expire(made)
    assert [s.status.state for s in await cluster.client.silences()] == ["expired"]


async def test_what_alertmanager_will_not_take_is_refused_in_its_words(cluster: Cluster) -> None:
    ends = START + timedelta(hours=1)
    with pytest.raises(Refused, match="must not match the empty string"):
        await cluster.client.silence([Matcher("team", "")], START, ends, "ada", "why")
    with pytest.raises(Refused, match="404"):
        await cluster.client.expire("not-there")
    for member in (cluster.a, cluster.b):
        member.faults.add("close", times=None)
    with pytest.raises(Unreachable):
        await cluster.client.silences()


async def test_a_password_is_sent_and_is_in_no_message(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    header = "Bearer a-secret-of-alertmanagers"
    cluster.a.password = cluster.b.password = header
    assert await cluster.client.look() is None
    knows = Alertmanager(cluster.client.session, cluster.client.urls, cluster.clock, {"Authorization": header})
    assert await knows.look() is not None
    cluster.a.password = cluster.b.password = "another"
    assert await knows.look() is None
    assert "a-secret-of-alertmanagers" not in caplog.text + repr(knows)
