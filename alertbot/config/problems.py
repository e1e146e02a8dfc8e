"""What is wrong with a configuration, and where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing to mend: `line` counts from 1. `what` says what was wrong and what was meant, and holds no
    secret.
    """

    file: str
    line: int
    what: str

    def __str__(self) -> str:
        # One line each, whatever was written into the file.
        return f"{self.file}:{self.line}: {' '.join(self.what.splitlines())}"


class ConfigErrors(Exception):
    """The configuration cannot be used, for all of these reasons. The user's to mend."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(map(str, self.problems)))


def did_you_mean(word: str, known: list[str], nearness: float = 0.6) -> str:
    """The end of a message: what was probably meant; nothing where nothing known is near enough (1: the
    same).
    """
    near = get_close_matches(word, known, n=1, cutoff=nearness)
    return f": did you mean `{near[0]}`?" if near else ""


def dotted(path: Path) -> str:
    """`receivers[0].slack_configs[1].channel`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".") or "the configuration"


def kind_of(value: Any) -> str:
    """What something of the file is, for a message that says what was expected."""
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "a mapping"
    return "nothing" if value is None else "a text"
