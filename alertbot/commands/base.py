"""What a command is: the words that somebody typed, and a view of what is known → an answer, or an act to be taken.

A command does nothing itself. What it answers is shown to whoever asked, and an act is accepted as an event like every
other before anything is answered (`desk`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from alertbot import render
from alertbot.domain.deploys import Deploy
from alertbot.domain.events import Parsed
from alertbot.domain.model import Alert, Entry, Incident, IncidentStatus
from alertbot.domain.windows import Window
from alertbot.enrich.runbooks import Runbooks
from alertbot.notifiers.pagerduty_rest import Duty
from alertbot.notifiers.slack_blocks import FALLBACK, TOTAL, Block, plain, size, words
from alertbot.store.base import Store

#: Open incidents that a command looks through.
MOST: Final = 200
#: Sections of one answer. Slack takes 50 blocks.
SECTIONS: Final = 40


class Bot(Protocol):
    """The parts of the bot that commands reach. `alertbot.web.ports.Bot` has more, and says what they promise."""

    @property
    def store(self) -> Store: ...

    def clock(self) -> datetime: ...

    async def accept(
        self,
        source: str,
        body: bytes,
        parsed: Parsed,
        trace_id: str,
        wait: bool = False,
        decided: asyncio.Future[None] | None = None,
    ) -> int: ...


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody in Slack. `email` is empty where Slack does not let us see it."""

    id: str
    name: str
    email: str = ""

    @property
    def by(self) -> str:
        """Who it was, as the record has it: the mail address, which other systems know too, or the name."""
        return self.email or self.name or self.id

    def is_called(self, by: str | None) -> bool:
        """Whether the record means this person: it may have been written while only the name was known."""
        return bool(by) and by in (self.by, self.email, self.name, self.id)


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody is shown. `text` is what notifications say. Shown to that person alone, unless `shared`.

    `replaces` the message that was pressed on; only one that is the person's own.
    """

    text: str
    blocks: Sequence[Block]
    shared: bool = False
    replaces: bool = False

    def message(self) -> dict[str, Any]:
        """As Slack takes it, from a slash command's answer or at a `response_url`."""
        kind = "in_channel" if self.shared else "ephemeral"
        message = {"response_type": kind, "text": self.text, "blocks": list(self.blocks), "mrkdwn": False}
        return message | {"replace_original": True} if self.replaces else message


@dataclass(frozen=True, slots=True)
class Act:
    """Something to do: `kind` is an event's source (`alertbot.sources.SOURCES`), `more` its fields.

    `incident` is what it is done to. `done` is what to say of it where that is a maintenance window.
    """

    kind: str
    incident: str
    more: Mapping[str, Any] = field(default_factory=dict)
    done: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """A command's words, tidied (`words.tidy`), and who asks where and when. `channel` is an ID."""

    text: str
    who: Person
    channel: str
    channel_name: str
    now: datetime


class Rota(Protocol):
    """Whoever knows who is on call (`alertbot.notifiers.pagerduty_rest`)."""

    async def on_call(self) -> Sequence[Duty]:
        """Everybody who is on call now. Raises `RestError`."""

    def close(self) -> None: ...


class Look:
    """What commands can see: reads only. `person` finds somebody by Slack's ID."""

    def __init__(
        self,
        store: Store,
        *,
        external_url: str,
        severities: Sequence[str],
        runbooks: Runbooks,
        rota: Rota | None,
        person: Callable[[str, str], Awaitable[Person]],
    ) -> None:
        self._store = store
        self.external_url = external_url
        self.severities = severities
        self.runbooks = runbooks
        self.rota = rota
        self.person = person

    async def incident(self, incident_id: str) -> Incident | None:
        """One incident."""
        return await self._store.incident(incident_id)

    async def open(self) -> list[Incident]:
        """What people hold for open, the most urgent first, then the newest."""
        told = [IncidentStatus.OPEN.value, IncidentStatus.ACKNOWLEDGED.value]
        found = (await self._store.incidents(statuses=told, limit=MOST)).incidents
        ranks = {name: n for n, name in enumerate(self.severities)}
        return sorted(found, key=lambda i: ranks.get(i.severity, len(ranks)))

    async def open_in(self, channel: str, name: str) -> list[Incident]:
        """Those of them with a card in this channel."""
        found = await self.open()
        deliveries = await self._store.deliveries_of([i.id for i in found])
        named = (channel, f"#{name}")
        return [
            i
            for i in found
            if any(
                d.want.integration == "slack"
                and (d.remote.get("channel") == channel or d.want.to.partition(" ")[0] in named)
                for d in deliveries[i.id]
            )
        ]

    async def members(self, incident_id: str, limit: int = 100) -> Sequence[Alert]:
        """An incident's alerts, firing ones first."""
        return await self._store.members(incident_id, limit=limit)

    async def members_of(self, incidents: Sequence[Incident]) -> Mapping[str, Sequence[Alert]]:
        """The alerts of some incidents, by id."""
        return await self._store.members_of([incident.id for incident in incidents])

    async def deploys(self, now: datetime) -> Sequence[Deploy]:
        """Deploys of the last day, those heard of last first."""
        return await self._store.deploys(now - timedelta(days=1))

    async def windows(self, now: datetime) -> list[Window]:
        """The deploys and maintenance windows that go on, the latest start first."""
        return [w for w in await self._store.windows(now) if not w.over and not w.stopped]

    async def record(self, incident_id: str, since: datetime | None = None) -> Sequence[Entry]:
        """The last lines of an incident's record, the oldest first; with `since`, only what is later than that."""
        page = await self._store.entries(incident=incident_id, since=since)
        entries = list(page.entries)
        while page.next is not None:
            page = await self._store.entries(incident=incident_id, since=since, cursor=page.next)
            entries = [*entries, *page.entries][-200:]
        return entries

    def url(self, incident_id: str) -> str:
        """Where a person reads on about an incident."""
        return f"{self.external_url}incidents/{incident_id}"


@dataclass(frozen=True, slots=True)
class Command:
    """`/name`. `summary` and `hint` are what Slack shows in its menu; `usage` has a line for each way to call it."""

    name: str
    summary: str
    hint: str
    usage: Sequence[str]
    run: Callable[[Asked, Look], Awaitable[Answer | Act]]

    @property
    def help(self) -> Answer:
        """How to call it."""
        return say(f"/{self.name}: {self.summary}", "\n".join(self.usage))


def section(text: str) -> Block:
    """Text that Slack shows as it is, whatever stands in it."""
    return {"type": "section", "text": plain(text)}


def button(act: str, word: str, value: str) -> Block:
    """A button. `value` is at most 2,000 characters."""
    return {"type": "button", "action_id": act, "value": value, "text": {"type": "plain_text", "text": word}}


def say(*parts: str | Block) -> Answer:
    """An answer of texts and blocks; what Slack would not take any more is left out, and that is said."""
    blocks: list[Block] = []
    for n, part in enumerate(p for p in parts if p):
        block = section(part) if isinstance(part, str) else part
        if n >= SECTIONS or size([*blocks, block]) > TOTAL:
            blocks.append(section("… and more, for which there is no room here."))
            break
        blocks.append(block)
    first = next((p for p in parts if isinstance(p, str) and p), "alertbot")
    return Answer(words(render.one_line(first), FALLBACK), blocks)
