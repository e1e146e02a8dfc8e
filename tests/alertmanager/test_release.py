"""Before what a deploy held is released, Alertmanager says what still fires; where it does not, all of it comes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.acceptance.bot import Json
from tests.acceptance.timing import PATIENCE
from tests.alertmanager.test_reconcile import CONFIG, Pair

RULES = """
inhibit_rules:
  - {name: deploy, source_matchers: [alertname="Deployment"], target_matchers: [alertname=~"High.*"], equal: [service]}
"""


class Deploying(Pair):
    """A deploy of the api goes on."""

    async def begin(self) -> None:
        await self.act("/api/v1/deploys", status="started", service="api", id="d1")

    async def fail(self) -> None:
        """It fails; Alertmanager is asked, as far as it answers."""
        await self.act("/api/v1/deploys", status="failed", id="d1")
        await self.answered()

    async def answered(self) -> None:
        async with asyncio.timeout(PATIENCE):
            while self.app.release.under_way:  # noqa: ASYNC110  # as the other tests wait for what is going on
                await asyncio.sleep(0.001)
        await self.settle()

    async def high(self, name: str) -> Json:
        return await self.both(f"High{name}", service="api")


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Deploying]:
    pair = Deploying(tmp_path)
    pair.config = CONFIG + RULES
    async with pair.a, pair.b, pair:
        await pair.begin()
        yield pair


async def test_what_does_not_fire_there_any_more_is_cleared_and_pages_nobody(bot: Deploying) -> None:
    await bot.high("ErrorRate")
    gone = await bot.high("Latency")
    await bot.look("1m")
    bot.end_there(gone)
    await bot.fail()
    heard = await bot.heard()
    assert [line for line in heard if "pagerduty" in line] == ["pagerduty trigger HighErrorRate"]
    (verdict,) = [m for m in bot.cards("#ops-alerts") if "after" in m["text"]]
    assert "1 cleared, 1 still firing" in str(verdict["blocks"])
    assert (await bot.incident("HighLatency"))["status"] == "resolved"


async def test_where_no_member_answers_all_of_it_is_released(bot: Deploying) -> None:
    await bot.high("ErrorRate")
    gone = await bot.high("Latency")
    await bot.look("1m")
    bot.end_there(gone)
    for member in (bot.a, bot.b):
        member.faults.add("close", times=None)
    await bot.fail()
    assert len([line for line in await bot.heard() if line.startswith("pagerduty trigger")]) == 2


async def test_a_crash_while_it_is_asked_only_means_that_the_release_waits_for_its_time(bot: Deploying) -> None:
    await bot.high("ErrorRate")
    await bot.look("1m")
    for member in (bot.a, bot.b):
        member.faults.add("hang", times=None)
    await bot.act("/api/v1/deploys", status="failed", id="d1")
    await bot.restart()
    await bot.settle()
    assert await bot.heard() == []
    await bot.advance("3s")
    assert "pagerduty trigger HighErrorRate" in await bot.heard()


async def test_what_alertmanager_never_showed_is_not_its_to_end(bot: Deploying) -> None:
    await bot.fire(bot.alert("HighLoad", service="api"))
    await bot.fail()
    assert "pagerduty trigger HighLoad" in await bot.heard()
