"""Two replicas on one Redis that read a new config one after the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.acceptance.bot import Bot
from tests.acceptance.timing import PATIENCE
from tests.standins.redis_servers import RedisServer

CONFIG = """
route: {receiver: %s, group_by: [alertname], group_wait: 0s, group_interval: 10s}
receivers:
  - {name: %s, slack_configs: [{channel: '#%s-alerts'}]}
"""
DEV, OPS = (CONFIG % (name, name, name) for name in ("dev", "ops"))

Pair = tuple[Bot, Bot]


@pytest.fixture
async def pair(tmp_path: Path, redis_url: Callable[[], str]) -> AsyncIterator[Pair]:
    """Each with providers of its own, so that it shows who delivered; with the config `DEV`."""
    url = redis_url()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with Bot(tmp_path / "a", DEV, store_url=url) as a, Bot(tmp_path / "b", DEV, store_url=url) as b:
        yield a, b


async def heard(pair: Pair) -> list[str]:
    """What the providers of both heard since the last time, once all is delivered."""
    for bot in pair:
        await bot.settle()
    return [line for bot in pair for line in await bot.heard()]


async def test_each_replica_goes_by_a_new_config_once_it_has_reloaded_it(pair: Pair) -> None:
    for bot in pair:
        bot.write_config(OPS)
        assert (await bot.ask("POST", "/-/reload")).status == 200
    for name, bot in zip(("First", "Second"), pair, strict=True):
        for one in pair:
            one.clock.advance(timedelta(seconds=2))  # Slack's pace in a channel
        await bot.fire(bot.alert(name))
    assert sorted(await heard(pair)) == ["slack #ops-alerts card First", "slack #ops-alerts card Second"]


async def fired_where_nobody_delivers(new: Bot, old: Bot) -> None:
    """An alert for a receiver that only `new` knows, whose outbox is stopped: `old` meets it."""
    new.write_config(OPS)
    assert (await new.ask("POST", "/-/reload")).status == 200
    await new.app.outbox.stop()
    assert (await new.post(new.alert("Down"))).status == 200
    async with asyncio.timeout(PATIENCE):
        while not (await old.app.store.lanes(old.now)).due:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.001)
    old.app.wake()
    await old.settle()


async def test_what_goes_to_a_receiver_that_one_replica_does_not_know_yet_is_left_to_the_other(pair: Pair) -> None:
    new, old = pair
    await fired_where_nobody_delivers(new, old)
    assert await old.metric("alertbot_parked") == 0
    new.clock.advance(timedelta(seconds=2))
    await new.app.outbox.start()
    await new.settle()
    assert await heard(pair) == ["slack #ops-alerts card Down"]


async def test_what_goes_to_a_receiver_that_no_replica_knows_is_parked_after_a_while(pair: Pair) -> None:
    new, old = pair
    await fired_where_nobody_delivers(new, old)
    await old.advance("2m")
    assert (await heard(pair), await old.metric("alertbot_parked")) == ([], 1)


async def test_a_reload_while_the_store_is_away_is_refused_whole(
    tmp_path: Path, real_server: Callable[[str], Path]
) -> None:
    redis = RedisServer(real_server("redis-server"), tmp_path / "redis", appendonly="yes", appendfsync="always").start()
    try:
        async with Bot(tmp_path, DEV, store_url=redis.url) as bot:
            bot.write_config(OPS)
            redis.stop()
            assert (await bot.ask("POST", "/-/reload")).status == 503
            assert list(bot.app.policy.receivers) == ["dev"]
            redis.start()
            async with asyncio.timeout(PATIENCE):
                while (await bot.ask("POST", "/-/reload")).status != 200:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
            await bot.fire(bot.alert("Down"))
            assert await bot.heard() == ["slack #ops-alerts card Down"]
    finally:
        redis.stop()


async def test_a_store_that_is_away_for_long_is_told_in_a_few_lines_and_so_is_its_return(
    tmp_path: Path, real_server: Callable[[str], Path]
) -> None:
    redis = RedisServer(real_server("redis-server"), tmp_path / "redis", appendonly="yes", appendfsync="always").start()
    try:
        async with Bot(tmp_path, DEV, store_url=redis.url) as bot:
            redis.stop()
            async with asyncio.timeout(PATIENCE):
                while not (bot.app.engine.failing and bot.app.outbox.failing):
                    bot.app.wake()
                    await bot.post(bot.alert("Down"))
            for _ in range(20):
                assert (await bot.post(bot.alert("Down"))).status == 503
                bot.app.outbox.wake()
                await asyncio.sleep(0.02)
            told = [
                (line["level"], line["msg"].partition(":")[0]) for line in bot.log_lines() if "store is" in line["msg"]
            ]
            assert sorted(told) == [
                ("error", "the store is away"),
                ("error", "the store is away"),
                ("warning", "the store is away"),
            ], "nothing is decided, nothing is delivered, senders are refused"
            redis.start()
            async with asyncio.timeout(PATIENCE):
                while bot.app.engine.failing or bot.app.outbox.failing:  # noqa: ASYNC110 - nothing tells
                    await asyncio.sleep(0.01)
            assert len([line for line in bot.log_lines() if line["msg"].startswith("the store is back")]) == 2
    finally:
        redis.stop()
