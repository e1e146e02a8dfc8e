"""A mail server on loopback: aiosmtpd's SMTP in the test's own event loop.

Run it as a process: `python -m tests.standins.smtp --port N --state FILE`. It has no control API: what it
keeps is in FILE.
"""

import argparse
import asyncio
import json
import signal
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.standins.faults import Fault, FaultScript
from tests.standins.server import Clock


@dataclass(slots=True)
class Mail:
    """One message that was taken."""

    at: float
    sender: str
    recipients: list[str]
    raw: str  # as it came, latin-1: every byte is kept

    @property
    def message(self) -> EmailMessage:
        """The message, parsed."""
        return message_from_bytes(self.raw.encode("latin-1"), policy=policy.default)

    @property
    def text(self) -> str:
        """Its plain text."""
        part = self.message.get_body(("plain",))
        return "" if part is None else str(part.get_content())


class SmtpStandin:
    """SMTP with SIZE, 8BITMIME and SMTPUTF8 (RFC 5321, 1870, 6152, 6531).

    size_limit    bytes, announced by SIZE and held to (552)
    login         (user, password) that AUTH PLAIN or LOGIN must give, over plain text; MAIL without it is 530
    refused       recipients and the answer they get: {"nobody@example.org": "550 5.1.1 no such mailbox"};
                  a 4xx answer is for now, a 5xx one for good (RFC 5321, 4.2.1)
    faults        by command (EHLO, MAIL, RCPT, DATA): `answer` with `status` and words in `body`, `hang`,
                  `delay`, `close`, and for DATA `done_close`, `done_hang`: taken, and the sender is not told
    """

    name = "smtp"

    def __init__(
        self,
        *,
        clock: Clock = time.time,
        port: int = 0,
        state: Path | None = None,
        size_limit: int = 10 * 2**20,
        login: tuple[str, str] | None = None,
    ) -> None:
        self.clock = clock
        self.port = port
        self.state_file = state
        self.size_limit = size_limit
        self.login = login
        self.refused: dict[str, str] = {}
        self.faults = FaultScript()
        self.mails: list[Mail] = []
        self.commands: list[tuple[str, str]] = []  # what was asked: (command, argument)
        self._server: asyncio.Server | None = None
        self._transports: set[asyncio.Transport] = set()

    @property
    def smarthost(self) -> str:
        """host:port, as `smtp_smarthost` takes it."""
        return f"127.0.0.1:{self.port}"

    url = smarthost

    async def start(self) -> None:
        """Listens on 127.0.0.1; takes up the state file if there is one."""
        if self.state_file is not None and self.state_file.exists():
            self.mails = [Mail(**mail) for mail in json.loads(self.state_file.read_text())["mails"]]
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends the waits, the connections and the server."""
        self.faults.clear()
        if self._server is not None:
            self._server.close()
            for transport in list(self._transports):
                transport.abort()
            await self._server.wait_closed()
            self._server = None
        self._save()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def _save(self) -> None:
        if self.state_file is not None:
            beside = self.state_file.with_suffix(".new")
            beside.write_text(json.dumps({"mails": [asdict(mail) for mail in self.mails]}))
            beside.replace(self.state_file)

    def _protocol(self) -> SMTP:
        with warnings.catch_warnings():
            # aiosmtpd warns of a login without TLS, which is what we want on loopback.
            warnings.filterwarnings("ignore", message="Requiring AUTH while not requiring TLS")
            return _Connection(
                self,
                hostname="stand-in.example.org",
                data_size_limit=self.size_limit,
                enable_SMTPUTF8=True,
                decode_data=False,
                auth_required=self.login is not None,
                auth_require_tls=False,
                authenticator=self._authenticate,
            )

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        good = isinstance(data, LoginPassword) and self.login == (data.login.decode(), data.password.decode())
        return AuthResult(success=good, handled=False)  # unhandled and not good: aiosmtpd says 535

    # aiosmtpd's hooks: what they return is the answer

    async def handle_EHLO(  # noqa: N802
        self,
        server: "_Connection",
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        self.commands.append(("EHLO", hostname))
        if said := await self._spoiled(server, "EHLO", {"hostname": hostname}):
            return [said]
        session.host_name = hostname
        return responses

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: "_Connection", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.commands.append(("MAIL", address))
        if said := await self._spoiled(server, "MAIL", {"address": address}):
            return said
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: "_Connection", session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.commands.append(("RCPT", address))
        if said := await self._spoiled(server, "RCPT", {"address": address}):
            return said
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: "_Connection", session: Session, envelope: Envelope) -> str:  # noqa: N802
        self.commands.append(("DATA", ""))
        fault = self.faults.take("DATA", {})
        done_first = fault is not None and fault.action in ("done_close", "done_hang")
        if fault is not None and not done_first and (said := await self._apply(server, fault)):
            return said
        raw = envelope.original_content or b""
        self.mails.append(Mail(self.clock(), envelope.mail_from or "", list(envelope.rcpt_tos), raw.decode("latin-1")))
        self._save()
        if fault is not None and done_first and (said := await self._apply(server, fault)):
            return said
        return "250 OK: queued"

    async def _spoiled(self, server: "_Connection", command: str, params: dict[str, Any]) -> str | None:
        fault = self.faults.take(command, params)
        return None if fault is None else await self._apply(server, fault)

    async def _apply(self, server: "_Connection", fault: Fault) -> str | None:
        """What a fault answers; None where the command goes on."""
        if fault.action == "answer":
            return f"{fault.status} {fault.body or 'refused'}"
        if fault.action in ("hang", "done_hang", "delay"):
            await self.faults.wait(fault.seconds)
        if fault.action == "delay":
            return None
        server.break_off()
        return "421 closing"  # goes nowhere: the connection is gone


class _Connection(SMTP):
    """aiosmtpd's protocol, whose connection a fault can break."""

    def __init__(self, standin: SmtpStandin, **options: Any) -> None:
        super().__init__(standin, **options)
        self._standin = standin
        self._raw: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._raw = cast("asyncio.Transport", transport)  # uvloop's is one, and no subclass
        self._standin._transports.add(self._raw)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        if self._raw is not None:
            self._standin._transports.discard(self._raw)
        super().connection_lost(error)

    def break_off(self) -> None:
        if self._raw is not None:
            self._raw.abort()


def _serve() -> None:
    parser = argparse.ArgumentParser(description=SmtpStandin.__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--state", type=Path)
    given = parser.parse_args()

    async def run() -> None:
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        async with SmtpStandin(port=given.port, state=given.state) as standin:
            sys.stdout.write(f"smtp listens on {standin.smarthost}\n")
            sys.stdout.flush()
            await ended.wait()

    asyncio.run(run())


if __name__ == "__main__":
    _serve()
