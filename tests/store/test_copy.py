"""A bot's store is moved from a file to Redis and back, and nothing is another."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from alertbot.cli import cli
from alertbot.store import open_store
from alertbot.store.base import Changes, Store, StoreUnusable
from alertbot.store.copy import copy
from alertbot.store.memory import MemoryStore
from tests.store.builders import at, parked, raw, want
from tests.store.filled import EVENTS, LANE, LEASE, OVER, POSTS, STORM, contents, fill


async def test_what_is_copied_to_redis_and_back_is_what_it_was(tmp_path: Path, redis_url: Callable[[], str]) -> None:
    urls = [f"sqlite:///{tmp_path / 'a.db'}", redis_url(), f"sqlite:///{tmp_path / 'b.db'}"]
    async with Opened(urls[0]) as first:
        await fill(first)
    async with Opened(urls[0]) as first:
        before = await contents(first)
    for source, target in itertools.pairwise(urls):
        async with Opened(source) as old, Opened(target) as new:
            copied = await copy(old, new, at(9))
            assert (copied.events, copied.incidents, copied.alerts, copied.deliveries) == (3, 3, 4, 10)
        async with Opened(target) as new:
            assert await contents(new) == before
    assert before["calls left"] == [0, 0], "what was spent, and what a provider forbade, holds after a move"
    assert before["stats"].storms == 1


async def test_a_bot_goes_on_with_the_copy_as_it_would_have(tmp_path: Path, redis_url: Callable[[], str]) -> None:
    source, target = f"sqlite:///{tmp_path / 'a.db'}", redis_url()
    async with Opened(source) as old:
        await fill(old)
    async with Opened(source) as old, Opened(target) as new:
        await copy(old, new, at(9))
        due = {d.id: d for d in await new.claim(LANE, at(9), "z", LEASE, 100)}
        assert due.keys() == {STORM.id, want("new", to="#3").id, want("new", to="#4").id, want("new", to="#6").id}
        assert due[want("new", to="#3").id].uncertain, "it was under way, and nobody knows what came of it"
        assert due[want("new", to="#6").id].storm == STORM.id, (
            "promoted, and still in its storm until its card is there"
        )
        assert await new.claim(OVER.lane, at(9), "z", LEASE, 100) == [], "a storm that is over stays so"
        assert await new.spend([POSTS], at(8.5)) == at(9)
        assert await new.spend([EVENTS], at(9)) == at(3600)


async def test_what_is_parked_refers_to_its_event_by_the_seq_that_it_has_in_the_copy() -> None:
    old, new = MemoryStore(), MemoryStore()
    forgotten, kept = await old.append([raw(b"forgotten"), raw(b"kept", at(5))])
    item = parked(f"e{kept}", "event", str(kept), at(5), b"kept")
    await old.commit(Changes(done=[forgotten, kept], parked=[item]))
    await old.trim(at(1))
    await copy(old, new, at(9))
    (copied,) = await new.parked()
    assert (copied.id, copied.ref) == ("e1", "1")
    assert await new.retry_parked(copied.id, at(9))
    assert [e.event.body for e in await new.undecided(9)] == [b"kept"]


class Opened:
    """A store, open as a replica that lives."""

    def __init__(self, url: str) -> None:
        self.store = open_store(url)

    async def __aenter__(self) -> Store:
        await self.store.open()
        await self.store.renew(at(9))
        return self.store

    async def __aexit__(self, *_: object) -> None:
        await self.store.close()


async def test_a_store_that_has_something_is_not_copied_into(tmp_path: Path) -> None:
    async with Opened(f"sqlite:///{tmp_path / 'a.db'}") as old, Opened(f"sqlite:///{tmp_path / 'b.db'}") as new:
        await new.append([raw()])
        with pytest.raises(StoreUnusable, match="not empty"):
            await copy(old, new, at(0))


async def test_a_store_on_which_a_replica_lives_is_neither_copied_nor_copied_into(
    tmp_path: Path, redis_url: Callable[[], str]
) -> None:
    url = redis_url()
    async with Opened(url) as running, Opened(url) as other, Opened(f"sqlite:///{tmp_path / 'b.db'}") as file:
        await running.renew(at(0))
        for source, target in ((other, file), (file, other)):
            with pytest.raises(StoreUnusable, match="stop all of them"):
                await copy(source, target, at(9))
        await copy(other, file, at(60))  # it did not say for a minute that it lives


def test_a_source_that_is_not_there_is_an_error_and_is_not_made(tmp_path: Path) -> None:
    found = CliRunner().invoke(
        cli, ["store", "copy", f"sqlite:///{tmp_path / 'typo.db'}", f"sqlite:///{tmp_path / 'b.db'}"]
    )
    assert found.exit_code == 2
    assert list(tmp_path.iterdir()) == []


async def test_the_command_says_what_it_copied(tmp_path: Path) -> None:
    async with Opened(f"sqlite:///{tmp_path / 'a.db'}"):
        pass
    urls = [f"sqlite:///{tmp_path / name}" for name in ("a.db", "b.db")]
    found = await asyncio.to_thread(CliRunner().invoke, cli, ["store", "copy", *urls])
    assert found.exit_code == 0, found.output
    assert found.output.startswith("0 events, 0 incidents")


def test_an_address_of_no_store_is_an_error_that_shows_no_password(tmp_path: Path) -> None:
    found = CliRunner().invoke(cli, ["store", "copy", "reddis://:s3cret@host/0", f"sqlite:///{tmp_path / 'b.db'}"])
    assert found.exit_code == 2
    assert "expected sqlite:///FILE, or redis://HOST" in found.output
    assert "s3cret" not in found.output
