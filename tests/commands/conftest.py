"""A desk, running."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.commands.desks import ADesk, a_desk


@pytest.fixture
async def it() -> AsyncIterator[ADesk]:
    async with a_desk() as made:
        yield made
