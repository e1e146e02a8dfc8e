"""`/metrics` and `/-/`: as Prometheus does them."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web
from prometheus_client.aiohttp import make_aiohttp_handler

from alertbot.store.base import StoreError
from alertbot.telemetry import Metrics
from alertbot.web import shapes
from alertbot.web.errors import error_response
from alertbot.web.ports import Bot, ReloadRefused
from alertbot.web.routes import Handler

#: Seconds that a scrape waits for the store. Prometheus gives up after 10.
STORE_ANSWERS_WITHIN = 2.0


class Operate:
    """The handlers."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        exposition: Any = make_aiohttp_handler(bot.metrics.registry, disable_compression=True)
        self._exposition: Handler = exposition

    async def metrics(self, request: web.Request) -> web.Response:
        """The metrics; the sizes of what is stored are read now.

        A store that is away shows as `alertbot_store_up 0`.
        """
        self._bot.metrics.broken.clear()
        for destination in self._bot.broken():
            self._bot.metrics.broken.labels(destination.integration).inc()
        await self._read_sizes(self._bot.metrics)
        return await self._exposition(request)

    async def healthy(self, request: web.Request) -> web.Response:
        """The process runs and its loop turns."""
        return web.Response(text="alertbot is healthy.\n")

    async def ready(self, request: web.Request) -> web.Response:
        """Requests make sense."""
        ready, why = self._bot.readiness()
        return web.Response(text="alertbot is ready.\n") if ready else error_response(503, why)

    async def reload(self, request: web.Request) -> web.Response:
        """Takes the config as it stands now. A bad one is refused whole, with 500 as Prometheus does."""
        try:
            warnings = await self._bot.reload()
        except ReloadRefused as e:
            error = "the config is wrong, and the one in use stays"
            return error_response(500, error, problems=e.problems)
        return web.Response(
            body=shapes.Reloaded(warnings=warnings).model_dump_json().encode(),
            content_type="application/json",
        )

    async def _read_sizes(self, metrics: Metrics) -> None:
        try:
            async with asyncio.timeout(STORE_ANSWERS_WITHIN):
                stats = await self._bot.store.stats(self._bot.clock())
        except (StoreError, TimeoutError):
            metrics.store_up.set(0)
            return
        metrics.store_up.set(1)
        metrics.outbox_due.set(stats.due_deliveries)
        metrics.parked.set(stats.parked)
        metrics.events_undecided.set(stats.undecided)
        metrics.open_incidents.set(stats.open_incidents)
        metrics.storms.set(stats.storms)
        metrics.folded.set(stats.folded)
