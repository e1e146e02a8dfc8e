"""A text message fits two segments, says the most with them, and keeps its link."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alertbot.domain.model import Action
from alertbot.notifiers.base import Failed, Links, Retry, Sent
from alertbot.notifiers.sms import SEGMENTS, SmsNotifier, segments, transliterate
from tests.notifiers.jobs import NASTY, PAGE, job
from tests.standins.faults import FlakyProxy
from tests.standins.twilio import ACCOUNT_SID, TwilioStandin
from tests.standins.twilio import segments as billed

TO, FROM, TOKEN = "+15550100", "+15550199", "stand-in-token"


@pytest.fixture
async def twilio() -> AsyncIterator[TwilioStandin]:
    async with TwilioStandin() as standin:
        yield standin


@pytest.fixture
async def notifier(twilio: TwilioStandin) -> AsyncIterator[SmsNotifier]:
    made = SmsNotifier(ACCOUNT_SID, TOKEN, to=TO, sender=FROM, url=twilio.url, timeout=5)
    yield made
    await made.close()


def texts() -> SmsNotifier:
    return SmsNotifier("AC", "t", to=TO, sender=FROM)


async def test_a_page_is_one_message_to_one_number(twilio: TwilioStandin, notifier: SmsNotifier) -> None:
    result = await notifier.deliver(job(firing=2))
    (message,) = twilio.messages
    assert result == Sent(remote_id=message["sid"])
    assert (message["to"], message["from"]) == (TO, FROM)
    assert message["body"] == f"CRITICAL: HighErrorRate prod (2 firing)\n{PAGE}"


async def test_a_messaging_service_sends_instead_of_a_number(twilio: TwilioStandin) -> None:
    made = SmsNotifier(ACCOUNT_SID, TOKEN, to=TO, messaging_service_sid="MG1", url=twilio.url + "/")
    assert isinstance(await made.deliver(job()), Sent)
    await made.close()
    assert (twilio.messages[0]["messaging_service_sid"], twilio.messages[0]["from"]) == ("MG1", None)


async def test_the_end_is_told_too(twilio: TwilioStandin, notifier: SmsNotifier) -> None:
    await notifier.deliver(job(Action.RESOLVE))
    assert twilio.messages[0]["body"].startswith("RESOLVED: HighErrorRate prod")


@pytest.mark.parametrize(
    ("rule", "number", "words"),
    [
        ("somebody who said STOP is not written to again", "+15550111", "unsubscribed recipient (21610)"),
        ("nobody has this number", "+15550122", "Invalid 'To' Phone Number (21211)"),
        ("this is no number", "12", "Invalid 'To' Phone Number (21211)"),
    ],
)
async def test_what_is_refused_for_good_is_said_in_twilios_words(
    rule: str, number: str, words: str, twilio: TwilioStandin
) -> None:
    twilio.unsubscribed, twilio.bad_numbers = {"+15550111"}, {"+15550122"}
    made = SmsNotifier(ACCOUNT_SID, TOKEN, to=number, sender=FROM, url=twilio.url)
    result = await made.deliver(job())
    await made.close()
    assert isinstance(result, Failed), rule
    assert words in result.error


async def test_too_many_at_once_and_a_failing_provider_are_tried_again(
    twilio: TwilioStandin, notifier: SmsNotifier
) -> None:
    limited = {"code": 20429, "message": "Too Many Requests", "status": 429}
    twilio.faults.add("answer", "Messages", status=429, body=limited)
    twilio.faults.add("answer", "Messages", status=400, body=limited)
    twilio.faults.add("answer", "Messages", status=503)
    assert [type(await notifier.deliver(job())) for _ in range(4)] == [Retry, Retry, Retry, Sent]


async def test_wrong_credentials_are_final(twilio: TwilioStandin) -> None:
    made = SmsNotifier(ACCOUNT_SID, "wrong-token", to=TO, sender=FROM, url=twilio.url)
    result = await made.deliver(job())
    await made.close()
    assert result == Failed("Twilio answered 401: Authenticate (20003)")


async def test_a_page_of_somebody_in_between_is_no_delivery(twilio: TwilioStandin, notifier: SmsNotifier) -> None:
    twilio.faults.add("answer", "Messages", status=200, body="<html>log in to the guest network</html>")
    result = await notifier.deliver(job())
    assert isinstance(result, Retry)
    assert result.uncertain


async def test_a_lost_answer_is_uncertain(twilio: TwilioStandin) -> None:
    async with FlakyProxy(twilio.port) as proxy:
        proxy.swallow_answer = True
        made = SmsNotifier(ACCOUNT_SID, TOKEN, to=TO, sender=FROM, url=proxy.url, timeout=5)
        result = await made.deliver(job())
        await made.close()
    assert isinstance(result, Retry)
    assert result.uncertain


def test_a_long_title_gives_way_and_the_link_stays() -> None:
    text = texts().text(job(title="word " * 500))
    assert segments(text) == SEGMENTS
    assert text.endswith("\n" + PAGE)
    assert "... (1 firing)" in text
    assert len(text) > 280  # not cut more than it must be


def test_a_link_that_leaves_no_room_is_dropped() -> None:
    text = texts().text(job(links=Links(incident="https://a.example/" + "x" * 1500)))
    assert text == "CRITICAL: HighErrorRate prod (1 firing)"


def test_typography_does_not_halve_a_segment() -> None:
    assert transliterate("“it’s´” 5 – 6 … → ő\u00a0Ž ½ 🔥") == "\"it's'\" 5 - 6 ... -> o Z 1/2 "


def test_other_scripts_stay_and_cost_what_they_cost() -> None:
    text = texts().text(job(title="служба недоступна " * 30))
    assert "служба" in text
    assert billed(text) == SEGMENTS


@given(st.text(st.characters(codec=None), max_size=400))
def test_no_text_costs_more_than_two_segments(title: str) -> None:
    text = texts().text(job(title=title))
    assert 1 <= billed(text) <= SEGMENTS
    assert "\r" not in text
    text.encode()


@given(st.text(st.characters(codec="utf-8")))
def test_we_count_segments_as_the_provider_does(text: str) -> None:
    assert segments(text) == (billed(text) if text else 0)


async def test_markup_and_controls_do_not_arrive(twilio: TwilioStandin, notifier: SmsNotifier) -> None:
    assert isinstance(await notifier.deliver(job(title=NASTY)), Sent)
    body = twilio.messages[0]["body"]
    assert not set(body) & set("\x00\x1b\r\u202e")
    assert body.count("\n") == 1


async def test_without_a_sender_nothing_is_tried(twilio: TwilioStandin) -> None:
    made = SmsNotifier(ACCOUNT_SID, TOKEN, to=TO, url=twilio.url)
    assert isinstance(await made.deliver(job()), Failed)
    assert twilio.requests == []
