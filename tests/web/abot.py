"""A small bot around the real engine and the store in memory: all that the web needs, and no destinations."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from alertbot.clock import MovableClock
from alertbot.commands.desk import Desk, Terms
from alertbot.domain.deploys import Suspect
from alertbot.domain.enrichment import Enrichment
from alertbot.domain.events import Parsed, RawEvent
from alertbot.domain.model import Alert, Incident
from alertbot.domain.policy import Destination, Policy, Receiver, Severity
from alertbot.domain.routing import Route
from alertbot.engine import Engine
from alertbot.enrich.deploys import suspects_of
from alertbot.enrich.enricher import Enricher, Parts
from alertbot.enrich.runbooks import Runbook, Runbooks
from alertbot.sources import SOURCES
from alertbot.store.base import StoreUnavailable
from alertbot.store.memory import MemoryStore
from alertbot.telemetry import Metrics
from alertbot.web import DryDestination, ReloadRefused, View
from alertbot.web.ports import BrokenDestination

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

SEVERITIES = (
    Severity("critical", ("page",), timedelta(minutes=5)),
    Severity("high", ("error",), timedelta(minutes=30)),
    Severity("medium", ("warning",)),
    Severity("low", ("info",)),
)

POLICY = Policy(
    severities=SEVERITIES,
    route=Route(
        key="{}",
        receiver="ops",
        group_by=("alertname",),
        group_wait=timedelta(0),
        group_interval=timedelta(seconds=10),
        repeat_interval=timedelta(hours=4),
    ),
    receivers={
        "ops": Receiver("ops", (Destination("slack", "#ops", "slack:ops"), Destination("sms", "+1555", "sms:1"))),
    },
)


VIEW = View(
    external_url="https://alertbot.example.org/",
    receivers=("ops",),
    dry=(DryDestination("ops", "slack", "#ops", "slack_bot_token"),),
)


class FailingStore(MemoryStore):
    """A store that goes away when it is told to: then it refuses every call of the web's. It counts the calls."""

    away = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: Counter[str] = Counter()

    def __getattribute__(self, name: str) -> Any:
        if inspect.iscoroutinefunction(getattr(MemoryStore, name, None)):
            object.__getattribute__(self, "asked")[name] += 1
        if object.__getattribute__(self, "away") and name in (
            "append", "incident", "incidents", "members_of", "deliveries_of", "entries", "find_alerts",
            "parked", "parked_item", "retry_parked", "drop_parked", "stats",
        ):  # fmt: skip
            raise StoreUnavailable("connection refused: redis://:hunter2@store")
        return object.__getattribute__(self, name)


@dataclass
class ABot:
    """`taken` has every raw event accepted, in order."""

    view: View = VIEW
    ready: tuple[bool, str] = (True, "")
    problems: list[str] = field(default_factory=list)
    silent: list[BrokenDestination] = field(default_factory=list)
    severities: Sequence[Severity] = SEVERITIES
    policy: Policy = POLICY
    taken: list[RawEvent] = field(default_factory=list)
    woken: int = 0
    breaks: bool = False

    def __post_init__(self) -> None:
        self.store = FailingStore()
        self.metrics = Metrics("0.0.0")
        self.moved = MovableClock(START)
        self.enricher = Enricher(Parts(external_url=self.view.external_url), self.moved, _nobody)
        self.desk = Desk(self, Terms(self.view.external_url, tuple(s.name for s in self.severities), {}, Runbooks()))
        self.engine = Engine(self.store, self.policy, self.moved, SOURCES, counts=self.metrics)

    async def remote_key(self, remote: str, said: str) -> str:
        return said

    def clock(self) -> datetime:
        return self.moved.now()

    def runbook(self, alerts: Sequence[Alert]) -> str | None:
        found = self.enricher.runbook(alerts)
        return found.url if found else None

    def runbook_file(self, name: str) -> Runbook | None:
        return next((r for r in self.enricher.parts.runbooks.all if r.name == name), None)

    async def suspects(self, incidents: Sequence[Sequence[Alert]]) -> Sequence[tuple[Suspect, ...]]:
        return await suspects_of(self.store.deploys, self.policy.deploys, incidents)

    async def enrichment(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        return await self.enricher.found(incident, alerts)

    async def accept(
        self,
        source: str,
        body: bytes,
        parsed: Parsed,
        trace_id: str,
        wait: bool = False,
        decided: asyncio.Future[None] | None = None,
    ) -> int:
        if self.breaks:
            raise RuntimeError("a defect, with a token: Bearer abcdefghij")
        raw = RawEvent(self.clock(), source, body, trace_id)
        seq = await self.engine.accept(raw, parsed, wait=wait, decided=decided)
        self.taken.append(raw)
        self.metrics.events_received.labels(source).inc()
        return seq

    def wake(self) -> None:
        self.woken += 1

    async def reload(self) -> list[str]:
        if self.problems:
            raise ReloadRefused(self.problems)
        return ["alertbot.yml:3: a rule holds critical alerts"]

    def readiness(self) -> tuple[bool, str]:
        return self.ready

    def broken(self) -> Sequence[BrokenDestination]:
        return self.silent

    def configure(self, **changes: Any) -> None:
        """As a reload would."""
        self.view = replace(self.view, **changes)

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where it has none yet."""
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


async def _nobody(incident: str) -> None:
    """Nobody shows an incident here."""


def alert(alertname: str = "HighLatency", severity: str = "critical", **fields: Any) -> dict[str, Any]:
    """A firing alert as Alertmanager sends it."""
    return {
        "status": "firing",
        "labels": {"alertname": alertname, "severity": severity, "service": "api"},
        "annotations": {
            "summary": f"{alertname} of api",
            "runbook_url": f"https://runbooks.example.org/{alertname}",
        },
        "startsAt": "2026-01-05T09:58:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus.example.org/graph",
        **fields,
    }


def webhook(*alerts: Any, **fields: Any) -> bytes:
    """A body of Alertmanager's webhook."""
    return json.dumps({"version": "4", "status": "firing", "alerts": list(alerts), **fields}).encode()
