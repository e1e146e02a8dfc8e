"""Mail threads, cannot be bent by what stands in it, and is told from a repeat by its id."""

import asyncio
import ssl
import subprocess
from collections.abc import AsyncIterator
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP
from hypothesis import given
from hypothesis import strategies as st

from alertbot.domain.model import Action, Level
from alertbot.notifiers.base import Failed, Result, Retry, Sent
from alertbot.notifiers.email import EmailNotifier
from tests.notifiers.jobs import NASTY, OPEN, PAGE, RESOLVED, alert, job
from tests.standins.faults import FlakyProxy
from tests.standins.smtp import SmtpStandin

SENDER, OPS = "alertbot@example.org", "ops@example.org"


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpStandin]:
    async with SmtpStandin() as standin:
        yield standin


def make(port: int = 1, **more: Any) -> EmailNotifier:
    settings: dict[str, Any] = {
        "host": "127.0.0.1", "port": port, "sender": SENDER, "addresses": [OPS],
        "require_tls": False, "id_host": "alertbot.example.org", "timeout": 5,
    }  # fmt: skip
    return EmailNotifier(**{**settings, **more})


async def test_a_mail_says_it_in_text_and_html(smtp: SmtpStandin) -> None:
    result = await make(smtp.port).deliver(job(firing=2))
    assert result == Sent(remote_id="<i1.1.1@alertbot.example.org>")
    (mail,) = smtp.mails
    assert (mail.sender, mail.recipients) == (SENDER, [OPS])
    message = mail.message
    assert message["Subject"] == "[CRITICAL] HighErrorRate prod (2 firing)"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"] == "Sat, 21 Nov 2026 03:12:00 +0000"
    html = message.get_body(("html",))
    assert html is not None
    for text in (mail.text, html.get_content()):
        assert "1 % of requests fail" in text
        assert PAGE in text
        assert "api-1:8080" in text


def test_all_mails_of_an_incident_are_one_thread_and_each_has_its_own_id() -> None:
    opened = make().message(job(want=Level(OPEN, 1, 1, 1)))
    later = make().message(job(Action.RESOLVE, want=Level(RESOLVED, 1, 4, 1)))
    reminder = make().message(job(Action.REMIND, want=Level(OPEN, 1, 1, 1), kind="remind"))
    again = make().message(job(Action.REOPEN, want=Level(OPEN, 2, 5, 5)))
    mails = (opened, later, reminder, again)
    assert {(m["In-Reply-To"], m["References"]) for m in mails} == {("<i1@alertbot.example.org>",) * 2}
    assert len({m["Message-ID"] for m in mails}) == 4


def test_a_repeated_attempt_makes_the_same_mail() -> None:
    assert make().message(job()).as_bytes() == make().message(job()).as_bytes()


@pytest.mark.parametrize("place", ["title", "severity", "label", "summary", "person"])
def test_no_text_can_add_a_header_or_markup(place: str) -> None:
    places: dict[str, dict[str, Any]] = {
        "title": {"title": NASTY},
        "severity": {"severity": NASTY},
        "label": {"labels": {NASTY: NASTY}},
        "summary": {"alerts": [alert(1, labels={NASTY: NASTY}, annotations={"summary": NASTY, "description": NASTY})]},
        "person": {"acknowledged_by": NASTY, "resolved_by": NASTY},
    }
    changes = places[place]
    plain = message_from_bytes(make().message(job()).as_bytes(), policy=policy.default)
    bent = message_from_bytes(make().message(job(**changes)).as_bytes(), policy=policy.default)
    assert bent.keys() == plain.keys()
    assert len(list(bent.walk())) == 3
    html = bent.get_body(("html",))
    assert html is not None
    assert "<script" not in html.get_content()
    assert "\n" not in bent["Subject"]


@given(st.text(st.characters(codec=None), max_size=300))
def test_any_title_makes_a_mail_with_one_short_subject_line(title: str) -> None:
    raw = make().message(job(title=title)).as_bytes()
    message = message_from_bytes(raw, policy=policy.default)
    assert len(message["Subject"]) <= 250
    assert message["To"] == OPS


def test_the_subject_of_a_very_long_title_is_cut_and_says_so() -> None:
    subject = make().message(job(title="x" * 5000))["Subject"]
    assert len(subject) == 200
    assert "more characters" in subject


def test_links_in_html_are_addresses_only() -> None:
    html = make().message(job()).get_body(("html",))
    assert html is not None
    assert f'<a href="{PAGE}">Incident</a>' in html.get_content()


def test_own_headers_are_added_but_not_those_that_are_ours() -> None:
    message = make(headers={"X-Team": "ops\r\nBcc: x@example.net", "Message-ID": "<other@x>"}).message(job())
    assert message["X-Team"] == "ops Bcc: x@example.net"
    assert message["Bcc"] is None
    assert message.get_all("Message-ID") == ["<i1.1.1@alertbot.example.org>"]


@pytest.mark.parametrize("command", ["MAIL", "RCPT", "DATA"])
@pytest.mark.parametrize(("status", "kind"), [(421, Retry), (450, Retry), (452, Retry), (550, Failed), (554, Failed)])
async def test_4xx_is_for_now_and_5xx_for_good(command: str, status: int, kind: type, smtp: SmtpStandin) -> None:
    smtp.faults.add("answer", command, status=status, body="5.7.1 the words of the server")
    result = await make(smtp.port).deliver(job())
    assert isinstance(result, kind)
    assert "the words of the server" in error(result)
    assert smtp.mails == []


def error(result: Result) -> str:
    assert isinstance(result, Retry | Failed)
    return result.error


async def test_one_full_mailbox_does_not_send_the_others_the_mail_twice(smtp: SmtpStandin) -> None:
    smtp.refused = {"full@example.org": "452 4.2.2 mailbox full"}
    notifier = make(smtp.port, addresses=[OPS, "full@example.org"])
    first = await notifier.deliver(job())
    assert isinstance(first, Retry)
    assert "mailbox full" in first.error
    smtp.refused = {}
    assert isinstance(await notifier.deliver(job(remote=first.remote)), Sent)
    assert [m.recipients for m in smtp.mails] == [[OPS], ["full@example.org"]]


async def test_what_one_mail_reached_says_nothing_of_the_next(smtp: SmtpStandin) -> None:
    remote = {"message_id": "<i1.1.1@alertbot.example.org>", "taken": OPS}
    await make(smtp.port).deliver(job(Action.RESOLVE, want=Level(RESOLVED, 1, 2, 1), remote=remote))
    assert [m.recipients for m in smtp.mails] == [[OPS]]


async def test_an_address_that_is_refused_for_good_is_named_and_the_others_get_it(smtp: SmtpStandin) -> None:
    smtp.refused = {"gone@example.org": "550 5.1.1 no such mailbox"}
    result = await make(smtp.port, addresses=[OPS, "gone@example.org"]).deliver(job())
    assert isinstance(result, Failed)
    assert "gone@example.org: 550" in result.error
    assert [m.recipients for m in smtp.mails] == [[OPS]]


async def test_a_lost_answer_to_the_message_is_uncertain_and_the_repeat_has_its_id(smtp: SmtpStandin) -> None:
    smtp.faults.add("done_close", "DATA")
    notifier = make(smtp.port)
    result = await notifier.deliver(job())
    assert isinstance(result, Retry)
    assert result.uncertain
    await notifier.deliver(job(uncertain=True))
    assert [m.message["Message-ID"] for m in smtp.mails] == ["<i1.1.1@alertbot.example.org>"] * 2


async def test_a_connection_lost_before_the_message_is_certain(smtp: SmtpStandin) -> None:
    smtp.faults.add("close", "RCPT")
    result = await make(smtp.port).deliver(job())
    assert isinstance(result, Retry)
    assert not result.uncertain


async def test_nobody_listening_is_for_now(smtp: SmtpStandin) -> None:
    async with FlakyProxy(smtp.port) as proxy:
        await proxy.refuse()
        result = await make(proxy.port).deliver(job())
    assert isinstance(result, Retry)
    assert not result.uncertain


async def test_it_logs_in(smtp: SmtpStandin) -> None:
    smtp.login = ("bot", "s3cret")
    good = await make(smtp.port, username="bot", password="s3cret").deliver(job())
    bad = await make(smtp.port, username="bot", password="wrong-one").deliver(job())
    assert isinstance(good, Sent)
    assert isinstance(bad, Failed)
    assert "wrong-one" not in bad.error


async def test_where_tls_is_required_a_server_without_it_gets_nothing(smtp: SmtpStandin) -> None:
    result = await make(smtp.port, require_tls=True, username="bot", password="s3cret").deliver(job())
    assert isinstance(result, Failed)
    assert "STARTTLS" in result.error
    assert {c for c, _ in smtp.commands} == {"EHLO"}


class TlsServer:
    """aiosmtpd with STARTTLS and a certificate that nobody signed."""

    def __init__(self, folder: Path) -> None:
        self.cert, key = folder / "cert.pem", folder / "key.pem"
        command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
        arguments = [*command.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.cert)]
        subprocess.run(arguments, check=True, capture_output=True)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(self.cert, key)
        self.over_tls: list[bool] = []
        self.port = 0

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        self.over_tls.append(session.ssl is not None)
        return "250 OK"

    async def __aenter__(self) -> "TlsServer":
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(
            lambda: SMTP(self, hostname="tls.example.org", tls_context=self.context), "127.0.0.1", 0
        )
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()
        await self.server.wait_closed()


async def test_tls_is_used_where_it_is_offered_and_checked_where_it_is_required(tmp_path: Path) -> None:
    async with TlsServer(tmp_path) as server:
        offered = await make(server.port).deliver(job())
        unknown = await make(server.port, require_tls=True).deliver(job())
        trusted = ssl.create_default_context(cafile=str(server.cert))
        known = await make(server.port, require_tls=True, tls=trusted).deliver(job())
    assert isinstance(offered, Sent)
    assert isinstance(unknown, Retry)
    assert isinstance(known, Sent)
    assert server.over_tls == [True, True]


@pytest.mark.parametrize("address", ["", "@", "a@b@c", "x\r\nRCPT TO:<y@example.net>", "\ud800@example.org"])
async def test_a_bad_address_is_no_crash_and_no_command_of_its_own(address: str, smtp: SmtpStandin) -> None:
    await make(smtp.port, addresses=[address]).deliver(job())
    assert len([c for c, _ in smtp.commands if c == "RCPT"]) <= 1
