"""Words for people: the templates' environment, the data they see, and the filters that keep foreign text
harmless.

A template is the operator's; what fills it is anybody's. Foreign text (labels, annotations, names) is only
ever data to a template, never the source of one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from jinja2 import FileSystemLoader, StrictUndefined, TemplateError, TemplateNotFound
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment
from markupsafe import Markup, escape

from alertbot.domain.deploys import Deploy
from alertbot.domain.durations import humanize
from alertbot.domain.enrichment import Enrichment, RunbookRef
from alertbot.domain.model import (
    Action,
    Alert,
    AlertStatus,
    Delivery,
    Entry,
    Incident,
    IncidentStatus,
    Level,
    Silence,
    Want,
)
from alertbot.domain.reasons import Reason
from alertbot.domain.storm import Group, Storm
from alertbot.notifiers.base import Job, Links, Told
from alertbot.paths import data_dir

#: Folders whose templates are filled from a job (see `context`). Others are the pages', which fill them
#: themselves.
JOB_TEMPLATES: Final = ("email", "pagerduty", "slack", "sms")
#: How the way to alertbot's own page is called: an incident's, and that of a deploy or maintenance.
PAGES: Final = ("Incident", "Details")

# Direction overrides, isolates and marks turn "exe.evil" into "live.exe"; the line separators break one line
# into two in some programs; lone surrogates cannot be encoded at all.
_INVISIBLE: Final = "\u061c\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff"
_UNSAFE: Final = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_INVISIBLE}]")
_BREAKS: Final = re.compile("\r\n|[\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_SURROGATES: Final = re.compile("[\ud800-\udfff]")
_SPACES: Final = re.compile(r"\s+")


def clean(text: object) -> str:
    """Foreign text, over one or more lines: without control characters, direction overrides and lone
    surrogates."""
    lines = _BREAKS.sub("\n", str(text))
    return _SURROGATES.sub("\ufffd", _UNSAFE.sub("", lines))


def one_line(text: object) -> str:
    """Foreign text on exactly one line, each run of white space one space."""
    return _SPACES.sub(" ", clean(text)).strip()


def cut(text: object, length: int) -> str:
    """At most `length` characters; where something had to go, the end says how much."""
    whole = str(text)
    if len(whole) <= length:
        return whole
    kept = length
    while kept > 0:
        mark = f"… ({len(whole) - kept} more characters)"
        if kept + len(mark) <= length:
            return whole[:kept] + mark
        kept = min(kept - 1, length - len(mark))
    return whole[: max(length - 1, 0)] + "…"[: max(length, 0)]


def http_url(text: object) -> str:
    """The address, where it is an absolute http(s) one that can be shown as a link; else an empty string."""
    url = str(text).strip()
    if len(url) > 2000 or clean(url) != url or _SPACES.search(url) or any(c in url for c in '<>"`|\\'):
        return ""
    try:
        parts = urlsplit(url)
        return url if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 else ""
    except ValueError:  # not an address: a bad port, an open bracket
        return ""


def utc(when: datetime) -> str:
    """A time to the minute, for people: `2026-11-21 03:12 UTC`."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(span: timedelta) -> str:
    """How long, in words."""
    return humanize(span)


def since(start: datetime, now: datetime) -> str:
    """How long it has been, in words; never negative, for clocks differ."""
    return humanize(max(now - start, timedelta(0)))


def ago(start: datetime, now: datetime) -> str:
    """When it was, in words: `5 min ago`."""
    return f"{since(start, now)} ago" if now - start >= timedelta(seconds=1) else "just now"


def number(value: float) -> str:
    """A measured number with three digits: `12.3k`, `0.0731`."""
    size, letter = next(
        ((s, x) for s, x in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")) if abs(value) >= s), (1, "")
    )
    return f"{value / size:{'.0f' if 99.5 <= abs(value / size) < 1000 else '.3g'}}{letter}"


def code_spans(text: str) -> Markup:
    """A line for HTML, with what stands in back-quotes as code."""
    parts = text.split("`")
    odd = len(parts) % 2 == 1
    marked = [Markup("<code>{}</code>").format(p) if n % 2 and odd else escape(p) for n, p in enumerate(parts)]
    return (Markup("") if odd else Markup("`")).join(marked)


def left(share: float) -> str:
    """What is left of something that can be overspent, in words."""
    percent = round(share * 100)
    return f"{percent} % left" if percent > 0 else f"none left, {-percent} % overspent" if percent < 0 else "none left"


@cache
def environment(subdir: str) -> SandboxedEnvironment:
    """The templates of one destination. Names that contain `.html` are escaped; an undefined name is an
    error.

    One for all who ask: it keeps what it compiled, and compiles anew what was changed on disk since.
    """
    return _environment(data_dir("templates") / subdir)


class _Environment(ImmutableSandboxedEnvironment):
    """Whether a template is escaped is decided by its own name: so HTML may only be made of parts that are
    HTML."""

    def join_path(self, template: str, parent: str) -> str:
        if ".html" in parent and ".html" not in template:
            raise TemplateNotFound(template, f"{parent} is HTML, and {template} would not be escaped in it")
        return super().join_path(template, parent)


@cache
def _environment(folder: Path) -> SandboxedEnvironment:
    """One for all who ask: compiling a template takes many times as long as filling it."""
    env = _Environment(
        loader=FileSystemLoader(folder),
        undefined=StrictUndefined,
        autoescape=lambda name: name is not None and ".html" in name,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters = {
        "ago": ago, "since": since, "duration": duration, "utc": utc,
        "clean": clean, "one_line": one_line, "cut": cut, "http_url": http_url, "number": number, "left": left,
        "code_spans": code_spans,
    }  # fmt: skip
    env.filters.update(filters)
    return env


@dataclass(frozen=True, slots=True)
class AlertView:
    """One alert as templates see it. All text is cleaned; `summary` is one line and never empty."""

    status: str
    name: str
    summary: str
    description: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    severity: str
    starts_at: datetime
    ends_at: datetime | None
    held_by: str
    held_until: datetime | None
    url: str
    held_in: Sequence[str] = ()
    """The windows that hold it, by their ids."""
    silenced: str = ""
    """By whom, until when and why nobody is disturbed by it, as it stands on a card."""


def alert_view(alert: Alert) -> AlertView:
    """What there is to say of one alert, made harmless."""
    name = one_line(alert.labels.get("alertname", ""))
    texts = (alert.annotations.get(key, "") for key in ("summary", "message", "title", "description"))
    summary = next((line for line in map(one_line, texts) if line), "") or name or "an alert without a name"
    description = clean(alert.annotations.get("description") or alert.annotations.get("message") or "").strip()
    held = alert.hold if alert.firing else None
    status = "held" if held else "cleared" if alert.cleared and not alert.firing else alert.status.value
    return AlertView(
        status=status,
        name=name,
        summary=summary,
        description="" if one_line(description) == summary else description,
        labels={one_line(k): one_line(v) for k, v in sorted(alert.labels.items())},
        annotations={one_line(k): clean(v) for k, v in sorted(alert.annotations.items())},
        severity=one_line(alert.severity),
        starts_at=alert.starts_at,
        ends_at=None if alert.firing else alert.ends_at,
        held_by=one_line(held.by) if held else "",
        held_until=held.until if held else None,
        url=http_url(alert.generator_url),
        held_in=held.windows if held else (),
        silenced=_silenced(alert.silence) if alert.firing and alert.silence is not None else "",
    )


def _silenced(silence: Silence) -> str:
    why = f": {cut(one_line(silence.comment), 300)}" if one_line(silence.comment) else ""
    if silence.inhibited:
        return f"Inhibited in Alertmanager{why}"
    until = utc(silence.until) if silence.until is not None else "resolved"
    return f"Silenced by {one_line(silence.by)} until {until}{why}"


def safe_links(links: Links) -> Links:
    """The links that may be shown; the others are empty."""
    return Links(
        incident=http_url(links.incident),
        graph=http_url(links.graph),
        runbook=http_url(links.runbook),
        dashboard=http_url(links.dashboard),
        silence=http_url(links.silence),
    )


def ways(links: Links, more: Sequence[tuple[str, str]] = (), page: str = PAGES[0]) -> list[tuple[str, str]]:
    """(name, address) of every way on that may be shown: the runbook first, alertbot's own page last.

    A configured link fills in for one of ours of the same name that is not there.
    """
    safe = safe_links(links)
    ours = {"Runbook": safe.runbook, "Graph": safe.graph, "Dashboard": safe.dashboard}
    rest: dict[str, str] = {}
    for name, address in more:
        if url := http_url(address):
            place, named = (ours, name.capitalize()) if name.capitalize() in ours else (rest, one_line(name))
            place[named] = place.get(named) or url
    found = {**ours, **rest}
    found["Silence"] = safe.silence or found.get("Silence", "")
    found[page] = safe.incident
    return [(name, url) for name, url in found.items() if url]


def runbook_view(found: RunbookRef | None) -> RunbookRef | None:
    """The runbook as templates see it: cleaned. None where it is a link only, which stands with the others."""
    if found is None or not found.name:
        return None
    return RunbookRef(one_line(found.title), http_url(found.url), tuple(map(one_line, found.steps)), found.name)


def known(found: Enrichment, now: datetime) -> list[str]:
    """What was found beside the alerts, in words, a line each."""
    template = environment("words").get_template("known.j2")
    found_of = {name: getattr(found, name) for name in ("suspects", "graph", "budgets", "history")}
    values = {**found_of, "now": now}
    return [line.strip() for line in template.render(values).splitlines() if line.strip()]


def told_lines(told: Told) -> list[str]:
    """A verdict or a notice in words, a line each."""
    template = environment("words").get_template("window.j2")
    window = told.window
    values = {"verdict": window.verdict, "why": window.why.value, "window": window, "deploys": told.deploys}
    return [line.strip() for line in template.render(values).splitlines() if line.strip()]


def deploy_links(deploys: Iterable[Deploy]) -> list[tuple[str, str]]:
    """The ways to a deploy and to what it changed, of the first that has them."""
    found: dict[str, str] = {}
    for deploy in deploys:
        for name, url in (("Deploy", deploy.url), ("Diff", deploy.compare_url), ("Roll back", deploy.rollback)):
            found[name] = found.get(name) or http_url(url)
    return [(name, url) for name, url in found.items() if url]


def counts(incident: Incident) -> str:
    """How many alerts, in words: `2 firing, 1 held`; `resolved` where nothing is left."""
    parts = [f"{n} {word}" for n, word in ((incident.firing, "firing"), (incident.held, "held")) if n]
    return ", ".join(parts) if parts and incident.status is not IncidentStatus.RESOLVED else "resolved"


def title(incident: Incident) -> str:
    """The incident's title on one line, never empty; a test says that it is one."""
    return ("[TEST] " if incident.test else "") + (one_line(incident.title) or f"incident {incident.id}")


@dataclass(frozen=True, slots=True)
class StormView:
    """A storm as templates see it: cleaned, on one line each. `groups` are (what, "3 of 5 name, …") in order."""

    counts: str
    since: datetime
    groups: Sequence[tuple[str, str]]
    common: str
    worst: Sequence[str]
    more: int
    over: bool


def storm_view(storm: Storm) -> StormView:
    """How many incidents and alerts, by what, what they share, and the worst of them."""
    groups = (("By severity", storm.severities), ("By service", storm.services), ("By alert", storm.names))
    return StormView(
        counts=f"{storm.open} of {storm.total} incidents are open, {storm.alerts} alerts fire in them",
        since=storm.since,
        groups=[(what, _of_group(found)) for what, found in groups if found],
        common=", ".join(f"{one_line(k)}={cut(one_line(v), 100)}" for k, v in storm.common),
        worst=[f"{i.severity.upper()} {cut(title(i), 200)}" for i in storm.worst],
        more=max(storm.open - len(storm.worst), 0),
        over=storm.over,
    )


def _of_group(groups: Sequence[Group]) -> str:
    named = [f"{cut(one_line(g.name), 80)} {g.open} of {g.total}" for g in groups[:8]]
    return ", ".join(named) + (f", and {len(groups) - 8} more" if len(groups) > 8 else "")


def context(job: Job) -> dict[str, Any]:
    """What a template of `JOB_TEMPLATES` can name.

    `here_only` says why a silence is not kept in Alertmanager.
    `action`, `status`, `severity`, `reason` are words; `title` and `counts` one line each; `labels` the group
    labels; `firing`, `held`, `resolved` are lists of `AlertView` (at most a few hundred in all) and
    `firing_count`, `held_count`, `resolved_count` the true numbers; `links` has only valid ones, and `ways` these and
    the configured ones as (name, address); `runbook` has `title` and `steps`, or is None; `known` are lines of what
    else was found; `news` are the entries since the destination was last told; `incident` is the record itself (its
    text is not cleaned: prefer the names above).
    """
    incident = job.incident
    views = [alert_view(alert) for alert in job.alerts]
    resolved = incident.status is IncidentStatus.RESOLVED
    return {
        "action": job.action.value,
        "status": incident.status.value,
        "severity": one_line(incident.severity),
        "severities": [one_line(s) for s in job.severities],
        "reason": job.delivery.want.reason.value,
        "receiver": one_line(job.delivery.want.receiver),
        "title": title(incident),
        "counts": counts(incident),
        "labels": {one_line(k): one_line(v) for k, v in sorted(incident.labels.items())},
        "firing": [v for v in views if v.status in ("firing", "unknown")],
        "held": [v for v in views if v.status == "held"],
        "resolved": [v for v in views if v.status in ("resolved", "cleared")],
        "firing_count": incident.firing,
        "held_count": incident.held,
        "resolved_count": incident.resolved,
        "opened_at": incident.opened_at,
        "acknowledged_at": incident.acknowledged_at,
        "acknowledged_by": one_line(incident.acknowledged_by or ""),
        "ack_due_at": incident.ack_due_at,
        "overdue": incident.overdue,
        "escalate_at": incident.escalate_at,
        "escalates_to": one_line(incident.escalates_to),
        "escalated_to": [one_line(name) for name in incident.escalated if name not in incident.resting],
        "resolved_at": incident.resolved_at if resolved else None,
        "resolved_by": one_line(incident.resolved_by or "") if resolved else "",
        "flapping": incident.flapping,
        "here_only": one_line(incident.silence.problem) if incident.silence is not None else "",
        "test": incident.test,
        "links": safe_links(job.links),
        "ways": ways(
            job.links, [*job.enrichment.links, *deploy_links(_deploys(job))], PAGES[0 if job.told is None else 1]
        ),
        "runbook": None if resolved else runbook_view(job.enrichment.runbook),
        "known": [] if resolved else known(job.enrichment, job.now),
        "news": job.news,
        "told": told_lines(job.told) if job.told is not None else [],
        "storm": storm_view(job.storm) if job.storm is not None else None,
        "incident": incident,
        "now": job.now,
    }


def _deploys(job: Job) -> list[Deploy]:
    if job.told is not None:
        return list(job.told.deploys)
    return [suspect.deploy for suspect in job.enrichment.suspects[:1]]


def check_templates(root: Path | None = None) -> list[str]:
    """What is wrong with the templates, one line each: every one must compile, and those of a job be filled.

    A name with a leading underscore is a part of others: it is only compiled. `root` is for a folder other
    than ours.
    """
    problems: list[str] = []
    root = data_dir("templates") if root is None else root
    for folder in sorted(p for p in root.iterdir() if p.is_dir()):
        env = _environment(folder)
        for name in sorted(env.list_templates()):
            where = f"{folder.name}/{name}"
            try:
                template = env.get_template(name)
            except (TemplateError, UnicodeDecodeError) as e:
                problems.append(f"{where}:{getattr(e, 'lineno', None) or 1}: {one_line(e)}")
                continue
            if folder.name not in JOB_TEMPLATES or Path(name).name.startswith("_"):
                continue
            for job in sample_jobs():
                try:
                    template.render(context(job))
                except Exception as e:  # noqa: BLE001 - a template runs any expression; each of its errors is a finding
                    problems.append(f"{where}:1: cannot be filled for {job.action.value}: {one_line(e)}")
                    break
    return problems


def sample_jobs() -> Iterator[Job]:
    """One made-up job for each action, and one with nothing in it that may be missing: to try templates
    on."""
    now = datetime(2026, 11, 21, 3, 12, tzinfo=UTC)
    for action in Action:
        status = {
            Action.RESOLVE: IncidentStatus.RESOLVED,
            Action.ACKNOWLEDGE: IncidentStatus.ACKNOWLEDGED,
        }.get(action, IncidentStatus.OPEN)
        yield _sample(action, status, now, bare=False)
    yield _sample(Action.OPEN, IncidentStatus.OPEN, now, bare=True)


def _sample(action: Action, status: IncidentStatus, now: datetime, *, bare: bool) -> Job:
    opened = now - timedelta(minutes=12)
    resolved = status is IncidentStatus.RESOLVED
    incident = Incident(
        id="sample01",
        key="{}:{}",
        route="{}",
        receiver="critical",
        labels={} if bare else {"alertname": "HighErrorRate", "service": "api", "environment": "prod"},
        title="" if bare else "HighErrorRate api prod",
        severity="critical",
        status=status,
        created_at=opened,
        opened_at=None if bare else opened,
        acknowledged_at=now if status is IncidentStatus.ACKNOWLEDGED else None,
        acknowledged_by="ada" if status is IncidentStatus.ACKNOWLEDGED else None,
        resolved_at=now if resolved else None,
        openings=1,
        revision=2,
        news=1,
        firing=0 if resolved else 1,
        resolved=1 if resolved else 0,
    )
    alert = Alert(
        incident=incident.id,
        identity="0123456789abcdef",
        fingerprint="0123456789abcdef",
        labels={"alertname": "HighErrorRate", "service": "api", "instance": "api-1:8080"},
        annotations={"summary": "5 % of requests fail", "description": "Of all requests to api, 5 % fail."},
        severity="critical",
        status=AlertStatus.RESOLVED if resolved else AlertStatus.FIRING,
        starts_at=opened,
        changed_at=opened,
        seen_at=now,
        ends_at=now if resolved else None,
    )
    kind = "remind" if action is Action.REMIND else "incident"
    level = Level(status, 1, 2, 1)
    want = Want(incident.id, "critical", "slack", "#ops", "lane", level, Reason.FIRST_NOTIFICATION, now, 0, kind)
    news: Sequence[Entry] = () if bare else (Entry(opened, "alert", Reason.NEW_EPISODE, incident.id, alert.identity),)
    base = "https://alertbot.example.org/"
    links = Links() if bare else Links(f"{base}incidents/{incident.id}", f"{base}graph", f"{base}runbook", "", base)
    return Job(
        delivery=Delivery(want.id, want),
        action=action,
        incident=incident,
        alerts=() if bare else (alert,),
        news=news,
        links=links,
        severities=("critical", "high", "medium", "low"),
        now=now,
    )
