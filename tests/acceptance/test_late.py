"""What happens when nobody acknowledges, with every provider listening: the contract's example as it stands."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.acceptance.bot import EXAMPLE, WHOLE_EXAMPLE, Bot


@pytest.fixture
async def whole(tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Bot]:
    async with Bot(tmp_path, WHOLE_EXAMPLE.partition("heartbeats:")[0], store_url=new_store()) as running:
        yield running


async def test_a_page_that_nobody_takes_reaches_the_next_channel_and_then_the_mail_over_restarts(whole: Bot) -> None:
    bot = whole
    await bot.fire(bot.alert("Down"))
    await bot.advance("1s")
    (card,) = bot.cards("#critical-alerts")
    assert "Escalates to ops at 2026-01-05 10:05 UTC" in str(card["blocks"])
    assert "Not acknowledged, due by 2026-01-05 10:05 UTC" in str(card["blocks"])
    await bot.heard()
    await bot.restart()
    await bot.advance("5m")
    # Channels are served side by side: the order is one within each.
    assert sorted(line for line in await bot.heard() if "remind" not in line) == [
        "pagerduty trigger Down",  # the example has one routing key for both: PagerDuty appends it, and calls nobody
        "slack #critical-alerts edit Down",
        "slack #critical-alerts news Down",
        "slack #ops-alerts card Down",
    ]
    assert await bot.metric("alertbot_ack_overdue_total", severity="critical") == 1
    (card,) = bot.cards("#ops-alerts")
    assert "Escalated to ops" in str(card["blocks"])
    assert "Escalates to ops-mail at 2026-01-05 10:15 UTC" in str(card["blocks"])
    assert (await bot.incident("Down"))["receivers"] == ["critical", "ops"]
    assert "Nobody acknowledged it within 5 min" in (await bot.ask("GET", "/")).text
    await bot.restart()
    await bot.advance("10m")
    assert [m.recipients for m in bot.smtp.mails] == [["ops@example.org"]]
    assert "Escalated" in bot.smtp.mails[0].text
    await bot.act(f"/api/v1/incidents/{(await bot.incident('Down'))['id']}/acknowledge", by="ana")
    await bot.heard()
    await bot.advance("2h")
    assert [line for line in await bot.heard() if "mail" in line or "trigger" in line] == []
    assert await bot.reasons("Down", "incident", "person") == ["escalated", "ack_overdue", "escalated", "acknowledged"]


async def test_a_prometheus_that_falls_silent_is_an_incident_over_restarts_and_nobody_is_called_for_our_own_absence(
    tmp_path: Path, new_store: Callable[[], str]
) -> None:
    async with Bot(tmp_path, WHOLE_EXAMPLE, store_url=new_store()) as bot:
        watchdog = bot.alert("Watchdog", "none", prometheus="monitoring/a")
        await bot.fire(watchdog)
        assert await bot.incidents() == []
        await bot.advance("4m")
        await bot.stop()
        bot.clock.advance(timedelta(hours=3))
        await bot.start()
        await bot.advance("5m59s")
        assert await bot.heard() == []
        await bot.advance("2s")
        assert [line for line in await bot.heard() if "pagerduty" in line] == ["pagerduty trigger HeartbeatSilent"]
        (silent,) = await bot.incidents()
        assert silent["title"].startswith(
            "Heartbeat prometheus of environment=prod, prometheus=monitoring/a is silent since"
        )
        assert "silent since" in (await bot.ask("GET", "/")).text
        await bot.act(f"/api/v1/incidents/{silent['id']}/acknowledge", by="ana")
        await bot.restart()
        await bot.fire(watchdog)
        await bot.advance("1m")
        assert [i["status"] for i in await bot.incidents()] == ["resolved"]
        assert bot.pagerduty.open() == []


async def test_who_acknowledged_and_did_not_resolve_is_reminded_in_the_thread_by_name(tmp_path: Path) -> None:
    config = EXAMPLE.replace("ack_within: 5m}", "ack_within: 5m, remind_acknowledged: true}")
    async with Bot(tmp_path, config) as bot:
        await bot.fire(bot.alert("Down"))
        await bot.act(f"/api/v1/incidents/{(await bot.incident('Down'))['id']}/acknowledge", by="alice@example.org")
        await bot.advance("10s")
        await bot.heard()
        await bot.advance("1h")
        assert await bot.heard() == ["slack #critical-alerts remind Down"]
        reminder = [m for m in bot.slack.messages("#critical-alerts") if "thread_ts" in m][-1]
        assert "acknowledged by alice@example.org 5 min ago, and not resolved" in str(reminder["blocks"])
        assert re.search(r"<@U[A-Z0-9]+>", str(reminder["blocks"]))
        assert reminder.get("subtype") != "thread_broadcast", "it is for alice alone"
