"""A job as Slack shows it: the incident's card, the replies in its thread. Pure: no network, no clock.

Foreign text (labels, annotations, names of rules and people) stands in two places only. In `plain_text`
objects, which Slack does not parse, with `emoji` off: there it is shown as it is. And in code spans of
mrkdwn, for labels, escaped, on one line and without back-quotes: Slack shows code as it is, and people can
copy a label out of it unharmed. So nothing has to be inserted into foreign text to make it harmless.
The words are in `templates/slack`; which block they go into, and that they fit, is decided here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from alertbot import render
from alertbot.domain.model import SEVERITY_LABEL, Action, Alert, Entry, IncidentStatus
from alertbot.domain.reasons import Reason
from alertbot.notifiers.base import Job

Block = dict[str, Any]

# Slack's limits, each with a margin. Whether Slack counts UTF-16 units or code points is not documented: we
# count the larger, and the undocumented total (msg_blocks_too_long near 13,200) in the bytes of the JSON.
HEADER: Final = 145  # header block: 150, plain text
SECTION: Final = 2_800  # section text: 3,000
CONTEXT: Final = 2_800  # context text: 3,000; slack_sdk's models do not check it
FALLBACK: Final = 1_000  # text: chat.update refuses more than 4,000
TOTAL: Final = 11_800
BLOCKS: Final = 45  # 50 a message

ALERTS: Final = 10
ENDED: Final = 5
COMMON_LABELS: Final = 12
OWN_LABELS: Final = 8
LABEL: Final = 160
LINES: Final = 20
LINE: Final = 300
LINK: Final = 1_500
LINKS: Final = 2_700
OF_SEVERAL: Final = 280
OF_ONE: Final = 1_000

#: Labels that the card says elsewhere.
_SAID: Final = frozenset({"alertname", SEVERITY_LABEL})
#: What the record says of an incident that its thread tells too.
_TOLD: Final = frozenset(
    {
        Reason.NEW_EPISODE, Reason.ALERT_RESOLVED, Reason.CUT_OFF, Reason.INHIBITED, Reason.MUTED,
        Reason.RELEASED, Reason.CLEARED_WHILE_HELD, Reason.ACKNOWLEDGED, Reason.RESOLVED_BY_PERSON,
        Reason.NOTE_ADDED, Reason.SEVERITY_RAISED, Reason.REFIRED, Reason.STILL_FIRING, Reason.HOLD_ENDED,
        Reason.FLAPPING, Reason.FLAPPING_ENDED, Reason.ASSIGNED, Reason.ESCALATED, Reason.ACK_OVERDUE,
        Reason.UNACKNOWLEDGED, Reason.REOPENED, Reason.CHANGED_REMOTELY, Reason.SILENCED, Reason.SILENCE_ENDS_SOON,
        Reason.SILENCE_ENDED, Reason.UNSILENCED, Reason.FOUND_THERE, Reason.GONE_THERE,
    }
)  # fmt: skip
#: The mentions that a configuration may ask for.
MENTION: Final = re.compile(r"<(?:@[UW][A-Z0-9]{2,20}|!subteam\^S[A-Z0-9]{2,20}|!here|!channel|!everyone)>")
_EMOJI: Final = re.compile(r":(?=[\w+'-]*[a-z][\w+'-]*:)", re.IGNORECASE)
_EDGE: Final = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_QUOTE: Final = re.compile(r"^\s*>+", re.MULTILINE)
_LOOK_ALIKE: Final = str.maketrans({"*": "∗", "~": "∼", "`": "ˋ"})


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `text` is what notifications say; `plain` all that a text without blocks has to say.

    `broadcast`: a reply that the channel sees too.
    """

    text: str
    blocks: Sequence[Block]
    plain: str
    broadcast: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One change, cleaned, as the thread's template sees it."""

    reason: str
    what: str
    by: str
    until: datetime | None
    note: str
    to: str = ""
    receiver: str = ""
    change: str = ""


def units(text: str) -> int:
    """The length as the stricter way of counting has it: UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def escape(text: str) -> str:
    """The three characters that Slack wants escaped."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def fit(text: str, limit: int, dress: Callable[[str], str] = str) -> str:
    """`dress(text)` in at most `limit` units, cut before it is dressed: no entity is split."""
    room = limit
    while True:
        dressed = dress(render.cut(text, room))
        over = units(dressed) - limit
        if over <= 0 or room == 0:
            return dressed
        room = max(room - max(1, over // 6), 0)  # dressing makes a character at most five longer


def code(text: str, limit: int = LABEL) -> str:
    """Foreign text as a code span: shown as it is, on one line; a back-quote becomes an apostrophe."""
    return fit(render.one_line(text) or " ", limit - 2, lambda t: f"`{escape(t.replace('`', chr(39)))}`")


def words(text: str, limit: int) -> str:
    """Foreign text for the one mrkdwn text that holds it bare, the fallback: nothing in it is mark-up."""

    def inert(t: str) -> str:
        return escape(_QUOTE.sub("›", _EDGE.sub("ˍ", _EMOJI.sub("∶", t))).translate(_LOOK_ALIKE))

    return fit(text, limit, inert)


def plain(text: str, limit: int = SECTION) -> Block:
    """A text object that Slack does not parse. Blank lines go: foreign text cannot push ours away."""
    lines = (line.rstrip() for line in text.splitlines())
    return {"type": "plain_text", "text": fit("\n".join(filter(None, lines)) or "–", limit), "emoji": False}


def mrkdwn(text: str) -> Block:
    """A text object of ours. `verbatim`: Slack makes no links or mentions of what is not marked as one."""
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def size(blocks: Sequence[Block]) -> int:
    """What the total limit is held against: the bytes of the JSON."""
    return len(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass"))


#: The buttons, in their order: the word on each, and the statuses in which it is of use. The `action_id`s are the
#: contract's, and a button's value is the incident's id.
BUTTONS: Final[Mapping[str, tuple[str, frozenset[IncidentStatus]]]] = {
    "acknowledge": ("Acknowledge", frozenset({IncidentStatus.OPEN})),
    "resolve": ("Resolve", frozenset({IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED})),
    "silence": ("Silence", frozenset({IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED})),
    "escalate": ("Escalate", frozenset({IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED})),
    "why": ("Why?", frozenset(IncidentStatus)),
    "runbook": ("Runbook", frozenset(IncidentStatus) - {IncidentStatus.RESOLVED}),
    "note": ("Note", frozenset(IncidentStatus)),
}
#: How the block of buttons is called: with the revision that it was made for, so that a late press can be told.
ACTS: Final = "acts."


def actions(job: Job, offered: Collection[str]) -> list[Block]:
    """The buttons of those offered that the incident's state has a use for. A storm's board has none."""
    incident = job.incident
    if job.storm is not None:
        return []
    buttons: list[Block] = []
    for act, (word, useful) in BUTTONS.items():
        # Acknowledged by a silence alone: nobody has it yet.
        useful_now = incident.status in useful or (act == "acknowledge" and incident.quieted)
        if act in offered and useful_now:
            text = {"type": "plain_text", "text": word}
            buttons.append({"type": "button", "action_id": act, "value": incident.id, "text": text})
            if act == "acknowledge":
                buttons[-1]["style"] = "primary"
    return [{"type": "actions", "block_id": f"{ACTS}{incident.revision}", "elements": buttons}] if buttons else []


class Renderer:
    """Makes messages of jobs. `mentions` are the operator's: Slack's own forms, `<@U…>` or `<!subteam^S…>`.

    `buttons` are the acts that cards offer; without any there is none: one that nobody answers is worse than none.
    Raises ValueError for a mention of any other form.
    """

    def __init__(self, mentions: Sequence[str] = (), buttons: Collection[str] = ()) -> None:
        for mention in mentions:
            if not MENTION.fullmatch(mention):
                raise ValueError(f"not a mention that Slack knows: {mention!r}; write <@U…> or <!subteam^S…>")
        self._mentions = " ".join(mentions)
        self._buttons = frozenset(buttons)
        self._env = render.environment("slack")

    def _say(self, name: str, values: Mapping[str, Any]) -> str:
        return self._env.get_template(name).render(values).strip()

    def card(self, job: Job, *, second: bool = False) -> Message:
        """The incident as it is now. `second`: there may be another card of it."""
        job = _as_people_know_it(job)
        top = _first(job)
        values = render.context(replace(job, alerts=[_trimmed(a) for a in job.alerts]))
        start = [{"type": "header", "text": plain(self._say("header.j2", values), HEADER)}]
        if second:
            start.append(_context(plain(self._say("_second.j2", values), CONTEXT)))
        if self._mentions and job.incident.status is IncidentStatus.OPEN:
            start.append(_section(mrkdwn(self._mentions)))
        start.append(_section(plain(self._say("status.j2", values))))
        if job.storm is not None:
            start.append(_section(plain(self._say("_storm.j2", values))))
        common = _common(job)
        if common:
            start.append(_section(mrkdwn(_labels(common, COMMON_LABELS))))
        links = _links(values["ways"])
        if links:
            start.append(_section(mrkdwn(links)))
        beside = [_section(plain(self._say("_runbook.j2", values)))] if values["runbook"] is not None else []
        if values["known"]:
            beside.append(_context(plain("\n".join(values["known"]), CONTEXT)))
        end = [*actions(job, self._buttons), _context(plain(self._say("_footer.j2", values), CONTEXT))]
        shown = [self._alert(job, alert, common, alone=len(job.alerts) == 1) for alert in top]
        total = 0 if job.storm is not None else _total(job)
        while True:
            more = total - len(shown)
            left_out = {"count": more, "has_page": values["links"].incident}
            rest = [_context(plain(self._say("_more.j2", left_out)))] if more > 0 else []
            # What fires first, then what to do, then what else fires.
            others = [b for of_one in shown[1:] for b in of_one]
            blocks = [*start, *(shown[0] if shown else ()), *beside, *others, *rest, *end]
            if not shown or (size(blocks) <= TOTAL and len(blocks) <= BLOCKS):
                break
            shown.pop()
        texts = (block.get("text", {}) for block in blocks)
        said = [text["text"] for text in texts if text.get("type") == "plain_text"]
        page = values["links"].incident
        tail = f"\n{escape(page)}" if page else ""
        return Message(
            text=words(render.one_line(self._say("text.j2", values)), FALLBACK),
            blocks=blocks,
            plain=words("\n".join(said), FALLBACK) + (tail if units(tail) < FALLBACK else ""),
        )

    def _alert(self, job: Job, alert: Alert, common: Mapping[str, str], *, alone: bool) -> list[Block]:
        view = render.alert_view(_trimmed(alert))
        values = {"alert": view, "room": OF_ONE if alone else OF_SEVERAL}
        blocks = [_section(plain(self._say("_alert.j2", values)))]
        own = {k: v for k, v in sorted(alert.labels.items()) if k not in common and k not in _SAID}
        worded = not alone and view.severity != job.incident.severity
        elements = [plain(self._say("_when.j2", {"alert": view, "worded": worded}), 400)]
        if own and not alone:
            elements.append(mrkdwn(_labels(own, OWN_LABELS)))
        if view.url and len(escape(view.url)) <= 500 and not alone:
            elements.append(mrkdwn(_link(view.url, "Source")))
        return [*blocks, _context(*elements)]

    def news(self, job: Job, entries: Iterable[Entry]) -> Message | None:
        """What changed, as one reply to the card; None where the card says it all by itself."""
        job = _as_people_know_it(job)
        alerts = {alert.identity: alert for alert in job.alerts}
        lines = [_line(e, job, alerts) for e in entries if _tells(e)]
        lines = list(dict.fromkeys(lines))
        raised = any(line.reason == Reason.SEVERITY_RAISED for line in lines)
        broadcast = (job.action in (Action.REOPEN, Action.ESCALATE) or raised) and not job.delivery.want.level.quiet
        if not lines and job.action not in (Action.REOPEN, Action.RESOLVE):
            return None
        # A person's deed and the incident's step are few, and matter more than the twentieth alert.
        kept = sorted(lines, key=lambda line: line.what != "")[:LINES]
        values = {
            **render.context(replace(job, alerts=())),
            "lines": [line for line in lines if line in kept],
            "more": len(lines) - len(kept),
        }
        return self._reply(self._say("_news.j2", values), values, broadcast)

    def reminder(self, job: Job, mention: str = "") -> Message:
        """That it still fires and nobody has it: a reply that the channel sees. Where somebody has it, a reply for them
        alone, with their own mention.
        """
        job = _as_people_know_it(job)
        values = render.context(replace(job, alerts=()))
        said = self._say("remind.j2", values)
        if job.incident.status is not IncidentStatus.ACKNOWLEDGED:
            return self._reply(said, values, broadcast=True)
        message = self._reply(said, values, broadcast=False)
        if not MENTION.fullmatch(mention):
            return message
        return replace(message, text=f"{mention} {message.text}", blocks=[*message.blocks, _section(mrkdwn(mention))])

    def told(self, job: Job) -> Message:
        """A verdict, or the notice that a maintenance ends soon: a message of its own."""
        values = render.context(replace(job, alerts=()))
        head, said = self._say("told.j2", values), "\n".join(values["told"])
        blocks = [{"type": "header", "text": plain(head, HEADER)}, _section(plain(said))]
        links = _links(values["ways"])
        if links:
            blocks.append(_section(mrkdwn(links)))
        return Message(words(head, FALLBACK), blocks, words(f"{head}: {render.one_line(said)}", FALLBACK))

    def _reply(self, text: str, values: Mapping[str, Any], broadcast: bool) -> Message:
        blocks = [_section(plain(text))]
        # A reply stands alone in the channel: there it has to say what it is about.
        head = render.one_line(self._say("text.j2", values))
        if broadcast:
            blocks.insert(0, _section(plain(head, 500)))
            if self._mentions:
                blocks.append(_section(mrkdwn(self._mentions)))
            if values["links"].incident:
                blocks.append(_context(mrkdwn(_link(values["links"].incident, "Incident"))))
        fallback = f"{head}: {render.one_line(text)}"
        return Message(words(fallback, FALLBACK), blocks, words(fallback, FALLBACK), broadcast)

    def summary(self, job: Job) -> str:
        """What would have been said, on one line: for a destination that runs dry."""
        job = _as_people_know_it(job)
        values = render.context(replace(job, alerts=()))
        said = self._say("text.j2", values)
        if job.told is not None:
            return render.cut(render.one_line(f"{self._say('told.j2', values)}: {' '.join(values['told'])}"), FALLBACK)
        if job.action is Action.REMIND:
            said += f": {self._say('remind.j2', values)}"
        return render.cut(render.one_line(said), FALLBACK)


def _section(text: Block) -> Block:
    return {"type": "section", "text": text}


def _context(*elements: Block) -> Block:
    return {"type": "context", "elements": list(elements)}


def _link(url: str, label: str) -> str:
    return f"<{escape(url)}|{label}>"


def _links(ways: Sequence[tuple[str, str]]) -> str:
    """The ways on, the incident's page last and always. An address too long for a message is on that page."""
    found = [(name, _link(url, escape(name))) for name, url in ways]
    page = next((link for name, link in found if name in render.PAGES and units(link) <= LINKS), "")
    kept: list[str] = []
    room = LINKS - units(page)
    for name, link in found:
        if name not in render.PAGES and units(link) <= min(room - 3, LINK):
            kept.append(link)
            room -= units(link) + 3
    return " · ".join(filter(None, [*kept, page]))


def _labels(labels: Mapping[str, str], most: int) -> str:
    spans = [code(f"{name}={_short(value)}") for name, value in list(labels.items())[:most]]
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return "  ".join(spans) + more


def _common(job: Job) -> dict[str, str]:
    """The labels that all alerts share, the group's first: where it is. Without what the title says."""
    rows = [a.labels for a in job.alerts]
    shared = set(rows[0].items()).intersection(*(r.items() for r in rows[1:])) if rows else set()
    both = {**dict(sorted(job.incident.labels.items())), **dict(sorted(shared))}
    return {k: v for k, v in both.items() if k not in _SAID}


def _first(job: Job) -> list[Alert]:
    """What to show: firing before held, the worst first, then the newest; ended ones where none is open."""
    ranks = {name: rank for rank, name in enumerate(job.severities)}

    def order(alert: Alert) -> tuple[bool, int, float]:
        return alert.hold is not None, ranks.get(alert.severity, len(ranks)), -alert.starts_at.timestamp()

    open_ = sorted((a for a in job.alerts if a.firing), key=order)
    if open_:
        return open_[:ALERTS]
    return sorted(job.alerts, key=order)[:ENDED]


def _total(job: Job) -> int:
    """How many alerts there are of those that the card lists."""
    open_ = job.incident.firing + job.incident.held
    loaded = [a for a in job.alerts if a.firing]
    return max(open_, len(loaded)) if loaded else len(job.alerts)


def _trimmed(alert: Alert) -> Alert:
    """Only what a card shows of an alert: an annotation of a quarter megabyte need not be cleaned whole."""
    shown = ("summary", "message", "title", "description")
    texts = {k: _short(alert.annotations[k]) for k in shown if k in alert.annotations}
    name = {k: v for k, v in alert.labels.items() if k == "alertname"}
    return replace(alert, annotations=texts, labels=name)


def _short(text: str) -> str:
    return text if len(text) <= 20 * OF_ONE else render.cut(text, 20 * OF_ONE)


def _as_people_know_it(job: Job) -> Job:
    """An incident that fires again, of which nobody was told yet, is still closed for people."""
    incident = job.incident
    if incident.status is IncidentStatus.PENDING and incident.openings:
        incident = replace(incident, status=IncidentStatus.RESOLVED)
    return replace(job, incident=incident, news=())


def _tells(entry: Entry) -> bool:
    return _reason(entry) in _TOLD


def _reason(entry: Entry) -> Reason:
    """The cause behind a notification: "flapping" may stand for what caused it."""
    caused_by = entry.details.get("caused_by", "")
    return Reason(caused_by) if caused_by in Reason.__members__.values() else entry.reason


def _line(entry: Entry, job: Job, alerts: Mapping[str, Alert]) -> Line:
    return Line(
        reason=_reason(entry).value,
        what=_what(entry, job, alerts) if entry.identity or entry.labels else "",
        by=render.cut(render.one_line(entry.by), 100),
        until=entry.until,
        note=render.cut(render.one_line(entry.details.get("note") or entry.details.get("comment") or ""), 2 * LINE),
        change=render.cut(render.one_line(entry.details.get("what", "")), 300),
        receiver=render.cut(render.one_line(entry.details.get("receiver", "")), 100),
        to=render.cut(render.one_line(entry.details.get("to", "")), 100),
    )


def _what(entry: Entry, job: Job, alerts: Mapping[str, Alert]) -> str:
    """An alert in a few words: what tells it from others of its incident, and what it says."""
    labels = entry.labels or {}
    own = {k: v for k, v in sorted(labels.items()) if k not in _SAID and k not in job.incident.labels}
    named = ", ".join(f"{k}={_short(v)}" for k, v in list(own.items())[:OWN_LABELS])
    alert = alerts.get(entry.identity)
    said = render.alert_view(_trimmed(alert)).summary if alert is not None else labels.get("alertname", "")
    text = f"{said} ({named})" if said and named else said or named or "an alert without labels"
    return render.cut(render.one_line(text), LINE)
