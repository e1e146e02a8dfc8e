"""The text of a runbook: its front matter, its Markdown in sections, its links. Nothing here does I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

import re2

from alertbot.config import yaml
from alertbot.config.problems import ConfigErrors, Problem, did_you_mean, kind_of
from alertbot.domain.matchers import Matcher, MatcherError, parse_matchers
from alertbot.enrich.runbooks.model import ALERTNAME, Link, Names, Section

_KEYS: Final = ["title", "alerts", "severity", "owner", "dashboards"]


def front_matter(file: str, lines: Sequence[str]) -> tuple[yaml.Document, int, list[Problem]]:
    """The front matter, the index of the line after it, and what is wrong with it."""
    nothing = yaml.Document(file, {}, {})
    if not lines or lines[0].rstrip() != "---":
        return nothing, 0, []
    end = next((i for i, line in enumerate(lines) if i and line.rstrip() in ("---", "...")), None)
    if end is None:
        return nothing, 1, [Problem(file, 1, "the front matter that starts here has no end: a line with `---`")]
    try:
        # An empty line in the place of the first `---`, so that lines count as in the file.
        document = yaml.read(file, "\n".join(["", *lines[1:end]]))
    except ConfigErrors as error:
        return nothing, end + 1, error.problems
    if document.data is None:
        document = replace(document, data={})
    if not isinstance(document.data, dict):
        what = f"expected a front matter of `key: value`, not {kind_of(document.data)}"
        return nothing, end + 1, [Problem(file, document.line(()), what)]
    return document, end + 1, []


@dataclass(frozen=True, slots=True)
class Front:
    """Reads the values of a front matter."""

    file: str
    document: yaml.Document
    problems: list[Problem]

    def __post_init__(self) -> None:
        for key in self.data:
            # A site generator has keys of its own; only what looks like one of ours is a mistake.
            if key not in _KEYS and (meant := did_you_mean(key.lower(), _KEYS, 0.75)):
                self.problem((key,), f"unknown key `{key}`{meant}")

    @property
    def data(self) -> dict[str, Any]:
        """The keys and values, ours and others."""
        data: dict[str, Any] = self.document.data
        return data

    def problem(self, path: tuple[str | int, ...], what: str) -> None:
        """Notes what is wrong with the value at `path`."""
        self.problems.append(Problem(self.file, self.document.line(path), what))

    def text(self, key: str) -> str:
        """A text in one line; empty where there is none."""
        value = self.data.get(key)
        if isinstance(value, str) and value.strip():
            return " ".join(value.split())
        if key in self.data:
            self.problem((key,), f"`{key}`: expected a text, not {'an empty one' if value == '' else kind_of(value)}")
        return ""

    def items(self, key: str) -> Iterator[tuple[tuple[str | int, ...], Any]]:
        """The items of a list; a single text is a list of one."""
        value = self.data.get(key)
        if isinstance(value, str):
            yield (key,), value
        elif isinstance(value, list):
            yield from (((key, i), item) for i, item in enumerate(value))
        elif key in self.data:
            self.problem((key,), f"`{key}`: expected a list, not {kind_of(value)}")

    def alerts(self) -> Iterator[Names]:
        """The entries of `alerts` that are names or matchers."""
        for path, item in self.items("alerts"):
            try:
                yield parse_names(item, self.document.line(path))
            except ValueError as e:
                self.problem(path, f"`alerts`: {e}")

    def dashboards(self) -> Iterator[str]:
        """The http(s) addresses of `dashboards`."""
        for path, item in self.items("dashboards"):
            if isinstance(item, str) and http_url(item):
                yield item
            else:
                self.problem(path, "`dashboards`: expected an address that starts with http:// or https://")


def parse_names(value: Any, line: int) -> Names:
    """One entry of `alerts`: a text, or a list of matchers. Raises ValueError with what is wrong."""
    if isinstance(value, list) and value and all(isinstance(v, str) for v in value):
        text = ", ".join(value)
    elif isinstance(value, str) and value.strip():
        text = value.strip()
    elif isinstance(value, dict):
        raise ValueError('expected an alert\'s name, or matchers as [alertname="Name", label="value"]')
    else:
        raise ValueError(f"expected an alert's name, not {kind_of(value)}")
    if not re.search(r"[=~]", text):
        if "*" not in text:
            return Names(text, line, text.casefold(), (), ())
        # People write `.*` for the same.
        glob = ".*".join(re2.escape(part) for part in re.split(r"\.?\*+", text))
        return Names(text, line, None, (Matcher(ALERTNAME, "=~", f"(?i:{glob})"),), ())
    try:
        matchers = parse_matchers(text)
        return _names_of(text, line, matchers)
    except MatcherError as e:
        raise ValueError(f"not matchers: {e}") from None


def _names_of(text: str, line: int, matchers: Sequence[Matcher]) -> Names:
    exact: str | None = None
    patterns: list[Matcher] = []
    for m in matchers:
        if m.name != ALERTNAME:
            continue
        if m.op == "=" and exact is None:
            exact = m.value.casefold()
            continue
        regex = m.value if m.op in ("=~", "!~") else re2.escape(m.value)
        patterns.append(Matcher(ALERTNAME, "=~" if m.op.startswith("=") else "!~", f"(?i:{regex})"))
    conditions = tuple(m for m in matchers if m.name != ALERTNAME)
    return Names(text, line, exact, tuple(patterns), conditions)


def http_url(text: str) -> str:
    """The address, where it is an absolute http(s) one; else an empty string."""
    url = text.strip()
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return url if parts.scheme in ("http", "https") and parts.netloc and not re.search(r"[\s\x00-\x1f]", url) else ""


# Markdown.

_HEADING: Final = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*")
FENCE: Final = re.compile(r"\s*(`{3,}|~{3,})(.*)")
_CODE: Final = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
_LINK: Final = re.compile(r"\[[^\]]*\]\(\s*(?:<([^>]*)>|\{\{[<%]\s*(?:rel)?ref\s+\"([^\"]+)\"\s*[>%]\}\}|([^\s()]*))")
_DEFINITION: Final = re.compile(r" {0,3}\[[^\]]+\]:\s*<?([^\s>]+)")


def sections_of(lines: Sequence[str], start: int) -> Iterator[Section]:
    """The sections of a file's lines from the index `start` on; their line numbers start at 1, as the file's do."""
    level, title, at = 0, "", start + 1
    body: list[tuple[str, bool]] = []
    fence = ""
    for number, line in enumerate(lines[start:], start + 1):
        mark = FENCE.fullmatch(line)
        if fence:
            body.append((line, True))
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark and "`" not in mark[2]:
            fence = mark[1]
            body.append((line, True))
        elif heading := _HEADING.fullmatch(line):
            yield Section(level, title, at, tuple(body))
            level, title, at, body = len(heading[1]), plain(heading[2] or ""), number, []
        else:
            body.append((line, False))
    yield Section(level, title, at, tuple(body))


def links_of(sections: Iterable[Section]) -> Iterator[Link]:
    """The links of the text, code left out."""
    for section in sections:
        first = section.line + 1 if section.level else section.line
        for number, (line, code) in enumerate(section.lines, first):
            if code:
                continue
            line = _CODE.sub("", line)
            for found in _LINK.finditer(line):
                yield Link(next(filter(None, found.groups()), ""), number)
            if found_ := _DEFINITION.match(line):
                yield Link(found_[1], number)


def plain(text: str) -> str:
    """A line of Markdown without links and emphasis; code keeps its backticks."""
    out, last = "", 0
    for code in _CODE.finditer(text):
        out += _plain(text[last : code.start()]) + code[0]
        last = code.end()
    return " ".join((out + _plain(text[last:])).split())


def _plain(text: str) -> str:
    text = re.sub(r"<!--.*?-->|!\[[^\]]*\]\([^()]*\)", "", text)
    text = re.sub(r"\[([^\]]*)\]\((?:[^()]|\([^()]*\))*\)", r"\1", text)
    text = re.sub(r"\[([^\]]+)\]\[[^\]]*\]", r"\1", text)
    text = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", text)
    return re.sub(r"</?[a-zA-Z][^<>]*>", "", text)
