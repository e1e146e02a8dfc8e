"""What comes in: bytes to events, one file per sender, no I/O.

The live bot and `alertbot replay` read through the same registry, so that what was recorded is understood as
it was when it came in. A new sender is a file here and a line in `SOURCES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Final

from alertbot.domain.deploys import DeployReport
from alertbot.domain.events import DeployReported, Parsed
from alertbot.sources import (
    actions,
    alertmanager,
    argocd,
    deploys,
    github,
    maintenance,
    pagerduty,
    railway,
    reconcile,
    sentry,
    vercel,
)

#: Reads one body. The time is when it came in. Raises `Unreadable` where no part of it makes sense.
Parser = Callable[[bytes, datetime], Parsed]


def _deploys(parse: Callable[[bytes, datetime], list[DeployReport]]) -> Parser:
    """What a sender of deploys says, as events."""

    def parsed(body: bytes, at: datetime) -> Parsed:
        reports = parse(body, at)
        return Parsed(tuple(DeployReported(report) for report in reports), len(reports))

    return parsed


#: The raw event's `source` to its parser. "alertmanager" takes Grafana's alerting webhook too.
SOURCES: Final[Mapping[str, Parser]] = MappingProxyType(
    {
        "alertmanager": alertmanager.parse,
        "acknowledge": actions.acknowledge,
        "resolve": actions.resolve,
        "note": actions.note,
        "escalate": actions.escalate,
        "pagerduty": pagerduty.parse,
        "heartbeats": actions.heartbeats,
        "assign": actions.assign,
        "refused": actions.refused,
        "silence": actions.silence,
        "unsilence": actions.unsilence,
        "silence_kept": reconcile.silence_kept,
        "reconcile": reconcile.parse,
        "test": actions.test,
        "kept_failing": actions.kept_failing,
        "release": actions.release,
        "tick": actions.tick,
        "deploy": _deploys(deploys.parse),
        "github": _deploys(github.parse),
        "vercel": _deploys(vercel.parse),
        "railway": _deploys(railway.parse),
        "argocd": _deploys(argocd.parse),
        "sentry": sentry.parse,
        "maintenance": maintenance.parse,
    }
)
