"""A bot's store is moved from a file to Redis and back, and nothing that matters is another."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from alertbot.cli import cli
from alertbot.domain.model import DeliveryStatus, IncidentStatus
from alertbot.store import open_store
from alertbot.store.base import Changes, Filing, Keys, Store, StoreUnusable
from alertbot.store.copy import copy
from tests.store.builders import T0, alert, at, entry, failed, held, incident, parked, raw, sent, want

LANE = "slack:#ops"


async def fill(store: Store) -> None:
    """A bit of everything, in every state."""
    seqs = list(await store.append([raw(b"decided"), raw(b"parked", at(1)), raw(b"waits", at(2))]))
    await store.commit(
        Changes(
            done=seqs[:2],
            incidents=[
                incident("old", "k", IncidentStatus.RESOLVED, resolved_at=at(1)),
                incident("new", "k", created_at=at(2), flush_at=at(90)),
            ],
            alerts=[
                alert("a", "old", settled=True, current=False),
                alert("a", "new", source_of=("r",)),
                alert("b", "new", hold=held("r")),
                alert("c", "", settled=True),
            ],
            wants=[want("new", to=f"#{n}", at=at(n)) for n in range(6)],
            entries=[entry("new", "a", by="1"), entry("", "c", by="2")],
            parked=[parked("p1", "event", str(seqs[1]), body=b"parked")],
        )
    )
    one, two, three, *_ = await store.claim(LANE, at(2), "w", at(60) - at(0), 3)
    await store.record(sent(one, at(3)))
    await store.record(failed(two, at(3), at(50), uncertain=True))
    await store.record(failed(three, at(3), None, status=DeliveryStatus.PARKED))
    await store.claim(LANE, at(3), "w", at(60) - at(0), 1)  # under way when it is stopped
    storm = replace(want("storm-1", to="#storm"), kind="storm:1")
    await store.refile(Filing(storm.id, at(5), fold=[want("new", to="#5").id], wants=[storm]))


async def contents(store: Store) -> dict[str, Any]:
    names = frozenset({"old", "new"})
    loaded = await store.load(Keys(frozenset("abc"), frozenset({"k"}), names, names, frozenset("r"), frozenset("r")))
    deliveries = [d for name in ("old", "new", "storm-1") for d in await store.deliveries(name)]
    return {
        "loaded": loaded,
        "events": [e.event for e in await store.events(T0, 0, 100)],
        "undecided": [e.event for e in await store.undecided(100)],
        "deliveries": [replace(d, created_at=None) for d in deliveries],
        "folded": [d.id for d in await store.folded(want("storm-1", to="#storm").id)],
        "entries": list((await store.entries()).entries),
        "parked": [await store.parked_item(p.id) for p in await store.parked()],
        "wake": await store.next_wake(),
        "due": [d.id for d in await store.claim(LANE, at(9), "z", at(60) - at(0), 100)],
    }


async def test_what_is_copied_to_redis_and_back_is_what_it_was(tmp_path: Path, redis_url: Callable[[], str]) -> None:
    urls = [f"sqlite:///{tmp_path / 'a.db'}", redis_url(), f"sqlite:///{tmp_path / 'b.db'}"]
    async with Opened(urls[0]) as first:
        await fill(first)
    for source, target in itertools.pairwise(urls):
        async with Opened(source) as old, Opened(target) as new:
            copied = await copy(old, new, at(9))
            assert (copied.events, copied.incidents, copied.alerts, copied.deliveries) == (3, 2, 4, 7)
    async with Opened(urls[0]) as first, Opened(urls[2]) as last:
        before, after = await contents(first), await contents(last)
    under_way = want("new", to="#3").id
    for found in (before, after):  # what was under way is uncertain and due, and has nobody's lease
        found["deliveries"] = [
            replace(d, uncertain=True, lease="", next_at=None) if d.id == under_way else d for d in found["deliveries"]
        ]
        ref = found["parked"][0].ref
        found["parked"] = [replace(p, ref="") for p in found["parked"]]
        assert ref.isdecimal()
    assert under_way in after["due"]
    assert after == before


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


async def test_a_store_that_another_replica_works_on_is_not_copied(
    tmp_path: Path, redis_url: Callable[[], str]
) -> None:
    url = redis_url()
    async with Opened(url) as running, Opened(url) as source, Opened(f"sqlite:///{tmp_path / 'b.db'}") as new:
        await running.append([raw()])
        with pytest.raises(StoreUnusable, match="stop all of them"):
            await copy(source, new, at(9))


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
