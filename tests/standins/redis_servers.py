"""Real Redis servers on loopback: one, a master with its replica and Sentinels, or a cluster."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

import redis

#: Seconds for a server to come up, or to notice what happened to another.
PATIENCE: Final = 30.0


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class RedisServer:
    """One process; `settings` as in redis.conf. `folder` outlives it: started again, it has its data."""

    def __init__(self, program: Path, folder: Path, sentinel: bool = False, /, **settings: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.program = program
        self.folder = folder
        self.port = free_port()
        self.sentinel = sentinel
        self.settings: Mapping[str, str] = settings
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, password=self.settings.get("requirepass"), socket_timeout=5)

    def start(self, text: str = "") -> Self:
        """Returns when it answers. `text` is the rest of a Sentinel's file."""
        config = self.folder / f"{self.port}.conf"
        if not config.exists():
            lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", *text.splitlines()]
            lines += [f"{name.replace('_', '-')} {value}" for name, value in self.settings.items()]
            config.write_text("\n".join(lines) + "\n")
        command = [str(self.program), str(config), *(["--sentinel"] if self.sentinel else [])]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        until = time.monotonic() + PATIENCE
        while True:
            try:
                with self.client() as client:
                    client.ping()
                return self
            except redis.RedisError:
                assert self.process.poll() is None, f"redis-server ended: {command}"
                assert time.monotonic() < until, "redis-server does not answer"
                time.sleep(0.01)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """As if its machine had lost power, but for what the kernel already has."""
        self.stop()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None


class Cluster:
    """Three masters that share the slots, each with so many replicas. `settings` are those of every node."""

    def __init__(self, program: Path, folder: Path, replicas: int = 0, /, **settings: str) -> None:
        shares = {"cluster_enabled": "yes", "cluster_node_timeout": "2000", "save": '""', **settings}
        self.replicas = replicas
        self.nodes = [
            RedisServer(program, folder / str(n), cluster_port=str(free_port()), **shares)
            for n in range(3 * (1 + replicas))
        ]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)

    def start(self) -> Self:
        for node in self.nodes:
            node.start()
        places = [f"127.0.0.1:{node.port}" for node in self.nodes]
        command = ["redis-cli", "--cluster", "create", *places, "--cluster-replicas", str(self.replicas)]
        subprocess.run([*command, "--cluster-yes"], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)
        until = time.monotonic() + PATIENCE
        while not all(self._complete(node) for node in self.nodes):
            assert time.monotonic() < until, "the cluster does not come up"
            time.sleep(0.05)
        return self

    def _complete(self, node: RedisServer) -> bool:
        with node.client() as client:
            if client.execute_command("CLUSTER INFO")["cluster_state"] != "ok":
                return False
            return client.info("replication")["role"] == "slave" or followers(node) >= self.replicas

    def master_of(self, key: str) -> RedisServer:
        """As the first that answers sees it."""
        by_port = {node.port: node for node in self.nodes}
        for node in self.nodes:
            try:
                with node.client() as client:
                    slot = int(client.execute_command("CLUSTER KEYSLOT", key))
                    shares = client.execute_command("CLUSTER SLOTS")
            except redis.RedisError:
                continue
            return next(by_port[int(port)] for first, last, (_, port, *_), *_ in shares if first <= slot <= last)
        raise AssertionError("no node answers")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()


class Watched:
    """A master, its replica, and three Sentinels that make the one the other."""

    NAME: Final = "alertbot-master"

    def __init__(self, program: Path, folder: Path) -> None:
        self.master = RedisServer(program, folder / "master", appendonly="yes", appendfsync="always")
        follows = f"127.0.0.1 {self.master.port}"
        self.replica = RedisServer(
            program, folder / "replica", appendonly="yes", appendfsync="always", replicaof=follows
        )
        self.sentinels = [RedisServer(program, folder / f"sentinel{n}", True) for n in range(3)]

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{s.port}' for s in self.sentinels)}/{self.NAME}"

    def start(self) -> Self:
        self.master.start()
        self.replica.start()
        until = time.monotonic() + PATIENCE
        while not followers(self.master):
            assert time.monotonic() < until, "the replica does not follow"
            time.sleep(0.05)
        for sentinel in self.sentinels:
            sentinel.start(
                f"sentinel monitor {self.NAME} 127.0.0.1 {self.master.port} 2\n"
                f"sentinel down-after-milliseconds {self.NAME} 1000\n"
                f"sentinel failover-timeout {self.NAME} 5000\n"
            )
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                while not self._knows(client):
                    assert time.monotonic() < until, "the Sentinels do not find one another"
                    time.sleep(0.05)
        return self

    def named(self) -> RedisServer:
        """The one that the first Sentinel takes for the master."""
        with self.sentinels[0].client() as client:
            _, port = client.execute_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
        return self.master if int(port) == self.master.port else self.replica

    def _knows(self, client: redis.Redis) -> bool:
        found = client.execute_command("SENTINEL", "MASTER", self.NAME)
        state = found if isinstance(found, dict) else dict(zip(found[::2], found[1::2], strict=True))
        text = {_text(k): _text(v) for k, v in state.items()}
        return text.get("num-slaves") == "1" and text.get("num-other-sentinels") == "2"

    def stop(self) -> None:
        for server in (*self.sentinels, self.replica, self.master):
            server.stop()


def followers(server: RedisServer) -> int:
    """How many replicas have all that it has."""
    with server.client() as client:
        told = client.info("replication")
    return sum(isinstance(value, dict) and value["state"] == "online" for value in told.values())


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
