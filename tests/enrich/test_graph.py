"""The line of an alert's own expression."""

from __future__ import annotations

import math
from datetime import timedelta
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot.enrich.graph import MAX_EXPRESSION, STEP, STEPS, expression_of, graph_of, series_of, without_threshold
from alertbot.enrich.prometheus import Series, numbers
from tests.store.builders import T0, at

URL = "http://prometheus.example.org:9090/graph?"
LINKS = [
    ("Prometheus' own link", f"{URL}g0.expr={quote('up == 0')}&g0.tab=1", "up == 0"),
    ("spaces may be plus signs", f"{URL}g0.expr=up+%3D%3D+0", "up == 0"),
    ("the new page's link", "http://p/query?g0.expr=up", "up"),
    ("Grafana's has no expression", "http://grafana/alerting/grafana/abc/view?orgId=1", ""),
    ("no link at all", "", ""),
    ("no address", "http://[::1/graph?g0.expr=up", ""),
    ("an endless one", f"{URL}g0.expr={'x' * (MAX_EXPRESSION + 1)}", ""),
]


@pytest.mark.parametrize(("rule", "url", "expression"), LINKS, ids=[x[0] for x in LINKS])
def test_the_expression_is_taken_from_the_alerts_link(rule: str, url: str, expression: str) -> None:
    assert expression_of(url) == expression, rule


EXPRESSIONS = [
    ("a threshold hides all that is within bounds", "rate(x[5m]) > 0.05", "rate(x[5m])"),
    ("below one", "up == 0", "up"),
    ("negative, with an exponent", "x < -1.5e+3", "x"),
    ("`bool` goes with it", "x > bool 3", "x"),
    ("over several lines", "sum(\n  x\n)\n>= 10\n", "sum(\n  x\n)"),
    ("a comparison within stays", "sum(x > 3) > 5", "sum(x > 3)"),
    ("one within brackets is not the end", "(x > 5)", "(x > 5)"),
    ("an operator in a string is text", 'x{a=" > 3"} > 5', 'x{a=" > 3"}'),
    ("a string that ends like one", 'x{a="b > 5"}', 'x{a="b > 5"}'),
    ("a quote in a string", r'x{a="\" and > 3"} > 5', r'x{a="\" and > 3"}'),
    ("set operators bind last: not ours to take apart", "x > 3 and y > 5", "x > 3 and y > 5"),
    ("two series compared", "x > y", "x > y"),
    ("nothing but a number", "5", "5"),
]


@pytest.mark.parametrize(("rule", "expression", "bare"), EXPRESSIONS, ids=[x[0] for x in EXPRESSIONS])
def test_the_graph_is_of_what_is_compared_with_the_threshold(rule: str, expression: str, bare: str) -> None:
    assert without_threshold(expression) == bare, rule


def test_of_many_series_it_is_the_alerts_own() -> None:
    mine = Series({"__name__": "x", "instance": "a", "job": "api"})
    others = [Series({"instance": "b", "job": "api"}), Series({"instance": "a", "job": "api", "le": "1"})]
    labels = {"alertname": "Down", "instance": "a", "job": "api", "severity": "page"}
    assert series_of(labels, [*others, mine]) is mine
    assert series_of(labels, others) is None
    assert series_of(labels, [Series({}), *others]) is None, "a sum beside them is not this alert's"
    assert series_of(labels, others[:1]) is others[0], "an only one is what the alert is about"
    assert series_of(labels, []) is None


def test_a_line_goes_from_the_lowest_to_the_highest_and_has_gaps() -> None:
    found = graph_of([None, 0.0, 1.0, None, 7.0, 3.5])
    assert found is not None
    assert found.line == "·▁▂·█▅"
    assert (found.low, found.high, found.last) == (0.0, 7.0, 3.5)
    level = graph_of([4.0, 4.0])
    assert level is not None
    assert level.line == "▁▁"
    assert graph_of([None]) is None
    assert graph_of([]) is None


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=40))
def test_any_finite_numbers_make_a_line(values: list[float | None]) -> None:
    found = graph_of(values)
    assert (found is None) == all(v is None for v in values)
    if found is not None:
        assert len(found.line) == len(values)
        assert math.isfinite(found.low)


def test_numbers_stand_at_their_steps_and_what_is_no_number_is_a_gap() -> None:
    series = Series({}, [(T0.timestamp(), "1"), (at(360).timestamp(), "NaN"), (at(540).timestamp(), "+Inf")])
    late = Series({}, [(at(-180).timestamp(), "1"), (at(720).timestamp(), "2.5"), (at(9_999).timestamp(), "3")])
    assert numbers(series, T0, STEP, 5) == [1.0, None, None, None, None]
    assert numbers(late, T0, STEP, 5) == [None, None, None, None, 2.5]
    assert timedelta(hours=1) / STEP == STEPS - 1
