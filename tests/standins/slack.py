"""Slack's Web API on loopback: `{url}/api/<method>`, for slack_sdk's own client.

Every error but rate limiting is HTTP 200 with ok:false [docs]; which ones, and the limits, say `slack_rules`
and `blocks`.
Run it as a process: `python -m tests.standins.slack --port N --state FILE`.
"""

import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.standins import blocks as block_kit
from tests.standins.mrkdwn import rendered_mentions as rendered_mentions  # for users of this module
from tests.standins.server import RAW, Bucket, Call, Clock, HttpStandin, RateLimit, Reply, serve
from tests.standins.slack_keep import Channel, Workspace, ts_key
from tests.standins.slack_rules import (
    COMMON,
    ERRORS,
    POST_TEXT,
    SCOPES,
    TIERS,
    UNLISTED,
    UPDATE_TEXT,
    SlackError,
    checked_content,
    flag,
    page_of,
)
from tests.standins.slack_socket import Sockets


class SlackStandin(HttpStandin):
    """One workspace with one bot in it.

    token         the only one that is valid; `token_error` (say "token_revoked") is answered to it where set
    scopes        what the token may; add "chat:write.public" to post without being a member
    posts_per_second, post_burst   chat.postMessage, per channel: about one a second, bursts tolerated [docs]
    posts_per_minute   the workspace-wide limit, whose number Slack does not say: None is none
    edit_window   seconds for which a message may be edited (a team's setting); None: for ever
    """

    name = "slack"
    adjustable = ("scopes", "token_error", "edit_window", "limited")

    def __init__(
        self,
        *,
        clock: Clock = time.time,
        port: int = 0,
        state: Path | None = None,
        token: str = "xoxb-stand-in",
        app_token: str = "xapp-stand-in",
        posts_per_second: float = 1.0,
        post_burst: int = 3,
        posts_per_minute: int | None = None,
        tiers: dict[str, int] | None = None,
        limited: bool = True,
    ) -> None:
        super().__init__(clock=clock, port=port, state=state)
        self.token = token
        self.app_token = app_token
        self.sockets = Sockets()
        self.token_error: str | None = None
        self.scopes = {*SCOPES.values(), "commands"}
        self.edit_window: float | None = None
        self.limited = limited
        self.workspace = Workspace(self.now)
        self._posts = Bucket(posts_per_second, post_burst)
        self._all_posts = RateLimit(posts_per_minute, 60) if posts_per_minute else None
        self._tiers = {method: RateLimit(count, 60) for method, count in (TIERS | (tiers or {})).items()}
        self._methods: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
            method: getattr(self, "_" + method.replace(".", "_")) for method in ERRORS
        }

    # for tests

    @property
    def api_url(self) -> str:
        """The base URL for slack_sdk's clients and for `slack_api_url`."""
        return f"{self.url}/api/"

    def messages(self, channel: str) -> list[dict[str, Any]]:
        """The messages of a channel (`#name`, `name` or id), thread replies too, oldest first."""
        found = self.workspace.find(channel)
        return [] if found is None else sorted(found.messages.values(), key=lambda m: ts_key(m["ts"]))

    def snapshot(self) -> dict[str, Any]:
        return self.workspace.snapshot()

    def restore(self, kept: dict[str, Any]) -> None:
        self.workspace.restore(kept)

    def control(self, app: web.Application) -> None:
        async def add_channel(request: web.Request) -> web.Response:
            return web.json_response({"id": self.workspace.add_channel(**await request.json()).id})

        async def interaction(request: web.Request) -> web.Response:
            wanted = await request.json()
            return web.json_response(self.workspace.interaction(self.url, wanted["channel"], wanted.get("ts")))

        app.router.add_post("/_standin/channels", add_channel)
        app.router.add_post("/_standin/interaction", interaction)
        app.router.add_get("/socket/{ticket}", self.sockets.serve)

    # the way of a request

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        params: dict[str, Any] = dict(request.query)
        kind, _, rest = request.path.lstrip("/").partition("/")
        if kind == "upload":
            request[RAW] = await request.read()
            return "upload", {"file_id": rest.rsplit("/", 1)[-1], "size": len(request[RAW])}
        if request.content_type == "application/json":
            try:
                body = json.loads(await request.read() or b"{}")
            except ValueError:
                body = None
            params.update(body if isinstance(body, dict) else {"invalid_json": True})
        elif request.can_read_body:
            params.update(await request.post())
        for name in ("blocks", "attachments", "metadata", "files", "view"):
            if isinstance(params.get(name), str):
                with suppress(ValueError):  # it stays a string, which its method then refuses
                    params[name] = json.loads(params[name])
        if kind == "respond":
            return "respond", params | {"response_id": rest}
        return rest if kind == "api" else request.path, params

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        if endpoint == "upload":
            kept = self.workspace.upload(params["file_id"], request[RAW])
            return Reply(200, f"OK - {params['size']}") if kept else Reply(404, "not found")
        if endpoint == "respond":
            return self.workspace.respond(params.pop("response_id"), params)
        if endpoint not in self._methods:
            return Reply(200, {"ok": False, "error": "unknown_method", "req_method": endpoint})
        try:
            self._authorize(request, endpoint, params)
            limited = self._limit(endpoint, params)
            if limited is not None:
                return limited
            headers = {"x-oauth-scopes": ",".join(sorted(self.scopes))}  # [docs: every answer to a token has it]
            return Reply(200, {"ok": True} | self._methods[endpoint](params), headers)
        except SlackError as refused:
            allowed = ERRORS[endpoint] | COMMON | UNLISTED
            if refused.error not in allowed and refused.error != self.token_error:
                raise AssertionError(f"{endpoint} never answers {refused.error}") from refused
            return Reply(200, {"ok": False, "error": refused.error} | refused.more)

    def _authorize(self, request: web.Request, method: str, params: dict[str, Any]) -> None:
        header = request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ") if header else params.pop("token", "")
        if not token:
            raise SlackError("not_authed")
        if token != (self.app_token if method == "apps.connections.open" else self.token):
            raise SlackError("invalid_auth")
        if self.token_error:
            raise SlackError(self.token_error)
        needed = SCOPES.get(method)
        if needed and needed not in self.scopes:
            raise SlackError("missing_scope", needed=needed, provided=",".join(sorted(self.scopes)))

    def _limit(self, method: str, params: dict[str, Any]) -> Reply | None:
        """429 with Retry-After in whole seconds and the body error `ratelimited` [docs]."""
        if not self.limited:
            return None
        wait = 0.0
        if method in self._tiers:
            wait = self._tiers[method].take(method, self.now())
        elif method == "chat.postMessage":
            channel = self.workspace.find(str(params.get("channel")))
            wait = self._posts.take(channel.id if channel else params.get("channel"), self.now())
            if wait == 0.0 and self._all_posts is not None:
                wait = self._all_posts.take("workspace", self.now())
        if wait == 0.0:
            return None
        headers = {"Retry-After": str(max(1, math.ceil(wait)))}
        return Reply(429, {"ok": False, "error": "ratelimited"}, headers)

    # checks

    def _channel(self, params: dict[str, Any], *, by_name: bool = False, name: str = "channel") -> Channel:
        """A channel by its id; with `by_name` also by `#name`, `name` or a person's id."""
        wanted = str(params.get(name) or "")
        channel = self.workspace.find(wanted) if by_name else self.workspace.channels.get(wanted)
        if channel is None and by_name and wanted in self.workspace.users:
            channel = self.workspace.direct(wanted)
        if channel is None or (channel.is_private and not channel.is_member):
            raise SlackError("channel_not_found")
        return channel

    def _own_message(self, channel: Channel, params: dict[str, Any], refused: str) -> dict[str, Any]:
        message = channel.messages.get(str(params.get("ts")))
        if message is None:
            raise SlackError("message_not_found")
        if message.get("bot_id") != self.workspace.bot_id:
            raise SlackError(refused)
        return message

    def _writable(self, channel: Channel) -> None:
        if channel.is_archived:
            raise SlackError("is_archived")
        if not channel.is_member and "chat:write.public" not in self.scopes:
            raise SlackError("not_in_channel")

    # chat

    def _chat_postMessage(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - Slack's name
        channel = self._channel(params, by_name=True)
        self._writable(channel)
        content = checked_content(params, text_limit=POST_TEXT, too_long="msg_blocks_too_long")
        thread_ts = params.get("thread_ts")
        if thread_ts:
            # "Avoid using a reply's ts value; use its parent instead" [docs]: refused here.
            parent = channel.messages.get(thread_ts)
            if parent is None or parent.get("thread_ts", thread_ts) != thread_ts:
                raise SlackError("cannot_reply_to_message")
            content["thread_ts"] = thread_ts
            if flag(params, "reply_broadcast"):
                content["subtype"] = "thread_broadcast"
        message = self.workspace.post(channel, content)
        return {"channel": channel.id, "ts": message["ts"], "message": dict(message)}

    def _chat_update(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(params)  # an id, never a name [docs]
        message = self._own_message(channel, params, "cant_update_message")
        if channel.is_archived:
            raise SlackError("is_inactive")
        if self.edit_window is not None and self.now() - float(message["ts"]) > self.edit_window:
            raise SlackError("edit_window_closed")
        content = checked_content(params, text_limit=UPDATE_TEXT, too_long="msg_too_long")
        # Text without blocks REMOVES the blocks, and with them the buttons; metadata that is not given stays,
        # an empty object removes it; attachments that are not given stay [docs].
        message.pop("blocks", None)
        message.update(self.workspace.with_block_ids(content))
        if content.get("metadata", ...) is None:
            del message["metadata"]
        message["edited"] = {"user": self.workspace.bot_user, "ts": self.workspace.next_ts()}
        return {"channel": channel.id, "ts": message["ts"], "text": message["text"], "message": dict(message)}

    def _chat_delete(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(params)
        message = self._own_message(channel, params, "cant_delete_message")
        del channel.messages[message["ts"]]
        return {"channel": channel.id, "ts": message["ts"]}

    def _chat_postEphemeral(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel = self._channel(params, by_name=True)
        self._writable(channel)
        if params.get("user") not in self.workspace.users:
            raise SlackError("user_not_in_channel")
        content = checked_content(params, text_limit=POST_TEXT, too_long="msg_too_long")
        content |= {"user": params["user"], "channel": channel.id, "ts": self.workspace.next_ts()}
        self.workspace.ephemeral.append(content)
        return {"message_ts": content["ts"]}

    def _chat_getPermalink(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        channel, ts = self._channel(params), str(params.get("message_ts"))
        if ts not in channel.messages:
            raise SlackError("message_not_found")
        return {"channel": channel.id, "permalink": self.workspace.permalink(channel, ts)}

    # reading

    def _auth_test(self, params: dict[str, Any]) -> dict[str, Any]:
        return self.workspace.identity()

    def _conversations_list(self, params: dict[str, Any]) -> dict[str, Any]:
        kinds = str(params.get("types") or "public_channel").split(",")
        channels = [
            channel.described()
            for channel in self.workspace.channels.values()
            if channel.kind in kinds
            and (channel.is_member or not channel.is_private)
            and not (channel.is_archived and flag(params, "exclude_archived"))
        ]
        page, after = page_of(channels, params)
        return {"channels": page, "response_metadata": {"next_cursor": after}}

    def _conversations_info(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"channel": self._channel(params).described()}

    def _conversations_history(self, params: dict[str, Any]) -> dict[str, Any]:
        """Newest first, without thread replies; metadata only where asked for [docs]."""
        channel = self._readable(params)
        messages = [
            message
            for message in channel.messages.values()
            if message.get("thread_ts", message["ts"]) == message["ts"] or message.get("subtype") == "thread_broadcast"
        ]
        return self._listed(channel, sorted(messages, key=lambda m: ts_key(m["ts"]), reverse=True), params)

    def _conversations_replies(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parent, then its replies, oldest first [docs]."""
        channel, ts = self._readable(params), str(params.get("ts"))
        if ts not in channel.messages:
            raise SlackError("thread_not_found")
        thread = [m for m in channel.messages.values() if m["ts"] == ts or m.get("thread_ts") == ts]
        return self._listed(channel, sorted(thread, key=lambda m: ts_key(m["ts"])), params)

    def _readable(self, params: dict[str, Any]) -> Channel:
        channel = self._channel(params)
        if not channel.is_member:
            raise SlackError("not_in_channel")
        return channel

    def _listed(self, channel: Channel, found: Iterable[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        oldest, latest = params.get("oldest"), params.get("latest")
        inclusive = flag(params, "inclusive")
        if oldest:
            edge = ts_key(str(oldest))
            found = [m for m in found if ts_key(m["ts"]) > edge or (inclusive and ts_key(m["ts"]) == edge)]
        if latest:
            edge = ts_key(str(latest))
            found = [m for m in found if ts_key(m["ts"]) < edge or (inclusive and ts_key(m["ts"]) == edge)]
        page, after = page_of(list(found), params)
        page = [self.workspace.with_replies(channel, message) for message in page]
        if not flag(params, "include_all_metadata"):
            page = [{name: value for name, value in message.items() if name != "metadata"} for message in page]
        return {"messages": page, "has_more": bool(after), "response_metadata": {"next_cursor": after}}

    def _conversations_join(self, params: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(params)
        if channel.is_private:
            raise SlackError("method_not_supported_for_channel_type")
        if channel.is_archived:
            raise SlackError("is_archived")
        channel.is_member = True
        return {"channel": channel.described()}

    def _users_lookupByEmail(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for user in self.workspace.users.values():
            if user["profile"]["email"].lower() == str(params.get("email")).lower():
                return {"user": user}
        raise SlackError("users_not_found")

    def _users_info(self, params: dict[str, Any]) -> dict[str, Any]:
        if params.get("user") not in self.workspace.users:
            raise SlackError("user_not_found")
        return {"user": self.workspace.users[params["user"]]}

    def _usergroups_users_list(self, params: dict[str, Any]) -> dict[str, Any]:
        group = str(params.get("usergroup"))
        if group not in self.workspace.groups:
            raise SlackError("no_such_subteam")
        return {"users": self.workspace.groups[group]}

    def _apps_connections_open(self, params: dict[str, Any]) -> dict[str, Any]:
        return {"url": f"{self.url.replace('http', 'ws')}/socket/{self.sockets.ticket()}"}

    # files and views

    def _files_getUploadURLExternal(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        size = str(params.get("length", ""))
        if not params.get("filename") or not size.isdigit() or int(size) == 0:
            raise SlackError("missing_argument")
        file_id = self.workspace.open_upload(params["filename"], int(size))
        return {"upload_url": f"{self.url}/upload/v1/{file_id}", "file_id": file_id}

    def _files_completeUploadExternal(self, params: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        files = params.get("files") or []
        if not files or not all(self.workspace.uploaded(file.get("id")) for file in files):
            raise SlackError("file_not_found")
        described = [self.workspace.complete_upload(file["id"], file.get("title")) for file in files]
        if params.get("channel_id"):
            channel = self._channel(params, name="channel_id")
            if not channel.is_member:
                raise SlackError("not_in_channel")
            content = {"text": params.get("initial_comment") or "", "files": described}
            if params.get("thread_ts"):
                content["thread_ts"] = params["thread_ts"]
            self.workspace.post(channel, content)
        return {"files": described}

    def _views_open(self, params: dict[str, Any]) -> dict[str, Any]:
        problem = self.workspace.use_trigger(str(params.get("trigger_id")))
        if problem is not None:
            raise SlackError(problem)
        if found := block_kit.view_objections(params.get("view")):
            raise SlackError("invalid_arguments", response_metadata={"messages": found})
        return {"view": self.workspace.open_view(params["view"])}


__all__ = ["ERRORS", "Call", "SlackStandin", "rendered_mentions"]

if __name__ == "__main__":
    serve(SlackStandin)
