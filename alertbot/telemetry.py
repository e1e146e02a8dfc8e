"""Logs, metrics, trace ids."""

from __future__ import annotations

import json
import logging
import math
import re
import secrets
import sys
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TextIO

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from alertbot.domain.reasons import Reason

REDACTED: Final = "[redacted]"

# What every record has. All else on a record was given as `extra` and is a field of the log line.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

_CREDENTIALS: Final = (
    # An Authorization header, as a header line or as a mapping's repr.
    re.compile(r"""(?i)(\b(?:proxy-)?authorization\b["']?\s*[:=,]\s*["']?)(?:[a-z]+\s+)?[^\s"',;)}\]]+"""),
    re.compile(r"(\b(?:[Bb]earer|Basic)\s+)[A-Za-z0-9._~+/=-]{6,}"),
    # The password of a URL.
    re.compile(r"([a-z][a-z0-9+.-]*://[^/\s:@]*:)[^/\s@]+(?=@)"),
)

# W3C Trace Context: version, trace id, parent id, flags. Version ff and all zeros are invalid.
_TRACEPARENT: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def trace_id(traceparent: str | None) -> str:
    """The trace id (32 hex digits) of a `traceparent` header; a new one where it is absent or invalid."""
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent else None
    return match[1] if match else secrets.token_hex(16)


class RedactionFilter(logging.Filter):
    """Takes the configured secrets, and whatever looks like credentials of a request, out of every record.

    It belongs on a handler: a logger's filters do not see the records of the loggers below it.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets: re.Pattern[str] | None = None
        self.set_secrets(values)

    def set_secrets(self, values: Iterable[str]) -> None:
        """Replaces the secrets: called at each (re)load of the config."""
        # The longest first, for one may be a part of another. As JSON too: a record may quote a body.
        forms = {form for v in values if v for form in (v, json.dumps(v)[1:-1])}
        words = sorted(forms, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, words))) if words else None

    def redact(self, text: str) -> str:
        """The text without secrets."""
        if self._secrets is not None:
            text = self._secrets.sub(REDACTED, text)
        for pattern in _CREDENTIALS:
            text = pattern.sub(rf"\g<1>{REDACTED}", text)
        return text

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrites the record's message, traceback and extra fields in place; lets every record pass."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            # A log call with the wrong arguments: the line is worth having, and logging would print them
            # unredacted.
            message = f"{record.msg} {record.args!r}"
        record.msg, record.args = self.redact(message), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text = record.exc_text or logging.Formatter().formatException(record.exc_info)
            record.exc_info = None
        if record.exc_text:
            record.exc_text = self.redact(record.exc_text)
        if record.stack_info:
            record.stack_info = self.redact(record.stack_info)
        for name in record.__dict__.keys() - _STANDARD:
            setattr(record, name, self._clean(getattr(record, name)))
        return True

    def _clean(self, value: Any) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if isinstance(value, dict):
            return {self.redact(str(k)): self._clean(v) for k, v in value.items()}
        if isinstance(value, list | tuple | set | frozenset):
            return [self._clean(v) for v in value]
        return self.redact(str(value))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ts (RFC 3339, UTC), level, logger, msg, the `extra` fields, and error with a
    traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its line break."""
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        for name, value in record.__dict__.items():
            if name not in _STANDARD:
                line[name if name not in line else f"{name}_"] = value
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            line["error"] = record.exc_text
        if record.stack_info:
            line["stack"] = record.stack_info
        return json.dumps(line, default=str)


def configure_logging(level: str = "INFO", stream: TextIO | None = None) -> RedactionFilter:
    """Sends every record to stderr (or `stream`) as JSON, redacted. Returns the filter, to be told the
    secrets.

    Replaces the handlers of the root logger. aiohttp's access log stays off.
    """
    redaction = RedactionFilter()
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(redaction)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.captureWarnings(True)
    return redaction


class Metrics:
    """alertbot's metrics, in a registry of their own, so that two bots can live in one process.

    Label values are names of ours (sources, reasons, integrations, status codes), never text from outside.
    """

    def __init__(self, version: str) -> None:
        # A second series per counter with its time of birth: nothing reads it.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = r = CollectorRegistry()
        ProcessCollector(registry=r)
        PlatformCollector(registry=r)
        GCCollector(registry=r)
        self.events_received = Counter(
            "alertbot_events_received_total", "Events that were made durable.", ["source"], registry=r
        )
        self.alerts_received = Counter(
            "alertbot_alerts_received_total",
            "Alerts understood, repeats too, by what was said of them.",
            ["source", "status"],
            registry=r,
        )
        self.alerts_set_aside = Counter(
            "alertbot_alerts_set_aside_total",
            "Alerts that could not be read and were parked.",
            ["source"],
            registry=r,
        )
        self.requests_refused = Counter(
            "alertbot_requests_refused_total",
            "Requests answered with an error.",
            ["source", "code"],
            registry=r,
        )
        self.decisions = Counter("alertbot_decisions_total", "Decisions by their reason.", ["reason"], registry=r)
        self.ack_overdue = Counter(
            "alertbot_ack_overdue_total",
            "Openings that nobody acknowledged within the `ack_within` of their severity.",
            ["severity"],
            registry=r,
        )
        self.deliveries = Counter(
            "alertbot_deliveries_total",
            "Attempts at deliveries by how they ended.",
            ["integration", "outcome"],
            registry=r,
        )
        self.delivery_latency = Histogram(
            "alertbot_delivery_latency_seconds",
            "From the webhook's arrival to the provider's answer.",
            ["integration"],
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
            registry=r,
        )
        self.outbox_due = Gauge("alertbot_outbox_due", "Deliveries that are due and not made.", registry=r)
        self.parked = Gauge(
            "alertbot_parked", "Things that wait for a person: unreadable or undeliverable.", registry=r
        )
        self.events_undecided = Gauge("alertbot_events_undecided", "Durable events not decided yet.", registry=r)
        self.open_incidents = Gauge("alertbot_open_incidents", "Incidents that are open or acknowledged.", registry=r)
        self.storms = Gauge(
            "alertbot_storms", "Cards, pages and digests that stand in for many incidents now.", registry=r
        )
        self.folded = Gauge("alertbot_deliveries_folded", "Deliveries that a storm stands in for.", registry=r)
        self.broken = Gauge(
            "alertbot_destinations_broken",
            "Destinations that do not answer and are tried now and then.",
            ["integration"],
            registry=r,
        )
        self.alertmanager_up = Gauge(
            "alertbot_alertmanager_up",
            "1 while a member of global.alertmanager_url answers; NaN where there is none.",
            registry=r,
        )
        self.alertmanager_up.set(math.nan)
        self.slack_socket_up = Gauge(
            "alertbot_slack_socket_up",
            "1 while Slack's Socket Mode is connected; 0 where it is not in use.",
            registry=r,
        )
        self.store_up = Gauge("alertbot_store_up", "1 while the store answers.", registry=r)
        self.config_last_reload_successful = Gauge(
            "alertbot_config_last_reload_successful",
            "1 while the config in use is the latest one.",
            registry=r,
        )
        self.config_last_reload_success_timestamp = Gauge(
            "alertbot_config_last_reload_success_timestamp_seconds",
            "When the config was last taken.",
            registry=r,
        )
        self.build_info = Gauge("alertbot_build_info", "Always 1.", ["version"], registry=r)
        self.build_info.labels(version).set(1)

    def decided(self, reason: Reason) -> None:
        """Counts one line of a decision."""
        self.decisions.labels(reason.value).inc()

    def unacknowledged(self, severity: str) -> None:
        """Counts an opening that nobody acknowledged in time; severities are names of the config."""
        self.ack_overdue.labels(severity).inc()

    def delivered(self, integration: str, outcome: str, waited: timedelta | None) -> None:
        """Counts one attempt at a delivery; `waited` is from the webhook to the provider's answer."""
        self.deliveries.labels(integration, outcome).inc()
        if waited is not None:
            self.delivery_latency.labels(integration).observe(waited.total_seconds())
