"""What people did a moment ago: what Slack sends again, to whichever replica, is no second act."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Final

from alertbot.store.base import Store, StoreError

#: How long an act is held while it is being made durable, and how long it is remembered after that.
UNDER_WAY: Final = timedelta(seconds=15)
LASTING: Final = timedelta(hours=1)


class Once:
    """Remembers in the store. An act without a name ("") is harmless twice, and is always the first.

    In doubt an act may be done again. Until it is durable it is held for seconds only, so that of a replica that dies
    in between nothing is taken for done that nobody did: a step escalated or a note written twice is a nuisance, one
    that is lost while somebody relies on it is not.
    """

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store = store
        self._clock = clock

    async def first(self, what: str) -> bool:
        """Whether nobody has done this lately, nor does it now. Raises `StoreError`: then no act can be taken."""
        now = self._clock()
        return not what or await self._store.once(what, now, now + UNDER_WAY)

    async def done(self, what: str) -> None:
        """It is durable."""
        await self._remember(what, self._clock() + LASTING)

    async def forget(self, what: str) -> None:
        """It was not done after all."""
        await self._remember(what, self._clock())

    async def _remember(self, what: str, until: datetime) -> None:
        if what:
            with suppress(StoreError):  # then it is held for the seconds that it was held for
                await self._store.remember(what, until)
