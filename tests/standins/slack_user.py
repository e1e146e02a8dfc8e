"""The user's side of Slack: signs and sends what people do to the bot's request URLs.

It asks a Slack stand-in (in this process or another) for triggers, response URLs and messages, so a button is
pressed on what Slack shows, not on what a test believes.
"""

import hashlib
import hmac
import itertools
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import aiohttp

from tests.standins.server import Clock

_COUNTER = itertools.count()  # no two requests of Slack's are the same
ANSWER_SECONDS = 3.0  # [docs]: later than this and the person sees operation_timeout


def sign(secret: str, body: bytes, timestamp: float) -> dict[str, str]:
    """Slack's two headers: `v0=` and the hex HMAC-SHA256 of "v0:<timestamp>:<body>" [docs]."""
    stamp = str(int(timestamp))
    digest = hmac.new(secret.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the bot answered. status None: not within three seconds, or not at all."""

    status: int | None
    body: Any = None


class SlackUser:
    """A person in the workspace. `bot_url` is the bot's base URL, `slack_url` the stand-in's."""

    def __init__(
        self,
        bot_url: str,
        slack_url: str,
        signing_secret: str,
        *,
        name: str = "alice",
        clock: Clock = time.time,
        answer_seconds: float = ANSWER_SECONDS,
    ) -> None:
        self.bot_url = bot_url.rstrip("/")
        self.slack_url = slack_url.rstrip("/")
        self.secret = signing_secret
        self.name = name
        self.clock = clock
        self.answer_seconds = answer_seconds

    async def slash(self, command: str, text: str = "", *, channel: str = "#ops-alerts") -> Answer:
        """Types `/command text` in a channel."""
        user, given = await self._who(), await self._interaction(channel, None)
        form = {
            "token": "unused", "team_id": user["team_id"], "team_domain": "stand-in",
            "channel_id": given["channel"]["id"], "channel_name": given["channel"]["name"],
            "user_id": user["id"], "user_name": user["name"], "command": command, "text": text,
            "api_app_id": "A0ALERTBOT",
            "is_enterprise_install": "false", "response_url": given["response_url"],
            "trigger_id": given["trigger_id"],
        }  # fmt: skip
        return await self.send("/slack/commands", form)

    async def press(self, channel: str, ts: str, action_id: str) -> Answer:
        """Presses a button that the message shows now. Raises LookupError where it shows none of that id."""
        given = await self._interaction(channel, ts)
        return await self.send_press(given, _button(given["message"] or {}, action_id), ts)

    async def send_press(self, given: Mapping[str, Any], button: Mapping[str, Any], ts: str) -> Answer:
        """Sends the press of a button, which may be one that was there earlier (a stale press)."""
        user = await self._who()
        channel = {"id": given["channel"]["id"], "name": given["channel"]["name"]}
        action = {name: button[name] for name in ("action_id", "block_id", "text", "value", "type", "style")
                  if name in button}  # fmt: skip
        payload = {
            "type": "block_actions", "api_app_id": "A0ALERTBOT", "token": "unused",
            "user": _named(user),
            "container": {
                "type": "message", "message_ts": ts, "channel_id": channel["id"], "is_ephemeral": False,
            },
            "trigger_id": given["trigger_id"], "team": {"id": user["team_id"], "domain": "stand-in"},
            "enterprise": None, "is_enterprise_install": False, "channel": channel,
            "message": given["message"],
            "state": {"values": {}}, "response_url": given["response_url"],
            "actions": [action | {"action_ts": f"{self.clock():.6f}"}],
        }  # fmt: skip
        return await self.send("/slack/interactions", {"payload": json.dumps(payload)})

    async def submit(self, view: Mapping[str, Any], values: Mapping[str, Mapping[str, Any]]) -> Answer:
        """Submits a modal; `values` is {block_id: {action_id: {"type", "value"}}}."""
        user = await self._who()
        payload: dict[str, Any] = {
            "type": "view_submission", "api_app_id": "A0ALERTBOT", "token": "unused",
            "team": {"id": user["team_id"], "domain": "stand-in"}, "trigger_id": f"0.{next(_COUNTER)}.submitted",
            "user": _named(user),
            "view": {**view, "state": {"values": values}}, "response_urls": [], "enterprise": None,
            "is_enterprise_install": False,
        }  # fmt: skip
        return await self.send("/slack/interactions", {"payload": json.dumps(payload)})

    async def send(self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str] | None = None) -> Answer:
        """Signs and posts a form; `headers` replace those of the signature."""
        body = urlencode(form).encode()
        sent = {"Content-Type": "application/x-www-form-urlencoded", **sign(self.secret, body, self.clock())}
        sent |= headers or {}
        limit = aiohttp.ClientTimeout(total=self.answer_seconds)
        try:
            async with (
                aiohttp.ClientSession(timeout=limit) as session,
                session.post(self.bot_url + path, data=body, headers=sent, allow_redirects=False) as response,
            ):
                text = await response.text()
                is_json = response.content_type == "application/json" and text
                return Answer(response.status, json.loads(text) if is_json else text)
        except (TimeoutError, aiohttp.ClientError):
            return Answer(None)

    async def interaction(self, channel: str, ts: str) -> dict[str, Any]:
        """What Slack gives a press: {trigger_id, response_url, channel, message}; kept, for a stale one."""
        return await self._interaction(channel, ts)

    async def _interaction(self, channel: str, ts: str | None) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.slack_url}/_standin/interaction", json={"channel": channel, "ts": ts}) as response,
        ):
            response.raise_for_status()
            given: dict[str, Any] = await response.json()
            return given

    async def _who(self) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.slack_url}/_standin/state") as response,
        ):
            users = (await response.json())["kept"]["users"]
        found: dict[str, Any] = next(user for user in users.values() if user["name"] == self.name)
        return found


def _named(user: Mapping[str, Any]) -> dict[str, str]:
    return {"id": user["id"], "username": user["name"], "name": user["name"], "team_id": user["team_id"]}


def _button(message: Mapping[str, Any], action_id: str) -> dict[str, Any]:
    """A button of a message, in actions or as an accessory, with its block's id."""
    for block in message.get("blocks") or []:
        elements = [*block.get("elements", []), block.get("accessory") or {}]
        for element in elements:
            if element.get("action_id") == action_id:
                return {**element, "block_id": block.get("block_id")}
    raise LookupError(f"the message shows no {action_id}")
