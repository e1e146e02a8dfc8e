"""The servers under load, each in a process of its own, with everything it keeps in a folder that goes with it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
STORE = "alertbot.db"

CONFIG = """\
global: {{pagerduty_url: http://127.0.0.1:{pagerduty}/}}
web: {{listen: 127.0.0.1:{port}}}
store: {{url: "{store}"}}
route:
  receiver: log
  group_by: [alertname, environment, team]
  group_wait: {wait}
  group_interval: 10s
  repeat_interval: 12h
  routes:
    - {{matchers: [alertbot_severity="critical"], receiver: critical, group_wait: 0s, repeat_interval: 5m}}
    - {{matchers: [alertbot_severity="high"], receiver: critical, group_wait: 5s, repeat_interval: 1h}}
    - {{matchers: [alertbot_severity="medium"], receiver: log, group_wait: {wait}, repeat_interval: 4h}}
    - {{matchers: [alertbot_severity="low"], receiver: log, repeat_interval: 24h}}
receivers:
  - {{name: critical, pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef}}]}}
  - {{name: log}}
inhibit_rules:
  - {{name: deploy, source_matchers: [alertname="Deployment"], equal: [environment], duration: 15m,
     target_matchers: [alertname=~"HighErrorRate|HighLatency", alertbot_severity!="critical"]}}
  - {{name: the worst only, source_matchers: [alertbot_severity="critical"], equal: [alertname, environment, service],
     target_matchers: [alertbot_severity=~"high|medium|low"]}}
flapping: {{changes: 4, within: 1h, quiet: 30m}}
"""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    port: int
    pid: int
    folder: Path

    async def metric(self, name: str) -> float:
        """A gauge of alertbot's, as it is now."""
        url = f"http://127.0.0.1:{self.port}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=10).read().decode())
        found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
        assert found, name
        return float(found[1])

    async def reaches(self, name: str, value: float, *, within: float) -> None:
        """Waits until a gauge has come to a value. TimeoutError after `within` seconds."""
        async with asyncio.timeout(within):
            while await self.metric(name) != value:  # noqa: ASYNC110 - another process: nothing tells
                await asyncio.sleep(0.02)

    def rss(self) -> int:
        """Resident memory in bytes."""
        pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def write_config(folder: Path, *, port: int = 9, pagerduty: int = 9, wait: str = "1h", url: str = "") -> Path:
    """The routes and rules of the example, with the store at this URL, or else in this folder."""
    config = folder / "alertbot.yml"
    config.write_text(
        CONFIG.format(port=port, store=url or f"sqlite:///{folder / STORE}", pagerduty=pagerduty, wait=wait)
    )
    return config


@contextlib.asynccontextmanager
async def alertbot(
    *, pagerduty: int = 9, wait: str = "1h", store: Path | None = None, url: str = ""
) -> AsyncIterator[Server]:
    """`alertbot serve` with a fresh store, or a copy of this one, on the disk of the temp folder; or that at `url`."""
    folder, port = Path(tempfile.mkdtemp(prefix="alertbot-bench-")), _free_port()
    try:
        if store is not None:
            shutil.copy(store, folder / STORE)
        config = write_config(folder, port=port, pagerduty=pagerduty, wait=wait, url=url)
        argv = [sys.executable, "-m", "alertbot", "serve", "--config", str(config), "--log-level", "ERROR"]
        with (folder / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*argv, cwd=PROJECT, stdout=log, stderr=log)
        try:
            async with asyncio.timeout(20):
                while not await _listens(port):
                    if process.returncode is not None:
                        raise RuntimeError((folder / "log").read_text())
                    await asyncio.sleep(0.05)
            yield Server(port, process.pid, folder)
        finally:
            await _end(process)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.asynccontextmanager
async def noop() -> AsyncIterator[Server]:
    """See `bench.noop`."""
    argv = [sys.executable, "-m", "bench.noop"]
    process = await asyncio.create_subprocess_exec(*argv, cwd=PROJECT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Server(int(await process.stdout.readline()), process.pid, PROJECT)
    finally:
        await _end(process)


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(15):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
