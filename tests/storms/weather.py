"""A bot in memory on a clock that is moved, and destinations that take as much as their provider would.

The engine, the outbox, the storms and the budgets are the live ones.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from alertbot.clock import MovableClock
from alertbot.domain.budgets import EMAIL, PAGERDUTY, RATES, SLACK_POSTS, SLACK_UPDATES, SMS
from alertbot.domain.events import RawEvent
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.model import Action, IncidentStatus
from alertbot.domain.policy import Destination, Policy, Receiver, Storms
from alertbot.domain.routing import Route
from alertbot.engine import Engine
from alertbot.limiter import StoredLimiter
from alertbot.notifiers.base import Job, Later, Links, Result, Retry, Sent
from alertbot.outbox import Outbox
from alertbot.sources import SOURCES
from alertbot.store.memory import MemoryStore
from alertbot.storms import Storms as Sweeper
from alertbot.storms import is_storm
from tests.domain.script import SEVERITIES, START

STEP = timedelta(milliseconds=500)


@dataclass(frozen=True)
class Said:
    """One call to a provider that it answered with yes."""

    at: datetime
    integration: str
    what: str
    incident: str
    storm: bool
    severity: str
    job: Job

    @property
    def seconds(self) -> float:
        return (self.at - START).total_seconds()


@dataclass
class Destinations:
    """Notifiers as the live ones are as far as budgets go: one call each, a card is posted once and then edited."""

    limiter: StoredLimiter
    clock: MovableClock
    said: list[Said] = field(default_factory=list)
    down: set[str] = field(default_factory=set)
    tried: list[datetime] = field(default_factory=list)
    """What a destination that is down was asked."""
    dry: str | None = None

    async def deliver(self, job: Job) -> Result:
        integration, remote = job.delivery.want.integration, dict(job.delivery.remote)
        if integration in self.down:
            self.tried.append(self.clock.now())
            return Retry(f"{integration} is down")
        until, what = await self._spend(integration, job, remote)
        if until is not None:
            return Later(until, lane=what == "post")
        storm = job.storm is not None
        said = Said(self.clock.now(), integration, what, job.incident.id, storm, job.incident.severity, job)
        self.said.append(said)
        return Sent({**remote, "ts": "1"})

    async def _spend(self, integration: str, job: Job, remote: dict[str, str]) -> tuple[datetime | None, str]:
        rank_0 = job.delivery.want.rank == 0
        match integration:
            case "slack":
                what = "edit" if "ts" in remote else "post"
                key = (SLACK_UPDATES, "w", job.urgency) if what == "edit" else (SLACK_POSTS, "#ops", 0)
            case "pagerduty":
                what = "resolve" if job.action is Action.RESOLVE else "trigger"
                urgency = 2 if what == "resolve" else 0 if job.storm is not None else 1 if rank_0 else 2
                key = (PAGERDUTY, "pagerduty:key", urgency)
            case "email":
                what, key = job.action.value, (EMAIL, "ops@example.org", job.urgency)
            case _:
                what, key = job.action.value, (SMS, "+15550100", job.urgency)
        return await self.limiter.spend(*key), what

    async def close(self) -> None:
        """Holds nothing."""


TO = {
    "slack": Destination("slack", "#ops", "slack:#ops"),
    "pagerduty": Destination("pagerduty", "pagerduty", "pagerduty:key"),
    "email": Destination("email", "ops@example.org", "email:host"),
    "sms": Destination("sms", "+15550100", "sms:default"),
}


class Weather:
    """One receiver with these integrations; every alert is an incident of its own."""

    def __init__(
        self, *integrations: str, fallback: bool = False, store: MemoryStore | None = None, **storms: Any
    ) -> None:
        minute = timedelta(minutes=1)
        route = Route(
            key="{}", receiver="ops", group_by=None, group_wait=timedelta(0), group_interval=minute,
            repeat_interval=timedelta(hours=4),
        )  # fmt: skip
        receivers = {
            "ops": Receiver("ops", tuple(TO[i] for i in integrations), "mail" if fallback else None, 5 * minute),
            "mail": Receiver("mail", (replace(TO["email"], to="other@example.org"),)),
        }
        self.policy = Policy(SEVERITIES, route, receivers, storms=replace(Storms(), **storms))
        self.clock = MovableClock(START)
        self.store = store or MemoryStore()
        self.limiter = StoredLimiter(self.store, self.clock, RATES)
        self.to = Destinations(self.limiter, self.clock)
        notifiers = {
            (r.name, d.integration, d.to): self.to for r in self.policy.receivers.values() for d in r.destinations
        }
        self.engine = Engine(self.store, self.policy, self.clock, SOURCES)
        self._notifiers = notifiers
        self.outbox = self.replica()
        self.replicas = [self.outbox]

    def replica(self) -> Outbox:
        """One more that works on this store, and knows of nothing else yet."""
        storms = Sweeper(self.store, self.policy, self.limiter)
        args = self.store, self.policy, self._notifiers, self.clock, lambda *_: Links(), self._kept_failing
        return Outbox(*args, storms=storms)

    async def _kept_failing(self, incident: str, receiver: str) -> None:
        body = json.dumps({"incident": incident, "receiver": receiver}).encode()
        await self._event("kept_failing", body)

    async def _event(self, source: str, body: bytes) -> None:
        parsed = SOURCES[source](body, self.clock.now())
        await self.engine.accept(RawEvent(self.clock.now(), source, body), parsed)

    async def report(
        self, names: Iterable[str], severity: str = "high", *, resolved: bool = False, **labels: str
    ) -> None:
        """Alerts fire, or are over: each name is an instance."""
        alerts = []
        for name in names:
            labelled = {"alertname": "HostDown", "severity": severity, "instance": name, **labels}
            alerts.append(
                {
                    "status": "resolved" if resolved else "firing",
                    "labels": labelled,
                    "annotations": {},
                    "startsAt": START.isoformat(),
                    "endsAt": self.clock.now().isoformat() if resolved else "0001-01-01T00:00:00Z",
                    "fingerprint": fingerprint(labelled),
                }
            )
        await self._event("alertmanager", json.dumps({"version": "4", "alerts": alerts}).encode())

    async def run(self, seconds: float) -> None:
        """Lets time pass."""
        until = self.clock.now() + timedelta(seconds=seconds)
        while True:
            while await self.engine.turn():
                pass
            await asyncio.gather(*(outbox.drain() for outbox in self.replicas))
            if self.clock.now() >= until:
                return
            self.clock.advance(STEP)

    def said(self, integration: str, *, storm: bool | None = None, what: str | None = None) -> list[Said]:
        """What a provider took, in order."""
        return [
            s
            for s in self.to.said
            if s.integration == integration and storm in (None, s.storm) and what in (None, s.what)
        ]

    async def unseen(self) -> list[str]:
        """Incidents whose last state no destination shows, and no storm either."""
        found = []
        for incident in (await self.store.incidents(limit=100_000)).incidents:
            for d in await self.store.deliveries(incident.id):
                told = d.shown.status is incident.status or (d.shown.status is None and not _is_open(incident.status))
                if not told and not d.storm and not is_storm(d.want):
                    found.append(d.id)
        return found


def _is_open(status: IncidentStatus) -> bool:
    return status in (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)
