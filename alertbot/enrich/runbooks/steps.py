"""The first steps of a runbook: the few lines that are shown with an alert."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from alertbot.enrich.runbooks.model import Section
from alertbot.enrich.runbooks.text import FENCE, plain

#: How many first steps are shown, and how long one may be, in characters.
MAX_STEPS: Final = 5
MAX_STEP: Final = 300

_ITEM: Final = re.compile(r"(\s*)(?:[-*+]|\d{1,9}[.)])\s+(?:\[[ xX]\]\s+)?(.*)")
_ONLY_A_LINK: Final = re.compile(r"\s*[-*+]\s+\[[^\]]*\](?:\((?:[^()]|\([^()]*\))*\)|\[[^\]]*\])?\.?\s*")

#: Headings under which the first steps stand, the likeliest first.
_FIRST: Final = tuple(
    re.compile(words, re.IGNORECASE)
    for words in (
        r"first (five |\d+ |few )?(minutes|steps|response|things)|immediate|triage",
        r"diagnos|investigat|debug|troubleshoot|\bchecks?\b|verify|see whether",
        r"mitigat|resol|remed|recover|\bfix|\bmend|what to do|\bsteps\b|\bactions?\b|procedure",
    )
)


def first_steps(sections: Sequence[Section]) -> tuple[str, ...]:
    """What to do first: the list under the heading that promises it, else its paragraphs, else any list."""
    texts = [_with_parts(sections, i) for h in _FIRST for i, s in enumerate(sections) if s.level and h.search(s.title)]
    texts = [_without_lists_of_links(text) for text in texts]
    everything = _without_lists_of_links(line for s in sections for line in s.lines)
    for found in (*map(_items, texts), *map(_paragraphs, texts), _items(everything)):
        if found:
            return tuple(_cut(step, MAX_STEP) for step in found[:MAX_STEPS])
    return ()


def _without_lists_of_links(lines: Iterable[tuple[str, bool]]) -> list[tuple[str, bool]]:
    return [(line, code) for line, code in lines if code or not _ONLY_A_LINK.fullmatch(line)]


def _with_parts(sections: Sequence[Section], i: int) -> list[tuple[str, bool]]:
    """The lines of a section and of those below it."""
    lines = list(sections[i].lines)
    for section in sections[i + 1 :]:
        if section.level <= sections[i].level:
            break
        lines += [("", False), *section.lines]
    return lines


def _items(lines: Iterable[tuple[str, bool]]) -> list[str]:
    """The items of the outermost lists, one line each, with the first command of a block of code in it."""
    items: list[list[str]] = []
    codes: list[list[str]] = []
    indent, open_, ended = 0, False, False  # `open_`: in an item; `ended`: its first paragraph is over
    for line, code in lines:
        found = None if code else _ITEM.fullmatch(line)
        depth = len(line) - len(line.lstrip())
        if found and (not open_ or depth <= indent + 1):
            items.append([found[2]])
            codes.append([])
            indent, open_, ended = depth, True, False
        elif not line.strip():
            ended = True
        elif open_ and code and depth > indent:
            codes[-1].append(line)
        elif open_ and depth <= indent and (ended or code):
            open_ = False
        elif open_ and not ended and not found:
            items[-1].append(line)
        else:
            ended = True  # a list within, or a further paragraph
    steps = [plain(" ".join(item)) for item in items]
    return [_with_command(step, code) for step, code in zip(steps, codes, strict=True) if step]


def _paragraphs(lines: Iterable[tuple[str, bool]]) -> list[str]:
    found: list[tuple[list[str], list[str]]] = []
    ended = True
    for line, code in lines:
        if not line.strip():
            ended = True
        elif code:
            if found:
                found[-1][1].append(line)
            ended = True
        elif ended:
            found.append(([line], []))
            ended = False
        else:
            found[-1][0].append(line)
    steps = [(plain(" ".join(text)), code) for text, code in found]
    return [_with_command(step, code) for step, code in steps if step]


def _with_command(step: str, code: Sequence[str]) -> str:
    """A step that shows no code of its own gets the first command of the block that belongs to it."""
    commands = (c for line in code if not FENCE.fullmatch(line) if (c := line.strip().removeprefix("$ ").strip()))
    command = next((c for c in commands if not c.startswith("#")), "")
    if not command or "`" in step or "`" in command or len(step) + len(command) > MAX_STEP - 4:
        return step
    return f"{step} `{command}`"


def _cut(text: str, length: int) -> str:
    """A text that is too long ends in `…`, outside of code."""
    if len(text) <= length:
        return text
    text = text[: length - 2]
    return text + ("`…" if text.count("`") % 2 else "…")
