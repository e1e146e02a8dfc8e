"""What commands answer, however people type, and that nothing foreign in it is more than text."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from alertbot.commands import silence, views, words
from alertbot.commands.base import Answer, Asked, Look, Person
from alertbot.commands.silence import span_of
from alertbot.enrich.runbooks import Runbooks, load
from alertbot.notifiers.pagerduty_rest import PagerDutyRest, RestError
from alertbot.paths import data_dir
from alertbot.sources import alertmanager
from alertbot.store.memory import MemoryStore
from tests.commands.desks import ADesk, a_desk, text_of
from tests.notifiers.jobs import NASTY, NOW, incident
from tests.notifiers.jobs import alert as an_alert
from tests.standins import blocks as block_kit
from tests.standins.pagerduty_rest import TOKEN, PagerDutyRestStandin

VERBS = {"list": ("ls",), "ack": ("acknowledge",), "resolve": ("close",)}
WHO = Person("U1", "alice", "alice@example.org")


def look(runbooks: Runbooks | None = None) -> Look:
    async def person(user: str, handle: str) -> Person:
        return Person(user, handle)

    return Look(
        MemoryStore(), external_url="https://alertbot.example.org/", severities=("critical",),
        runbooks=runbooks or Runbooks(), rota=None, person=person,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "tidied"),
    [
        ("  ack   #abc ", "ack #abc"),  # white space is one space
        ("note “it’s fine”", 'note "it\'s fine"'),  # what a phone makes of quotes
        ("show <https://a.example/incidents/abc|here>", "show https://a.example/incidents/abc"),  # Slack's links
        ("assign <mailto:bob@example.org|bob@example.org>", "assign bob@example.org"),  # and its addresses
        ("a &lt;b&gt; &amp; c", "a <b> & c"),  # and its escapes
        ("ack\nabc\u202e", "ack abc"),  # one line, and nothing that turns it round
    ],
)
def test_what_was_typed_is_tidied(typed: str, tidied: str) -> None:
    assert words.tidy(typed) == tidied


@pytest.mark.parametrize(
    ("word", "verb", "near"),
    [
        ("ACK", "ack", "ack"),  # in any case
        ('"Resolve",', "resolve", "resolve"),  # whatever stands around it
        ("close", "resolve", "resolve"),  # by another name
        ("reslove", "", "resolve"),  # a typo is told, and not done
        ("lst", "", "list"),
        ("xy", "", ""),  # too short to be near anything
        ("unrelated", "", ""),
    ],
)
def test_a_verb_is_known_in_any_dress_and_a_typo_is_not_obeyed(word: str, verb: str, near: str) -> None:
    assert (words.chosen(word, VERBS), words.meant(word, VERBS)) == (verb, near)


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("ABCDEFGHIJ", "abcdefghij"),
        ("#abcdefghij", "abcdefghij"),
        ("`abcdefghij`", "abcdefghij"),
        ("https://alertbot.example.org/incidents/abcdefghij/", "abcdefghij"),
        ("'#abcdefghij',", "abcdefghij"),
    ],
)
def test_an_incident_is_named_as_people_paste_it(word: str, found: str) -> None:
    assert words.incident_id(word) == found


@pytest.mark.parametrize(
    ("text", "span", "rest"),
    [
        ("1h30m the disk is full", timedelta(hours=1, minutes=30), "the disk is full"),
        ("4H", timedelta(hours=4), ""),
        ("90 min until it is fixed", timedelta(minutes=90), "until it is fixed"),
        ("2 hours", timedelta(hours=2), ""),
        ("1day", timedelta(days=1), ""),
        ("0", None, ""),  # no time at all
        ("0 minutes", None, ""),
        ("soon", None, ""),
        ("5", None, ""),  # of what?
        ("2 hounds", None, ""),
    ],
)
def test_a_duration_is_read_as_people_write_it(text: str, span: timedelta | None, rest: str) -> None:
    assert words.duration(text) == (None if span is None else (span, rest))


@pytest.mark.parametrize(
    ("choice", "custom", "span", "wrong"),
    [
        ("1h", "", "1h", False),
        ("until resolved", "", "", False),  # empty: until it is resolved
        ("custom", "90 min", "1h30m", False),
        ("1h", "2d", "2d", False),  # who writes a time means it
        ("custom", "", "", True),
        ("custom", "a while", "", True),
    ],
)
def test_a_silences_span_is_what_was_chosen_or_written(choice: str, custom: str, span: str, wrong: bool) -> None:
    found, problem = span_of(choice, custom)
    assert (found, bool(problem)) == (span, wrong)


async def test_a_silence_by_command_names_the_incident_the_span_and_the_reason(it: ADesk) -> None:
    found = await it.fire()
    asked = Asked(f"{found} 2 hours “known, <!here>”", WHO, "C1", "ops", it.bot.clock())
    own = Look(
        it.bot.store, external_url="", severities=("critical",), runbooks=Runbooks(), rota=None,
        person=it.desk.people.person,
    )  # fmt: skip
    asked = Asked(words.tidy(asked.text), WHO, "C1", "ops", it.bot.clock())
    act = await silence.run(asked, own)
    assert not isinstance(act, Answer)
    assert (act.kind, act.incident, dict(act.more)) == (
        "silence", found, {"duration": "2h", "comment": "known, <!here>"},
    )  # fmt: skip
    asked = Asked("HighLatency until resolved", WHO, "C1", "ops", it.bot.clock())
    act = await silence.run(asked, own)
    assert not isinstance(act, Answer)
    assert act.more["duration"] == ""
    asked = Asked(f"{found} for ever", WHO, "C1", "ops", it.bot.clock())
    assert isinstance(await silence.run(asked, own), Answer)


# Which incident is meant.


async def test_the_only_incident_of_a_channel_need_not_be_named(it: ADesk) -> None:
    first = await it.fire("HighLatency")
    assert "You acknowledged HighLatency" in text_of(await it.type("/incident", "ack"))
    await it.fire("DiskFull")
    answer = text_of(await it.type("/incident", "resolve"))
    assert "2 incidents are open in this channel" in answer
    assert "You resolved HighLatency" in text_of(await it.type("/incident", "resolve high"))
    assert (await it.bot.store.incident(first)).status == "resolved"  # type: ignore[union-attr]


async def test_a_word_that_several_are_called_by_is_no_reason_to_act(it: ADesk) -> None:
    await it.fire("DiskFull")
    await it.fire("DiskSlow")
    assert "Several are like “disk”" in text_of(await it.type("/incident", "ack Disk"))
    assert "No open incident is called “nothing”" in text_of(await it.type("/incident", "ack nothing"))
    incidents = (await it.bot.store.incidents()).incidents
    assert {i.status for i in incidents} == {"open"}


async def test_an_incident_is_given_to_a_person_and_not_to_a_word(it: ADesk) -> None:
    found = await it.fire()
    bob = it.slack.workspace.user("bob")
    for text, said in (
        (f"assign {found}", "Say to whom"),
        (f"assign {found} bob", "Who is bob?"),
        (f"assign {found} me", "is with alice@example.org now"),
        (f"assign {found} to <@{bob}|bob>", "is with bob@example.org now"),
        (f"assign {found} <mailto:Carol@Example.org|x>", "is with carol@example.org now"),
        (f"note {found}", "Write the note"),
    ):
        assert said in text_of(await it.type("/incident", text)), text


# Who is on call.


async def test_who_is_on_call_is_asked_of_pagerduty_page_by_page(it: ADesk) -> None:
    async with PagerDutyRestStandin() as pagerduty:
        pagerduty.duty("Platform", 2, "Bob")
        pagerduty.duty("Platform", 1, "Alice", "2026-01-06T08:00:00Z")
        for n in range(150):
            pagerduty.duty("Web", 1, f"Person{n}")
        pagerduty.duty("Last", 1, "Zoe")
        it.configure(rota=PagerDutyRest(TOKEN, pagerduty.url))
        said = text_of(await it.type("/oncall", "platform"))
        assert said == "On call now\nPlatform\n1. Alice (you), until 2026-01-06 08:00 UTC\n2. Bob"
        assert "1. Zoe" in text_of(await it.type("/oncall", "last"))
        assert "Nobody is on call for “nosuch”" in text_of(await it.type("/oncall", "nosuch"))
        pagerduty.faults.add("answer", "/oncalls", status=429, body={"error": {"message": "Rate Limit Exceeded"}})
        assert "it answered 429: Rate Limit Exceeded" in text_of(await it.type("/oncall"))
        before = len(pagerduty.requests)
        pagerduty.faults.add("answer", "/oncalls", status=503)
        assert "it answered 503" in text_of(await it.type("/oncall"))
        assert len(pagerduty.requests) == before + 1  # asked once: whoever waits asks again


async def test_a_slow_pagerduty_is_answered_for_at_once_and_follows(it: ADesk) -> None:
    async with PagerDutyRestStandin() as pagerduty:
        pagerduty.duty("Platform", 1, "Alice")
        pagerduty.faults.add("delay", "/oncalls")
        it.configure(rota=PagerDutyRest(TOKEN, pagerduty.url))
        assert "the answer follows" in text_of(await it.type("/oncall"))
        pagerduty.faults.release()
        await it.desk.idle()
        assert it.told() == ["On call now\nPlatform\n1. Alice (you)"]


async def test_without_a_token_or_with_a_wrong_one_it_says_so(it: ADesk) -> None:
    assert "there is no pagerduty_api_token" in text_of(await it.type("/oncall"))
    async with PagerDutyRestStandin() as pagerduty:
        rest = PagerDutyRest("wrong", pagerduty.url)
        with pytest.raises(RestError, match="401: Your account is not authorized"):
            await rest.on_call()
        rest.close()
    rest = PagerDutyRest(TOKEN, "http://127.0.0.1:1")
    with pytest.raises(RestError, match="cannot be reached"):
        await rest.on_call()
    rest.close()


# Runbooks.


@pytest.fixture(scope="module")
def shipped() -> Runbooks:
    return load(data_dir("runbooks"))


async def test_with_no_words_it_is_the_runbooks_of_the_channels_incidents(it: ADesk, shipped: Runbooks) -> None:
    it.configure(runbooks=shipped)
    assert text_of(await it.type("/runbook")).startswith("Nothing is open in this channel. Choose one")
    await it.fire("HighLatency")
    await it.fire("DatabaseDown")
    answer = await it.type("/runbook")
    assert text_of(answer).startswith("For what is open in this channel")
    assert "HighLatency" in json.dumps(answer)
    assert "DatabaseDown" in json.dumps(answer)


async def test_an_answer_is_never_empty_and_always_the_callers_alone(it: ADesk, shipped: Runbooks) -> None:
    it.configure(runbooks=shipped)
    for text in ("high error rate", "hgih latnecy", "qqqq zzzz", "“#HighErrorRate”", "?", "*" * 3000, NASTY):
        answer = await it.type("/runbook", text)
        assert answer["response_type"] == "ephemeral"
        assert text_of(answer)
        assert block_kit.objections(answer["blocks"]) == []


async def test_the_nearest_runbook_is_shown_for_an_alert_that_has_none(it: ADesk, shipped: Runbooks) -> None:
    it.configure(runbooks=shipped)
    found = await it.fire("LatencyOfPayments", annotations={})
    await it.desk.interaction(it.press("runbook", found), "")
    await it.desk.idle()
    (told,) = it.told()
    assert told.startswith("No runbook is for LatencyOfPayments. The nearest:")


# Text.


def check(answer: Answer) -> None:
    """Slack takes it, and nothing of what is foreign in it is mark-up."""
    assert block_kit.objections(list(answer.blocks)) == []
    assert block_kit.total(list(answer.blocks)) <= block_kit.BLOCKS_TOTAL
    for block in answer.blocks:
        for part in (block.get("text"), *block.get("elements", [])):
            if isinstance(part, dict) and part.get("type") == "mrkdwn":
                assert "<!" not in part["text"]
                assert "<@" not in part["text"]
    assert "<!" not in answer.text


def test_hostile_text_and_much_of_it_is_only_text_wherever_it_stands() -> None:
    nasty = incident(
        [an_alert()], labels={"alertname": NASTY, NASTY: NASTY}, title=NASTY, acknowledged_by=NASTY, severity=NASTY
    )
    alerts = [an_alert(n, annotations={"summary": NASTY * 50}, labels={"alertname": NASTY}) for n in range(60)]
    check(views.incident_list(NASTY, [nasty] * 60, WHO, NOW, look()))
    check(views.incident_card(nasty, alerts, WHO, NOW, look()))
    check(views.why(nasty, [], Person("U1", NASTY, NASTY), NOW, look()))
    for dialog in (views.note_dialog(nasty, "{}"), views.silence_dialog(nasty, "{}")):
        assert block_kit.view_objections(dialog) == []


def test_a_runbook_of_any_text_and_length_is_shown(tmp_path: Path) -> None:
    steps = "\n".join(f"{n}. {NASTY.replace(chr(10), ' ')} " + "x" * 500 for n in range(1, 40))
    (tmp_path / "a.md").write_text(f"# Title <!channel>\n\n{steps}\n", errors="replace")
    runbook = load(tmp_path).all[0]
    check(views.runbook(NASTY, runbook, [NASTY, "x" * 500, *map(str, range(50))]))


async def test_hostile_labels_and_notes_reach_people_as_text(it: ADesk) -> None:
    body = json.dumps(
        {"alerts": [{"status": "firing", "labels": {"alertname": "<!channel>", "x": "<@U1>"},
                     "annotations": {"summary": "<!here> *b*"}, "startsAt": "2026-01-05T09:58:00Z"}]}
    ).encode()  # fmt: skip
    await it.bot.accept("alertmanager", body, alertmanager.parse(body, it.bot.clock()), "", wait=True)
    for text in ("list", "show <!channel>", "ack <!channel>", "note <!everyone> hello", "why", "<!channel>"):
        answer: dict[str, Any] = await it.type("/incident", text)
        check(Answer(answer["text"], answer["blocks"]))


async def test_deploys_lists_what_was_deployed_lately_and_what_holds_alerts() -> None:
    async with a_desk() as desk:
        assert "No deploys lately" in text_of(await desk.type("/deploys"))
        await desk.happens(
            "deploy", service="checkout", environment="prod", version="a1b2c3", status="started", id="d1"
        )
        await desk.happens("deploy", service="web", version="<!channel>", status="failed", id="d2")
        every = text_of(await desk.type("/deploys"))
        assert "goes on: checkout a1b2c3 to prod" in every
        assert "may hold alerts until" in every
        assert "failed: web <!channel>" in every
        assert "web" not in text_of(await desk.type("/deploys", "“Checkout”"))
        assert "There were some of checkout, web" in text_of(await desk.type("/deploys", "nowhere"))


async def test_maintenance_is_opened_extended_listed_and_ended() -> None:
    async with a_desk() as desk:
        assert "No maintenance goes on" in text_of(await desk.type("/maintenance"))
        opened = text_of(
            await desk.type("/maintenance", "start 2h alertname=DatabaseMaintenance service=orders new disks")
        )
        assert "is open for 2h: alertname=DatabaseMaintenance, service=orders" in opened
        (window,) = await desk.bot.store.windows(desk.bot.clock())
        assert (window.reason, window.ends_at - window.starts_at) == ("new disks", timedelta(hours=2))
        assert "2 h left" in text_of(await desk.type("/maintenance", "ls"))
        # Where one goes on, its id can be left out.
        assert "lasts 30m longer, until 2026-01-05 12:30 UTC" in text_of(await desk.type("/maintenance", "Extend 30m"))
        assert "is ended" in text_of(await desk.type("/maintenance", f"end {window.id}"))
        assert "No maintenance goes on" in text_of(await desk.type("/maintenance", "end"))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("start alertname=DatabaseMaintenance", "for how long first"),  # nobody opens one without an end
        ("start 2h", "by labels"),  # nor one that no rule could know
        ("statr 2h a=b", "Did you mean /maintenance start?"),  # mistyped
        ("extend abc 1h", "No maintenance goes on."),
    ],
)
async def test_maintenance_says_what_is_missing(typed: str, said: str) -> None:
    async with a_desk() as desk:
        assert said in text_of(await desk.type("/maintenance", typed))
        assert await desk.bot.store.windows(desk.bot.clock()) == []
