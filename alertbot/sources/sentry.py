"""Sentry's webhooks of an internal integration: an issue begins or ends, a rule of issues or of a metric fires.

What they mean is told by the body alone (`Sentry-Hook-Resource` says the same once more), so that a recorded body can
be read again: `data.issue`, `data.event` with `triggered_rule`, `data.metric_alert`. Everything else (comments, errors,
an assignment, the installation) is no alert.

- An issue has one alert whatever tells of it, for its end is told only as an issue, which names neither the rule nor
  the environment: the labels of whatever told of its beginning stay until its end (`AlertsReported.named`).
- A metric rule has one alert for each of its two levels, as alerting rules of Prometheus have, so that from warning to
  critical is news. At "warning" the critical one is over; at "resolved" both are.
- Times are not taken over: an event's is the clock of a browser or a phone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from alertbot.domain.events import AlertsReported, Parsed, ReportedAlert, Unreadable
from alertbot.sources.deploys import first_line, link, part, read_object, text

#: What is done to an issue → whether it fires then. Older versions say "ignored" for "archived"; "unresolved" is a
#: regression, an escalation, or a person.
_ISSUE: Final = {"created": True, "unresolved": True, "resolved": False, "archived": False, "ignored": False}
#: What a metric rule says → which of its levels fire (True) and are over (False). Below the critical threshold and
#: still over the other it says "warning"; at "critical" nothing is said of the other.
_METRIC: Final[Mapping[str, Mapping[str, bool]]] = {
    "critical": {"critical": True},
    "warning": {"warning": True, "critical": False},
    "resolved": {"warning": False, "critical": False},
}
#: Sentry's levels that are no common words for a severity.
_SEVERITIES: Final = {"fatal": "critical", "debug": "info", "sample": "info"}
#: An event names its project by number, and by name only in its API address.
_PROJECT: Final = re.compile(r"/projects/[^/]+/([^/]+)/events/")


def parse(body: bytes, at: datetime) -> Parsed:
    """The alerts that a body tells of, none for what is no alert. Raises `Unreadable`, with the field."""
    b = read_object(body)
    action, data = text(b.get("action")), part(b, "data")
    alerts: tuple[ReportedAlert, ...] = ()
    if issue := part(data, "issue"):
        if action in _ISSUE:
            alerts = (_issue(issue, _ISSUE[action]),)
    elif (event := part(data, "event")) and action == "triggered":
        alerts = (_event(event, text(data.get("triggered_rule"))),)
    elif metric := part(data, "metric_alert"):
        alerts = tuple(_metric(data, metric, level, fires) for level, fires in _METRIC.get(action, {}).items())
    if not alerts:
        return Parsed((), 0)
    # However many levels a metric rule has, its body tells of one alert.
    return Parsed((AlertsReported("sentry", alerts, named=True),), 1)


def _issue(issue: Mapping[str, Any], fires: bool) -> ReportedAlert:
    title = first_line(issue.get("title"))
    return _alert(
        _named("issue", issue, "id", "data.issue"),
        fires,
        {"alertname": title, "project": text(part(issue, "project").get("slug")), "severity": _severity(issue)},
        {"summary": title, "description": text(issue.get("culprit"))},
        link(issue.get("web_url")) or link(issue.get("permalink")),
    )


def _event(event: Mapping[str, Any], rule: str) -> ReportedAlert:
    title = first_line(event.get("title"))
    project = _PROJECT.search(text(event.get("url")))
    return _alert(
        _named("issue", event, "issue_id", "data.event"),
        True,
        {
            "alertname": rule or title,
            "project": project[1] if project else "",
            "severity": _severity(event),
            "environment": text(event.get("environment")) or _tag(event, "environment"),
        },
        {"summary": title, "description": text(event.get("culprit"))},
        link(event.get("web_url")),
    )


def _metric(data: Mapping[str, Any], metric: Mapping[str, Any], level: str, fires: bool) -> ReportedAlert:
    rule = part(metric, "alert_rule")
    projects = rule.get("projects")
    return _alert(
        f"{_named('metric', rule, 'id', 'data.metric_alert.alert_rule')}-{level}",
        fires,
        {
            "alertname": text(rule.get("name")) or text(metric.get("title")),
            "project": ",".join(map(text, projects)) if isinstance(projects, list) else "",
            "severity": level,
            "environment": text(rule.get("environment")),
        },
        {"summary": text(data.get("description_title")), "description": text(data.get("description_text"))},
        link(data.get("web_url")),
    )


def _alert(
    fingerprint: str, fires: bool, labels: Mapping[str, str], annotations: Mapping[str, str], url: str
) -> ReportedAlert:
    """As Alertmanager has it: what has no value is not there."""
    return ReportedAlert(
        fingerprint=fingerprint,
        labels={name: value for name, value in labels.items() if value},
        annotations={name: value for name, value in annotations.items() if value},
        firing=fires,
        generator_url=url,
    )


def _named(kind: str, thing: Mapping[str, Any], key: str, where: str) -> str:
    ident = text(thing.get(key))
    if not ident:
        raise Unreadable("the id is missing", f"{where}.{key}")
    return f"sentry-{kind}-{ident}"


def _severity(thing: Mapping[str, Any]) -> str:
    level = text(thing.get("level"))
    return _SEVERITIES.get(level, level)


def _tag(event: Mapping[str, Any], name: str) -> str:
    """A tag of an event, which has them as a list of pairs."""
    tags = event.get("tags")
    pairs = (tag for tag in tags if isinstance(tag, list) and len(tag) == 2) if isinstance(tags, list) else ()
    return next((text(value) for key, value in pairs if key == name), "")
