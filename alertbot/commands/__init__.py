"""Slash commands, one file each. A new one is its file here and a line in `EVERY`.

base → words, people, outcome, views → the commands → desk: each file knows those before it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from alertbot.commands import deploys, incident, maintenance, oncall, runbook, silence
from alertbot.commands.base import Command
from alertbot.sources import SOURCES

EVERY: Final = (
    incident.COMMAND,
    runbook.COMMAND,
    oncall.COMMAND,
    silence.COMMAND,
    deploys.COMMAND,
    maintenance.COMMAND,
)
#: Commands that come to nothing where nobody takes the events that they make.
NEEDS: Final[Mapping[str, str]] = {"silence": "silence"}


def commands(sources: Collection[str] = SOURCES) -> dict[str, Command]:
    """The commands that have an effect, by name: those whose events somebody takes."""
    return {c.name: c for c in EVERY if NEEDS.get(c.name) in (None, *sources)}
