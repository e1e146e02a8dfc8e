"""A destination that keeps failing is tried only now and then, by one replica at a time, until it answers.

What is known of a lane's failures is a `Breaker`, and None of one that answers. Each function here is a change of that,
for `Store.breaker`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

#: Failed attempts in a row after which a lane is broken.
BREAKS_AFTER: Final = 5
#: The first pause before it is tried again, the longest in the first minutes, and that of one that stays dead.
FIRST_PROBE: Final = timedelta(seconds=2)
LONGEST_PROBE: Final = timedelta(seconds=15)
RARE_PROBE: Final = timedelta(minutes=1)
RARE_AFTER: Final = 30
#: As long as whoever tries it may take; of one that dies meanwhile nothing else is heard.
PROBE: Final = timedelta(minutes=1)
#: What nobody tried for so long nothing waits for, and nothing is known of it any more.
FORGOTTEN_AFTER: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Breaker:
    """One lane's failures since it last answered. `integration` and `to` are what may be shown of it."""

    integration: str
    to: str
    failures: int = 0
    failed_at: datetime | None = None
    error: str = ""
    opened: datetime | None = None
    """Since when the lane is broken; None: it failed less often than that."""
    probes: int = 0
    until: datetime | None = None
    """A broken lane is not tried before."""
    probe: str = ""
    """The lease of the claim that it is being tried with now."""

    def closed(self, now: datetime) -> bool:
        """Nobody may try it now."""
        return self.until is not None and self.until > now

    def again(self, now: datetime) -> datetime:
        """When what waits for a broken lane is to be due: the attempt that is being made may end it soon."""
        return now + FIRST_PROBE if self.probe else max(self.until or now, now)

    def forgotten(self, now: datetime) -> bool:
        """Nobody has tried it for long."""
        return self.failed_at is not None and now - self.failed_at >= FORGOTTEN_AFTER and not self.closed(now)


def failed(breaker: Breaker, lane: str, lease: str, now: datetime, error: str) -> Breaker:
    """One more failure, of an attempt with this lease.

    One that began before the lane broke does not put off the next try: it says nothing new.
    """
    breaker = replace(breaker, failures=breaker.failures + 1, failed_at=now, error=error)
    if breaker.failures < BREAKS_AFTER or (breaker.opened is not None and breaker.probe != lease):
        return breaker
    longest = LONGEST_PROBE if breaker.probes < RARE_AFTER else RARE_PROBE
    pause = min(FIRST_PROBE * (1 << min(breaker.probes, 8)), longest)
    probes = breaker.probes + 1
    # Less up to a quarter, so that not all lanes come back at once.
    spread = hashlib.sha256(f"{lane}\n{probes}".encode()).digest()[0] / 255
    until = now + pause * (1 - spread / 4)
    return replace(breaker, opened=breaker.opened or now, probes=probes, until=until, probe="")


def probed(breaker: Breaker | None, lease: str, now: datetime) -> Breaker | None:
    """It is tried with this lease, where nobody else tries it and its pause is over; else as it was."""
    if breaker is None or breaker.opened is None or breaker.closed(now):
        return breaker
    return replace(breaker, probe=lease, until=now + PROBE)


def released(breaker: Breaker | None, lease: str, now: datetime) -> Breaker | None:
    """It was not tried with this lease after all."""
    return breaker if breaker is None or breaker.probe != lease else replace(breaker, probe="", until=now)


def abandoned(breaker: Breaker) -> Breaker:
    """Whoever tried it is dead: there is nobody else who could."""
    return replace(breaker, probe="", until=breaker.failed_at) if breaker.probe else breaker


def sooner(breaker: Breaker | None, at: datetime) -> Breaker | None:
    """It is to be tried at this time already."""
    if breaker is None or breaker.until is None or breaker.probe:
        return breaker
    return replace(breaker, until=min(breaker.until, at))
