"""Which recent deploys an incident's alerts may come from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

from alertbot.domain.deploys import Deploy, DeploySettings, Suspect, suspects
from alertbot.domain.model import Alert

#: Alerts that are looked at, and suspects that are named.
LOOKED_AT: Final = 20
NAMED: Final = 5


#: The deploys heard of since a time.
Heard = Callable[[datetime], Awaitable[Sequence[Deploy]]]


async def suspects_of(
    heard: Heard, settings: DeploySettings, incidents: Sequence[Sequence[Alert]]
) -> list[tuple[Suspect, ...]]:
    """Of each incident's alerts. One look at our own store."""
    looked_at = [sorted(alerts, key=lambda a: (not a.firing, a.starts_at))[:LOOKED_AT] for alerts in incidents]
    starts = [a.starts_at for alerts in looked_at for a in alerts]
    deploys = await heard(min(starts) - settings.lookback - 2 * settings.max_duration) if starts else ()
    return [_suspects(deploys, settings, alerts) for alerts in looked_at]


def _suspects(deploys: Sequence[Deploy], settings: DeploySettings, alerts: Sequence[Alert]) -> tuple[Suspect, ...]:
    """The likeliest first, each deploy once: by the alert that it fits best."""
    best: dict[str, Suspect] = {}
    for alert in alerts if deploys else ():
        for suspect in suspects(deploys, alert.labels, alert.starts_at, settings):
            known = best.get(suspect.deploy.id)
            if known is None or suspect.score > known.score:
                best[suspect.deploy.id] = suspect
    found = sorted(best.values(), key=lambda s: ("service" not in s.agreeing, -s.score, s.after, s.deploy.id))
    return tuple(found[:NAMED])
