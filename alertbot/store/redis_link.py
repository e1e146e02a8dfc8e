"""What is asked of a Redis that holds this version's store, and what is written there.

Each request names the schema, so a store that was upgraded, or came back empty, is noticed at once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

from redis.exceptions import NoPermissionError, ResponseError

from alertbot.store.base import (
    StoreError,
    StoreUnavailable,
    StoreUnusable,
)
from alertbot.store.redis_client import Client, NotAsBefore, Step, WrongVersion
from alertbot.store.redis_schema import SCHEMA, Schema, newest, upgrade
from alertbot.store.redis_settings import SETTINGS, durability, eviction

log = logging.getLogger("alertbot.store")

#: Things read in one go: Redis serves nobody else meanwhile.
AT_ONCE: Final = 500


class Link:
    """The store's schema over a `Client`. `readonly` and `allow_eviction` as in `alertbot.store.redis.RedisStore`."""

    def __init__(
        self, client: Client, *, readonly: bool = False, allow_eviction: bool = False, schema: Schema = SCHEMA
    ) -> None:
        self.client = client
        self.schema = schema
        self._readonly = readonly
        self._allow_eviction = allow_eviction
        self._key = f"{client.prefix}schema"

    async def open(self) -> None:
        """Raises `StoreUnusable`: see `alertbot.store.redis.RedisStore`."""
        try:
            for what in await self._looked_at():
                log.warning(what)
            await self._check_schema()
        except StoreError:
            await self.client.close()
            raise

    async def examine(self) -> list[str]:
        """What an operator should know of this Redis before a start; writes nothing. Raises what `open` would."""
        try:
            found = await self._looked_at()
            version = await self._version()
            if version not in ("", self.schema.version) and not self.schema.follows(version):
                raise self._wrong(version)
        finally:
            await self.client.close()
        return found

    async def _looked_at(self) -> list[str]:
        self.client.connect()
        await self._version()  # does it answer at all?
        found = await self._settings()
        await self._look_at_waiting()
        return found

    async def _settings(self) -> list[str]:
        """What its settings put at risk."""
        shown = self.client.address.shown
        try:
            found = [text.decode() for text in _pairs(await self.client.command("CONFIG", "GET", *SETTINGS))]
        except StoreError as error:
            if not isinstance(error.__cause__, NoPermissionError | ResponseError):
                raise
            unknown = "does not tell its settings: whether it keeps what it is given is for you to know"
            return [f"{shown} {unknown} (appendonly yes, appendfsync always, maxmemory-policy noeviction)"]
        settings = dict(zip(found[::2], found[1::2], strict=True))
        evicts = eviction(settings)
        if evicts and not (self._allow_eviction or self._readonly):
            raise StoreUnusable(f"{shown}: {evicts}, or set store.allow_eviction: true to take that risk")
        return [f"{shown}: {what}" for what in (evicts, durability(settings)) if what]

    async def _look_at_waiting(self) -> None:
        """Whether Redis can wait as it is told to."""
        client = self.client
        if client.wait_disk:
            try:
                await client.command("WAITAOF", 0, 0, 0)
            except StoreUnavailable:
                raise
            except StoreError as error:
                raise StoreUnusable(f"store.wait_disk needs WAITAOF, of Redis 7.2: {error}") from None

    async def _check_schema(self) -> None:
        """Writes it into an empty store; brings an older one up to date, unless it is only looked at."""
        if not self._readonly:
            await self.client.command("SET", self._key, self.schema.version, "NX")
        while True:
            version = await self._version()
            if version == self.schema.version:
                return
            if self._readonly or not self.schema.follows(version):
                raise self._wrong(version)
            with suppress(WrongVersion):  # another one was faster: how far is it?
                await upgrade(self.client, version, self.schema)

    async def _version(self) -> str:
        """The schema of what is there; empty where nothing is."""
        found = await self.client.command("GET", self._key)
        return found.decode() if found else ""

    def _wrong(self, version: str) -> StoreUnusable:
        shown = f"{self.client.address.shown} prefix {self.client.address.prefix}"
        ours = self.schema.number
        if not version:
            return StoreUnusable(f"{shown} holds no alertbot; start one first")
        if newest(version) > ours:
            what = f"was written by a newer alertbot (schema {version}, this one knows {ours}): upgrade alertbot"
            return StoreUnusable(f"{shown} {what}")
        if self.schema.follows(version):
            what = f"was written by an older alertbot (schema {version}): start this one once to bring it up to date"
            return StoreUnusable(f"{shown} {what}")
        return StoreUnusable(f"{shown} is of schema {version}, and this alertbot knows {ours} only")

    async def close(self) -> None:
        """Idempotent."""
        with suppress(StoreError):  # then the others find out by themselves
            await self.ask(("leave",))
        await self.client.close()

    async def ask(self, *steps: Step, digests: bool = False) -> list[Any]:
        """Answers of questions, from one moment; with `digests` each after its digest."""
        return await self._known(lambda: self.client.ask(self.schema.version, steps, digests=digests))

    async def take(
        self, checks: Sequence[tuple[bytes, Step]], steps: Sequence[Step], *, once: bool = True
    ) -> list[Any]:
        """`Client.write`, with its `NotAsBefore`."""
        return await self._known(lambda: self.client.write(self.schema.version, checks, steps, once=once))

    async def attempt(self, checks: Sequence[tuple[bytes, Step]], steps: Iterable[Step]) -> bool:
        """Steps that only remove. Whether it could be done: else it is left for the next time."""
        try:
            await self.take(checks, [*steps], once=False)
        except NotAsBefore:
            return False
        return True

    async def _known(self, ask: Callable[[], Any]) -> list[Any]:
        try:
            found: list[Any] = await ask()
        except WrongVersion as error:
            if error.version:
                raise self._wrong(error.version) from None
            log.error("%s came back empty: all that was stored is gone", self.client.address.shown)
            await self._check_schema()
            found = await ask()
        return found

    async def docs(self, hash_: str, names: Sequence[str]) -> list[bytes]:
        """Documents that are there, in order."""
        found: list[bytes] = []
        for start in range(0, len(names), AT_ONCE):
            (page,) = await self.ask(("docs", hash_, *names[start : start + AT_ONCE]))
            found += [doc for doc in page if doc is not None]
        return found


def _pairs(answer: Any) -> list[bytes]:
    """What CONFIG GET answers: a list, or in another protocol a map."""
    return [part for pair in answer.items() for part in pair] if isinstance(answer, dict) else list(answer)
