"""What of a text is alive in Slack."""

from typing import Any

import pytest

from tests.standins.mrkdwn import rendered_mentions, shown, unescaped

ROWS: list[tuple[str, dict[str, Any], list[tuple[str, str]]]] = [
    # the rule, the message, what is alive in it
    ("a broadcast", {"text": "<!channel> look"}, [("broadcast", "channel")]),
    ("a broadcast with words", {"text": "<!here|here>"}, [("broadcast", "here")]),
    ("a user, a group, a channel", {"text": "<@U1> <!subteam^S1> <#C1|x>"},
     [("user", "U1"), ("group", "S1"), ("channel", "C1")]),
    ("a link that says something else", {"text": "<http://evil|https://bank>"}, [("link", "http://evil")]),
    ("what is escaped is dead", {"text": "&lt;!channel&gt; &lt;@U1&gt;"}, []),
    ("a bare @channel is dead", {"text": "@channel @here"}, []),
    ("unless names are linked", {"text": "@channel", "link_names": True}, [("broadcast", "channel")]),
    ("unless all is parsed", {"text": "@here", "parse": "full"}, [("broadcast", "here")]),
    ("angle brackets alone are nothing", {"text": "1 <2> 3 < 4 <no such device>"}, []),
    ("code does not protect", {"text": "`<!channel>`"}, [("broadcast", "channel")]),
    ("plain text is dead",
     {"blocks": [{"type": "header", "text": {"type": "plain_text", "text": "<!here>"}}]}, []),
    ("mrkdwn in a block is alive",
     {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "<!here>"}}]},
     [("broadcast", "here")]),
    ("in a field too",
     {"blocks": [{"type": "section", "fields": [{"type": "mrkdwn", "text": "<@U1>"}]}]}, [("user", "U1")]),
    ("in a button's question too",
     {"blocks": [{"type": "actions", "elements": [
         {"type": "button", "confirm": {"text": {"type": "mrkdwn", "text": "<@U1>"}}}]}]}, [("user", "U1")]),
    ("in an attachment too", {"attachments": [{"text": "<!everyone>"}]}, [("broadcast", "everyone")]),
    ("a rich text's mention is an element",
     {"blocks": [{"type": "rich_text", "elements": [{"type": "rich_text_section", "elements": [
         {"type": "broadcast", "range": "here"}, {"type": "text", "text": "<!channel>"}]}]}]},
     [("broadcast", "here")]),
    ("a link in a markdown block",
     {"blocks": [{"type": "markdown", "text": "[x](https://y) <!channel>"}]},
     [("broadcast", "channel"), ("link", "https://y")]),
]  # fmt: skip


@pytest.mark.parametrize(("message", "alive"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_what_is_alive_in_a_message(message: dict[str, Any], alive: list[tuple[str, str]]) -> None:
    assert [(found.kind, found.target) for found in rendered_mentions(message)] == alive


def test_only_people_groups_and_broadcasts_ping() -> None:
    text = "<!channel> <@U1> <!subteam^S1> <#C1> <https://x|y> <!date^1^{date}|then>"
    assert [found.pings for found in rendered_mentions({"text": text})] == [True] * 3 + [False] * 3


def test_bare_links_are_listed_where_asked_for() -> None:
    message = {"text": "see https://evil.example/x and <https://good|this>"}
    assert [m.kind for m in rendered_mentions(message)] == ["link"]
    assert [m.target for m in rendered_mentions(message, autolinks=True) if m.kind == "autolink"] == [
        "https://evil.example/x"
    ]


def test_a_reader_sees_entities_resolved_and_links_as_their_words() -> None:
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "a &lt; b &amp;lt; <https://x|here>"}}]
    assert shown({"text": "fallback", "blocks": blocks}) == "a < b &lt; here"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a &amp; b &lt;c&gt; <https://x?a&amp;b|y>", 0),
        ("a & b", 1),
        ("an entity cut in two &am", 1),
        ("1 < 2", 1),
        ("2 > 1", 1),
        ("<no such device>", 1),
    ],
)
def test_what_is_not_escaped_is_found(text: str, places: int) -> None:
    assert len(unescaped({"text": text})) == places
