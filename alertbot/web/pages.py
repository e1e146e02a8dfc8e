"""The pages: what is open, and one incident's story. Plain HTML: no script, nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from functools import wraps
from typing import Any, Final

from aiohttp import hdrs, web
from markupsafe import Markup

from alertbot import render
from alertbot.domain.explain import sentence
from alertbot.domain.model import SEVERITY_LABEL, Entry, Incident, IncidentStatus
from alertbot.domain.windows import Window
from alertbot.notifiers.base import Links, Told
from alertbot.paths import data_dir
from alertbot.store.base import Keys, Store, StoreError
from alertbot.verdicts import open_windows, title, told_of, with_deploys
from alertbot.web import shapes
from alertbot.web.errors import Refused
from alertbot.web.ports import Bot
from alertbot.web.routes import Handler

#: How many incidents, alerts and entries a page shows; it says so where there are more.
INCIDENTS: Final = 200
RESOLVED: Final = 10
ALERTS: Final = 100
WINDOWS: Final = 20
ENTRIES: Final = 200

_OPEN: Final = (IncidentStatus.OPEN.value, IncidentStatus.ACKNOWLEDGED.value)
_WAITING: Final = (IncidentStatus.HELD.value, IncidentStatus.PENDING.value)


class Pages:
    """The handlers."""

    def __init__(self, bot: Bot) -> None:
        self._bot = bot
        self._templates = render.environment("web")
        style = (data_dir("templates") / "web" / "style.css").read_text(encoding="utf-8")
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        self._templates.globals["style"] = Markup(style)  # noqa: S704 - a file of ours
        self._headers: Final = {
            # Only our own style runs, whatever a label says.
            "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            hdrs.CACHE_CONTROL: "no-store",
        }
        self.overview: Final[Handler] = self._with_store(self._overview)
        self.incident: Final[Handler] = self._with_store(self._incident)
        self.window: Final[Handler] = self._with_store(self._window)
        self.runbook: Final[Handler] = self._runbook

    async def _overview(self, request: web.Request) -> web.Response:
        """What is open, the most urgent first."""
        bot, now = self._bot, self._bot.clock()
        found, more = await self._current()
        stats = await bot.store.stats(now)
        resolved = await bot.store.incidents(statuses=[IncidentStatus.RESOLVED.value], limit=RESOLVED)
        rows = [self._row(incident) for incident in found]
        return self._page(
            "overview.html",
            now=now,
            groups=[
                ("Open", [r for r in rows if r["status"] == "open"]),
                ("Acknowledged", [r for r in rows if r["status"] == "acknowledged"]),
                ("Held and waiting", [r for r in rows if r["status"] in _WAITING]),
                ("Resolved", [self._row(i) for i in resolved.incidents if not i.watch]),
            ],
            windows=await self._windows(now),
            current=len(rows),
            more=more,
            dry=bot.view.dry,
            broken=[(b.integration, render.one_line(b.to), b.since, render.one_line(b.error)) for b in bot.broken()],
            storms=stats.storms,
            folded=stats.folded,
            parked=stats.parked,
            undecided=stats.undecided,
            readiness=bot.readiness(),
        )

    async def _incident(self, request: web.Request) -> web.Response:
        """One incident: its alerts, who was told, and every decision."""
        bot, now = self._bot, self._bot.clock()
        incident = await bot.store.incident(request.match_info["id"])
        if incident is None:
            raise Refused(404, "there is no such incident", "id")
        alerts = await bot.store.members(incident.id, limit=ALERTS + 1)
        entries, dropped = await _latest(bot.store, incident.id)
        found = await bot.enrichment(incident, alerts[:ALERTS])
        holding = dict.fromkeys(name for a in alerts[:ALERTS] if a.hold is not None for name in a.hold.windows)
        known = await bot.store.windows_named(list(holding))
        windows = {told.window.id: _title(told) for told in await with_deploys(bot.store, list(known.values()))}
        links = Links(runbook=found.runbook.url if found.runbook is not None else "")
        return self._page(
            "incident.html",
            now=now,
            row=self._row(incident),
            incident=incident,
            labels={render.one_line(k): render.one_line(v) for k, v in sorted(incident.labels.items())},
            runbook=render.runbook_view(found.runbook),
            ways=render.ways(links, found.links),
            known=render.known(found, now),
            windows=windows,
            alerts=[render.alert_view(alert) for alert in alerts[:ALERTS]],
            more_alerts=len(alerts) > ALERTS,
            deliveries=[shapes.delivery_shape(d) for d in await bot.store.deliveries(incident.id)],
            entries=[(entry, render.clean(sentence(entry)), _about(entry, incident)) for entry in entries],
            dropped=dropped,
        )

    async def _windows(self, now: datetime) -> list[tuple[Window, str, int]]:
        """The deploys and maintenance windows that go on, each with its title and how many alerts it holds."""
        store = self._bot.store
        windows = (await open_windows(store, self._bot.policy, now))[:WINDOWS]
        held = await store.load(Keys(held_in=frozenset(w.id for w in windows)))
        waiting = [a.hold.windows for a in held.alerts if a.firing and a.hold is not None]
        told = await with_deploys(store, windows)
        return [(t.window, _title(t), sum(t.window.id in ids for ids in waiting)) for t in told]

    async def _window(self, request: web.Request) -> web.Response:
        """A deploy or maintenance window: what it holds or held, its verdict, and every decision."""
        bot, now, name = self._bot, self._bot.clock(), request.match_info["id"]
        found = [w for w in await open_windows(bot.store, bot.policy, now) if w.id == name]
        told = (await with_deploys(bot.store, found))[0] if found else await told_of(bot.store, name)
        if told is None:
            raise Refused(404, "there is no such deploy or maintenance window", "id")
        entries, dropped = await _latest(bot.store, name)
        held = list((await bot.store.load(Keys(held_in=frozenset({name, *told.window.joined})))).alerts)
        held.sort(key=lambda a: (not a.firing, a.starts_at))
        return self._page(
            "window.html",
            now=now,
            title=_title(told),
            window=told.window,
            deploys=told.deploys,
            labels={render.one_line(k): render.one_line(v) for k, v in sorted(told.window.labels.items())},
            ways=render.deploy_links(told.deploys),
            said=render.told_lines(told) if told.window.verdict is not None else [],
            alerts=[(render.alert_view(a), a.incident) for a in held[:ALERTS]],
            more=max(0, len(held) - ALERTS),
            entries=[(entry, render.clean(sentence(entry)), "") for entry in entries],
            dropped=dropped,
        )

    async def _runbook(self, request: web.Request) -> web.Response:
        """A runbook as it was written: for who has no other place where it can be read."""
        runbook = self._bot.runbook_file(request.match_info["name"])
        if runbook is None:
            raise Refused(404, "there is no such runbook", "name")
        return self._page("runbook.html", now=self._bot.clock(), runbook=runbook)

    async def _current(self) -> tuple[list[Incident], bool]:
        """Every incident that is not resolved, the most urgent first; whether some had to be left out.

        The store lists the newest first. In a storm that would leave out old urgent ones for new idle ones,
        so then each severity is asked for by itself.
        """
        store = self._bot.store
        page = await store.incidents(statuses=[*_OPEN, *_WAITING], limit=INCIDENTS)
        found = list(page.incidents)
        if page.next is not None:
            by_id: dict[str, Incident] = {}
            for statuses in (_OPEN, _WAITING):
                for severity in self._bot.severities:
                    room = INCIDENTS - len(by_id)
                    if room > 0:
                        some = await store.incidents(statuses=statuses, severity=severity.name, limit=room)
                        by_id.update((i.id, i) for i in some.incidents)
            # Of severities that are no longer configured.
            for incident in found[: max(0, INCIDENTS - len(by_id))]:
                by_id.setdefault(incident.id, incident)
            found = list(by_id.values())
        found = [incident for incident in found if not incident.watch]
        ranks = {s.name: rank for rank, s in enumerate(self._bot.severities)}
        found.sort(key=lambda i: i.created_at, reverse=True)
        found.sort(key=lambda i: ranks.get(i.severity, len(ranks)))
        return found, page.next is not None

    def _row(self, incident: Incident) -> dict[str, Any]:
        """An incident in one line."""
        severities = self._bot.severities
        rank = next((n for n, s in enumerate(severities) if s.name == incident.severity), len(severities))
        return {
            "id": incident.id,
            "status": incident.status.value,
            "severity": render.one_line(incident.severity),
            # The style knows four degrees of urgency.
            "urgency": min(rank, 3),
            "title": render.title(incident),
            "counts": render.counts(incident),
            "since": incident.opened_at or incident.created_at,
            "resolved_at": incident.resolved_at,
            "receiver": render.one_line(incident.receiver),
            "acknowledged_by": render.one_line(incident.acknowledged_by or ""),
            "flapping": incident.flapping,
            "overdue": severities[rank].ack_within if incident.overdue and rank < len(severities) else None,
            "ack_due_at": incident.ack_due_at,
            "escalate_at": incident.escalate_at,
            "escalates_to": render.one_line(incident.escalates_to),
        }

    def _with_store(self, handler: Handler) -> Handler:
        """While the store is away the page says so, and keeps trying."""

        @wraps(handler)
        async def page(request: web.Request) -> web.Response:
            try:
                return await handler(request)
            except StoreError:
                return self._page("away.html", 503, now=self._bot.clock())

        return page

    def _page(self, template: str, status: int = 200, **words: Any) -> web.Response:
        text = self._templates.get_template(template).render(words)
        return web.Response(status=status, text=text, content_type="text/html", headers=self._headers)


def _title(told: Told) -> str:
    return render.one_line(title(told))


async def _latest(store: Store, incident: str) -> tuple[Sequence[Entry], bool]:
    """The latest entries of an incident, the oldest first; whether there are earlier ones."""
    page = await store.entries(incident=incident, limit=ENTRIES)
    entries, dropped = list(page.entries), False
    while page.next is not None:
        page = await store.entries(incident=incident, cursor=page.next, limit=ENTRIES)
        entries += page.entries
        dropped = dropped or len(entries) > ENTRIES
        entries = entries[-ENTRIES:]
    return entries, dropped


def _about(entry: Entry, incident: Incident) -> str:
    """Which of the incident's alerts a line of the record is about: the labels that tell it from others."""
    shared = {**incident.labels, SEVERITY_LABEL: (entry.labels or {}).get(SEVERITY_LABEL)}
    labels = sorted((entry.labels or {}).items())
    return ", ".join(render.one_line(f"{name}={value}") for name, value in labels if shared.get(name) != value)
