"""Matchers agree with Alertmanager row for row: what a mode makes of an input, its canonical form, what it matches."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


@pytest.mark.parametrize(
    ("text", "mode", "value"),
    [
        # A space of Unicode's at the end, as it comes with pasted text, is no part of the value.
        ("foo=bar\u00a0", "fallback", "bar"),
        ("foo=bar\u00a0", "classic", "bar"),
        # Go's regexes do not count the vertical tab among blanks.
        ("foo=\vbar,", "classic", "\vbar"),
        # Go's Unicode does not count the separators U+001C to U+001F among spaces.
        ("foo=a\x1cb", "utf8", "a\x1cb"),
        # Escapes: three in the classic syntax, all of Go's in the other.
        (r'foo="\t\n"', "classic", "\\t\n"),
        (r'foo="\t\n\x41\u00e9"', "utf8", "\t\nA\u00e9"),
        # Both can and they differ: the classic answer counts.
        (r'foo="\t\n"', "fallback", "\\t\n"),
    ],
)
def test_spaces_and_escapes_are_gos(text: str, mode: Mode, value: str) -> None:
    assert [m.value for m in parse_matchers(text, mode)] == [value]


def test_a_backslash_before_a_quoted_comma_reaches_past_it_as_in_alertmanager() -> None:
    with pytest.raises(MatcherError, match="unescaped double quote"):
        parse_matchers(r'a="x\,\"y",b="z"', "classic")


@pytest.mark.parametrize(
    ("matcher", "printed"),
    [
        # OpenMetrics escapes where the name needs no quotes.
        (Matcher("foo", "=", 'a"\\\n\t'), '"a\\"\\\\\\n\t"'),
        # Go's, of name and value alike, where it does.
        (Matcher("a b", "=", "x\t\x01\u200b\u00e9\U000e0001"), '"x\\t\\x01\\u200b\u00e9\\U000e0001"'),
    ],
)
def test_values_are_quoted_as_alertmanager_quotes_them(matcher: Matcher, printed: str) -> None:
    assert str(matcher).partition("=")[2] == printed


def test_a_label_value_that_is_not_unicode_is_matched_as_its_replacement() -> None:
    assert parse_matcher('foo=~"a\ufffd.*"').matches({"foo": "a\ud800b"})
    assert not parse_matcher('foo=~"b.*"').matches({"foo": "a\ud800b"})


values = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
plain_names = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]*", fullmatch=True)


@given(st.lists(st.builds(Matcher, plain_names, st.sampled_from(["=", "!="]), values), min_size=1, max_size=4))
def test_what_is_printed_is_read_back_by_the_classic_parser(matchers: list[Matcher]) -> None:
    assert parse_matchers("{" + ",".join(map(str, matchers)) + "}", "classic") == tuple(matchers)


@given(st.builds(Matcher, values.map(lambda t: f" {t}"), st.sampled_from(["=", "!="]), values))
def test_a_matcher_with_a_quoted_name_is_read_back_in_the_default_mode(matcher: Matcher) -> None:
    assert parse_matcher(str(matcher)) == matcher


@given(
    st.lists(st.text("abz09_ :/@%-", max_size=4), min_size=1, max_size=4).map("|".join),
    st.text("abz09_ :/@%-|\n", max_size=5),
)
def test_plain_alternations_match_as_their_regex_does(pattern: str, text: str) -> None:
    # The group around it is a metacharacter: this one goes through RE2.
    as_regex = Matcher("foo", "=~", f"(?:{pattern})")
    assert Matcher("foo", "=~", pattern).matches({"foo": text}) == as_regex.matches({"foo": text})
