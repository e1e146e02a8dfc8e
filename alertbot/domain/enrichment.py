"""What else there is to know of an incident than its alerts say: values, and what follows from the record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta

from alertbot.domain.deploys import Suspect
from alertbot.domain.model import Entry, Incident


@dataclass(frozen=True, slots=True)
class RunbookRef:
    """What is shown with an alert. `url` may be empty, and `steps` too, but not both.

    `steps` are single lines of text, at most MAX_STEPS of MAX_STEP characters; what stands in backticks is code.
    `name` is the runbook's in its folder; empty where there is only a link.
    """

    title: str
    url: str
    steps: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True, slots=True)
class Past:
    """Earlier incidents of one group, the newest first, and the latest note on any of them."""

    incidents: Sequence[Incident] = ()
    note: Entry | None = None


@dataclass(frozen=True, slots=True)
class History:
    """How a group behaved before: it opened `times` times `within` a span, typically for so long (the median).

    `by` is who last ended it by hand, else who last acknowledged it (`resolved` tells which), at `by_at`.
    """

    times: int
    within: timedelta
    last_at: datetime
    typical: timedelta | None = None
    by: str = ""
    by_at: datetime | None = None
    resolved: bool = False
    note: str = ""
    note_by: str = ""
    note_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Graph:
    """The course of an alert's own expression: a line of one character a step, the last one now."""

    line: str
    low: float
    high: float
    last: float
    span: timedelta


@dataclass(frozen=True, slots=True)
class ErrorBudget:
    """What is left of an objective's error budget: 1 is all of it, 0 none, below that it is overspent.

    `objective` is in percent.
    """

    name: str
    objective: float
    window: timedelta
    left: float


@dataclass(frozen=True, slots=True)
class Enrichment:
    """All that was found. `links` are names and addresses, in the order of the configuration."""

    runbook: RunbookRef | None = None
    links: tuple[tuple[str, str], ...] = ()
    history: History | None = None
    graph: Graph | None = None
    budgets: tuple[ErrorBudget, ...] = ()
    suspects: tuple[Suspect, ...] = ()
    """Recent deploys that it may come from, the likeliest first."""

    def __or__(self, other: Enrichment) -> Enrichment:
        """Both together: the other's where it says something."""
        said = {f.name: value for f in fields(other) if (value := getattr(other, f.name))}
        return replace(self, **said)


def history_of(incident: Incident, past: Past, within: timedelta) -> History | None:
    """What the incidents before this one tell. None where no other one was ever opened for people."""
    before = [i for i in past.incidents if i.id != incident.id and i.opened_at is not None and not i.test]
    opened = [i.opened_at for i in before if i.opened_at is not None]
    if not opened:
        return None
    lasted = sorted(
        i.resolved_at - i.opened_at for i in before if i.opened_at is not None and i.resolved_at is not None
    )
    ended = next((i for i in before if i.resolved_by), None)
    taken = next((i for i in before if i.acknowledged_by), None)
    who = ended or taken
    note = past.note
    return History(
        times=sum(max(i.openings, 1) for i in before),
        within=within,
        last_at=max(opened),
        typical=lasted[len(lasted) // 2] if lasted else None,
        by=((ended.resolved_by if ended else taken.acknowledged_by if taken else "") or ""),
        by_at=None if who is None else who.resolved_at if ended else who.acknowledged_at,
        resolved=ended is not None,
        note=note.details.get("note", "") if note else "",
        note_by=note.by if note else "",
        note_at=note.at if note else None,
    )
