"""`/deploys`: what was deployed lately, and what of it holds alerts now."""

from __future__ import annotations

from typing import Final

from alertbot import render
from alertbot.commands import words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, say
from alertbot.domain.deploys import Deploy

#: Deploys that one answer lists.
LISTED: Final = 15


async def run(asked: Asked, look: Look) -> Answer | Act:
    """`[SERVICE]`."""
    wanted = words.bare(asked.text).casefold()
    deploys = await look.deploys(asked.now)
    found = [d for d in deploys if wanted in d.service.casefold() or wanted in d.environment.casefold()]
    if not found:
        services = ", ".join(sorted({render.one_line(d.service) for d in deploys if d.service}))
        nothing = f"No deploy of “{render.cut(wanted, 50)}” lately." if wanted else "No deploys lately."
        return say(nothing, f"There were some of {services}." if services else "")
    holding = {w.id: w.ends_at for w in await look.windows(asked.now)}
    lines = []
    for deploy in found[:LISTED]:
        until = holding.get(deploy.identity)
        holds = f", may hold alerts until {render.utc(until)}" if until is not None else ""
        lines.append(
            f"{_state(deploy)}: {render.cut(render.one_line(deploy.named), 150)}, {_when(deploy, asked)}{holds}"
        )
    more = f"… and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return say("Deploys, the latest first", "\n".join([*lines, *filter(None, [more])]))


def _state(deploy: Deploy) -> str:
    return {"succeeded": "✅ done", "failed": "❌ failed", "waiting": "⏳ waits"}.get(deploy.status.value, "🚀 goes on")


def _when(deploy: Deploy, asked: Asked) -> str:
    return f"begun {render.ago(deploy.started_at, asked.now)}"


COMMAND: Final = Command(
    name="deploys",
    summary="what was deployed lately",
    hint="[SERVICE]",
    usage=("/deploys: all of them", "/deploys SERVICE: of services or environments with this in their names"),
    run=run,
)
