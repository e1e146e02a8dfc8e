"""PagerDuty on loopback: the Events API v2 (`/v2/enqueue`, `/v2/change/enqueue`) and the webhooks that follow.

The rules are those of PagerDuty's developer-docs and api-schema [docs]. It keeps incidents as PagerDuty
would, so that a test can count what matters: `pages`, one for each time that somebody would be called.
Run it as a process: `python -m tests.standins.pagerduty --port N --state FILE`.
"""

import hashlib
import hmac
import json
import time
import uuid
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.standins.server import RAW, Clock, HttpStandin, RateLimit, Reply, serve

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
ROUTING_KEY_LENGTH = 32
SUMMARY = 1024
DEDUP_KEY = 255
PAYLOAD_BYTES = 512_000  # "512 KB"; Alertmanager, too, takes it as 512,000 bytes
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")


@dataclass(slots=True)
class Incident:
    """One PagerDuty incident. status: triggered, acknowledged, resolved. `log` holds (time, what)."""

    number: int
    routing_key: str
    dedup_key: str
    status: str
    opened_at: float
    summary: str
    severity: str
    events: list[dict[str, Any]] = field(default_factory=list)
    log: list[tuple[float, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Page:
    """Somebody is called: at the opening of an incident, and never for what is appended to it."""

    at: float
    incident: int
    routing_key: str
    dedup_key: str
    summary: str
    severity: str


class PagerDutyStandin(HttpStandin):
    """Events API v2 for the integration keys in `routing_keys`.

    per_minute    calls of one key in any sliding 60 s [docs 05-Rate-Limits: about 120]
    incidents     in the order of their opening
    pages         the calls that people got
    changes       the change events that were taken
    webhooks      the bodies that it would send, V3, one for each change of an incident by anybody: whoever tests sends
                  them on, in what order and how often they like, with `signed`
    """

    name = "pagerduty"
    adjustable = ("routing_keys", "limited")

    def __init__(
        self,
        *,
        clock: Clock = time.time,
        port: int = 0,
        state: Path | None = None,
        routing_keys: tuple[str, ...] = (ROUTING_KEY,),
        per_minute: int = 120,
        limited: bool = True,
    ) -> None:
        super().__init__(clock=clock, port=port, state=state)
        self.routing_keys = routing_keys
        self.limited = limited
        self.incidents: list[Incident] = []
        self.pages: list[Page] = []
        self.changes: list[dict[str, Any]] = []
        self.webhooks: list[bytes] = []
        self._open: dict[tuple[str, str], Incident] = {}
        self._limit = RateLimit(per_minute, 60)

    # for tests

    def open(self, routing_key: str | None = None) -> list[Incident]:
        """The incidents that are not resolved."""
        return [
            incident
            for incident in self.incidents
            if incident.status != "resolved" and routing_key in (None, incident.routing_key)
        ]

    def incident(self, dedup_key: str, routing_key: str | None = None) -> Incident:
        """The newest incident of a key. Raises LookupError."""
        for incident in reversed(self.incidents):
            if incident.dedup_key == dedup_key and routing_key in (None, incident.routing_key):
                return incident
        raise LookupError(dedup_key)

    def snapshot(self) -> dict[str, Any]:
        return {
            "incidents": [asdict(incident) for incident in self.incidents],
            "pages": [asdict(page) for page in self.pages],
            "changes": self.changes,
        }

    def restore(self, kept: dict[str, Any]) -> None:
        self.incidents = [Incident(**incident) for incident in kept["incidents"]]
        self._open = {(i.routing_key, i.dedup_key): i for i in self.open()}
        self.pages = [Page(**page) for page in kept["pages"]]
        self.changes = kept["changes"]

    # the way of a request

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        request[RAW] = await request.read()
        try:
            body = json.loads(request[RAW])
        except ValueError:
            body = None
        return request.path, body if isinstance(body, dict) else {}

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        if endpoint not in ("/v2/enqueue", "/v2/change/enqueue"):
            return Reply(404, "not found")
        if request.method != "POST":
            return Reply(405, "method not allowed")
        if len(request[RAW]) > PAYLOAD_BYTES:
            return Reply(413, "Request Entity Too Large")
        if not params:
            return _invalid(["the request body is not a JSON object with fields"])
        key = params.get("routing_key")
        # Refused calls count neither here nor, as far as the docs say, there.
        if self.limited and self._limit.take(str(key), self.now()) > 0:
            return _throttled()
        if endpoint == "/v2/change/enqueue":
            return self._change(params)
        return self._event(params)

    def _event(self, event: dict[str, Any]) -> Reply:
        errors = self._key_errors(event) + event_errors(event)
        if errors:
            return _invalid(errors)
        dedup_key = event.get("dedup_key") or uuid.uuid4().hex  # without one, PagerDuty makes one up
        self._apply(event, dedup_key)
        return Reply(202, {"status": "success", "message": "Event processed", "dedup_key": dedup_key})

    def _change(self, event: dict[str, Any]) -> Reply:
        """Change events open no incident and are never folded into one another; no keys of rulesets (R…)."""
        errors = self._key_errors(event) + change_errors(event)
        if str(event.get("routing_key", "")).startswith("R"):
            errors.append("change events are not for the key of a ruleset")
        if errors:
            return _invalid(errors)
        self.changes.append({"at": self.now(), **event})
        return Reply(202, {"status": "success", "message": "Change event processed"})

    def _key_errors(self, event: dict[str, Any]) -> list[str]:
        key = event.get("routing_key")
        if not isinstance(key, str) or len(key) != ROUTING_KEY_LENGTH:
            return [f"Length of 'routing_key' is incorrect (should be {ROUTING_KEY_LENGTH} characters)"]
        return [] if key in self.routing_keys else ["'routing_key' is not known"]

    def _apply(self, event: dict[str, Any], dedup_key: str) -> None:
        """The state machine of one (routing_key, dedup_key): a dedup_key means something under its own key
        only.

        trigger      nothing open: a NEW incident, and somebody is called, after a resolve too;
                     open: appended, nobody is called; acknowledged: the same, and it stays acknowledged
        acknowledge, resolve   nothing open: dropped without a word (202 all the same)
        """
        now, action, key = self.now(), event["event_action"], event["routing_key"]
        incident = self._open.get((key, dedup_key))
        changes = {"acknowledge": "acknowledged", "resolve": "resolved"}.get(action, "")
        if incident is None:
            if action != "trigger":
                return
            changes = "triggered"
            payload = event["payload"]
            number = len(self.incidents) + 1
            incident = Incident(number, key, dedup_key, "triggered", now, payload["summary"], payload["severity"])
            self.incidents.append(incident)
            self._open[key, dedup_key] = incident
            self.pages.append(Page(now, number, key, dedup_key, payload["summary"], payload["severity"]))
        elif action == "acknowledge":
            incident.status = "acknowledged"
        elif action == "resolve":
            incident.status = "resolved"
            del self._open[key, dedup_key]
        incident.events.append(event)
        incident.log.append((now, action))
        if changes:
            self._webhook(incident, changes, {"type": "integration_reference", "summary": "Events API V2"})

    # what people do, and what is sent then

    def do(self, incident: Incident, change: str, by: str = "Bo Yu", *, agent: str = "user_reference") -> None:
        """Somebody changes an incident: acknowledged, unacknowledged, resolved, reopened, or anything else."""
        states = {"unacknowledged": "triggered", "reopened": "triggered"}
        if change in ("acknowledged", "unacknowledged", "resolved", "reopened"):
            incident.status = states.get(change, change)
        place = (incident.routing_key, incident.dedup_key)
        if incident.status == "resolved":
            self._open.pop(place, None)
        else:
            self._open[place] = incident
        incident.log.append((self.now(), f"{change} by {by}"))
        self._webhook(incident, change, {"type": agent, "summary": by, "id": "PU1"})

    def note(self, incident: Incident, content: str, by: str = "Bo Yu") -> None:
        """Somebody writes something down: its webhook names the incident by PagerDuty's id alone."""
        note = {"type": "incident_note", "id": f"N{len(self.webhooks)}", "content": content, "trimmed": False}
        data = {**note, "incident": {"id": remote_id(incident), "type": "incident_reference"}}
        self._send("incident.annotated", data, {"type": "user_reference", "summary": by, "id": "PU1"})

    def _webhook(self, incident: Incident, change: str, agent: dict[str, Any]) -> None:
        data = {
            "id": remote_id(incident), "type": "incident", "status": incident.status, "title": incident.summary,
            "incident_key": incident.dedup_key, "service": {"id": "PS1", "type": "service_reference"},
            "assignees": [{"id": "PU1", "type": "user_reference", "summary": "Bo Yu"}], "priority": {"summary": "P1"},
        }  # fmt: skip
        self._send(f"incident.{change}", data, agent)

    def _send(self, kind: str, data: dict[str, Any], agent: dict[str, Any]) -> None:
        at = datetime.fromtimestamp(self.now(), UTC).isoformat()
        event = {
            "id": uuid.uuid4().hex, "event_type": kind, "resource_type": "incident", "occurred_at": at,
            "agent": agent, "client": None, "data": data,
        }  # fmt: skip
        self.webhooks.append(json.dumps({"event": event}).encode())


def remote_id(incident: Incident) -> str:
    """PagerDuty's own id of an incident."""
    return f"Q{incident.number:07}"


def signed(body: bytes, secret: str) -> dict[str, str]:
    """The headers of a webhook. While secrets are exchanged there is a signature for each."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {"X-PagerDuty-Signature": f"v1={'0' * 64},v1={digest}", "Content-Type": "application/json"}


def event_errors(event: dict[str, Any]) -> list[str]:
    """What PagerDuty would say against an event; empty where it is valid."""
    errors: list[str] = []
    action, dedup_key = event.get("event_action"), event.get("dedup_key")
    if action not in ACTIONS:
        errors.append(f"'event_action' is invalid (must be one of {', '.join(ACTIONS)})")
    if dedup_key is not None and not (isinstance(dedup_key, str) and len(dedup_key) <= DEDUP_KEY):
        errors.append(f"'dedup_key' is invalid (must be a string of at most {DEDUP_KEY} characters)")
    if action in ("acknowledge", "resolve") and not dedup_key:
        errors.append(f"'dedup_key' is missing (required for {action})")
    if action == "trigger" or event.get("payload") is not None:
        payload = event.get("payload")
        if not isinstance(payload, dict):
            return [*errors, "'payload' is missing or not an object"]
        errors += _payload_errors(payload)
        if not (isinstance(payload.get("source"), str) and payload["source"]):
            errors.append("'payload.source' is missing or blank")
        if payload.get("severity") not in SEVERITIES:
            errors.append(f"'payload.severity' is invalid (must be one of {', '.join(SEVERITIES)})")
        for name in ("component", "group", "class"):
            if payload.get(name) is not None and not isinstance(payload[name], str):
                errors.append(f"'payload.{name}' is invalid (must be a string)")
    errors += _links_errors(event)
    for index, image in enumerate(_list(event, "images", errors)):
        if not isinstance(image, dict) or not str(image.get("src", "")).startswith("https://"):
            errors.append(f"'images[{index}].src' is invalid (must be an https URL)")
    return errors


def change_errors(event: dict[str, Any]) -> list[str]:
    """What PagerDuty would say against a change event; empty where it is valid."""
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return ["'payload' is missing or not an object"]
    return _payload_errors(payload) + _links_errors(event)


def _payload_errors(payload: dict[str, Any]) -> list[str]:
    errors: list[str] = []
    summary = payload.get("summary")
    if not isinstance(summary, str) or not summary.strip():
        errors.append("'payload.summary' is missing or blank")
    elif len(summary) > SUMMARY:
        errors.append(f"'payload.summary' is too long (at most {SUMMARY} characters)")
    if payload.get("timestamp") is not None:
        try:
            datetime.fromisoformat(payload["timestamp"])
        except (TypeError, ValueError):
            errors.append("'payload.timestamp' is invalid (must be ISO 8601)")
    if payload.get("custom_details") is not None and not isinstance(payload["custom_details"], dict):
        errors.append("'payload.custom_details' is invalid (must be an object)")
    return errors


def _links_errors(event: dict[str, Any]) -> list[str]:
    errors: list[str] = []
    for index, link in enumerate(_list(event, "links", errors)):
        href = link.get("href") if isinstance(link, dict) else None
        if not isinstance(href, str) or not href.startswith(("http://", "https://")):
            errors.append(f"'links[{index}].href' is invalid (must be a URL)")
    return errors


def _list(event: dict[str, Any], name: str, errors: list[str]) -> list[Any]:
    value = event.get(name) or []
    if not isinstance(value, list):
        errors.append(f"'{name}' is invalid (must be an array)")
        return []
    return value


def _invalid(errors: list[str]) -> Reply:
    """400 is for good: the same event is refused again [docs]."""
    body = {"status": "invalid event", "message": "Event object is invalid", "errors": errors}
    return Reply(400, body)


def _throttled() -> Reply:
    """429; the docs promise no Retry-After: try again later, with growing pauses. The words are [mem]."""
    message = "Requests for this service are arriving too quickly.  Please retry later."
    return Reply(429, {"status": "throttle exceeded", "message": message, "errors": ["Enhance Your Calm."]})


if __name__ == "__main__":
    serve(PagerDutyStandin)
