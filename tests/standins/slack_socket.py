"""Slack's side of Socket Mode: tickets, connections, envelopes and their acknowledgements [docs: Using Socket Mode]."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import WSMsgType, web

from tests.standins.slack_user import ANSWER_SECONDS, Answer, SlackUser


class Sockets:
    """The open connections of one app. A ticket opens one connection, once."""

    def __init__(self) -> None:
        self.open: list[web.WebSocketResponse] = []
        self.connected = 0  # connections that there ever were
        self._tickets: set[str] = set()
        self._ids = 0
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._changed = asyncio.Event()

    def ticket(self) -> str:
        """A new one."""
        self._ids += 1
        ticket = f"ticket-{self._ids}"
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """One connection, from its hello to its end."""
        ticket = request.match_info["ticket"]
        if ticket not in self._tickets:
            return web.Response(status=404)
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        await socket.send_json({"type": "hello", "num_connections": len(self.open) + 1})
        self.open.append(socket)
        self.connected += 1
        self._turn()
        try:
            async for message in socket:
                if message.type is WSMsgType.TEXT:
                    said = json.loads(message.data)
                    waiting = self._waiting.get(said["envelope_id"])
                    if waiting is not None and not waiting.done():
                        waiting.set_result(said.get("payload"))
        finally:
            self.open.remove(socket)
            self._turn()
        return socket

    def _turn(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def until(self, *, connected: int) -> None:
        """Returns when there were so many connections in all, and one of them is open."""
        async with asyncio.timeout(10):
            while self.connected < connected or not self.open:
                await self._changed.wait()

    async def send(self, kind: str, payload: Any, seconds: float = ANSWER_SECONDS) -> Answer:
        """One envelope over the newest connection; status None where nobody acknowledged it in time."""
        self._ids += 1
        envelope = f"envelope-{self._ids}"
        acknowledged = self._waiting[envelope] = asyncio.get_running_loop().create_future()
        message = {"type": kind, "envelope_id": envelope, "payload": payload, "accepts_response_payload": True}
        try:
            async with asyncio.timeout(seconds):
                await self.open[-1].send_json(message)
                payload = await acknowledged
        except (TimeoutError, ConnectionError):
            return Answer(None)
        return Answer(200, "" if payload is None else payload)

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Asks every client to connect anew, as Slack does every few hours."""
        for socket in list(self.open):
            await socket.send_json({"type": "disconnect", "reason": reason})

    async def cut(self) -> None:
        """Ends every connection without a word."""
        for socket in list(self.open):
            with suppress(ConnectionError):
                await socket.close()


class SocketUser(SlackUser):
    """A person whose commands and presses reach the bot over Socket Mode."""

    def __init__(self, sockets: Sockets, slack_url: str, **options: Any) -> None:
        super().__init__("", slack_url, "", **options)
        self.sockets = sockets

    async def send(self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Answer:
        if path == "/slack/commands":
            return await self.sockets.send("slash_commands", dict(form), self.answer_seconds)
        return await self.sockets.send("interactive", json.loads(form["payload"]), self.answer_seconds)
