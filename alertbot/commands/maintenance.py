"""`/maintenance`: windows in which alerts are held: list, start, extend, end."""

from __future__ import annotations

import secrets
from datetime import timedelta
from typing import Final

from alertbot import render
from alertbot.commands import words
from alertbot.commands.base import Act, Answer, Asked, Command, Look, say
from alertbot.domain.durations import format_duration
from alertbot.domain.windows import MAINTENANCE_NAME, Window

VERBS: Final = {"list": ("ls", "show"), "start": ("open", "begin"), "extend": ("longer",), "end": ("stop", "close")}


async def run(asked: Asked, look: Look) -> Answer | Act:
    """`list`, `start 2h [LABEL=VALUE …] [REASON]`, `extend ID 30m`, `end ID`."""
    word, rest = words.first(asked.text)
    if not words.bare(word):
        return await _list(asked, look)
    verb = words.chosen(word, VERBS)
    if not verb:
        near = words.meant(word, VERBS)
        return say(f"Did you mean /maintenance {near}?" if near else "That is no way to call it.", _USAGE)
    if verb == "list":
        return await _list(asked, look)
    return _start(rest) if verb == "start" else await _change(verb, rest, asked, look)


def _start(text: str) -> Answer | Act:
    span = words.duration(text)
    if span is None:
        return say("Say for how long first: /maintenance start 2h alertname=DatabaseMaintenance new disks", _USAGE)
    duration, text = span
    labels: dict[str, str] = {}
    while "=" in (word := words.first(text)[0]):
        name, _, value = word.partition("=")
        text = words.first(text)[1]
        labels[words.bare(name)] = value.strip("\"'")
    if not labels:
        return say("Say what it is about, by labels: alertname=DatabaseMaintenance, service=orders.", _USAGE)
    ident = secrets.token_hex(5)
    more = {"action": "start", "id": ident, "labels": labels, "duration": format_duration(duration), "reason": text}
    title = render.one_line(", ".join(f"{k}={v}" for k, v in {"alertname": MAINTENANCE_NAME, **labels}.items()))
    done = f"Maintenance {ident} is open for {format_duration(duration)}: {render.cut(title, 300)}."
    return Act("maintenance", ident, more, done)


async def _change(verb: str, text: str, asked: Asked, look: Look) -> Answer | Act:
    word, rest = words.first(text)
    windows = {w.id: w for w in await look.windows(asked.now) if not w.deploy}
    window = windows.get(words.bare(word))
    if window is None and len(windows) == 1 and (not word or words.duration(text) is not None):
        window, rest = next(iter(windows.values())), text
    if window is None:
        return say("Which one?" if windows else "No maintenance goes on.", *[_line(w, asked) for w in windows.values()])
    if verb == "end":
        return Act("maintenance", window.id, {"action": "end", "id": window.id}, f"Maintenance {window.id} is ended.")
    span = words.duration(rest)
    if span is None:
        return say("Say for how much longer: /maintenance extend ID 30m", _USAGE)
    longer = format_duration(span[0])
    done = f"Maintenance {window.id} lasts {longer} longer, until {render.utc(window.ends_at + span[0])}."
    return Act("maintenance", window.id, {"action": "extend", "id": window.id, "duration": longer}, done)


async def _list(asked: Asked, look: Look) -> Answer:
    windows = [w for w in await look.windows(asked.now) if not w.deploy]
    if not windows:
        return say("No maintenance goes on.", "/maintenance start 2h alertname=DatabaseMaintenance REASON opens one.")
    return say("Maintenance that goes on", *[_line(w, asked) for w in windows])


def _line(window: Window, asked: Asked) -> str:
    left = render.duration(max(window.ends_at - asked.now, timedelta(0)))
    by = f" by {render.one_line(window.by)}" if window.by else ""
    why = f": {render.cut(render.one_line(window.reason), 200)}" if window.reason else ""
    return f"{window.id}: {render.cut(render.one_line(window.title), 200)}{by}{why}, {left} left"


_USAGE: Final = "\n".join(
    (
        "/maintenance: what goes on",
        "/maintenance start 2h LABEL=VALUE … [REASON]",
        "/maintenance extend ID 30m",
        "/maintenance end ID",
    )
)
COMMAND: Final = Command(
    name="maintenance",
    summary="windows in which alerts are held",
    hint="[start 2h LABEL=VALUE … | extend ID 30m | end ID]",
    usage=tuple(_USAGE.splitlines()),
    run=run,
)
