"""Redis does not answer: senders are told at once, and when it is back all goes on by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from alertbot.store.redis import LIVES
from alertbot.store.redis_client import AT_ONCE, CONNECT, TIMEOUT
from tests.acceptance.bot import Bot
from tests.acceptance.timing import PATIENCE
from tests.standins.faults import FlakyProxy
from tests.standins.redis_servers import RedisServer

#: Seconds that a busy machine may add.
BUSY = 3.0


@pytest.fixture
async def wire(redis_server: RedisServer) -> AsyncIterator[FlakyProxy]:
    """What the bot reaches Redis through."""
    async with FlakyProxy(redis_server.port) as proxy:
        yield proxy
        proxy.blackhole = False


@pytest.fixture
async def bot(
    tmp_path: Path, wire: FlakyProxy, redis_server: RedisServer, redis_url: Callable[[], str]
) -> AsyncIterator[Bot]:
    url = redis_url().replace(f":{redis_server.port}/", f":{wire.port}/")
    async with Bot(tmp_path, store_url=url) as running:
        await running.fire(running.alert("Before"))
        await running.heard()
        yield running


async def probes(bot: Bot) -> list[int]:
    """Whether it is ready, and whether it lives."""
    return [(await bot.ask("GET", f"/-/{name}", token=None)).status for name in ("ready", "healthy")]


async def until_ready(bot: Bot, ready: int = 200) -> None:
    async with asyncio.timeout(PATIENCE):
        while await probes(bot) != [ready, 200]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.02)


async def refuse(wire: FlakyProxy) -> None:
    await wire.refuse()


async def swallow(wire: FlakyProxy) -> None:
    """Whatever is sent is lost on the way, over the connections that there are too."""
    wire.blackhole = True
    wire.stall()


async def cut(wire: FlakyProxy) -> None:
    """The connections that there are break, and what is sent over new ones is lost."""
    wire.blackhole = True
    wire.sever()


async def mend(wire: FlakyProxy) -> None:
    wire.blackhole = False
    if not wire.listens:
        await wire.accept()


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        # Nobody listens: that is known as soon as it is asked.
        (refuse, 0.0),
        # Nobody answers: known when one call has waited as long as it may, with those that were made meanwhile.
        (swallow, CONNECT + TIMEOUT),
        (cut, CONNECT + TIMEOUT),
    ],
)
async def test_while_redis_is_away_every_sender_hears_503_in_time_and_it_ends_without_a_webhook(
    bot: Bot, wire: FlakyProxy, fault: Callable[[FlakyProxy], Awaitable[None]], seconds: float
) -> None:
    now = asyncio.get_running_loop().time
    down = bot.alert("Down")
    await fault(wire)
    # First more at once than the store has connections, then some that nothing is left to find out for.
    for senders, within in ((2 * AT_ONCE, seconds + BUSY), (5, BUSY)):
        started = now()
        answers = await asyncio.gather(*(bot.post(down) for _ in range(senders)))
        assert now() - started < within
        assert {answer.status for answer in answers} == {503}
        assert await probes(bot) == [503, 200]
    assert await bot.metric("alertbot_store_up") == 0
    await mend(wire)
    await until_ready(bot)
    await bot.fire(down)
    await bot.advance("1s")
    assert sorted(await bot.heard()) == [
        "pagerduty trigger Down",
        "slack #critical-alerts card Down",
        "sms +15550100 CRITICAL: Down (prod) (1 firing)",
    ]


async def test_where_only_the_connections_are_dead_a_webhook_is_taken_over_a_new_one(
    bot: Bot, wire: FlakyProxy
) -> None:
    wire.stall()
    await bot.fire(bot.alert("Down"))
    assert "pagerduty trigger Down" in await bot.heard()
    assert await probes(bot) == [200, 200]


async def test_who_is_sent_nothing_is_not_ready_either_while_redis_is_away(bot: Bot, wire: FlakyProxy) -> None:
    await wire.refuse()
    bot.clock.advance(LIVES / 2)
    await until_ready(bot, 503)
    await wire.accept()
    await until_ready(bot)
