"""Block Kit's rules for messages and modals: `objections(blocks)` says what Slack would refuse, and where.

Limits are those of slack_sdk's models [src] unless a line says otherwise. Whether Slack counts UTF-16 units
or code points is not documented: we count UTF-16 units, so what passes here passes either way.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from slack_sdk.errors import SlackObjectFormationError
from slack_sdk.models.blocks import Block

BLOCKS_PER_MESSAGE = 50  # [docs]
BLOCKS_PER_MODAL = 100
BLOCK_ID = ACTION_ID = 255
SECTION_TEXT = 3000
SECTION_FIELDS = 10
FIELD_TEXT = 2000  # [mem]; slack_sdk's models do not check it
CONTEXT_TEXT = 3000  # [mem]; slack_sdk's models do not check it
CONTEXT_ELEMENTS = 10
HEADER_TEXT = 150
ACTIONS_ELEMENTS = 25
BUTTON_TEXT = 75
BUTTON_VALUE = 2000
URL = IMAGE_URL = 3000
ALT_TEXT = 2000
CONFIRM = {"title": 100, "text": 300, "confirm": 30, "deny": 30}
MARKDOWN_TEXT = 12_000  # of all markdown blocks together
INPUT_LABEL = INPUT_HINT = 2000
OPTION_TEXT = 75
OPTION_VALUE = 150  # the limit differs by page of the docs
OPTIONS = 100
OVERFLOW_OPTIONS = 5
PLACEHOLDER = 150
PRIVATE_METADATA = 3000
MODAL_TITLE = 24
# Undocumented: a message whose blocks come near 13,200 characters is refused with msg_blocks_too_long
# (bolt-js discussion). Text of 11,341 characters was refused too, so the containers count: we take the JSON.
BLOCKS_TOTAL = 13_200

SELECTS = {
    "static_select", "external_select", "users_select", "conversations_select", "channels_select",
    "multi_static_select", "multi_external_select", "multi_users_select",
    "multi_conversations_select", "multi_channels_select",
}  # fmt: skip
PICKERS = {"datepicker", "timepicker", "datetimepicker"}
CHOICES = {"radio_buttons", "checkboxes"}
INTERACTIVE = {"button", "overflow", *SELECTS, *PICKERS, *CHOICES}
TEXT_INPUTS = {"plain_text_input", "email_text_input", "url_text_input", "number_input", "rich_text_input"}

Say = Callable[[str, str], None]  # (what, where)


def length(text: str) -> int:
    """UTF-16 code units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def total(blocks: Sequence[Any]) -> int:
    """The size that the undocumented total limit is held against."""
    return length(json.dumps(blocks, ensure_ascii=False, separators=(",", ":")))


def objections(blocks: Any, *, modal: bool = False) -> list[str]:
    """What Slack would say in response_metadata.messages about these blocks; empty where they are valid."""
    found: list[str] = []

    def say(what: str, where: str) -> None:
        found.append(f"[ERROR] {what} [json-pointer:{where}]")

    most = BLOCKS_PER_MODAL if modal else BLOCKS_PER_MESSAGE
    if len(blocks) > most:
        say(f"no more than {most} items allowed", "/blocks")
    block_ids: set[str] = set()
    markdown = 0
    for index, block in enumerate(blocks):
        where = f"/blocks/{index}"
        if not isinstance(block, dict) or block.get("type") not in _BLOCKS:
            kind = block.get("type") if isinstance(block, dict) else block
            say(f"unsupported type: {kind}", f"{where}/type")
            continue
        block_id = block.get("block_id")
        if block_id is not None:
            _string(say, block_id, BLOCK_ID, f"{where}/block_id")
            if block_id in block_ids:
                say(f'"block_id" "{block_id}" already exists for another block', f"{where}/block_id")
            block_ids.add(block_id)
        _BLOCKS[block["type"]](say, block, where)
        _unique_action_ids(say, block, where)
        if block["type"] == "markdown":
            markdown += length(str(block.get("text", "")))
    if markdown > MARKDOWN_TEXT:
        say(f"markdown text must be less than {MARKDOWN_TEXT + 1} characters", "/blocks")
    if not found:
        found.extend(_second_opinion(blocks))
    return found


def _second_opinion(blocks: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What slack_sdk's own models object to."""
    for index, block in enumerate(blocks):
        try:
            parsed = Block.parse(block)
            if parsed is not None:
                parsed.to_dict()
        except (SlackObjectFormationError, TypeError, ValueError) as error:
            yield f"[ERROR] {error} [json-pointer:/blocks/{index}]"


def _string(say: Say, value: Any, most: int, where: str, *, least: int = 1) -> None:
    if not isinstance(value, str):
        say("must be a string", where)
    elif length(value) > most:
        say(f"must be less than {most + 1} characters", where)
    elif length(value) < least:
        say(f"must be more than {least - 1} characters", where)


def _text(say: Say, value: Any, most: int, where: str, *, plain: bool = False) -> None:
    """A text object: {"type": "plain_text" | "mrkdwn", "text": 1 to `most` characters}."""
    if not isinstance(value, dict):
        say("must provide an object", where)
        return
    kinds = ("plain_text",) if plain else ("plain_text", "mrkdwn")
    if value.get("type") not in kinds:
        say(f"unsupported type: {value.get('type')}", f"{where}/type")
    if value.get("type") == "mrkdwn" and "emoji" in value:
        say("emoji is for plain_text only", f"{where}/emoji")  # [docs] text object
    _string(say, value.get("text"), most, f"{where}/text")


def _items(say: Say, value: Any, most: int, where: str) -> list[Any]:
    if not isinstance(value, list):
        say("must provide an array", where)
        return []
    if not value:
        say("no fewer than 1 items allowed", where)
    if len(value) > most:
        say(f"no more than {most} items allowed", where)
    return value


def _section(say: Say, block: Mapping[str, Any], where: str) -> None:
    if block.get("text") is None and not block.get("fields"):
        say("must provide text or fields", where)
    if block.get("text") is not None:
        _text(say, block["text"], SECTION_TEXT, f"{where}/text")
    if block.get("fields") is not None:
        for index, item in enumerate(_items(say, block["fields"], SECTION_FIELDS, f"{where}/fields")):
            _text(say, item, FIELD_TEXT, f"{where}/fields/{index}")
    if block.get("accessory") is not None:
        _element(say, block["accessory"], {"image", *INTERACTIVE}, f"{where}/accessory")


def _header(say: Say, block: Mapping[str, Any], where: str) -> None:
    _text(say, block.get("text"), HEADER_TEXT, f"{where}/text", plain=True)


def _context(say: Say, block: Mapping[str, Any], where: str) -> None:
    for index, item in enumerate(_items(say, block.get("elements"), CONTEXT_ELEMENTS, f"{where}/elements")):
        here = f"{where}/elements/{index}"
        if isinstance(item, dict) and item.get("type") == "image":
            _element(say, item, {"image"}, here)
        else:
            _text(say, item, CONTEXT_TEXT, here)


def _actions(say: Say, block: Mapping[str, Any], where: str) -> None:
    for index, item in enumerate(_items(say, block.get("elements"), ACTIONS_ELEMENTS, f"{where}/elements")):
        _element(say, item, INTERACTIVE, f"{where}/elements/{index}")


def _image(say: Say, block: Mapping[str, Any], where: str) -> None:
    _element(say, block, {"image"}, where)
    if block.get("title") is not None:
        _text(say, block["title"], 2000, f"{where}/title", plain=True)


def _markdown(say: Say, block: Mapping[str, Any], where: str) -> None:
    _string(say, block.get("text"), MARKDOWN_TEXT, f"{where}/text")


def _input(say: Say, block: Mapping[str, Any], where: str) -> None:
    _text(say, block.get("label"), INPUT_LABEL, f"{where}/label", plain=True)
    if block.get("hint") is not None:
        _text(say, block["hint"], INPUT_HINT, f"{where}/hint", plain=True)
    _element(say, block.get("element"), TEXT_INPUTS | SELECTS | PICKERS | CHOICES, f"{where}/element")


def _list_of_elements(say: Say, block: Mapping[str, Any], where: str) -> None:
    if not isinstance(block.get("elements"), list):
        say("must provide an array", f"{where}/elements")


def _anything(say: Say, block: Mapping[str, Any], where: str) -> None:
    """Nothing of its own to hold to."""


_BLOCKS: dict[str, Callable[[Say, Mapping[str, Any], str], None]] = {
    "section": _section,
    "header": _header,
    "context": _context,
    "actions": _actions,
    "image": _image,
    "markdown": _markdown,
    "input": _input,
    "divider": _anything,
    "rich_text": _list_of_elements,
}


def _element(say: Say, element: Any, allowed: set[str], where: str) -> None:
    if not isinstance(element, dict) or element.get("type") not in allowed:
        kind = element.get("type") if isinstance(element, dict) else element
        say(f"unsupported type: {kind}", f"{where}/type")
        return
    kind = element["type"]
    if kind == "image":
        if not element.get("slack_file"):
            _url(say, element.get("image_url"), IMAGE_URL, f"{where}/image_url")
        _string(say, element.get("alt_text"), ALT_TEXT, f"{where}/alt_text")
        return
    if element.get("action_id") is not None:
        _string(say, element["action_id"], ACTION_ID, f"{where}/action_id")
    if element.get("confirm") is not None:
        _confirm(say, element["confirm"], f"{where}/confirm")
    if kind == "button":
        _text(say, element.get("text"), BUTTON_TEXT, f"{where}/text", plain=True)
        if element.get("value") is not None:
            _string(say, element["value"], BUTTON_VALUE, f"{where}/value")
        if element.get("url") is not None:
            _url(say, element["url"], URL, f"{where}/url")
        if element.get("style") not in (None, "primary", "danger"):
            say("must be one of primary, danger", f"{where}/style")
    if element.get("placeholder") is not None:
        _text(say, element["placeholder"], PLACEHOLDER, f"{where}/placeholder", plain=True)
    if kind in ("static_select", "multi_static_select") and element.get("option_groups"):
        return
    if kind in ("overflow", "static_select", "multi_static_select", *CHOICES):
        most = OVERFLOW_OPTIONS if kind == "overflow" else 10 if kind in CHOICES else OPTIONS
        for index, option in enumerate(_items(say, element.get("options"), most, f"{where}/options")):
            here = f"{where}/options/{index}"
            _text(say, option.get("text"), OPTION_TEXT, f"{here}/text", plain=kind not in CHOICES)
            _string(say, option.get("value"), OPTION_VALUE, f"{here}/value")


def _url(say: Say, value: Any, most: int, where: str) -> None:
    _string(say, value, most, where)
    if isinstance(value, str) and not value.startswith(("http://", "https://", "mailto:", "slack:")):
        say("must be a valid URL", where)


def _confirm(say: Say, confirm: Any, where: str) -> None:
    if not isinstance(confirm, dict):
        say("must provide an object", where)
        return
    for name, most in CONFIRM.items():
        if confirm.get(name) is None and name in ("confirm", "deny"):
            continue  # Slack has words of its own for these two
        _text(say, confirm.get(name), most, f"{where}/{name}", plain=name != "text")


def _unique_action_ids(say: Say, block: Mapping[str, Any], where: str) -> None:
    """An action_id is unique within its block; slack_sdk's models do not check it."""
    if block["type"] != "actions" or not isinstance(block.get("elements"), list):
        return
    seen: set[str] = set()
    for index, element in enumerate(block["elements"]):
        action_id = element.get("action_id") if isinstance(element, dict) else None
        if action_id is not None and action_id in seen:
            where_it_is = f"{where}/elements/{index}/action_id"
            say(f'"action_id" "{action_id}" already exists for another element', where_it_is)
        if action_id is not None:
            seen.add(action_id)


def view_objections(view: Any) -> list[str]:
    """What Slack would say about a modal."""
    if not isinstance(view, dict) or view.get("type") != "modal":
        return ["[ERROR] unsupported type [json-pointer:/view/type]"]
    found: list[str] = []

    def say(what: str, where: str) -> None:
        found.append(f"[ERROR] {what} [json-pointer:{where}]")

    _text(say, view.get("title"), MODAL_TITLE, "/view/title", plain=True)
    for name in ("submit", "close"):
        if view.get(name) is not None:
            _text(say, view[name], MODAL_TITLE, f"/view/{name}", plain=True)
    if view.get("private_metadata") is not None:
        _string(say, view["private_metadata"], PRIVATE_METADATA, "/view/private_metadata", least=0)
    if view.get("callback_id") is not None:
        _string(say, view["callback_id"], 255, "/view/callback_id", least=0)
    blocks = view.get("blocks")
    if not isinstance(blocks, list):
        say("must provide an array", "/view/blocks")
        return found
    has_input = any(isinstance(block, dict) and block.get("type") == "input" for block in blocks)
    if has_input and view.get("submit") is None:
        say("a modal with an input block needs submit", "/view/submit")  # [docs] modals
    return found + objections(blocks, modal=True)
