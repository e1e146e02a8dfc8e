"""`/runbook`: the best match with its first steps, and others to choose from. Never an empty answer."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from alertbot import render
from alertbot.commands import views, words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, say
from alertbot.domain.enrichment import RunbookRef
from alertbot.domain.model import Alert, Incident
from alertbot.enrich.runbooks import Runbook, Runbooks

#: Runbooks that one answer offers besides its own.
OTHERS: Final = 8


async def run(asked: Asked, look: Look) -> Answer | Act:
    """With words, the runbook that has them; without, those of the channel's open incidents."""
    if not look.runbooks.all:
        return say("There are no runbooks yet: alertbot reads them from the folder `runbooks.path` of its config.")
    wanted = words.bare(asked.text)
    return _search(wanted, look.runbooks) if wanted else await _of_channel(asked, look)


def _search(wanted: str, runbooks: Runbooks) -> Answer:
    named = runbooks.named(wanted)
    found = [*named, *(r for r, _ in runbooks.search(wanted, OTHERS + 1) if r not in named)]
    quoted = f"“{render.cut(wanted, 80)}”"
    if not found:
        near = _nearest(wanted, runbooks)
        return _one(f"No runbook has anything like {quoted}. The nearest by name:", near[0], near[1:])
    return _one(f"The runbook for {quoted}", found[0], found[1:])


def _nearest(wanted: str, runbooks: Runbooks) -> Sequence[Runbook]:
    """The runbooks whose names look most like what was typed: there always is one."""
    by_name = {r.name: r for r in runbooks.all}
    lowered = {name.casefold(): name for name in by_name}
    close = difflib.get_close_matches(wanted.casefold()[:100], lowered, n=OTHERS, cutoff=0.0)
    return [by_name[lowered[name]] for name in close]


async def _of_channel(asked: Asked, look: Look) -> Answer:
    incidents = await look.open_in(asked.channel, asked.channel_name)
    found: dict[str, Runbook] = {}
    alerts = await look.members_of(incidents)
    for incident in incidents:
        for runbook in _files_of(alerts[incident.id], look):
            found.setdefault(runbook.name, runbook)
    if found:
        first, *others = found.values()
        return _one("For what is open in this channel", first, others)
    if len(incidents) == 1:
        return await of_incident(incidents[0], look)
    head = "No runbook is for what is open in this channel." if incidents else "Nothing is open in this channel."
    return say(f"{head} Choose one, or search: /runbook WORDS", views.choice(r.name for r in look.runbooks.all))


async def of_incident(incident: Incident, look: Look) -> Answer:
    """The runbook of an incident's alerts: its file, else what its annotations link, else the nearest by its title."""
    alerts = await look.members(incident.id)
    files = _files_of(alerts, look)
    head = f"The runbook for {render.cut(render.title(incident), 200)}"
    if files:
        return _one(head, files[0], files[1:])
    refs = (look.runbooks.for_alert(a.labels, a.annotations) for a in alerts)
    ref = next((r for r in refs if r is not None), None)
    if ref is not None:
        return views.runbook(head, ref, ())
    if not look.runbooks.all:
        return say(f"There is no runbook for {render.cut(render.title(incident), 200)}.")
    near = [r for r, _ in look.runbooks.search(render.title(incident), OTHERS)]
    near = near or list(_nearest(render.title(incident), look.runbooks))
    return _one(f"No runbook is for {render.cut(render.title(incident), 200)}. The nearest:", near[0], near[1:])


def _files_of(alerts: Sequence[Alert], look: Look) -> list[Runbook]:
    found = (look.runbooks.find(a.labels, a.annotations) for a in alerts)
    return list({r.name: r for r in found if r is not None}.values())


def shown(name: str, look: Look, head: str = "") -> Answer:
    """A runbook by its name, as chosen from a menu or shown to the channel."""
    found = look.runbooks.named(name)
    if not found:
        return say(f"The runbook {render.cut(render.one_line(name), 80)} is gone.")
    if head:
        # For everybody: without the menu and the button, which would be everybody's too.
        return views.runbook(head, _as_ref(found[0]), ())
    return _one(f"The runbook {found[0].name}", found[0], ())


def _as_ref(runbook: Runbook) -> RunbookRef:
    return RunbookRef(runbook.title, "", runbook.steps)


def _one(head: str, runbook: Runbook, others: Sequence[Runbook]) -> Answer:
    return views.runbook(head, runbook, (r.name for r in others[:OTHERS]))


COMMAND: Final = Command(
    name="runbook",
    summary="what to do: the runbook that has these words",
    hint="[WORDS]",
    usage=(
        "/runbook WORDS: the best match, with its first steps; typos are forgiven",
        "/runbook: for what is open in this channel",
        "Only you see the answer, until you show it to the channel.",
    ),
    run=run,
)
