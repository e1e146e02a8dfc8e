"""Slack's requests: `POST /slack/commands` and `POST /slack/interactions`, each by Slack's own signature.

Slack shows nothing of an error's body, and nothing at all after three seconds: whatever a person is to read comes with
a 200. An answer other than 200 is for what is not Slack's, and for a press that nobody could be told the fate of.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from alertbot.commands.desk import NotTakenError
from alertbot.domain.events import Unreadable
from alertbot.sources import slack
from alertbot.web import signatures
from alertbot.web.body import read_body
from alertbot.web.errors import SOURCE, Refused, request_trace_id
from alertbot.web.ports import Bot

#: A press brings the whole message with it: 50 blocks of 3,000 characters, and more.
MAX_BODY: Final = 1024 * 1024


class Slack:
    """The handlers."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._seen: dict[str, datetime] = {}
        """Signatures, and until when. Each replica has its own: what a balancer sends to another one because this one
        died is to be done, and what is not to be done twice the desk knows."""

    async def commands(self, request: web.Request) -> web.Response:
        """A slash command."""
        body = await self._genuine(request)
        try:
            typed = slack.command(slack.form(body))
        except Unreadable as e:
            raise Refused(400, str(e), e.where) from None
        return web.json_response(await self._bot.desk.command(typed, request_trace_id(request)))

    async def interactions(self, request: web.Request) -> web.Response:
        """A button, a menu, a dialog."""
        body = await self._genuine(request)
        try:
            said = slack.interaction(slack.payload(slack.form(body)))
        except Unreadable as e:
            raise Refused(400, str(e), e.where) from None
        if said is None:
            return web.Response()
        try:
            answer: Any = await self._bot.desk.interaction(said, request_trace_id(request))
        except NotTakenError:
            raise Refused(503, "nothing was taken, try again") from None
        return web.json_response(answer) if answer is not None else web.Response()

    async def _genuine(self, request: web.Request) -> bytes:
        """The body of a request that Slack signed, and that comes for the first time. Raises `Refused`."""
        request[SOURCE] = "slack"
        body = await read_body(request, MAX_BODY)
        secret = self._bot.view.slack_signing_secret
        timestamp, signature = (request.headers.get(f"X-Slack-{n}") for n in ("Request-Timestamp", "Signature"))
        why = ""
        if not secret:
            why = "global.slack_signing_secret is not set"
        elif not signatures.slack(secret, body, timestamp, signature, self._bot.clock().timestamp()):
            why = "not signed by Slack within the last five minutes"
        elif not self._first(str(signature)):
            # Slack signs each request anew, and repeats neither commands nor presses.
            why = "this very request came before"
        if why:
            raise Refused(401, why, "X-Slack-Signature")
        return body

    def _first(self, signature: str) -> bool:
        now = self._bot.clock()
        while self._seen and self._seen[oldest := next(iter(self._seen))] <= now:
            del self._seen[oldest]
        if signature in self._seen:
            return False
        # What is older than the window is refused for its age.
        self._seen[signature] = now + timedelta(seconds=2 * signatures.SLACK_WINDOW)
        return True
