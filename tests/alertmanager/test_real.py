"""The same with real Alertmanagers, two of a cluster and one that starts anew: what a stand-in may have wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from alertbot.alertmanager import Alertmanager, Matcher, Refused
from alertbot.clock import SystemClock
from alertbot.domain.fingerprint import fingerprint
from tests.acceptance.test_real import CONFIG, World, eventually, until
from tests.standins.pagerduty import PagerDutyStandin
from tests.standins.slack import SlackStandin

pytestmark = pytest.mark.real("alertmanager")
SOON = timedelta(seconds=5)


@pytest.fixture
async def world(
    tmp_path: Path, unused_tcp_port_factory: Callable[[], int], real_server: Callable[[str], Path]
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SlackStandin())
        pagerduty = await stack.enter_async_context(PagerDutyStandin())
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        world = World(
            tmp_path,
            f"sqlite:///{tmp_path}/alertbot.db",
            unused_tcp_port_factory,
            real_server,
            stack,
            slack,
            pagerduty,
            session,
        )
        world.bot_port = unused_tcp_port_factory()
        yield world


async def pair(world: World) -> tuple[str, str]:
    """Two members that know each other."""
    gossip = world.port()
    first = await world.start_alertmanager("a", cluster=gossip)
    second = await world.start_alertmanager("b", cluster=world.port(), peer=gossip)
    await eventually(lambda: world.has_peers(first, 2))
    return first, second


async def test_two_members_are_read_and_a_silence_made_at_one_is_known_to_both(world: World) -> None:
    first, second = await pair(world)
    text = 'says "no"\nto ü\\'
    await world.fire(first, "Down", text=text)
    down = fingerprint({"alertname": "Down", "severity": "critical", "text": text})
    client = Alertmanager(world.session, [f"{first}/", f"{second}/"], SystemClock())
    # They are young: what they do not have may fire all the same.
    assert await client.still_firing([down, "0" * 16], SOON) == {down: True}
    now = client.clock.now()
    labels = [Matcher("alertname", "Down"), Matcher("severity", "critical"), Matcher("text", text), Matcher("zone", "")]
    made = await client.silence(labels, now, now + timedelta(hours=1), "ada", "why")
    other = Alertmanager(world.session, [f"{second}/"], client.clock)

    async def known() -> bool:
        return [s.id for s in await other.silences() if s.status.state == "active"] == [made]

    await eventually(known)
    look = await client.look()
    assert look is not None
    assert not look.complete
    assert set(look.alerts[down].status.silenced_by) <= {made}
    (found,) = await other.silences()
    assert (list(found.matchers), found.created_by, found.comment) == (labels, "ada", "why")
    # Its end alone is changed: it stays the same silence.
    later = now + timedelta(hours=2)
    assert await client.silence(found.matchers, found.starts_at, later, "ada", "why", made) == made
    (changed,) = await client.silences()
    assert abs(changed.ends_at - later) < timedelta(milliseconds=1)
    # Ended by hand, its end is the time of the change.
    await client.expire(made)
    (over,) = await client.silences()
    assert over.status.state == "expired"
    assert over.ends_at - over.updated_at <= timedelta(seconds=1)
    with pytest.raises(Refused):
        await client.silence([Matcher("zone", "")], now, later, "ada", "why")


async def test_what_is_silenced_with_us_is_silenced_there_and_its_end_is_found_and_told(world: World) -> None:
    """Alertmanager sends nothing of a silenced alert, not even that it is resolved."""
    alertmanager = await world.start_alertmanager("am")
    world.config = with_alertmanager(alertmanager)
    await world.start_bot()
    await world.fire(alertmanager, "Down", instance="a")
    await until(lambda: len(world.pagerduty.pages) == 1)
    api = f"http://127.0.0.1:{world.bot_port}/api/v1/incidents"

    async def incident() -> dict[str, Any]:
        async with world.session.get(api) as answer:
            found: list[dict[str, Any]] = (await answer.json())["incidents"]
            return found[0]

    identity = (await incident())["id"]
    async with world.session.post(f"{api}/{identity}/silence", json={"by": "ada", "comment": "known"}) as answer:
        assert answer.status == 200, await answer.text()
    client = Alertmanager(world.session, [f"{alertmanager}/"], SystemClock())

    async def silenced() -> bool:
        look = await client.look()
        return look is not None and [a.status.state for a in look.alerts.values()] == ["suppressed"]

    await eventually(silenced)
    assert [i.status for i in world.pagerduty.incidents] == ["acknowledged"]
    async with world.session.delete(f"{api}/{identity}/silence") as answer:
        assert answer.status == 200, await answer.text()

    async def heard() -> bool:
        return [s.status.state for s in await client.silences()] == ["expired"]

    await eventually(heard)
    await until(lambda: len(world.pagerduty.pages) == 2)
    await world.fire(alertmanager, "Down", instance="a", resolved=True)
    await until(lambda: world.pagerduty.open() == [])


async def test_what_fires_there_and_was_lost_on_the_way_is_opened(world: World) -> None:
    alertmanager = await world.start_alertmanager("am")
    world.config = with_alertmanager(alertmanager)
    bot = await world.start_bot()
    await world.fire(alertmanager, "Known", instance="a")
    await until(lambda: len(world.pagerduty.pages) == 1)
    # A webhook that was answered and is not ours any more: the same Alertmanager, another store.
    await asyncio.sleep(2)
    bot.kill()
    await bot.wait()
    world.config = world.config.replace("alertmanager_url", "alertmanager_receiver: alertbot, alertmanager_url")
    for file in world.folder.glob("alertbot.db*"):
        file.unlink()
    await world.start_bot()
    await until(lambda: len(world.pagerduty.pages) == 2)


def with_alertmanager(url: str) -> str:
    """The bot's config, with an Alertmanager that is looked at every second."""
    return CONFIG.replace("global: {{", f"global: {{{{reconcile_every: 1s, alertmanager_url: '{url}', ")
