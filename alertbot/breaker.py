"""A destination that keeps failing is tried only now and then, until it answers."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

#: Failed attempts in a row after which a lane is broken.
BREAKS_AFTER: Final = 5
#: The first pause before it is tried again, the longest in the first minutes, and that of one that stays dead.
FIRST_PROBE: Final = timedelta(seconds=2)
LONGEST_PROBE: Final = timedelta(seconds=15)
RARE_PROBE: Final = timedelta(minutes=1)
RARE_AFTER: Final = 30


@dataclass(slots=True)
class Breaker:
    """One lane's failures since it last answered. `integration` and `to` are what may be shown of it."""

    lane: str
    integration: str = ""
    to: str = ""
    failures: int = 0
    opened: datetime | None = None
    probes: int = 0
    error: str = ""

    def failed(self, now: datetime, error: str) -> datetime | None:
        """One more. Returns when to try again, where the lane is broken by now."""
        self.failures += 1
        self.error = error
        if self.failures < BREAKS_AFTER:
            return None
        self.opened = self.opened or now
        longest = LONGEST_PROBE if self.probes < RARE_AFTER else RARE_PROBE
        pause = min(FIRST_PROBE * (1 << min(self.probes, 8)), longest)
        self.probes += 1
        # Less up to a quarter, so that not all lanes and replicas come back at once.
        spread = hashlib.sha256(f"{self.lane}\n{self.probes}".encode()).digest()[0] / 255
        return now + pause * (1 - spread / 4)
