"""The number of what stands in Redis, and how an older store is brought up to it (docs/adr/0018).

Replicas of different versions work together as long as their number is the same: each request names it. What may change
within a number is said beside `SCHEMA`, and `tests/store/test_shapes.py` keeps to it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from alertbot.store.base import StoreUnusable
from alertbot.store.redis_client import NOTHING, Client, NotAsBefore, Step

log = logging.getLogger("alertbot.store")

#: The name and the document of each member of a hash → the steps (`redis.lua`) that bring it to the next number. It may
#: be asked again for what it made itself, and its steps may be taken twice: the result must be the same.
Migration = Mapping[str, Callable[[str, bytes], Iterable[Step]]]
#: Members read, and brought up to date, in one go.
PAGE: Final = 500


@dataclass(frozen=True, slots=True)
class Schema:
    """A number, and for each number after the first what brings a store there from the one before (maybe nothing)."""

    number: int
    migrations: Mapping[int, Migration]

    @property
    def version(self) -> str:
        """As it is stored. A store that is on its way has "1>2"."""
        return str(self.number)

    def follows(self, version: str) -> bool:
        """A store of this version can be brought up to this one. Not "", for there is nothing."""
        start = version.partition(">")[0]
        return start.isdecimal() and 0 < int(start) < self.number and newest(version) <= self.number


#: The layout in `redis_rows`, and the documents. An older version that shares the store loses, when it writes a
#: document again, the fields that it does not know. So within one number there may come: a field with a default
#: whose loss breaks no promise, and a `Reason`. All else takes a new number here (with a migration, maybe an empty one)
#: and in `schema/*.sql`: it must not be read by an older version.
SCHEMA: Final = Schema(1, {})


def newest(version: str) -> int:
    """The higher number of a version, 0 for what is none."""
    number = version.rpartition(">")[2]
    return int(number) if number.isdecimal() else 0


async def upgrade(client: Client, version: str, schema: Schema) -> None:
    """Brings a store that `schema.follows` up to it. What was broken off goes on, and two may do it at once.

    Raises `WrongVersion` where another one was further, and `StoreUnusable` while replicas of the older version live.
    """
    start, _, target = version.partition(">")
    for number in range(int(start) + 1, schema.number + 1):
        on_the_way = f"{number - 1}>{number}"
        if not target:
            await _begin(client, number - 1, on_the_way)
        log.warning("%s is brought from schema %d to %d", client.address.shown, number - 1, number)
        for hash_, steps in schema.migrations[number].items():
            await _bring(client, on_the_way, hash_, steps)
        await client.write(on_the_way, (), [("SET", "schema", str(number))])
        log.warning("%s is of schema %d now", client.address.shown, number)
        target = ""


async def _begin(client: Client, number: int, on_the_way: str) -> None:
    """From here on, nobody else works on it. By Redis' own clock, for no other is at hand."""
    seconds, micros = await client.command("TIME")
    now = int(seconds) * 1_000_000 + int(micros)
    living: Step = ("ZRANGEBYSCORE", "replicas", now, "+inf")
    try:
        await client.write(str(number), [(NOTHING, living)], [("SET", "schema", on_the_way)])
    except NotAsBefore as error:
        raise StoreUnusable(
            f"{client.address.shown} prefix {client.address.prefix} is of schema {number}, and replicas of an older"
            f" alertbot work on it ({len(error.answer)}): stop them all (one that was killed counts for 15 seconds"
            " more) and start this one again, which then brings the store up to date"
        ) from None


async def _bring(client: Client, on_the_way: str, hash_: str, migrate: Callable[[str, bytes], Iterable[Step]]) -> None:
    cursor = b"0"
    while True:
        ((cursor, found),) = await client.ask(on_the_way, [("HSCAN", hash_, cursor, "COUNT", PAGE)])
        steps = [
            step for name, doc in zip(found[::2], found[1::2], strict=True) for step in migrate(name.decode(), doc)
        ]
        if steps:
            await client.write(on_the_way, (), steps)
        if int(cursor) == 0:
            return
