"""What the Slack stand-in keeps: a workspace with its channels, messages, people, files and interactions."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.standins.server import Reply

RESPONSE_URL_USES = 5  # within 30 minutes [docs]
RESPONSE_URL_SECONDS = 30 * 60
TRIGGER_SECONDS = 3  # [docs]


def ts_key(ts: str) -> tuple[int, int]:
    """Orders message timestamps, which are strings and never floats: a float loses the last digits."""
    seconds, _, micros = ts.partition(".")
    return int(seconds or 0), int(micros.ljust(6, "0")[:6] or 0)


@dataclass(slots=True)
class Channel:
    """A conversation; `messages` by ts."""

    id: str
    name: str
    is_member: bool = True
    is_archived: bool = False
    is_private: bool = False
    is_im: bool = False
    messages: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """As conversations.list's `types` calls it."""
        return "im" if self.is_im else "private_channel" if self.is_private else "public_channel"

    def described(self) -> dict[str, Any]:
        """As conversations.info shows it."""
        kept = asdict(self)
        del kept["messages"]
        return kept | {"is_channel": not (self.is_private or self.is_im), "name_normalized": self.name}


class Workspace:
    """One team, with the channels of our example configuration. The bot is in them, and not in #general."""

    bot_user = "U0ALERTBOT"
    bot_id = "B0ALERTBOT"
    app_id = "A0ALERTBOT"
    team_id = "T0STANDIN"
    domain = "stand-in"

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.channels: dict[str, Channel] = {}
        self.users: dict[str, dict[str, Any]] = {}
        self.ephemeral: list[dict[str, Any]] = []
        self.responses: list[dict[str, Any]] = []  # what came to response_urls
        self.groups: dict[str, list[str]] = {}  # user groups: the ids of their members
        self.views: list[dict[str, Any]] = []
        self.files: dict[str, dict[str, Any]] = {}
        self.file_bytes: dict[str, bytes] = {}
        self._triggers: dict[str, dict[str, Any]] = {}
        self._response_urls: dict[str, dict[str, Any]] = {}
        self._last_ts = (0, 0)
        self._ids = 0
        for name in ("critical-alerts", "ops-alerts", "dev-alerts"):
            self.add_channel(name)
        self.add_channel("general", is_member=False)
        for name in ("alice", "bob"):
            self.add_user(name, f"{name}@example.org")

    # making

    def _id(self, letter: str) -> str:
        self._ids += 1
        return f"{letter}0{self._ids:08X}"

    def next_ts(self) -> str:
        """Seconds and six decimals, never the same twice."""
        micros = round(self.now() * 1_000_000)
        ts = max((micros // 1_000_000, micros % 1_000_000), self._after(self._last_ts))
        self._last_ts = ts
        return f"{ts[0]}.{ts[1]:06d}"

    @staticmethod
    def _after(ts: tuple[int, int]) -> tuple[int, int]:
        return (ts[0], ts[1] + 1) if ts[1] < 999_999 else (ts[0] + 1, 0)

    def add_channel(
        self, name: str, *, is_member: bool = True, is_archived: bool = False, is_private: bool = False
    ) -> Channel:
        """Adds a channel."""
        channel = Channel(self._id("C"), name.removeprefix("#"), is_member, is_archived, is_private)
        self.channels[channel.id] = channel
        return channel

    def add_user(self, name: str, email: str) -> str:
        """Adds a person and returns the id."""
        user_id = self._id("U")
        profile = {"email": email, "real_name": name.title(), "display_name": name}
        self.users[user_id] = {
            "id": user_id, "team_id": self.team_id, "name": name, "deleted": False, "is_bot": False,
            "real_name": name.title(), "tz": "Europe/Berlin", "profile": profile,
        }  # fmt: skip
        return user_id

    def user(self, name: str) -> str:
        """The id of a person by name. Raises LookupError."""
        return next((uid for uid, user in self.users.items() if user["name"] == name), None) or _missing(name)

    def find(self, wanted: str) -> Channel | None:
        """A channel by its id, `name` or `#name`."""
        if wanted in self.channels:
            return self.channels[wanted]
        name = wanted.removeprefix("#")
        return next((c for c in self.channels.values() if c.name == name and not c.is_im), None)

    def direct(self, user: str) -> Channel:
        """The direct messages with a person, opened when first written to."""
        for channel in self.channels.values():
            if channel.is_im and channel.name == user:
                return channel
        channel = Channel(self._id("D"), user, is_im=True)
        self.channels[channel.id] = channel
        return channel

    # messages

    def post(self, channel: Channel, content: Mapping[str, Any]) -> dict[str, Any]:
        """A message of the bot's own."""
        message = {
            "type": "message", "ts": self.next_ts(), "user": self.bot_user, "bot_id": self.bot_id,
            "app_id": self.app_id, "team": self.team_id,
            **{name: value for name, value in self.with_block_ids(content).items() if value is not None},
        }  # fmt: skip
        channel.messages[message["ts"]] = message
        return message

    def say(self, channel: str, user: str, text: str, thread_ts: str | None = None) -> dict[str, Any]:
        """A message of somebody else's. Raises LookupError for a channel that is not there."""
        found = self.find(channel) or _missing(channel)
        message = {"type": "message", "ts": self.next_ts(), "user": user, "team": self.team_id, "text": text}
        if thread_ts:
            message["thread_ts"] = thread_ts
        found.messages[message["ts"]] = message
        return message

    def with_block_ids(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Slack gives each block and each button that has no id one of its own [docs]."""
        content = {name: value for name, value in content.items() if name != "blocks" or value}
        named = []
        for block in content.get("blocks", []):
            block = {"block_id": self._id("b"), **block}
            if block["type"] == "actions":
                block["elements"] = [{"action_id": self._id("a"), **item} for item in block["elements"]]
            named.append(block)
        return content | {"blocks": named} if named else content

    def with_replies(self, channel: Channel, message: dict[str, Any]) -> dict[str, Any]:
        """A message as it is listed: a parent says how many replies it has and when the last came [docs]."""
        replies = [m["ts"] for m in channel.messages.values() if _is_reply_to(m, message["ts"])]
        if not replies:
            return message
        latest = max(replies, key=ts_key)
        return message | {"thread_ts": message["ts"], "reply_count": len(replies), "latest_reply": latest}

    def permalink(self, channel: Channel, ts: str) -> str:
        """Where a person opens the message."""
        return f"https://{self.domain}.slack.com/archives/{channel.id}/p{ts.replace('.', '')}"

    def identity(self) -> dict[str, Any]:
        """What auth.test says."""
        return {
            "url": f"https://{self.domain}.slack.com/", "team": "Stand-in", "user": "alertbot",
            "team_id": self.team_id, "user_id": self.bot_user, "bot_id": self.bot_id,
            "is_enterprise_install": False,
        }  # fmt: skip

    # interactions

    def interaction(self, url: str, channel: str, ts: str | None) -> dict[str, Any]:
        """What Slack hands out when a person acts: {trigger_id, response_url, channel, message}."""
        found = self.find(channel) or _missing(channel)
        trigger = f"{self._id('')}.{self._id('')}.trigger"
        self._triggers[trigger] = {"at": self.now(), "used": False}
        response_id = self._id("R")
        self._response_urls[response_id] = {"at": self.now(), "uses": 0, "channel": found.id, "ts": ts}
        return {
            "trigger_id": trigger,
            "response_url": f"{url}/respond/{response_id}",
            "channel": found.described(),
            "message": found.messages.get(ts) if ts else None,
        }

    def use_trigger(self, trigger: str) -> str | None:
        """Exchanges a trigger, which works once and for three seconds [docs]; returns what is wrong."""
        kept = self._triggers.get(trigger)
        if kept is None:
            return "invalid_trigger_id"
        if kept["used"]:
            return "exchanged_trigger_id"
        if self.now() - kept["at"] > TRIGGER_SECONDS:
            return "expired_trigger_id"
        kept["used"] = True
        return None

    def open_view(self, view: Mapping[str, Any]) -> dict[str, Any]:
        """Shows a modal."""
        shown = {"id": self._id("V"), "team_id": self.team_id, "state": {"values": {}}, **view}
        self.views.append(shown)
        return shown

    def respond(self, response_id: str, params: dict[str, Any]) -> Reply:
        """An answer to a response_url: 5 times within 30 minutes [docs]; what it says after that is [mem]."""
        kept = self._response_urls.get(response_id)
        if kept is None:
            return Reply(404, {"ok": False, "error": "invalid_url"})
        if kept["uses"] >= RESPONSE_URL_USES:
            return Reply(404, {"ok": False, "error": "used_url"})
        if self.now() - kept["at"] > RESPONSE_URL_SECONDS:
            return Reply(404, {"ok": False, "error": "expired_url"})
        kept["uses"] += 1
        self.responses.append({"at": self.now(), "channel": kept["channel"], "ts": kept["ts"], **params})
        channel = self.channels[kept["channel"]]
        original = channel.messages.get(kept["ts"] or "")
        content: dict[str, Any] = {name: params[name] for name in ("text", "blocks", "attachments") if name in params}
        if params.get("delete_original"):
            channel.messages.pop(kept["ts"] or "", None)
        elif params.get("replace_original") and original is not None:
            original.pop("blocks", None)
            original.update(content)
        elif params.get("response_type") == "in_channel":
            self.post(channel, content)
        else:
            self.ephemeral.append(content | {"channel": channel.id, "ts": self.next_ts()})
        return Reply(200, {"ok": True})

    # files: ask for a URL, send the bytes there, complete

    def open_upload(self, name: str, size: int) -> str:
        """The id of a file that is about to come."""
        file_id = self._id("F")
        self.files[file_id] = {"id": file_id, "name": name, "size": size, "state": "asked"}
        return file_id

    def upload(self, file_id: str, data: bytes) -> bool:
        """Takes the bytes; False where nobody asked, or where the length is not the one announced."""
        kept = self.files.get(file_id)
        if kept is None or len(data) != kept["size"]:
            return False
        kept["state"] = "uploaded"
        self.file_bytes[file_id] = data
        return True

    def uploaded(self, file_id: object) -> bool:
        """Whether the bytes of the file have come."""
        return self.files.get(str(file_id), {}).get("state") == "uploaded"

    def complete_upload(self, file_id: str, title: str | None) -> dict[str, Any]:
        """The file is there for people."""
        kept = self.files[file_id]
        kept |= {"state": "complete", "title": title or kept["name"]}
        url = f"https://files.slack.com/files-pri/{self.team_id}-{file_id}/{kept['name']}"
        return {"id": file_id, "title": kept["title"], "name": kept["name"], "url_private": url}

    # kept over a restart (the bytes of files are not)

    _KEPT = ("users", "ephemeral", "responses", "views", "groups", "files", "_triggers", "_response_urls", "_ids")

    def snapshot(self) -> dict[str, Any]:
        """{"channels": {id: {"name", "messages": {ts: message}, ...}}, "users", "ephemeral", ...}."""
        kept: dict[str, Any] = {name: getattr(self, name) for name in self._KEPT}
        channels = {channel.id: asdict(channel) for channel in self.channels.values()}
        return kept | {"channels": channels, "last_ts": list(self._last_ts)}

    def restore(self, kept: Mapping[str, Any]) -> None:
        """Takes up what `snapshot` gave."""
        for name in self._KEPT:
            setattr(self, name, kept[name])
        self.channels = {channel_id: Channel(**channel) for channel_id, channel in kept["channels"].items()}
        self._last_ts = (kept["last_ts"][0], kept["last_ts"][1])


def _is_reply_to(message: Mapping[str, Any], ts: str) -> bool:
    return message.get("thread_ts") == ts and message["ts"] != ts


def _missing(name: str) -> Any:
    raise LookupError(name)
