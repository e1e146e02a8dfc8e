"""A desk around a real engine and a store in memory, with Slack's stand-in at the other end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp

from alertbot.commands import commands
from alertbot.commands.desk import Desk, Patience, Terms
from alertbot.enrich.runbooks import Runbooks
from alertbot.notifiers.slack_api import SlackApi
from alertbot.sources import SOURCES, Parser, alertmanager
from alertbot.sources.slack import Press, SlashCommand, User
from tests.standins.slack import SlackStandin
from tests.web.abot import ABot, alert, webhook

#: Tests must not wait as long as people would.
PATIENCE = Patience(answered=0.2, stored=0.2, told=0.2, decided=1.0)


class ADesk:
    """`bot` decides in turns that the test takes, or all by itself once it runs. `slack` is what people see."""

    def __init__(self, bot: ABot, desk: Desk, slack: SlackStandin) -> None:
        self.bot = bot
        self.desk = desk
        self.slack = slack

    async def fire(self, name: str = "HighLatency", **fields: Any) -> str:
        """An incident; its id."""
        body = webhook(alert(name, **fields))
        await self.bot.accept("alertmanager", body, alertmanager.parse(body, self.bot.clock()), "", wait=True)
        return (await self.bot.store.incidents(limit=1)).incidents[0].id

    async def happens(self, source: str, **fields: Any) -> None:
        """An event of another source."""
        body = json.dumps(fields).encode()
        await self.bot.accept(source, body, SOURCES[source](body, self.bot.clock()), "", wait=True)

    def answering(self, channel: str = "#ops-alerts") -> dict[str, Any]:
        """What Slack hands out when somebody acts: a response_url and a trigger_id."""
        return self.slack.workspace.interaction(self.slack.url, channel, None)

    def press(self, act: str, value: str, *, user: str = "alice", **more: Any) -> Press:
        """A press as Slack sends it."""
        given = self.answering()
        made = Press(
            User(self.slack.workspace.user(user), user), act, value, "acts.1", given["channel"]["id"], "1.1", False,
            given["response_url"], given["trigger_id"],
        )  # fmt: skip
        fields = {name: more.get(name, getattr(made, name)) for name in made.__struct_fields__}
        return Press(**fields)

    async def type(self, command: str, text: str = "", *, user: str = "alice", **more: Any) -> dict[str, Any]:
        """A command's answer."""
        given = self.answering()
        typed = SlashCommand(
            command, self.slack.workspace.user(user), text, user, given["channel"]["id"], "ops",
            more.get("response_url", given["response_url"]), given["trigger_id"],
        )  # fmt: skip
        return await self.desk.command(typed, "")

    def configure(self, **changes: Any) -> None:
        """As a reload would."""
        self.desk.take(replace(self.desk.terms, **changes))

    def told(self) -> list[str]:
        """What people were shown alone, and not as the answer to a command."""
        return [text_of(m) for m in self.slack.workspace.ephemeral]


def text_of(message: dict[str, Any]) -> str:
    """The sections' texts."""
    return "\n".join(b["text"]["text"] for b in message["blocks"] if b["type"] == "section")


def body_of(bot: ABot) -> dict[str, Any]:
    """The last event that was taken."""
    found: dict[str, Any] = json.loads(bot.taken[-1].body)
    return found


@asynccontextmanager
async def a_desk(sources: Mapping[str, Parser] = SOURCES, **terms: Any) -> AsyncIterator[ADesk]:
    """Everything running."""
    bot = ABot()
    async with SlackStandin(clock=lambda: bot.clock().timestamp()) as slack, aiohttp.ClientSession() as session:
        api = SlackApi(slack.token, session=session, base_url=slack.api_url)
        severities = tuple(s.name for s in bot.severities)
        made = Terms(bot.view.external_url, severities, commands(sources), Runbooks(), api=api)
        desk = Desk(bot, replace(made, **terms), session, PATIENCE, sources=sources)
        await bot.engine.start()
        try:
            yield ADesk(bot, desk, slack)
        finally:
            await desk.close()
            await bot.engine.stop()
