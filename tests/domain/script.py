"""A script on a time axis: what is reported when, and what people then hear. Everything that was sent must be
expected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from alertbot.domain.events import RawEvent
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.matchers import parse_matcher
from alertbot.domain.policy import Destination, Flapping, InhibitRule, Policy, Receiver, Severity
from alertbot.domain.routing import Route
from alertbot.replay import Line, Replay
from alertbot.sources import SOURCES

START = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)

SEVERITIES = (
    Severity("critical", ("page",)),
    Severity("high", ("error",)),
    Severity("medium", ("warning",)),
    Severity("low", ("info",)),
)


def receiver(name: str, *integrations: str, fallback: str | None = None) -> Receiver:
    """A receiver with one destination of each of these integrations; none: the log."""
    kinds = integrations or ("log",)
    return Receiver(name, tuple(Destination(k, f"{name}-{k}", f"{k}:{name}") for k in kinds), fallback)


def rule(name: str, source: str, target: str, *equal: str, duration: timedelta | None = None) -> InhibitRule:
    """An inhibit rule from matchers written with commas between them."""
    return InhibitRule(
        name,
        tuple(parse_matcher(m) for m in source.split(";")),
        tuple(parse_matcher(m) for m in target.split(";")),
        equal,
        duration,
    )


def policy(**changes: Any) -> Policy:
    """One route to Slack and PagerDuty, grouped by alertname: 10 s, 1 m, 4 h. Any field may be given."""
    route = changes.pop("route", None) or Route(
        key="{}",
        receiver="ops",
        group_by=("alertname",),
        group_wait=timedelta(seconds=10),
        group_interval=timedelta(minutes=1),
        repeat_interval=timedelta(hours=4),
    )
    fields: dict[str, Any] = {
        "severities": SEVERITIES,
        "route": route,
        "receivers": {r.name: r for r in (receiver("ops", "pagerduty", "slack"), receiver("log"))},
        "flapping": Flapping(4, timedelta(hours=1), timedelta(minutes=30)),
    }
    return Policy(**{**fields, **changes})


def at(offset: str) -> datetime:
    """`12:30` or `1:02:30` after the start."""
    parts = [int(p) for p in offset.split(":")]
    seconds = sum(p * 60**n for n, p in enumerate(reversed(parts)))
    return START + timedelta(seconds=seconds)


class Script:
    """Feeds a replay and compares what was sent, as `offset integration action reason firing/resolved/held`."""

    def __init__(self, with_policy: Policy | None = None) -> None:
        self.replay = Replay(with_policy or policy(), SOURCES, decisions=True)
        self._seen = 0

    async def report(self, offset: str, *alerts: Mapping[str, Any], **body: Any) -> None:
        """One body at a time. Alerts are made by `alert`."""
        whole = {
            "version": "4",
            "status": "firing",
            "groupKey": "{}:{}",
            "alerts": list(alerts),
            **body,
        }
        raw = RawEvent(at(offset), "alertmanager", json.dumps(whole).encode())
        await self.replay.feed(raw)

    async def act(self, offset: str, source: str, **body: Any) -> None:
        """Something a person does."""
        await self.replay.feed(RawEvent(at(offset), source, json.dumps(body).encode()))

    async def until(self, offset: str) -> None:
        """Time passes."""
        await self.replay.run_until(at(offset))

    def heard(self, *integrations: str) -> list[str]:
        """What was sent since the last look, to these integrations (default: slack and log)."""
        wanted = integrations or ("slack", "log")
        lines = self.replay.lines[self._seen :]
        self._seen = len(self.replay.lines)
        return [_told(line) for line in lines if line.get("integration") in wanted]

    def decisions(self) -> list[str]:
        """What was not sent since the last look, as `offset alertname decision by`."""
        lines = self.replay.lines[self._seen :]
        self._seen = len(self.replay.lines)
        return [
            " ".join(filter(None, (_offset(line), line["labels"]["alertname"], line["decision"], line["by"])))
            for line in lines
            if "decision" in line
        ]

    async def open_alerts(self) -> set[str]:
        """Fingerprints that fire as far as the bot knows."""
        return {a.identity for a in await self.replay.store.firing(("", ""), 10_000) if a.firing}


def _offset(line: Line) -> str:
    seconds = int((datetime.fromisoformat(line["at"]) - START).total_seconds())
    hours, rest = divmod(seconds, 3600)
    short = f"{rest // 60}:{rest % 60:02}"
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else short


def _told(line: Line) -> str:
    n = line["alerts"]
    counts = f"{n['firing']}/{n['resolved']}/{n['held']}"
    return f"{_offset(line)} {line['integration']} {line['action']} {line['reason']} {counts}"


def alert(
    name: str, started: str, ended: str | None = None, *, fingerprint_: str | None = None, **labels: str
) -> dict[str, Any]:
    """One alert of a body; with `ended` it is resolved."""
    all_labels = {"alertname": name, "severity": "high", **labels}
    return {
        "status": "resolved" if ended else "firing",
        "labels": all_labels,
        "annotations": {"summary": name},
        "startsAt": at(started).isoformat(),
        "endsAt": at(ended).isoformat() if ended else "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint_ or fingerprint(all_labels),
    }
