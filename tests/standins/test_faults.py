"""Faults, the proxy, and what the stand-ins over HTTP share, shown on the plainest of them."""

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.standins.faults import Action, Fault, FaultScript, FlakyProxy
from tests.standins.process import StandinProcess
from tests.standins.server import Bucket, RateLimit
from tests.standins.webhook import WebhookStandin


@pytest.fixture
async def webhook() -> AsyncIterator[WebhookStandin]:
    async with WebhookStandin() as standin:
        yield standin


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def post(session: aiohttp.ClientSession, url: str, number: int = 1) -> int:
    async with session.post(f"{url}/hook", json={"number": number}) as answer:
        await answer.read()
        return answer.status


async def test_what_is_posted_is_recorded_with_its_answer(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    webhook.status = 202
    assert await post(session, webhook.url) == 202
    assert webhook.bodies == [{"number": 1}]
    (call,) = webhook.calls("/hook")
    assert (call.status, call.handled, call.outcome) == (202, True, "answered")


async def test_an_answer_is_scripted_with_its_headers_and_the_request_not_handled(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    webhook.faults.add("answer", "/hook", status=503, headers={"Retry-After": "7"}, times=2)
    async with session.post(f"{webhook.url}/hook", json={}) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "7")
    assert [await post(session, webhook.url) for _ in range(2)] == [503, 200]
    assert webhook.bodies == [{"number": 1}]


async def test_a_fault_picks_its_requests_by_values_or_by_a_predicate(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    webhook.faults.add("answer", "*", status=400, match={"number": 2}, times=None)
    webhook.faults.add("answer", "*", status=500, match=lambda params: params["number"] > 3, times=None)
    webhook.faults.add("answer", "/elsewhere", status=418, times=None)
    statuses = [await post(session, webhook.url, number) for number in (1, 2, 3, 4, 2)]
    assert statuses == [200, 400, 200, 500, 400]


@pytest.mark.parametrize(("action", "done"), [("close", 0), ("done_close", 1)])
async def test_a_connection_closes_before_or_after_the_request_is_handled(
    webhook: WebhookStandin, session: aiohttp.ClientSession, action: Action, done: int
) -> None:
    webhook.faults.add(action)
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(session, webhook.url)
    assert len(webhook.bodies) == done
    assert await post(session, webhook.url) == 200


@pytest.mark.parametrize(("action", "at_once", "at_last"), [("hang", 0, 0), ("done_hang", 1, 1), ("delay", 0, 1)])
async def test_a_request_waits_until_released(
    webhook: WebhookStandin, session: aiohttp.ClientSession, action: Action, at_once: int, at_last: int
) -> None:
    webhook.faults.add(action)
    asked = asyncio.create_task(post(session, webhook.url))
    await asyncio.wait_for(webhook.faults.until_held(), 5)
    assert len(webhook.bodies) == at_once
    webhook.faults.release()
    if action == "delay":
        assert await asked == 200
    else:
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked
    assert len(webhook.bodies) == at_last


async def test_the_proxy_carries_bytes_both_ways_untouched(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    text = "".join(random.Random(1).choices("abcdefgh", k=300_000))
    async with (
        FlakyProxy(webhook.port) as proxy,
        session.post(f"{proxy.url}/hook", json={"x": text}) as answer,
    ):
        assert answer.status == 200
    assert webhook.bodies == [{"x": text}]


async def test_the_proxy_refuses_and_accepts_again_on_the_same_port(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    async with FlakyProxy(webhook.port) as proxy:
        url = proxy.url
        await proxy.refuse()
        with pytest.raises(aiohttp.ClientConnectorError):
            await post(session, url)
        await proxy.accept()
        assert await post(session, url) == 200
    assert len(webhook.bodies) == 1


async def test_the_proxy_cuts_an_answer_in_the_middle(webhook: WebhookStandin, session: aiohttp.ClientSession) -> None:
    async with FlakyProxy(webhook.port) as proxy:
        proxy.cut_after, proxy.cut_times = 20, 1
        with pytest.raises(aiohttp.ClientError):
            await post(session, proxy.url)
        assert await post(session, proxy.url) == 200
    assert len(webhook.bodies) == 2


async def test_the_proxy_swallows_an_answer_to_what_was_done(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    async with FlakyProxy(webhook.port) as proxy:
        proxy.swallow_answer = True
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(session, proxy.url)
    assert len(webhook.bodies) == 1


async def test_behind_a_black_hole_nothing_arrives_and_nothing_is_answered(
    webhook: WebhookStandin, session: aiohttp.ClientSession
) -> None:
    async with FlakyProxy(webhook.port) as proxy:
        proxy.blackhole = True
        asked = asyncio.create_task(post(session, proxy.url))
        await asyncio.wait_for(proxy.until_connected(), 5)
        proxy.sever()
        with pytest.raises(aiohttp.ClientConnectionError):
            await asked
    assert webhook.bodies == []


async def test_a_stand_in_in_a_process_is_controlled_from_outside(
    tmp_path: Path, session: aiohttp.ClientSession
) -> None:
    async with StandinProcess("webhook", state=tmp_path / "webhook.json") as process:
        await process.add_fault(Fault("answer", "/hook", status=429, headers={"Retry-After": "2"}))
        assert await post(session, process.url) == 429
        await process.add_fault(Fault("done_close", times=None, match={"number": 7}))
        with pytest.raises(aiohttp.ClientConnectionError):
            await post(session, process.url, 7)
        await process.clear_faults()
        await process.configure(status=204)
        assert await post(session, process.url, 7) == 204
        with pytest.raises(aiohttp.ClientResponseError):
            await process.configure(bodies=[])
        before = (await process.state())["requests"][-1]["at"]
        await process.advance(3600)
        await post(session, process.url)
        state = await process.state()
    assert state["requests"][-1]["at"] >= before + 3600
    assert state["kept"]["bodies"] == [{"number": 7}, {"number": 7}, {"number": 1}]


def test_a_predicate_cannot_travel_to_another_process() -> None:
    with pytest.raises(TypeError):
        Fault("close", match=lambda params: True).to_json()


async def test_a_release_does_not_end_a_wait_that_begins_later() -> None:
    script = FaultScript()
    script.release()
    waiting = asyncio.create_task(script.wait(None))
    await script.until_held()
    assert not waiting.done()
    script.clear()
    await waiting


def test_a_sliding_limit_frees_a_place_when_the_oldest_call_is_old_enough() -> None:
    limit = RateLimit(2, 60)
    assert [limit.take("k", at) for at in (0, 10, 59, 60, 69, 70)] == [0, 0, 1, 0, 1, 0]


def test_a_bucket_saves_up_its_burst_and_no_more() -> None:
    bucket = Bucket(rate=1, burst=2)
    assert [bucket.take("k", at) for at in (0, 0, 0, 0.5, 1, 100, 100, 100)] == [0, 0, 1, 0.5, 0, 0, 0, 1]
