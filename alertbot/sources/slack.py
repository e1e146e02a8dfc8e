"""What Slack sends when somebody types a command, presses a button or submits a dialog: bytes to values.

The same objects come as forms over HTTP and as JSON over Socket Mode [docs: Slash commands; Interaction payloads]. What
follows from them is decided above: a press becomes an event of `actions` only once it is known whose it is, and whether
they may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

import msgspec

from alertbot.domain.events import Unreadable

_T = TypeVar("_T")

#: Fields of a form that are looked at. Slack sends some twenty.
MAX_FIELDS: Final = 100


class User(msgspec.Struct, frozen=True):
    """Who acts. `name` is the handle; `username` is what a press has in its place."""

    id: str
    name: str = ""
    username: str = ""

    @property
    def handle(self) -> str:
        """What Slack calls the person, or the id."""
        return self.username or self.name or self.id


class SlashCommand(msgspec.Struct, frozen=True):
    """`/command text`, typed in a channel."""

    command: str
    user_id: str
    text: str = ""
    user_name: str = ""
    channel_id: str = ""
    channel_name: str = ""
    response_url: str = ""
    trigger_id: str = ""

    @property
    def user(self) -> User:
        """Who typed it."""
        return User(self.user_id, self.user_name)


class _Option(msgspec.Struct, frozen=True):
    value: str = ""


class _Action(msgspec.Struct, frozen=True):
    action_id: str
    block_id: str = ""
    value: str = ""
    selected_option: _Option | None = None


class _Container(msgspec.Struct, frozen=True):
    channel_id: str = ""
    message_ts: str = ""
    is_ephemeral: bool = False


class _Channel(msgspec.Struct, frozen=True):
    id: str = ""


class _Pressed(msgspec.Struct, frozen=True):
    user: User
    actions: list[_Action]
    container: _Container = _Container()
    channel: _Channel | None = None
    response_url: str = ""
    trigger_id: str = ""


class _State(msgspec.Struct, frozen=True):
    value: str | None = None
    selected_option: _Option | None = None


class _Values(msgspec.Struct, frozen=True):
    values: dict[str, dict[str, _State]] = {}


class _View(msgspec.Struct, frozen=True):
    id: str = ""
    callback_id: str = ""
    private_metadata: str = ""
    state: _Values = _Values()


class _Submitted(msgspec.Struct, frozen=True):
    user: User
    view: _View


class Press(msgspec.Struct, frozen=True):
    """A button was pressed, or something chosen from a menu: `value` is either's. `message` is the message's `ts`."""

    user: User
    act: str
    value: str
    block: str
    channel: str
    message: str
    ephemeral: bool
    response_url: str
    trigger_id: str


class Submission(msgspec.Struct, frozen=True):
    """A dialog was submitted. `given` has what was entered, by block; `kept` is what we gave it to keep."""

    user: User
    dialog: str
    view: str
    kept: str
    given: Mapping[str, str]


def form(body: bytes) -> dict[str, str]:
    """The fields of a form. Raises `Unreadable`."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError as e:  # a UnicodeDecodeError is one too
        raise Unreadable(f"this is no form: {e}") from None
    return dict(pairs)


def command(fields: Mapping[str, Any]) -> SlashCommand:
    """A command, from a form's fields or an envelope's payload. Raises `Unreadable`."""
    return _convert(fields, SlashCommand)


def payload(fields: Mapping[str, str]) -> Any:
    """The JSON of an interaction's form. Raises `Unreadable`."""
    try:
        return msgspec.json.decode(fields.get("payload", "").encode())
    except (msgspec.DecodeError, UnicodeError, RecursionError) as e:
        raise Unreadable(f"this is no JSON: {e}", "payload") from None


def interaction(said: Any) -> Press | Submission | None:
    """A press or a submission; None for a kind that alertbot has no use for. Raises `Unreadable`."""
    kind = said.get("type") if isinstance(said, Mapping) else None
    if kind == "view_submission":
        sent = _convert(said, _Submitted)
        values = {block: _entered(fields) for block, fields in sent.view.state.values.items()}
        return Submission(sent.user, sent.view.callback_id, sent.view.id, sent.view.private_metadata, values)
    if kind != "block_actions":
        return None
    pressed = _convert(said, _Pressed)
    if not pressed.actions:
        raise Unreadable("there is no action", "actions")
    action, container = pressed.actions[0], pressed.container
    chosen = action.selected_option
    return Press(
        user=pressed.user,
        act=action.action_id,
        value=chosen.value if chosen is not None else action.value,
        block=action.block_id,
        channel=container.channel_id or (pressed.channel.id if pressed.channel is not None else ""),
        message=container.message_ts,
        ephemeral=container.is_ephemeral,
        response_url=pressed.response_url,
        trigger_id=pressed.trigger_id,
    )


def _entered(fields: Mapping[str, _State]) -> str:
    """A block of a dialog has one input."""
    for state in fields.values():
        return state.selected_option.value if state.selected_option is not None else state.value or ""
    return ""


def _convert(said: Any, wanted: type[_T]) -> _T:
    try:
        return msgspec.convert(said, wanted)
    except msgspec.ValidationError as e:
        error, _, where = str(e).partition(" - at ")
        raise Unreadable(error, where.strip("`").removeprefix("$").lstrip(".")) from None
