"""Matchers agree with Alertmanager row for row: what a mode makes of an input, its canonical form, what it matches."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from alertbot.domain.matchers import Matcher, MatcherError, Mode, matches_all, parse_matcher, parse_matchers


def _made_of(parse: Callable[[], Matcher | tuple[Matcher, ...]]) -> dict[str, Any]:
    try:
        found = parse()
    except MatcherError:
        return {"ok": False}
    many = found if isinstance(found, tuple) else (found,)
    return {"ok": True, "matchers": [{"name": m.name, "op": m.op, "value": m.value} for m in many]}


def _expected(answer: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "matchers": answer.get("matchers", [])} if answer["ok"] else {"ok": False}


@pytest.fixture
def rows(corpus: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((corpus / "matchers.json").read_text())["cases"]
    assert len(found) == 252
    return found


@pytest.mark.parametrize("mode", get_args(Mode))
def test_every_input_means_what_it_means_to_alertmanager(rows: list[dict[str, Any]], mode: Mode) -> None:
    for row in rows:
        text = row["input"]
        assert _made_of(lambda t=text: parse_matchers(t, mode)) == _expected(row[mode]), text  # type: ignore[misc]


@pytest.mark.parametrize("mode", ["classic", "utf8"])
def test_a_single_matcher_too(rows: list[dict[str, Any]], mode: Mode) -> None:
    for row in rows:
        text = row["input"]
        assert _made_of(lambda t=text: parse_matcher(t, mode))["ok"] == row[f"{mode}_single"]["ok"], text  # type: ignore[misc]


def test_canonical_forms_and_matches_agree(rows: list[dict[str, Any]]) -> None:
    seen = 0
    for row in rows:
        if not row["fallback"]["ok"]:
            continue
        matchers = parse_matchers(row["input"])
        assert "{" + ",".join(map(str, matchers)) + "}" == row["canonical"]
        for labels, expected in zip(row["labels"], row["matches"], strict=True):
            assert matches_all(matchers, labels) is expected, (row["input"], labels)
            seen += 1
    assert seen == 2629


@pytest.mark.parametrize(
    ("matcher", "labels", "expected"),
    [
        # A label that is missing has the empty value.
        ('foo!="x"', {}, True),
        ('foo=~".*"', {}, True),
        ('foo=""', {}, True),
        # A regex is anchored at both ends, also inside an alternation.
        ('foo=~"a|b"', {"foo": "ab"}, False),
        ('foo=~"a.|b"', {"foo": "xb"}, False),
        # `.` does not match a newline.
        ('foo=~"a.b"', {"foo": "a\nb"}, False),
        # An alternation of plain words holds its empty word too.
        ('foo=~"a|"', {}, True),
        ('foo!~"a|b"', {"foo": "b"}, False),
    ],
)
def test_rules_of_matching(matcher: str, labels: dict[str, str], expected: bool) -> None:
    assert parse_matcher(matcher).matches(labels) is expected


def test_an_error_says_what_and_where() -> None:
    with pytest.raises(MatcherError, match=r"not a regular expression: \[.*missing"):
        parse_matcher('foo=~"["')
    with pytest.raises(MatcherError, match="bad matcher format: foo"):
        parse_matcher("foo")


def test_a_matcher_is_a_value() -> None:
    matcher = parse_matcher('env=~"prod|beta"')
    assert pickle.loads(pickle.dumps(matcher)) == matcher  # noqa: S301  # our own
    assert len({matcher, parse_matcher('env=~"prod|beta"')}) == 1
