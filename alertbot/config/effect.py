"""What may be written in alertbot.yml already and does nothing yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from alertbot.config.problems import Path, Problem
from alertbot.config.yaml import Document

#: What may be written already and does nothing yet → what it will do. Indices and `routes` are left out of a
#: path. Whoever builds a part deletes its line here; nothing else says that it is missing.
NOT_IN_EFFECT: Final[Mapping[str, str]] = {}


def not_in_effect(document: Document, data: dict[str, Any]) -> list[Problem]:
    """Each entry of the table that was set, at the first place."""
    found: dict[str, Problem] = {}
    for path, value in _settings_in(data, ()):
        name = ".".join(p for p in path if isinstance(p, str) and p != "routes")
        if name in NOT_IN_EFFECT and value not in ({}, [], "") and name not in found:
            what = f"`{name}` is not in effect yet; it will {NOT_IN_EFFECT[name]}"
            found[name] = Problem(document.file, document.line(path), what)
    return sorted(found.values())


def _settings_in(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield (*path, key), item
            yield from _settings_in(item, (*path, key))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _settings_in(item, (*path, i))
