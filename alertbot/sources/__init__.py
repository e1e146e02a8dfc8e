"""What comes in: bytes to events, one file per sender, no I/O.

The live bot and `alertbot replay` read through the same registry, so that what was recorded is understood as
it was when it came in. A new sender is a file here and a line in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from alertbot.domain.events import Parsed
from alertbot.sources import actions, alertmanager

#: Reads one body. The time is when it came in. Raises `Unreadable` where no part of it makes sense.
Parser = Callable[[bytes, datetime], Parsed]

#: The raw event's `source` to its parser. "alertmanager" takes Grafana's alerting webhook too.
SOURCES: Final[Mapping[str, Parser]] = MappingProxyType(
    {
        "alertmanager": alertmanager.parse,
        "acknowledge": actions.acknowledge,
        "resolve": actions.resolve,
        "note": actions.note,
        "escalate": actions.escalate,
        "test": actions.test,
        "kept_failing": actions.kept_failing,
        "tick": actions.tick,
    }
)
