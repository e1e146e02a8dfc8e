"""The log as a destination: one line a notification."""

import logging

import pytest

from alertbot.notifiers.base import Sent
from alertbot.notifiers.log import LogNotifier
from tests.notifiers.jobs import NASTY, job


async def test_a_notification_is_one_structured_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alertbot.notify"):
        assert isinstance(await LogNotifier().deliver(job(firing=2)), Sent)
    (record,) = caplog.records
    assert record.getMessage() == "open [critical] HighErrorRate prod (2 firing)"
    fields = vars(record)
    assert (fields["incident"], fields["action"], fields["severity"], fields["firing"]) == (
        "i1",
        "open",
        "critical",
        2,
    )
    assert (fields["title"], fields["reason"]) == ("HighErrorRate prod", "first_notification")


async def test_whatever_the_content_it_stays_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alertbot.notify"):
        await LogNotifier().deliver(job(title=NASTY, severity=NASTY, labels={NASTY: NASTY}))
    (record,) = caplog.records
    message = record.getMessage()
    assert len(message.splitlines()) == 1
    assert not set(message) & set("\x00\x1b\u202e")
    assert "{{ 7*7 }}" in message  # shown as it came, and run by nobody
    message.encode()
