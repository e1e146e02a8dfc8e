"""`/silence`: an incident's alerts are quiet for a while."""

from __future__ import annotations

from typing import Final

from alertbot.commands import words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, say
from alertbot.commands.incident import named
from alertbot.domain.durations import format_duration

UNTIL_RESOLVED: Final = "until resolved"


async def run(asked: Asked, look: Look) -> Answer | Act:
    """`[ID] DURATION|until resolved [REASON]`."""
    if not words.bare(asked.text):
        return COMMAND.help
    spoken = _span(asked.text)
    if spoken is not None:
        found, _ = await named("", asked, look, "show")
    else:
        found, rest = await named(asked.text, asked, look, "show", trailing=True)
        spoken = _span(rest)
    if isinstance(found, Answer):
        return found
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
    hint="[ID] 2h [REASON]",
    usage=(
        "/silence ID 2h [REASON]",
        "/silence ID until resolved [REASON]",
        "Where one incident is open in the channel, its ID can be left out.",
    ),
    run=run,
)
