"""A deploy and a maintenance from their beginning to their verdict, through the real door and Slack's own rules."""

from __future__ import annotations

from pathlib import Path

from alertbot.config.check import check
from tests.acceptance.bot import Bot

DEPLOY = {
    "service": "checkout", "environment": "prod", "version": "a1b2c3", "author": "ana", "title": "New price rounding",
    "url": "https://ci.example.org/1", "rollback": "make rollback",
}  # fmt: skip


def told(bot: Bot, channel: str) -> list[str]:
    """The first lines of what stands in a channel."""
    return [message["blocks"][0]["text"]["text"] for message in bot.cards(channel)]


async def test_a_deploy_that_breaks_one_thing_is_judged_in_each_channel_and_its_card_names_it(bot: Bot) -> None:
    deploy = await bot.act("/api/v1/deploys", **DEPLOY, status="started")
    await bot.advance("40s")
    errors = bot.alert("HighErrorRate", "high", service="checkout")
    latency = bot.alert("HighLatency", "medium", service="checkout")
    await bot.fire(errors, latency)
    await bot.advance("2m")
    assert await bot.heard() == []
    await bot.end(latency)
    await bot.act("/api/v1/deploys", id=deploy["id"], status="succeeded")
    await bot.advance("6m")
    verdict = "🚨 Still firing after: checkout a1b2c3 to prod by ana"
    assert told(bot, "#ops-alerts") == [verdict, "🟠 HIGH firing: HighErrorRate (prod)"]
    assert told(bot, "#dev-alerts") == [verdict], "what cleared there was held too"
    said, card = (str(message["blocks"]) for message in bot.cards("#ops-alerts"))
    for words in ("1 cleared, 1 still firing", "HIGH HighErrorRate, 40 s after the start", "Cleared: HighLatency",
                  "To roll back: make rollback", f"windows/{deploy['id']}"):  # fmt: skip
        assert words in said
    assert "Suspect: checkout a1b2c3 to prod by ana" in card
    assert (await bot.incident("HighLatency"))["alerts"][0]["status"] == "cleared"
    await bot.advance("1h")
    assert told(bot, "#dev-alerts") == [verdict], "once"


async def test_a_window_that_ends_soon_is_announced_and_judged_across_a_restart(bot: Bot) -> None:
    window = await bot.act("/api/v1/maintenance", alertname="DatabaseMaintenance", duration="1h", by="ana")
    await bot.fire(bot.alert("SlowQueries", "high"))
    await bot.advance("49m")
    assert await bot.heard() == []
    await bot.restart()
    await bot.advance("2m")
    assert told(bot, "#ops-alerts") == ["⏳ Ends soon: DatabaseMaintenance"]
    await bot.restart()
    await bot.advance("10m")
    assert told(bot, "#ops-alerts")[1:] == [
        "🚨 Still firing after: DatabaseMaintenance",
        "🟠 HIGH firing: SlowQueries (prod)",
    ]
    entries = (await bot.get(f"/api/v1/incidents/{window['id']}/timeline"))["entries"]
    assert [e["reason"] for e in entries if e["kind"] == "maintenance"] == ["maintenance_started", "maintenance_over"]


def test_the_demos_configuration_is_good() -> None:
    assert check(str(Path(__file__).parents[2] / "demo" / "alertbot.yml"), (), {}) == []
