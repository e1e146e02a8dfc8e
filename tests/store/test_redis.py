"""What is Redis' own: its settings, its versions, its failures, Sentinel and Cluster."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import uvloop

from alertbot.redis_url import RedisUrl
from alertbot.store import open_store
from alertbot.store.base import Changes, Store, StoreError, StoreUnavailable, StoreUnusable
from alertbot.store.redis import RedisStore
from alertbot.store.redis_client import LEFT_ALONE, Client
from alertbot.store.redis_settings import durability, eviction
from tests.standins.faults import FlakyProxy
from tests.standins.redis_servers import Cluster, RedisServer, Watched
from tests.store.builders import alert, at, incident, raw, want

Start = Callable[..., RedisServer]


@pytest.fixture
def start(real_server: Callable[[str], Path], tmp_path: Path) -> Iterator[Start]:
    """Starts a server with settings of its own."""
    servers: list[RedisServer] = []

    def made(**settings: str) -> RedisServer:
        servers.append(RedisServer(real_server("redis-server"), tmp_path / str(len(servers)), **settings))
        return servers[-1].start()

    yield made
    for server in servers:
        server.stop()


async def until_it_takes(store: Store, body: bytes) -> None:
    """Appends as a sender does: again, until it is taken."""
    async with asyncio.timeout(30):
        while True:
            try:
                await store.append([raw(body)])
            except StoreUnavailable:
                await asyncio.sleep(0.02)
                continue
            return


# What Redis' settings mean.

SETTINGS = [
    # What is thrown away for room is refused; without a limit too, for one can be set at any time.
    ({"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}, "", ""),
    (
        {"maxmemory-policy": "allkeys-lru", "maxmemory": "5", "appendonly": "yes", "appendfsync": "always"},
        "5 bytes",
        "",
    ),
    ({"maxmemory-policy": "volatile-ttl", "maxmemory": "0", "appendonly": "yes"}, "as soon as", ""),
    # What a crash of the server loses.
    ({"appendonly": "yes", "appendfsync": "everysec"}, "", "the last second"),
    ({"appendonly": "yes", "appendfsync": "no"}, "", "half a minute"),
    ({"appendonly": "no", "save": "3600 1"}, "", "since its last snapshot"),
    ({"appendonly": "no", "save": ""}, "", "loses everything"),
]


@pytest.mark.parametrize(("settings", "evicts", "loses"), SETTINGS)
def test_settings_are_told_in_words(settings: dict[str, str], evicts: str, loses: str) -> None:
    assert bool(eviction(settings)) == bool(evicts)
    assert evicts in eviction(settings)
    assert bool(durability(settings)) == bool(loses)
    assert loses in durability(settings)


async def test_a_redis_that_evicts_is_refused_unless_the_config_allows_it(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    url = start(maxmemory="100mb", maxmemory_policy="allkeys-lru", save='""').url
    with pytest.raises(StoreUnusable, match=r"allkeys-lru.*allow_eviction"):
        await open_store(url).open()
    with caplog.at_level(logging.WARNING):
        store = open_store(url, allow_eviction=True)
        await store.open()
    assert "allkeys-lru" in caplog.text
    assert "a restart of Redis loses everything" in caplog.text
    await store.close()


async def test_a_redis_that_hides_its_settings_is_used_and_that_is_said(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(save='""')
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "bot", "on", ">s3cret", "~*", "+@all", "-config")
    store = open_store(f"redis://bot:s3cret@127.0.0.1:{server.port}")
    with caplog.at_level(logging.WARNING):
        await store.open()
    assert "does not tell its settings" in caplog.text
    assert "s3cret" not in caplog.text
    await store.close()


async def test_a_wrong_password_is_the_operators_to_mend_and_is_not_shown(start: Start) -> None:
    server = start(save='""', requirepass="right")
    with pytest.raises(StoreUnusable, match="check the user and the password") as refused:
        await open_store(f"redis://:wr0ng@127.0.0.1:{server.port}").open()
    assert "wr0ng" not in str(refused.value)


async def test_what_keeps_a_bot_from_its_redis_is_said_with_what_to_do(start: Start, tmp_path: Path) -> None:
    locked, full = start(save='""', requirepass="right"), start(maxmemory="1", save='""')
    with locked.client() as client:
        client.execute_command("ACL", "SETUSER", "bot", "on", ">pw", "~*", "+@all", "-evalsha", "-set")
    at_locked, certificate = f"127.0.0.1:{locked.port}", tmp_path / "nosuch.crt"
    table = [
        # A password that is asked for and not given is told from one that is wrong.
        (f"redis://{at_locked}", StoreUnusable, "wants a password, and store.url has none"),
        # A user that may not do all is told what it may not.
        (f"redis://bot:pw@{at_locked}", StoreUnusable, r"'set' command.*give its user the right"),
        # A database that is not there is not one that hides its settings.
        (f"redis://:right@{at_locked}/99", StoreError, "DB index is out of range"),
        # A server without room says so, and what to do.
        (full.url, StoreUnavailable, "is full, and takes nothing: make room, or raise its maxmemory"),
        # A file of certificates that is not there is named.
        (f"rediss://{at_locked}?ca={certificate}", StoreUnusable, re.escape(f"?ca={certificate} cannot be read")),
    ]
    for url, kind, said in table:
        with pytest.raises(kind, match=said) as refused:
            await open_store(url).open()
        assert "right@" not in str(refused.value)
        assert "pw" not in str(refused.value)


async def test_a_full_redis_takes_nothing_and_loses_nothing(start: Start) -> None:
    server = start(maxmemory="3mb", maxmemory_policy="noeviction", save='""')
    store = open_store(server.url)
    await store.open()
    taken = 0
    refused = ""
    while not refused and taken < 100:
        try:
            await store.append([raw(b"%d" % taken * 50_000)])
            taken += 1
        except StoreUnavailable as error:
            refused = str(error)
    assert "maxmemory" in refused
    assert 0 < taken < 100
    await store.trim(at(-1))  # a full Redis can still forget
    with server.client() as client:
        client.config_set("maxmemory", "100mb")
    await until_it_takes(store, b"last")
    assert [len(e.event.body) for e in await store.undecided(1000)][-1] == 4
    assert len(await store.undecided(1000)) == taken + 1
    await store.close()


async def test_what_is_acknowledged_survives_a_kill_of_redis_under_appendfsync_always(start: Start) -> None:
    server = start(appendonly="yes", appendfsync="always", save='""')
    store = open_store(server.url)
    await store.open()
    for n in range(50):
        await store.append([raw(b"%d" % n)])
    server.kill()
    with pytest.raises(StoreUnavailable):
        await store.append([raw(b"refused")])
    server.start()
    await until_it_takes(store, b"back")
    assert [e.event.body for e in await store.undecided(100)] == [*(b"%d" % n for n in range(50)), b"back"]
    await store.close()


async def test_a_caller_that_is_cancelled_ends_wherever_it_is_and_spoils_nothing(redis_url: Callable[[], str]) -> None:
    store = open_store(redis_url())
    await store.open()
    await store.set_meta("here", "yes")
    for turns in range(30):
        asking = asyncio.create_task(store.get_meta("here"))
        for _ in range(turns):
            await asyncio.sleep(0)
        ends = asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled() == ends
        assert await store.get_meta("here") == "yes"
    await store.close()


async def test_one_of_all_callers_looks_whether_redis_is_back_and_not_all_replicas_do_at_once(
    redis_server: RedisServer, redis_url: Callable[[], str]
) -> None:
    async with FlakyProxy(redis_server.port) as proxy:
        url = redis_url().replace(str(redis_server.port), str(proxy.port))
        stores = [open_store(url) for _ in range(8)]
        for store in stores:
            await store.open()

        async def refused(store: Store) -> None:
            with pytest.raises(StoreUnavailable):
                await store.append([raw()])

        proxy.cut_after = 0
        proxy.sever()
        await asyncio.gather(*(refused(store) for store in stores))
        known, now = proxy.connections, asyncio.get_running_loop().time
        until = now() + 1.5
        while now() < until:
            await asyncio.gather(*(refused(store) for store in stores for _ in range(20)))
            await asyncio.sleep(0.01)
        looks = proxy.connected_at[known:]
        assert len(stores) <= len(looks) <= len(stores) * (1 + 1.5 / LEFT_ALONE[0])
        assert looks[len(stores) - 1] - looks[0] > 0.1
        for store in stores:
            await store.close()


async def test_a_redis_that_came_back_empty_is_said_and_filled_anew(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = start(save='""')
    store = open_store(server.url)
    await store.open()
    await store.append([raw(b"lost")])
    server.kill()
    server.start()
    await until_it_takes(store, b"new")
    assert "came back empty" in caplog.text
    assert [e.event.body for e in await store.undecided(10)] == [b"new"]
    await store.close()


# Versions.


async def test_a_store_of_another_version_is_refused_at_the_start_and_while_it_runs(
    redis_server: RedisServer, redis_url: Callable[[], str]
) -> None:
    url = redis_url()
    running = open_store(url)
    await running.open()
    prefix = RedisUrl.of(url).prefix
    with redis_server.client() as client:
        client.set(f"{{{prefix}}}:schema", "2")
    with pytest.raises(StoreUnusable, match="upgrade alertbot"):
        await running.append([raw()])
    with pytest.raises(StoreUnusable, match="schema 2, this one knows 1"):
        await open_store(url).open()
    await running.close()


async def test_a_store_that_is_only_looked_at_must_be_there(redis_url: Callable[[], str]) -> None:
    with pytest.raises(StoreUnusable, match="holds no alertbot"):
        await open_store(redis_url(), readonly=True).open()


# Where a write has to be.


async def test_a_write_that_no_replica_has_is_not_acknowledged(start: Start) -> None:
    store = RedisStore(start(save='""').url, wait_replicas=1)
    await store.open()
    with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
        await store.append([raw()])
    await store.close()


async def test_a_wait_for_the_disk_needs_a_redis_that_can(start: Start) -> None:
    server = start(save='""')
    store = RedisStore(server.url, wait_disk=True)
    with server.client() as client:
        knows = tuple(map(int, client.info("server")["redis_version"].split("."))) >= (7, 2)
    if knows:
        await store.open()
        await store.close()
    else:
        with pytest.raises(StoreUnusable, match=r"Redis 7\.2"):
            await store.open()


def test_a_server_that_resets_what_it_took_is_away_whatever_the_moment() -> None:
    """Under uvloop, as `serve` runs: a connection that is reset just before the first write raises no OSError there."""
    reset = struct.pack("ii", 1, 0)

    def hang_up(listener: socket.socket) -> None:
        with suppress(OSError):  # closed: the test is over
            while True:
                connection, _ = listener.accept()
                time.sleep(0.005)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                connection.close()

    async def lag() -> None:
        while True:
            time.sleep(0.003)  # noqa: ASYNC251 - a loop that has much to do
            await asyncio.sleep(0)

    async def ask(port: int) -> set[type]:
        lagging = asyncio.create_task(lag())
        raised = set()
        for _ in range(15):
            client = Client(RedisUrl.of(f"redis://127.0.0.1:{port}"))
            client.connect()
            calls = [client.command("PING") for _ in range(20)]
            raised |= {type(answer) for answer in await asyncio.gather(*calls, return_exceptions=True)}
            await client.close()
        lagging.cancel()
        return raised

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=hang_up, args=[listener], daemon=True).start()
        assert uvloop.run(ask(listener.getsockname()[1])) == {StoreUnavailable}


# Sentinel and Cluster.


async def test_after_a_failover_all_that_was_acknowledged_is_there_and_it_goes_on_by_itself(
    real_server: Callable[[str], Path], tmp_path: Path
) -> None:
    servers = Watched(real_server("redis-server"), tmp_path).start()
    try:
        store = RedisStore(servers.url, wait_replicas=1)
        other = RedisStore(servers.url)
        await store.open()
        await other.open()
        for n in range(30):
            await store.append([raw(b"%d" % n)])
        await store.commit(Changes(incidents=[incident()], alerts=[alert()], wants=[want()]))
        servers.master.kill()
        await until_it_takes(other, b"after")
        assert [e.event.body for e in await store.undecided(100)] == [b"%d" % n for n in range(30)]
        assert (await store.incident("i1")) == incident()
        assert len(await other.claim("slack:#ops", at(1), "w", at(60) - at(1), 5)) == 1
        await store.close()
        await other.close()
    finally:
        servers.stop()


async def test_after_a_failover_in_a_cluster_all_that_was_acknowledged_is_there_and_it_goes_on_by_itself(
    real_server: Callable[[str], Path], tmp_path: Path
) -> None:
    cluster = Cluster(real_server("redis-server"), tmp_path, 1)
    try:
        cluster.start()
        store = RedisStore(cluster.url, wait_replicas=1)
        other = RedisStore(cluster.url)
        await store.open()
        await other.open()
        for n in range(30):
            await store.append([raw(b"%d" % n)])
        await store.commit(Changes(incidents=[incident()], alerts=[alert()], wants=[want()]))
        cluster.master_of("{alertbot}:").kill()
        await until_it_takes(other, b"after")
        assert [e.event.body for e in await store.undecided(100)] == [b"%d" % n for n in range(30)]
        assert (await store.incident("i1")) == incident()
        with pytest.raises(StoreUnavailable, match="0 of 1 replicas"):
            await store.append([raw(b"nobody follows any more")])
        await store.close()
        await other.close()
    finally:
        cluster.stop()


async def test_all_keys_of_a_bot_share_a_slot_and_bots_spread_over_the_nodes(
    redis_cluster: Cluster, redis_cluster_url: Callable[[], str]
) -> None:
    prefixes = []
    for _ in range(12):
        url = redis_cluster_url()
        store = open_store(url)
        await store.open()
        await store.append([raw()])
        await store.commit(Changes(incidents=[incident()], alerts=[alert()], wants=[want()]))
        await store.close()
        prefixes.append(f"{{{RedisUrl.of(url).prefix}}}:".encode())
    used: dict[int, set[bytes]] = {}
    for node in redis_cluster.nodes:
        with node.client() as client:
            found = {p for key in client.keys("*") for p in prefixes if key.startswith(p)}
            used[node.port] = found
    assert sorted(p for found in used.values() for p in found) == sorted(prefixes), "each is on one node"
    assert sum(bool(found) for found in used.values()) > 1


async def test_while_a_slot_is_moved_nothing_is_read_or_written_and_then_it_goes_on(
    redis_cluster: Cluster, redis_cluster_url: Callable[[], str]
) -> None:
    """What is asked of the other node meanwhile would find half of the keys, or none."""
    url = redis_cluster_url()
    store = open_store(url)
    await store.open()
    await store.append([raw(b"before")])
    key = f"{{{RedisUrl.of(url).prefix}}}:"
    old = redis_cluster.master_of(key)
    new = next(node for node in redis_cluster.nodes if node is not old)
    with old.client() as source, new.client() as target:
        slot = source.execute_command("CLUSTER KEYSLOT", key)
        ids = [client.execute_command("CLUSTER MYID").decode() for client in (source, target)]
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
        first, *others = source.execute_command("CLUSTER GETKEYSINSLOT", slot, 1000)
        source.execute_command("MIGRATE", "127.0.0.1", new.port, first, 0, 5000)
        with pytest.raises(StoreUnavailable):
            await store.append([raw(b"refused")])
        with pytest.raises(StoreUnavailable):
            await store.undecided(10)
        for name in others:
            source.execute_command("MIGRATE", "127.0.0.1", new.port, name, 0, 5000)
        for client in (target, source):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])
    await until_it_takes(store, b"after")
    assert [e.event.body for e in await store.undecided(10)] == [b"before", b"after"]
    await store.close()


async def test_a_single_server_is_no_cluster(start: Start) -> None:
    server = start(save='""')
    with pytest.raises((StoreUnusable, StoreUnavailable)):
        await open_store(f"redis+cluster://127.0.0.1:{server.port}").open()


# Addresses.

URLS = [
    # Each kind, with its default port; a password may have any letter.
    ("redis://localhost", ("localhost", 6379), "redis://localhost:6379/0"),
    ("rediss://u:p%40ss@h:7/3", ("h", 7), "rediss://h:7/3"),
    ("redis+sentinel://:x@a,b:1/main", ("a", 26379), "redis+sentinel://a:26379,b:1/main"),
    ("redis+cluster://a:1,b:2?prefix=x&tls=true", ("a", 1), "redis+cluster://a:1,b:2/0"),
]


@pytest.mark.parametrize(("url", "host", "shown"), URLS)
def test_an_address_is_read_and_shown_without_its_password(url: str, host: tuple[str, int], shown: str) -> None:
    address = RedisUrl.of(url)
    assert address.hosts[0] == host
    assert address.shown == shown
    assert all(secret not in address.shown for secret in address.secrets)


@pytest.mark.parametrize(
    "url",
    ["redis://", "redis://a,b", "redis://h/x", "redis+cluster://h/1", "redis+sentinel://h", "redis://h?db=3",
     "redis://h?prefix={x}", "redis://h:port"],
)  # fmt: skip
def test_an_address_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        RedisUrl.of(url)
