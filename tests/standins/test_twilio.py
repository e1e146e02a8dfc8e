"""Twilio's rules."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from tests.standins.twilio import ACCOUNT_SID, TwilioStandin, segments

TEXT = {"To": "+15550100", "From": "+15550199", "Body": "High error rate"}


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioStandin]:
    async with TwilioStandin(clock=lambda: 1_800_000_000.0) as standin:
        standin.unsubscribed = {"+15550111"}
        yield standin


async def send(
    twilio: TwilioStandin, form: dict[str, str], *, sid: str = ACCOUNT_SID, token: str = "stand-in-token"
) -> tuple[int, Any]:
    url = f"{twilio.url}/2010-04-01/Accounts/{sid}/Messages.json"
    headers = {"Authorization": aiohttp.encode_basic_auth(ACCOUNT_SID, token)}
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=form, headers=headers) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_text_is_queued_and_has_a_sid(twilio: TwilioStandin) -> None:
    status, answer = await send(twilio, TEXT)
    assert (status, answer["status"], answer["num_segments"]) == (201, "queued", "1")
    assert answer["sid"] == twilio.messages[0]["sid"]
    assert twilio.messages[0]["body"] == "High error rate"


REFUSED = [
    # the rule, what differs, Twilio's code
    ("a body has 1600 characters at most", {"Body": "x" * 1601}, 21617),
    ("a body is required", {"Body": ""}, 21602),
    ("a number is E.164", {"To": "555-0100"}, 21211),
    ("who said STOP gets nothing", {"To": "+15550111"}, 21610),
    ("a sender is required", {"From": ""}, 21603),
]


@pytest.mark.parametrize(("change", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_a_text_is_refused(twilio: TwilioStandin, change: dict[str, str], code: int) -> None:
    status, answer = await send(twilio, TEXT | change)
    assert (status, answer["code"], answer["status"]) == (400, code, 400)
    assert twilio.messages == []


async def test_the_longest_text_and_a_messaging_service_pass(twilio: TwilioStandin) -> None:
    service = {"To": "+15550100", "MessagingServiceSid": "MG" + "0" * 32, "Body": "x" * 1600}
    assert (await send(twilio, service))[0] == 201


async def test_credentials_are_checked(twilio: TwilioStandin) -> None:
    assert (await send(twilio, TEXT, token="wrong"))[1]["code"] == 20003
    assert (await send(twilio, TEXT, sid="AC" + "1" * 32))[0] == 401


async def test_too_many_a_second_are_refused_for_now() -> None:
    now = [1_800_000_000.0]
    async with TwilioStandin(clock=lambda: now[0], per_second=1) as twilio:
        assert (await send(twilio, TEXT))[0] == 201
        status, answer = await send(twilio, TEXT)
        assert (status, answer["code"]) == (429, 20429)
        now[0] += 1
        assert (await send(twilio, TEXT))[0] == 201


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("x" * 160, 1),
        ("x" * 161, 2),
        ("€" * 80, 1),
        ("€" * 81, 2),
        ("–" * 70, 1),
        ("–" * 71, 2),
        ("🔥" * 36, 2),
    ],
)
def test_segments_are_160_letters_or_70_with_one_that_gsm_lacks(text: str, count: int) -> None:
    assert segments(text) == count
