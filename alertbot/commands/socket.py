"""Slack's Socket Mode: commands and presses over a connection that we open, so that no address of ours need be public.

[docs: Using Socket Mode; measured on slack-sdk] Each message is an envelope, to be acknowledged by its id within three
seconds, which may carry the answer. Slack asks us to connect anew now and then (`disconnect`). The SDK does that at
once and without end, and takes in without a bound; both are done here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
import msgspec
from slack_sdk.errors import SlackApiError
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.web.async_client import AsyncWebClient

from alertbot.commands.desk import Desk, NotTakenError
from alertbot.domain.events import Unreadable
from alertbot.sources import slack
from alertbot.telemetry import Metrics, trace_id

log = logging.getLogger(__name__)

#: Envelopes that are being worked on. When there are more, the connection is not read.
ROOM: Final = 50
#: Seconds: to connect in, and between two pings.
CONNECTS_WITHIN, PING = 15.0, 5.0
#: Seconds between two attempts to connect: the first, and the longest.
FIRST, LONGEST = 1.0, 60.0
#: A connection that lasted for so many seconds was a good one.
GOOD: Final = 30.0


class _Client(SocketModeClient):
    """The SDK's client, which says when it is of no more use instead of connecting again by itself."""

    def __init__(self, socket: Socket, token: str, api: AsyncWebClient) -> None:
        quiet = logging.getLogger("alertbot.commands.socket.sdk")
        quiet.setLevel(logging.CRITICAL)  # what goes wrong is said here, once
        super().__init__(app_token=token, web_client=api, logger=quiet, ping_interval=PING)
        self.proxy = None
        self.gone = asyncio.Event()
        self._socket = socket
        self._room = asyncio.Semaphore(ROOM)
        self._work: set[asyncio.Task[None]] = set()

    async def connect_to_new_endpoint(self, force: bool = False) -> None:
        self.gone.set()

    async def enqueue_message(self, message: str) -> None:
        await self._room.acquire()
        task = asyncio.create_task(self._take(message))
        self._work.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._work.discard(task)
        self._room.release()

    async def _take(self, message: str) -> None:
        """One message of Slack's."""
        try:
            envelope = msgspec.json.decode(message, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            log.warning("a message of Socket Mode's cannot be read")
            return
        if envelope.get("type") == "disconnect":
            log.info("Slack asks for a new connection", extra={"reason": str(envelope.get("reason"))[:100]})
            self.gone.set()
        if not isinstance(envelope.get("envelope_id"), str):
            return
        try:
            answer = await self._socket.answer(envelope)
        except NotTakenError:
            return  # not acknowledged: Slack shows that it failed
        reply = {"envelope_id": envelope["envelope_id"]} | ({"payload": answer} if answer is not None else {})
        try:
            await self.send_socket_mode_response(reply)
        except (ConnectionError, aiohttp.ClientError, AttributeError) as e:
            # What was done is durable; Slack sends it again, and it is not done twice.
            log.warning("an acknowledgement did not reach Slack", extra={"cause": type(e).__name__})

    async def close(self) -> None:
        """Lets what is at hand be acknowledged first."""
        if self._work:
            await asyncio.wait(self._work, timeout=3.0)
        await super().close()  # type: ignore[no-untyped-call]  # the SDK's


class Socket:
    """Keeps one connection to Slack, as long as there is an app token."""

    def __init__(self, desk: Desk, metrics: Metrics, *, first: float = FIRST, longest: float = LONGEST) -> None:
        self._desk = desk
        self._metrics = metrics
        self._first = first
        self._longest = longest
        self._task: asyncio.Task[None] | None = None
        self._used: tuple[str, str] = ("", "")

    def use(self, token: str, api_url: str) -> None:
        """Connects with this app token (xapp-…); an empty one ends it. At the start, and at each reload."""
        if (token, api_url) == self._used:
            return
        self._used = (token, api_url)
        if self._task is not None:
            self._task.cancel()
        self._task = asyncio.create_task(self._run(token, api_url), name="slack-socket") if token else None

    async def close(self) -> None:
        """Ends the connection."""
        task, self._task, self._used = self._task, None, ("", "")
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def answer(self, envelope: Mapping[str, Any]) -> dict[str, Any] | None:
        """What an envelope is acknowledged with. Raises `NotTakenError`."""
        payload, trace = envelope.get("payload"), trace_id(None)
        try:
            if envelope.get("type") == "slash_commands":
                return await self._desk.command(slack.command(payload or {}), trace)
            if envelope.get("type") == "interactive" and (said := slack.interaction(payload)) is not None:
                return await self._desk.interaction(said, trace)
        except Unreadable as e:
            log.warning("an envelope of Socket Mode's cannot be read: %s", e, extra={"where": e.where})
        return None

    async def _run(self, token: str, api_url: str) -> None:
        """Connects, and connects again: the new one first, where the old one still works."""
        delay = self._first
        current: _Client | None = None
        loop = asyncio.get_running_loop()
        try:
            while True:
                began = loop.time()
                try:
                    client = await self._connected(token, api_url)
                except (SlackApiError, aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
                    log.warning("Slack's Socket Mode cannot be reached: %s", _cause(e), extra={"again_in": delay})
                else:
                    log.info("Slack's Socket Mode is connected")
                    self._metrics.slack_socket_up.set(1)
                    current, old = client, current
                    if old is not None:
                        await old.close()
                    await client.gone.wait()
                    if loop.time() - began >= GOOD:
                        delay = self._first
                if current is not None and (current.current_session is None or current.current_session.closed):
                    self._metrics.slack_socket_up.set(0)
                await asyncio.sleep(delay)
                delay = min(delay * 2, self._longest)
        finally:
            self._metrics.slack_socket_up.set(0)
            if current is not None:
                await current.close()

    async def _connected(self, token: str, api_url: str) -> _Client:
        """A client with a connection. Raises what the SDK and aiohttp raise, and TimeoutError."""
        client = _Client(self, token, _api(api_url))
        try:
            async with asyncio.timeout(CONNECTS_WITHIN):
                client.wss_uri = await client.issue_new_wss_url()
                # It tries again by itself, on what is an address for one use only: the time is what ends it.
                await client.connect()  # type: ignore[no-untyped-call]  # the SDK's
        except BaseException:
            await client.close()
            raise
        return client


def _api(url: str) -> AsyncWebClient:
    api = AsyncWebClient(base_url=url, retry_handlers=[], timeout=10)
    api.proxy = None
    return api


def _cause(error: Exception) -> str:
    """Slack's own word, or the kind of failure: an error's text could hold the connection's ticket."""
    return str(error.response.get("error", "")) if isinstance(error, SlackApiError) else type(error).__name__
