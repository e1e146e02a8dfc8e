"""The dead man's switch: it hears of alertbot while that can do its work, and only then."""

from __future__ import annotations

from tests.acceptance.bot import Bot
from tests.acceptance.test_operate import locked
from tests.standins.webhook import WebhookStandin


async def switched_on(bot: Bot) -> WebhookStandin:
    bot.write_config(
        bot.config, head={"global:\n": f"global:\n  heartbeat_url: {bot.hook.url}/ping/uuid-of-the-switch\n"}
    )
    await bot.restart()
    return bot.hook


async def report(bot: Bot) -> bool:
    assert bot.app._session is not None
    return await bot.app.life.report(f"{bot.hook.url}/ping/uuid-of-the-switch", bot.app._session)


async def test_it_is_told_at_the_start_and_of_nothing_in_the_log_but_words(bot: Bot) -> None:
    hook = await switched_on(bot)
    while not hook.calls("/ping/uuid-of-the-switch"):
        await bot.settle()
    assert "uuid-of-the-switch" not in bot.log.getvalue()


async def test_it_is_not_told_while_nobody_can_be_called(bot: Bot) -> None:
    await switched_on(bot)
    assert await report(bot)
    await bot.wire.refuse()
    await bot.fire(bot.alert("Down", "error"))
    await bot.advance("3m")
    # PagerDuty alone is not everybody: a text or a mail would still reach somebody.
    assert bot.app.broken()
    assert await report(bot)
    bot.twilio.faults.add("answer", "*", status=503, times=None)
    bot.slack.faults.add("answer", "*", status=503, times=None)
    await bot.smtp.stop()
    await bot.fire(bot.alert("Worse"))
    await bot.advance("20m")
    assert not await report(bot)
    assert "no destination that pages anybody answers" in bot.log.getvalue()
    await bot.wire.accept()
    await bot.advance("15m")
    assert await report(bot)


async def test_a_store_that_is_away_silences_it(sqlite_bot: Bot) -> None:
    bot = sqlite_bot
    await switched_on(bot)
    assert await report(bot)
    async with locked(bot.store_file):
        answer = await bot.post(bot.alert("Down"))
        assert answer.status == 503
        assert not await report(bot)
    await bot.fire(bot.alert("Down"))
    assert await report(bot)
