"""Which incident of PagerDuty's is which of ours.

A webhook may come without the key that we gave to its incident. So what was said of an incident once is remembered, and
what was never said is asked.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from alertbot.sources.pagerduty import is_ours
from alertbot.store.base import Store

#: Ids known to be written down already.
REMEMBERED: Final = 10_000
#: PagerDuty's id → the keys of its alerts. Raises what its asker knows.
Ask = Callable[[str], Awaitable[list[str]]]


class RemoteKeys:
    """`ask` is None where there is no token to ask with."""

    def __init__(self, store: Store) -> None:
        self.ask: Ask | None = None
        self._store = store
        self._written: dict[str, str] = {}

    async def key_of(self, remote: str, said: str) -> str:
        """See `alertbot.web.ports.Bot.remote_key`; raises also what `ask` raises."""
        if said or not remote:
            await self._remember(remote, said)
            return said
        known = self._written.get(remote) or await self._store.get_meta(_meta(remote)) or ""
        if known or self.ask is None:
            return known
        key = next(filter(is_ours, await self.ask(remote)), "")
        await self._remember(remote, key)
        return key

    async def _remember(self, remote: str, key: str) -> None:
        if not remote or not is_ours(key) or self._written.get(remote) == key:
            return
        await self._store.set_meta(_meta(remote), key)
        if len(self._written) >= REMEMBERED:
            self._written.clear()
        self._written[remote] = key


def _meta(remote: str) -> str:
    return f"pagerduty:{remote}"
