"""`/incident`: what is open, and acting on it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final

from alertbot import render
from alertbot.commands import views, words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, Person, say
from alertbot.domain.model import Incident

#: What can be done, and how else people call it.
VERBS: Final[Mapping[str, tuple[str, ...]]] = {
    "list": ("ls", "open", "all", "l"),
    "mine": ("my", "me"),
    "show": ("info", "details", "status", "view", "get"),
    "ack": ("acknowledge", "acked", "acknowledged", "take", "a"),
    "resolve": ("resolved", "close", "closed", "fix", "fixed", "done", "r"),
    "note": ("comment", "add-note", "notes"),
    "assign": ("give", "reassign", "owner"),
    "why": ("explain", "reason"),
    "help": ("?", "usage"),
}


async def run(asked: Asked, look: Look) -> Answer | Act:
    """See `COMMAND.usage`. Without a word it is `list`; with an incident alone it is `show`."""
    word, rest = words.first(asked.text)
    if not words.bare(word):
        return await _list(asked, look, "")
    verb = words.chosen(word, VERBS)
    if verb:
        return await _VERBS[verb](asked, look, rest)
    if (found := await look.incident(words.incident_id(word))) is not None:
        return await _card(found, asked, look)
    shown = words.bare(word)[:50]
    near = words.meant(word, VERBS)
    if near:
        again = f"/incident {near}{f' {rest}' if rest else ''}"
        return say(f"/incident has no “{shown}”. Did you mean: {render.cut(again, 200)}")
    return say(f"/incident has no “{shown}”, and no incident is called so.", "\n".join(COMMAND.usage))


async def _list(asked: Asked, look: Look, rest: str) -> Answer:
    every = await look.open()
    wanted = words.bare(rest).casefold()
    found = [i for i in every if wanted in (i.severity, "") or wanted in render.title(i).casefold()]
    if not found:
        what = f" for “{render.cut(wanted, 50)}”" if wanted and every else ""
        return say(f"No incident is open{what}." + (f" {len(every)} others are." if every else ""))
    return views.incident_list(f"{_count(found)} open", found, asked.who, asked.now, look)


async def _mine(asked: Asked, look: Look, rest: str) -> Answer:
    found = [i for i in await look.open() if asked.who.is_called(i.acknowledged_by) and not i.quieted]
    if not found:
        return say("You have no incident. /incident list shows all that are open.")
    return views.incident_list(f"You have {_count(found)}", found, asked.who, asked.now, look)


async def _show(asked: Asked, look: Look, rest: str) -> Answer:
    found, _ = await named(rest, asked, look, _usage("show"))
    return found if isinstance(found, Answer) else await _card(found, asked, look)


async def _why(asked: Asked, look: Look, rest: str) -> Answer:
    found, _ = await named(rest, asked, look, _usage("why"))
    return found if isinstance(found, Answer) else await why_of(found, asked.who, asked.now, look)


async def _ack(asked: Asked, look: Look, rest: str) -> Answer | Act:
    found, _ = await named(rest, asked, look, _usage("ack"))
    return found if isinstance(found, Answer) else Act("acknowledge", found.id)


async def _resolve(asked: Asked, look: Look, rest: str) -> Answer | Act:
    found, _ = await named(rest, asked, look, _usage("resolve"))
    return found if isinstance(found, Answer) else Act("resolve", found.id)


async def _note(asked: Asked, look: Look, rest: str) -> Answer | Act:
    found, text = await named(rest, asked, look, _usage("note"), trailing=True, exactly=True)
    if isinstance(found, Answer):
        return found
    text = text.strip("\"' ")
    return (
        Act("note", found.id, {"text": text}) if text else say("Write the note after the incident: " + _usage("note"))
    )


async def _assign(asked: Asked, look: Look, rest: str) -> Answer | Act:
    found, text = await named(rest, asked, look, _usage("assign"), trailing=True)
    if isinstance(found, Answer):
        return found
    word, _ = words.first(text.removeprefix("to "))
    if not words.bare(word):
        return say("Say to whom: " + _usage("assign"))
    if words.bare(word).lower() in ("me", "myself"):
        return Act("assign", found.id, {"to": asked.who.by})
    user = words.user_id(word)
    if user:
        return Act("assign", found.id, {"to": (await look.person(user, "")).by})
    if "@" not in word.strip("@"):
        return say(f"Who is {render.cut(words.bare(word), 50)}? Write @ and choose the person, or a mail address.")
    return Act("assign", found.id, {"to": words.bare(word).removeprefix("@").lower()})


async def _help(asked: Asked, look: Look, rest: str) -> Answer:
    return COMMAND.help


_VERBS: Final[Mapping[str, Callable[[Asked, Look, str], Awaitable[Answer | Act]]]] = {
    "list": _list, "mine": _mine, "show": _show, "ack": _ack, "resolve": _resolve, "note": _note,
    "assign": _assign, "why": _why, "help": _help,
}  # fmt: skip


async def named(
    text: str, asked: Asked, look: Look, usage: str, *, trailing: bool = False, exactly: bool = False
) -> tuple[Incident | Answer, str]:
    """The incident that a text begins with, and the rest of it; or what to answer where that is not clear.

    An incident is named by its id, its page's address or a part of its title. Where none is named it is the one that
    is open in the channel. `trailing`: only the first word names it, and something else follows; `exactly`: that
    is free text, so that a word of it is no part of a title by chance.
    """
    word, rest = words.first(text)
    key = words.incident_id(word)
    if key:
        found = await look.incident(key)
        if found is not None:
            return found, rest
        wanted = words.bare(word if trailing else text).casefold()
        every = await look.open()
        near = [i for i in every if _is_like(i, wanted, exactly)]
        if len(near) == 1:
            return near[0], rest if trailing else ""
        if near:
            head = f"Which one? Several are like “{render.cut(wanted, 50)}”: {usage}"
            return views.incident_list(head, near, asked.who, asked.now, look), ""
        if not trailing:
            head = f"No open incident is called “{render.cut(wanted, 50)}”. "
            head += "These are open." if every else "None is open."
            return views.incident_list(head, every, asked.who, asked.now, look), ""
    here = await look.open_in(asked.channel, asked.channel_name)
    if len(here) == 1:
        return here[0], text
    if here:
        head = f"{_count(here)} are open in this channel. Say which: {usage}"
        return views.incident_list(head, here, asked.who, asked.now, look), ""
    return say(f"No incident is open in this channel. Say which you mean: {usage}"), ""


def _is_like(incident: Incident, wanted: str, exactly: bool) -> bool:
    """Whether a word means an incident: the start of its id, or a part of its title (or its alert's name, exactly)."""
    if len(wanted) >= 4 and incident.id.startswith(wanted):
        return True
    if exactly:
        return wanted == incident.labels.get("alertname", "").casefold()
    return len(wanted) >= 3 and wanted in render.title(incident).casefold()


async def why_of(incident: Incident, who: Person, now: datetime, look: Look) -> Answer:
    """Why an incident is as it is: the last decisions about it."""
    return views.why(incident, await look.record(incident.id), who, now, look)


async def _card(incident: Incident, asked: Asked, look: Look) -> Answer:
    return views.incident_card(incident, await look.members(incident.id), asked.who, asked.now, look)


def _count(found: list[Incident]) -> str:
    return f"{len(found)} incident{'' if len(found) == 1 else 's'}"


def _usage(verb: str) -> str:
    return next(line for line in COMMAND.usage if line.startswith(f"/incident {verb}"))


COMMAND: Final = Command(
    name="incident",
    summary="what is open, and acting on it",
    hint="list | mine | show | ack | resolve | note | assign | why",
    usage=(
        "/incident list [WORD or severity]",
        "/incident mine",
        "/incident show ID",
        "/incident ack ID",
        "/incident resolve ID",
        "/incident note ID TEXT",
        "/incident assign ID @SOMEBODY",
        "/incident why ID",
        "Where one incident is open in the channel, its ID can be left out.",
    ),
    run=run,
)
