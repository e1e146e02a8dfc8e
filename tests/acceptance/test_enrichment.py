"""What a card shows beside its alerts: at once what is known, and as an edit what has to be asked for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.bot import EXAMPLE, Bot, Json, ended
from tests.standins.mrkdwn import rendered_mentions

MORE = """
links:
  - {name: Logs, url: 'https://logs.example.org/?service={{ labels.service }}'}
  - {name: Trace, url: 'https://trace.example.org/{{ labels.trace_id }}'}
slos:
  - {name: api availability, objective: 99.9, query: 'left{service="{{ labels.service }}"}'}
"""
RUNBOOK = """---
title: Hosts that do not answer <!channel>
alerts: [Down]
---
## First five minutes
1. Is it *really* down? `ping <host>`
2. Ask @everyone & <https://evil.example|click> {{ 7*7 }}
3. Restart it.
4. Call somebody.
"""


@pytest.fixture
async def bot(tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Bot]:
    (tmp_path / "runbooks").mkdir()
    (tmp_path / "runbooks" / "hosts.md").write_text(RUNBOOK)
    async with Bot(tmp_path, store_url=new_store()) as running:
        asks = f"  prometheus_url: {running.prometheus.url}/\n  twilio_url"
        running.write_config(EXAMPLE.replace("runbooks:\n", f"{MORE}runbooks:\n"), head={"  twilio_url": asks})
        await running.restart()
        yield running


def down(bot: Bot, name: str = "Down", severity: str = "critical", **labels: str) -> Json:
    fired = bot.alert(name, severity, service="api", **labels)
    return {
        **fired,
        "annotations": {"summary": "it is bad"},
        "generatorURL": "http://p.example/graph?g0.expr=up+%3D%3D+0",
    }


async def find(bot: Bot) -> None:
    """Lets Prometheus answer what it was kept from."""
    bot.prometheus.faults.clear()
    while bot.prometheus.faults.held:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)
    await bot.settle()


def said(card: Json) -> str:
    """All words of a card."""

    def words(value: Any) -> list[str]:
        if isinstance(value, dict):
            return (
                [value["text"]] if isinstance(value.get("text"), str) else [w for v in value.values() for w in words(v)]
            )
        return [w for v in value for w in words(v)] if isinstance(value, list) else []

    return "\n".join(words(card["blocks"]))


async def test_the_first_card_has_the_runbook_and_links_and_no_page_waits_for_prometheus(bot: Bot) -> None:
    bot.prometheus.faults.add("delay", times=None)  # until it is released
    await bot.fire(down(bot))
    assert bot.prometheus.faults.held > 0
    assert await bot.heard() == [
        "pagerduty trigger Down",
        "slack #critical-alerts card Down",
        "sms +15550100 CRITICAL: Down (prod) (1 firing)",
    ]
    (card,) = bot.cards("#critical-alerts")
    for words in ("Hosts that do not answer", "1. Is it *really* down?", "3. Restart it.", "Logs", "/runbooks/hosts"):
        assert words in said(card)
    assert "Trace" not in said(card), "the alert has no such label"
    assert "in 1 h" not in said(card)
    (page,) = bot.pagerduty.requests
    assert page.params["payload"]["custom_details"]["runbook"]["first_steps"][2] == "Restart it."
    assert {link["text"] for link in page.params["links"]} >= {"Runbook", "Logs", "Graph"}
    await find(bot)
    assert await bot.heard() == ["slack #critical-alerts edit Down"], "an edit that nobody is told of"
    (edited,) = bot.cards("#critical-alerts")
    assert edited["ts"] == card["ts"]
    assert "▁▅█ 2 now, 0 to 2 in 1 h" in said(edited)
    assert "api availability: 100 % left of the error budget (99.9 % over" in said(edited)
    asked = [call.params["query"] for call in bot.prometheus.requests]
    assert sorted(asked) == ['left{service="api"}', "up"]


async def test_nothing_in_a_runbook_or_a_note_is_alive_in_slack(bot: Bot) -> None:
    evil = "<!here> <@U123> *bold* https://evil.example"
    await bot.fire(down(bot))
    await bot.act(f"/api/v1/incidents/{(await bot.incident('Down'))['id']}/notes", text=evil)
    await bot.end(down(bot))
    await bot.advance("1h")
    await bot.fire(down(bot))
    card = bot.cards("#critical-alerts")[-1]
    assert f"📝 {evil}" in said(card)
    alive = list(rendered_mentions({"blocks": card["blocks"], "text": card["text"]}, autolinks=False))
    assert {m.kind for m in alive} == {"link"}
    assert not any("evil" in m.target for m in alive)


async def test_the_second_time_the_card_says_how_it_went_before(bot: Bot) -> None:
    first = down(bot)
    await bot.fire(first)
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/notes", text="restarted the host", by="ada")
    await bot.act(f"/api/v1/incidents/{incident['id']}/acknowledge", by="ada")
    await bot.advance("12m")
    await bot.fire(ended(first, bot.now))
    await bot.advance("3h")
    await bot.fire(down(bot))
    card = said(bot.cards("#critical-alerts")[-1])
    assert "Opened once before in 30 d" in card
    assert "ago, for 12 min; acknowledged by ada" in card
    assert "📝 restarted the host (ada, 3 h" in card
    again = await bot.incident("Down")
    page = (await bot.ask("GET", f"/incidents/{again['id']}")).text
    for words in ("restarted the host", "Is it *really* down?", "https://logs.example.org/?service=api", "▁▅█"):
        assert words in page
    assert again["runbook"] == "https://alertbot.example.org/runbooks/hosts"


async def test_a_mail_has_what_is_known_by_then(bot: Bot) -> None:
    bot.pagerduty.faults.add("answer", status=400, times=None)
    bot.slack.faults.add("answer", status=200, body={"ok": False, "error": "channel_not_found"}, times=None)
    bot.twilio.faults.add("answer", status=400, times=None)
    await bot.fire(down(bot))
    (mail,) = bot.smtp.mails
    body = mail.message.get_body(("plain",))
    assert body is not None
    text = body.get_content()
    for words in ("Hosts that do not answer", "3. Restart it.", "Logs: https://logs.example.org/?service=api", "▁▅█"):
        assert words in text


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ("it is broken", {"action": "answer", "status": 500}),
        ("it is gone", {"action": "close"}),
        ("it answers without end", {"action": "answer", "status": 200, "body": "x" * (2 << 20)}),
    ],
)
async def test_a_prometheus_that_is_not_well_leaves_a_card_without_a_graph(
    bot: Bot, rule: str, fault: dict[str, Any]
) -> None:
    bot.prometheus.faults.add(times=None, **fault)
    await bot.fire(down(bot))
    assert "slack #critical-alerts card Down" in await bot.heard()
    assert "Restart it." in said(bot.cards("#critical-alerts")[0])
    await bot.advance("4m")
    assert await bot.heard() == [], "nothing is edited for nothing"


async def test_a_slack_that_refuses_the_edit_is_no_failure_of_the_incident(bot: Bot) -> None:
    bot.slack.faults.add(
        "answer", "chat.update", status=200, body={"ok": False, "error": "service_unavailable"}, times=None
    )
    bot.prometheus.faults.add("delay", times=None)
    await bot.fire(down(bot))
    await find(bot)
    delivery = await bot.delivery("Down", "slack")
    assert (delivery["status"], delivery["attempts"]) == ("sent", 0)
    await bot.advance("4m")
    edits = [line for line in await bot.heard() if " edit " in line]
    assert edits == ["slack #critical-alerts edit Down !answer 200"]
    bot.slack.faults.clear()
    await bot.act(f"/api/v1/incidents/{(await bot.incident('Down'))['id']}/acknowledge", by="ada")
    assert "▁▅█" in said(bot.cards("#critical-alerts")[0]), "the next change shows it"


async def test_after_a_restart_a_card_is_neither_doubled_nor_poorer_for_long(bot: Bot) -> None:
    await bot.fire(down(bot))
    await bot.restart()
    await bot.heard()
    await bot.act(f"/api/v1/incidents/{(await bot.incident('Down'))['id']}/acknowledge", by="ada")
    (card,) = bot.cards("#critical-alerts")
    assert "▁▅█" in said(card)
    assert "Acknowledged by ada" in said(card)


async def test_a_card_that_names_a_suspect_is_edited_once_and_not_for_ever(bot: Bot) -> None:
    deploy = {"service": "api", "environment": "prod", "version": "a1b2c3"}
    for status in ("started", "failed"):
        answer = await bot.ask("POST", "/api/v1/deploys", {**deploy, "id": "d1", "status": status})
        assert answer.status < 300, answer
        await bot.settle()
        await bot.advance("10m")
    await bot.heard()
    bot.prometheus.faults.add("delay", times=None)
    await bot.fire(down(bot))
    await find(bot)
    assert "Suspect: " in said(bot.cards("#critical-alerts")[0])
    edits = [line for line in await bot.heard() if " edit " in line]
    assert edits == ["slack #critical-alerts edit Down"]


async def test_a_closed_card_is_left_alone_and_has_no_first_steps_any_more(bot: Bot) -> None:
    fired = down(bot)
    await bot.fire(fired)
    await bot.advance("3m")
    await bot.end(fired)
    (card,) = bot.cards("#critical-alerts")
    assert "Restart it." not in said(card)
    await bot.heard()
    await bot.advance("30m")
    assert await bot.heard() == []


async def test_the_timeline_tells_of_no_edit_that_tells_nothing(bot: Bot) -> None:
    bot.prometheus.faults.add("delay", times=None)
    await bot.fire(down(bot))
    await find(bot)
    assert "slack #critical-alerts edit Down" in await bot.heard()
    assert await bot.reasons("Down", "delivery") == ["sent"] * 3


async def test_a_runbook_is_read_on_the_page_and_no_name_becomes_a_path(bot: Bot) -> None:
    page = await bot.ask("GET", "/runbooks/hosts")
    assert page.status == 200
    assert "&lt;!channel&gt;" in page.text
    assert "{{ 7*7 }}" in page.text
    for name in ("nothing", "..%2Falertbot.yml", "%2Fetc%2Fpasswd", "hosts.md"):
        assert (await bot.ask("GET", f"/runbooks/{name}")).status == 404
    assert (await bot.ask("GET", "/runbooks/hosts", token=None)).status == 401


async def test_a_reload_takes_new_runbooks_and_links(bot: Bot) -> None:
    (bot.config_file.parent / "runbooks" / "hosts.md").write_text(RUNBOOK.replace("Restart it", "Replace it"))
    await bot.act("/-/reload")
    await bot.fire(down(bot))
    assert "3. Replace it." in said(bot.cards("#critical-alerts")[0])
