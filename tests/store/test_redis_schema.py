"""A store in Redis is brought from one schema number to the next, by the first newer replica that starts alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from alertbot.redis_url import RedisUrl
from alertbot.store.base import Changes, StoreUnavailable, StoreUnusable
from alertbot.store.redis import LIVES, RedisStore
from alertbot.store.redis_client import Step
from alertbot.store.redis_rows import numbered, read_number
from alertbot.store.redis_schema import PAGE, SCHEMA, Schema
from tests.standins.redis_servers import RedisServer
from tests.store.builders import incident, raw

NEXT = SCHEMA.number + 1
#: More than are brought up to date in one go.
INCIDENTS = 2 * PAGE + 100


def louder(name: str, doc: bytes) -> Iterator[Step]:
    """The next layout: titles are in capitals, and there is an index of the routes."""
    seq, text = read_number(doc)
    fields = json.loads(text)
    fields["title"] = fields["title"].upper()
    yield "HSET", "incidents", name, numbered(seq, json.dumps(fields))
    yield "ZADD", "routes", 0, f"{fields['route']}\0{name}"


NEWER = Schema(NEXT, {NEXT: {"incidents": louder}})
#: What changed is only that an older version must not work on it.
NEWEST = Schema(NEXT + 1, {NEXT: {"incidents": louder}, NEXT + 1: {}})


@asynccontextmanager
async def opened(url: str, schema: Schema = SCHEMA) -> AsyncIterator[RedisStore]:
    store = RedisStore(url, schema=schema)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
async def url(redis_url: Callable[[], str]) -> str:
    """A store of this version's schema that its replica left in good order."""
    found = redis_url()
    async with opened(found) as store:
        await store.renew(datetime.now(UTC))
        await store.append([raw(b"waits")])
        for start in range(0, INCIDENTS, PAGE):
            names = [f"i{n}" for n in range(start, min(start + PAGE, INCIDENTS))]
            await store.commit(Changes(incidents=[incident(name, title=f"of {name}") for name in names]))
    return found


async def titles(store: RedisStore) -> set[str]:
    return {i.title for i in (await store.incidents(limit=INCIDENTS)).incidents}


OLD = {f"of i{n}" for n in range(INCIDENTS)}
NEW = {title.upper() for title in OLD}


@pytest.mark.parametrize("schema", [NEWER, NEWEST])
async def test_a_newer_version_that_starts_alone_brings_the_store_up_to_date(
    url: str, schema: Schema, redis_server: RedisServer
) -> None:
    async with opened(url, schema) as store:
        assert await titles(store) == NEW
        await store.renew(datetime.now(UTC))
        assert [e.event.body for e in await store.undecided(9)] == [b"waits"], "what was accepted before is decided now"
    with redis_server.client() as client:
        prefix = f"{{{RedisUrl.of(url).prefix}}}:"
        assert client.get(f"{prefix}schema") == str(schema.number).encode()
        assert client.zcard(f"{prefix}routes") == INCIDENTS
    with pytest.raises(StoreUnusable, match=f"newer alertbot.*schema {schema.number}.*upgrade alertbot"):
        await RedisStore(url).open()


async def test_while_an_older_replica_lives_a_newer_one_is_refused_and_told_what_to_do(url: str) -> None:
    async with opened(url) as older:
        await older.renew(datetime.now(UTC))
        with pytest.raises(StoreUnusable, match=r"work on it \(1\): stop them all"):
            await RedisStore(url, schema=NEWER).open()
        assert await older.append([raw()]), "it goes on"
    async with opened(url, NEWER) as newer:
        assert await titles(newer) == NEW


async def test_a_replica_that_was_killed_counts_until_its_time_is_over(url: str) -> None:
    killed = RedisStore(url)
    await killed.open()
    await killed.renew(datetime.now(UTC) - LIVES + timedelta(seconds=5))
    with pytest.raises(StoreUnusable, match="one that was killed counts for 15 seconds more"):
        await RedisStore(url, schema=NEWER).open()
    await killed.renew(datetime.now(UTC) - LIVES - timedelta(seconds=5))
    async with opened(url, NEWER):
        with pytest.raises(StoreUnusable, match="upgrade alertbot"):
            await killed.append([raw()])
    await killed.close()


async def test_what_was_broken_off_goes_on_at_the_next_start_and_meanwhile_nobody_works_on_it(url: str) -> None:
    asked = 0

    def dies(name: str, doc: bytes) -> Iterator[Step]:
        nonlocal asked
        asked += 1
        if asked > PAGE + PAGE // 2:
            raise StoreUnavailable("Redis went away")
        return louder(name, doc)

    with pytest.raises(StoreUnavailable):
        await RedisStore(url, schema=Schema(NEXT, {NEXT: {"incidents": dies}})).open()
    with pytest.raises(StoreUnusable, match="newer alertbot"):
        await RedisStore(url).open()
    async with opened(url, NEWEST) as store:
        assert await titles(store) == NEW


async def test_of_three_that_start_at_once_all_serve_in_the_end(url: str) -> None:
    stores = [RedisStore(url, schema=NEWEST) for _ in range(3)]
    await asyncio.gather(*(store.open() for store in stores))
    for store in stores:
        assert await titles(store) == NEW
        await store.close()


async def test_who_only_looks_changes_nothing(url: str) -> None:
    with pytest.raises(StoreUnusable, match="start this one once"):
        await RedisStore(url, readonly=True, schema=NEWER).open()
    async with opened(url) as store:
        assert await titles(store) == OLD


async def test_what_is_no_version_of_ours_is_left_alone(url: str, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.set(f"{{{RedisUrl.of(url).prefix}}}:schema", "one")
    with pytest.raises(StoreUnusable, match="is of schema one, and this alertbot knows"):
        await RedisStore(url, schema=NEWER).open()
