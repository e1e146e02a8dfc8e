"""A maintenance window: what `POST /api/v1/maintenance`, `alertbot maintenance` and a replayed maintenance say."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from alertbot.domain.durations import DurationError, parse_duration
from alertbot.domain.events import MaintenanceAction, MaintenanceReported, Parsed, Unreadable
from alertbot.sources.deploys import read_labels, read_object, text

_ACTIONS: Final = {action.value: action for action in MaintenanceAction}


def parse(body: bytes, at: datetime) -> Parsed:
    """`{"action": "start|extend|end", "id", "labels", "duration", "by", "reason"}`.

    `id` is required, and to start or extend a `duration` (Alertmanager's, as `2h`): there is no window without an end.
    `alertname` names the window, among `labels` or by itself. Raises `Unreadable`, with the field.
    """
    b = read_object(body)
    action = _ACTIONS.get(text(b.get("action")) or "start")
    if action is None:
        raise Unreadable("action must be start, extend or end", "action")
    ident = text(b.get("id"))
    if not ident:
        raise Unreadable("the id is missing", "id")
    duration = None
    if action is not MaintenanceAction.END:
        said = b.get("duration")
        if not isinstance(said, str) or not said:
            raise Unreadable("a maintenance window needs a duration, as 2h: it always has an end", "duration")
        try:
            duration = parse_duration(said)
        except DurationError as e:
            raise Unreadable(str(e), "duration") from None
        if not duration:
            raise Unreadable("a duration of nothing", "duration")
    labels = read_labels(b.get("labels"))
    name = text(b.get("alertname"))
    return Parsed(
        (
            MaintenanceReported(
                action=action,
                id=ident,
                labels={**labels, "alertname": name} if name else labels,
                duration=duration,
                by=text(b.get("by")),
                reason=text(b.get("reason")),
            ),
        ),
        1,
    )
