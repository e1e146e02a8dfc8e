"""What an alert says is put into addresses and queries, and can't become more than a part of them."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot.config.patterns import query_pattern, url_pattern

HOSTILE = [
    "a/../../admin", "x?token=1&next=//evil.example", "a#fragment", "a b\nc", "{{ 7*7 }}", "{% raw %}", "'\"><script>",
    "\u202egpj.exe", "\ud800", "@evil.example/", "100%", "a|b>c<d",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("asked", ["{{ labels.service }}", "{{ labels.service | urlencode }}"])
def test_a_label_stays_one_part_of_an_address_whether_the_pattern_encodes_it_or_not(text: str, asked: str) -> None:
    url = url_pattern(f"https://logs.example.org/app/{asked}?q={asked}&from=now").fill({"service": text})
    parts = urlsplit(url)
    assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "logs.example.org", "")
    _, app, service = parts.path.split("/")
    query, since = parts.query.split("&")
    said = text.encode("utf-8", "replace").decode()
    assert (app, unquote(service), unquote(query), since) == ("app", said, f"q={said}", "from=now")


BASE = "https://l.example/"
PROD = "{% if labels.a == 'p' %}prod{% else %}{{ labels.a }}{% endif %}"
PATTERNS = [
    ("every label that is named is there", "{{ labels.a }}", {"a": "1"}, f"{BASE}1"),
    ("one is not: no link", "{{ labels.b }}", {"a": "1"}, ""),
    ("an empty label is none", "{{ labels.a }}", {"a": ""}, ""),
    ("a default stands in", "{{ labels.b | default('x') }}", {}, f"{BASE}x"),
    ("a label may be called as a method is", "{{ labels.items }}", {"items": "i"}, f"{BASE}i"),
    ("it may be asked for by a name that is no word", "{{ labels['a.b'] }}", {"a.b": "c"}, f"{BASE}c"),
    ("a condition", PROD, {"a": "p"}, f"{BASE}prod"),
    ("what fails for this alert: no link", "{{ 1 // (labels.a | length - 3) }}", {"a": "abc"}, ""),
]


@pytest.mark.parametrize(("rule", "text", "labels", "url"), PATTERNS, ids=[p[0] for p in PATTERNS])
def test_an_address_is_made_of_labels(rule: str, text: str, labels: dict[str, str], url: str) -> None:
    assert url_pattern(BASE + text).fill(labels) == url, rule


@pytest.mark.parametrize("text", ["{{ labels.__class__ }}", "{{ labels._labels }}", "{{ ''.__class__.__mro__ }}"])
def test_a_pattern_that_reaches_for_more_than_labels_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="unsafe"):
        query_pattern(text)


@given(st.text())
def test_a_label_never_ends_the_quoted_string_of_a_query_that_it_is_put_into(text: str) -> None:
    made = query_pattern('up{service="{{ labels.service }}"}').fill({"service": f"x{text}"})
    assert made.startswith('up{service="x')
    assert made.endswith('"}')
    inside = made.removeprefix('up{service="').removesuffix('"}')
    assert not re.search("[\"'`\n]", inside)
    assert re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), inside) == f"x{text}"


def test_a_query_knows_its_window() -> None:
    made = query_pattern("increase(x[{{ window }}])").fill({}, window="7d")
    assert made == "increase(x[7d])"
