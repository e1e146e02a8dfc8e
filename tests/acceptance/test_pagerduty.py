"""PagerDuty both ways: what is done there holds here and in Slack, with its webhooks late, doubled and reordered."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path

import aiohttp
import pytest

from tests.acceptance.bot import ENVIRON, Bot
from tests.standins.pagerduty import Incident, signed
from tests.standins.pagerduty_rest import TOKEN, PagerDutyRestStandin

SECRET = "whsec-pagerduty-1"


@pytest.fixture
async def linked(tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Bot]:
    environ = {**ENVIRON, "PAGERDUTY_WEBHOOK_SECRET": SECRET}
    async with Bot(tmp_path, environ=environ, store_url=new_store()) as bot:
        bot.write_config(
            bot.config, head={"global:\n": "global:\n  pagerduty_webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}\n"}
        )
        await bot.restart()
        yield bot


async def send(bot: Bot, bodies: Iterable[bytes], *, secret: str = SECRET, status: int = 200) -> None:
    async with aiohttp.ClientSession() as session:
        for body in bodies:
            url = f"{bot.url}/webhooks/pagerduty"
            async with session.post(url, data=body, headers=signed(body, secret)) as answer:
                assert answer.status == status, await answer.text()
    await bot.settle()


def taken(bot: Bot) -> list[bytes]:
    """What PagerDuty has to tell since the last time."""
    bodies, bot.pagerduty.webhooks = bot.pagerduty.webhooks, []
    return bodies


async def paged(bot: Bot) -> Incident:
    await bot.fire(bot.alert("Down", "error"))
    await bot.advance("10s")
    await bot.heard()
    (incident,) = bot.pagerduty.incidents
    return incident


async def test_acknowledged_noted_and_resolved_there_is_so_here_and_nothing_goes_round(linked: Bot) -> None:
    bot = linked
    page = await paged(bot)
    await send(bot, taken(bot))
    bot.pagerduty.do(page, "acknowledged")
    await send(bot, taken(bot))
    await bot.advance("2s")
    assert await bot.heard() == ["slack #ops-alerts edit Down", "slack #ops-alerts news Down"]
    shown = await bot.incident("Down")
    assert (shown["status"], shown["acknowledged_by"]) == ("acknowledged", "Bo Yu")
    bot.pagerduty.note(page, "the disk is full")
    await send(bot, taken(bot))
    await bot.advance("1s")
    bot.pagerduty.do(page, "reassigned")
    await send(bot, taken(bot))
    await bot.advance("5s")
    replies = [m["text"] for m in bot.slack.messages("#ops-alerts") if "thread_ts" in m]
    assert any("the disk is full" in text for text in replies)
    assert any("reassigned to Bo Yu" in text for text in replies), replies
    await bot.heard()
    bot.pagerduty.do(page, "resolved")
    await send(bot, taken(bot))
    await bot.advance("5s")
    assert (await bot.incident("Down"))["status"] == "resolved"
    assert [line for line in await bot.heard() if "pagerduty" in line] == []
    assert taken(bot) == [], "we said nothing, so PagerDuty has nothing to say"


async def test_what_is_done_here_comes_back_and_changes_nothing(linked: Bot) -> None:
    bot = linked
    page = await paged(bot)
    await bot.act(f"/api/v1/incidents/{page.dedup_key}/acknowledge", by="ana")
    await bot.advance("1s")
    await bot.heard()
    for _ in range(3):
        await send(bot, [*bot.pagerduty.webhooks, *bot.pagerduty.webhooks])
        await bot.advance("1m")
    assert await bot.heard() == []
    assert (await bot.incident("Down"))["acknowledged_by"] == "ana"
    assert await bot.reasons("Down", "person") == ["acknowledged"]


@pytest.mark.parametrize("seed", range(3))
async def test_late_doubled_and_reordered_the_end_is_the_same(linked: Bot, seed: int) -> None:
    bot = linked
    page = await paged(bot)
    for change in ("acknowledged", "unacknowledged", "acknowledged", "resolved"):
        bot.pagerduty.do(page, change)
        await bot.advance("30s")
    bodies = taken(bot)
    bodies += bodies
    random.Random(seed).shuffle(bodies)
    await bot.restart()
    await send(bot, bodies)
    await bot.advance("1m")
    assert (await bot.incident("Down"))["status"] == "resolved"
    assert [line for line in await bot.heard() if "pagerduty" in line] == []


async def test_a_note_that_comes_before_anything_named_its_incident_is_not_ours_and_after_a_restart_it_is(
    linked: Bot,
) -> None:
    bot = linked
    page = await paged(bot)
    triggered = taken(bot)
    bot.pagerduty.note(page, "first")
    await send(bot, taken(bot))
    assert await bot.reasons("Down", "person") == []
    await send(bot, triggered)
    await bot.restart()
    bot.pagerduty.note(page, "second")
    await send(bot, taken(bot))
    assert await bot.reasons("Down", "person") == ["note_added"]


async def test_what_is_not_signed_by_pagerduty_is_refused_and_counted(linked: Bot) -> None:
    bot = linked
    page = await paged(bot)
    bot.pagerduty.do(page, "resolved")
    await send(bot, taken(bot), secret="another", status=401)
    await send(bot, [b'{"messages": []}'], status=400)
    assert (await bot.incident("Down"))["status"] == "open"
    assert await bot.metric("alertbot_requests_refused_total", code="401", source="pagerduty") == 2


@pytest.fixture
async def rest(linked: Bot) -> AsyncIterator[PagerDutyRestStandin]:
    async with PagerDutyRestStandin(clock=linked.pagerduty.now) as standin:
        standin.events = linked.pagerduty
        standin.users = {"ana@example.org": "Ana Lima", "bo@example.org": "Bo Yu"}
        linked.environ["PAGERDUTY_API_TOKEN"] = TOKEN
        linked.write_config(
            linked.config,
            head={
                "global:\n": "global:\n  pagerduty_webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}\n"
                f"  pagerduty_api_token: ${{PAGERDUTY_API_TOKEN}}\n  pagerduty_api_url: {standin.url}\n"
            },
        )
        await linked.restart()
        yield standin


async def test_who_acknowledges_here_acknowledges_there_by_name_and_their_note_is_theirs(
    linked: Bot, rest: PagerDutyRestStandin
) -> None:
    bot = linked
    page = await paged(bot)
    await bot.act(f"/api/v1/incidents/{page.dedup_key}/acknowledge", by="ana@example.org")
    await bot.act(f"/api/v1/incidents/{page.dedup_key}/notes", by="Ana Lima", text="the disk is full")
    await bot.advance("5s")
    assert page.log[-1][1] == "acknowledged by Ana Lima"
    assert rest.notes == [("Q0000001", "Ana Lima", "Ana Lima: the disk is full (through alertbot)")]
    assert [line for line in await bot.heard() if "pagerduty" in line] == [], "no event says it once more"
    await send(bot, taken(bot))
    await bot.advance("5s")
    assert await bot.reasons("Down", "person") == ["acknowledged", "note_added"], "and nothing comes back"


async def test_who_is_no_user_there_acknowledges_by_event_and_the_note_waits_for_a_person(
    linked: Bot, rest: PagerDutyRestStandin
) -> None:
    bot = linked
    page = await paged(bot)
    await bot.act(f"/api/v1/incidents/{page.dedup_key}/acknowledge", by="cy@example.org")
    await bot.act(f"/api/v1/incidents/{page.dedup_key}/notes", by="cy@example.org", text="hm")
    await bot.advance("5s")
    assert page.status == "acknowledged"
    assert [line for line in await bot.heard() if "pagerduty" in line] == ["pagerduty acknowledge Down"]
    (parked,) = (await bot.get("/api/v1/parked"))["parked"]
    assert "Requester User Not Found" in parked["error"]


async def test_a_note_that_nothing_announced_is_asked_about(linked: Bot, rest: PagerDutyRestStandin) -> None:
    bot = linked
    page = await paged(bot)
    taken(bot)
    bot.pagerduty.note(page, "first")
    rest.faults.add("answer", "/incidents/Q0000001/alerts", status=503)
    bodies = taken(bot)
    await send(bot, bodies, status=503)
    await send(bot, bodies)
    assert await bot.reasons("Down", "person") == ["note_added"]


async def test_what_asked_pagerduty_under_one_config_ends_two_reloads_later(
    linked: Bot, rest: PagerDutyRestStandin
) -> None:
    bot = linked
    page = await paged(bot)
    await bot.act(f"/api/v1/incidents/{page.dedup_key}/acknowledge", by="ana@example.org")
    await bot.advance("5s")
    first = [t for t in threading.enumerate() if t.name.startswith("pagerduty-rest")]
    assert first
    for _ in range(2):
        assert (await bot.ask("POST", "/-/reload")).status == 200
    for _ in range(100):  # they are told to end; usually they have by now
        if not any(t.is_alive() for t in first):
            break
        await asyncio.sleep(0.05)
    assert not any(t.is_alive() for t in first)
