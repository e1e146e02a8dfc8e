"""What people hear of what they do, with the store or Slack away, too late, twice, or not allowed."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from alertbot.commands.desk import NOT_IN_TIME, NOT_STORED, Desk, NotTakenError, offered
from alertbot.commands.once import UNDER_WAY, Once
from alertbot.domain.events import Parsed
from alertbot.notifiers.slack_blocks import ACTS
from alertbot.sources import SOURCES
from alertbot.sources.slack import SlashCommand, Submission, User
from alertbot.store.memory import MemoryStore
from tests.commands.desks import PATIENCE, ADesk, a_desk, body_of, text_of


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
    await it.desk.idle()
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


def another(it: ADesk) -> Desk:
    """The desk of another replica on the same store."""
    return Desk(it.bot, it.desk.terms, it.desk.session, PATIENCE)


async def test_what_slack_sends_again_to_another_replica_is_done_once_too(it: ADesk) -> None:
    incident = await it.fire()
    who = User(it.slack.workspace.user("alice"), "alice")
    dialog = Submission(who, "note", "V1", f'{{"incident": "{incident}", "channel": "C1"}}', {"text": "a dialog"})
    typed = SlashCommand("/incident", who.id, f"note {incident} a command", "alice", "C1", "ops", "", "T1")
    press = it.press("escalate", incident, block=f"{ACTS}7")
    desks = it.desk, another(it)
    answers = [await desk.interaction(dialog, "") for desk in desks]
    assert answers == [None, None], "the dialog closes both times"
    said = [text_of(await desk.command(typed, "")) for desk in desks]
    assert ["done already" in text for text in said] == [False, True]
    await asyncio.gather(*(desk.interaction(press, "") for desk in desks))
    await asyncio.gather(*(desk.idle() for desk in desks))
    taken = Counter(raw.source for raw in it.bot.taken)
    assert (taken["note"], taken["escalate"]) == (2, 1)
    assert it.told().count("Somebody has just done that.") == 1


async def test_what_a_replica_began_that_died_is_not_taken_for_done(it: ADesk) -> None:
    incident = await it.fire()
    who = User(it.slack.workspace.user("alice"), "alice")
    kept = f'{{"incident": "{incident}", "channel": "C1"}}'
    sent = Submission(who, "note", "V1", kept, {"text": "the disk is full"})
    assert await Once(it.bot.store, it.bot.clock).first(sent.view)
    await it.desk.interaction(sent, "")
    assert "note" not in {raw.source for raw in it.bot.taken}, "the other one may be at it"
    it.bot.moved.advance(UNDER_WAY)
    await it.desk.interaction(sent, "")
    assert body_of(it.bot)["text"] == "the disk is full"


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


# What others take: silences and escalations, here by a source that only writes down what came.


def taken(body: bytes, at: datetime) -> Parsed:
    return Parsed((), accepted=1)


@pytest.fixture
async def all_acts() -> AsyncIterator[ADesk]:
    async with a_desk({**SOURCES, "silence": taken, "escalate": taken}) as made:
        yield made


def events(it: ADesk, source: str) -> list[dict[str, Any]]:
    return [json.loads(raw.body) for raw in it.bot.taken if raw.source == source]


async def test_a_silence_is_asked_for_in_a_dialog_with_a_time_of_ones_own(all_acts: ADesk) -> None:
    it, alice = all_acts, User(all_acts.slack.workspace.user("alice"), "alice")
    incident = await it.fire()
    await it.desk.interaction(it.press("silence", incident), "")
    await it.desk.idle()
    (view,) = it.slack.workspace.views
    given = {"span": "custom", "custom": "a while", "comment": ""}
    sent = Submission(alice, "silence", "V1", view["private_metadata"], given)
    assert await it.desk.interaction(sent, "") == {
        "response_action": "errors",
        "errors": {"custom": "As 90m, 4h or 2d."},
    }
    for view_id, span, custom in (("V1", "custom", "90 min"), ("V2", "4h", ""), ("V3", "until resolved", "")):
        given = {"span": span, "custom": custom, "comment": " known "}
        sent = Submission(alice, "silence", view_id, view["private_metadata"], given)
        assert await it.desk.interaction(sent, "") is None
    assert [(e["duration"], e["comment"], e["by"]) for e in events(it, "silence")] == [
        (span, "known", "alice@example.org") for span in ("1h30m", "4h", "")
    ]
    assert "is asked for" in text_of(await it.type("/silence", f"{incident} 2h deploying"))
    assert events(it, "silence")[-1]["duration"] == "2h"


async def test_a_silence_is_listed_and_ended_by_command(it: ADesk) -> None:
    incident = await it.fire()
    assert "Nothing is silenced" in text_of(await it.type("/silence", "list"))
    assert "is not silenced through alertbot" in text_of(await it.type("/silence", "end"))
    assert "is asked for" in text_of(await it.type("/silence", "4h deploying", user="bob"))
    assert "1 silenced through alertbot" in text_of(await it.type("/silence", "LIST"))
    assert text_of(await it.type("/silence", f"#{incident} Off")) == "HighLatency is heard again."
    assert (await it.bot.store.incident(incident)).silence is None  # type: ignore[union-attr]


async def test_two_presses_of_escalate_on_one_card_are_one_step(all_acts: ADesk) -> None:
    it = all_acts
    incident = await it.fire()
    for user in ("alice", "alice", "bob"):
        await it.desk.interaction(it.press("escalate", incident, user=user), "")
    await it.desk.idle()
    assert len(events(it, "escalate")) == 1
    assert it.told() == ["Somebody has just done that."] * 2
    # The card has changed since: whoever presses now means the next step.
    await it.desk.interaction(it.press("escalate", incident, block="acts.2"), "")
    assert len(events(it, "escalate")) == 2


async def test_an_escalation_that_was_not_stored_can_be_pressed_again(all_acts: ADesk) -> None:
    it = all_acts
    incident = await it.fire()
    it.bot.store.away = True
    await it.desk.interaction(it.press("escalate", incident), "")
    it.bot.store.away = False
    await it.desk.interaction(it.press("escalate", incident), "")
    assert len(events(it, "escalate")) == 1


async def test_without_somebody_who_takes_them_they_are_neither_offered_nor_done(it: ADesk) -> None:
    assert offered({"acknowledge", "resolve", "note"}) == {"acknowledge", "resolve", "note", "why", "runbook"}
    incident = await it.fire()
    nobody = {name: parse for name, parse in SOURCES.items() if name not in ("silence", "escalate")}
    async with a_desk(nobody) as without:
        await without.desk.interaction(it.press("silence", incident), "")
        await without.desk.interaction(it.press("escalate", incident), "")
        await without.desk.idle()
        assert without.bot.taken == []
        assert "alertbot has no command /silence" in text_of(await without.type("/silence", "2h"))


async def test_a_dialog_or_button_that_is_not_ours_does_no_harm(it: ADesk) -> None:
    who = User("U1", "x")
    for kept in ("", "{", "[]", '{"incident": 3}'):
        assert await it.desk.interaction(Submission(who, "note", "V", kept, {"text": "x"}), "") is None
    assert await it.desk.interaction(Submission(who, "other", "V", "{}", {}), "") is None
    assert await it.desk.interaction(it.press("acknowledge", ""), "") is None
    assert it.bot.taken == []
