"""Every error is answered with JSON that says what and where."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from alertbot.store.base import StoreError
from alertbot.telemetry import trace_id
from alertbot.web.ports import Bot

log = logging.getLogger(__name__)

#: Seconds after which a sender may try again while the store is away. Alertmanager ignores it and backs off
#: by itself.
RETRY_AFTER: Final = "5"

TRACE_ID: Final = web.RequestKey("trace_id", str)
#: Whose request it is, for `alertbot_requests_refused_total`.
SOURCE: Final = web.RequestKey("source", str)


class Refused(Exception):
    """The request is answered with an error, and changes nothing. `where` points into what was sent."""

    def __init__(self, status: int, error: str, where: str = "", headers: dict[str, str] | None = None) -> None:
        super().__init__(error)
        self.status = status
        self.error = error
        self.where = where
        self.headers = headers


def request_trace_id(request: web.Request) -> str:
    """The trace that this request belongs to: the caller's, or a new one."""
    known = request.get(TRACE_ID)
    if known is None:
        known = request[TRACE_ID] = trace_id(request.headers.get("traceparent"))
    return known


def error_response(
    status: int, error: str, where: str = "", headers: dict[str, str] | None = None, **more: Any
) -> web.Response:
    """An error as JSON."""
    body = msgspec.json.encode({"error": error, "where": where, **more})
    return web.Response(status=status, body=body, content_type="application/json", headers=headers)


class _Complaints:
    """A sender that is refused is lost without them: of each status and peer at most one a minute."""

    def __init__(self) -> None:
        self._quiet_until: dict[tuple[int, str], float] = {}

    def complain(self, request: web.Request, what: str, status: int, peer: str, **more: str) -> None:
        """Logs it, unless it did so a moment ago."""
        now = asyncio.get_running_loop().time()
        key = (status, peer)
        if now < self._quiet_until.get(key, 0.0):
            return
        if len(self._quiet_until) > 1000:
            self._quiet_until.clear()
        self._quiet_until[key] = now + 60.0
        log.warning(what, extra={"path": request.path, "peer": request.remote, "code": status, **more})


def middleware(bot: Bot) -> Any:
    """Turns what a handler raises into an answer, and counts it.

    The only middleware: the door is a hot path.
    """

    complaints = _Complaints()

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as e:
            if e.status in (401, 413):
                complaints.complain(request, f"a request was refused: {e.error}", e.status, request.remote or "")
            response = error_response(e.status, e.error, e.where, e.headers)
        except StoreError as e:
            # Nothing was taken. Alertmanager tries again at once after a 5xx, but not after a 4xx
            # (notify/util.go).
            # One line a minute for all senders: they all try again, and often.
            complaints.complain(request, "the store is away: requests are answered 503", 503, "", cause=str(e))
            error = "the store is away: nothing was taken, try again"
            response = error_response(503, error, headers={"Retry-After": RETRY_AFTER})
        except web.HTTPException as e:
            # aiohttp's own: no such path (404), not this method (405), Expect (417).
            headers = {"Allow": e.headers["Allow"]} if "Allow" in e.headers else None
            response = error_response(e.status, e.reason.lower(), headers=headers)
        except Exception:  # a defect of ours: the sender must hear it as JSON, and we must see it in the log
            trace = request_trace_id(request)
            log.exception("a request failed", extra={"trace_id": trace, "path": request.path})
            response = error_response(500, "internal error", trace_id=trace)
        bot.metrics.requests_refused.labels(request.get(SOURCE, "web"), str(response.status)).inc()
        return response

    return answer_errors
