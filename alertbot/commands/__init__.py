"""Slash commands, one file each. A new one is its file here and a line in `EVERY`.

base → words, people, outcome, views → the commands → desk: each file knows those before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from alertbot.commands import incident, oncall, runbook, silence
from alertbot.commands.base import Command
from alertbot.sources import SOURCES

EVERY: Final = (
    incident.COMMAND,
    runbook.COMMAND,
    oncall.COMMAND,
    silence.COMMAND,
)
#: Commands that come to nothing where nobody takes the events that they make.
NEEDS: Final[Mapping[str, str]] = {"silence": "silence"}


def commands() -> dict[str, Command]:
    """The commands that have an effect in this version, by name."""
    return {c.name: c for c in EVERY if NEEDS.get(c.name, "note") in SOURCES}
