"""`/oncall`: whom PagerDuty would call now."""

from __future__ import annotations

from itertools import groupby
from typing import Final

from alertbot import render
from alertbot.commands import words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, say
from alertbot.notifiers.pagerduty_rest import Duty, RestError


async def run(asked: Asked, look: Look) -> Answer | Act:
    """Everybody on call, or those of the escalation policies that have the words in their names."""
    if look.rota is None:
        return say("alertbot cannot ask PagerDuty who is on call: there is no pagerduty_api_token in its config.")
    try:
        every = await look.rota.on_call()
    except RestError as e:
        return say(f"PagerDuty does not say who is on call: {e}")
    wanted = words.bare(asked.text).casefold()
    found = [d for d in every if wanted in d.policy.casefold() or wanted in d.name.casefold()]
    if not found:
        policies = ", ".join(sorted({render.one_line(d.policy) for d in every}))
        return say(f"Nobody is on call for “{render.cut(wanted, 50)}”." if wanted else "Nobody is on call.", policies)
    found.sort(key=lambda d: (d.policy.casefold(), d.level, d.name.casefold()))
    return say(
        "On call now",
        *(
            "\n".join([render.cut(render.one_line(policy), 200), *(_line(d, asked) for d in duties)])
            for policy, duties in groupby(found, key=lambda d: d.policy)
        ),
    )


def _line(duty: Duty, asked: Asked) -> str:
    you = " (you)" if duty.email and duty.email == asked.who.email else ""
    until = f", until {render.utc(duty.until)}" if duty.until is not None else ""
    return f"{duty.level}. {render.cut(render.one_line(duty.name), 100)}{you}{until}"


COMMAND: Final = Command(
    name="oncall",
    summary="whom PagerDuty would call now",
    hint="[WORDS]",
    usage=("/oncall: everybody who is on call", "/oncall WORDS: of the escalation policies with these words"),
    run=run,
)
