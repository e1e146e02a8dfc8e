"""The budgets of a bot, in its store: they outlive a restart, and are one for all who share it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from alertbot.clock import Clock
from alertbot.domain.budgets import COUNTED, CRITICAL, KEPT, RATES, Budget, Rate
from alertbot.notifiers.base import Limiter
from alertbot.store.base import Store


@dataclass(slots=True)
class StoredLimiter:
    """Asked before each call to a provider: an `alertbot.notifiers.base.Limiter`."""

    store: Store
    clock: Clock
    rates: Mapping[str, Rate] = field(default_factory=lambda: RATES)

    async def spend(self, what: str, whose: str, urgency: int, method: str = "") -> datetime | None:
        """None: the call may be made, and is counted. Else when to ask again.

        With `method` also what the provider itself has closed (`put_off`) counts.
        """
        wanted = [self.budget(what, whose, urgency)]
        if method:
            wanted.append(Budget(method, COUNTED, timedelta(seconds=1)))
        return await self.store.spend(wanted, self.clock.now())

    async def left(self, what: str, whose: str, urgency: int = CRITICAL) -> int:
        """How many calls may be made now."""
        return await self.store.calls_left(self.budget(what, whose, urgency), self.clock.now())

    async def put_off(self, key: str, after: timedelta) -> datetime:
        """The provider asked for a pause (Retry-After) of what is named by a key. Returns its end."""
        until = self.clock.now() + after
        await self.store.close_budget(key, until)
        return until

    def budget(self, what: str, whose: str, urgency: int = CRITICAL) -> Budget:
        """The budget of one channel, workspace, key or address."""
        rate = self.rates[what]
        return Budget(f"{what}:{whose}", rate.count, rate.per, int(rate.count * KEPT[urgency]))


@dataclass(frozen=True, slots=True)
class WhileOurs:
    """A limiter that lets a call be made only while `ours` says that what is worked on is still this replica's.

    Asked after the call was counted: whoever is paused there for long must not make it. A page that is triggered after
    another replica resolved it would stay open.
    """

    limiter: Limiter
    clock: Clock
    ours: Callable[[], Awaitable[bool]]

    async def spend(self, what: str, whose: str, urgency: int, method: str = "") -> datetime | None:
        """As the limiter says; what is not ours any more is for later, and by then another's."""
        until = await self.limiter.spend(what, whose, urgency, method)
        return self.clock.now() if until is None and not await self.ours() else until

    async def put_off(self, key: str, after: timedelta) -> datetime:
        return await self.limiter.put_off(key, after)
