"""Jobs as the outbox makes them, for the tests of notifiers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alertbot.domain.levels import action_for, shown_after
from alertbot.domain.model import (
    Action,
    Alert,
    AlertStatus,
    Delivery,
    Incident,
    IncidentStatus,
    Level,
    Want,
)
from alertbot.domain.reasons import Reason
from alertbot.notifiers.base import Job, Links, Notifier, Result, Retry, Sent

NOW = datetime(2026, 11, 21, 3, 12, tzinfo=UTC)
PAGE = "https://alertbot.example.org/incidents/i1"
OPEN, ACKED, RESOLVED = IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED
#: Markup, pings, header lines, terminal escapes, direction overrides, half a surrogate pair, templates.
NASTY = (
    "<script>alert(1)</script> <!channel> @everyone\r\nBcc: victim@example.net\r\n\r\nbody\x00\x1b[31m"
    "\u202egpj.exe\u2066\u2028\ud800 {{ 7*7 }} {% raw %} ${HOME} %s & \" ' `id`"
)


def alert(number: int = 0, **changes: Any) -> Alert:
    base = Alert(
        incident="i1",
        identity=f"{number:016x}",
        fingerprint=f"{number:016x}",
        labels={"alertname": "HighErrorRate", "service": "api", "instance": f"api-{number}:8080"},
        annotations={"summary": f"{number} % of requests fail", "description": "Of all requests, many fail."},
        severity="critical",
        status=AlertStatus.FIRING,
        starts_at=NOW - timedelta(minutes=12, seconds=number),
        changed_at=NOW,
        seen_at=NOW,
    )
    return replace(base, **changes)


def incident(alerts: Sequence[Alert], status: IncidentStatus = OPEN, **changes: Any) -> Incident:
    base = Incident(
        id="i1",
        key="{}:{}",
        route="{}",
        receiver="ops",
        labels={"alertname": "HighErrorRate", "environment": "prod"},
        title="HighErrorRate prod",
        severity="critical",
        status=status,
        created_at=NOW - timedelta(minutes=13),
        opened_at=NOW - timedelta(minutes=12),
        resolved_at=NOW if status is RESOLVED else None,
        openings=1,
        revision=1,
        news=1,
        firing=sum(a.firing and a.hold is None for a in alerts),
        held=sum(a.firing and a.hold is not None for a in alerts),
        resolved=sum(not a.firing for a in alerts),
    )
    return replace(base, **changes)


def job(
    action: Action = Action.OPEN,
    *,
    want: Level | None = None,
    shown: Level | None = None,
    alerts: Sequence[Alert] | None = None,
    integration: str = "pagerduty",
    kind: str = "incident",
    links: Links | None = None,
    uncertain: bool = False,
    remote: Mapping[str, str] | None = None,
    rank: int = 0,
    **changes: Any,
) -> Job:
    """A job for incident i1 with one firing alert; `changes` are the incident's."""
    status = {Action.RESOLVE: RESOLVED, Action.ACKNOWLEDGE: ACKED}.get(action, OPEN)
    level = want or Level(status, 1, 1, 1)
    some = [alert(1)] if alerts is None else alerts
    record = incident(some, **{"status": level.status or status, **changes})
    wanted = Want("i1", "ops", integration, "there", "lane", level, Reason.FIRST_NOTIFICATION, NOW, rank, kind)
    delivery = Delivery(wanted.id, wanted, shown=shown or Level(), uncertain=uncertain, remote=dict(remote or {}))
    return Job(
        delivery=delivery,
        action=action,
        incident=record,
        alerts=some,
        news=(),
        links=Links(incident=PAGE, runbook="https://runbooks.example.org/x") if links is None else links,
        severities=("critical", "high", "medium", "low"),
        now=NOW,
    )


class Destination:
    """One delivery over time, worked on as the outbox does it: `want` moves the level, `attempt` tries
    once."""

    def __init__(self, notifier: Notifier, integration: str) -> None:
        self.notifier = notifier
        self.integration = integration
        first = job(integration=integration).delivery
        self.delivery = replace(first, want=replace(first.want, level=Level()))

    def want(self, status: IncidentStatus, opening: int, revision: int) -> None:
        level = Level(status, opening, revision, revision)
        self.delivery = replace(self.delivery, want=replace(self.delivery.want, level=level))

    async def attempt(self) -> Result | None:
        """None where there is nothing to tell."""
        action = action_for(self.delivery)
        if action is None:
            self.delivery = replace(self.delivery, shown=shown_after(self.delivery, None), uncertain=False)
            return None
        made = job(action, want=self.delivery.want.level, integration=self.integration)
        result = await self.notifier.deliver(replace(made, delivery=self.delivery))
        if isinstance(result, Sent):
            self.delivery = replace(
                self.delivery,
                shown=shown_after(self.delivery, action),
                uncertain=False,
                remote=dict(result.remote),
            )
        elif isinstance(result, Retry):
            remote = {**self.delivery.remote, **(result.remote or {})}
            uncertain = self.delivery.uncertain or result.uncertain
            self.delivery = replace(self.delivery, uncertain=uncertain, remote=remote)
        return result
