"""Who deploys tells us, and Sentry: each by its own signature or token, answered once what it says is durable."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import parse_qs

from aiohttp import hdrs, web

from alertbot.domain.events import AlertsReported, Unreadable
from alertbot.sources import SOURCES
from alertbot.web import shapes, signatures
from alertbot.web.body import read_body
from alertbot.web.door import AlertCounters
from alertbot.web.errors import SOURCE, Refused, request_trace_id
from alertbot.web.ports import Bot
from alertbot.web.routes import Handler

log = logging.getLogger(__name__)

Genuine = Callable[[web.Request, str, bytes], bool]

#: Each sender, and whether a request is its own: by the secret, the request and the raw body.
SENDERS: Final[Mapping[str, Genuine]] = {
    "github": lambda r, secret, body: signatures.github(secret, body, r.headers.get("X-Hub-Signature-256")),
    "vercel": lambda r, secret, body: signatures.vercel(secret, body, r.headers.get("x-vercel-signature")),
    "railway": lambda r, secret, body: signatures.token(secret, r.match_info["token"]),
    "argocd": lambda r, secret, body: signatures.token(secret, _bearer(r)),
    "sentry": lambda r, secret, body: signatures.sentry(secret, body, r.headers.get("Sentry-Hook-Signature")),
}


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def signed_webhook(bot: Bot, sender: str) -> Handler:
    """`POST /webhooks/<sender>`. What tells of no deploy or alert is answered 200 too, and not kept."""
    genuine, parse = SENDERS[sender], SOURCES[sender]

    async def handle(request: web.Request) -> web.Response:
        request[SOURCE] = sender
        body = await read_body(request, bot.view.max_body)
        secret = bot.view.webhook_secrets.get(sender, "")
        if not secret:
            raise Refused(401, f"web.{sender}_webhook_secret is not set, so nothing can be known for {sender}'s own")
        if not genuine(request, secret, body):
            raise Refused(401, "the signature or token is wrong or missing")
        if request.content_type == "application/x-www-form-urlencoded":
            # GitHub's other way to send the same JSON, and the one that its page offers first.
            body = parse_qs(body.decode("utf-8", "replace")).get("payload", [""])[0].encode()
        try:
            parsed = parse(body, bot.clock())
        except Unreadable as e:
            raise Refused(400, str(e), e.where) from None
        if parsed.events:
            await bot.accept(sender, body, parsed, request_trace_id(request))
            if isinstance(parsed.events[0], AlertsReported):
                AlertCounters(bot.metrics, sender).add(parsed)
        answer = shapes.Accepted(accepted=parsed.accepted, set_aside=0)
        return web.Response(body=answer.model_dump_json().encode(), content_type="application/json")

    return handle
