"""Webhook bodies as Alertmanager 0.25 writes them, made fast: a template a size, filled with numbers.

An alert is what is usual: nine labels, a summary and a description, about 600 bytes. A body is one group of
Alertmanager's, and one incident here.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Final

#: A body of 4 KB, and one of 60 KB.
ALERTS: Final = {"4 KB": 6, "100 alerts": 100}

_MIX: Final = 0x9E3779B97F4A7C15
_STARTED: Final = datetime.now(UTC)
_ENDED: Final = _STARTED + timedelta(seconds=1)


class Template:
    """Bodies of so many alerts of one severity. Each of `body`'s numbers is a group with alerts of its own."""

    def __init__(self, alerts: int, severity: str = "warning", *, resolved: bool = False) -> None:
        self.alerts = alerts
        labels = {
            "alertname": "Group%08d",
            "environment": "prod",
            "team": "core",
            "severity": severity,
            "instance": "10.0.%08d.%03d:9100",
            "job": "node",
            "namespace": "default",
            "pod": "api-7f9c6d5b8-x2x4z",
            "service": "api",
        }
        alert = {
            "status": "resolved" if resolved else "firing",
            "labels": labels,
            "annotations": {
                "summary": "p95 latency of api is over 500 ms",
                "description": "The 95th percentile of the time to answer has been over 500 ms for 5 minutes.",
            },
            "startsAt": _go(_STARTED),
            "endsAt": _go(_ENDED) if resolved else "0001-01-01T00:00:00Z",
            "generatorURL": "http://prometheus.example.org:9090/graph?g0.expr=latency_seconds&g0.tab=1",
            "fingerprint": "%016x",
        }
        head = {
            "receiver": "alertbot",
            "status": alert["status"],
            "alerts": "ALERTS",
            "groupLabels": {"alertname": "Group%08d", "environment": "prod", "team": "core"},
            "commonLabels": {"environment": "prod", "team": "core", "severity": severity},
            "commonAnnotations": {},
            "externalURL": "http://alertmanager.example.org:9093",
            "version": "4",
            "groupKey": '{}:{alertname="Group%08d", environment="prod", team="core"}',
            "truncatedAlerts": 0,
        }
        one = json.dumps(alert, separators=(",", ":")).encode()
        self._text = (
            json.dumps(head, separators=(",", ":"))
            .encode()
            .replace(b'"ALERTS"', b"[" + b",".join([one] * alerts) + b"]")
        )

    def body(self, number: int) -> bytes:
        """The body of a group, the same for the same number."""
        numbers: list[int] = []
        for n in range(self.alerts):
            # Spread as fingerprints are, so that no index has it easier than with real ones.
            numbers += (number, number, n, ((number * 1000 + n + 1) * _MIX) & 0xFFFFFFFFFFFFFFFF)
        return self._text % (*numbers, number, number)


def _go(time: datetime) -> str:
    return time.isoformat().replace("+00:00", "Z")
