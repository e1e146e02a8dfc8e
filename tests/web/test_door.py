"""The door: what is taken, what is refused, and how a sender is told."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
import logging
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from tests.sources.recorded import WEBHOOKS, needs_corpus
from tests.web.abot import ABot, alert, webhook

DOOR = "/webhooks/alertmanager"


async def test_alerts_are_taken_and_counted(bot: ABot, client: TestClient[Any, Any]) -> None:
    body = webhook(alert("A"), {**alert("B"), "status": "resolved"}, {"labels": {"x": 1}})
    answer = await client.post(DOOR, data=body)
    assert answer.status == 200
    assert answer.content_type == "application/json"
    assert await answer.json() == {"accepted": 2, "set_aside": 1}
    assert [raw.body for raw in bot.taken] == [body]
    assert bot.sample("alertbot_alerts_received_total", source="alertmanager", status="firing") == 1
    assert bot.sample("alertbot_alerts_received_total", source="alertmanager", status="resolved") == 1
    assert bot.sample("alertbot_alerts_set_aside_total", source="alertmanager") == 1


@needs_corpus
@pytest.mark.parametrize("path", WEBHOOKS, ids=lambda p: p.stem[-40:])
async def test_every_recorded_webhook_is_taken_whole(bot: ABot, client: TestClient[Any, Any], path: Path) -> None:
    body = path.read_bytes()
    answer = await client.post(DOOR, data=body)
    assert (answer.status, await answer.json()) == (
        200,
        {"accepted": len(json.loads(body)["alerts"]), "set_aside": 0},
    )
    assert [raw.body for raw in bot.taken] == [body]


async def test_it_is_durable_when_the_sender_hears_so(bot: ABot, client: TestClient[Any, Any]) -> None:
    await client.post(DOOR, data=webhook(alert()))
    event = await bot.store.event(1)
    assert event is not None
    assert event.event.body == webhook(alert())


@pytest.mark.parametrize("path", [DOOR, DOOR + "/"])
async def test_the_door_never_redirects(client: TestClient[Any, Any], path: str) -> None:
    answer = await client.post(path, data=webhook(alert()), allow_redirects=False)
    assert answer.status == 200


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded", "x/y; z", ""])
async def test_any_content_type_will_do(client: TestClient[Any, Any], kind: str) -> None:
    answer = await client.post(DOOR, data=webhook(alert()), headers={"Content-Type": kind})
    assert answer.status == 200


UNREADABLE = [
    (b"", "", "the body is not JSON"),
    (b"{", "", "the body is not JSON"),
    (b"[]", "", "the body must be a JSON object"),
    (b'{"alerts": 5}', "alerts", "alerts must be a list"),
    (b'{"version": "2", "alert": []}', "alerts", "the list of alerts is missing"),
]


@pytest.mark.parametrize(("body", "where", "error"), UNREADABLE)
async def test_what_cannot_be_read_is_a_400_that_says_what_and_where(
    bot: ABot, client: TestClient[Any, Any], body: bytes, where: str, error: str
) -> None:
    answer = await client.post(DOOR, data=body)
    said = await answer.json()
    assert (answer.status, said["where"]) == (400, where)
    assert said["error"].startswith(error)
    assert bot.taken == []
    assert bot.sample("alertbot_requests_refused_total", source="alertmanager", code="400") == 1


async def test_the_store_away_is_a_503_so_that_the_sender_retries(bot: ABot, client: TestClient[Any, Any]) -> None:
    bot.store.away = True
    answer = await client.post(DOOR, data=webhook(alert()))
    text = await answer.text()
    assert answer.status == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert "store is away" in json.loads(text)["error"]
    assert "hunter2" not in text
    bot.store.away = False
    assert (await client.post(DOOR, data=webhook(alert()))).status == 200


async def test_a_defect_is_a_json_500_with_a_trace_id_and_no_traceback(
    bot: ABot, client: TestClient[Any, Any], caplog: pytest.LogCaptureFixture
) -> None:
    bot.breaks = True
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    with caplog.at_level(logging.ERROR):
        answer = await client.post(
            DOOR, data=webhook(alert()), headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
        )
    assert answer.status == 500
    assert await answer.json() == {"error": "internal error", "where": "", "trace_id": trace}
    (record,) = [r for r in caplog.records if r.name == "alertbot.web.errors"]
    assert record.exc_info is not None
    assert vars(record)["trace_id"] == trace


async def test_the_callers_trace_goes_with_the_event(bot: ABot, client: TestClient[Any, Any]) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    await client.post(DOOR, data=webhook(alert()), headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    await client.post(DOOR, data=webhook(alert()), headers={"traceparent": "junk"})
    await client.post(DOOR, data=webhook(alert()))
    assert bot.taken[0].trace_id == trace
    assert len({raw.trace_id for raw in bot.taken}) == 3
    assert all(len(raw.trace_id) == 32 for raw in bot.taken)


# Who may.

SECRET = "s3cret-tökén"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


CREDENTIALS = [
    (f"Bearer {SECRET}", 200),
    (f"bearer {SECRET}", 200),
    ("Bearer second", 200),
    (basic("alertmanager", SECRET), 200),
    (basic("", SECRET), 200),
    (None, 401),
    ("", 401),
    ("Bearer", 401),
    ("Bearer ", 401),
    ("Bearer wrong", 401),
    (f"Bearer {SECRET}x", 401),
    (f"Bearer {SECRET[:-1]}", 401),
    (f"Token {SECRET}", 401),
    (basic(SECRET, ""), 401),
    (basic("a", "wrong"), 401),
    ("Basic !!!", 401),
    ("Basic " + base64.b64encode(SECRET.encode()).decode(), 401),
    ("Basic ü", 401),
]


@pytest.mark.parametrize(("credentials", "status"), CREDENTIALS)
async def test_only_a_token_opens_the_door_where_one_is_configured(
    bot: ABot, client: TestClient[Any, Any], credentials: str | None, status: int
) -> None:
    bot.configure(webhook_tokens=(SECRET, "second"))
    headers = {} if credentials is None else {"Authorization": credentials}
    answer = await client.post(DOOR, data=webhook(alert()), headers=headers)
    assert answer.status == status
    assert len(bot.taken) == (status == 200)
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Basic")
        said = await answer.json()
        assert said["where"] == "Authorization"
        assert SECRET not in json.dumps(said, ensure_ascii=False)


async def test_an_api_token_does_not_open_the_door(bot: ABot, client: TestClient[Any, Any]) -> None:
    bot.configure(webhook_tokens=("hook",), api_tokens=("api",))
    assert (await client.post(DOOR, data=webhook(alert()), headers={"Authorization": "Bearer api"})).status == 401


async def test_without_credentials_the_body_is_not_read(bot: ABot, client: TestClient[Any, Any]) -> None:
    bot.configure(webhook_tokens=("hook",), max_body=10)
    assert (await client.post(DOOR, data=b"x" * 100)).status == 401


# How much.


async def endless(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024
        await asyncio.sleep(0)


async def test_a_body_of_just_the_limit_is_taken_and_one_byte_more_is_a_413(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    body = webhook(alert())
    bot.configure(max_body=len(body))
    assert (await client.post(DOOR, data=body)).status == 200
    answer = await client.post(DOOR, data=body + b" ")
    assert answer.status == 413
    assert str(len(body)) in (await answer.json())["error"]


async def test_a_body_without_a_length_is_cut_off_at_the_limit(bot: ABot, client: TestClient[Any, Any]) -> None:
    bot.configure(max_body=64 * 1024)
    answer = await client.post(DOOR, data=endless(128 * 1024))
    assert answer.status == 413
    assert bot.taken == []


@pytest.mark.parametrize(("coding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
async def test_a_compressed_body_is_unpacked(bot: ABot, client: TestClient[Any, Any], coding: str, pack: Any) -> None:
    body = webhook(*(alert(f"A{i}") for i in range(200)))
    answer = await client.post(DOOR, data=pack(body), headers={"Content-Encoding": coding})
    assert (answer.status, (await answer.json())["accepted"]) == (200, 200)
    assert bot.taken[0].body == body


async def test_a_compressed_bomb_is_a_413(bot: ABot, client: TestClient[Any, Any]) -> None:
    bot.configure(max_body=1024 * 1024)
    bomb = gzip.compress(b" " * 200 * 1024 * 1024)
    assert len(bomb) < 1024 * 1024
    answer = await client.post(DOOR, data=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status == 413


PACKED = gzip.compress(webhook(alert()))
DAMAGED = [
    ("gzip", b"not packed at all", 400),
    ("deflate", b"\0\0\0\0", 400),
    ("gzip", PACKED[:-1], 400),
    ("gzip", PACKED + b"x", 400),
    ("gzip", b"", 400),
    # Codings that nobody asked for.
    ("br", PACKED, 415),
    ("gzip, gzip", PACKED, 415),
]


@pytest.mark.parametrize(("coding", "body", "status"), DAMAGED)
async def test_a_body_that_does_not_unpack_is_refused(
    bot: ABot, client: TestClient[Any, Any], coding: str, body: bytes, status: int
) -> None:
    answer = await client.post(DOOR, data=body, headers={"Content-Encoding": coding})
    assert answer.status == status
    assert set(await answer.json()) == {"error", "where"}
    assert bot.taken == []


async def test_a_large_body_is_taken(bot: ABot, client: TestClient[Any, Any]) -> None:
    body = webhook(*(alert("A", service=f"s{i}", labels={"alertname": "A", "i": str(i)}) for i in range(3000)))
    assert len(body) > 512 * 1024
    answer = await client.post(DOOR, data=body)
    assert await answer.json() == {"accepted": 3000, "set_aside": 0}


async def test_a_sender_that_asks_first_is_told_to_go_on(client: TestClient[Any, Any]) -> None:
    answer = await client.post(DOOR, data=webhook(alert()), expect100=True)
    assert answer.status == 200
    answer = await client.post(DOOR, data=webhook(alert()), headers={"Expect": "a-miracle"})
    assert answer.status == 200


# What is not served.

NOT_SERVED = [
    ("GET", DOOR, 405),
    ("PUT", DOOR, 405),
    ("GET", "/-/reload", 405),
    ("POST", "/", 405),
    ("POST", "/metrics", 405),
    ("GET", "/nothing", 404),
    ("POST", "/webhooks", 404),
    ("POST", "/webhooks/", 404),
    ("POST", "/webhooks/other", 404),
    ("POST", "/webhooks/alertmanager/x", 404),
    ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404),
    ("GET", "/favicon.ico", 404),
]


@pytest.mark.parametrize(("method", "path", "status"), NOT_SERVED)
async def test_what_is_not_served_is_refused_as_json(
    client: TestClient[Any, Any], method: str, path: str, status: int
) -> None:
    answer = await client.request(method, path, allow_redirects=False)
    assert answer.status == status
    assert set(await answer.json()) == {"error", "where"}
    assert ("Allow" in answer.headers) == (status == 405)
