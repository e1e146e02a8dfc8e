"""One card an incident and channel, whatever Slack answers or fails to answer: against its own rules."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest

from alertbot.clock import MovableClock
from alertbot.domain.budgets import SLACK_POSTS, SLACK_UPDATES, Rate
from alertbot.domain.model import (
    Action,
    Alert,
    AlertStatus,
    Delivery,
    Entry,
    Incident,
    IncidentStatus,
    Level,
    Want,
)
from alertbot.domain.reasons import Reason
from alertbot.limiter import StoredLimiter
from alertbot.notifiers.base import DryRun, Failed, Job, Later, Links, Result, Retry, Sent
from alertbot.notifiers.slack import LOOKS, SlackNotifier
from alertbot.notifiers.slack_api import KNOWN, Kind, classify
from alertbot.store.memory import MemoryStore
from tests.notifiers.jobs import NOW
from tests.sources.recorded import CORPUS
from tests.standins.slack import SlackStandin

TOKEN = "xoxb-stand-in"
CHANNEL = "#ops-alerts"

#: A budget that a test does not use up.
MANY = Rate(500, timedelta(seconds=1))


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandin]:
    async with SlackStandin(limited=False) as standin:
        if standin.workspace.find(CHANNEL) is None:
            standin.workspace.add_channel(CHANNEL)
        yield standin


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
def notifier(slack: SlackStandin, session: aiohttp.ClientSession) -> SlackNotifier:
    return make(slack, session)


def make(slack: SlackStandin, session: aiohttp.ClientSession, channel: str = CHANNEL, **more: Any) -> SlackNotifier:
    return SlackNotifier(TOKEN, channel, session=session, base_url=slack.api_url, **more)


class Card:
    """One delivery over time, as the outbox keeps it: what was remembered, and whether it is certain."""

    def __init__(
        self, notifier: SlackNotifier, kind: str = "incident", incident: str = "i1", card: Card | None = None
    ) -> None:
        self.notifier = notifier
        self.card = card
        self.kind = kind
        self.incident = incident
        self.start = datetime.now(UTC)
        self.remote: dict[str, str] = {}
        self.uncertain = False
        self.attempts = 0
        self.sent_at: datetime | None = None

    def at(self, revision: int) -> datetime:
        return self.start + timedelta(milliseconds=revision)

    def job(
        self,
        action: Action = Action.OPEN,
        revision: int = 1,
        status: IncidentStatus = IncidentStatus.OPEN,
        news: Sequence[Entry] = (),
        **known: Any,
    ) -> Job:
        now = self.at(revision)
        level = Level(status, 1, revision, revision)
        to = self.notifier.channel
        lane = f"slack:{to}"
        want = Want(self.incident, "ops", "slack", to, lane, level, Reason.FIRST_NOTIFICATION, now, 0, self.kind)
        delivery = Delivery(
            want.id,
            want,
            attempts=self.attempts,
            uncertain=self.uncertain,
            remote=dict(self.remote),
            created_at=self.start,
            sent_at=self.sent_at,
        )
        alert = Alert(
            incident=self.incident,
            identity="a1",
            fingerprint="a1",
            labels={"alertname": "HighErrorRate", "service": "api"},
            annotations={"summary": "5 % of requests fail"},
            severity="critical",
            status=AlertStatus.FIRING,
            starts_at=self.start,
            changed_at=self.start,
            seen_at=self.start,
        )
        base = Incident(
            id=self.incident,
            key="{}:{}",
            route="{}",
            receiver="ops",
            labels={"service": "api"},
            title=f"HighErrorRate (api), revision {revision}",
            severity="critical",
            status=status,
            created_at=self.start,
            opened_at=self.start,
            openings=1,
            revision=revision,
            firing=1,
        )
        incident = replace(base, **known)
        return Job(
            delivery,
            action,
            incident,
            (alert,),
            news,
            Links(),
            ("critical", "high"),
            now,
            dict(self.card.remote) if self.card else {},
        )

    def keep(self, result: Result) -> None:
        """Writes an outcome down as the outbox does."""
        match result:
            case Sent():
                self.remote, self.uncertain, self.attempts = dict(result.remote), False, 0
                self.sent_at = datetime.now(UTC)
            case Retry():
                self.remote |= result.remote or {}
                self.uncertain = self.uncertain or result.uncertain
                self.attempts += 1
            case Later():
                self.remote |= result.remote or {}
                self.uncertain = self.uncertain or result.uncertain
            case _:
                pass

    async def deliver(self, action: Action = Action.OPEN, revision: int = 1, **more: Any) -> Result:
        result = await self.notifier.deliver(self.job(action, revision, **more))
        self.keep(result)
        return result

    async def lost(self, action: Action = Action.OPEN, revision: int = 1, **more: Any) -> None:
        """An attempt of whose outcome nothing is written: the process was killed in it or right after."""
        await self.notifier.deliver(self.job(action, revision, **more))
        self.uncertain = True

    def entry(self, reason: Reason, revision: int, kind: str = "alert", **more: Any) -> Entry:
        return Entry(self.at(revision), kind, reason, self.incident, **more)


def sent(result: Result) -> Sent:
    assert isinstance(result, Sent), result
    return result


def retry(result: Result) -> Retry:
    assert isinstance(result, Retry), result
    return result


def failed(result: Result) -> Failed:
    assert isinstance(result, Failed), result
    return result


def cards(slack: SlackStandin, channel: str = CHANNEL) -> list[dict[str, Any]]:
    return [m for m in slack.messages(channel) if kind_of(m) == "card"]


def replies(slack: SlackStandin, channel: str = CHANNEL) -> list[dict[str, Any]]:
    return [m for m in slack.messages(channel) if kind_of(m) in ("news", "remind")]


def kind_of(message: dict[str, Any]) -> str:
    return str(message.get("metadata", {}).get("event_payload", {}).get("kind", ""))


# The card.


async def test_a_card_is_posted_once_with_the_incidents_id_and_then_edited_in_place(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    first = sent(await card.deliver())
    assert first.remote["channel"] == slack.workspace.find(CHANNEL).id  # type: ignore[union-attr]  # it is there
    sent(await card.deliver(Action.UPDATE, 2))
    sent(await card.deliver(Action.ACKNOWLEDGE, 3, status=IncidentStatus.ACKNOWLEDGED, acknowledged_by="ada"))
    [message] = slack.messages(CHANNEL)
    assert message["ts"] == first.remote["ts"] == card.remote["ts"]
    assert message["text"] == "[CRITICAL] HighErrorRate (api), revision 3 (1 firing)"
    assert "acknowledged" in message["blocks"][0]["text"]["text"]
    assert message["metadata"]["event_type"] == "alertbot_incident"
    assert message["metadata"]["event_payload"]["incident"] == "i1"


async def test_an_update_names_the_channel_by_its_id_and_carries_text_and_blocks(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    await card.deliver()
    await card.deliver(Action.UPDATE, 2)
    [update] = slack.calls("chat.update")
    assert update.params["channel"] == card.remote["channel"] != CHANNEL
    assert update.params["ts"] == card.remote["ts"]
    assert update.params["text"]
    assert update.params["blocks"]
    assert (update.params["parse"], update.params["link_names"]) == ("none", False)


async def test_nothing_is_posted_of_an_incident_that_closed_before_anybody_was_told(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    card.uncertain = True
    sent(await card.deliver(Action.RESOLVE, 2, status=IncidentStatus.RESOLVED))
    assert slack.messages(CHANNEL) == []


async def test_without_a_token_nothing_is_sent_and_it_says_what_would_have_been() -> None:
    dry = SlackNotifier(None, CHANNEL)
    assert dry.dry == "slack_bot_token"
    result = await dry.deliver(Card(dry).job())
    assert result == DryRun("#ops-alerts: [CRITICAL] HighErrorRate (api), revision 1 (1 firing)")


# Never twice.


async def test_a_crash_between_slacks_answer_and_our_record_leaves_one_card(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    await card.lost()
    assert len(cards(slack)) == 1
    sent(await card.deliver(Action.OPEN, 2))
    [message] = cards(slack)
    assert card.remote["ts"] == message["ts"]
    assert "revision 2" in message["text"], "the card that was found is brought up to date"


@pytest.mark.parametrize("fault", ["done_close", "done_hang", "close", "hang"])
async def test_a_post_whose_answer_never_came_is_there_exactly_once_in_the_end(
    slack: SlackStandin, session: aiohttp.ClientSession, fault: Any
) -> None:
    card = Card(make(slack, session, timeout=0.3))
    slack.faults.add(fault, "chat.postMessage")
    result = retry(await card.deliver())
    assert result.uncertain
    assert result.after == timedelta(seconds=5)
    slack.faults.release()
    sent(await card.deliver())
    assert len(cards(slack)) == 1


async def test_a_new_process_that_knows_the_channel_by_name_only_finds_the_card_among_many_pages(
    slack: SlackStandin, session: aiohttp.ClientSession
) -> None:
    for number in range(1200):
        slack.workspace.add_channel(f"other-{number}")
    channel = slack.workspace.add_channel("#late")
    card = Card(make(slack, session, channel.name))
    await card.lost()
    for number in range(450):
        slack.workspace.say(channel.id, "U0SOMEBODY", f"chatter {number}")
    other = Card(make(slack, session, channel.name), incident="i2")
    await other.deliver()
    card.notifier = make(slack, session, channel.name)
    sent(await card.deliver())
    assert [m["metadata"]["event_payload"]["incident"] for m in cards(slack, "late")] == ["i1", "i2"]
    assert len(slack.calls("conversations.list")) > 1
    assert len(slack.calls("conversations.history")) > 1


async def test_when_nothing_arrived_the_card_is_posted(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    card.uncertain = True
    sent(await card.deliver())
    assert len(cards(slack)) == 1


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, "away"), (200, {"ok": False, "error": "service_unavailable"}), (200, "[]"), (200, "<html>")],
)
async def test_while_the_look_fails_for_the_moment_nothing_is_posted_however_often_it_was_tried(
    slack: SlackStandin, notifier: SlackNotifier, status: int, body: Any
) -> None:
    card = Card(notifier)
    await card.lost()
    slack.faults.add("answer", "conversations.history", status=status, body=body, times=None)
    card.attempts = 3 * LOOKS
    result = retry(await card.deliver())
    assert result.uncertain
    assert len(slack.calls("chat.postMessage")) == 1


@pytest.mark.parametrize("method", ["conversations.list", "conversations.history"])
async def test_a_look_that_slack_puts_off_is_no_failure_and_holds_back_what_is_to_be_posted_there(
    slack: SlackStandin, session: aiohttp.ClientSession, method: str
) -> None:
    clock = MovableClock(NOW)
    limiter = StoredLimiter(MemoryStore(), clock)
    card = Card(make(slack, session, CHANNEL, limiter=limiter))
    await card.lost()
    card.notifier = make(slack, session, CHANNEL, limiter=limiter)
    limited = {"ok": False, "error": "ratelimited"}
    slack.faults.add("answer", method, status=429, headers={"Retry-After": "17"}, body=limited, times=None)
    result = await card.deliver()
    assert isinstance(result, Later)
    assert (result.until, result.lane, result.uncertain) == (NOW + timedelta(seconds=17), True, True)
    assert len(slack.calls("chat.postMessage")) == 1


async def test_where_the_bot_may_not_read_the_channel_it_says_which_scope_and_posts_only_after_some_attempts(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    slack.scopes.discard("channels:history")
    card = Card(notifier)
    card.uncertain = True
    for _ in range(LOOKS):
        result = retry(await card.deliver())
        assert "channels:history" in result.error
    assert slack.messages(CHANNEL) == []
    sent(await card.deliver())
    [message] = cards(slack)
    assert "This may be a second card" in json.dumps(message["blocks"])


async def test_another_apps_message_with_our_metadata_for_another_delivery_is_not_taken_for_the_card(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    channel = slack.workspace.find(CHANNEL)
    assert channel is not None
    for payload in (
        {"incident": "i1"},
        {"incident": "i1", "kind": "card", "delivery": "x"},
        {"kind": "card"},
        {},
    ):
        content = {"text": "x", "metadata": {"event_type": "alertbot_incident", "event_payload": payload}}
        slack.workspace.post(channel, content)
    card.uncertain = True
    sent(await card.deliver())
    assert len(slack.calls("chat.postMessage")) == 1


# A card that cannot be edited.


async def test_a_deleted_card_is_replaced_by_one_that_works(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    first = sent(await card.deliver())
    slack.workspace.find(CHANNEL).messages.clear()  # type: ignore[union-attr]  # it is there
    second = sent(await card.deliver(Action.UPDATE, 2))
    assert second.remote["ts"] != first.remote["ts"]
    sent(await card.deliver(Action.UPDATE, 3))
    [message] = cards(slack)
    assert "revision 3" in message["text"]


@pytest.mark.parametrize(
    "error",
    ["message_not_found", "cant_update_message", "edit_window_closed", "is_inactive", "block_mismatch"],
)
async def test_what_slack_will_not_edit_is_posted_anew_once_an_attempt(
    slack: SlackStandin, notifier: SlackNotifier, error: str
) -> None:
    card = Card(notifier)
    await card.deliver()
    slack.faults.add("answer", "chat.update", status=200, body={"ok": False, "error": error}, times=None)
    sent(await card.deliver(Action.UPDATE, 2))
    assert len(cards(slack)) == 2
    assert card.remote["ts"] == cards(slack)[-1]["ts"]


async def test_a_replacement_that_was_lost_is_found_again(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    await card.deliver()
    old = card.remote["ts"]
    body = {"ok": False, "error": "edit_window_closed"}
    slack.faults.add("answer", "chat.update", status=200, body=body, times=None, match={"ts": old})
    await card.lost(Action.UPDATE, 2)
    sent(await card.deliver(Action.UPDATE, 2))
    assert [m["ts"] for m in cards(slack)] == [old, card.remote["ts"]]


# The thread.


async def test_what_changed_is_one_reply_in_the_cards_thread(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    await card.deliver(news=[card.entry(Reason.NEW_EPISODE, 1, labels={"pod": "p0"})])
    assert replies(slack) == [], "the first card says it all"
    news = [
        card.entry(Reason.NEW_EPISODE, 2, labels={"pod": "p1"}),
        card.entry(Reason.ACKNOWLEDGED, 2, by="ada"),
    ]
    sent(await card.deliver(Action.UPDATE, 2, news=news))
    [reply] = replies(slack)
    assert reply["thread_ts"] == card.remote["ts"]
    assert "subtype" not in reply
    said = reply["blocks"][0]["text"]["text"]
    assert said == "🔥 Fires: pod=p1\n👀 Acknowledged by ada."


async def test_a_reopening_is_a_reply_that_the_channel_sees(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    await card.deliver()
    sent(await card.deliver(Action.REOPEN, 2))
    assert [m.get("subtype") for m in replies(slack)] == ["thread_broadcast"]
    assert len(cards(slack)) == 1


async def test_a_reply_that_was_lost_is_not_posted_again(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    await card.deliver()
    news = [card.entry(Reason.NEW_EPISODE, 2, labels={"pod": "p1"})]
    await card.lost(Action.UPDATE, 2, news=news)
    sent(await card.deliver(Action.UPDATE, 2, news=news))
    assert len(replies(slack)) == 1


async def test_after_a_lost_reply_the_next_tells_only_what_came_since(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    await card.deliver()
    slack.faults.add("done_close", "chat.postMessage")
    first = card.entry(Reason.NEW_EPISODE, 2, labels={"pod": "p1"})
    result = retry(await card.deliver(Action.UPDATE, 2, news=[first]))
    assert result.uncertain
    second = card.entry(Reason.NEW_EPISODE, 3, labels={"pod": "p2"})
    sent(await card.deliver(Action.UPDATE, 3, news=[first, second]))
    assert [m["blocks"][0]["text"]["text"] for m in replies(slack)] == [
        "🔥 Fires: pod=p1",
        "🔥 Fires: pod=p2",
    ]


async def test_a_card_that_is_up_to_date_while_its_reply_fails_is_remembered_and_the_reply_comes_later(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    clock = MovableClock(NOW)
    notifier.limiter = StoredLimiter(MemoryStore(), clock, {SLACK_POSTS: MANY, SLACK_UPDATES: MANY})
    card = Card(notifier)
    await card.deliver()
    body = {"ok": False, "error": "ratelimited"}
    slack.faults.add("answer", "chat.postMessage", status=429, headers={"Retry-After": "3"}, body=body)
    news = [card.entry(Reason.NEW_EPISODE, 2, labels={"pod": "p1"})]
    result = await card.deliver(Action.UPDATE, 2, news=news)
    assert isinstance(result, Later)
    assert (result.until, result.lane, result.uncertain) == (NOW + timedelta(seconds=3), True, False)
    assert "ratelimited" in result.error
    assert "revision 2" in cards(slack)[0]["text"]
    assert isinstance(await card.deliver(Action.UPDATE, 2, news=news), Later), "three seconds have not passed"
    clock.advance(timedelta(seconds=3))
    sent(await card.deliver(Action.UPDATE, 2, news=news))
    assert len(replies(slack)) == 1
    assert len(slack.calls("chat.update")) == 1, "the card is edited once"


@pytest.mark.parametrize(("action", "in_channel"), [(Action.UPDATE, 0), (Action.REOPEN, 1)])
async def test_where_the_thread_is_locked_only_what_people_must_see_goes_into_the_channel(
    slack: SlackStandin, notifier: SlackNotifier, action: Action, in_channel: int
) -> None:
    card = Card(notifier)
    await card.deliver()
    body = {"ok": False, "error": "restricted_action_thread_locked"}
    threaded = {"thread_ts": card.remote["ts"]}
    slack.faults.add("answer", "chat.postMessage", status=200, body=body, times=None, match=threaded)
    news = [card.entry(Reason.NEW_EPISODE, 2, labels={"pod": "p1"})]
    sent(await card.deliver(action, 2, news=news))
    assert len(replies(slack)) == in_channel
    assert len(cards(slack)) == 1


# Reminders.


async def test_a_reminder_is_a_reply_to_the_card_that_the_channel_sees(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    reminder = Card(notifier, "remind", card=card)
    await card.deliver()
    for number in (1, 2):
        sent(await reminder.deliver(Action.REMIND, number))
    assert [(m["thread_ts"], m["subtype"]) for m in replies(slack)] == [(card.remote["ts"], "thread_broadcast")] * 2
    assert slack.calls("conversations.history") == []


async def test_a_reminder_that_was_lost_is_not_sent_again_and_the_next_one_is(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    reminder = Card(notifier, "remind", card=card)
    await card.deliver()
    await reminder.lost(Action.REMIND, 1)
    sent(await reminder.deliver(Action.REMIND, 1))
    assert len(replies(slack)) == 1
    reminder.uncertain = True
    sent(await reminder.deliver(Action.REMIND, 2))
    assert len(replies(slack)) == 2


async def test_a_reminder_without_a_card_is_a_message_by_itself(slack: SlackStandin, notifier: SlackNotifier) -> None:
    card = Card(notifier)
    reminder = Card(notifier, "remind", card=card)
    await card.deliver()
    slack.workspace.find(CHANNEL).messages.clear()  # type: ignore[union-attr]  # it is there
    sent(await reminder.deliver(Action.REMIND, 1))
    [message] = slack.messages(CHANNEL)
    assert "thread_ts" not in message
    await reminder.lost(Action.REMIND, 2)
    sent(await reminder.deliver(Action.REMIND, 2))
    assert len(slack.messages(CHANNEL)) == 2


# What Slack answers.


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        ("ratelimited", Retry, "ratelimited"),
        ("rate_limited", Retry, "rate_limited"),
        ("service_unavailable", Retry, "service_unavailable"),
        ("fatal_error", Retry, "fatal_error"),
        ("team_added_to_org", Retry, "team_added_to_org"),
        ("some_word_of_next_year", Retry, "some_word_of_next_year"),
        ("channel_not_found", Failed, "invite the bot"),
        ("is_archived", Failed, "unarchive"),
        ("restricted_action", Failed, "administrators"),
        ("restricted_action_read_only_channel", Failed, "administrators"),
        ("invalid_auth", Failed, "slack_bot_token"),
        ("token_revoked", Failed, "slack_bot_token"),
        ("account_inactive", Failed, "slack_bot_token"),
        ("missing_scope", Failed, "chat:write"),
        ("slack_connect_file_link_sharing_blocked", Failed, "slack_connect"),
    ],
)
async def test_each_error_of_slack_is_retried_or_fails_with_its_own_word_and_what_to_do(
    slack: SlackStandin, notifier: SlackNotifier, error: str, kind: type, words: str
) -> None:
    body = {"ok": False, "error": error, "needed": "chat:write", "provided": "im:write"}
    slack.faults.add("answer", "chat.postMessage", status=200, body=body, times=None)
    result = await Card(notifier).deliver()
    assert isinstance(result, kind), result
    assert isinstance(result, Retry | Failed)
    assert error in result.error
    assert words in result.error
    assert TOKEN not in result.error
    if isinstance(result, Retry):
        assert result.uncertain == (error == "fatal_error"), "of that one Slack says that part of it may be done"


DOCUMENTED = [
    (method, error)
    for method in ("chat.postMessage", "chat.update")
    for file in [CORPUS / "slack_method_errors" / f"{method}.json"]
    if file.exists()
    for error in json.loads(file.read_text())["errors"]
]
#: Errors of arguments that we never give, or of files, drafts and contact cards.
NOT_OURS = ("draft_", "file_", "duplicate_", "missing_file", "max_file", "blocked_file", "unable_to_share")


@pytest.mark.skipif(not DOCUMENTED, reason="Slack's lists of errors are not on this machine")
def test_every_error_that_slack_documents_for_what_we_send_is_known() -> None:
    unknown = [e for _, e in DOCUMENTED if e not in KNOWN and not e.startswith(NOT_OURS)]
    left = {e for e in unknown if not e.startswith("slack_connect_")}
    assert left <= {"team_not_found", "no_dual_broadcast_content_update"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("message_not_found", Kind.CARD_GONE),
        ("msg_blocks_too_long", Kind.CONTENT),
        ("metadata_too_large", Kind.METADATA),
        ("restricted_action_thread_locked", Kind.THREAD),
        ("restricted_action_read_only_channel", Kind.PERMANENT),
        ("never_heard_of", Kind.LATER),
    ],
)
def test_errors_are_told_apart(error: str, kind: Kind) -> None:
    assert classify(error) is kind


async def test_a_rate_limit_is_obeyed_to_the_second(session: aiohttp.ClientSession) -> None:
    async with SlackStandin(clock=lambda: 1e9, post_burst=1) as slack:
        clock = MovableClock(NOW)
        notifier = make(slack, session, limiter=StoredLimiter(MemoryStore(), clock, {SLACK_POSTS: MANY}))
        sent(await Card(notifier).deliver())
        other = Card(notifier, incident="i2")
        result = await other.deliver()
        assert isinstance(result, Later)
        assert (result.until, result.uncertain) == (NOW + timedelta(seconds=1), False)
        slack.advance(1)
        assert isinstance(await other.deliver(), Later), "by our clock it is not time yet"
        clock.advance(timedelta(seconds=1))
        sent(await other.deliver())


async def test_a_budget_that_is_used_up_is_not_tried_and_a_refused_message_costs_one_call(
    slack: SlackStandin, session: aiohttp.ClientSession
) -> None:
    clock = MovableClock(NOW)
    rates = {SLACK_POSTS: Rate(1, timedelta(seconds=1)), SLACK_UPDATES: Rate(2, timedelta(minutes=1))}
    notifier = make(slack, session, limiter=StoredLimiter(MemoryStore(), clock, rates))
    card = Card(notifier)
    slack.faults.add("answer", "chat.postMessage", status=200, body={"ok": False, "error": "invalid_blocks"}, times=1)
    sent(await card.deliver())
    before = len(slack.requests)
    result = await Card(notifier, incident="i2").deliver()
    assert result == Later(NOW + timedelta(seconds=1), lane=True, remote={})
    assert len(slack.requests) == before, "nothing was asked of Slack"
    for revision in (2, 3):
        clock.advance(timedelta(seconds=2))
        sent(await card.deliver(Action.UPDATE, revision))
    result = await card.deliver(Action.UPDATE, 4)
    assert isinstance(result, Later)
    assert not result.lane, "posts can go on"


async def test_a_public_channel_is_joined_if_the_bot_may(slack: SlackStandin, session: aiohttp.ClientSession) -> None:
    card = Card(make(slack, session, "#general"))
    sent(await card.deliver())
    assert len(cards(slack, "#general")) == 1


@pytest.mark.parametrize("withheld", ["channels:join", "channels:read"])
async def test_where_the_bot_may_not_join_a_person_is_asked_to_invite_it(
    slack: SlackStandin, session: aiohttp.ClientSession, withheld: str
) -> None:
    slack.scopes.discard(withheld)
    result = failed(await Card(make(slack, session, "#general")).deliver())
    assert "not_in_channel" in result.error
    assert "/invite" in result.error


@pytest.mark.parametrize("error", ["invalid_blocks", "msg_blocks_too_long", "msg_too_long", "invalid_attachments"])
async def test_a_card_that_slack_will_not_take_is_sent_as_mere_text(
    slack: SlackStandin, notifier: SlackNotifier, error: str
) -> None:
    slack.faults.add("answer", "chat.postMessage", status=200, body={"ok": False, "error": error})
    card = Card(notifier)
    sent(await card.deliver())
    [message] = cards(slack)
    assert "blocks" not in message
    assert "5 % of requests fail" in message["text"]
    slack.faults.add("answer", "chat.update", status=200, body={"ok": False, "error": error})
    sent(await card.deliver(Action.UPDATE, 2))
    assert "revision 2" in cards(slack)[0]["text"]


async def test_content_that_is_refused_again_fails(slack: SlackStandin, notifier: SlackNotifier) -> None:
    body = {"ok": False, "error": "invalid_blocks"}
    slack.faults.add("answer", "chat.postMessage", status=200, body=body, times=None)
    assert "invalid_blocks" in failed(await Card(notifier).deliver()).error
    assert len(slack.calls("chat.postMessage")) == 2


async def test_a_page_goes_out_even_where_metadata_is_refused(slack: SlackStandin, notifier: SlackNotifier) -> None:
    body = {"ok": False, "error": "metadata_must_be_sent_from_app"}
    slack.faults.add("answer", "chat.postMessage", status=200, body=body)
    sent(await Card(notifier).deliver())
    [message] = slack.messages(CHANNEL)
    assert message["blocks"]


async def test_a_failure_for_good_does_not_forget_a_card_that_was_just_posted(
    slack: SlackStandin, notifier: SlackNotifier
) -> None:
    card = Card(notifier)
    await card.lost()
    slack.faults.add("answer", "chat.update", status=200, body={"ok": False, "error": "token_revoked"}, times=None)
    result = retry(await card.deliver())
    assert result.remote is not None
    assert result.remote["ts"] == cards(slack)[0]["ts"]
    assert "token_revoked" in failed(await card.deliver()).error


# The network.


async def test_a_refused_connection_is_certain_not_to_have_posted(session: aiohttp.ClientSession) -> None:
    notifier = SlackNotifier(TOKEN, CHANNEL, session=session, base_url="http://127.0.0.1:1/api/")
    result = retry(await Card(notifier).deliver())
    assert not result.uncertain
    assert TOKEN not in result.error


@pytest.mark.parametrize(
    ("status", "body"), [(200, "hello"), (200, b"\xff\xfe"), (502, "<html>"), (200, b"[1]"), (500, None)]
)
async def test_an_answer_that_is_not_slacks_leaves_it_open_whether_it_was_posted(
    slack: SlackStandin, notifier: SlackNotifier, status: int, body: Any
) -> None:
    slack.faults.add("answer", "chat.postMessage", status=status, body=body)
    result = retry(await Card(notifier).deliver())
    assert result.uncertain


async def test_slack_is_not_waited_for_longer_than_the_timeout_though_the_session_has_none(
    slack: SlackStandin,
) -> None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        notifier = make(slack, session, timeout=0.2)
        slack.faults.add("hang", "chat.postMessage")
        async with asyncio.timeout(5):
            result = retry(await Card(notifier).deliver())
        assert "no answer in time" in result.error


async def test_one_dropped_connection_is_one_request(slack: SlackStandin, notifier: SlackNotifier) -> None:
    slack.faults.add("done_close", "chat.postMessage")
    retry(await Card(notifier).deliver())
    assert len(slack.calls("chat.postMessage")) == 1


async def test_the_token_is_in_no_log(
    slack: SlackStandin, notifier: SlackNotifier, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        card = Card(notifier)
        await card.deliver()
        slack.faults.add("answer", "chat.update", status=500, body="no")
        await card.deliver(Action.UPDATE, 2)
    assert TOKEN not in caplog.text
    assert "5 % of requests" not in caplog.text, "nor what the messages say"
