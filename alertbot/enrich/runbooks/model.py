"""What a runbook is: what its file says, and which alerts it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from alertbot.domain.matchers import Matcher, matches_all

ALERTNAME: Final = "alertname"


@dataclass(frozen=True, slots=True)
class Names:
    """One entry of `alerts`: `exact` is an alert's name in lower case, `patterns` are matchers of its name."""

    text: str
    line: int
    exact: str | None
    patterns: tuple[Matcher, ...]
    conditions: tuple[Matcher, ...]

    def take(self, labels: Mapping[str, str]) -> bool:
        """Whether the entry names the alert with these labels."""
        name = {ALERTNAME: labels.get(ALERTNAME, "")}
        return (
            (self.exact is None or self.exact == name[ALERTNAME].casefold())
            and matches_all(self.patterns, name)
            and matches_all(self.conditions, labels)
        )

    def may_take(self, labels: Mapping[str, str]) -> bool:
        """As `take`, where a label that is missing, or that a template fills, may still come to match."""
        open_ = {m.name for m in self.conditions if "{{" in labels.get(m.name, "{{")}
        return replace(self, conditions=tuple(m for m in self.conditions if m.name not in open_)).take(labels)


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands below it, up to the next heading. Level 0 is what comes before the first one.

    `lines` are the text's lines, each with whether it is code of a fenced block.
    """

    level: int
    title: str
    line: int
    lines: tuple[tuple[str, bool], ...]


@dataclass(frozen=True, slots=True)
class Link:
    """Where a link of the text leads to, as it was written."""

    target: str
    line: int


@dataclass(frozen=True, slots=True)
class Runbook:
    """One file. `name` is its path in the folder without `.md`; `file` is how messages call it."""

    name: str
    file: str
    title: str
    alerts: tuple[Names, ...]
    severity: str
    owner: str
    dashboards: tuple[str, ...]
    sections: tuple[Section, ...]
    links: tuple[Link, ...]
    steps: tuple[str, ...]
    body: str
    given: Mapping[str, int]
    """The keys that the front matter has, and their lines."""
