"""People who answer from Slack: buttons, dialogs and commands through the real door."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from alertbot.paths import data_dir
from tests.acceptance.bot import WHOLE_EXAMPLE, Bot
from tests.standins.slack_user import Answer

CHANNEL = "#critical-alerts"
NOTHING = Answer(200, "")


async def fired(bot: Bot, name: str = "Down", **labels: str) -> str:
    """A critical incident with its card; the card's ts."""
    await bot.fire(bot.alert(name, "critical", **labels))
    await bot.advance("1s")
    await bot.heard()
    ts: str = bot.cards(CHANNEL)[-1]["ts"]
    return ts


def card(bot: Bot, ts: str) -> dict[str, Any]:
    return next(m for m in bot.slack.messages(CHANNEL) if m["ts"] == ts)


def buttons(bot: Bot, ts: str) -> list[str]:
    """The words on a card's buttons."""
    return [
        element["text"]["text"]
        for block in card(bot, ts)["blocks"]
        if block["type"] == "actions"
        for element in block["elements"]
    ]


def said(answer: Answer) -> str:
    """All text of a command's answer."""
    assert answer.status == 200
    return "\n".join(block["text"]["text"] for block in answer.body["blocks"] if block["type"] in ("section", "header"))


async def test_an_acknowledgement_in_slack_holds_in_pagerduty_and_on_the_card_with_who_and_when(bot: Bot) -> None:
    ts = await fired(bot)
    assert buttons(bot, ts)[:2] == ["Acknowledge", "Resolve"]
    assert await bot.user().press(CHANNEL, ts, "acknowledge") == NOTHING
    await bot.settle()
    incident = await bot.incident("Down")
    assert (incident["status"], incident["acknowledged_by"]) == ("acknowledged", "alice@example.org")
    assert await bot.heard() == [
        "pagerduty acknowledge Down",
        "slack #critical-alerts edit Down",
        "slack #critical-alerts news Down",
    ]
    assert "Acknowledged by alice@example.org at 2026-01-05 10:00 UTC" in str(card(bot, ts)["blocks"])
    assert "Acknowledge" not in buttons(bot, ts)
    assert "Resolve" in buttons(bot, ts)
    assert bot.told() == []
    await bot.advance("1h")
    assert [line for line in await bot.heard() if "remind" in line] == []


async def test_a_double_click_is_one_act_and_disturbs_nobody(bot: Bot) -> None:
    ts = await fired(bot)
    given = await bot.user().interaction(CHANNEL, ts)
    button = {"action_id": "acknowledge", "value": (await bot.incident("Down"))["id"], "type": "button"}
    answers = await asyncio.gather(*(bot.user().send_press(given, button | {"style": s}, ts) for s in "ab"))
    assert answers == [NOTHING, NOTHING]
    await bot.settle()
    assert await bot.reasons("Down", "person") == ["acknowledged", "already_acknowledged"]
    assert (await bot.heard()).count("pagerduty acknowledge Down") == 1
    assert bot.told() == []


async def test_of_two_people_at_once_one_has_it_and_the_other_is_told_who(bot: Bot) -> None:
    ts = await fired(bot)
    presses = [await bot.user(name).press(CHANNEL, ts, "acknowledge") for name in ("alice", "bob")]
    assert presses == [NOTHING, NOTHING]
    await bot.settle()
    assert (await bot.incident("Down"))["acknowledged_by"] == "alice@example.org"
    (told,) = bot.told()
    assert told == "Down (prod): alice@example.org acknowledged it just now."


async def test_a_press_on_a_card_as_it_was_says_what_happened_meanwhile(bot: Bot) -> None:
    down = bot.alert("Down")
    await bot.fire(down)
    (shown,) = bot.cards(CHANNEL)
    stale = await bot.user().interaction(CHANNEL, shown["ts"])
    button = {"action_id": "acknowledge", "value": (await bot.incident("Down"))["id"], "type": "button"}
    await bot.end(down)
    await bot.advance("5m")
    await bot.user().send_press(stale, button, shown["ts"])
    await bot.settle()
    assert bot.told() == ["Down (prod): it was over 4 min ago."]
    assert (await bot.incident("Down"))["status"] == "resolved"


async def test_a_note_is_asked_for_in_a_dialog_and_stands_in_the_thread(bot: Bot) -> None:
    ts = await fired(bot)
    alice = bot.user()
    await alice.press(CHANNEL, ts, "note")
    await bot.app.desk.idle()
    (view,) = bot.slack.workspace.views
    empty = await alice.submit(view, {"text": {"text": {"type": "plain_text_input", "value": "  "}}})
    assert empty.body["response_action"] == "errors"
    text = "Disk of db-1 is full <!channel> *bold* & more"
    given = {"text": {"text": {"type": "plain_text_input", "value": text}}}
    assert await alice.submit(view, given) == NOTHING
    assert await alice.submit(view, given) == NOTHING  # sent again: it is the same note
    await bot.settle()
    notes = [m for m in bot.slack.messages(CHANNEL) if "Note by" in str(m.get("blocks"))]
    assert len(notes) == 1
    assert bot.slack.workspace.views == [view]
    assert "mrkdwn" not in str(notes[0]["blocks"])
    assert "<!channel>" not in notes[0]["text"]


async def test_why_and_runbook_are_shown_to_whoever_asks(bot: Bot) -> None:
    ts = await fired(bot, "AlertbotDestinationDown")
    await bot.user().press(CHANNEL, ts, "why")
    await bot.user().press(CHANNEL, ts, "runbook")
    await bot.app.desk.idle()
    why, runbook = bot.told()
    assert why.startswith("Why? AlertbotDestinationDown (prod): it is open for 1 s, and nobody has it.")
    assert "the alert fires; the route" in why
    assert runbook.startswith("The runbook for AlertbotDestinationDown (prod)")
    assert await bot.heard() == []


async def test_what_is_resolved_in_slack_is_closed_everywhere(bot: Bot) -> None:
    ts = await fired(bot)
    await bot.user("bob").press(CHANNEL, ts, "resolve")
    await bot.settle()
    assert bot.pagerduty.open() == []
    assert (await bot.incident("Down"))["status"] == "resolved"
    assert buttons(bot, ts) == ["Why?", "Note"]


async def test_forged_old_and_repeated_requests_are_refused_and_counted(bot: Bot) -> None:
    ts = await fired(bot)
    alice = bot.user()
    alice.secret = "another secret"
    assert (await alice.press(CHANNEL, ts, "acknowledge")).status == 401
    alice = bot.user()
    alice.clock = lambda: bot.now.timestamp() - 301
    assert (await alice.press(CHANNEL, ts, "acknowledge")).status == 401
    alice = bot.user()
    form = {"command": "/incident", "user_id": "U1", "text": "list"}
    assert (await alice.send("/slack/commands", form)).status == 200
    assert (await alice.send("/slack/commands", form)).status == 401
    assert (await bot.incident("Down"))["status"] == "open"
    assert await bot.metric("alertbot_requests_refused_total", source="slack", code="401") == 3


async def test_a_request_that_is_signed_and_makes_no_sense_is_a_400(bot: Bot) -> None:
    alice = bot.user()
    for path, form in (
        ("/slack/commands", {"text": "no command"}),
        ("/slack/interactions", {"payload": "{"}),
        ("/slack/interactions", {"payload": '{"type": "block_actions", "actions": []}'}),
    ):
        assert (await alice.send(path, form)).status == 400


async def test_with_slack_away_an_acknowledgement_counts_all_the_same(bot: Bot) -> None:
    ts = await fired(bot)
    given = await bot.user().interaction(CHANNEL, ts)
    button = {"action_id": "acknowledge", "value": (await bot.incident("Down"))["id"], "type": "button"}
    bot.slack.faults.add("answer", "users.info", status=500, times=99)
    await bot.user().send_press(given, button, ts)
    await bot.settle()
    assert (await bot.incident("Down"))["acknowledged_by"] == "alice"


async def test_an_incident_is_listed_acknowledged_given_and_resolved_by_command(bot: Bot) -> None:
    await fired(bot)
    alice = bot.user()
    incident = (await bot.incident("Down"))["id"]
    assert "Down (prod)" in said(await alice.slash("/incident", "LIST", channel=CHANNEL))
    assert said(await alice.slash("/incident", f"ack “#{incident.upper()}”")) == "You acknowledged Down (prod)."
    assert "Down (prod)" in said(await alice.slash("/incident", "mine"))
    bob = f"<@{bot.slack.workspace.user('bob')}|bob>"
    assert said(await alice.slash("/incident", f"assign {bob}", channel=CHANNEL)) == (
        "Down (prod) is with bob@example.org now."
    )
    assert said(await alice.slash("/incident", "mine")).startswith("You have no incident.")
    assert "bob@example.org" in said(await alice.slash("/incident", "show down", channel=CHANNEL))
    done = said(await alice.slash("/incident", f"note {incident} it's “fine” <!here>", channel=CHANNEL))
    assert done == "Your note on Down (prod) is written down."
    assert 'note by alice@example.org: it\'s "fine" <!here>' in said(await alice.slash("/incident", f"why {incident}"))
    assert said(await alice.slash("/incident", "resolve", channel=CHANNEL)).startswith("You resolved Down (prod).")
    assert said(await alice.slash("/incident", f"ack {incident}")) == ("Down (prod): you resolved it just now.")
    await bot.settle()
    assert bot.pagerduty.open() == []


async def test_a_mistyped_command_is_told_what_was_meant_and_does_nothing(bot: Bot) -> None:
    await fired(bot)
    alice = bot.user()
    assert "Did you mean: /incident resolve" in said(await alice.slash("/incident", "reslove", channel=CHANNEL))
    assert "/incident ack ID" in said(await alice.slash("/incident", "xyzzy"))
    assert "/incident ack ID" in said(await alice.slash("/incident", "Help"))
    assert "It has /incident" in said(await alice.slash("/incidents"))
    assert (await bot.incident("Down"))["status"] == "open"


async def test_a_runbook_is_found_chosen_and_shown_to_the_channel_once(bot: Bot) -> None:
    bot.write_config(bot.config.replace("path: runbooks/", f"path: {data_dir('runbooks')}"))
    await bot.app.reload()
    alice = bot.user()
    answer = await alice.slash("/runbook", "hihg eror rate", channel="#ops-alerts")
    assert answer.body["response_type"] == "ephemeral"
    assert "1. " in said(answer)
    assert "nearest by name" in said(await alice.slash("/runbook", "zzzzqqqq"))
    assert "Nothing is open in this channel" in said(await alice.slash("/runbook", ""))
    menu = next(b for b in answer.body["blocks"] if "static_select" in str(b))["elements"][0]
    assert menu["options"]
    button = {"action_id": "share", "value": "HighErrorRate", "type": "button"}
    given = await alice.interaction("#ops-alerts", (await posted(bot))["ts"])
    for style in "ab":
        await alice.send_press(given, button | {"style": style}, "1.1")
    await bot.app.desk.idle()
    shared = [m for m in bot.slack.messages("#ops-alerts") if "shows a runbook" in str(m.get("blocks"))]
    assert len(shared) == 1
    assert "action_id" not in str(shared)


async def posted(bot: Bot) -> dict[str, Any]:
    """A message that stands in #ops-alerts, for presses to come from."""
    channel = bot.slack.workspace.find("#ops-alerts")
    assert channel is not None
    return bot.slack.workspace.post(channel, {"text": "hello"})


async def test_over_socket_mode_the_same_happens_without_a_public_address(tmp_path: Path) -> None:
    async with Bot(tmp_path) as bot:
        bot.write_config(bot.config, head={"slack_signing_secret: ${SLACK_SIGNING_SECRET}": SOCKET})
        await bot.app.reload()
        await bot.slack.sockets.until(connected=1)
        ts = await fired(bot)
        alice = bot.socket_user()
        assert "Down (prod)" in said(await alice.slash("/incident", "list"))
        assert await alice.press(CHANNEL, ts, "acknowledge") == NOTHING
        await bot.settle()
        assert (await bot.incident("Down"))["acknowledged_by"] == "alice@example.org"
        await alice.press(CHANNEL, ts, "note")
        await bot.app.desk.idle()
        (view,) = bot.slack.workspace.views
        note = {"text": {"text": {"type": "plain_text_input", "value": "looking"}}}
        assert await alice.submit(view, note) == NOTHING
        assert await bot.metric("alertbot_slack_socket_up") == 1
        # Without a signing secret nothing that comes over HTTP is genuine.
        assert (await bot.user().slash("/incident")).status == 401


SOCKET = "slack_app_token: ${SLACK_APP_TOKEN}"


async def test_a_full_evening(bot: Bot) -> None:
    """Fires, is acknowledged, gets worse, is silenced, is over: each told once wherever it has to be."""
    first = bot.alert("Down", host="db-1")
    await bot.fire(first)
    await bot.advance("1s")
    (shown,) = bot.cards(CHANNEL)
    alice, bob = bot.user("alice"), bot.user("bob")
    await alice.press(CHANNEL, shown["ts"], "acknowledge")
    await bot.advance("1m")
    key = (await bot.incident("Down"))["id"]
    assert [(i.dedup_key, i.status) for i in bot.pagerduty.incidents] == [(key, "acknowledged")]
    await bot.heard()
    second = bot.alert("Down", host="db-2")
    await bot.fire(second)
    assert [line for line in await bot.heard() if line.startswith("pagerduty")] == [
        "pagerduty resolve Down",
        "pagerduty trigger Down.2",
    ]
    assert "Acknowledge" in buttons(bot, shown["ts"])
    await bob.press(CHANNEL, shown["ts"], "silence")
    await bot.settle()
    (view,) = bot.slack.workspace.views
    hour: dict[str, dict[str, Any]] = {
        "span": {"span": {"type": "radio_buttons", "selected_option": {"value": "1h"}}},
        "custom": {"custom": {"type": "plain_text_input", "value": None}},
        "comment": {"comment": {"type": "plain_text_input", "value": "replacing the disks"}},
    }
    assert await bob.submit(view, hour) == NOTHING
    await bot.advance("1m")
    silenced = "Silenced by bob@example.org until 2026-01-05 11:01 UTC: replacing the disks"
    assert silenced in str(card(bot, shown["ts"])["blocks"])
    # Nobody has it, so it can still be taken.
    assert "Acknowledge" in buttons(bot, shown["ts"])
    await bot.heard()
    await bot.advance("30m")
    assert [line for line in await bot.heard() if not line.endswith("edit Down")] == []
    await bot.end(first, second)
    await bot.advance("1m")
    assert bot.pagerduty.open() == []
    assert (await bot.incident("Down"))["status"] == "resolved"
    assert buttons(bot, shown["ts"]) == ["Why?", "Note"]
    assert bot.told() == []


async def test_escalate_brings_in_the_next_receiver_at_once_and_only_once(
    tmp_path: Path, new_store: Callable[[], str]
) -> None:
    async with Bot(tmp_path, WHOLE_EXAMPLE, store_url=new_store()) as bot:
        ts = await fired(bot)
        given = await bot.user().interaction(CHANNEL, ts)
        (block,) = [b for b in given["message"]["blocks"] if b["type"] == "actions"]
        (button,) = [e for e in block["elements"] if e["action_id"] == "escalate"]
        for name in ("alice", "bob"):
            await bot.user(name).send_press(given, button | {"block_id": block["block_id"]}, ts)
        await bot.settle()
        assert (await bot.reasons("Down", "person")).count("escalated") == 1
        assert [line for line in await bot.heard() if "#ops-alerts" in line] == ["slack #ops-alerts card Down"]
        assert bot.told() == ["Somebody has just done that."]


async def test_escalating_where_there_is_no_further_step_says_so(bot: Bot) -> None:
    ts = await fired(bot)
    await bot.user().press(CHANNEL, ts, "escalate")
    await bot.settle()
    (told,) = bot.told()
    assert told == "Down (prod): alice@example.org wanted to escalate, but its route has no escalation policy."
