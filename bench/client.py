"""A cheap load generator: raw HTTP/1.1 over kept-alive connections, nothing parsed but the status and the length."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import cast

Request = Callable[[], bytes]


def request(body: bytes) -> bytes:
    """A webhook with this body, ready to be sent."""
    return (
        b"POST /webhooks/alertmanager HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )


class Connection(asyncio.Protocol):
    """One request at a time; `answered` is called with this connection and the status (0: the connection broke)."""

    def __init__(self, answered: Callable[[Connection, int], None]) -> None:
        self._answered = answered
        self._buffer = b""
        self._usual = b""
        """The answer before. One that is as long and begins alike needs no reading."""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if not self._buffer and len(data) == len(self._usual) and data[:15] == self._usual[:15]:
            self._answered(self, 200)
            return
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        at = self._buffer.lower().index(b"content-length:")
        length = int(self._buffer[at + 15 : self._buffer.index(b"\r", at)])
        if len(self._buffer) < end + 4 + length:
            return
        status, whole = int(self._buffer[9:12]), self._buffer
        self._buffer = b""
        if status == 200:
            self._usual = whole
        self._answered(self, status)

    def connection_lost(self, exc: Exception | None) -> None:
        self._answered(self, 0)


class Load:
    """Sends what `request` gives and counts the answers by their status (0: the connection broke)."""

    def __init__(self, port: int, request: Request) -> None:
        self.port = port
        self.request = request
        self.answers: Counter[int] = Counter()
        self.last = 0.0
        """When the last answer came, as `time.monotonic`."""
        self._idle: deque[Connection] = deque()
        self._open: list[Connection] = []
        self._until = 0.0
        self._left = 0
        self._again = False
        self._over = asyncio.Event()

    async def connect(self, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: Connection(self._answered), "127.0.0.1", self.port)
            self._open.append(connection)
            self._idle.append(connection)

    async def flood(self, *, seconds: float = 3600.0, count: int = 10**9) -> float:
        """As fast as they are answered, for a time or a count. Returns the seconds until the last answer."""
        begun = time.monotonic()
        self._until, self._left, self._again = begun + seconds, count, True
        self._over.clear()
        while self._idle and self._left > 0:
            self._send(self._idle.popleft())
        await self._over.wait()
        return self.last - begun

    async def steady(self, rate: float, seconds: float) -> float:
        """At a rate, for a time; what finds no connection free waits. Returns the share of it that was sent."""
        begun = time.monotonic()
        self._again, sent = False, 0
        while (now := time.monotonic()) < begun + seconds:
            due = int((now - begun) * rate)
            while sent < due and self._idle:
                self._send(self._idle.popleft())
                sent += 1
            await asyncio.sleep(0.001)
        return sent / (rate * seconds)

    def close(self) -> None:
        self._over.set()
        for connection in self._open:
            connection._answered = lambda *_: None
            connection.transport.close()

    def _send(self, connection: Connection) -> None:
        self._left -= 1
        connection.transport.write(self.request())

    def _answered(self, connection: Connection, status: int) -> None:
        self.answers[status] += 1
        self.last = time.monotonic()
        if self._again and status and self._left > 0 and self.last < self._until:
            self._send(connection)
            return
        if status:
            self._idle.append(connection)
        if self._again and len(self._idle) + self.answers[0] == len(self._open):
            self._over.set()


class Sink(asyncio.Protocol):
    """PagerDuty's Events API v2, as far as a trigger needs it. `heard` is called with each request's text."""

    def __init__(self, heard: Callable[[bytes], None]) -> None:
        self._heard = heard
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return
        at = head.lower().index(b"content-length:") + 15
        length = int(head[at:].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        self._heard(rest[:length])
        answer = b'{"status":"success","message":"Event processed","dedup_key":"1"}'
        self._transport.write(
            b"HTTP/1.1 202 Accepted\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (len(answer), answer)
        )
