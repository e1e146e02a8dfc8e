"""Whatever is thrown at the door: it answers 2xx or a deliberate 4xx, in JSON, and goes on."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.web import make_runner
from tests.sources.recorded import WEBHOOKS, needs_corpus
from tests.web.abot import ABot, alert, webhook

DOOR = "/webhooks/alertmanager"
SETTINGS = settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@dataclass
class Served:
    """A bot that serves from a thread of its own, so that examples can be tried one by one from here."""

    bot: ABot
    port: int

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            pieces = []
            while piece := connection.recv(65536):
                pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    bot = ABot()
    started: threading.Event = threading.Event()
    ports: list[int] = []
    stop: list[Any] = []

    async def serve() -> None:
        finished = asyncio.Event()
        stop.append((asyncio.get_running_loop(), finished))
        await bot.store.open()
        await bot.engine.start()
        runner = make_runner(bot)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        ports.append(runner.addresses[0][1])
        started.set()
        await finished.wait()
        await runner.cleanup()
        await bot.engine.stop()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert started.wait(30)
    yield Served(bot, ports[0])
    loop, finished = stop[0]
    loop.call_soon_threadsafe(finished.set)
    thread.join(30)


def answered(status: int, text: bytes, *, alerts: int | None = None) -> None:
    """It is an answer of ours, and a body that is taken is taken whole."""
    said = json.loads(text)
    if status == 200:
        assert set(said) == {"accepted", "set_aside"}
        assert alerts is None or said["accepted"] + said["set_aside"] == alerts
    else:
        assert 400 <= status < 500
        assert status != 429
        assert set(said) == {"error", "where"}
        assert "Traceback" not in said["error"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=10,
)
ALERT = st.fixed_dictionaries(
    {},
    optional={
        "status": JSON | st.sampled_from(["firing", "resolved"]),
        "labels": JSON | st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=4),
        "annotations": JSON,
        "startsAt": JSON | st.datetimes().map(lambda t: t.isoformat() + "Z"),
        "endsAt": JSON | st.datetimes().map(lambda t: t.isoformat() + "+14:00"),
        "fingerprint": JSON,
        "generatorURL": JSON,
    },
)
BODY = st.fixed_dictionaries(
    {"alerts": st.lists(ALERT | JSON, max_size=5)},
    optional=dict.fromkeys(("status", "groupKey", "externalURL", "truncatedAlerts", "version", "receiver"), JSON),
)


@given(body=BODY)
@SETTINGS
def test_bodies_of_every_shape(served: Served, body: dict[str, Any]) -> None:
    # NaN and Infinity, which Python writes, are no JSON.
    data = json.dumps(body).encode()
    valid = "NaN" not in data.decode() and "Infinity" not in data.decode()
    answered(*served.send("POST", DOOR, data), alerts=len(body["alerts"]) if valid else None)
    asyncio.run(nothing_is_undecidable(served))


async def nothing_is_undecidable(served: Served) -> None:
    """Parked are parts of bodies only: what was taken could be decided, too."""
    assert {item.kind for item in await served.bot.store.parked(1000)} <= {"alert"}


@given(
    data=st.binary(max_size=300),
    coding=st.sampled_from([None, "gzip", "deflate", "identity", "br", "zstd", "x"]),
)
@SETTINGS
def test_junk_in_every_coding(served: Served, data: bytes, coding: str | None) -> None:
    status, text = served.send("POST", DOOR, data, {} if coding is None else {"Content-Encoding": coding})
    answered(status, text)


@given(cut=st.integers(0, 200), flip=st.integers(0, 200))
@SETTINGS
def test_a_damaged_compressed_body(served: Served, cut: int, flip: int) -> None:
    data = bytearray(gzip.compress(webhook(*(alert(f"A{i}") for i in range(5)))))
    data[flip % len(data)] ^= 0x55
    status, text = served.send("POST", DOOR, bytes(data[: len(data) - cut]), {"Content-Encoding": "gzip"})
    answered(status, text, alerts=5)


@needs_corpus
@given(data=st.data())
@SETTINGS
def test_recorded_bodies_with_something_changed(served: Served, data: st.DataObject) -> None:
    body = json.loads(data.draw(st.sampled_from(WEBHOOKS)).read_bytes())
    alerts = body["alerts"]
    if alerts and data.draw(st.booleans()):
        target = data.draw(st.sampled_from(alerts))
        target[data.draw(st.sampled_from(sorted({*target, "labels", "status"})))] = data.draw(JSON)
    else:
        body[data.draw(st.sampled_from(sorted(set(body) - {"alerts"})))] = data.draw(JSON)
    text = json.dumps(body, allow_nan=True).encode()
    valid = b"NaN" not in text and b"Infinity" not in text
    answered(*served.send("POST", DOOR, text), alerts=len(alerts) if valid else None)


HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "Authorization",
            "traceparent",
            "Content-Type",
            "Accept",
            "Origin",
            "Cookie",
            "Expect",
            "Range",
            "X-Any",
        ]
    ),
    st.text(st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=60),
)


@given(headers=HEADERS)
@SETTINGS
def test_headers_of_every_kind(served: Served, headers: dict[str, str]) -> None:
    answered(*served.send("POST", DOOR, webhook(alert()), headers))
    served.bot.configure(webhook_tokens=("a token",))
    try:
        answered(*served.send("POST", DOOR, webhook(alert()), headers))
    finally:
        served.bot.configure(webhook_tokens=())


PATHS = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="?#"), max_size=30)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
    start=st.sampled_from(
        ["/", "/api/v1/", "/api/v1/incidents/", "/api/v1/parked/", "/incidents/", "/webhooks/", "/-/"]
    ),
    path=PATHS,
    query=PATHS,
)
@SETTINGS
def test_paths_and_queries_of_every_kind(served: Served, method: str, start: str, path: str, query: str) -> None:
    status, text = served.send(method, f"{start}{path}?{query}", b"{}", {"Content-Type": "application/json"})
    assert status < 500, text
    assert not 300 <= status < 400


@given(
    data=st.binary(max_size=200),
    start=st.sampled_from([b"", b"POST ", b"POST /webhooks/alertmanager HTTP/1.1\r\n"]),
)
@SETTINGS
def test_bytes_that_are_hardly_http(served: Served, data: bytes, start: bytes) -> None:
    answer = served.raw(start + data)
    assert not answer.startswith(b"HTTP/1.1 5")
    assert b"Traceback" not in answer
    assert served.send("POST", DOOR, webhook(alert()))[0] == 200
