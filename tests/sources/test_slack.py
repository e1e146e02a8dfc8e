"""What Slack sends, as recorded and as Slack's own libraries know it."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlencode

import pytest

from alertbot.domain.events import Unreadable
from alertbot.sources import slack
from alertbot.sources.slack import Press, SlashCommand, Submission


def test_a_published_request_is_read(corpus: Path) -> None:
    rows = json.loads((corpus / "signature_vectors.json").read_text())
    body = next(r["body"] for r in rows if r["provider"] == "slack" and r["valid"])
    typed = slack.command(slack.form(body.encode()))
    assert (typed.command, typed.text, typed.user.id, typed.user.handle) == (
        "/webhook-collect", "", "U2CERLKJA", "roadrunner",
    )  # fmt: skip


def test_the_payloads_of_slacks_own_libraries_are_read(corpus: Path) -> None:
    payloads = corpus / "slack_payloads"
    said = json.loads((payloads / "slackapi+bolt-python__test_block_actions.py__body.json").read_text())
    press = slack.interaction(said)
    assert isinstance(press, Press)
    assert (press.user.handle, press.act, press.value, press.channel, press.ephemeral) == (
        "primary-owner", "a", "click_me_123", "C111", True,
    )  # fmt: skip
    every = json.loads((payloads / "SlashCommandPayload.json").read_text())
    assert isinstance(slack.command(every), SlashCommand)
    # An empty model of every kind of action there is: what stands first is read.
    said = json.loads((payloads / "BlockActionPayload.json").read_text())
    said["type"] = "block_actions"
    assert isinstance(slack.interaction(said), Press)


def test_a_choice_from_a_menu_has_the_choices_value() -> None:
    action = {"type": "static_select", "action_id": "choose", "selected_option": {"value": "HighErrorRate"}}
    press = slack.interaction({"type": "block_actions", "user": {"id": "U1"}, "actions": [action]})
    assert isinstance(press, Press)
    assert press.value == "HighErrorRate"


def test_a_dialogs_inputs_are_read_by_their_blocks() -> None:
    state = {
        "text": {"t": {"type": "plain_text_input", "value": "hello"}},
        "span": {"s": {"type": "radio_buttons", "selected_option": {"value": "1h"}}},
        "empty": {"e": {"type": "plain_text_input", "value": None}},
        "none": {},
    }
    view = {"id": "V1", "callback_id": "note", "private_metadata": "{}", "state": {"values": state}}
    sent = slack.interaction({"type": "view_submission", "user": {"id": "U1", "name": "al"}, "view": view})
    assert isinstance(sent, Submission)
    assert sent.given == {"text": "hello", "span": "1h", "empty": "", "none": ""}


@pytest.mark.parametrize("kind", ["view_closed", "shortcut", "message_action", "block_suggestion", None, 3])
def test_what_alertbot_has_no_use_for_is_nothing(kind: object) -> None:
    assert slack.interaction({"type": kind}) is None
    assert slack.interaction([]) is None


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe=1",  # no UTF-8
        b"&".join(b"a%d=1" % n for n in range(200)),  # more fields than Slack has
        b"text=hello",  # no command, nobody
        b"",
    ],
)
def test_a_form_that_is_no_command_is_refused(body: bytes) -> None:
    with pytest.raises(Unreadable):
        slack.command(slack.form(body))


@pytest.mark.parametrize("text", ["", "{", "[" * 200_000])
def test_a_payload_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        slack.payload(slack.form(urlencode({"payload": text}).encode()))


@pytest.mark.parametrize(
    ("said", "where"),
    [
        ({"type": "block_actions", "user": {"id": "U1"}, "actions": []}, "actions"),
        ({"type": "block_actions", "actions": [{"action_id": "a"}]}, ""),
        ({"type": "block_actions", "user": {"id": 3}, "actions": []}, "user.id"),
        ({"type": "view_submission", "user": {"id": "U1"}}, ""),
    ],
)
def test_an_interaction_that_makes_no_sense_says_where(said: dict[str, object], where: str) -> None:
    with pytest.raises(Unreadable) as refused:
        slack.interaction(said)
    assert refused.value.where == where
