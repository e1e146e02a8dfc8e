"""Block Kit's limits: the largest that passes, and one more."""

from typing import Any

import pytest

from tests.standins.blocks import length, objections, view_objections


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str) -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def section(text: str) -> dict[str, Any]:
    return {"type": "section", "text": mrkdwn(text)}


def button(**more: Any) -> dict[str, Any]:
    return {"type": "button", "text": plain("Resolve"), "action_id": "resolve", **more}


def actions(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def buttons(count: int) -> dict[str, Any]:
    return actions(*[button(action_id=f"b{n}") for n in range(count)])


def confirm(**more: Any) -> dict[str, Any]:
    words = {"title": plain("Sure?"), "text": plain("Really?"), "confirm": plain("Yes"), "deny": plain("No")}
    return actions(button(confirm=words | more))


# the rule; blocks that keep it; blocks that just break it
LIMITS: list[tuple[str, list[Any], list[Any]]] = [
    ("50 blocks in a message", [{"type": "divider"}] * 50, [{"type": "divider"}] * 51),
    ("only known types", [{"type": "divider"}], [{"type": "marquee"}]),
    ("section text of 1", [section("x")], [section("")]),
    ("section text to 3000", [section("x" * 3000)], [section("x" * 3001)]),
    ("a section has text or fields", [{"type": "section", "fields": [mrkdwn("x")]}], [{"type": "section"}]),
    (
        "10 fields",
        [{"type": "section", "fields": [mrkdwn("x")] * 10}],
        [{"type": "section", "fields": [mrkdwn("x")] * 11}],
    ),
    (
        "field text to 2000",
        [{"type": "section", "fields": [mrkdwn("x" * 2000)]}],
        [{"type": "section", "fields": [mrkdwn("x" * 2001)]}],
    ),
    (
        "header text to 150",
        [{"type": "header", "text": plain("x" * 150)}],
        [{"type": "header", "text": plain("x" * 151)}],
    ),
    (
        "a header is plain text",
        [{"type": "header", "text": plain("x")}],
        [{"type": "header", "text": mrkdwn("x")}],
    ),
    (
        "10 elements in a context",
        [{"type": "context", "elements": [mrkdwn("x")] * 10}],
        [{"type": "context", "elements": [mrkdwn("x")] * 11}],
    ),
    (
        "no text in a context is empty",
        [{"type": "context", "elements": [mrkdwn("x")]}],
        [{"type": "context", "elements": [mrkdwn("")]}],
    ),
    ("25 elements in actions", [buttons(25)], [buttons(26)]),
    ("actions are not empty", [buttons(1)], [buttons(0)]),
    ("button text to 75", [actions(button(text=plain("x" * 75)))], [actions(button(text=plain("x" * 76)))]),
    ("button text is plain", [actions(button())], [actions(button(text=mrkdwn("x")))]),
    ("button value to 2000", [actions(button(value="x" * 2000))], [actions(button(value="x" * 2001))]),
    (
        "button url to 3000",
        [actions(button(url="https://" + "x" * 2992))],
        [actions(button(url="https://" + "x" * 2993))],
    ),
    ("a button's url is one", [actions(button(url="https://x"))], [actions(button(url="javascript:x"))]),
    ("button style", [actions(button(style="danger"))], [actions(button(style="loud"))]),
    (
        "action_id to 255",
        [actions(button(action_id="x" * 255))],
        [actions(button(action_id="x" * 256))],
    ),
    (
        "action_id once in a block",
        [actions(button()), actions(button())],
        [actions(button(), button())],
    ),
    ("block_id to 255", [section("x") | {"block_id": "x" * 255}], [section("x") | {"block_id": "x" * 256}]),
    (
        "block_id once in a message",
        [section("x") | {"block_id": "a"}, section("y") | {"block_id": "b"}],
        [section("x") | {"block_id": "a"}, section("y") | {"block_id": "a"}],
    ),
    ("confirm title to 100", [confirm(title=plain("x" * 100))], [confirm(title=plain("x" * 101))]),
    ("confirm text to 300", [confirm(text=plain("x" * 300))], [confirm(text=plain("x" * 301))]),
    ("confirm's yes to 30", [confirm(confirm=plain("x" * 30))], [confirm(confirm=plain("x" * 31))]),
    ("confirm's no to 30", [confirm(deny=plain("x" * 30))], [confirm(deny=plain("x" * 31))]),
    (
        "an image has an alt text",
        [{"type": "image", "image_url": "https://x/y.png", "alt_text": "y"}],
        [{"type": "image", "image_url": "https://x/y.png"}],
    ),
    (
        "alt text to 2000",
        [{"type": "image", "image_url": "https://x/y.png", "alt_text": "y" * 2000}],
        [{"type": "image", "image_url": "https://x/y.png", "alt_text": "y" * 2001}],
    ),
    (
        "markdown to 12,000 in all",
        [{"type": "markdown", "text": "x" * 6000}] * 2,
        [{"type": "markdown", "text": "x" * 6000}] * 2 + [{"type": "markdown", "text": "x"}],
    ),
    (
        "characters beyond the first plane count twice",
        [section("🔥" * 1500)],
        [section("🔥" * 1501)],
    ),
]


@pytest.mark.parametrize("blocks", [row[1] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_blocks_within_the_limit_pass(blocks: list[Any]) -> None:
    assert objections(blocks) == []


@pytest.mark.parametrize("blocks", [row[2] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_blocks_over_the_limit_are_objected_to_with_their_place(blocks: list[Any]) -> None:
    found = objections(blocks)
    assert found
    assert all("[json-pointer:/blocks" in words for words in found)


@pytest.mark.parametrize("junk", [None, 3, "x", [], {}, {"type": None}, {"type": "section", "text": "x"}])
def test_junk_is_objected_to_and_breaks_nothing(junk: Any) -> None:
    assert objections([junk])


def test_length_counts_utf_16_units() -> None:
    assert [length(text) for text in ("", "é", "🔥")] == [0, 1, 2]


def test_a_modal_has_a_title_and_an_input_needs_a_submit() -> None:
    field = {
        "type": "input",
        "label": plain("Note"),
        "element": {"type": "plain_text_input", "action_id": "n"},
    }
    modal = {"type": "modal", "title": plain("Note"), "submit": plain("Save"), "blocks": [field]}
    assert view_objections(modal) == []
    assert view_objections({name: value for name, value in modal.items() if name != "submit"})
    assert view_objections(modal | {"title": plain("x" * 25)})
    assert view_objections(modal | {"private_metadata": "x" * 3001})
