"""`/silence`: an incident's alerts are quiet for a while."""

from __future__ import annotations

from typing import Final

from alertbot import render
from alertbot.commands import views, words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, say
from alertbot.commands.incident import named
from alertbot.domain.durations import format_duration

UNTIL_RESOLVED: Final = "until resolved"
#: How people ask for its end.
ENDS: Final = ("end", "off", "stop", "lift", "remove", "unsilence")


async def run(asked: Asked, look: Look) -> Answer | Act:
    """`[ID] DURATION|until resolved [REASON]`, `[ID] end`, or `list`."""
    head = words.bare(asked.text).casefold()
    if not head:
        return COMMAND.help
    if head == "list":
        silenced = [i for i in await look.open() if i.silence is not None]
        said = f"{len(silenced)} silenced through alertbot" if silenced else "Nothing is silenced through alertbot."
        return views.incident_list(said, silenced, asked.who, asked.now, look)
    spoken = _span(asked.text)
    if spoken is not None or head in ENDS:
        found, rest = await named("", asked, look, COMMAND.usage[0])
    else:
        found, rest = await named(asked.text, asked, look, COMMAND.usage[0], trailing=True)
        spoken = _span(rest)
    if isinstance(found, Answer):
        return found
    if head in ENDS or (spoken is None and words.bare(rest).casefold() in ENDS):
        if found.silence is None:
            return say(f"{render.title(found)} is not silenced through alertbot.")
        return Act("unsilence", found.id)
    if spoken is None:
        return say("Say for how long, as 1h, 90m, 2d or until resolved.", "\n".join(COMMAND.usage))
    span, comment = spoken
    return Act("silence", found.id, {"duration": span, "comment": comment.strip("\"' ")})


def _span(text: str) -> tuple[str, str] | None:
    """A span at the start of a text (empty: until it is resolved), and what comes after it."""
    text = text.removeprefix("for ").strip()
    if text.lower().startswith(UNTIL_RESOLVED):
        return "", text[len(UNTIL_RESOLVED) :].strip()
    found = words.duration(text)
    return (format_duration(found[0]), found[1]) if found is not None else None


def span_of(choice: str, custom: str) -> tuple[str, str]:
    """What was chosen in the dialog, as an event's `duration` (empty: until resolved); and what is wrong with it."""
    if custom.strip() or choice == "custom":
        found = _span(custom.lower())
        if found is None:
            return "", "As 90m, 4h or 2d."
        return found[0], ""
    return ("" if choice == UNTIL_RESOLVED else choice), ""


COMMAND: Final = Command(
    name="silence",
    summary="keep an incident's alerts quiet for a while",
    hint="[ID] 2h [REASON] | [ID] end | list",
    usage=(
        "/silence ID 2h [REASON]",
        "/silence ID until resolved [REASON]",
        "/silence ID end",
        "/silence list",
        "Where one incident is open in the channel, its ID can be left out.",
    ),
    run=run,
)
