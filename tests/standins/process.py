"""A stand-in in a process of its own, and its control API as methods: for tests that kill the bot."""

import asyncio
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.standins.faults import Fault

PROJECT = Path(__file__).parents[2]


class StandinProcess:
    """`python -m tests.standins.<name>`; the provider keeps its state while everything else is killed.

    Killed itself (`kill()`) and started again with the same `state` file, it goes on where it was, on the
    same port.
    """

    def __init__(self, name: str, *, state: Path | None = None, port: int = 0) -> None:
        self.name = name
        self.state_file = state
        self.port = port
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Starts the process; returns once it listens. Raises RuntimeError with its words if it ends."""
        argv = [sys.executable, "-m", f"tests.standins.{self.name}", "--port", str(self.port)]
        if self.state_file is not None:
            argv += ["--state", str(self.state_file)]
        self._process = await asyncio.create_subprocess_exec(
            *argv, cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        line = (await self._process.stdout.readline()).decode()
        if not line:
            raise RuntimeError((await self._process.stderr.read()).decode())
        self.port = int(line.rsplit(":", 1)[1])

    async def stop(self) -> None:
        """Ends the process in good order."""
        await self._end(signal.SIGTERM)

    async def kill(self) -> None:
        """Ends the process at once, as a crash would."""
        await self._end(signal.SIGKILL)

    async def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            if self._process.returncode is None:
                self._process.send_signal(number)
            await self._process.communicate()
            self._process = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def state(self) -> dict[str, Any]:
        """{"offset", "requests": [...], "kept": what this provider keeps}."""
        return await self._control("GET", "state")

    async def add_fault(self, fault: Fault) -> None:
        """Something goes wrong from now on."""
        await self._control("POST", "faults", fault.to_json())

    async def clear_faults(self) -> None:
        """Nothing goes wrong any more."""
        await self._control("DELETE", "faults")

    async def release(self) -> None:
        """Ends the waits of faults."""
        await self._control("POST", "release")

    async def advance(self, seconds: float) -> None:
        """Moves the provider's clock."""
        await self._control("POST", "clock", {"advance": seconds})

    async def configure(self, **attributes: Any) -> None:
        """Sets what the stand-in lists as `adjustable`."""
        await self._control("POST", "configure", attributes)

    async def _control(self, verb: str, name: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        url = f"{self.url}/_standin/{name}"
        async with aiohttp.ClientSession() as session, session.request(verb, url, json=body) as response:
            response.raise_for_status()
            answer: dict[str, Any] = await response.json()
            return answer
