"""The way to Redis: one server, Sentinel's master, or a cluster; and whose fault it is when there is none.

All that is asked goes through one script (`redis.lua`), so each kind of Redis needs no more than EVALSHA on one slot.
Nothing is tried for long: a call that cannot be made fails within `CONNECT` + `TIMEOUT`, and at once while Redis is
known to be away. Whether it is back is looked at in the background.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
import os
import random
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
from redis.asyncio import Redis, Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from alertbot.redis_url import RedisUrl
from alertbot.store.base import StoreError, StoreUnavailable, StoreUnusable

T = TypeVar("T")
Word = str | bytes | int
Step = tuple[Word, ...]

#: Seconds for a connection, and for an answer. A script of ours takes milliseconds.
CONNECT: Final = 1.0
TIMEOUT: Final = 3.0
#: Calls at once; each has a connection of its own.
AT_ONCE: Final = 32
#: Seconds between looks at a Redis that is away; at random between them, so that replicas don't come back at once.
LEFT_ALONE: Final = (0.2, 1.0)
#: What Redis says when it cannot do it now: full, without its disk or its replicas, loading, failing over. The client
#: has classes for some of the words, and takes the word off the text.
_PASSES: Final = ("MISCONF", "NOREPLICAS", "BUSY", "UNKILLABLE")
_PASSES_TOO: Final = (AskError, ClusterDownError, MasterDownError, OutOfMemoryError, ReadOnlyError, TryAgainError)
#: What the client raises where a call could not be made, or was answered with an error.
_FAILURES: Final = (RedisError, OSError, TimeoutError)
#: What uvloop says, in a RuntimeError, of a write to a connection that was just reset: the client lets it through.
_CLOSED: Final = "the handler is closed"
#: The digest of an empty list (`redis.lua`).
NOTHING: Final = hashlib.sha1(b"*0", usedforsecurity=False).hexdigest().encode()


class NotAsBefore(StoreError):
    """Another writer was there first: of this request nothing was done. `check` says which question, `answer` what
    the answer is now.
    """

    def __init__(self, check: int, answer: Any) -> None:
        super().__init__("what was read has changed since")
        self.check = check
        self.answer = answer


class Client:
    """Connections to the Redis that an address names; `me` names this replica.

    `wait_replicas` and `wait_disk` say where each write has to be before it counts. `changed_elsewhere` is what the
    last answer said of the others' changes. Every method raises `StoreUnavailable` when it can't be done now,
    `StoreUnusable` where a person has to look.
    """

    def __init__(self, address: RedisUrl, *, wait_replicas: int = 0, wait_disk: bool = False) -> None:
        self.address = address
        self.prefix = f"{{{address.prefix}}}:"
        self.wait_replicas = wait_replicas
        self.wait_disk = wait_disk
        self.me = secrets.token_hex(8)
        self.changed_elsewhere = 0
        self._script = importlib.resources.files("alertbot.store").joinpath("redis.lua").read_text()
        self._sha = hashlib.sha1(self._script.encode(), usedforsecurity=False).hexdigest()
        self._room = asyncio.Semaphore(AT_ONCE)
        self._redis: Redis | None = None
        self._sentinel: Sentinel | None = None
        self._nodes: dict[tuple[str, int], Redis] = {}
        self._looking_up = asyncio.Lock()
        self._open = False
        self._away = ""
        """Why all calls are refused at once; empty while there is somebody to ask."""
        self._looking: asyncio.Task[None] | None = None

    def connect(self) -> None:
        """Makes the client; connections are made when they are needed."""
        a = self.address
        if a.ca is not None and not os.access(a.ca, os.R_OK):
            raise StoreUnusable(f"{a.shown}: ?ca={a.ca} cannot be read")
        common: dict[str, Any] = {
            "username": a.user,
            "password": a.password,
            "socket_connect_timeout": CONNECT,
            # Ours is around each call: with its own, the client swallows a cancellation now and then on Python 3.11.
            "socket_timeout": None,
            "client_name": "alertbot",
            "retry": Retry(NoBackoff(), 0),
        }
        tls: dict[str, Any] = {"ssl": True, "ssl_ca_certs": a.ca} if a.tls else {}
        self._options: dict[str, Any] = {"max_connections": 2 * AT_ONCE, **common, **tls}
        self._open = True
        if a.scheme == "redis+sentinel":
            own = {"password": a.sentinel_password} if a.sentinel_password else {}
            timeouts = {"socket_connect_timeout": CONNECT, "socket_timeout": CONNECT, "retry": Retry(NoBackoff(), 0)}
            self._sentinel = Sentinel(  # type: ignore[no-untyped-call]  # its __init__ has no types
                a.hosts, sentinel_kwargs={**timeouts, **own, **tls}, **common, **tls
            )
            self._redis = self._sentinel.master_for(a.master, db=a.db, max_connections=2 * AT_ONCE)
        elif a.scheme != "redis+cluster":
            ((host, port),) = a.hosts
            self._redis = Redis(host=host, port=port, db=a.db, **self._options)

    async def _server(self) -> Redis:
        """The server that has our keys. In a cluster the master of our slot, looked up when it may be another.

        A cluster's redirections are not followed: while our slot is moved, the other node has only a part of it.
        """
        if self._redis is not None:
            return self._redis
        async with self._looking_up:
            if self._redis is None:
                place = await self._master()
                if place not in self._nodes:
                    self._nodes[place] = Redis(host=place[0], port=place[1], **self._options)
                self._redis = self._nodes[place]
            return self._redis

    async def _master(self) -> tuple[str, int]:
        """Where the master of our slot is, as the first node that answers sees it."""
        slot, failed = key_slot(self.prefix.encode()), None
        for host, port in self.address.hosts:
            node: Any = Redis(host=host, port=port, **self._options)
            try:
                async with asyncio.timeout(CONNECT):
                    shares = await node.execute_command("CLUSTER SLOTS")
            except _FAILURES as error:
                failed = error
                continue
            finally:
                await node.aclose()
            for first, last, (name, its_port, *_), *_ in shares:
                if first <= slot <= last:
                    return name.decode() if name else host, int(its_port)
        raise failed or ClusterDownError("no node has our slot")

    async def close(self) -> None:
        """Idempotent."""
        redis, self._redis, self._open = self._redis, None, False
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])
        for one in (redis, *self._nodes.values()):
            if one is not None:
                await one.aclose()
        if self._sentinel is not None:
            for one in self._sentinel.sentinels:
                await one.aclose()

    async def ask(self, version: str, steps: Sequence[Step], *, digests: bool = False) -> list[Any]:
        """Answers of questions, from one moment. Asked once more where no answer came."""
        return await self._run(self._request("", version, digests, (), steps))

    async def write(
        self, version: str, checks: Sequence[tuple[bytes, Step]], steps: Sequence[Step], *, once: bool = True
    ) -> list[Any]:
        """Takes steps, all or none, and once: also where it has to be sent again because no answer came.

        Not `once` is for steps that only remove: a full Redis takes them too, for it has to remember nothing.
        Raises `NotAsBefore` where a question of `checks` has another answer than the one with this digest.
        """
        return await self._run(
            self._request(secrets.token_hex(12) if once else "", version, False, checks, steps), written=True
        )

    async def command(self, *words: Word) -> Any:
        """A command about the server, from the one that has our keys."""
        return await self._call(lambda redis: redis.execute_command(*words))

    def _request(
        self, name: str, version: str, digests: bool, checks: Sequence[tuple[bytes, Step]], steps: Sequence[Step]
    ) -> list[Word]:
        """As `redis.lua` reads it."""
        raw: list[bytes] = []
        asked = [_words((digest.decode(), *step), raw) for digest, step in checks]
        taken = [_words(step, raw) for step in steps]
        return [name, version, self.me, "d" if digests else "", _packed(asked), _packed(taken), *raw]

    async def _run(self, words: Sequence[Word], *, written: bool = False) -> list[Any]:
        waits = written and (self.wait_replicas or self.wait_disk)

        async def run(redis: Any) -> Any:
            if not waits:
                return await self._evaluate(redis, words)
            async with redis.client() as connection:  # Redis waits for what one connection wrote
                answer = await self._evaluate(connection, words)
                if answer[0] == 1:
                    await self._settled(connection)
                return answer

        status, *answer = await self._call(run)
        if status == 0:
            raise NotAsBefore(answer[0], answer[1])
        if status == 2:
            raise WrongVersion(answer[0].decode())
        found: list[Any]
        found, self.changed_elsewhere = answer
        return found

    async def _evaluate(self, redis: Any, words: Sequence[Word]) -> Any:
        try:
            return await redis.evalsha(self._sha, 1, self.prefix, *words)
        except NoScriptError:
            return await redis.eval(self._script, 1, self.prefix, *words)

    async def _settled(self, connection: Any) -> None:
        """The write is on this server's disk, and on as many replicas as was asked for. Raises `StoreUnavailable`: it
        is written, and may yet be lost; so it is not sent again, for that would have nothing to wait for.
        """
        most = int(TIMEOUT * 900)
        if self.wait_disk:
            disk, copies = await connection.execute_command("WAITAOF", 1, self.wait_replicas, most)
        else:
            disk, copies = 1, await connection.execute_command("WAIT", self.wait_replicas, most)
        if not disk or copies < self.wait_replicas:
            where = f"{copies} of {self.wait_replicas} replicas{'' if disk else ' and no disk'}"
            raise StoreUnavailable(f"{self.address.shown}: written, but only on {where}")

    async def _call(self, run: Callable[[Any], Awaitable[T]]) -> T:
        self._reachable()
        async with self._room:
            self._reachable()  # while we waited for room it may have been found out that it is away
            try:
                async with asyncio.timeout(CONNECT + TIMEOUT):
                    return await self._try(run)
            except _FAILURES as error:
                translated = self._failed(error)
                if self._is_away(error) and not self._away:
                    self._away = str(translated)
                    self._looking = asyncio.create_task(self._look(), name="redis")
                raise translated from error

    def _reachable(self) -> None:
        """Raises `StoreUnavailable` where it is known to be away."""
        if not self._open:
            raise StoreUnavailable(f"{self.address.shown} is not open")
        if self._away:
            raise StoreUnavailable(self._away)

    async def _try(self, run: Callable[[Any], Awaitable[T]]) -> T:
        """Twice at the most: the first connection may have been a dead one."""
        try:
            async with asyncio.timeout(TIMEOUT):
                return await self._once(run)
        except _FAILURES as error:
            self._failed(error)
            if not self._is_away(error):
                raise
            return await self._once(run)

    async def _once(self, run: Callable[[Any], Awaitable[T]]) -> T:
        try:
            return await run(await self._server())
        except RuntimeError as error:
            if _CLOSED not in str(error):
                raise
            raise ConnectionResetError(str(error)) from error

    def _failed(self, error: Exception) -> StoreError:
        """What to raise. In a cluster our slot may have another master by now: it is looked up again."""
        translated = self._translate(error)
        if self.address.scheme == "redis+cluster" and isinstance(translated, StoreUnavailable):
            self._redis = None
        return translated

    def _is_away(self, error: Exception) -> bool:
        """Nobody answered; and not that somebody said no."""
        return isinstance(self._translate(error), StoreUnavailable) and not isinstance(error, ResponseError)

    async def _look(self) -> None:
        """Until somebody answers. Whoever asks meanwhile is refused at once, and need not be the one who finds out."""
        while self._away and self._open:
            await asyncio.sleep(random.uniform(*LEFT_ALONE))  # noqa: S311  # a spread, no secret
            try:
                async with asyncio.timeout(CONNECT + TIMEOUT):
                    await self._once(lambda redis: redis.exists(f"{self.prefix}schema"))
            except Exception as error:  # noqa: BLE001 - a defect too: nobody else looks
                self._failed(error)
                if self._is_away(error):
                    continue
            self._away = ""

    def _translate(self, error: Exception) -> StoreError:
        """Whose fault it is, and what to do."""
        shown, said = self.address.shown, str(error)
        if isinstance(error, AuthenticationError | AuthorizationError) and self.address.password is None:
            return StoreUnusable(f"{shown} wants a password, and store.url has none: redis://[USER]:PASSWORD@HOST")
        if isinstance(error, NoPermissionError):
            return StoreUnusable(f"{shown} refuses us ({said}): give its user the right; docs/running.md has them all")
        if isinstance(error, AuthenticationError | AuthorizationError):
            return StoreUnusable(f"{shown} refuses us ({said}): check the user and the password in store.url")
        if isinstance(error, OutOfMemoryError):
            return StoreUnavailable(f"{shown} is full, and takes nothing: make room, or raise its maxmemory ({said})")
        if "CERTIFICATE_VERIFY_FAILED" in said:
            return StoreUnavailable(f"{shown}: {said} Name the file of its authority's certificate: ?ca=FILE")
        if "cluster support disabled" in said:
            return StoreUnusable(f"{shown} is no cluster: use redis://")
        passes = isinstance(error, _PASSES_TOO) or said.startswith(_PASSES)
        if isinstance(error, ResponseError) and not passes:
            return StoreError(f"{shown}: {said}")
        return StoreUnavailable(f"{shown}: {said or type(error).__name__}")


_packed: Final = msgspec.msgpack.Encoder().encode


def _words(step: Step, raw: list[bytes]) -> list[str | int]:
    """A step as text. What is binary goes into `raw`, and here stands which of them it is: Redis' MessagePack knows
    texts only.
    """
    words: list[str | int] = []
    for word in step:
        if isinstance(word, bytes):
            raw.append(word)
            words.append(len(raw))
        else:
            words.append(str(word))
    return words


class WrongVersion(StoreError):
    """What is stored is of another schema (empty: nothing is stored) than the one asked for."""

    def __init__(self, version: str) -> None:
        super().__init__(f"schema {version or 'none'}")
        self.version = version
