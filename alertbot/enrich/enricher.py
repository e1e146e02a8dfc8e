"""What else there is to know of an incident: some of it at once, the rest found beside the outbox.

Nobody who tells people waits for a search. `known` answers with what is there and begins a search where that is not
fresh; when more was found, whoever shows the incident is told, and shows it anew. What was found is kept in memory:
after a crash it is searched for again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Protocol

from alertbot.clock import Clock
from alertbot.config.models import LinkModel
from alertbot.domain.enrichment import Enrichment, RunbookRef
from alertbot.domain.model import Alert, Incident, IncidentStatus
from alertbot.enrich.links import links_of
from alertbot.enrich.prometheus import Unanswered
from alertbot.enrich.runbook import runbook_of
from alertbot.enrich.runbooks import Runbooks

log = logging.getLogger("alertbot.enrich")

#: Seconds that each part of a search may take; they run side by side.
SECONDS: Final = 2.0
#: How long what was found counts as fresh.
FRESH: Final = timedelta(minutes=5)
#: Searches at once. In a storm there are none beyond that: an incident's next change or view begins its search.
SEARCHES: Final = 16
#: Incidents of which something is kept.
KEPT: Final = 2_000
#: Alerts that a runbook and links are looked for with.
LOOKED_AT: Final = 20


class Asker(Protocol):
    """One part of a search. It may raise anything: it is then left out."""

    async def __call__(self, incident: Incident, alerts: Sequence[Alert], now: datetime) -> Enrichment: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What a configuration asks for. `askers` are named for the log; `external_url` is where our pages are."""

    runbooks: Runbooks = field(default_factory=Runbooks)
    links: Sequence[LinkModel] = ()
    askers: Mapping[str, Asker] = field(default_factory=dict)
    external_url: str = ""


@dataclass(frozen=True, slots=True)
class _Kept:
    found: Enrichment
    at: datetime


class Enricher:
    """See the module's text. `on_found` is told the id of an incident of which more is known than `known` had said.

    `parts` is set anew at a reload.
    """

    def __init__(
        self,
        parts: Parts,
        clock: Clock,
        on_found: Callable[[str], Awaitable[None]],
        seconds: float = SECONDS,
    ) -> None:
        self.parts = parts
        self._clock = clock
        self._on_found = on_found
        self._seconds = seconds
        self._kept: dict[str, _Kept] = {}
        self._searches: dict[str, asyncio.Task[None]] = {}
        self._awaited: set[str] = set()
        self._failing: set[str] = set()

    @property
    def under_way(self) -> int:
        """Searches that are going on."""
        return len(self._searches)

    def known(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        """What is known without waiting. Never raises: a page goes out also without it."""
        wanted = incident.status is not IncidentStatus.RESOLVED and not incident.test and not self._is_fresh(incident)
        if wanted and self._begin(incident, alerts) is not None:
            self._awaited.add(incident.id)
        return self._together(incident, alerts)

    async def found(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        """What is known, after a search where that is not fresh: for a person who looks."""
        search = None if self._is_fresh(incident) else self._begin(incident, alerts)
        if search is not None:
            await asyncio.wait([search])
        return self._together(incident, alerts)

    def runbook(self, alerts: Sequence[Alert]) -> RunbookRef | None:
        """The runbook of an incident's alerts. Never raises."""
        try:
            return runbook_of(self.parts.runbooks, self.parts.external_url, alerts[:LOOKED_AT])
        except Exception:  # a runbook's defect is no reason to keep a page from a person
            log.exception("no runbook could be looked for")
            return None

    async def close(self) -> None:
        """Ends what is going on; what it would have found is not missed."""
        searches = list(self._searches.values())
        for search in searches:
            search.cancel()
        if searches:
            await asyncio.wait(searches)

    def _is_fresh(self, incident: Incident) -> bool:
        kept = self._kept.get(incident.id)
        return kept is not None and self._clock.now() - kept.at < FRESH

    def _together(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        kept = self._kept.get(incident.id)
        found = Enrichment() if kept is None else kept.found
        try:
            at_once = Enrichment(links=tuple(links_of(self.parts.links, alerts[:LOOKED_AT])))
        except Exception:  # a pattern's defect is no reason to keep a page from a person
            log.exception("no links could be made", extra={"incident": incident.id})
            at_once = Enrichment()
        return Enrichment(runbook=self.runbook(alerts)) | at_once | found

    def _begin(self, incident: Incident, alerts: Sequence[Alert]) -> asyncio.Task[None] | None:
        search = self._searches.get(incident.id)
        if search is None and self.parts.askers and len(self._searches) < SEARCHES:
            search = asyncio.create_task(self._search(incident, alerts), name=f"enrich {incident.id}")
            self._searches[incident.id] = search
            search.add_done_callback(lambda _: self._searches.pop(incident.id, None))
        return search

    async def _search(self, incident: Incident, alerts: Sequence[Alert]) -> None:
        askers = self.parts.askers.items()
        parts = await asyncio.gather(*(self._ask(name, asker, incident, alerts) for name, asker in askers))
        found = Enrichment()
        for part in parts:
            found = found | part
        before = self._kept.pop(incident.id, None)
        self._kept[incident.id] = _Kept(found, self._clock.now())
        if len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        awaited = incident.id in self._awaited
        self._awaited.discard(incident.id)
        if awaited and found != (before.found if before else Enrichment()):
            await self._on_found(incident.id)

    async def _ask(self, name: str, asker: Asker, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        try:
            async with asyncio.timeout(self._seconds):
                found = await asker(incident, alerts, self._clock.now())
        except (Unanswered, TimeoutError) as e:
            self._fails(name, str(e) or f"nothing within {self._seconds:g} s", incident)
            return Enrichment()
        except Exception:  # one part's defect takes nothing from the others
            log.exception("a part of the enrichment failed in a way that nobody foresaw", extra={"part": name})
            return Enrichment()
        self._failing.discard(name)
        return found

    def _fails(self, name: str, why: str, incident: Incident) -> None:
        """A Prometheus that is away is one warning, not one an incident."""
        level = logging.DEBUG if name in self._failing else logging.WARNING
        self._failing.add(name)
        log.log(level, "cards go without their %s: %s", name, why, extra={"incident": incident.id})
