"""What people hear of what they do, with the store or Slack away, too late, twice, or not allowed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from alertbot.commands.desk import NOT_IN_TIME, NOT_STORED, NotTakenError
from alertbot.sources.slack import Submission, User
from alertbot.store.memory import MemoryStore
from tests.commands.desks import ADesk, body_of, text_of


async def test_with_the_store_away_whoever_pressed_is_told_so_alone(it: ADesk) -> None:
    incident = await it.fire()
    it.bot.store.away = True
    assert await it.desk.interaction(it.press("acknowledge", incident), "") is None
    assert it.told() == [NOT_STORED]


async def test_with_the_store_and_slack_away_the_press_itself_is_seen_to_fail(it: ADesk) -> None:
    incident = await it.fire()
    it.bot.store.away = True
    press = it.press("acknowledge", incident, response_url="http://127.0.0.1:1/respond")
    with pytest.raises(NotTakenError):
        await it.desk.interaction(press, "")


async def test_a_command_with_the_store_away_says_so(it: ADesk) -> None:
    incident = await it.fire()
    it.bot.store.away = True
    for text in ("list", f"ack {incident}", "why", incident):
        assert text_of(await it.type("/incident", text)) == NOT_STORED
    assert "/incident ack ID" in text_of(await it.type("/incident", "help"))


async def test_a_dialog_keeps_what_was_written_while_the_store_is_away(it: ADesk) -> None:
    incident = await it.fire()
    who = User(it.slack.workspace.user("alice"), "alice")
    kept = f'{{"incident": "{incident}", "channel": "C1"}}'
    sent = Submission(who, "note", "V1", kept, {"text": "the disk is full"})
    it.bot.store.away = True
    assert await it.desk.interaction(sent, "") == {"response_action": "errors", "errors": {"text": NOT_STORED}}
    it.bot.store.away = False
    assert await it.desk.interaction(sent, "") is None
    assert body_of(it.bot) == {
        "incident": incident, "by": "alice@example.org", "text": "the disk is full", "via": "slack",
    }  # fmt: skip


async def test_a_store_that_hangs_delays_no_answer(it: ADesk) -> None:
    incident = await it.fire()
    stuck = asyncio.Event()
    append = MemoryStore.append

    class Hanging(type(it.bot.store)):  # type: ignore[misc]  # the class of the store that is there
        async def append(self, events: Any) -> Any:
            await stuck.wait()
            return await append(self, events)

    it.bot.store.__class__ = Hanging
    await it.desk.interaction(it.press("acknowledge", incident), "")
    assert it.told() == [NOT_IN_TIME]
    assert "the answer follows" in text_of(await it.type("/incident", f"ack {incident}"))
    stuck.set()
    await it.desk.idle()
    assert it.told()[1:] == ["You acknowledged HighLatency."]


async def test_what_slack_sends_again_is_done_once(it: ADesk) -> None:
    incident = await it.fire()
    who = User(it.slack.workspace.user("alice"), "alice")
    kept = f'{{"incident": "{incident}", "channel": "C1"}}'
    for _ in range(2):
        await it.desk.interaction(Submission(who, "note", "V1", kept, {"text": "once"}), "")
    await it.desk.idle()
    notes = [e for e in (await it.bot.store.entries(incident=incident)).entries if e.reason == "note_added"]
    assert len(notes) == 1


async def test_who_may_not_act_is_told_alone_and_it_is_recorded(it: ADesk) -> None:
    incident = await it.fire()
    it.configure(may_act=frozenset({"bob@example.org"}))
    await it.desk.interaction(it.press("acknowledge", incident), "")
    assert "not among those who may act" in text_of(await it.type("/incident", f"resolve {incident}"))
    await it.desk.interaction(it.press("note", incident), "")
    await it.desk.idle()
    assert len(it.told()) == 2
    assert it.slack.workspace.views == []
    entries = (await it.bot.store.entries(incident=incident)).entries
    refused = [(e.by, e.details["act"]) for e in entries if e.reason == "not_allowed"]
    assert refused == [("alice@example.org", act) for act in ("acknowledge", "resolve", "note")]
    assert (await it.bot.store.incident(incident)).status == "open"  # type: ignore[union-attr]
    # What only looks is everybody's.
    await it.desk.interaction(it.press("why", incident), "")
    await it.desk.idle()
    assert it.told()[-1].startswith("Why? HighLatency")
    await it.desk.interaction(it.press("acknowledge", incident, user="bob"), "")
    await it.desk.idle()
    assert (await it.bot.store.incident(incident)).acknowledged_by == "bob@example.org"  # type: ignore[union-attr]


async def test_a_user_groups_members_may_act_and_are_asked_for_again_after_a_while(it: ADesk) -> None:
    incident = await it.fire()
    groups = it.slack.workspace.groups
    groups["S0ONCALL"] = [it.slack.workspace.user("alice")]
    it.configure(may_act=frozenset({"S0ONCALL"}))
    assert "You acknowledged" in text_of(await it.type("/incident", f"ack {incident}"))
    groups["S0ONCALL"] = []
    assert "is written down" in text_of(await it.type("/incident", f"note {incident} still among them"))
    it.bot.moved.advance(timedelta(minutes=6))
    assert "not among those" in text_of(await it.type("/incident", f"note {incident} and now not"))
    assert len(it.slack.calls("usergroups.users.list")) == 2


async def test_where_slack_does_not_say_who_is_in_a_group_nobody_acts_and_nobody_is_accused(it: ADesk) -> None:
    incident = await it.fire()
    it.configure(may_act=frozenset({"S0ONCALL"}))
    it.slack.faults.add("answer", "usergroups.users.list", status=500)
    assert "Slack does not say" in text_of(await it.type("/incident", f"ack {incident}"))
    assert (await it.bot.store.incident(incident)).status == "open"  # type: ignore[union-attr]


async def test_a_person_is_asked_for_once_an_hour(it: ADesk) -> None:
    await it.fire()
    for _ in range(3):
        await it.type("/incident", "mine")
    it.bot.moved.advance(timedelta(minutes=61))
    await it.type("/incident", "mine")
    assert len(it.slack.calls("users.info")) == 2


async def test_a_dialog_that_slack_does_not_open_in_time_is_said_so(it: ADesk) -> None:
    incident = await it.fire()
    press = it.press("note", incident)
    it.slack.advance(4)
    await it.desk.interaction(press, "")
    await it.desk.idle()
    assert it.told() == ["Slack did not open the dialog in time. Press again."]


async def test_more_than_can_be_answered_is_refused_and_not_queued_without_end(it: ADesk) -> None:
    incident = await it.fire()
    it.desk.most = 0
    with pytest.raises(NotTakenError):
        await it.desk.interaction(it.press("why", incident), "")
    assert "too much to do" in text_of(await it.type("/incident"))


async def test_an_incident_that_is_gone_and_a_button_that_is_not_ours_do_no_harm(it: ADesk) -> None:
    for act in ("why", "runbook", "note", "acknowledge", "escalate", "something else"):
        await it.desk.interaction(it.press(act, "nosuchone1"), "")
    await it.desk.idle()
    assert "There is no incident nosuchone1." in it.told()
    assert all("not there any more" in text or "There is no" in text for text in it.told())
