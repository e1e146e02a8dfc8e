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

    def __init__(self, program: Path, folder: Path, *, sentinel: bool = False, **settings: str) -> None:
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
        return redis.Redis(port=self.port, socket_timeout=5)

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
        self.signal(signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(PATIENCE)
            self.process = None
