"""Who hears what, and that nobody hears anything else: the contract's example, with every provider listening."""

from __future__ import annotations

from tests.acceptance.bot import Bot, body, ended


async def test_critical_goes_to_pagerduty_slack_and_sms_at_once(bot: Bot) -> None:
    await bot.fire(bot.alert("HighErrorRate", "critical"))
    assert await bot.heard() == [
        "pagerduty trigger HighErrorRate",
        "slack #critical-alerts card HighErrorRate",
        "sms +15550100 CRITICAL: HighErrorRate (prod) (1 firing)",
    ]
    (page,) = bot.pagerduty.pages
    assert page.severity == "critical"
    assert page.dedup_key == (await bot.incident("HighErrorRate"))["id"]


async def test_high_goes_to_pagerduty_and_slack_after_its_group_wait(bot: Bot) -> None:
    await bot.fire(bot.alert("QueueGrows", "error"))
    await bot.advance("4s")
    assert await bot.heard() == []
    await bot.advance("1s")
    assert await bot.heard() == ["pagerduty trigger QueueGrows", "slack #ops-alerts card QueueGrows"]


async def test_medium_goes_to_slack_alone(bot: Bot) -> None:
    await bot.fire(bot.alert("DiskFills", "warning"))
    await bot.advance("2m")
    assert await bot.heard() == ["slack #dev-alerts card DiskFills"]


async def test_low_goes_to_the_log_alone(bot: Bot) -> None:
    await bot.fire(bot.alert("CertificateInAMonth", "info"))
    await bot.advance("2m")
    assert await bot.heard() == ["log open CertificateInAMonth"]


async def test_repeats_the_twin_of_a_pair_and_restarts_in_between_double_nothing(bot: Bot) -> None:
    down = bot.alert("Down", "error")
    for n in range(3):
        await bot.fire(down, externalURL="http://alertmanager-0")
        await bot.fire(down, externalURL="http://alertmanager-1", groupKey="{}/{x}:{}")
        await bot.restart()
        await bot.advance("10s" if n else "2s")
    assert await bot.heard() == ["pagerduty trigger Down", "slack #ops-alerts card Down"]
    end = ended(down, bot.now)
    for _ in range(2):
        await bot.fire(end)
        await bot.advance("30s")
        await bot.restart()
        await bot.fire(down)  # the twin, that is late
        await bot.advance("30s")
    assert await bot.heard() == [
        "pagerduty resolve Down",
        "slack #ops-alerts edit Down",
        "slack #ops-alerts news Down",
    ]
    assert bot.pagerduty.open() == []
    assert len(bot.pagerduty.pages) == 1


async def test_a_resolve_resolves_under_the_same_key_and_edits_the_card_in_place(bot: Bot) -> None:
    down = bot.alert("Down", "error")
    await bot.fire(down)
    await bot.advance("5s")
    (posted,) = bot.cards("#ops-alerts")
    blocks_when_open = posted["blocks"]
    await bot.advance("10m")
    await bot.end(down)
    (card,) = bot.cards("#ops-alerts")
    assert card["ts"] == posted["ts"]
    assert card["blocks"] != blocks_when_open
    incident = await bot.incident("Down")
    assert card["metadata"]["event_payload"]["incident"] == incident["id"]
    assert [(i.dedup_key, i.status) for i in bot.pagerduty.incidents] == [(incident["id"], "resolved")]
    assert incident["status"] == "resolved"


async def test_an_acknowledgement_is_told_to_pagerduty_and_on_the_card_and_ends_the_reminders(bot: Bot) -> None:
    await bot.fire(bot.alert("Down"))
    await bot.heard()
    await bot.advance("5m")
    assert await bot.heard() == ["slack #critical-alerts remind Down"]
    incident = await bot.incident("Down")
    answer = await bot.act(f"/api/v1/incidents/{incident['id']}/acknowledge", by="alice")
    assert (answer["status"], answer["acknowledged_by"]) == ("acknowledged", "alice")
    await bot.advance("1s")
    assert await bot.heard() == [
        "pagerduty acknowledge Down",
        "slack #critical-alerts edit Down",
        "slack #critical-alerts news Down",
    ]
    assert [i.status for i in bot.pagerduty.incidents] == ["acknowledged"]
    (card,) = bot.cards("#critical-alerts")
    assert "alice" in str(card["blocks"])
    await bot.act(f"/api/v1/incidents/{incident['id']}/acknowledge", by="bob")
    await bot.advance("30m")
    assert await bot.heard() == []
    assert (await bot.incident("Down"))["acknowledged_by"] == "alice"


async def test_a_new_alert_after_an_acknowledgement_pages_under_a_second_key_and_resolves_the_first(bot: Bot) -> None:
    first, second = bot.alert("Down", host="a"), bot.alert("Down", host="b")
    await bot.fire(first)
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/acknowledge", by="alice")
    await bot.advance("1m")
    await bot.heard()
    await bot.fire(second)
    assert await bot.heard() == [
        "pagerduty resolve Down",
        "pagerduty trigger Down.2",
        "slack #critical-alerts edit Down",
        "slack #critical-alerts news Down",
        "sms +15550100 CRITICAL again: Down (prod) (2 firing)",
    ]
    key = incident["id"]
    assert [(i.dedup_key, i.status) for i in bot.pagerduty.incidents] == [
        (key, "resolved"),
        (f"{key}.2", "triggered"),
    ]
    again = await bot.incident("Down")
    assert (again["status"], again["acknowledged_by"]) == ("open", None)
    await bot.advance("1m")
    await bot.end(first, second)
    assert await bot.heard() == [
        "pagerduty resolve Down.2",
        "slack #critical-alerts edit Down",
        "slack #critical-alerts news Down",
        "sms +15550100 RESOLVED: Down (prod)",
    ]
    assert bot.pagerduty.open() == []


async def test_a_person_resolves_and_what_still_fires_opens_again_later(bot: Bot) -> None:
    await bot.fire(bot.alert("Down"))
    incident = await bot.incident("Down")
    await bot.heard()
    answer = await bot.act(f"/api/v1/incidents/{incident['id']}/resolve", by="alice")
    assert answer["status"] == "resolved"
    await bot.advance("1s")
    assert sorted(line.split()[:2] for line in await bot.heard()) == [
        ["pagerduty", "resolve"],
        ["slack", "#critical-alerts"],
        ["slack", "#critical-alerts"],
        ["sms", "+15550100"],
    ]
    await bot.advance("5m")
    assert "pagerduty trigger Down.2" in await bot.heard()


async def test_what_the_worst_explains_is_held_and_released_when_it_ends(bot: Bot) -> None:
    critical, high = bot.alert("Latency", "critical", service="api"), bot.alert("Latency", "error", service="api")
    high["labels"]["team"] = "web"  # another group, the same alertname, environment and service
    high["fingerprint"] = "0123456789abcdef"
    await bot.fire(high, critical)
    await bot.advance("1m")
    assert [line.split()[0] for line in await bot.heard()] == ["pagerduty", "slack", "sms"]
    held = next(i for i in await bot.incidents() if i["status"] == "held")
    (alert,) = held["alerts"]
    assert (alert["status"], alert["held_by"]) == ("held", "the worst only")
    await bot.end(critical)
    await bot.heard()
    await bot.advance("1m")
    assert await bot.heard() == ["pagerduty trigger Latency", "slack #ops-alerts card Latency"]


async def test_what_clears_while_it_is_held_is_recorded_and_never_sent(bot: Bot) -> None:
    deploy = bot.alert("Deployment", "info")
    await bot.fire(deploy)
    slow = bot.alert("HighLatency", "error")
    await bot.fire(slow)
    await bot.advance("3m")
    await bot.end(slow)
    await bot.advance("1h")
    assert [line for line in await bot.heard() if "HighLatency" in line] == []
    found = (await bot.get("/api/v1/explain?label=alertname=HighLatency"))["alerts"]
    reasons = [e["reason"] for e in found[0]["entries"]]
    assert "inhibited" in reasons
    assert "cleared_while_held" in reasons


async def test_a_storm_of_one_group_is_one_page_and_one_card(bot: Bot) -> None:
    await bot.fire(*(bot.alert("Down", host=f"h{n}") for n in range(500)))
    assert len(await bot.heard()) == 3
    incident = await bot.incident("Down")
    assert incident["counts"] == {"firing": 500, "held": 0, "resolved": 0}


async def test_a_test_of_a_receiver_goes_through_it_and_is_taken_back(bot: Bot) -> None:
    answer = await bot.act("/api/v1/receivers/ops/test", by="alice")
    assert answer["receiver"] == "ops"
    await bot.advance("30m")
    heard = await bot.heard()
    assert sorted({" ".join(line.split()[:2]) for line in heard}) == [
        "pagerduty resolve",
        "pagerduty trigger",
        "slack #ops-alerts",
    ]
    assert bot.pagerduty.open() == []


async def test_a_body_with_the_wrong_token_is_refused_and_nothing_is_taken(bot: Bot) -> None:
    for token in (None, "ALERTBOT_API_TOKEN"):
        sent = body([bot.alert("Down")])
        answer = await bot.ask("POST", "/webhooks/alertmanager", sent, token=token)
        assert answer.status == 401
    await bot.settle()
    assert await bot.incidents() == []
    assert await bot.heard() == []
