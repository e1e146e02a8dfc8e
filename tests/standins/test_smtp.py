"""The mail server's rules, asked with aiosmtplib."""

import asyncio
from collections.abc import AsyncIterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import aiosmtplib
import pytest

from tests.standins.process import StandinProcess
from tests.standins.smtp import SmtpStandin


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpStandin]:
    async with SmtpStandin(clock=lambda: 1_800_000_000.0, size_limit=10_000) as standin:
        yield standin


def mail(text: str = "High error rate at the café\n") -> EmailMessage:
    message = EmailMessage()
    message["From"] = "alertbot@example.org"
    message["To"] = "ops@example.org"
    message["Subject"] = "🔥 api"
    message["Message-ID"] = "<i1@alertbot.example.org>"
    message.set_content(text)
    return message


async def send(port: int, message: EmailMessage | None = None, **options: Any) -> None:
    await aiosmtplib.send(message or mail(), hostname="127.0.0.1", port=port, timeout=5, start_tls=False, **options)


async def test_a_mail_is_taken_and_can_be_read(smtp: SmtpStandin) -> None:
    await send(smtp.port)
    (taken,) = smtp.mails
    assert (taken.sender, taken.recipients) == ("alertbot@example.org", ["ops@example.org"])
    assert taken.message["Subject"] == "🔥 api"
    assert taken.text.strip() == "High error rate at the café"


@pytest.mark.parametrize("answer", ["550 5.1.1 no such mailbox", "450 4.2.1 try later"])
async def test_a_recipient_is_refused_for_good_or_for_now(smtp: SmtpStandin, answer: str) -> None:
    smtp.refused["ops@example.org"] = answer
    with pytest.raises(aiosmtplib.SMTPRecipientsRefused) as refused:
        await send(smtp.port)
    assert refused.value.recipients[0].code == int(answer[:3])
    assert smtp.mails == []


@pytest.mark.parametrize("status", [451, 552])
async def test_the_data_are_refused(smtp: SmtpStandin, status: int) -> None:
    smtp.faults.add("answer", "DATA", status=status, body="no")
    with pytest.raises(aiosmtplib.SMTPDataError) as refused:
        await send(smtp.port)
    assert refused.value.code == status
    assert smtp.mails == []
    await send(smtp.port)  # the fault was for once
    assert len(smtp.mails) == 1


async def test_a_mail_over_the_size_is_refused(smtp: SmtpStandin) -> None:
    with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
        await send(smtp.port, mail("x\n" * 6000))
    assert refused.value.code == 552
    assert smtp.mails == []


async def test_a_login_is_asked_for() -> None:
    async with SmtpStandin(login=("alertbot", "shh")) as smtp:
        with pytest.raises(aiosmtplib.SMTPResponseException) as refused:
            await send(smtp.port)
        assert refused.value.code == 530
        with pytest.raises(aiosmtplib.SMTPAuthenticationError):
            await send(smtp.port, username="alertbot", password="wrong")
        assert smtp.mails == []
        await send(smtp.port, username="alertbot", password="shh")
        assert len(smtp.mails) == 1


async def test_a_mail_can_be_taken_without_the_sender_being_told(smtp: SmtpStandin) -> None:
    smtp.faults.add("done_close", "DATA")
    with pytest.raises(aiosmtplib.SMTPServerDisconnected):
        await send(smtp.port)
    assert len(smtp.mails) == 1


async def test_a_server_that_hangs_holds_the_sender_until_released(smtp: SmtpStandin) -> None:
    smtp.faults.add("delay", "MAIL")
    sending = asyncio.create_task(send(smtp.port))
    await asyncio.wait_for(smtp.faults.until_held(), 5)
    assert smtp.mails == []
    smtp.faults.release()
    await sending
    assert len(smtp.mails) == 1


async def test_in_a_process_of_its_own_it_keeps_its_mail(tmp_path: Path) -> None:
    async with StandinProcess("smtp", state=tmp_path / "smtp.json") as process:
        await send(process.port)
        await process.kill()
        await process.start()
        await send(process.port)
    standin = SmtpStandin(state=tmp_path / "smtp.json")
    async with standin:
        assert [taken.message["Subject"] for taken in standin.mails] == ["🔥 api"] * 2
