"""alertbot's own heartbeat: a dead man's switch hears of it while it can do its work, and of nothing when it cannot."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta

import aiohttp

log = logging.getLogger("alertbot.life")

#: Seconds that one report may take.
TIMEOUT = 10.0


class Life:
    """Reports to `url` once every `every`. `ailing` says why it must not, empty while all is well.

    A report is a GET, which every such service takes; the address is a secret, and is not logged.
    """

    def __init__(self, ailing: Callable[[], str]) -> None:
        self._ailing = ailing
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    async def use(self, url: str, every: timedelta, session: aiohttp.ClientSession | None) -> None:
        """Takes another address (empty: none), and reports at once."""
        await self.close()
        if url and session is not None:
            self._task = asyncio.create_task(self._run(url, every.total_seconds(), session), name="life")

    async def close(self) -> None:
        """Stops reporting."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _run(self, url: str, seconds: float, session: aiohttp.ClientSession) -> None:
        while True:
            await self.report(url, session)
            await asyncio.sleep(seconds)

    async def report(self, url: str, session: aiohttp.ClientSession) -> bool:
        """One report, if there is nothing against it. Whether it arrived."""
        problem = self._ailing()
        if not problem:
            try:
                async with (
                    asyncio.timeout(TIMEOUT),
                    session.get(url, allow_redirects=False) as answer,
                ):
                    if answer.status >= 300:
                        problem = f"heartbeat_url answered {answer.status}"
            except (aiohttp.ClientError, TimeoutError, OSError) as e:
                problem = f"heartbeat_url cannot be reached: {type(e).__name__}"
        if problem != self._said:
            self._said = problem
            if problem:
                log.error("the dead man's switch does not hear of alertbot: %s", problem)
            else:
                log.info("the dead man's switch hears of alertbot")
        return not problem
