"""`/api/v1`: what there is to know and to do."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from aiohttp import web
from pydantic import BaseModel, ValidationError

from alertbot.domain import model
from alertbot.domain.deploys import Deploy
from alertbot.domain.durations import DurationError, parse_duration
from alertbot.domain.events import Unreadable
from alertbot.domain.model import IncidentStatus
from alertbot.domain.windows import Window, WindowKind, going_on
from alertbot.sources import SOURCES, alertmanager
from alertbot.store.base import Parked
from alertbot.verdicts import open_windows
from alertbot.web import shapes
from alertbot.web.body import read_body
from alertbot.web.errors import Refused, request_trace_id
from alertbot.web.ports import Bot
from alertbot.web.routes import Query

#: A request's body, in bytes. A mended alert is the largest.
MAX_BODY: Final = 1024 * 1024
#: Alerts of an incident that are shown: on its own, and in a list.
ALERTS: Final = 10_000
ALERTS_IN_LIST: Final = 100
#: Alerts that one question "why?" is answered for.
EXPLAINED: Final = 20

LIST_QUERY: Final = (
    Query("status", "pending, held, open, acknowledged or resolved; also several, with commas", repeated=True),
    Query("severity", "a configured severity or one of its aliases"),
    Query("since", "created at or after this time (RFC 3339), or within this duration (2h)"),
    Query("cursor", "`next` of the part before"),
    Query("limit", "1 to 500; 100 without it"),
)
TIMELINE_QUERY: Final = (
    Query("cursor", "`next` of the part before"),
    Query("limit", "1 to 500; 200 without it"),
)
DEPLOYS_QUERY: Final = (
    Query("since", "heard of since this time (RFC 3339), or within this duration; `deploys.lookback` without it"),
    Query("service", "of this service"),
    Query("limit", "1 to 500; 100 without it"),
)
WINDOWS_QUERY: Final = (Query("since", "also those that ended since this time (RFC 3339), or within this duration"),)
EXPLAIN_QUERY: Final = (Query("label", "`name=value`; the alert has all of them", repeated=True),)

_Model = TypeVar("_Model", bound=BaseModel)
_T = TypeVar("_T")


class Api:
    """The handlers. Each takes a request that was let in, and answers with one of `shapes`."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot

    async def incidents(self, request: web.Request) -> web.Response:
        """Incidents, the newest first."""
        query, store = request.query, self._bot.store
        words = [word for value in query.getall("status", []) for word in value.split(",") if word]
        page = await _with_cursor(
            store.incidents(
                statuses=[_status(word) for word in words],
                severity=self._severity(query.get("severity")),
                since=_since(query["since"], self._bot.clock()) if "since" in query else None,
                cursor=query.get("cursor"),
                limit=_limit(query, 100),
            ),
        )
        found = await self._shapes([incident for incident in page.incidents if not incident.watch], ALERTS_IN_LIST)
        return _json(shapes.Incidents(incidents=found, next=page.next))

    async def incident(self, request: web.Request) -> web.Response:
        """One incident."""
        return _json(await self._shape(await self._find(request), ALERTS))

    async def timeline(self, request: web.Request) -> web.Response:
        """Every decision about one incident, or about the window of a deploy or maintenance, the oldest first."""
        name, store = request.match_info["id"], self._bot.store
        if await store.window(name) is None:
            await self._find(request)
        page = await _with_cursor(
            store.entries(incident=name, cursor=request.query.get("cursor"), limit=_limit(request.query, 200))
        )
        return _json(shapes.Timeline(entries=[shapes.entry_shape(e) for e in page.entries], next=page.next))

    async def acknowledge(self, request: web.Request) -> web.Response:
        """Takes an incident."""
        body = await _body(request, shapes.By)
        return await self._act(request, "acknowledge", {"by": body.by})

    async def resolve(self, request: web.Request) -> web.Response:
        """Says that an incident is over."""
        body = await _body(request, shapes.By)
        return await self._act(request, "resolve", {"by": body.by})

    async def note(self, request: web.Request) -> web.Response:
        """Writes something down."""
        body = await _body(request, shapes.NewNote)
        return await self._act(request, "note", {"by": body.by, "text": body.text})

    async def silence(self, request: web.Request) -> web.Response:
        """Silences the alerts that fire."""
        body = await _body(request, shapes.NewSilence)
        return await self._act(request, "silence", body.model_dump())

    async def unsilence(self, request: web.Request) -> web.Response:
        """Ends the silence that was made through alertbot."""
        return await self._act(request, "unsilence", {"by": "api"})

    async def explain(self, request: web.Request) -> web.Response:
        """Why: every decision about the alerts that have these labels."""
        labels: dict[str, str] = {}
        for text in request.query.getall("label", []):
            name, equals, value = text.partition("=")
            if not name or not equals:
                raise Refused(400, "a label is name=value", "label")
            labels[name] = value
        if not labels:
            raise Refused(400, "name at least one label: ?label=alertname=HighLatency", "label")
        store = self._bot.store
        alerts = await store.find_alerts(labels, limit=EXPLAINED)
        found = []
        for alert in alerts:
            entries = await self._latest(identity=alert.identity)
            if alert.incident:
                # What was decided of its incident as a whole: who was told of it, and why not.
                entries += [e for e in await self._latest(incident=alert.incident) if not e.identity]
                entries.sort(key=lambda e: e.at)
            found.append(
                shapes.Explanation(
                    incident=alert.incident or None,
                    alert=shapes.alert_shape(alert),
                    entries=[shapes.entry_shape(e) for e in entries],
                )
            )
        return _json(shapes.Explanations(alerts=found))

    async def _latest(self, *, incident: str = "", identity: str = "") -> list[model.Entry]:
        """The last 200 entries of a record, the oldest first: the latest decisions are the ones asked about."""
        page = await self._bot.store.entries(incident=incident, identity=identity)
        entries = list(page.entries)
        while page.next is not None:
            page = await self._bot.store.entries(incident=incident, identity=identity, cursor=page.next)
            entries = [*entries, *page.entries][-200:]
        return entries

    async def deploys(self, request: web.Request) -> web.Response:
        """Deploys, those heard of last first."""
        bot, query = self._bot, request.query
        now = bot.clock()
        since = _since(query["since"], now) if "since" in query else now - bot.policy.deploys.lookback
        found = await bot.store.deploys(since, query.get("service"), _limit(query, 100))
        open_ = {w.id: w.ends_at for w in await bot.store.windows(now) if _holds(w, now)}
        return _json(shapes.Deploys(deploys=[shapes.deploy_shape(d, open_.get(d.identity)) for d in found]))

    async def report_deploy(self, request: web.Request) -> web.Response:
        """Takes what happened to a deploy, and answers with what is known of it now. One that starts gets an id."""
        body = await _body(request, shapes.NewDeploy)
        fields = {name: value for name, value in body.model_dump().items() if value}
        if body.status == "started":
            fields.setdefault("id", secrets.token_hex(5))
        elif body.id and not body.service and await self._deploy(body, body.id) is None:
            raise Refused(404, "there is no such deploy", "id")  # a misspelt id must not become a deploy of nothing
        await self._accept("deploy", fields, request_trace_id(request))
        deploy = await self._deploy(body, fields.get("id", ""))
        if deploy is None:
            raise Refused(404, "there is no such deploy", "id")
        window = await self._bot.store.window(deploy.identity)
        holds = window.ends_at if window is not None and _holds(window, self._bot.clock()) else None
        return _json(shapes.deploy_shape(deploy, holds))

    async def _deploy(self, body: shapes.NewDeploy, ident: str) -> Deploy | None:
        """The known deploy that a body means: by its id, else by where it goes."""
        found = await self._bot.store.deploys(datetime.min.replace(tzinfo=UTC), body.service or None)
        named, same = f"api:{ident}", (body.service, body.environment, body.version)
        return next((d for d in found if named in d.aliases or (not ident and same == d.place)), None)

    async def maintenance(self, request: web.Request) -> web.Response:
        """Maintenance windows that are open, repeating ones too, or were since then."""
        bot, now = self._bot, self._bot.clock()
        windows = [w for w in await open_windows(bot.store, bot.policy, now) if not w.stopped]
        if "since" in request.query:
            known = {w.id for w in windows}
            past = await bot.store.windows(_since(request.query["since"], now))
            windows += [w for w in past if w.id not in known]
        shown = [shapes.maintenance_shape(w, bot.policy) for w in windows if w.kind is WindowKind.MAINTENANCE]
        return _json(shapes.MaintenanceList(maintenance=sorted(shown, key=lambda w: w.starts_at, reverse=True)))

    async def report_maintenance(self, request: web.Request) -> web.Response:
        """Opens, extends or ends a maintenance window."""
        body = await _body(request, shapes.NewMaintenance)
        if body.action == "start" and not body.labels and not body.alertname:
            raise Refused(
                400, "a maintenance window needs labels or an alertname, for inhibit rules to match", "labels"
            )
        fields = {name: value for name, value in body.model_dump().items() if value}
        if body.action == "start":
            fields.setdefault("id", secrets.token_hex(5))
        return await self._maintain(fields, request)

    async def end_maintenance(self, request: web.Request) -> web.Response:
        """Ends a maintenance window now."""
        return await self._maintain({"action": "end", "id": request.match_info["id"], "by": "api"}, request)

    async def _maintain(self, fields: dict[str, Any], request: web.Request) -> web.Response:
        bot = self._bot
        ident, starts = fields.get("id", ""), fields["action"] == "start"
        known = await bot.store.window(ident)
        known = known or next((w for w in going_on(bot.policy.maintenance, bot.clock()) if w.id == ident), None)
        if not starts and (known is None or known.kind is not WindowKind.MAINTENANCE):
            raise Refused(404, "there is no such maintenance window", "id")
        if known is not None and (starts or known.over or known.stopped):
            raise Refused(409, "there was a window with this id" if starts else "this window is over", "id")
        await self._accept("maintenance", fields, request_trace_id(request))
        window = await bot.store.window(ident)
        if window is None:
            raise Refused(404, "there is no such maintenance window", "id")
        return _json(shapes.maintenance_shape(window, bot.policy))

    async def parked(self, request: web.Request) -> web.Response:
        """What could not be read or delivered."""
        items = await self._bot.store.parked()
        return _json(shapes.ParkedList(parked=[shapes.parked_shape(item) for item in items]))

    async def parked_item(self, request: web.Request) -> web.Response:
        """One of them, with what came in."""
        return _json(shapes.parked_detail(await self._find_parked(request)))

    async def retry_parked(self, request: web.Request) -> web.Response:
        """Tries again: a delivery is due again, an event undecided again, an alert comes in again."""
        body = await _body(request, shapes.Retry)
        item = await self._find_parked(request)
        if item.kind == "alert":
            await self._accept_again(item, body.alert, request_trace_id(request))
        elif body.alert is not None:
            raise Refused(400, f"only a parked alert can be replaced, and this is a parked {item.kind}", "alert")
        # The item goes last: after a crash in between the alert comes in twice, and a repeat is harmless.
        await self._bot.store.retry_parked(item.id, self._bot.clock())
        self._bot.wake()
        return _json(shapes.Done())

    async def drop_parked(self, request: web.Request) -> web.Response:
        """Forgets a parked thing."""
        if not await self._bot.store.drop_parked(request.match_info["id"]):
            raise Refused(404, "there is nothing parked with this id", "id")
        return _json(shapes.Done())

    async def test_receiver(self, request: web.Request) -> web.Response:
        """Sends one marked test incident through a receiver."""
        body = await _body(request, shapes.By)
        name = request.match_info["name"]
        if name not in self._bot.view.receivers:
            raise Refused(404, "there is no such receiver", "name")
        nonce = secrets.token_hex(8)
        await self._accept("test", {"receiver": name, "by": body.by, "nonce": nonce}, request_trace_id(request))
        page = await self._bot.store.incidents(limit=50)
        made = next((i for i in page.incidents if i.test and i.key.endswith(nonce)), None)
        shape = await self._shape(made, ALERTS_IN_LIST) if made else None
        return _json(shapes.Tested(receiver=name, incident=shape))

    async def _act(self, request: web.Request, source: str, body: dict[str, str]) -> web.Response:
        """Records what somebody did to an incident, and answers with the incident as it is after the
        decision.
        """
        incident = await self._find(request)
        await self._accept(source, {"incident": incident.id, **body, "via": "api"}, request_trace_id(request))
        return _json(await self._shape(await self._find(request), ALERTS))

    async def _accept(self, source: str, fields: Mapping[str, Any], trace_id: str) -> None:
        body = msgspec.json.encode(fields)
        try:
            parsed = SOURCES[source](body, self._bot.clock())
        except Unreadable as e:
            raise Refused(400, str(e), e.where) from None
        await self._bot.accept(source, body, parsed, trace_id, wait=True)

    async def _accept_again(self, item: Parked, replacement: dict[str, Any] | None, trace_id: str) -> None:
        """A parked alert comes in again, as one of a body like the one that it was set aside from."""
        original = await self._bot.store.event(int(item.ref)) if item.ref.isdecimal() else None
        alert = item.raw if replacement is None else msgspec.json.encode(replacement)
        try:
            body = alertmanager.rewrap(alert, original.event.body if original else b"")
            parsed = alertmanager.parse(body, self._bot.clock())
        except (Unreadable, msgspec.MsgspecError) as e:
            raise Refused(422, f"still unreadable: {e}", "alert") from None
        if parsed.set_aside or parsed.accepted != 1:
            still = parsed.set_aside[0].error if parsed.set_aside else "it is not one alert"
            raise Refused(422, f"still unreadable: {still}", "alert")
        await self._bot.accept("alertmanager", body, parsed, trace_id, wait=True)

    async def _find(self, request: web.Request) -> model.Incident:
        incident = await self._bot.store.incident(request.match_info["id"])
        if incident is None:
            raise Refused(404, "there is no such incident", "id")
        return incident

    async def _find_parked(self, request: web.Request) -> Parked:
        item = await self._bot.store.parked_item(request.match_info["id"])
        if item is None:
            raise Refused(404, "there is nothing parked with this id", "id")
        return item

    async def _shape(self, incident: model.Incident, alerts: int) -> shapes.Incident:
        return (await self._shapes([incident], alerts))[0]

    async def _shapes(self, incidents: Sequence[model.Incident], alerts: int) -> list[shapes.Incident]:
        """However many they are, the store is asked as often."""
        bot, ids = self._bot, [incident.id for incident in incidents]
        members, deliveries = await bot.store.members_of(ids, limit=alerts), await bot.store.deliveries_of(ids)
        suspects = await bot.suspects([members[name] for name in ids])
        url = bot.view.external_url
        return [
            shapes.incident_shape(i, members[i.id], deliveries[i.id], url, bot.runbook(members[i.id]), found)
            for i, found in zip(incidents, suspects, strict=True)
        ]

    def _severity(self, word: str | None) -> str | None:
        """The configured severity that a word means."""
        if word is None:
            return None
        severities = self._bot.severities
        for severity in severities:
            if word == severity.name or word in severity.aliases:
                return severity.name
        raise Refused(400, f"no such severity; there are: {', '.join(s.name for s in severities)}", "severity")


def _holds(window: Window, now: datetime) -> bool:
    """Not over, and not about to be."""
    return not window.over and window.ends_at > now


def _json(shape: BaseModel) -> web.Response:
    return web.Response(body=shape.model_dump_json().encode(), content_type="application/json")


async def _body(request: web.Request, wanted: type[_Model]) -> _Model:
    """The request's body; no body is an empty object. Raises `Refused`."""
    body = await read_body(request, MAX_BODY)
    try:
        return wanted.model_validate_json(body or b"{}")
    except ValidationError as e:
        # What was sent is not repeated.
        first = e.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Refused(400, first["msg"], where) from None


async def _with_cursor(page: Awaitable[_T]) -> _T:
    """A part of a list. A store raises ValueError for a cursor that is none of its own."""
    try:
        return await page
    except ValueError:
        raise Refused(400, "not a cursor of this list", "cursor") from None


def _status(word: str) -> str:
    try:
        return IncidentStatus(word).value
    except ValueError:
        raise Refused(400, f"no such status; there are: {', '.join(IncidentStatus)}", "status") from None


def _since(text: str, now: datetime) -> datetime:
    """A duration before now, or an RFC 3339 time. A plus sign that was not escaped arrives as a space."""
    try:
        return now - parse_duration(text)
    except (DurationError, OverflowError):
        pass
    try:
        time = datetime.fromisoformat(text.replace(" ", "+"))
        if time.tzinfo is not None:
            return time.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Refused(400, "not an RFC 3339 time with a zone, like 2026-01-05T10:00:00Z, nor a duration", "since")


def _limit(query: Mapping[str, str], default: int) -> int:
    text = query.get("limit", "")
    if not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= 500):
        raise Refused(400, "a number from 1 to 500", "limit")
    return int(text)
