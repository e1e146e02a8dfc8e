"""The back ends that the contract runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from alertbot.store import open_store
from alertbot.store.base import Store

#: A back end's name, and the URL of a new, empty store of it. A fifth one is one more line.
BACK_ENDS: dict[str, Callable[[pytest.FixtureRequest, Path], str]] = {
    "memory": lambda _, folder: "memory:",
    "sqlite": lambda _, folder: f"sqlite:///{folder / 'alertbot.db'}",
    "redis": lambda request, folder: request.getfixturevalue("redis_url")(),
    "cluster": lambda request, folder: request.getfixturevalue("redis_cluster_url")(),
}


@pytest.fixture(params=BACK_ENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty, open store of each kind."""
    made = open_store(BACK_ENDS[request.param](request, tmp_path))
    await made.open()
    yield made
    await made.close()
