"""The back ends that the contract runs over."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest

from alertbot.store import open_store
from alertbot.store.base import Store
from tests.standins.redis_servers import RedisServer

#: A back end's name, and the URL of a new, empty store of it. A fourth one is one more line.
BACK_ENDS: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "memory": lambda _, folder: "memory:",
    "sqlite": lambda _, folder: f"sqlite:///{folder / 'alertbot.db'}",
    "redis": lambda request, folder: request.getfixturevalue("redis_url")(),
}
_numbers = itertools.count()


@pytest.fixture(scope="session")
def redis_server(real_server: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A real server, for all tests of this process."""
    server = RedisServer(real_server("redis-server"), tmp_path_factory.mktemp("redis"), save='""')
    yield server.start()
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> Callable[[], str]:
    """Makes the URL of a new, empty store there."""
    return lambda: f"{redis_server.url}?prefix=t{os.getpid()}-{next(_numbers)}"


@pytest.fixture(params=BACK_ENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty, open store of each kind."""
    made = open_store(BACK_ENDS[request.param](request, tmp_path))
    await made.open()
    yield made
    await made.close()
