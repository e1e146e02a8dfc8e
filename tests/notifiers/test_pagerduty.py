"""One PagerDuty incident an opening, in the right order, whatever gets lost: against PagerDuty's own
rules."""

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.clock import MovableClock
from alertbot.domain.budgets import RATES
from alertbot.domain.model import Action, AlertStatus, IncidentStatus, Level
from alertbot.limiter import StoredLimiter
from alertbot.notifiers.base import Failed, Later, Links, Retry, Sent
from alertbot.notifiers.pagerduty import EVENT_BYTES, PagerDutyNotifier, Payload, dedup_key, plan
from alertbot.store.memory import MemoryStore
from tests.notifiers.jobs import ACKED, NASTY, NOW, OPEN, PAGE, RESOLVED, Destination, alert, job
from tests.standins.faults import FlakyProxy
from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin, event_errors


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyStandin]:
    async with PagerDutyStandin(limited=False) as standin:
        yield standin


@pytest.fixture
async def notifier(pagerduty: PagerDutyStandin) -> AsyncIterator[PagerDutyNotifier]:
    made = PagerDutyNotifier(ROUTING_KEY, url=pagerduty.url, timeout=5)
    yield made
    await made.close()


async def test_an_incident_pages_once_and_carries_what_is_known(
    pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier
) -> None:
    assert await notifier.deliver(job(firing=2)) == Sent(remote_id="i1")
    assert [p.dedup_key for p in pagerduty.pages] == ["i1"]
    (event,) = pagerduty.incident("i1").events
    payload = event["payload"]
    assert payload["summary"] == "[2 firing] HighErrorRate prod"
    assert (payload["source"], payload["component"], payload["group"], payload["class"]) == (
        "api-1:8080",
        "api",
        "prod",
        "HighErrorRate",
    )
    assert payload["severity"] == "critical"
    assert payload["custom_details"]["firing"][0]["labels"]["instance"] == "api-1:8080"
    assert payload["custom_details"]["not_shown"] == f"1 more firing alerts are not shown here: see {PAGE}"
    assert (event["client"], event["client_url"]) == ("alertbot", PAGE)
    assert [link["text"] for link in event["links"]] == ["Incident", "Runbook"]


NONE = Level()


@pytest.mark.parametrize(
    ("rule", "action", "shown", "want", "uncertain", "events"),
    [
        ("first opening", Action.OPEN, NONE, Level(OPEN, 1, 1), False, ["trigger i1"]),
        ("a repeat is appended", Action.OPEN, NONE, Level(OPEN, 1, 1), True, ["trigger i1"]),
        ("more alerts are appended", Action.UPDATE, Level(OPEN, 1, 1), Level(OPEN, 1, 2), False, ["trigger i1"]),
        ("acknowledged", Action.ACKNOWLEDGE, Level(OPEN, 1, 1), Level(ACKED, 1, 2), False, ["acknowledge i1"]),
        ("resolved", Action.RESOLVE, Level(OPEN, 1, 1), Level(RESOLVED, 1, 2), False, ["resolve i1"]),
        (
            "resolved, second opening",
            Action.RESOLVE, Level(ACKED, 2, 1), Level(RESOLVED, 2, 2), False, ["resolve i1.2"],
        ),
        (
            "reopened after an ack: a trigger on the old key would call nobody",
            Action.REOPEN, Level(ACKED, 1, 2), Level(OPEN, 2, 3), False, ["resolve i1", "trigger i1.2"],
        ),
        ("reopened after a resolve", Action.REOPEN, Level(RESOLVED, 1, 2), Level(OPEN, 2, 3), False, ["trigger i1.2"]),
        (
            "the trigger of the first opening may have arrived",
            Action.OPEN, NONE, Level(OPEN, 2, 3), True, ["resolve i1", "trigger i1.2"],
        ),
        (
            "several openings were tried, and nobody knows which arrived",
            Action.REOPEN, Level(ACKED, 2, 3), Level(OPEN, 4, 9), True,
            ["resolve i1.2", "resolve i1.3", "trigger i1.4"],
        ),
        (
            "resolved while a reopening was uncertain: both",
            Action.RESOLVE, Level(ACKED, 1, 2), Level(RESOLVED, 2, 5), True, ["resolve i1", "resolve i1.2"],
        ),
        ("resolved, and the opening was uncertain", Action.RESOLVE, NONE, Level(RESOLVED, 1, 2), True, ["resolve i1"]),
        (
            "acknowledged before an uncertain opening was repeated: nobody is called for it",
            Action.OPEN, NONE, Level(ACKED, 1, 2), True, ["acknowledge i1"],
        ),
        ("another receiver is brought in", Action.ESCALATE, NONE, Level(OPEN, 1, 2), False, ["trigger i1"]),
        ("PagerDuty has reminders of its own", Action.REMIND, NONE, Level(OPEN, 1, 2), False, []),
        ("a verdict calls nobody", Action.VERDICT, NONE, Level(OPEN, 1, 2), False, []),
    ],
)  # fmt: skip
def test_what_is_sent_in_which_order(
    rule: str, action: Action, shown: Level, want: Level, uncertain: bool, events: list[str]
) -> None:
    steps = plan(job(action, shown=shown, want=want, uncertain=uncertain))
    assert [f"{kind} {key}" for kind, key in steps] == events, rule


def test_a_trigger_never_goes_before_the_resolve_of_an_older_opening_nor_after_that_of_its_own() -> None:
    statuses: list[IncidentStatus | None] = [None, OPEN, ACKED, RESOLVED]
    for action, status, wanted, was, will, uncertain in product(
        Action, statuses, [OPEN, ACKED, RESOLVED], range(4), range(1, 5), [False, True]
    ):
        steps = plan(job(action, shown=Level(status, was), want=Level(wanted, will), uncertain=uncertain))
        triggers = [i for i, (kind, _) in enumerate(steps) if kind == "trigger"]
        assert triggers in ([], [len(steps) - 1])
        assert len({key for _, key in steps}) == len(steps), (action, status, wanted, was, will, uncertain)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["change", "attempt"]), st.sampled_from(["", "done_close", "close", "500", "429"])),
        max_size=12,
    ),
    data=st.data(),
)
async def test_in_the_end_pagerduty_shows_what_it_should_whatever_failed_on_the_way(
    steps: list[tuple[str, str]], data: st.DataObject
) -> None:
    """Changes and attempts in any order, some of which fail or are lost; then attempts until nothing is
    left."""
    async with PagerDutyStandin(limited=False) as pagerduty:
        notifier = PagerDutyNotifier(ROUTING_KEY, url=pagerduty.url, timeout=5)
        destination = Destination(notifier, "pagerduty")
        status, opening, revision = OPEN, 1, 1
        destination.want(status, opening, revision)
        for what, fault in steps:
            if what == "change":
                revision += 1
                status = data.draw(st.sampled_from([OPEN, ACKED, RESOLVED]))
                # People are told that it opens, again: after a resolve, and where an ack ended.
                opening += destination.delivery.want.level.status is not OPEN and status is OPEN
                destination.want(status, opening, revision)
            else:
                if fault.isdigit():
                    pagerduty.faults.add("answer", status=int(fault))
                elif fault:
                    pagerduty.faults.add(fault)  # type: ignore[arg-type]
                await destination.attempt()
                pagerduty.faults.clear()
        while isinstance(await destination.attempt(), Retry):
            pass
        await notifier.close()
        left = pagerduty.open()
        keys = [p.dedup_key for p in pagerduty.pages]
        assert len(keys) == len(set(keys)), "an opening called somebody twice"
        if status is RESOLVED:
            assert left == []
        elif status is OPEN:
            assert [(i.dedup_key, i.status) for i in left] == [(dedup_key("i1", opening), "triggered")]
        else:
            assert len(left) <= 1


async def test_where_the_second_event_fails_all_are_repeated_without_a_second_page(
    pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier
) -> None:
    await notifier.deliver(job())
    reopen = job(Action.REOPEN, shown=Level(ACKED, 1, 2), want=Level(OPEN, 2, 3))
    pagerduty.faults.add("done_close", match=lambda p: p["event_action"] == "trigger")
    lost = await notifier.deliver(reopen)
    assert isinstance(lost, Retry)
    assert lost.uncertain
    again = replace(reopen, delivery=replace(reopen.delivery, uncertain=True))
    assert await notifier.deliver(again) == Sent(remote_id="i1.2")
    assert [p.dedup_key for p in pagerduty.pages] == ["i1", "i1.2"]
    assert [i.dedup_key for i in pagerduty.open()] == ["i1.2"]


async def test_one_call_is_one_request_whatever_is_answered(
    pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier
) -> None:
    for status in (400, 401, 403, 404, 408, 429, 500, 502, 503, 504):
        before = len(pagerduty.requests)
        pagerduty.faults.add("answer", times=None, status=status)
        result = await notifier.deliver(job())
        pagerduty.faults.clear()
        assert len(pagerduty.requests) == before + 1, status
        assert isinstance(result, Retry if status in (408, 429) or status >= 500 else Failed), status
    before = len(pagerduty.requests)
    pagerduty.faults.add("close", times=None)
    assert isinstance(await notifier.deliver(job()), Retry)
    assert len(pagerduty.requests) == before + 1


async def test_its_own_words_are_told_and_its_wish_to_wait_is_heeded(
    pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier
) -> None:
    pagerduty.faults.add("answer", status=429, headers={"Retry-After": "30"}, body={"message": "slow down"})
    clock = MovableClock(NOW)
    notifier._limiter = StoredLimiter(MemoryStore(), clock, RATES)
    until = NOW + timedelta(seconds=30)
    assert await notifier.deliver(job()) == Later(until, error="PagerDuty answered 429: slow down")
    asked = len(pagerduty.requests)
    assert await notifier.deliver(job()) == Later(until)
    assert len(pagerduty.requests) == asked, "it is not asked before"
    clock.move_to(until)
    pagerduty.routing_keys = ("another",)
    refused = await notifier.deliver(job())
    assert refused == Failed("PagerDuty answered 400: 'routing_key' is not known")


async def test_a_redirect_is_not_followed(pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier) -> None:
    pagerduty.faults.add("answer", status=302, headers={"Location": f"{pagerduty.url}/elsewhere"})
    assert isinstance(await notifier.deliver(job()), Failed)
    assert len(pagerduty.requests) == 1


@pytest.mark.parametrize("body", ["<html>log in to the guest network</html>", "", {"status": "success"}, []])
async def test_a_202_that_is_not_pagerdutys_calls_nobody_and_is_no_delivery(
    body: Any, pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier
) -> None:
    pagerduty.faults.add("answer", status=202, body=body)
    result = await notifier.deliver(job())
    assert isinstance(result, Retry)
    assert result.uncertain


async def test_a_refused_connection_is_certain_and_a_lost_answer_is_not(pagerduty: PagerDutyStandin) -> None:
    async with FlakyProxy(pagerduty.port) as proxy:
        notifier = PagerDutyNotifier(ROUTING_KEY, url=proxy.url, timeout=5)
        proxy.swallow_answer = True
        lost = await notifier.deliver(job())
        await proxy.refuse()
        refused = await notifier.deliver(job())
        await notifier.close()
    assert isinstance(lost, Retry)
    assert isinstance(refused, Retry)
    assert (lost.uncertain, refused.uncertain) == (True, False)
    assert len(pagerduty.pages) == 1


async def test_the_proxy_of_the_environment_is_not_used(
    pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert isinstance(await notifier.deliver(job()), Sent)


async def test_while_a_request_is_under_way_its_incident_gets_no_second_one() -> None:
    """An answer that comes byte by byte outlives the time that we wait for it; its thread goes on."""
    seen: list[bytes] = []
    finish = asyncio.Event()

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 202 Accepted\r\nX-Slow: ")
        while not finish.is_set():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    notifier = PagerDutyNotifier(ROUTING_KEY, url=f"http://127.0.0.1:{port}", timeout=0.2)
    first = await asyncio.wait_for(notifier.deliver(job()), 10)
    second = await asyncio.wait_for(notifier.deliver(job()), 10)
    assert isinstance(first, Retry)
    assert isinstance(second, Retry)
    assert first.uncertain
    assert "under way" in second.error
    assert len(seen) == 1
    finish.set()
    await asyncio.wait(notifier._busy.values(), timeout=10)
    assert not notifier._busy
    await notifier.close()
    server.close()
    await server.wait_closed()


async def test_threads_are_few_and_close_lets_them_go(pagerduty: PagerDutyStandin) -> None:
    notifier = PagerDutyNotifier(ROUTING_KEY, url=pagerduty.url)
    await asyncio.gather(*(notifier.deliver(job()) for _ in range(40)))
    names = [t.name for t in threading.enumerate() if t.name.startswith("pagerduty_")]
    await notifier.close()
    assert 1 <= len(names) <= 4


# What a trigger says


def payload(**more: Any) -> dict[str, Any]:
    return Payload("alertbot", {}).trigger(job(**more))


def valid(body: dict[str, Any]) -> bool:
    event = {"routing_key": ROUTING_KEY, "event_action": "trigger", "dedup_key": "i1", **body}
    return event_errors(event) == [] and len(json.dumps(event)) <= EVENT_BYTES


@pytest.mark.parametrize(
    ("rank", "word"), [(0, "critical"), (1, "error"), (2, "warning"), (3, "info"), (4, "info"), (9, "info")]
)
def test_the_severity_follows_from_the_place_in_our_order(rank: int, word: str) -> None:
    assert payload(rank=rank, severity="not in the list")["payload"]["severity"] == word


def test_the_operator_may_say_which_severity_is_which() -> None:
    made = Payload("alertbot", {"critical": "warning"})
    assert made.trigger(job())["payload"]["severity"] == "warning"
    assert made.trigger(job(severity="high"))["payload"]["severity"] == "error"


def test_a_storm_stays_under_the_limit_and_says_what_is_missing() -> None:
    alerts = [alert(n, labels={"alertname": "A", **{f"label{i}": "ü" * 900 for i in range(20)}}) for n in range(200)]
    body = payload(alerts=alerts, firing=5000)
    assert valid(body)
    details = body["payload"]["custom_details"]
    bare = [a for a in details["firing"] if "labels" not in a]
    assert 1 <= len(bare) < len(details["firing"])
    assert details["cut"] == f"{len(bare)} of these alerts are shown without their labels: see {PAGE}"
    assert details["not_shown"].startswith(f"{5000 - len(details['firing'])} more firing alerts")
    assert PAGE in details["not_shown"]


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("nothing at all is known", {"alerts": [], "labels": {}, "title": "", "links": Links()}),
        ("a title of a megabyte", {"title": "x" * 2**20}),
        (
            "everything is hostile",
            {"title": NASTY, "labels": {NASTY: NASTY}, "alerts": [alert(1, labels={NASTY: NASTY})]},
        ),
        ("ten thousand labels", {"labels": {f"l{i}": "v" * 2000 for i in range(10_000)}}),
        (
            "many alerts with long summaries",
            {"alerts": [alert(n, annotations={"summary": "ü" * 9000}) for n in range(200)]},
        ),
        ("one alert is larger than an event", {"alerts": [alert(1, annotations={"description": "🔥" * 2**19})]}),
        ("links that are none", {"links": Links(incident="javascript:x", runbook="/relative", graph="http://")}),
    ],
)
def test_every_event_is_one_that_pagerduty_takes(rule: str, changes: dict[str, Any]) -> None:
    assert valid(payload(**changes)), rule


@given(st.text(st.characters(codec=None)), st.dictionaries(st.text(), st.text(), max_size=3))
def test_any_text_makes_a_valid_event(title: str, labels: dict[str, str]) -> None:
    body = payload(title=title, labels=labels, alerts=[alert(1, labels=labels, annotations=labels)])
    assert valid(body)
    json.dumps(body, ensure_ascii=False).encode()
    assert len(body["payload"]["summary"].splitlines()) == 1


def test_what_resolved_or_is_held_is_not_among_the_firing() -> None:
    alerts = [alert(1), alert(2, status=AlertStatus.RESOLVED, ends_at=NOW)]
    assert len(payload(alerts=alerts)["payload"]["custom_details"]["firing"]) == 1


def test_a_test_is_marked_as_one() -> None:
    body = payload(test=True)
    assert body["payload"]["summary"].startswith("[1 firing] [TEST] ")
    assert "nobody has to act" in body["payload"]["custom_details"]["test"]


async def test_the_sdk_writes_nothing_to_our_logs(
    pagerduty: PagerDutyStandin, notifier: PagerDutyNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        for fault in ("429", "500"):
            pagerduty.faults.add("answer", status=int(fault))
            await notifier.deliver(job())
    assert ROUTING_KEY not in caplog.text
    assert not [r for r in caplog.records if "sdk" in r.name or r.name == "pdpyras"]
