"""What commands and buttons show: incidents, why they are as they are, runbooks, and the dialogs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from alertbot import render
from alertbot.commands.base import Answer, Look, Person, button, say, section
from alertbot.commands.outcome import state_of
from alertbot.domain.enrichment import RunbookRef
from alertbot.domain.explain import sentence
from alertbot.domain.model import Alert, Entry, Incident
from alertbot.enrich.runbooks import Runbook
from alertbot.notifiers.slack_blocks import Block, code, escape, mrkdwn, plain

#: Incidents of one list, lines of one record, runbooks to choose from.
LISTED: Final = 15
LINES: Final = 12
CHOICES: Final = 10
#: Characters of an option's value [docs: 150; some pages say 75].
OPTION: Final = 75

#: The action_ids that only our own answers have.
SHARE, CHOOSE = "share", "choose"

#: What the dialog for a silence offers.
SPANS: Final = (
    ("1h", "1 hour"),
    ("4h", "4 hours"),
    ("until resolved", "Until it is resolved"),
    ("custom", "As long as …"),
)


def link(url: str, label: str) -> str:
    """A link of ours; nothing where the address could not be one."""
    safe = render.http_url(url)
    return f"<{escape(safe)}|{label}>" if safe else ""


def context(*texts: str) -> Block | str:
    """Small print of mark-up of ours; nothing where there is none."""
    found = [t for t in texts if t]
    return {"type": "context", "elements": [mrkdwn("  ·  ".join(found))]} if found else ""


def line(incident: Incident, who: Person, now: datetime) -> str:
    """An incident in a line or two."""
    head = f"{render.one_line(incident.severity).upper()}  {render.cut(render.title(incident), 200)}"
    return f"{head}\n{render.counts(incident)}; {state_of(incident, who, now)}"


def incident_list(head: str, incidents: Sequence[Incident], who: Person, now: datetime, look: Look) -> Answer:
    """Incidents below one another, each with its id to copy and its page."""
    parts: list[str | Block] = [head]
    for incident in incidents[:LISTED]:
        parts += [line(incident, who, now), context(code(incident.id), link(look.url(incident.id), "Open"))]
    if len(incidents) > LISTED:
        parts.append(f"… and {len(incidents) - LISTED} more.")
    return say(*parts)


def incident_card(incident: Incident, alerts: Sequence[Alert], who: Person, now: datetime, look: Look) -> Answer:
    """One incident with its alerts."""
    shown = []
    for alert in alerts[:LISTED]:
        view = render.alert_view(alert)
        shown.append(f"• {view.status}: {render.cut(view.summary, 300)}, since {render.utc(view.starts_at)}")
    more = f"… and {len(alerts) - LISTED} more" if len(alerts) > LISTED else ""
    labels = [code(f"{k}={v}") for k, v in sorted(incident.labels.items())[:LISTED]]
    return say(
        line(incident, who, now),
        {"type": "section", "text": mrkdwn("  ".join(labels))} if labels else "",
        "\n".join(filter(None, [*shown, more])),
        context(code(incident.id), link(look.url(incident.id), "Open")),
    )


def why(incident: Incident, entries: Sequence[Entry], who: Person, now: datetime, look: Look) -> Answer:
    """The last decisions about an incident, each with its reason."""
    said = [f"{e.at:%H:%M:%S}  {render.cut(render.one_line(sentence(e)), 300)}" for e in entries[-LINES:]]
    return say(
        f"Why? {render.cut(render.title(incident), 200)}: {state_of(incident, who, now)}.",
        "\n".join(said) or "Nothing is recorded of it.",
        context("Times in UTC", link(look.url(incident.id), "The whole record")),
    )


def runbook(head: str, found: Runbook | RunbookRef, others: Iterable[str], *, url: str = "") -> Answer:
    """A runbook with its first steps, others to choose from, and a button that shows it to the channel."""
    steps = [f"{n}. {step}" for n, step in enumerate(found.steps, 1)]
    said: list[str] = []
    links = [link(url, "Open")]
    if isinstance(found, Runbook):
        said = [f"owner: {found.owner}" if found.owner else "", f"severity: {found.severity}" if found.severity else ""]
        links += [link(dashboard, "Dashboard") for dashboard in found.dashboards[:3]]
    else:
        links = [link(found.url, "Open")]
    return say(
        head,
        "\n".join(
            filter(None, [f"📖 {render.one_line(found.title)}", render.one_line(" · ".join(filter(None, said)))])
        ),
        "\n".join(map(render.one_line, steps)),
        context(*links, code(f"{found.name}.md") if found.name else ""),
        {"type": "actions", "elements": [button(SHARE, "Show to the channel", found.name)]} if found.name else "",
        choice(others),
    )


def choice(names: Iterable[str]) -> Block | str:
    """A menu of runbooks."""
    options = [
        {"text": {"type": "plain_text", "text": render.cut(name, OPTION)}, "value": name}
        for name in dict.fromkeys(names)
        if name and len(name) <= OPTION
    ][:CHOICES]
    if not options:
        return ""
    placeholder = {"type": "plain_text", "text": "Another one"}
    menu = {"type": "static_select", "action_id": CHOOSE, "placeholder": placeholder, "options": options}
    return {"type": "actions", "elements": [menu]}


def note_dialog(incident: Incident, kept: str) -> dict[str, Any]:
    """A dialog that asks for a note."""
    entry = {"type": "plain_text_input", "action_id": "text", "multiline": True, "max_length": 3000}
    return _dialog("note", "Note", incident, kept, _input("text", "What should others know?", entry))


def silence_dialog(incident: Incident, kept: str) -> dict[str, Any]:
    """A dialog that asks for how long, and why."""
    options = [{"text": {"type": "plain_text", "text": text}, "value": value} for value, text in SPANS]
    spans = {"type": "radio_buttons", "action_id": "span", "options": options, "initial_option": options[0]}
    custom = {
        "type": "plain_text_input",
        "action_id": "custom",
        "max_length": 50,
        "placeholder": _words("as 90m or 2d"),
    }
    comment = {"type": "plain_text_input", "action_id": "comment", "max_length": 1000}
    return _dialog(
        "silence", "Silence", incident, kept,
        _input("span", "For how long?", spans),
        {**_input("custom", "How long exactly?", custom), "optional": True},
        {**_input("comment", "Why?", comment), "optional": True},
    )  # fmt: skip


def _dialog(name: str, title: str, incident: Incident, kept: str, *blocks: Block) -> dict[str, Any]:
    return {
        "type": "modal",
        "callback_id": name,
        "private_metadata": kept,
        "title": _words(title),
        "submit": _words(title),
        "close": _words("Cancel"),
        "blocks": [section(render.cut(render.title(incident), 300)), *blocks],
    }


def _input(name: str, label: str, element: Block) -> Block:
    return {"type": "input", "block_id": name, "label": plain(label), "element": element}


def _words(text: str) -> Block:
    return {"type": "plain_text", "text": text}
