"""Slack and PagerDuty under a storm, each in a process of its own: `python -m bench.storm_sinks slack [--instant]`.

Without `--instant` it is the stand-in of the tests, with the provider's rules and limits. With it everything is taken
at once and unread, by a server that costs next to nothing. Either way only what the measurement needs is kept:

    GET /_standin/progress   how far it is, cheap enough to ask often
    GET /_standin/record     all that was taken
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import signal
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import uvloop
from aiohttp import web

from tests.standins.pagerduty import PagerDutyStandin
from tests.standins.server import Call, Reply
from tests.standins.slack import SlackStandin

#: Each alert of a storm has a name of its own: wherever this stands, the alert is named.
NAME: Final = re.compile(r"Storm\d{5}")
#: What stands for many says how many of them are open.
BOARD: Final = re.compile(r"(\d+) of (\d+) incidents are open")
#: In the first line of a message, that what it is about is over.
ENDED: Final = re.compile(r"\[RESOLVED\]|\bresolved\b")


def names(text: str) -> set[str]:
    """The alerts that a text names."""
    return set(NAME.findall(text))


class Tally(Protocol):
    """What is kept of the calls to a provider."""

    def heard(self, at: float, method: str, params: dict[str, Any], status: int, body: Any) -> None: ...

    def progress(self) -> dict[str, Any]: ...

    def record(self) -> dict[str, Any]: ...


class Calls:
    """When the last one came, and how many were refused for their number."""

    def __init__(self) -> None:
        self.last = 0.0
        self.limited = 0

    def took(self, at: float, status: int, body: Any) -> bool:
        """Whether it was taken."""
        self.last = at
        self.limited += status == 429
        return status < 300 and not (isinstance(body, dict) and body.get("error"))


class Pages:
    """PagerDuty: when each alert was first on an open page, what is open, and how often a page was opened."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.paged: dict[str, float] = {}
        self.open: set[str] = set()
        self.opened = 0

    def heard(self, at: float, method: str, params: dict[str, Any], status: int, body: Any) -> None:
        if not self.calls.took(at, status, body) or method != "/v2/enqueue":
            return
        action, key = params["event_action"], params["dedup_key"]
        if action == "resolve":
            self.open.discard(key)
        elif action == "trigger":
            self.opened += key not in self.open
            self.open.add(key)
            # A page names its alerts in the summary and in custom_details, a storm's page all that it stands for.
            for name in names(json.dumps(params["payload"])):
                self.paged.setdefault(name, at)

    def progress(self) -> dict[str, Any]:
        return {"last": self.calls.last, "paged": len(self.paged), "open": len(self.open)}

    def record(self) -> dict[str, Any]:
        return {"limited": self.calls.limited, "paged": self.paged, "opened": self.opened, "open": len(self.open)}


class Messages:
    """Slack: of each alert whether its newest message says that it is over, and what the boards say of theirs."""

    def __init__(self) -> None:
        self.calls = Calls()
        self.ended: dict[str, bool] = {}
        self.boards: dict[str, tuple[int, int]] = {}
        """Message → how many are open, of how many."""
        self.posts: list[tuple[float, str]] = []
        self.edits = 0

    def heard(self, at: float, method: str, params: dict[str, Any], status: int, body: Any) -> None:
        if not self.calls.took(at, status, body):
            return
        if method == "chat.update":
            self.edits += 1
            self._show(f"{params['channel']}/{params['ts']}", params)
        elif method == "chat.postMessage":
            reply = bool(params.get("thread_ts"))
            if not reply or params.get("reply_broadcast"):
                self.posts.append((at, body["channel"]))
            if not reply:
                self._show(f"{body['channel']}/{body['ts']}", params)

    def _show(self, key: str, params: dict[str, Any]) -> None:
        text = json.dumps([params.get("text"), params.get("blocks"), params.get("attachments")])
        if (board := BOARD.search(text)) is not None:
            self.boards[key] = (int(board[1]), int(board[2]))
            return
        ended = ENDED.search(_first_line(params)) is not None
        self.ended.update(dict.fromkeys(names(text), ended))

    def progress(self) -> dict[str, Any]:
        return {
            "last": self.calls.last,
            "told": len(self.ended) + sum(total for _, total in self.boards.values()),
            "settled": sum(self.ended.values()) + sum(total - still for still, total in self.boards.values()),
        }

    def record(self) -> dict[str, Any]:
        firing = sum(not ended for ended in self.ended.values()) + sum(still for still, _ in self.boards.values())
        counts = {"limited": self.calls.limited, "posts": self.posts, "edits": self.edits, "firing": firing}
        return {**self.progress(), **counts}


def _first_line(params: dict[str, Any]) -> str:
    """What people read first: alertbot's header, or Alertmanager's title."""
    for attachment in params.get("attachments") or ():
        return str(attachment.get("title"))
    for block in params.get("blocks") or ():
        if block.get("type") == "header":
            return str(block["text"]["text"])
    return str(params.get("text") or "")


class _Forgetful(list[Call]):
    """Retries of a storm would fill the memory."""

    def append(self, call: Call, /) -> None:
        pass


class Slack(SlackStandin):
    """The stand-in, counted."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.requests, self.tally = _Forgetful(), tally

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        reply = super().handle(request, endpoint, params)
        self.tally.heard(self.now(), endpoint, params, reply.status, reply.body)
        return reply

    def control(self, app: web.Application) -> None:
        super().control(app)
        _control(app, self.tally)


class PagerDuty(PagerDutyStandin):
    """The stand-in, counted."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.requests, self.tally = _Forgetful(), tally

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        reply = super().handle(request, endpoint, params)
        self.tally.heard(self.now(), endpoint, params, reply.status, reply.body)
        return reply

    def control(self, app: web.Application) -> None:
        super().control(app)
        _control(app, self.tally)


def _control(app: web.Application, tally: Tally) -> None:
    async def progress(_: web.Request) -> web.Response:
        return web.json_response(tally.progress())

    async def record(_: web.Request) -> web.Response:
        return web.json_response(tally.record())

    app.router.add_get("/_standin/progress", progress)
    app.router.add_get("/_standin/record", record)


class Instant(asyncio.Protocol):
    """Raw HTTP/1.1 with a Content-Length. `answer` gets the path and the JSON, and gives the status and the JSON."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], tuple[int, Any]]) -> None:
        self._answer = answer
        self._buffer = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while True:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return
            lower = head.lower()
            at = lower.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(rest) < length:
                return
            self._buffer = rest[length:]
            path = head.split(b" ", 2)[1].partition(b"?")[0].decode()
            body = rest[:length]
            sent = json.loads(body) if body[:1] == b"{" else {}
            status, said = self._answer(path, sent)
            text = json.dumps(said).encode()
            self._transport.write(
                b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (status, len(text), text)
            )


class Taker:
    """Takes everything, and answers what the provider answers where all is well."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._ts = 1_700_000_000_000_000

    def answer(self, path: str, params: dict[str, Any]) -> tuple[int, Any]:
        """The status and the body."""
        if path.startswith("/_standin/"):
            return 200, self._tally.progress() if path.endswith("progress") else self._tally.record()
        status = 200
        said: dict[str, Any] = {"ok": True}
        method = path.removeprefix("/api/")
        if path == "/v2/enqueue":
            status, said = 202, {"status": "success", "message": "Event processed", "dedup_key": params["dedup_key"]}
        elif method == "chat.postMessage":
            self._ts += 1
            channel = str(params["channel"])
            # A channel has one id, whether it is called by that or by its name.
            channel = "C0" + channel[1:].replace("-", "").upper() if channel.startswith("#") else channel
            said |= {"channel": channel, "ts": f"{self._ts // 10**6}.{self._ts % 10**6:06d}"}
        elif method == "chat.update":
            said |= {"channel": params["channel"], "ts": params["ts"]}
        else:
            said |= {"channels": [], "messages": []}
        self._tally.heard(time.time(), method, params, status, said)
        return status, said


async def run(kind: str, instant: bool) -> None:
    """Until told to end."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    tally: Tally = Messages() if kind == "slack" else Pages()
    if instant:
        taker = Taker(tally)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: Instant(taker.answer), "127.0.0.1", 0, backlog=4096)
        print(server.sockets[0].getsockname()[1], flush=True)
        await ended.wait()
        server.close()
        return
    async with Slack(tally) if kind == "slack" else PagerDuty(tally) as standin:
        print(standin.port, flush=True)
        await ended.wait()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.storm_sinks", description=__doc__)
    parser.add_argument("kind", choices=("slack", "pagerduty"))
    parser.add_argument("--instant", action="store_true")
    given = parser.parse_args()
    uvloop.run(run(given.kind, given.instant))


if __name__ == "__main__":
    main()
