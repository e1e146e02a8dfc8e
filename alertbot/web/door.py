"""Where webhooks come in: limits, credentials, and a 2xx only once what came is durable."""

from __future__ import annotations

import logging
from typing import Final

from aiohttp import web

from alertbot.domain.events import AlertsReported, Parsed, Unreadable
from alertbot.sources import alertmanager, pagerduty
from alertbot.telemetry import Metrics
from alertbot.web import signatures
from alertbot.web.auth import authenticate
from alertbot.web.body import read_body
from alertbot.web.errors import SOURCE, Refused, request_trace_id
from alertbot.web.ports import Bot, RemoteUnknown

log = logging.getLogger(__name__)

#: Larger bodies are read in slices, so that the loop is not kept from others: at this size a body takes about
#: 2 ms.
LARGE: Final = 256 * 1024


class Door:
    """`POST /webhooks/alertmanager`, `/webhooks/pagerduty`."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._counted = AlertCounters(bot.metrics, "alertmanager")

    async def alertmanager(self, request: web.Request) -> web.Response:
        """Takes the alerts of one body.

        Alertmanager sends a body again until it hears a 2xx, so that comes last.
        """
        request[SOURCE] = "alertmanager"
        bot, view = self._bot, self._bot.view
        authenticate(request, view.webhook_tokens, basic=True)
        body = await read_body(request, view.max_body)
        now = bot.clock()
        try:
            if len(body) > LARGE:
                parsed = await alertmanager.parse_in_slices(body, now)
            else:
                parsed = alertmanager.parse(body, now)
        except Unreadable as e:
            # A 4xx, for no repeat can mend it: but Alertmanager sends it again every group_interval all the
            # same.
            log.warning(
                "a webhook body is unreadable",
                extra={
                    "trace_id": request_trace_id(request),
                    "cause": str(e),
                    "where": e.where,
                    "bytes": len(body),
                },
            )
            raise Refused(400, str(e), e.where) from None
        await bot.accept("alertmanager", body, parsed, request_trace_id(request))
        self._counted.add(parsed)
        answer = b'{"accepted": %d, "set_aside": %d}' % (parsed.accepted, len(parsed.set_aside))
        return web.Response(body=answer, content_type="application/json")

    async def pagerduty(self, request: web.Request) -> web.Response:
        """Takes one event. PagerDuty repeats for two days what is answered with a 5xx, and drops what gets a 4xx; after
        three of those it sends nothing for a day.
        """
        request[SOURCE] = "pagerduty"
        bot, view = self._bot, self._bot.view
        body = await read_body(request, view.max_body)
        secret = view.pagerduty_webhook_secret
        if not signatures.pagerduty(secret, body, request.headers.get("X-PagerDuty-Signature")):
            why = (
                "not signed with global.pagerduty_webhook_secret"
                if secret
                else "global.pagerduty_webhook_secret is not set"
            )
            raise Refused(401, why, "X-PagerDuty-Signature")
        try:
            named = pagerduty.named(body)
            key = await bot.remote_key(named.remote, named.key) if named.matters else ""
            if key and not named.key:
                body = pagerduty.with_key(body, key)
            parsed = pagerduty.parse(body, bot.clock())
        except Unreadable as e:
            raise Refused(400, str(e), e.where) from None
        except RemoteUnknown as e:
            raise Refused(503, f"nothing was taken, try again: {e}") from None
        if parsed.events:
            await bot.accept("pagerduty", body, parsed, request_trace_id(request))
        return web.json_response({"accepted": parsed.accepted, "set_aside": 0})


class AlertCounters:
    """The metrics of one sender's alerts, with their labels looked up once."""

    def __init__(self, metrics: Metrics, source: str) -> None:
        self._firing = metrics.alerts_received.labels(source, "firing")
        self._resolved = metrics.alerts_received.labels(source, "resolved")
        self._set_aside = metrics.alerts_set_aside.labels(source)

    def add(self, parsed: Parsed) -> None:
        """Counts the alerts of one body."""
        for event in parsed.events:
            if isinstance(event, AlertsReported):
                firing = sum(alert.firing for alert in event.alerts)
                self._firing.inc(firing)
                self._resolved.inc(len(event.alerts) - firing)
        if parsed.set_aside:
            self._set_aside.inc(len(parsed.set_aside))
