"""PagerDuty's webhooks, version 3: one event a body.

https://developer.pagerduty.com/docs/webhooks-overview: `occurred_at` orders them, `id` names them. `incident_key` is
our `dedup_key` where an incident was opened by one alert; notes and webhooks of 2021 have none. Then the door writes
what it found out by PagerDuty's own id beside the event, as `incident_key`, before the body is kept.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from alertbot.domain.events import Parsed, RemoteChange, RemoteChanged, Unreadable
from alertbot.sources.deploys import part, read_object, text, time

_CHANGES: Final = {
    "incident.acknowledged": RemoteChange.ACKNOWLEDGED,
    "incident.unacknowledged": RemoteChange.UNACKNOWLEDGED,
    "incident.resolved": RemoteChange.RESOLVED,
    "incident.reopened": RemoteChange.REOPENED,
    "incident.annotated": RemoteChange.ANNOTATED,
    "incident.delegated": RemoteChange.OTHER,
    "incident.reassigned": RemoteChange.OTHER,
    "incident.escalated": RemoteChange.OTHER,
    "incident.priority_updated": RemoteChange.OTHER,
}
#: It only says which of PagerDuty's incidents is which of ours.
_TRIGGERED: Final = "incident.triggered"
#: Our keys: the incident's id, and from its second opening on `.` and which one it is.
_KEY: Final = re.compile(r"([a-z2-7]{10})(?:\.([1-9][0-9]{0,5}))?")


@dataclass(frozen=True, slots=True)
class Named:
    """Which incident a body is about: PagerDuty's id of it, and the key that was sent with it ("" for none).

    `matters`: there is something in it for us to do.
    """

    remote: str
    key: str
    matters: bool


def named(body: bytes) -> Named:
    """What the door has to know before it keeps a body; raises `Unreadable`."""
    event = _event(body)
    data = part(event, "data")
    of = part(data, "incident") or data
    kind = text(event.get("event_type"))
    return Named(text(of.get("id")), text(data.get("incident_key")), kind in _CHANGES or kind == _TRIGGERED)


def with_key(body: bytes, key: str) -> bytes:
    """The body as it is kept, where it came without a key."""
    return json.dumps({**read_object(body), "incident_key": key}).encode()


def is_ours(key: str) -> bool:
    """Whether a key may be one that we made."""
    return _KEY.fullmatch(key) is not None


def parse(body: bytes, at: datetime) -> Parsed:
    """One event for what concerns an incident, none for anything else; raises `Unreadable`."""
    event = _event(body)
    kind = text(event.get("event_type"))
    change = _CHANGES.get(kind)
    if change is None:
        return Parsed(events=())
    data, agent = part(event, "data"), part(event, "agent")
    key = text(data.get("incident_key")) or text(read_object(body).get("incident_key"))
    ours = _KEY.fullmatch(key)
    changed = RemoteChanged(
        change=change,
        event=text(event.get("id")),
        at=min(time(event.get("occurred_at")) or at, at),
        remote=text((part(data, "incident") or data).get("id")),
        incident=ours[1] if ours else "",
        opening=int(ours[2] or 1) if ours else 0,
        by=text(agent.get("summary")) or text(agent.get("type")) or "PagerDuty",
        by_person=text(agent.get("type")).startswith("user"),
        text=_content(data) if change is RemoteChange.ANNOTATED else _what(kind, data),
        calls=text(data.get("status")) == "triggered",
    )
    return Parsed(events=(changed,), accepted=1)


def _event(body: bytes) -> Mapping[str, Any]:
    event = part(read_object(body), "event")
    if not text(event.get("event_type")):
        raise Unreadable("this is no webhook of PagerDuty's version 3: it has no event_type", "event.event_type")
    return event


def _content(data: Mapping[str, Any]) -> str:
    content = data.get("content")
    return content[:10_000].encode("utf-8", "replace").decode() if isinstance(content, str) else ""


def _what(kind: str, data: Mapping[str, Any]) -> str:
    """What happened, as the end of "… in PagerDuty by …"."""
    if kind == "incident.priority_updated":
        return f"priority {text(part(data, 'priority').get('summary')) or 'taken away'}"
    assignees = data.get("assignees")
    whom = [text(part(a).get("summary")) for a in assignees] if isinstance(assignees, list) else []
    to = f" to {', '.join(filter(None, whom))}" if any(whom) else ""
    return f"{kind.removeprefix('incident.')}{to}"
