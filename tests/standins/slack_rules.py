"""What Slack's methods may answer, what they need and how often they may be called.

`ERRORS` lists the errors that the stand-in gives, method by method. Slack's own documentation holds them
(scraped by slack-ruby/slack-api-ref, in the corpus for seven of the methods), and a test compares.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

from tests.standins import blocks as block_kit

COMMON = {"not_authed", "token_revoked", "token_expired", "account_inactive", "missing_scope", "ratelimited"}
# Named by our field notes and by slack_sdk's tests, but missing from the scraped lists.
UNLISTED = {"invalid_auth"}
CONTENT = {"no_text", "invalid_blocks", "invalid_blocks_format", "too_many_attachments"}
METADATA = {"invalid_metadata_format", "metadata_too_large"}
ERRORS: dict[str, set[str]] = {
    "auth.test": set(),
    "chat.postMessage": CONTENT
    | METADATA
    | {
        "channel_not_found",
        "not_in_channel",
        "is_archived",
        "msg_blocks_too_long",
        "cannot_reply_to_message",
    },
    # No is_archived and no not_in_channel here: an archived channel is is_inactive. Blocks that are too long
    # have no error of their own either.
    "chat.update": CONTENT
    | METADATA
    | {"channel_not_found", "message_not_found", "cant_update_message", "edit_window_closed", "is_inactive"}
    | {"msg_too_long"},
    "chat.delete": {"channel_not_found", "message_not_found", "cant_delete_message"},  # [docs]
    "chat.postEphemeral": CONTENT
    | {"channel_not_found", "not_in_channel", "is_archived", "msg_too_long", "user_not_in_channel"},
    "chat.getPermalink": {"channel_not_found", "message_not_found"},  # [docs]
    "conversations.list": {"invalid_cursor", "invalid_limit"},  # [docs]
    "conversations.info": {"channel_not_found"},
    "conversations.history": {"channel_not_found", "not_in_channel", "invalid_cursor", "invalid_limit"},
    "conversations.replies": {"channel_not_found", "not_in_channel", "thread_not_found"}
    | {"invalid_cursor", "invalid_limit"},
    "conversations.join": {"channel_not_found", "is_archived", "method_not_supported_for_channel_type"},
    "users.lookupByEmail": {"users_not_found"},
    "users.info": {"user_not_found"},
    "usergroups.users.list": {"no_such_subteam"},  # [docs]
    "apps.connections.open": set(),
    "files.getUploadURLExternal": {"missing_argument"},
    "files.completeUploadExternal": {"file_not_found", "channel_not_found", "not_in_channel"},
    "views.open": {"invalid_trigger_id", "expired_trigger_id", "exchanged_trigger_id", "invalid_arguments"},
}
SCOPES = {
    "chat.postMessage": "chat:write",
    "chat.update": "chat:write",
    "chat.delete": "chat:write",
    "chat.postEphemeral": "chat:write",
    "conversations.list": "channels:read",
    "conversations.info": "channels:read",
    "conversations.history": "channels:history",
    "conversations.replies": "channels:history",
    "conversations.join": "channels:join",
    "users.lookupByEmail": "users:read.email",
    "users.info": "users:read",
    "usergroups.users.list": "usergroups:read",
    "files.getUploadURLExternal": "files:write",
    "files.completeUploadExternal": "files:write",
}
# Calls a minute per method, app and workspace [docs rate-limits]: tier 1..4 are 1+, 20+, 50+, 100+. We take
# them as exact. chat.update is tier 3; the tiers of the others [docs, each method's page].
TIERS = {
    "chat.update": 50,
    "chat.delete": 50,
    "chat.postEphemeral": 100,
    "conversations.list": 20,
    "conversations.info": 50,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.join": 50,
    "users.lookupByEmail": 50,
    "users.info": 100,
    "usergroups.users.list": 20,
    "files.getUploadURLExternal": 100,
    "files.completeUploadExternal": 100,
    "views.open": 100,
}
POST_TEXT = 40_000  # chat.postMessage cuts the text there [docs]
UPDATE_TEXT = 4_000  # chat.update refuses it there [docs, its msg_too_long]
METADATA_BYTES = 8_000  # [mem]: the docs say that there is a limit, not which
ATTACHMENTS = 100


class SlackError(Exception):
    """An answer with ok:false; `more` is what the body holds beside it."""

    def __init__(self, error: str, **more: Any) -> None:
        super().__init__(error)
        self.error = error
        self.more = more


def checked_content(params: dict[str, Any], *, text_limit: int, too_long: str) -> dict[str, Any]:
    """The text, blocks, attachments and metadata of a message, each held to its limits."""
    content: dict[str, Any] = {}
    text, blocks = params.get("text") or "", params.get("blocks")
    attachments, metadata = params.get("attachments"), params.get("metadata")
    if blocks is not None:
        if not isinstance(blocks, list):
            raise SlackError("invalid_blocks_format")
        if found := block_kit.objections(blocks):
            raise SlackError("invalid_blocks", errors=found, response_metadata={"messages": found})
        if block_kit.total(blocks) > block_kit.BLOCKS_TOTAL:
            raise SlackError(too_long)
        content["blocks"] = blocks
    if attachments is not None:
        if len(attachments) > ATTACHMENTS:
            raise SlackError("too_many_attachments")
        content["attachments"] = attachments
    if not text and not blocks and not attachments:
        raise SlackError("no_text")
    if block_kit.length(text) > text_limit:
        if too_long == "msg_too_long":
            raise SlackError("msg_too_long")
        text = text[:text_limit]
    content["text"] = text
    if metadata:
        payload = metadata.get("event_payload") if isinstance(metadata, dict) else None
        if not isinstance(payload, dict) or not isinstance(metadata.get("event_type"), str):
            raise SlackError("invalid_metadata_format")
        if len(json.dumps(metadata, ensure_ascii=False).encode()) > METADATA_BYTES:
            raise SlackError("metadata_too_large")
    if metadata is not None:
        content["metadata"] = metadata or None
    return content


def flag(params: dict[str, Any], name: str) -> bool:
    return params.get(name) in (True, 1, "1", "true", "True")


def page_of(items: list[Any], params: dict[str, Any]) -> tuple[list[Any], str]:
    """One page and the cursor of the next ("" at the end). The default is 100 items, the most 999 [docs]."""
    try:
        limit = int(params.get("limit") or 100)
    except ValueError:
        raise SlackError("invalid_limit") from None
    if not 1 <= limit <= 1000:
        raise SlackError("invalid_limit")
    start = 0
    if params.get("cursor"):
        try:
            start = int(urlsafe_b64decode(params["cursor"]).removeprefix(b"next:"))
        except ValueError:
            raise SlackError("invalid_cursor") from None
    end = start + limit
    after = urlsafe_b64encode(b"next:%d" % end).decode() if end < len(items) else ""
    return items[start:end], after
