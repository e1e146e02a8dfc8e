"""What the stand-ins over HTTP share: recording, faults, a moving clock, rate limits, control from outside.

The control API, for a stand-in in a process of its own:
    GET    /_standin/state      everything it keeps, its requests included
    POST   /_standin/faults     a Fault as JSON;  DELETE clears them
    POST   /_standin/release    ends the waits of faults
    POST   /_standin/clock      {"advance": seconds}
    POST   /_standin/configure  attributes of the stand-in to set, as JSON
"""

import argparse
import asyncio
import json
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

from aiohttp import web

from tests.standins.faults import Fault, FaultScript

Clock = Callable[[], float]
RAW = web.RequestKey("raw", bytes)  # the body of a request, for who needs its bytes


@dataclass(slots=True)
class Reply:
    """An answer: `body` is sent as JSON unless it is text or bytes."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        if isinstance(self.body, bytes):
            return web.Response(status=self.status, body=self.body, headers=self.headers)
        if isinstance(self.body, str):
            return web.Response(status=self.status, text=self.body, headers=self.headers)
        return web.json_response(self.body, status=self.status, headers=self.headers)


@dataclass(slots=True)
class Call:
    """One request as it arrived: what it asked, when, and what became of it.

    outcome: "answered", or the action of the fault that spoiled it. `handled` says whether it came before the
    provider's rules, which may have refused it; `status` and `reply` are what it answered or would have
    answered, None where it did not get so far.
    """

    at: float
    endpoint: str
    params: dict[str, Any]
    headers: dict[str, str]
    handled: bool = False
    status: int | None = None
    reply: Any = None
    outcome: str = "answered"


class RateLimit:
    """At most `count` calls of one key in any `seconds`. A refused call does not count."""

    def __init__(self, count: int, seconds: float) -> None:
        self.count = count
        self.seconds = seconds
        self._calls: dict[Hashable, deque[float]] = {}

    def take(self, key: Hashable, now: float) -> float:
        """0.0 where the call may pass, else the seconds after which one may."""
        calls = self._calls.setdefault(key, deque())
        while calls and calls[0] <= now - self.seconds:
            calls.popleft()
        if len(calls) >= self.count:
            return calls[0] + self.seconds - now
        calls.append(now)
        return 0.0


class Bucket:
    """`rate` calls a second of one key, with up to `burst` saved up. A refused call does not count."""

    def __init__(self, rate: float, burst: int) -> None:
        self.rate = rate
        self.burst = burst
        self._left: dict[Hashable, tuple[float, float]] = {}

    def take(self, key: Hashable, now: float) -> float:
        """0.0 where the call may pass, else the seconds after which one may."""
        tokens, since = self._left.get(key, (float(self.burst), now))
        tokens = min(float(self.burst), tokens + (now - since) * self.rate)
        if tokens < 1 - 1e-9:
            self._left[key] = (tokens, now)
            return (1 - tokens) / self.rate
        self._left[key] = (tokens - 1, now)
        return 0.0


class HttpStandin:
    """A provider on 127.0.0.1. Subclasses say which endpoint a request is for, and handle it.

    `requests` holds every call, refused and spoiled ones too. `faults` is the script of what goes wrong.
    """

    name: ClassVar[str] = "standin"
    adjustable: ClassVar[tuple[str, ...]] = ()  # what /_standin/configure may set

    def __init__(self, *, clock: Clock = time.time, port: int = 0, state: Path | None = None) -> None:
        self.clock = clock
        self.offset = 0.0
        self.port = port
        self.state_file = state
        self.faults = FaultScript()
        self.requests: list[Call] = []
        self._runner: web.AppRunner | None = None

    # what a subclass gives

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        """The endpoint and the parameters of a request."""
        raise NotImplementedError

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        """Acts on the request, as the provider would."""
        raise NotImplementedError

    def snapshot(self) -> dict[str, Any]:
        """What the provider keeps, as JSON."""
        return {}

    def restore(self, kept: dict[str, Any]) -> None:
        """Takes up what `snapshot` gave."""

    def control(self, app: web.Application) -> None:
        """Adds control endpoints of its own."""

    # running

    def now(self) -> float:
        """The provider's time, in seconds since the epoch."""
        return self.clock() + self.offset

    def advance(self, seconds: float) -> None:
        """Moves the provider's clock."""
        self.offset += seconds

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}"

    def calls(self, endpoint: str) -> list[Call]:
        """The recorded requests of one endpoint."""
        return [call for call in self.requests if call.endpoint == endpoint]

    async def start(self) -> None:
        """Listens on 127.0.0.1; takes up the state file if there is one."""
        if self.state_file is not None and self.state_file.exists():
            kept = json.loads(self.state_file.read_text())
            self.offset = kept["offset"]
            self.requests = [Call(**call) for call in kept["requests"]]
            self.restore(kept["kept"])
        app = web.Application(client_max_size=64 * 2**20)
        app.router.add_get("/_standin/state", self._get_state)
        app.router.add_post("/_standin/faults", self._add_fault)
        app.router.add_delete("/_standin/faults", self._clear_faults)
        app.router.add_post("/_standin/release", self._release)
        app.router.add_post("/_standin/clock", self._move_clock)
        app.router.add_post("/_standin/configure", self._configure)
        self.control(app)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handle_signals=False)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Ends the waits, stops listening and saves the state."""
        self.faults.clear()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        self._save()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    # one request

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        endpoint, params = await self.read(request)
        call = Call(self.now(), endpoint, params, dict(request.headers))
        self.requests.append(call)
        fault = self.faults.take(endpoint, params)
        if fault is None:
            reply = self._act(request, call)
            return reply.response()
        call.outcome = fault.action
        if fault.action == "answer":
            call.status, call.reply = fault.status, fault.body
            body = {} if fault.body is None else fault.body
            return Reply(fault.status, body, dict(fault.headers)).response()
        if fault.action in ("done_hang", "done_close"):
            self._act(request, call)
        if fault.action in ("delay", "hang", "done_hang"):
            await self.faults.wait(fault.seconds)
        if fault.action == "delay":
            return self._act(request, call).response()
        if request.transport is not None:
            request.transport.abort()
        return web.Response(status=500)  # goes nowhere: the connection is gone

    def _act(self, request: web.Request, call: Call) -> Reply:
        reply = self.handle(request, call.endpoint, call.params)
        call.handled, call.status, call.reply = True, reply.status, reply.body
        self._save()
        return reply

    # kept and controlled

    def _state(self) -> dict[str, Any]:
        return {
            "offset": self.offset,
            "requests": [asdict(call) for call in self.requests],
            "kept": self.snapshot(),
        }

    def _save(self) -> None:
        if self.state_file is not None:
            beside = self.state_file.with_suffix(".new")
            beside.write_text(json.dumps(self._state(), default=repr))
            beside.replace(self.state_file)

    async def _get_state(self, request: web.Request) -> web.Response:
        return web.json_response(self._state(), dumps=lambda data: json.dumps(data, default=repr))

    async def _add_fault(self, request: web.Request) -> web.Response:
        self.faults.faults.append(Fault(**await request.json()))
        return web.json_response({"faults": len(self.faults.faults)})

    async def _clear_faults(self, request: web.Request) -> web.Response:
        self.faults.clear()
        return web.json_response({"faults": 0})

    async def _release(self, request: web.Request) -> web.Response:
        self.faults.release()
        return web.json_response({})

    async def _move_clock(self, request: web.Request) -> web.Response:
        self.advance(float((await request.json())["advance"]))
        return web.json_response({"now": self.now()})

    async def _configure(self, request: web.Request) -> web.Response:
        wanted = await request.json()
        for name in wanted:
            if name not in self.adjustable:
                return web.json_response({"error": f"cannot set {name}"}, status=400)
        for name, value in wanted.items():
            current = getattr(self, name)
            setattr(self, name, type(current)(value) if isinstance(current, (set, tuple)) else value)
        return web.json_response({})


def serve(kind: type[HttpStandin]) -> None:
    """Runs a stand-in as a process until told to end: `python -m tests.standins.slack --port N --state F`."""
    parser = argparse.ArgumentParser(description=kind.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args()

    async def run() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        async with kind(port=given.port, state=given.state) as standin:
            sys.stdout.write(f"{kind.name} listens on {standin.url}\n")
            sys.stdout.flush()
            await ended.wait()

    asyncio.run(run())
