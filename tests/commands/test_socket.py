"""Socket Mode against slack-sdk's own client: connecting, again, and what is not acknowledged."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from alertbot.commands.socket import Socket
from tests.commands.desks import ADesk, text_of
from tests.standins.slack_socket import SocketUser


@pytest.fixture
async def socket(it: ADesk) -> AsyncIterator[Socket]:
    """Not connected yet; it tries again at once."""
    made = Socket(it.desk, it.bot.metrics, first=0.01, longest=0.02)
    yield made
    await made.close()


def user(it: ADesk) -> SocketUser:
    return SocketUser(it.slack.sockets, it.slack.url, clock=it.slack.now)


async def test_it_connects_again_after_refusals_a_request_to_and_a_cut(it: ADesk, socket: Socket) -> None:
    it.slack.faults.add("answer", "apps.connections.open", status=503, times=2)
    socket.use(it.slack.app_token, it.slack.api_url)
    await it.slack.sockets.until(connected=1)
    assert it.slack.sockets.connected == 1
    await it.slack.sockets.disconnect()
    await it.slack.sockets.until(connected=2)
    assert (await user(it).slash("/incident")).status == 200
    await it.slack.sockets.cut()
    await it.slack.sockets.until(connected=3)
    assert (await user(it).slash("/incident")).status == 200
    assert it.bot.sample("alertbot_slack_socket_up") == 1


async def test_a_command_is_answered_in_its_acknowledgement(it: ADesk, socket: Socket) -> None:
    await it.fire()
    socket.use(it.slack.app_token, it.slack.api_url)
    await it.slack.sockets.until(connected=1)
    answer = await user(it).slash("/incident", "list")
    assert text_of(answer.body).startswith("1 incident open\nCRITICAL  HighLatency")


async def test_what_could_not_be_stored_is_not_acknowledged_where_nobody_can_be_told(it: ADesk, socket: Socket) -> None:
    incident = await it.fire()
    socket.use(it.slack.app_token, it.slack.api_url)
    await it.slack.sockets.until(connected=1)
    alice = user(it)
    alice.answer_seconds = 0.5
    channel = it.slack.workspace.find("#ops-alerts")
    assert channel is not None
    given = await alice.interaction("#ops-alerts", it.slack.workspace.post(channel, {"text": "x"})["ts"])
    it.slack.faults.add("answer", "respond", status=500)
    it.bot.store.away = True
    button = {"action_id": "acknowledge", "value": incident, "type": "button"}
    assert (await alice.send_press(given, button, "1.1")).status is None
    it.bot.store.away = False
    assert (await alice.send_press(given, button, "1.1")).status == 200


async def test_what_is_no_envelope_is_passed_over(it: ADesk, socket: Socket) -> None:
    socket.use(it.slack.app_token, it.slack.api_url)
    await it.slack.sockets.until(connected=1)
    for text in ("", "[]", "{", '{"type": "events_api"}', '{"envelope_id": 3}'):
        await it.slack.sockets.open[-1].send_str(text)
    # What makes no sense is acknowledged: sent again it would make no more.
    assert (await it.slack.sockets.send("slash_commands", {"text": "no command"})).status == 200
    assert (await it.slack.sockets.send("events_api", {})).status == 200


async def test_a_wrong_token_is_tried_now_and_then_and_ends_with_the_config(it: ADesk, socket: Socket) -> None:
    socket.use("xapp-wrong", it.slack.api_url)
    while len(it.slack.calls("apps.connections.open")) < 3:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)
    socket.use(it.slack.app_token, it.slack.api_url)
    await it.slack.sockets.until(connected=1)
    socket.use("", it.slack.api_url)
    assert it.bot.sample("alertbot_slack_socket_up") == 0
