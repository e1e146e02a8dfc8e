"""What goes wrong: a script of faults for a stand-in, and a TCP proxy that spoils a connection.

The two faults that find most bugs are `done_close` and `done_hang`: the provider did what it was asked,
and the caller is never told.
"""

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Self

Action = Literal["answer", "delay", "hang", "done_hang", "close", "done_close"]
Match = Callable[[Mapping[str, Any]], bool] | Mapping[str, Any] | None


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong at one endpoint.

    action     answer      `status`, `headers` and `body` instead of handling the request
               delay       wait, then handle and answer as usual
               hang        wait without handling, then close the connection
               done_hang   handle, then wait and close without answering
               close       close the connection without handling
               done_close  handle, and close the connection without answering
    endpoint   a Slack method, a path, an SMTP command; "*" is any
    times      how many requests it spoils; None: every one, until cleared
    match      which requests: a predicate over the parameters, or values that they must have
    seconds    how long a wait lasts; None: until `FaultScript.release()`
    """

    action: Action
    endpoint: str = "*"
    times: int | None = 1
    match: Match = None
    seconds: float | None = None
    status: int = 500
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None

    def applies(self, endpoint: str, params: Mapping[str, Any]) -> bool:
        """Whether this fault spoils a request to `endpoint` with `params`."""
        if self.endpoint not in ("*", endpoint):
            return False
        if self.match is None:
            return True
        if callable(self.match):
            return self.match(params)
        return all(params.get(name) == value for name, value in self.match.items())

    def to_json(self) -> dict[str, Any]:
        """The fault as the control API takes it. Raises TypeError for a predicate, which cannot travel."""
        if callable(self.match):
            raise TypeError("a fault for another process matches by values, not by a predicate")
        names = ("action", "endpoint", "times", "match", "seconds", "status", "headers", "body")
        return {name: getattr(self, name) for name in names}


class FaultScript:
    """Faults in the order in which they were added; the first that applies to a request is used up by it."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.held = 0  # requests that wait at this moment
        self._release = asyncio.Event()
        self._changed = asyncio.Event()

    def add(self, action: Action, endpoint: str = "*", **options: Any) -> Fault:
        """Adds a fault; `options` are those of `Fault`."""
        fault = Fault(action, endpoint, **options)
        self.faults.append(fault)
        return fault

    def take(self, endpoint: str, params: Mapping[str, Any]) -> Fault | None:
        """The fault that spoils this request, counted as used; None where nothing goes wrong."""
        for fault in self.faults:
            if fault.applies(endpoint, params):
                if fault.times is not None:
                    fault.times -= 1
                    if fault.times <= 0:
                        self.faults.remove(fault)
                return fault
        return None

    def clear(self) -> None:
        """Nothing goes wrong from now on, and whatever waits goes on."""
        self.faults.clear()
        self.release()

    def release(self) -> None:
        """Ends every wait that is going on; later waits are not affected."""
        self._release.set()
        self._release = asyncio.Event()
        self._count(-self.held)

    async def wait(self, seconds: float | None) -> None:
        """Waits as a fault says: so many seconds, or until released."""
        released = self._release
        self._count(+1)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(released.wait(), seconds)
        finally:
            if released is self._release:  # else it is not held any more since then
                self._count(-1)

    async def until_held(self, count: int = 1) -> None:
        """Returns once at least `count` requests wait: the moment to kill the caller or to move its clock."""
        while self.held < count:
            await self._changed.wait()

    def _count(self, by: int) -> None:
        self.held += by
        self._changed.set()
        self._changed = asyncio.Event()


class FlakyProxy:
    """A TCP proxy in front of a server on loopback; `port` stays the same through everything.

    refuse() / accept()    nothing listens (connection refused), and again it does
    blackhole = True       new connections are taken and bytes swallowed; nothing ever answers
    stall()                swallows from now on what comes over the connections that there are
    delay = 0.2            seconds before each piece of an answer
    cut_after = 40         close after so many bytes of the answer; `cut_times` limits it to the next n connections
    swallow_answer = True  the request goes through, the connection closes before the first byte of the answer
    sever()                breaks every connection there is, with a reset
    """

    def __init__(self, upstream_port: int, *, host: str = "127.0.0.1") -> None:
        self.upstream_port = upstream_port
        self.host = host
        self.port = 0
        self.connected_at: list[float] = []  # by the loop's clock
        self._connection = asyncio.Event()
        self.blackhole = False
        self.delay = 0.0
        self.cut_after: int | None = None
        self.cut_times: int | None = None
        self.swallow_answer = False
        self._stalled = 0  # of all connections, those up to this one
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        """The proxy as an HTTP base URL."""
        return f"http://{self.host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self.connected_at)

    async def start(self) -> None:
        """Starts to listen, on a free port the first time."""
        self._server = await asyncio.start_server(self._connected, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    accept = start

    @property
    def listens(self) -> bool:
        """Whether connections are taken."""
        return self._server is not None

    async def refuse(self) -> None:
        """Stops listening and breaks what is connected: the next connect is refused."""
        if self._server is not None:
            self._server.close()
            self.sever()
            await self._server.wait_closed()
            self._server = None

    async def stop(self) -> None:
        """Ends everything."""
        await self.refuse()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def until_connected(self) -> None:
        """Returns once somebody has connected."""
        await self._connection.wait()

    def stall(self) -> None:
        """Swallows what comes over the connections that are open, in both directions, for good."""
        self._stalled = self.connections

    def sever(self) -> None:
        """Breaks every connection that is open, in both directions."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        self.connected_at.append(asyncio.get_running_loop().time())
        number = self.connections
        self._connection.set()
        try:
            if self.blackhole:
                while await reader.read(65536):
                    pass
                return
            cut = self.cut_after if self.cut_times is None or self.cut_times > 0 else None
            if cut is not None and self.cut_times is not None:
                self.cut_times -= 1
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.upstream_port)
            self._writers.add(up_writer)
            try:
                await self._both_ways(number, reader, writer, up_reader, up_writer, cut)
            finally:
                self._writers.discard(up_writer)
                up_writer.close()
        # Cancelled by `stop` alone: streams of Python 3.11 complain. A RuntimeError is uvloop's, of what is closed.
        except (OSError, RuntimeError, asyncio.CancelledError):
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            self._tasks.discard(task)
            writer.close()

    async def _both_ways(
        self,
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
        cut: int | None,
    ) -> None:
        async def request() -> None:
            while data := await reader.read(65536):
                if number > self._stalled:
                    up_writer.write(data)
                    await up_writer.drain()

        async def answer() -> None:
            left = cut
            while data := await up_reader.read(65536):
                if self.swallow_answer:
                    return
                if number <= self._stalled:
                    continue
                if self.delay:
                    await asyncio.sleep(self.delay)
                if left is not None:
                    data, left = data[:left], left - len(data)
                writer.write(data)
                await writer.drain()
                if left is not None and left <= 0:
                    return

        tasks = {asyncio.ensure_future(request()), asyncio.ensure_future(answer())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
