"""PagerDuty, by the Events API v2.

https://developer.pagerduty.com/docs/events-api-v2/overview: a `dedup_key` means one alert under one routing
key; a trigger on it is appended while it is open, also while it is acknowledged, and opens a new one after a
resolve; acknowledge and resolve of what is not open are dropped without a word. So every event may be
repeated, but a trigger must never come after its resolve.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from alertbot.domain.budgets import COUNT, CRITICAL, NEWS, PAGERDUTY
from alertbot.domain.levels import NOTE, doubtful, shown_by
from alertbot.domain.model import Action, IncidentStatus
from alertbot.domain.reasons import Reason
from alertbot.domain.remote import SIGNATURE
from alertbot.domain.storm import Storm
from alertbot.notifiers.answers import classify, retry_after, safe_words
from alertbot.notifiers.base import DryRun, Failed, Job, Later, Limiter, Result, Retry, Sent, Unlimited
from alertbot.notifiers.pagerduty_rest import PagerDutyRest, RestError
from alertbot.notifiers.pagerduty_sessions import ClientError, EventsSession, Sessions
from alertbot.render import (
    AlertView,
    alert_view,
    clean,
    context,
    counts,
    cut,
    environment,
    one_line,
    runbook_view,
    safe_links,
    title,
    ways,
)

#: PagerDuty refuses events over 512 KB; what comes near is cut before.
EVENT_BYTES: Final = 500_000
SUMMARY: Final = 1024
#: Characters of a note. PagerDuty names no limit for one.
NOTE_TEXT: Final = 5_000
#: Events of one routing key under way at once: as many as the outbox starts in a lane.
THREADS: Final = 4
_SEVERITIES: Final = ("critical", "error", "warning", "info")
#: Labels that name the thing that fails, the component it belongs to, and the group of those; the first
#: present wins.
_SOURCE: Final = ("instance", "host", "hostname", "node", "pod", "service", "job")
_COMPONENT: Final = ("service", "app", "job")
_GROUP: Final = ("team", "environment", "env", "cluster")

log = logging.getLogger("alertbot.notifiers.pagerduty")


@dataclass(frozen=True, slots=True)
class Event:
    """One request: `kind` is trigger, acknowledge or resolve; `body` what a trigger says."""

    kind: str
    dedup_key: str
    body: Mapping[str, Any] = field(default_factory=dict)


class PagerDutyNotifier:
    """One integration of a PagerDuty service. `name` is what may be shown of it.

    `severity_map` says which of PagerDuty's severities a severity of ours is; without a word there, its rank
    says it. `timeout`, in seconds, bounds connecting and each wait for bytes of an answer, and an event as a
    whole.
    """

    def __init__(
        self,
        routing_key: str | None,
        *,
        name: str = "pagerduty",
        url: str = "https://events.pagerduty.com/",
        client: str = "alertbot",
        severity_map: Mapping[str, str] | None = None,
        timeout: float = 10.0,
        limiter: Limiter | None = None,
        budget: str = "",
        rest: PagerDutyRest | None = None,
    ) -> None:
        self._rest = rest
        self.dry: str | None = None if routing_key else "routing_key"
        self._limiter = limiter or Unlimited()
        self._budget = budget or name
        self.name = name
        self.timeout = timeout
        self._key = routing_key or ""
        self._url = url.rstrip("/")
        self._payload = Payload(client, severity_map or {})
        self._sessions = Sessions(self._session, THREADS, "pagerduty")
        #: Incident → its request that a thread is still busy with, after we stopped waiting for it.
        self._busy: dict[str, asyncio.Future[None]] = {}

    async def deliver(self, job: Job) -> Result:
        """Sends what `plan` says, in its order; the first event that fails ends the attempt."""
        if job.delivery.want.kind.startswith(NOTE):
            return await self._note(job)
        steps = plan(job)
        key = dedup_key(job.incident.id, job.delivery.want.level.opening)
        if self.dry:
            kinds = ", ".join(kind for kind, _ in steps) or "nothing"
            return DryRun(f"{kinds} {key}: {self._payload.summary(job)}")
        if job.incident.id in self._busy:
            return Retry(f"{self.name}: an earlier request is still under way", uncertain=True)
        for kind, step_key in steps:
            until = await self._limiter.spend(PAGERDUTY, self._budget, _urgency(job, kind))
            if until is not None:
                return Later(until)
            if kind == "acknowledge" and await self._acknowledged_by_person(job, step_key):
                continue
            body = self._payload.trigger(job) if kind == "trigger" else {}
            bad = await self._send(job, Event(kind, step_key, body))
            if isinstance(bad, Retry) and bad.after is not None and not bad.uncertain:  # 429
                closed_until = await self._limiter.put_off(f"{PAGERDUTY}:{self._budget}", bad.after)
                return Later(closed_until, error=bad.error)
            if bad is not None:
                return bad
        return Sent(remote_id=key)

    async def _acknowledged_by_person(self, job: Job, key: str) -> bool:
        """Whether it was acknowledged there as the person who did it here. An event says only that somebody did."""
        by = job.incident.acknowledged_by or ""
        if self._rest is None or job.incident.quieted or not by:
            return False
        try:
            email = await self._rest.email_of(by)
            remote = await self._rest.incident_of(key) if email else ""
            if remote:
                await self._rest.acknowledge(remote, email)
        except RestError as e:
            log.warning("acknowledged by event, not as the person: %s", e, extra={"incident": job.incident.id})
            return False
        return bool(remote)

    async def _note(self, job: Job) -> Result:
        """What somebody wrote down, as a note of theirs; where PagerDuty does not know them, with their name in it."""
        said = next((e for e in reversed(job.news) if e.reason is Reason.NOTE_ADDED), None)
        if self._rest is None or said is None:
            return Failed(f"{self.name}: there is nothing to write, or no pagerduty_api_token to write it with")
        key = dedup_key(job.incident.id, job.delivery.want.level.opening)
        text = f"{one_line(said.by)}: {cut(clean(said.details.get('note', '')), NOTE_TEXT)} {SIGNATURE}"
        try:
            remote = await self._rest.incident_of(key)
            if not remote:
                return Retry(f"{self.name}: PagerDuty has no incident with the key {key}")
            if job.delivery.uncertain and text in await self._rest.notes(remote):
                return Sent(remote_id=remote)
            await self._rest.note(remote, text, await self._rest.email_of(said.by))
        except RestError as e:
            words = f"PagerDuty's REST API: {e}"
            return Retry(words, uncertain=e.status == 0) if e.may_pass else Failed(words)
        return Sent(remote_id=remote)

    async def close(self) -> None:
        """Takes no more events. A request that is under way ends within its own time."""
        self._sessions.close()

    def __repr__(self) -> str:
        return f"PagerDutyNotifier({self.name!r})"

    async def _send(self, job: Job, event: Event) -> Retry | Failed | None:
        """One event. A thread cannot be cancelled: where we stop waiting, its incident stays busy until it is
        done."""
        request = self._sessions.submit(partial(self._post, event))
        answer = asyncio.wrap_future(request)
        self._busy[job.incident.id] = answer
        answer.add_done_callback(partial(self._free, job.incident.id))
        try:
            # The thread ends by itself within `timeout` to connect and as much to read; one that is fed its
            # answer byte by byte does not.
            async with asyncio.timeout(2 * self.timeout + 1):
                await asyncio.shield(answer)
        except ClientError as e:
            return self._failure(e, job.now)
        except TimeoutError:
            return Retry(f"{self.name}: no answer to {event.kind}", uncertain=True)
        finally:
            request.cancel()  # has an effect only where no thread has begun on it
        return None

    def _free(self, incident: str, answer: asyncio.Future[None]) -> None:
        if not answer.cancelled():
            answer.exception()  # seen, also where nobody waits for it any more
        if self._busy.get(incident) is answer:
            del self._busy[incident]

    def _session(self) -> EventsSession:
        return EventsSession(self._key, self._url, self.timeout)

    def _post(self, event: Event, session: EventsSession) -> None:
        """In a thread. Raises `ClientError` for any answer but 2xx with PagerDuty's own body."""
        try:
            session.send_event(event.kind, dedup_key=event.dedup_key, **event.body)
        except ClientError:
            raise
        except Exception as e:  # requests, urllib3 and json raise many kinds; each is a failed attempt
            raise ClientError(type(e).__name__) from e

    def _failure(self, error: Any, now: datetime) -> Retry | Failed:
        """By the status code: of pdpyras' classes only exactly 500 is a server error. Its messages are not
        used: they have the end of the key in them."""
        response = error.response
        if response is None:
            cause = error.__cause__
            return Retry(f"{self.name}: {_network_words(cause)}", uncertain=not _never_sent(cause))
        after = retry_after(response.headers.get("Retry-After"), now)
        words = safe_words(_pagerduty_words(response), (self._key,))
        bad = classify("PagerDuty", response.status_code, words, after)
        # A 2xx that is not PagerDuty's (a proxy's page) is no promise that anybody is called.
        return bad or Retry(f"PagerDuty answered {response.status_code}, but not as itself", uncertain=True)


def _pagerduty_words(response: Any) -> str:
    """PagerDuty's `errors`, or its `message`; else the start of the body as it is."""
    try:
        said = response.json()
    except ValueError:
        return str(response.text[:1000])
    if not isinstance(said, dict):
        return str(response.text[:1000])
    errors = said.get("errors")
    if isinstance(errors, list) and errors:
        return "; ".join(str(e) for e in errors)
    return str(said.get("message") or said.get("status") or "")


def _reason(error: BaseException | None) -> BaseException | None:
    """requests wraps urllib3's error, and that the cause: the innermost one that says something."""
    inner = error.args[0] if error is not None and error.args else None
    cause = getattr(inner, "reason", None)
    return cause if isinstance(cause, BaseException) else error


def _never_sent(error: BaseException | None) -> bool:
    """No connection was made: nothing can have arrived."""
    return type(_reason(error)).__name__ in (
        "NewConnectionError",
        "ConnectTimeoutError",
        "NameResolutionError",
    )


def _network_words(error: BaseException | None) -> str:
    return f"network failure: {type(_reason(error)).__name__}"


def dedup_key(incident: str, opening: int) -> str:
    """The incident's id, and from its second opening on `<id>.<n>`.

    PagerDuty would append a trigger to an acknowledged alert and call nobody: a new opening needs a new key.
    """
    return incident if opening <= 1 else f"{incident}.{opening}"


def _urgency(job: Job, kind: str) -> int:
    """What of the key's budget an event may take: a storm's page all of it, for it stands in for many."""
    if kind != "trigger":
        return COUNT
    if job.storm is not None:
        return CRITICAL
    return NEWS if job.delivery.want.rank == 0 else COUNT


def plan(job: Job) -> list[tuple[str, str]]:
    """The events, as (kind, dedup_key), that bring PagerDuty from what it shows to what it should show, in
    order.

    Each is idempotent, so that after a failure the whole is done again. Openings that may be open there under
    an older key (`uncertain`: also those whose trigger may have arrived unknown to us) are resolved first.
    """
    want, shown = job.delivery.want.level, shown_by(job.delivery)
    told = shown.status in (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)
    first, last = max(shown.opening, 1), max(want.opening, 1)
    maybe_open = {first} if told else set()
    if doubtful(job.delivery):
        maybe_open |= set(range(first, last + 1))

    def key(opening: int) -> str:
        return dedup_key(job.incident.id, opening)

    if want.status is IncidentStatus.RESOLVED or job.action is Action.RESOLVE:
        return [("resolve", key(n)) for n in sorted(maybe_open or {last})]
    if job.action in (Action.REMIND, Action.VERDICT, Action.NOTICE):
        return []  # PagerDuty has reminders of its own; a verdict pages nobody
    if job.action is Action.ACKNOWLEDGE and not doubtful(job.delivery):
        return [("acknowledge", key(first))]
    before = [("resolve", key(n)) for n in sorted(maybe_open) if n < last]
    if want.status is IncidentStatus.ACKNOWLEDGED and job.action not in (Action.UPDATE, Action.ESCALATE):
        # Also where an opening may have arrived and somebody acknowledged meanwhile: nobody is called again.
        return [*before, ("acknowledge", key(last))]
    return [*before, ("trigger", key(last))]


class Payload:
    """Makes a trigger's body of a job."""

    def __init__(self, client: str, severity_map: Mapping[str, str]) -> None:
        self._client = client
        self._severities = severity_map
        self._summary = environment("pagerduty").get_template("summary.j2")

    def summary(self, job: Job) -> str:
        """One line of at most 1,024 characters."""
        return cut(one_line(self._summary.render(context(job))) or title(job.incident), SUMMARY)

    def trigger(self, job: Job) -> dict[str, Any]:
        """The body, and in JSON at most `EVENT_BYTES`: alerts that do not fit are counted, not shown."""
        incident, links = job.incident, safe_links(job.links)
        firing = [v for v in map(alert_view, job.alerts) if v.status in ("firing", "unknown")]
        labels = _cut_labels({one_line(k): one_line(v) for k, v in sorted(incident.labels.items())})
        first = firing[0].labels if firing else {}
        payload: dict[str, Any] = {
            "summary": self.summary(job),
            "source": cut(_first(_SOURCE, first, labels) or _in_words(labels) or self._client, 255),
            "severity": self.severity(job),
            "timestamp": (incident.opened_at or job.now).astimezone(UTC).isoformat(),
        }
        for name, value in (
            ("component", _first(_COMPONENT, labels, first)),
            ("group", _first(_GROUP, labels, first)),
            ("class", _first(("alertname",), labels, first)),
        ):
            if value:
                payload[name] = cut(value, 255)
        details: dict[str, Any] = {"counts": counts(incident), "severity": one_line(incident.severity)}
        if links.incident:
            details["incident"] = links.incident
        if incident.test:
            details["test"] = "This is a test of alertbot: nothing is wrong, and nobody has to act."
        runbook = runbook_view(job.enrichment.runbook)
        if runbook is not None:
            details["runbook"] = {"title": cut(runbook.title, 300), "first_steps": runbook.steps}
        details["group_labels"] = labels
        payload["custom_details"] = details
        body: dict[str, Any] = {"payload": payload, "client": self._client}
        if links.incident:
            body["client_url"] = links.incident
        shown = sorted(ways(job.links, job.enrichment.links), key=lambda way: way[0] != "Incident")
        body["links"] = [{"href": url, "text": name} for name, url in shown]
        if job.storm is not None:
            self._add_storm(body, details, job.storm, links.incident)
        else:
            self._add_alerts(body, details, firing, max(incident.firing, len(firing)), links.incident)
        return body

    def _add_storm(self, body: dict[str, Any], details: dict[str, Any], storm: Storm, link: str) -> None:
        """Each open member by id and title: somebody is called for every one of them."""
        details["counts"] = f"{storm.open} of {storm.total} incidents are open, {storm.alerts} alerts fire in them"
        details["by_service"] = {one_line(g.name): g.open for g in storm.services[:20]}
        details["by_alertname"] = {one_line(g.name): g.open for g in storm.names[:20]}
        details["in_common"] = {one_line(k): cut(one_line(v), 200) for k, v in storm.common}
        room = EVENT_BYTES - _size(body) - 5_000
        named: list[str] = []
        for incident, title_ in storm.members:
            named.append(f"{incident} {cut(one_line(title_), 150)}")
            room -= _size(named[-1]) + 2
            if room < 0:
                named.pop()
                break
        details["incidents"] = named
        if len(named) < len(storm.members):
            details["not_shown"] = f"{len(storm.members) - len(named)} more{f': see {link}' if link else ''}"

    def severity(self, job: Job) -> str:
        """PagerDuty's word for ours."""
        severity = job.incident.severity
        rank = job.severities.index(severity) if severity in job.severities else job.delivery.want.rank
        return self._severities.get(severity) or _SEVERITIES[min(max(rank, 0), len(_SEVERITIES) - 1)]

    def _add_alerts(
        self,
        body: dict[str, Any],
        details: dict[str, Any],
        firing: Sequence[AlertView],
        count: int,
        link: str,
    ) -> None:
        # Room for the routing key, the dedup key, and the sentences about what was cut.
        room = EVENT_BYTES - _size(body) - 5_000
        alerts: list[dict[str, Any]] = []
        bare = 0
        for view in firing:
            form = _details(view)
            if _size(form) + 2 > room:
                form = {name: form[name] for name in ("summary", "starts_at")}
                bare += 1
            room -= _size(form) + 2
            if room < 0:
                bare -= 1
                break
            alerts.append(form)
        details["firing"] = alerts
        see = f": see {link}" if link else ""
        if bare:
            details["cut"] = f"{bare} of these alerts are shown without their labels{see}"
        if len(alerts) < count:
            details["not_shown"] = f"{count - len(alerts)} more firing alerts are not shown here{see}"


def _details(view: AlertView) -> dict[str, Any]:
    details: dict[str, Any] = {
        "summary": cut(view.summary, 1000),
        "starts_at": view.starts_at.astimezone(UTC).isoformat(),
        "labels": _cut_labels(view.labels),
    }
    if view.description:
        details["description"] = cut(view.description, 4000)
    return details


def _cut_labels(labels: Mapping[str, str]) -> dict[str, str]:
    """At most 64, each value at most 1,000 characters; the last entry says what is missing."""
    some = {cut(k, 200): cut(v, 1000) for k, v in list(labels.items())[:64]}
    if len(labels) > 64:
        some["…"] = f"{len(labels) - 64} more labels"
    return some


def _first(names: Sequence[str], *places: Mapping[str, str]) -> str:
    return next((place[n] for place in places for n in names if place.get(n)), "")


def _in_words(labels: Mapping[str, str]) -> str:
    return ", ".join(f"{k}={v}" for k, v in labels.items())


def _size(value: Any) -> int:
    """As requests sends it: escaped to ASCII."""
    return len(json.dumps(value))
