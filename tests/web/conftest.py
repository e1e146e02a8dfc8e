"""A bot that serves, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient

from alertbot.web import make_app
from tests.web.abot import ABot
from tests.web.described import Described

#: As `make_runner` serves.
SERVER = {"auto_decompress": False, "access_log": None}


@pytest.fixture
async def bot() -> AsyncIterator[ABot]:
    it = ABot()
    await it.store.open()
    await it.engine.start()
    yield it
    await it.engine.stop()


@pytest.fixture
async def client(bot: ABot, aiohttp_client: Any, aiohttp_server: Any) -> TestClient[Any, Any]:
    served: TestClient[Any, Any] = await aiohttp_client(await aiohttp_server(make_app(bot), **SERVER))
    return served


@pytest.fixture
async def api(client: TestClient[Any, Any]) -> Described:
    answer = await client.get("/api/v1/openapi.json")
    return Described(client, await answer.json())
