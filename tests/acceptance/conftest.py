"""A bot with the contract's example configuration, running.

What goes through the store runs on each kind of store that outlives a process: `bot`, and what starts a bot of its own
from `new_store`. On a file alone is what nothing but a file has (`sqlite_bot`: a lock, a second process that is
refused), and what is the same whatever the store is: credentials that are not set, what the log says, a webhook's
headers, how Slack is reached. A Redis that is away is in `test_redis_away`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.acceptance.bot import Bot


@pytest.fixture
async def sqlite_bot(tmp_path: Path) -> AsyncIterator[Bot]:
    """On a file of its own."""
    async with Bot(tmp_path) as running:
        yield running


@pytest.fixture
async def bot(tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Bot]:
    """On each kind of store that lasts."""
    async with Bot(tmp_path, store_url=new_store()) as running:
        yield running
