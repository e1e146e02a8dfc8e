"""Providers that are slow, away, full or unwilling: what the others hear meanwhile, and what is made good later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.acceptance.bot import ENVIRON, EXAMPLE, Bot

ENQUEUE = "/v2/enqueue"


async def break_pagerduty(bot: Bot, how: str) -> None:
    """From now on PagerDuty answers 503, takes requests and says nothing, or cannot be connected to."""
    if how == "answers 503":
        bot.pagerduty.faults.add("answer", ENQUEUE, status=503, times=None)
    elif how == "hangs":
        bot.pagerduty.faults.add("hang", ENQUEUE, times=None)
    else:
        await bot.wire.refuse()


async def mend_pagerduty(bot: Bot, how: str) -> None:
    """It is well again."""
    if how == "refuses connections":
        await bot.wire.accept()
    bot.pagerduty.faults.clear()


HOW = ["answers 503", "hangs", "refuses connections"]


@pytest.mark.parametrize("how", HOW)
async def test_pagerduty_away_delays_neither_slack_nor_sms_and_catches_up_with_what_still_holds(
    bot: Bot, how: str
) -> None:
    await break_pagerduty(bot, how)
    stays, passes = bot.alert("Stays"), bot.alert("Passes")
    await bot.fire(stays)
    await bot.fire(passes)
    await bot.advance("1s")  # Slack takes one post a second
    heard = [line for line in await bot.heard() if not line.startswith("pagerduty")]
    assert sorted(heard) == [
        "slack #critical-alerts card Passes",
        "slack #critical-alerts card Stays",
        "sms +15550100 CRITICAL: Passes (prod) (1 firing)",
        "sms +15550100 CRITICAL: Stays (prod) (1 firing)",
    ]
    await bot.advance("20s")
    await bot.end(passes)
    await bot.advance("20s")
    assert bot.pagerduty.pages == []

    await mend_pagerduty(bot, how)
    await bot.advance("2m")
    assert [page.dedup_key for page in bot.pagerduty.pages] == [(await bot.incident("Stays"))["id"]]
    heard = [line for line in await bot.heard() if line.startswith("pagerduty") and "!" not in line]
    # A request that was taken and never answered may have arrived: then the resolve goes out to be sure.
    assert heard in (
        ["pagerduty trigger Stays"],
        ["pagerduty resolve Passes", "pagerduty trigger Stays"],
        ["pagerduty trigger Stays", "pagerduty resolve Passes"],
    )
    assert (await bot.delivery("Stays", "pagerduty"))["status"] == "sent"
    assert "retrying" in await bot.reasons("Stays", "delivery")


async def test_an_incident_that_opened_and_closed_while_pagerduty_was_away_is_passed_over_and_recorded(
    bot: Bot,
) -> None:
    await break_pagerduty(bot, "refuses connections")
    down = bot.alert("Down")
    await bot.fire(down)
    await bot.advance("30s")
    await bot.end(down)
    await mend_pagerduty(bot, "refuses connections")
    await bot.advance("2m")
    assert bot.pagerduty.requests == []
    assert (await bot.delivery("Down", "pagerduty"))["status"] == "folded"


async def test_a_page_whose_answer_was_lost_is_not_a_second_page(bot: Bot) -> None:
    bot.pagerduty.faults.add("done_close", ENQUEUE)
    bot.slack.faults.add("done_close", "chat.postMessage")
    down = bot.alert("Down")
    await bot.fire(down)
    await bot.advance("1m")
    await bot.end(down)
    await bot.advance("1m")
    assert len(bot.pagerduty.pages) == 1
    assert bot.pagerduty.open() == []
    assert len(bot.cards("#critical-alerts")) == 1


async def test_slack_hanging_delays_no_page_and_has_one_card_in_its_last_state_in_the_end(bot: Bot) -> None:
    bot.slack.faults.add("hang", "chat.postMessage", times=None)
    hosts = [bot.alert("Down", host=str(n)) for n in range(5)]
    for host in hosts:
        await bot.fire(host)
        await bot.advance("11s")
    assert len(bot.pagerduty.pages) == 1
    bot.slack.faults.clear()
    await bot.advance("1m")
    (card,) = bot.cards("#critical-alerts")
    assert "5 firing" in str(card)
    posted = [line for line in await bot.heard() if "slack" in line and "!" not in line]
    assert posted == ["slack #critical-alerts card Down"], "five changes while Slack was away are one card"


async def test_slacks_retry_after_is_obeyed_to_the_second(bot: Bot) -> None:
    limited = {"ok": False, "error": "ratelimited"}
    bot.slack.faults.add("answer", "chat.postMessage", status=429, headers={"Retry-After": "30"}, body=limited)
    await bot.fire(bot.alert("Down"))
    await bot.advance("29s")
    assert [line for line in await bot.heard() if "slack" in line] == ["slack #critical-alerts card Down !answer 429"]
    delivery = await bot.delivery("Down", "slack")
    assert (delivery["status"], delivery["attempts"]) == ("retrying", 0)
    assert "ratelimited" in delivery["last_error"]
    await bot.advance("1s")
    assert [line for line in await bot.heard() if "slack" in line] == ["slack #critical-alerts card Down"]


async def test_twenty_incidents_at_once_all_reach_a_channel_that_takes_one_post_a_second(bot: Bot) -> None:
    for n in range(20):
        await bot.post(bot.alert(f"Down{n}"))
    await bot.advance("2m")
    assert len(bot.cards("#critical-alerts")) == 20
    assert len(bot.pagerduty.pages) == 20
    texts = [message["body"] for message in bot.twilio.messages]
    assert len(texts) in (5, 6), "four or five, as they came, and the rest in one"

    assert texts[-1].startswith(f"CRITICAL: Storm: {21 - len(texts)} incidents")


async def test_a_channel_that_does_not_take_it_is_parked_in_slacks_own_word_and_a_retry_mends_it(bot: Bot) -> None:
    channel = bot.slack.workspace.find("critical-alerts")
    assert channel is not None
    channel.is_archived = True
    await bot.fire(bot.alert("Down"))
    assert await bot.heard() == [
        "pagerduty trigger Down",
        "slack #critical-alerts card Down !is_archived",
        "sms +15550100 CRITICAL: Down (prod) (1 firing)",
    ]
    incident = await bot.incident("Down")
    await bot.advance("4m")
    assert await bot.heard() == [], "it is not tried again by itself"
    (parked,) = (await bot.get("/api/v1/parked"))["parked"]
    assert parked["kind"] == "delivery"
    assert "is_archived" in parked["error"]
    delivery = await bot.delivery("Down", "slack")
    assert (delivery["status"], "is_archived" in delivery["last_error"]) == ("parked", True)
    assert await bot.metric("alertbot_parked") == 1
    assert "is_archived" in (await bot.ask("GET", f"/incidents/{incident['id']}")).text

    channel.is_archived = False
    await bot.act(f"/api/v1/parked/{quote(parked['id'], safe='')}/retry")
    await bot.advance("10s")
    assert "slack #critical-alerts card Down" in await bot.heard()
    assert (await bot.get("/api/v1/parked"))["parked"] == []
    assert (await bot.delivery("Down", "slack"))["status"] == "sent"


async def test_the_fallback_gets_what_no_integration_takes_and_hears_the_resolve(bot: Bot) -> None:
    await bot.wire.refuse()
    bot.slack.faults.add("answer", "*", status=503, times=None)
    bot.twilio.faults.add("answer", "*", status=503, times=None)
    down = bot.alert("Down")
    await bot.fire(down)
    await bot.advance("4m59s")
    assert bot.smtp.mails == []
    await bot.advance("2s")
    assert [m.recipients for m in bot.smtp.mails] == [["ops@example.org"]]
    incident = await bot.incident("Down")
    assert incident["receivers"] == ["critical", "ops-mail"]
    assert "fell_back" in await bot.reasons("Down")
    assert incident["url"] in bot.smtp.mails[0].text
    await bot.heard()
    await bot.end(down)
    assert [line for line in await bot.heard() if "mail" in line] == ["mail ops@example.org [RESOLVED] Down (prod)"]


async def test_the_fallback_is_asked_at_once_where_every_integration_refuses_for_good(bot: Bot) -> None:
    bot.pagerduty.routing_keys = ()
    bot.slack.token_error = "token_revoked"
    bot.twilio.bad_numbers = {"+15550100"}
    await bot.fire(bot.alert("Down"))
    assert [m.recipients for m in bot.smtp.mails] == [["ops@example.org"]]
    errors = [p["error"] for p in (await bot.get("/api/v1/parked"))["parked"]]
    assert len(errors) == 3
    for word in ("routing_key", "token_revoked", "21211"):
        assert any(word in error for error in errors), word


async def test_no_fallback_while_one_integration_gets_through(bot: Bot) -> None:
    await bot.wire.refuse()
    bot.slack.faults.add("answer", "*", status=503, times=None)
    await bot.fire(bot.alert("Down"))
    await bot.advance("30m")
    assert bot.smtp.mails == []
    assert len(bot.twilio.messages) == 1


async def test_what_fails_for_a_day_is_given_up_and_says_so(bot: Bot) -> None:
    await bot.wire.refuse()
    await bot.fire(bot.alert("Down", "error"))
    await bot.advance("23h")
    assert (await bot.delivery("Down", "pagerduty"))["status"] == "retrying"
    await bot.advance("2h")
    delivery = await bot.delivery("Down", "pagerduty")
    assert (delivery["status"], "given up" in delivery["last_error"]) == ("parked", True)


WITHOUT_CREDENTIALS = {
    name: value
    for name, value in ENVIRON.items()
    if name not in ("SLACK_BOT_TOKEN", "PAGERDUTY_KEY", "TWILIO_AUTH_TOKEN")
}


@pytest.fixture
async def dry(tmp_path: Path) -> AsyncIterator[Bot]:
    async with Bot(tmp_path, environ=WITHOUT_CREDENTIALS) as running:
        yield running


async def test_without_credentials_all_is_rendered_logged_and_shown_and_nothing_is_sent(dry: Bot) -> None:
    down = dry.alert("Down")
    await dry.fire(down)
    await dry.advance("1m")
    await dry.end(down)
    assert await dry.heard() == []
    deliveries = (await dry.incident("Down"))["deliveries"]
    assert [d["status"] for d in deliveries] == ["dry_run"] * 3
    said = [line["msg"] for line in dry.log_lines("alertbot.outbox") if line["msg"].startswith("dry run: ")]
    assert sum("Down" in line for line in said) >= 3
    assert sum("dry" in line for line in dry.app.banner()) == 6
    assert "dry" in (await dry.ask("GET", "/")).text


async def test_a_webhook_receiver_gets_each_change_once_with_its_own_token(tmp_path: Path) -> None:
    config = EXAMPLE.replace(
        "  - name: dev\n    slack_configs: [{channel: '#dev-alerts'}]",
        "  - name: dev\n    webhook_configs: [{url: '{hook}/in', bearer_token: '${HOOK_TOKEN}'}]",
    )
    assert config != EXAMPLE
    async with Bot(tmp_path, config) as bot:
        down = bot.alert("Down", "warning")
        await bot.fire(down)
        bot.hook.faults.add("answer", "/in", status=503, headers={"Retry-After": "7"})
        await bot.advance("1m")
        await bot.advance("6s")
        assert await bot.heard() == ["webhook /in open Down !answer 503"]
        await bot.advance("1s")
        await bot.end(down)
        await bot.advance("1m")
        assert await bot.heard() == ["webhook /in open Down", "webhook /in resolve Down"]
        assert {call.headers["Authorization"] for call in bot.hook.requests} == {f"Bearer {ENVIRON['HOOK_TOKEN']}"}
        keys = [call.headers["Idempotency-Key"] for call in bot.hook.requests]
        assert keys[0] == keys[1], "a repeat of the same notification says so"
        assert keys[1] != keys[2]
