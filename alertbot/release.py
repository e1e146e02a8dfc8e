"""Before what a deploy or a maintenance held is released, Alertmanager is asked what of it still fires.

What it does not have any more is resolved, and pages nobody. Where it does not answer in time, what was held is
released.
The answer is an event; a crash before it only means that the release comes when the wait is over.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import msgspec

from alertbot.alertmanager import Alertmanager
from alertbot.clock import Clock
from alertbot.domain.model import Alert
from alertbot.domain.windows import ASKING, Window
from alertbot.store.base import Keys, Store, StoreError

log = logging.getLogger("alertbot.release")

#: How long Alertmanager has to answer: a bit less than the release waits.
ANSWERS_WITHIN: Final = ASKING - timedelta(milliseconds=500)


class Release:
    """See the module's text. `is_theirs` says whether an alert is one that Alertmanager must know; `accept` takes an
    event (its source and body).
    """

    def __init__(
        self,
        store: Store,
        clock: Clock,
        alertmanager: Callable[[], Alertmanager | None],
        is_theirs: Callable[[Alert], bool],
        accept: Callable[[str, bytes], Awaitable[None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._alertmanager = alertmanager
        self._is_theirs = is_theirs
        self._accept = accept
        self._asking: dict[str, asyncio.Task[None]] = {}
        self._looks: set[asyncio.Task[None]] = set()

    @property
    def under_way(self) -> int:
        """Questions that are being asked."""
        return len(self._looks) + len(self._asking)

    def wake(self) -> None:
        """A window waits for Alertmanager's word."""
        look = asyncio.create_task(self._look(), name="release")
        self._looks.add(look)
        look.add_done_callback(self._looks.discard)

    async def close(self) -> None:
        """Asks nothing more. What waits is released when its wait is over."""
        tasks = [*self._looks, *self._asking.values()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _look(self) -> None:
        try:
            windows = await self._store.windows(self._clock.now())
        except StoreError as e:
            log.warning("the store is away: what a window held is released without asking", extra={"error": str(e)})
            return
        for window in windows:
            if window.asked_at is not None and not window.over and window.id not in self._asking:
                task = asyncio.create_task(self._ask(window), name=f"release {window.id}")
                self._asking[window.id] = task
                task.add_done_callback(lambda _, name=window.id: self._asking.pop(name, None))  # type: ignore[misc]

    async def _ask(self, window: Window) -> None:
        try:
            loaded = await self._store.load(Keys(held_in=frozenset((window.id, *window.joined))))
            held = {a.fingerprint: a.identity for a in loaded.alerts if self._is_held(a)}
            alertmanager = self._alertmanager()
            said = None
            if alertmanager is not None and held:
                said = await alertmanager.still_firing(held, ANSWERS_WITHIN)
            gone = [held[fingerprint] for fingerprint, fires in (said or {}).items() if not fires]
            await self._accept("release", msgspec.json.encode({"window": window.id, "gone": gone}))
        except StoreError as e:
            log.warning("what Alertmanager said could not be stored", extra={"window": window.id, "error": str(e)})

    def _is_held(self, alert: Alert) -> bool:
        return alert.firing and alert.current and alert.hold is not None and self._is_theirs(alert)
