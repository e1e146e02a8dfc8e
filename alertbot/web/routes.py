"""The table of what is served.

The router, the access checks and the OpenAPI description are all made from it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from aiohttp import HttpVersion11, hdrs, web
from pydantic import BaseModel

from alertbot.web.auth import authenticate, is_bearer, refuse_foreign_pages
from alertbot.web.errors import SOURCE, Refused
from alertbot.web.ports import Bot

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Access(Enum):
    """Whose credentials a path asks for."""

    OPEN = "open"
    """Nobody's: probes and scrapes."""
    WEBHOOK = "webhook"
    """The sender's. The door itself checks them: it is a hot path."""
    SIGNED = "signed"
    """The sender's signature, or a token of its own: checked by the handler."""
    API = "api"
    """An API token, as Bearer; what changes something also has to come as JSON (see `_guarded`)."""
    OPERATE = "operate"
    """An API token, as Bearer; any content type, as for Prometheus's own `/-/reload`."""
    PAGE = "page"
    """An API token, as Bearer or as the password of a browser's login."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query parameter."""

    name: str
    description: str
    repeated: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method on one path. `answer` is a model of JSON, or a media type."""

    method: str
    path: str
    handler: Handler
    access: Access
    summary: str
    answer: type[BaseModel] | str
    body: type[BaseModel] | None = None
    query: tuple[Query, ...] = ()
    errors: tuple[int, ...] = ()


def add_routes(app: web.Application, bot: Bot, endpoints: tuple[Endpoint, ...]) -> None:
    """Adds every endpoint, with its access checks."""
    for e in endpoints:
        app.router.add_route(e.method, e.path, _guarded(e, bot), expect_handler=_continue)
        if e.access in (Access.WEBHOOK, Access.SIGNED):
            # Never a redirect: Go's client follows one with GET and an empty body, and the alert is lost.
            app.router.add_route(e.method, e.path + "/", e.handler, expect_handler=_continue)
        if e.method == hdrs.METH_GET:
            app.router.add_route(hdrs.METH_HEAD, e.path, _guarded(e, bot), expect_handler=_continue)


async def _continue(request: web.Request) -> None:
    """Tells a client that waits for it to send its body; any other expectation is passed over.

    aiohttp's own handler refuses others with a 417 that is no JSON, and with a 500 where they are not UTF-8.
    """
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue" and request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # As aiohttp does: the answer proper has not begun.
        request.writer.output_size = 0


def _guarded(endpoint: Endpoint, bot: Bot) -> Handler:
    """The handler behind the checks that its access asks for."""
    handler, access = endpoint.handler, endpoint.access
    if access in (Access.OPEN, Access.WEBHOOK, Access.SIGNED):
        return handler
    known: Final = frozenset(q.name for q in endpoint.query)
    changes = endpoint.method != hdrs.METH_GET
    source = "page" if access is Access.PAGE else "api"

    async def guarded(request: web.Request) -> web.Response:
        request[SOURCE] = source
        view = bot.view
        authenticate(request, view.api_tokens, basic=access is Access.PAGE)
        if changes:
            refuse_foreign_pages(request, view.external_url)
            # A page of another site can send a form, but not JSON, without asking first.
            if (
                endpoint.method == hdrs.METH_POST
                and access is Access.API
                and not is_bearer(request)
                and request.content_type != "application/json"
            ):
                raise Refused(415, "send Content-Type: application/json, or a Bearer token", "Content-Type")
        if access is Access.API and (unknown := request.query.keys() - known):
            raise Refused(400, f"no such parameter; there are: {', '.join(sorted(known)) or 'none'}", min(unknown))
        return await handler(request)

    return guarded
