"""How people type: quotes of every kind, `#`, upper case, typos, and what Slack makes of names and links."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Final

from alertbot import render
from alertbot.domain.durations import DurationError, parse_duration
from alertbot.enrich.runbooks import typos

_QUOTES: Final = str.maketrans(dict.fromkeys("“”„‟«»″", '"') | dict.fromkeys("‘’‚‛‹›′", "'"))
_LINK: Final = re.compile(r"<((?:https?|mailto):[^|>\s]+)(?:\|[^>]*)?>")
_USER: Final = re.compile(r"<@([UW][A-Z0-9]+)(?:\|[^>]*)?>")
_EDGES: Final = "\"'`´#.,;:!?()[]{}<>*_~"
_WORDED: Final = re.compile(
    r"(\d+)\s*(s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?|d|days?|w|weeks?)\b", re.IGNORECASE
)


def tidy(text: str) -> str:
    """What was typed, on one line: plain quotes, links as their addresses, Slack's escapes undone."""
    return render.one_line(html.unescape(_LINK.sub(lambda m: m[1].removeprefix("mailto:"), text)).translate(_QUOTES))


def first(text: str) -> tuple[str, str]:
    """The first word, and what comes after it. A word in quotes may have spaces."""
    text = text.strip()
    if text[:1] in "\"'" and (end := text.find(text[:1], 1)) > 0:
        return text[1:end], text[end + 1 :].strip()
    word, _, rest = text.partition(" ")
    return word, rest.strip()


def bare(word: str) -> str:
    """A word without what people put around it: `“#abc”,` is `abc`."""
    return word.strip(_EDGES)


def user_id(word: str) -> str:
    """The ID in a mention of Slack's; empty where it is none."""
    found = _USER.fullmatch(word)
    return found[1] if found else ""


def incident_id(word: str) -> str:
    """An incident's id as it was typed, pasted with `#`, or the end of its page's address."""
    return bare(word).rstrip("/").rpartition("/")[2].lower()


def chosen(word: str, known: Mapping[str, Iterable[str]]) -> str:
    """Which of the names a word is: the name itself or one of its aliases, in any case; empty where it is none."""
    key = bare(word).casefold()
    return next((name for name, aliases in known.items() if key == name or key in aliases), "")


def meant(word: str, known: Mapping[str, Iterable[str]]) -> str:
    """Which of the names was probably meant by a mistyped word; empty where none is near."""
    key = bare(word).casefold()
    most = 1 if len(key) < 6 else 2
    every = ((name, typos(key, form, most)) for name, aliases in known.items() for form in (name, *aliases))
    near = min(every, key=lambda n: n[1], default=("", most + 1))
    return near[0] if near[1] <= most and len(key) > 2 else ""


def duration(text: str) -> tuple[timedelta, str] | None:
    """A duration at the start of a text (`4h`, `1h30m`, `90 min`), and what comes after it."""
    word, rest = first(text)
    try:
        span = parse_duration(bare(word).lower())
        return (span, rest) if span else None
    except DurationError:
        pass
    found = _WORDED.match(text.strip())
    if found is None or not int(found[1][:6]):
        return None
    unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}[found[2][0].lower()]
    return timedelta(**{unit: int(found[1][:6])}), text.strip()[found.end() :].strip()
