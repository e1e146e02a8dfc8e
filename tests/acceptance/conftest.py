"""A bot with the contract's example configuration, running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.bot import Bot


@pytest.fixture
async def sqlite_bot(tmp_path: Path) -> AsyncIterator[Bot]:
    """On a file of its own."""
    async with Bot(tmp_path) as running:
        yield running


@pytest.fixture(params=["sqlite", "redis"])
async def bot(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bot]:
    """On each kind of store that lasts."""
    url = request.getfixturevalue("redis_url")() if request.param == "redis" else ""
    async with Bot(tmp_path, store_url=url) as running:
        yield running
