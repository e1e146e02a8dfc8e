"""A configuration from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from alertbot.config.load import Config, ConfigErrors, load

#: The least that can be loaded.
LEAST = "route: {receiver: log}\nreceivers: [{name: log}]\n"

Loads = Callable[..., Config]
Refusals = Callable[..., list[str]]


@pytest.fixture
def loads(tmp_path: Path) -> Loads:
    """Writes a text to alertbot.yml and loads it."""

    def made(text: str, environ: Mapping[str, str] | None = None, **options: Any) -> Config:
        file = tmp_path / "alertbot.yml"
        file.write_text(dedent(text), encoding="utf-8")
        return load(file, environ or {}, **options)

    return made


@pytest.fixture
def refusals(loads: Loads) -> Refusals:
    """What is said against a text, as `line: what`."""

    def made(text: str, environ: Mapping[str, str] | None = None, **options: Any) -> list[str]:
        with pytest.raises(ConfigErrors) as refused:
            loads(text, environ, **options)
        return [f"{p.line}: {p.what}" for p in refused.value.problems]

    return made
