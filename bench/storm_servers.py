"""What a storm runs through: a real Alertmanager, alertbot behind it or not, and the providers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROJECT: Final = Path(__file__).parents[1]
ALERTMANAGER: Final = ("prometheus-alertmanager", "alertmanager")
KEY: Final = "0123456789abcdef0123456789abcdef"
#: Both group alike and wait alike: not at all for what is new, and so long for what changes.
INTERVAL: Final = 10.0

#: As a user would write it, but that no group waits to fill.
BOT = """\
global:
  slack_bot_token: xoxb-stand-in
  slack_api_url: http://127.0.0.1:{slack}/api/
  pagerduty_url: http://127.0.0.1:{pagerduty}/
{limits}web: {{listen: 127.0.0.1:{port}}}
store: {{url: "sqlite:///{folder}/alertbot.db"}}
route:
  receiver: dev
  group_by: [alertname, environment, team]
  group_wait: 0s
  group_interval: 10s
  repeat_interval: 4h
  routes:
    - {{matchers: [alertbot_severity="critical"], receiver: critical}}
    - {{matchers: [alertbot_severity="high"], receiver: ops}}
receivers:
  - name: critical
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#critical-alerts'}}]
  - name: ops
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#ops-alerts'}}]
  - name: dev
    slack_configs: [{{channel: '#dev-alerts'}}]
"""
#: For providers without limits: none of ours either.
UNLIMITED = """\
  limits: {slack_posts_per_second: 100000, slack_updates_per_minute: 6000000, pagerduty_per_minute: 6000000}
"""

BEFORE_BOT = """\
route: {{receiver: alertbot, group_by: [alertname, environment, team], group_wait: 0s, group_interval: 10s}}
receivers:
  - name: alertbot
    webhook_configs: [{{url: 'http://127.0.0.1:{bot}/webhooks/alertmanager', send_resolved: true}}]
"""

ALONE = """\
global:
  slack_api_url: http://127.0.0.1:{slack}/api/chat.postMessage
  pagerduty_url: http://127.0.0.1:{pagerduty}/v2/enqueue
route:
  receiver: dev
  group_by: [alertname, environment, team]
  group_wait: 0s
  group_interval: 10s
  repeat_interval: 4h
  routes:
    - {{matchers: [severity="critical"], receiver: critical}}
    - {{matchers: [severity="high"], receiver: ops}}
receivers:
  - name: critical
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#critical-alerts', send_resolved: true, http_config: {bearer}}}]
  - name: ops
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#ops-alerts', send_resolved: true, http_config: {bearer}}}]
  - name: dev
    slack_configs: [{{channel: '#dev-alerts', send_resolved: true, http_config: {bearer}}}]
"""
BEARER: Final = "{authorization: {credentials: xoxb-stand-in}}"


@dataclass(frozen=True, slots=True)
class Process:
    """A running server."""

    port: int
    pid: int

    def peak(self) -> float:
        """The most resident memory so far, in MiB."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise LookupError("VmHWM")

    def cpu(self) -> float:
        """Seconds of a processor so far, the kernel's for it included."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def alertmanager_path() -> str | None:
    """Where Alertmanager is, by Debian's name or its own."""
    return next((found for name in ALERTMANAGER if (found := shutil.which(name))), None)


@contextlib.asynccontextmanager
async def sink(kind: str, *, instant: bool) -> AsyncIterator[Process]:
    """See `bench.storm_sinks`."""
    argv = [sys.executable, "-m", "bench.storm_sinks", kind, *(["--instant"] if instant else [])]
    process = await asyncio.create_subprocess_exec(*argv, cwd=PROJECT, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield Process(int(await process.stdout.readline()), process.pid)
    finally:
        await _end(process)


@contextlib.asynccontextmanager
async def bot(*, slack: int, pagerduty: int, instant: bool) -> AsyncIterator[tuple[Process, Path]]:
    """`alertbot serve` with a fresh store on the disk of the temp folder, and that store."""
    with _folder() as folder:
        port, config = _free_port(), folder / "alertbot.yml"
        limits = UNLIMITED if instant else ""
        config.write_text(
            BOT.format(slack=slack, pagerduty=pagerduty, port=port, folder=folder, key=KEY, limits=limits)
        )
        argv = [sys.executable, "-m", "alertbot", "serve", "--config", str(config), "--log-level", "ERROR"]
        async with _server(argv, port, folder) as process:
            yield process, folder / "alertbot.db"


@contextlib.asynccontextmanager
async def alertmanager(config: str) -> AsyncIterator[Process]:
    """Alertmanager by itself, without a cluster and with nothing remembered."""
    found = alertmanager_path()
    assert found
    with _folder() as folder:
        port, path = _free_port(), folder / "alertmanager.yml"
        path.write_text(config)
        argv = [found, f"--config.file={path}", f"--storage.path={folder}/data", "--log.level=error"]
        argv += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        async with _server(argv, port, folder) as process:
            yield process


@contextlib.asynccontextmanager
async def _server(argv: Sequence[str], port: int, folder: Path) -> AsyncIterator[Process]:
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*argv, cwd=PROJECT, stdout=log, stderr=log)
    try:
        async with asyncio.timeout(20):
            while not await _listens(port):
                if process.returncode is not None:
                    raise RuntimeError((folder / "log").read_text())
                await asyncio.sleep(0.05)
        yield Process(port, process.pid)
    finally:
        await _end(process)


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="alertbot-storm-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def _end(process: asyncio.subprocess.Process) -> None:
    """In good order within a second; nothing of it is needed any more."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(1):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
