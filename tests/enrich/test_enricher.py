"""Nobody waits for enrichment, nothing of it breaks a page, and what is found is told once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from alertbot.clock import MovableClock
from alertbot.config.models import LinkModel
from alertbot.domain.enrichment import Enrichment, ErrorBudget, Graph, RunbookRef
from alertbot.domain.model import Alert, Incident, IncidentStatus
from alertbot.enrich.enricher import FRESH, KEPT, SEARCHES, Enricher, Parts
from alertbot.enrich.prometheus import Unanswered
from alertbot.enrich.runbooks import Runbooks, parse
from tests.store.builders import T0, alert, incident

GRAPH = Enrichment(graph=Graph("▁█", 0, 1, 1, timedelta(hours=1)))
BUDGET = Enrichment(budgets=(ErrorBudget("a", 99, timedelta(days=30), 0.5),))


class Asker:
    """Answers once it is let; `asked` are the incidents that it was asked about."""

    def __init__(self, found: Enrichment = GRAPH, error: Exception | None = None) -> None:
        self.found = found
        self.error = error
        self.gate = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, incident: Incident, alerts: Sequence[Alert], now: datetime) -> Enrichment:
        self.asked.append(incident.id)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.found


class Desk:
    """An enricher with these askers, and who was told."""

    def __init__(self, *askers: Asker, seconds: float = 5.0, **setup: Any) -> None:
        self.told: list[str] = []
        self.clock = MovableClock(T0)
        named = {f"part {n}": asker for n, asker in enumerate(askers)}
        self.enricher = Enricher(Parts(askers=named, **setup), self.clock, self._tell, seconds)

    async def _tell(self, incident: str) -> None:
        self.told.append(incident)

    async def idle(self) -> None:
        async with asyncio.timeout(5):
            while self.enricher.under_way:  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0)


async def test_what_is_known_is_answered_at_once_and_the_rest_is_told_when_it_is_there() -> None:
    graph, budget = Asker(), Asker(BUDGET)
    desk = Desk(graph, budget)
    assert desk.enricher.known(incident(), [alert()]) == Enrichment()
    graph.gate.set()
    await asyncio.sleep(0)
    assert desk.told == []
    budget.gate.set()
    await desk.idle()
    assert desk.told == ["i1"]
    assert desk.enricher.known(incident(), [alert()]) == GRAPH | BUDGET
    assert graph.asked == ["i1"], "what is fresh is not asked for again"


async def test_a_part_that_takes_too_long_or_fails_takes_nothing_from_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    slow, refused, broken, good = (
        Asker(),
        Asker(error=Unanswered("HTTP 503")),
        Asker(error=KeyError("x")),
        Asker(BUDGET),
    )
    for asker in (refused, broken, good):
        asker.gate.set()
    desk = Desk(slow, refused, broken, good, seconds=0.01)
    with caplog.at_level(logging.WARNING):
        assert await desk.enricher.found(incident(), [alert()]) == BUDGET
        assert await desk.enricher.found(incident("i2"), [alert()]) == BUDGET
    warned = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == [
        "cards go without their part 1: HTTP 503",
        "cards go without their part 0: nothing within 0.01 s",
    ], "once, and not for each incident"


async def test_nothing_is_told_where_nothing_was_found() -> None:
    asker = Asker(Enrichment())
    asker.gate.set()
    desk = Desk(asker)
    desk.enricher.known(incident(), [])
    await desk.idle()
    assert desk.told == []


async def test_who_looks_gets_all_of_it_and_makes_no_card_change() -> None:
    asker = Asker()
    asker.gate.set()
    desk = Desk(asker)
    assert await desk.enricher.found(incident(), []) == GRAPH
    assert desk.told == []


async def test_who_looks_while_a_card_waits_joins_its_search() -> None:
    asker = Asker()
    desk = Desk(asker)
    desk.enricher.known(incident(), [])
    looking = asyncio.create_task(desk.enricher.found(incident(), []))
    await asyncio.sleep(0)
    asker.gate.set()
    assert await looking == GRAPH
    await desk.idle()
    assert asker.asked == ["i1"]
    assert desk.told == ["i1"]


async def test_what_is_stale_is_shown_until_the_new_is_there() -> None:
    asker = Asker()
    asker.gate.set()
    desk = Desk(asker)
    await desk.enricher.found(incident(), [])
    desk.clock.advance(FRESH)
    asker.found = BUDGET
    assert desk.enricher.known(incident(), []) == GRAPH
    await desk.idle()
    assert desk.enricher.known(incident(), []) == BUDGET
    assert desk.told == ["i1"]


@pytest.mark.parametrize("changes", [{"status": IncidentStatus.RESOLVED}, {"test": True}])
async def test_what_is_over_and_what_is_a_drill_is_not_searched_for(changes: dict[str, Any]) -> None:
    asker = Asker()
    desk = Desk(asker)
    desk.enricher.known(incident(**changes), [])
    assert (desk.enricher.under_way, asker.asked) == (0, [])


async def test_in_a_storm_there_are_so_many_searches_and_no_more_and_the_kept_is_bounded() -> None:
    asker = Asker()
    desk = Desk(asker)
    for n in range(100):
        desk.enricher.known(incident(f"i{n}"), [])
    assert desk.enricher.under_way == SEARCHES
    asker.gate.set()
    await desk.idle()
    assert asker.asked == [f"i{n}" for n in range(SEARCHES)]
    for n in range(KEPT + 1):
        await desk.enricher.found(incident(f"k{n}"), [])
    assert desk.enricher.known(incident("k0"), []) == Enrichment(), "the oldest is forgotten"
    assert desk.enricher.known(incident("k1"), []) == GRAPH
    await desk.enricher.close()
    assert desk.enricher.under_way == 0


class _Broken(Runbooks):
    def for_alert(self, labels: Any, annotations: Any) -> RunbookRef | None:
        raise RuntimeError("a defect")


async def test_a_defect_in_a_runbook_keeps_no_page_from_anybody(caplog: pytest.LogCaptureFixture) -> None:
    logs = LinkModel.model_validate({"name": "Logs", "url": "https://l.example/{{ labels.service }}"})
    desk = Desk(runbooks=_Broken(), links=[logs])
    with caplog.at_level(logging.ERROR):
        found = desk.enricher.known(incident(), [alert()])
    assert found == Enrichment(links=(("Logs", "https://l.example/api"),))
    assert "no runbook could be looked for" in caplog.text


def _runbooks(url: str | None = None) -> Runbooks:
    text = "---\nalerts: [HighErrorRate]\n---\n# Many errors\n## First five minutes\n1. Look.\n2. Act.\n"
    return Runbooks([parse("web/errors", "errors.md", text)[0]], url=url)


RUNBOOKS: list[tuple[str, dict[str, str], Callable[[], Runbooks], RunbookRef | None]] = [
    ("a file: its title and steps, read on our page", {}, _runbooks,
     RunbookRef("Many errors", "https://bot.example/runbooks/web%2Ferrors", ("Look.", "Act."), "web/errors")),
    ("the alert's own address comes before our page", {"runbook_url": "https://wiki.example/x"}, _runbooks,
     RunbookRef("Many errors", "https://wiki.example/x", ("Look.", "Act."), "web/errors")),
    ("no file: the pattern", {}, lambda: Runbooks(url="https://r.example/{{ slug }}"),
     RunbookRef("HighErrorRate", "https://r.example/high-error-rate", ())),
    ("nothing at all", {}, Runbooks, None),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "annotations", "runbooks", "expected"), RUNBOOKS, ids=[r[0] for r in RUNBOOKS])
async def test_the_runbook_is_known_at_once(
    rule: str, annotations: dict[str, str], runbooks: Callable[[], Runbooks], expected: RunbookRef | None
) -> None:
    desk = Desk(runbooks=runbooks(), external_url="https://bot.example/")
    nothing = alert("x", labels={"alertname": ""})
    found = desk.enricher.known(incident(), [nothing, alert(annotations=annotations)])
    assert found.runbook == expected, rule
