"""Texts of the operator's with places for an alert's labels: an address, a query.

What an alert says is anybody's. Wherever it is put in, it is escaped for that place, whether the pattern asks for it or
not: a label stays a part of an address's path or query, and a part of a quoted string of a query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedEnvironment


class _Escaped(str):
    """What is fit for its place already."""

    __slots__ = ()


def for_url(text: object) -> str:
    """Percent-encoded, `/` too."""
    return quote(str(text), safe="", errors="replace")


# The escapes that a quoted string of PromQL knows, in either kind of quotes [prometheus util/strutil/quote.go].
_SPECIAL: Final = re.compile("[\"'`\\\\\x00-\x1f\x7f]")


def for_promql(text: object) -> str:
    """Fit for the inside of a quoted string of PromQL, whatever its quotes are."""
    whole = str(text).encode("utf-8", "replace").decode()
    return _SPECIAL.sub(lambda m: f"\\u{ord(m[0]):04x}", whole)


def _environment(escape: Callable[[object], str]) -> SandboxedEnvironment:
    def once(value: object) -> str:
        return value if isinstance(value, _Escaped) else _Escaped(escape(value))

    env = ImmutableSandboxedEnvironment(undefined=StrictUndefined, finalize=once)
    env.filters["urlencode"] = lambda value: _Escaped(for_url(value))  # so that it is not done twice
    return env


class _Labels:
    """Labels as `labels.name`, and nothing else: a label may be called `items`. An empty one is none."""

    __slots__ = ("_labels",)

    def __init__(self, labels: Mapping[str, str] | None) -> None:
        self._labels = labels

    def __getitem__(self, name: str) -> str:
        if self._labels is None:
            return "label"
        if not (value := self._labels.get(name, "")):
            raise KeyError(name)
        return value


class Pattern:
    """A Jinja template that knows `labels` and the words it is given. Raises ValueError where it is none.

    `sample` is what it makes of an alert that has every label.
    """

    def __init__(self, text: str, env: SandboxedEnvironment, **words: str) -> None:
        self.text = text
        try:
            self._template = env.from_string(text)
            self.sample = self._template.render(labels=_Labels(None), **words)
        except (TemplateError, ArithmeticError, TypeError, ValueError) as e:
            raise ValueError(f"not a template: {e}") from None

    def fill(self, labels: Mapping[str, str], **words: str) -> str:
        """The text for an alert with these labels; empty where it asks for one that the alert lacks."""
        try:
            return self._template.render(labels=_Labels(labels), **words)
        except (TemplateError, ArithmeticError, TypeError, ValueError):
            return ""


_URL: Final = _environment(for_url)
_PROMQL: Final = _environment(for_promql)


def url_pattern(text: str) -> Pattern:
    """An address. Raises ValueError where it cannot be one."""
    pattern = Pattern(text, _URL)
    if not re.match(r"https?://[^/\s]", pattern.sample):
        raise ValueError("expected an address that starts with http:// or https:// and a host")
    return pattern


def query_pattern(text: str) -> Pattern:
    """A query of PromQL, which also knows `window`. Raises ValueError for an empty one."""
    pattern = Pattern(text, _PROMQL, window="30d")
    if not pattern.sample.strip():
        raise ValueError("a query cannot be empty")
    return pattern
