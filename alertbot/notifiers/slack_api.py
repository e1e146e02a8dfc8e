"""Slack's Web API: one request at a time, and what its errors mean for us. For whoever posts, looks or asks there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import timedelta
from enum import Enum
from typing import Any, Final

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from alertbot import render

#: Methods that only read: they take their arguments in the address, and not as JSON [each method's page].
READING: Final = frozenset(
    {
        "conversations.history", "conversations.info", "conversations.list", "conversations.replies",
        "usergroups.users.list", "users.info", "users.lookupByEmail",
    }
)  # fmt: skip


class Kind(Enum):
    """What an error of Slack's means for us."""

    LATER = "later"
    PERMANENT = "permanent"
    CONTENT = "content"
    METADATA = "metadata"
    CARD_GONE = "card gone"
    THREAD = "thread"


_FOREIGN_CALL: Final = "Slack and alertbot do not understand each other: check slack_api_url, and report this"
_TOKEN: Final = "put a valid bot token (xoxb-…) into slack_bot_token"  # noqa: S105 - advice, not a token
_WORKSPACE: Final = "the workspace does not let the bot in: ask its administrators"
_CHANNEL: Final = "the channel does not take it: ask the workspace's administrators"

# The errors of chat.postMessage and chat.update [Slack's method pages]. One not named here may pass.
_LATER: Final = (
    "ratelimited", "rate_limited", "message_limit_exceeded", "service_unavailable", "fatal_error",
    "internal_error", "request_timeout", "external_channel_migrating", "team_added_to_org",
    "org_login_required", "update_failed", "streaming_state_conflict",
)  # fmt: skip
#: Of these Slack says, or we must fear, that part of it may have been done.
_PERHAPS_DONE: Final = frozenset({"fatal_error", "internal_error"})
_CONTENT: Final = (
    "msg_too_long", "msg_blocks_too_long", "invalid_blocks", "invalid_blocks_format", "no_text",
    "too_many_attachments", "attachment_payload_limit_exceeded", "invalid_attachments",
    "too_many_contact_cards",
)  # fmt: skip
_METADATA: Final = (
    "metadata_too_large", "invalid_metadata_format", "invalid_metadata_schema",
    "metadata_must_be_sent_from_app",
)  # fmt: skip
_CARD_GONE: Final = (
    "message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "block_mismatch",
)  # fmt: skip
_THREAD: Final = (
    "thread_not_found", "cannot_reply_to_message", "restricted_action_thread_locked",
    "restricted_action_non_threadable_channel", "cant_broadcast_message",
)  # fmt: skip
_PERMANENT: Final[Mapping[str, str]] = {
    "channel_not_found": "no such channel, or a private one without the bot: correct it, or invite the bot",
    "not_in_channel": "invite the bot to the channel: /invite @alertbot",
    "is_archived": "the channel is archived: unarchive it, or configure another",
    "restricted_action": _CHANNEL,
    "restricted_action_read_only_channel": _CHANNEL,
    "restricted_action_thread_only_channel": "the channel takes replies in threads only: configure another",
    "ekm_access_denied": _CHANNEL,
    "posting_to_channel_denied": _CHANNEL,
    "messages_tab_disabled": "turn on the messages tab in the Slack app's settings, or configure a channel",
    "team_not_found": "with a token for a whole organisation, write the channel's ID and not its name",
    "no_permission": "the bot may not post here: invite it to the channel, and check its scopes",
    "invalid_auth": _TOKEN,
    "not_authed": _TOKEN,
    "account_inactive": _TOKEN,
    "token_revoked": _TOKEN,
    "token_expired": _TOKEN,
    "not_allowed_token_type": _TOKEN,
    "is_bot": _TOKEN,
    "as_user_not_supported": _TOKEN,
    "missing_scope": "grant the bot the scope that is missing, and install the app again",
    "access_denied": _WORKSPACE,
    "accesslimited": "the workspace allows this from other networks only: ask its administrators",
    "app_access_restricted": _WORKSPACE,
    "enterprise_is_restricted": _WORKSPACE,
    "two_factor_setup_required": _WORKSPACE,
    "send_on_behalf_not_allowed": _WORKSPACE,
    "invalid_arg_name": _FOREIGN_CALL,
    "invalid_array_arg": _FOREIGN_CALL,
    "invalid_arguments": _FOREIGN_CALL,
    "invalid_charset": _FOREIGN_CALL,
    "invalid_form_data": _FOREIGN_CALL,
    "invalid_json": _FOREIGN_CALL,
    "invalid_post_type": _FOREIGN_CALL,
    "missing_post_type": _FOREIGN_CALL,
    "markdown_text_conflict": _FOREIGN_CALL,
    "deprecated_endpoint": _FOREIGN_CALL,
    "method_deprecated": _FOREIGN_CALL,
    "unknown_method": _FOREIGN_CALL,
}
#: What each error that we know means; see `classify`.
KNOWN: Final[Mapping[str, Kind]] = {
    **dict.fromkeys(_LATER, Kind.LATER),
    **dict.fromkeys(_CONTENT, Kind.CONTENT),
    **dict.fromkeys(_METADATA, Kind.METADATA),
    **dict.fromkeys(_CARD_GONE, Kind.CARD_GONE),
    **dict.fromkeys(_THREAD, Kind.THREAD),
    **dict.fromkeys(_PERMANENT, Kind.PERMANENT),
}


def classify(error: str) -> Kind:
    """What one of Slack's error words means. An unknown one may pass: the outbox bounds the retries."""
    if error.startswith("slack_connect_"):
        return Kind.PERMANENT
    return KNOWN.get(error, Kind.LATER)


class RefusedError(Exception):
    """Slack answered, and did not do it."""

    def __init__(self, method: str, error: str, *, needed: str = "", after: timedelta | None, perhaps: bool) -> None:
        super().__init__(f"Slack's {method} says {error}")
        self.error = error
        self.needed = needed
        self.after = after
        self.perhaps_done = perhaps

    @property
    def kind(self) -> Kind:
        return classify(self.error)

    def for_people(self) -> str:
        """Slack's own word, and what to do about it where we know."""
        advice = _PERMANENT.get(self.error, "")
        if self.error == "missing_scope" and self.needed:
            advice = f"grant the bot the scope {self.needed}, and install the app again"
        return f"{self}: {advice}" if advice else str(self)


class LostError(Exception):
    """No answer of Slack's. `perhaps_done`: the request may have reached it."""

    def __init__(self, what: str, *, perhaps: bool) -> None:
        super().__init__(what)
        self.perhaps_done = perhaps


class SlackApi:
    """One workspace's API, with one token, over a session that stays its owner's. `timeout` bounds a call (seconds)."""

    def __init__(
        self,
        token: str,
        *,
        session: aiohttp.ClientSession | None = None,
        base_url: str = "https://slack.com/api/",
        timeout: float = 10.0,
    ) -> None:
        self.token = token
        self.timeout = timeout
        # The SDK's own logger would write messages and headers at level NOTSET as if it were DEBUG.
        quiet = logging.getLogger("alertbot.notifiers.slack.sdk")
        quiet.setLevel(logging.WARNING)
        self._client = AsyncWebClient(token=token, base_url=base_url, session=session, retry_handlers=[], logger=quiet)
        # The SDK takes a proxy from the environment and ignores NO_PROXY; a session's trust_env heeds both.
        self._client.proxy = None

    async def call(self, method: str, args: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """One request. Raises `RefusedError` or `LostError`; arguments that are None are left out."""
        return (await self.ask(method, args, seconds=seconds))[0]

    async def ask(
        self, method: str, args: Mapping[str, Any], *, seconds: float
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        """As `call`, with the answer's headers: `x-oauth-scopes` says what the token may."""
        given = {k: v for k, v in args.items() if v is not None}
        try:
            # With a session of ours the SDK ignores its own timeout.
            async with asyncio.timeout(min(self.timeout, seconds)):
                if method in READING:
                    answer = await self._client.api_call(method, http_verb="GET", params=given)
                else:
                    answer = await self._client.api_call(method, json=given)
        except SlackApiError as e:
            raise _refusal(method, e) from None
        except aiohttp.ClientConnectorError as e:
            raise LostError(f"Slack's {method}: no connection ({type(e).__name__})", perhaps=False) from None
        except TimeoutError:
            raise LostError(f"Slack's {method}: no answer in time", perhaps=True) from None
        except (aiohttp.ClientError, OSError) as e:
            raise LostError(f"Slack's {method}: connection lost ({type(e).__name__})", perhaps=True) from None
        except (AttributeError, LookupError, ValueError) as e:
            # The SDK on an answer that is no JSON object, or not in the encoding it claims.
            raise LostError(f"Slack's {method}: not an answer of Slack's ({type(e).__name__})", perhaps=True) from None
        return answer.data if isinstance(answer.data, dict) else {}, answer.headers


def _refusal(method: str, error: SlackApiError) -> Exception:
    """The SDK's error as ours. Without Slack's JSON it is some proxy's, and may have come after the deed."""
    response = error.response
    data = getattr(response, "data", None)
    status = getattr(response, "status_code", 0) or getattr(response, "status", 0)
    after = _retry_after(getattr(response, "headers", {}))
    word = data.get("error") if isinstance(data, dict) else None
    if not isinstance(word, str) or not word:
        if status == 429:
            return RefusedError(method, "ratelimited", after=after, perhaps=False)
        return LostError(f"Slack's {method}: HTTP {status} without Slack's answer", perhaps=True)
    needed = data.get("needed") if isinstance(data, dict) else None
    return RefusedError(
        method,
        render.cut(render.one_line(word), 100),
        needed=render.cut(render.one_line(needed), 100) if isinstance(needed, str) else "",
        after=after,
        perhaps=word in _PERHAPS_DONE,
    )


def _retry_after(headers: Any) -> timedelta | None:
    """Retry-After in seconds, as Slack sends it."""
    value = str(headers.get("Retry-After", "")) if headers else ""
    return timedelta(seconds=min(int(value), 3600)) if value.isascii() and value.isdigit() else None
