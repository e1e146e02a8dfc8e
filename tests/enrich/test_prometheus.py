"""Prometheus, a real one and one in every bad mood; and the error budgets that are asked of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alertbot.config.models import Slo
from alertbot.config.patterns import query_pattern
from alertbot.domain.enrichment import ErrorBudget, Graph
from alertbot.domain.model import AlertStatus
from alertbot.enrich.graph import GAP, SPAN, STEPS, Graphs
from alertbot.enrich.prometheus import MAX_ANSWER, Prometheus, Unanswered
from alertbot.enrich.slo import MOST, Budgets, left_of
from tests.standins.prometheus import PrometheusStandin
from tests.store.builders import T0, alert, incident

GRAPH = "http://prometheus.example.org/graph?g0.expr="


def slo(name: str, matcher: str = "", **queries: str) -> Slo:
    """An objective of 99 %, as the configuration has it."""
    return Slo.model_validate({"name": name, "objective": 99, "matchers": [matcher] if matcher else [], **queries})


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def standin() -> AsyncIterator[PrometheusStandin]:
    async with PrometheusStandin(clock=T0.timestamp) as running:
        yield running


@pytest.fixture
async def real(
    tmp_path: Path, unused_tcp_port: int, real_server: Callable[[str], Path], session: aiohttp.ClientSession
) -> AsyncIterator[Prometheus]:
    config = tmp_path / "prometheus.yml"
    config.write_text("{}")
    process = await asyncio.create_subprocess_exec(
        real_server("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{unused_tcp_port}",
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url = f"http://127.0.0.1:{unused_tcp_port}/"
    try:
        async with asyncio.timeout(30):
            while not await _ready(session, url):  # noqa: ASYNC110 - another program is waited for
                await asyncio.sleep(0.1)
        yield Prometheus(url, session, seconds=20)
    finally:
        process.kill()
        await process.wait()


async def _ready(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(f"{url}-/ready") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


# A real one.


@pytest.mark.real("prometheus")
async def test_a_real_prometheus_draws_the_expression_without_its_threshold(real: Prometheus) -> None:
    found = await Graphs(real)(incident(), [alert(generator_url=f"{GRAPH}vector(time())+>+1e12")], datetime.now(UTC))
    assert found.graph is not None
    assert len(found.graph.line) == STEPS
    assert (found.graph.line[0], found.graph.line[-1]) == ("▁", "█")
    assert found.graph.high - found.graph.low == SPAN.total_seconds()


@pytest.mark.real("prometheus")
async def test_a_real_prometheus_gives_each_alert_its_own_series(real: Prometheus) -> None:
    both = 'label_replace(vector(1),"instance","a","","") or label_replace(vector(2),"instance","b","","")'
    url = GRAPH + both.replace(" ", "+").replace('"', "%22")
    for name, number in (("a", 1.0), ("b", 2.0)):
        found = await Graphs(real)(incident(), [alert(name, generator_url=url)], datetime.now(UTC))
        assert found.graph is not None
        assert found.graph.last == number
    nobodys = await Graphs(real)(incident(), [alert("c", generator_url=url)], datetime.now(UTC))
    assert nobodys.graph is None


@pytest.mark.real("prometheus")
@pytest.mark.parametrize(
    "text", ['a"} or vector(9) #', "it's `raw` \\ and \\u0041", "line\nbreak\ttab\x00", "é漢💥", "{{ 7*7 }}"]
)
async def test_a_real_prometheus_reads_a_label_in_a_query_as_the_text_that_it_is(real: Prometheus, text: str) -> None:
    for quote in "\"'":
        pattern = query_pattern(f"label_replace(vector(1),'x',{quote}{{{{ labels.service }}}}{quote},'','')")
        now = datetime.now(UTC)
        (series,) = await real.series(pattern.fill({"service": text}), now, now, timedelta(seconds=1))
        assert series.metric == {"x": text}


@pytest.mark.real("prometheus")
async def test_a_real_prometheus_is_asked_for_budgets_in_either_way(real: Prometheus) -> None:
    slos = [
        slo("asked", query="vector(0.25)"),
        slo("scalar", query="scalar(vector(0.5))"),
        slo("counted", good="vector(995)", total="vector(1000)"),
    ]
    found = await Budgets(real, slos)(incident(), [alert()], datetime.now(UTC))
    assert [(b.name, round(b.left, 6)) for b in found.budgets] == [("asked", 0.25), ("scalar", 0.5), ("counted", 0.5)]
    nothing = [slo("absent", query="absent_metric"), slo("no number", query="vector(0)/0")]
    assert (await Budgets(real, nothing)(incident(), [alert()], datetime.now(UTC))).budgets == ()


@pytest.mark.real("prometheus")
async def test_a_real_prometheus_that_refuses_a_query_says_why(real: Prometheus) -> None:
    with pytest.raises(Unanswered, match=r"HTTP 400: .*parse error"):
        await real.number("sum(", T0)
    with pytest.raises(Unanswered, match="2 series where one number was expected"):
        await real.number("vector(1) or label_replace(vector(1),'a','b','','')", datetime.now(UTC))


# One that is not well.


def success(**data: Any) -> dict[str, Any]:
    return {"status": 200, "body": {"status": "success", "data": data}}


HUGE = json.dumps({"status": "success", "fill": "x" * MAX_ANSWER})
MOODS: list[tuple[str, dict[str, Any], str]] = [
    ("it is overloaded", {"status": 503, "body": "Service Unavailable"}, "HTTP 503, and not an answer"),
    ("a proxy's page", {"status": 200, "body": "<html>"}, "HTTP 200, and not an answer"),
    ("another program's JSON", {"status": 200, "body": {"ok": True}}, "HTTP 200, and not an answer"),
    ("a redirect is not followed", {"status": 302, "body": "", "headers": {"Location": "/elsewhere"}}, "HTTP 302"),
    ("its own error", {"status": 422, "body": {"status": "error", "error": "timed out"}}, "HTTP 422: timed out"),
    ("success without data", {"status": 200, "body": {"status": "success"}}, "HTTP 200"),
    ("series that are none", success(resultType="vector", result=5), "not an answer"),
    ("numbers that are none", success(resultType="scalar", result=[1, "x"]), "a number that is none"),
    ("more than anybody reads", {"status": 200, "body": HUGE}, "more than 1 MiB"),
]


@pytest.mark.parametrize(("rule", "answer", "said"), MOODS, ids=[m[0] for m in MOODS])
async def test_whatever_prometheus_answers_is_a_number_or_a_reason(
    standin: PrometheusStandin, session: aiohttp.ClientSession, rule: str, answer: dict[str, Any], said: str
) -> None:
    standin.faults.add("answer", **answer)
    with pytest.raises(Unanswered, match=said):
        await Prometheus(f"{standin.url}/", session).number("up", T0)
    assert await Prometheus(f"{standin.url}/", session).number("up", T0) == 1.0


@pytest.mark.parametrize("action", ["hang", "close"])
async def test_a_prometheus_that_hangs_or_is_gone_is_given_up(
    standin: PrometheusStandin, session: aiohttp.ClientSession, action: Any
) -> None:
    standin.faults.add(action)
    with pytest.raises(Unanswered, match="no answer"):
        await Prometheus(f"{standin.url}/", session, seconds=0.05 if action == "hang" else 5).number("up", T0)


async def test_an_alert_without_an_expression_or_that_is_over_is_not_asked_about(
    standin: PrometheusStandin, session: aiohttp.ClientSession
) -> None:
    over = alert("a", status=AlertStatus.RESOLVED, generator_url=f"{GRAPH}up")
    found = await Graphs(Prometheus(f"{standin.url}/", session))(incident(), [over, alert("b")], T0)
    assert found.graph is None
    assert standin.requests == []


async def test_the_graph_is_of_the_first_alert_that_has_an_expression(
    standin: PrometheusStandin, session: aiohttp.ClientSession
) -> None:
    alerts = [alert("a"), alert("b", generator_url=f"{GRAPH}b+%3E+1"), alert("c", generator_url=f"{GRAPH}c")]
    found = await Graphs(Prometheus(f"{standin.url}/", session))(incident(), alerts, T0)
    assert found.graph == Graph(GAP * (STEPS - 3) + "▁▅█", 0.0, 2.0, 2.0, SPAN)
    assert [call.params["query"] for call in standin.requests] == ["b"]


# Budgets.

LEFT = [
    ("nothing failed", 99.9, 1000.0, 1000.0, 1.0),
    ("half of what may fail has failed", 99.0, 995.0, 1000.0, 0.5),
    ("all of it", 99.0, 990.0, 1000.0, 0.0),
    ("twice as much as may", 99.0, 980.0, 1000.0, -1.0),
    ("nothing was good, and has no series", 50.0, None, 10.0, -1.0),
    ("no event at all", 99.0, None, None, None),
    ("events that number none", 99.0, 0.0, 0.0, None),
]


@pytest.mark.parametrize(("rule", "objective", "good", "total", "left"), LEFT, ids=[x[0] for x in LEFT])
def test_what_is_left_of_a_budget_follows_from_good_and_total(
    rule: str, objective: float, good: float | None, total: float | None, left: float | None
) -> None:
    assert left_of(objective, good, total) == (left if left is None else pytest.approx(left)), rule


async def test_only_objectives_that_take_an_alert_and_know_its_labels_are_asked_for(
    standin: PrometheusStandin, session: aiohttp.ClientSession
) -> None:
    slos = [
        slo("other", 'service="web"', query="q"),
        slo("mine", 'service="api"', query='left{service="{{ labels.service }}", window="{{ window }}"}'),
        slo("not known", query="{{ labels.tenant }}"),
        *(slo(f"of all {n}", query="q") for n in range(5)),
    ]
    standin.number = 0.5
    budgets = Budgets(Prometheus(f"{standin.url}/", session), slos)
    found = await budgets(incident(), [alert()], T0)
    assert [b.name for b in found.budgets] == ["mine", "of all 0"], "three are looked at, and one of them lacks a label"
    assert len(found.budgets) <= MOST
    assert found.budgets[0] == ErrorBudget("mine", 99, timedelta(days=30), 0.5)
    assert standin.requests[0].params["query"] == 'left{service="api", window="30d"}'
    over = [replace(alert(), status=AlertStatus.RESOLVED)]
    assert (await budgets(incident(), over, T0)).budgets == ()
