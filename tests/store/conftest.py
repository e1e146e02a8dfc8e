"""The back ends that the contract runs over."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from alertbot.store import open_store
from alertbot.store.base import Store

#: A back end's name, and the URL of a new, empty store of it. A third one is one more line.
BACK_ENDS: dict[str, Callable[[Path], str]] = {
    "memory": lambda _: "memory:",
    "sqlite": lambda folder: f"sqlite:///{folder / 'alertbot.db'}",
}


@pytest.fixture(params=BACK_ENDS)
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty, open store of each kind."""
    made = open_store(BACK_ENDS[request.param](tmp_path))
    await made.open()
    yield made
    await made.close()
