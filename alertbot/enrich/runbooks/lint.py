"""What is wrong with a folder of runbooks."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import unquote

from alertbot.config.problems import Problem, did_you_mean
from alertbot.enrich.runbooks.folder import Runbooks
from alertbot.enrich.runbooks.model import Runbook


def lint(runbooks: Runbooks, knows_severity: Callable[[str], bool], severities: str = "") -> list[Problem]:
    """All that is wrong with a folder: what could not be read, what a front matter lacks, two runbooks for one alert,
    links between runbooks that lead nowhere. `severities` names those that are known, for the message.
    """
    problems = list(runbooks.problems)
    taken: dict[tuple[object, ...], Runbook] = {}
    anchors = {r.name: _anchors(r) for r in runbooks.all}
    for runbook in runbooks.all:
        problems += (Problem(runbook.file, line, what) for line, what in _lacks(runbook))
        if runbook.severity and not knows_severity(runbook.severity):
            what = f"unknown severity `{runbook.severity}`" + (f": known are {severities}" if severities else "")
            problems.append(Problem(runbook.file, runbook.given.get("severity", 1), what))
        for names in runbook.alerts:
            # Matchers are equal by what they ask for.
            said = (names.exact, frozenset(names.patterns), frozenset(names.conditions))
            other = taken.setdefault(said, runbook)
            if other is not runbook:
                what = f"`{names.text}` has a runbook already: {other.file}"
                problems.append(Problem(runbook.file, names.line, what))
        for link in runbook.links:
            if what := _dead(link.target, runbook, runbooks, anchors):
                problems.append(Problem(runbook.file, link.line, what))
    return sorted(set(problems))


def _lacks(runbook: Runbook) -> Iterator[tuple[int, str]]:
    for key in ("title", "severity", "owner"):
        if key not in runbook.given:
            yield 1, f"the front matter has no `{key}`"
    if "alerts" not in runbook.given:
        name = posixpath.basename(runbook.name)
        yield 1, f"the front matter names no `alerts`: it is taken to be for `{name}`"
    elif not runbook.alerts:
        yield runbook.given["alerts"], "it is for no alert: `alerts` names none"
    if not runbook.steps:
        yield 1, "it has no first steps to show: a list under a heading such as `First five minutes`"


def _anchors(runbook: Runbook) -> frozenset[str]:
    """What a link can name of it: its headings, as GitHub writes them; the second of one name ends in `-1`."""
    seen: Counter[str] = Counter()
    found = set()
    for section in runbook.sections:
        if section.level:
            anchor = re.sub(r"[^\w\- ]", "", section.title.lower()).replace(" ", "-")
            found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
            seen[anchor] += 1
    return frozenset(found)


def _dead(target: str, runbook: Runbook, runbooks: Runbooks, anchors: Mapping[str, frozenset[str]]) -> str:
    """Why a link leads nowhere; empty where it does, or where it leads out of the folder: that is not ours to know."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|/", target) or "{{" in target:
        return ""
    path, _, anchor = target.partition("#")
    path = unquote(path.partition("?")[0])
    name = runbook.name
    if path:
        inside = posixpath.normpath(posixpath.join(posixpath.dirname(runbook.name), path))
        if inside == ".." or inside.startswith("../"):
            return ""
        if inside == "." or any(f.startswith(inside + "/") for f in runbooks.files):
            return ""
        file = inside if inside in runbooks.files else inside + ".md"
        if file not in runbooks.files:
            return f"a dead link: there is no `{inside}` here{did_you_mean(inside, sorted(runbooks.files))}"
        name = file.removesuffix(".md")
    if anchor and name in anchors and unquote(anchor).lower() not in anchors[name]:
        near = did_you_mean(unquote(anchor).lower(), sorted(anchors[name]))
        return f"a dead link: `{name}` has no heading `#{anchor}`{near}"
    return ""
