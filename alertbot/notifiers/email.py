"""Mail, by SMTP: text and HTML in one message.

RFC 5321, 4.2.1: a 4xx answer is for now, a 5xx one for good. A lost answer to the message itself leaves it
unknown whether it was taken; the repeat has the same Message-ID, by which mail programs know it again.
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import re
import ssl
from collections.abc import Mapping, Sequence
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import SMTP as SMTP_POLICY
from email.utils import format_datetime, parseaddr
from typing import Final

import aiosmtplib

from alertbot.domain.budgets import EMAIL
from alertbot.notifiers.answers import safe_words
from alertbot.notifiers.base import DryRun, Failed, Job, Later, Limiter, Result, Retry, Sent, Unlimited
from alertbot.render import context, cut, environment, one_line

SUBJECT: Final = 200
#: An attempt is a dozen exchanges: each within `timeout`, and all of them within so many times that.
EXCHANGES: Final = 3
#: Port of SMTP over TLS from the first byte (RFC 8314).
SUBMISSIONS: Final = 465
_NOT_IN_ID: Final = re.compile(r"[^A-Za-z0-9._-]")
#: Headers that are ours to set.
_OURS: Final = frozenset(
    [
        "from",
        "to",
        "subject",
        "date",
        "message-id",
        "in-reply-to",
        "references",
        "auto-submitted",
        "mime-version",
        "content-type",
    ]
)


class EmailNotifier:
    """One list of addresses at one smarthost (`host` and `port`; without a host it runs dry).

    `addresses` are bare, for the envelope; `header_to` is what the mail shows. With `require_tls` a server
    without STARTTLS, or whose certificate is not good, gets nothing; without it TLS is used where it is
    offered. A password is never sent in the clear, but to this machine. `hello` is what we call ourselves in
    EHLO; `id_host` is the name that message ids end in (default: the sender's domain). `timeout`, in seconds,
    is for one exchange.
    """

    def __init__(
        self,
        *,
        host: str | None,
        port: int = 25,
        sender: str,
        addresses: Sequence[str],
        header_to: str = "",
        username: str = "",
        password: str = "",
        require_tls: bool = True,
        hello: str = "localhost",
        headers: Mapping[str, str] | None = None,
        id_host: str = "",
        timeout: float = 10.0,
        tls: ssl.SSLContext | None = None,
        limiter: Limiter | None = None,
    ) -> None:
        self._limiter = limiter or Unlimited()
        self.dry: str | None = None if host else "smtp_smarthost"
        self.addresses = tuple(one_line(a) for a in addresses)
        self.timeout = timeout
        self._host, self._port = host or "", port
        self._sender = sender
        self._envelope_from = one_line(parseaddr(sender)[1])
        self._header_to = header_to or ", ".join(self.addresses)
        self._username, self._password = username, password
        self._require_tls = require_tls
        self._hello = hello
        self._headers = {k: v for k, v in (headers or {}).items() if k.lower() not in _OURS}
        domain = self._envelope_from.rpartition("@")[2]
        self._id_host = _NOT_IN_ID.sub("", id_host or domain) or "alertbot.invalid"
        self._tls = tls
        env = environment("email")
        self._subject = env.get_template("subject.j2")
        self._text = env.get_template("mail.txt.j2")
        self._html = env.get_template("mail.html.j2")

    def message(self, job: Job) -> EmailMessage:
        """The mail of a job: the same job gives the same mail, with the same ids."""
        values = context(job)
        mail = EmailMessage(policy=SMTP_POLICY)
        mail["From"] = one_line(self._sender)
        mail["To"] = one_line(self._header_to)
        mail["Subject"] = cut(one_line(self._subject.render(values)), SUBJECT)
        mail["Date"] = format_datetime(job.now)
        mail["Message-ID"] = self.message_id(job)
        # Every mail of an incident answers a first one that nobody got: so they are one thread, whichever
        # came first.
        mail["In-Reply-To"] = mail["References"] = f"<{_id_part(job.incident.id)}@{self._id_host}>"
        mail["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers
        for name, value in self._headers.items():
            mail[name] = one_line(value)
        mail.set_content(self._text.render(values))
        mail.add_alternative(self._html.render(values), subtype="html")
        mail.set_boundary(hashlib.sha256(self.message_id(job).encode()).hexdigest()[:32])
        return mail

    def message_id(self, job: Job) -> str:
        """`<incident.opening.revision@host>`: the same for every repeat of one notification."""
        want = job.delivery.want
        parts = [job.incident.id, str(want.level.opening), str(want.level.revision)]
        if want.kind != "incident":
            parts.append(want.kind)
        return f"<{'.'.join(_id_part(p) for p in parts)}@{self._id_host}>"

    async def deliver(self, job: Job) -> Result:
        """One SMTP session. Recipients that took the mail are remembered, and not sent it again."""
        try:
            mail = self.message(job)
            raw = mail.as_bytes()
        except (MessageError, ValueError, UnicodeError, IndexError) as e:
            # The email package's parser raises all of these on addresses and headers that it cannot write.
            return Failed(f"the mail cannot be written: {safe_words(e, self._secrets())}")
        if self.dry:
            return DryRun(f"{', '.join(self.addresses)}: {mail['Subject']}")
        until = await self._limiter.spend(EMAIL, ", ".join(self.addresses), job.urgency)
        if until is not None:
            return Later(until)
        attempt = _Attempt(self, job, raw)
        try:
            async with asyncio.timeout(EXCHANGES * self.timeout):
                return await attempt.run()
        except TimeoutError:  # aiosmtplib's own are of this class too
            where = "the message" if attempt.in_data else "a command"
            return Retry(f"{self._host} did not answer {where}", uncertain=attempt.in_data)
        except _RefusedError as e:
            return e.result
        except aiosmtplib.SMTPResponseException as e:
            return self._by_code(e.code, e.message)
        except ssl.SSLError as e:
            return Retry(f"TLS with {self._host} failed: {safe_words(e.reason or e, self._secrets())}")
        except (aiosmtplib.SMTPException, OSError) as e:
            return Retry(f"the connection to {self._host} failed: {type(e).__name__}", uncertain=attempt.in_data)
        finally:
            attempt.client.close()

    def _by_code(self, code: int, words: object) -> Retry | Failed:
        said = f"{self._host} answered {code}: {safe_words(words, self._secrets())}"
        return Failed(said) if 500 <= code < 600 else Retry(said)

    def _context(self) -> ssl.SSLContext:
        """Certificates are checked where TLS is required; elsewhere even an unknown peer's TLS is better than
        none."""
        if self._tls is None:
            self._tls = ssl.create_default_context()
            harmless = not self._username or _is_loopback(self._host)
            if harmless and not self._require_tls and self._port != SUBMISSIONS:
                self._tls.check_hostname = False
                self._tls.verify_mode = ssl.CERT_NONE
        return self._tls

    def _secrets(self) -> tuple[str, ...]:
        return (self._password,)

    async def close(self) -> None:
        """Nothing to let go: every attempt has a connection of its own."""

    def __repr__(self) -> str:
        return f"EmailNotifier({', '.join(self.addresses)!r})"


class _RefusedError(Exception):
    """The session ends here, with this result."""

    def __init__(self, result: Retry | Failed) -> None:
        super().__init__(result.error)
        self.result = result


class _Attempt:
    """One session: connect, TLS, authenticate, hand over."""

    def __init__(self, notifier: EmailNotifier, job: Job, raw: bytes) -> None:
        self.notifier = notifier
        self.raw = raw
        self.in_data = False
        self.id = notifier.message_id(job)
        remote = job.delivery.remote
        taken = remote.get("taken", "").split() if remote.get("message_id") == self.id else []
        self.taken = set(taken)
        self.client = aiosmtplib.SMTP(
            hostname=notifier._host,
            port=notifier._port,
            local_hostname=notifier._hello,
            timeout=notifier.timeout,
            use_tls=notifier._port == SUBMISSIONS,
            start_tls=False,  # done by `_secure`
            tls_context=notifier._context(),
        )

    async def run(self) -> Result:
        """Sends to those that have not taken it yet."""
        n = self.notifier
        await self.client.connect()
        await self.client.ehlo()
        await self._secure()
        await self._log_in()
        await self.client.mail(n._envelope_from, options=self._options(), encoding="utf-8")
        refused: dict[str, tuple[int, str]] = {}
        accepted: list[str] = []
        for address in n.addresses:
            if address in self.taken:
                continue
            try:
                await self.client.rcpt(address, encoding="utf-8")
                accepted.append(address)
            except aiosmtplib.SMTPRecipientRefused as e:
                refused[address] = (e.code, e.message)
        if accepted:
            self.in_data = True
            await self.client.data(self.raw)
            self.in_data = False
            self.taken.update(accepted)
        await self._bye()
        return self._result(refused)

    async def _secure(self) -> None:
        n = self.notifier
        if n._port == SUBMISSIONS:
            return
        if self.client.supports_extension("starttls"):
            await self.client.starttls(tls_context=n._context())
            await self.client.ehlo()
        elif n._require_tls:
            raise _RefusedError(Failed(f"{n._host} offers no STARTTLS, and smtp_require_tls asks for it"))
        elif n._username and not _is_loopback(n._host):
            raise _RefusedError(Failed(f"{n._host} offers no STARTTLS: the password is not sent in the clear"))

    async def _log_in(self) -> None:
        n = self.notifier
        if not n._username:
            return
        if not self.client.supports_extension("auth"):
            raise _RefusedError(Failed(f"{n._host} offers no authentication, and a username is set"))
        await self.client.login(n._username, n._password)

    def _options(self) -> list[str]:
        """RFC 6531: addresses in other than ASCII only to a server that takes them."""
        n = self.notifier
        if all(a.isascii() for a in (n._envelope_from, *n.addresses)):
            return []
        if not self.client.supports_extension("smtputf8"):
            raise _RefusedError(Failed(f"{n._host} takes only addresses in ASCII"))
        return ["SMTPUTF8"]

    async def _bye(self) -> None:
        """The mail is taken: what goes wrong at the parting changes nothing."""
        try:
            await self.client.quit()
        except (aiosmtplib.SMTPException, OSError, TimeoutError):
            return

    def _result(self, refused: Mapping[str, tuple[int, str]]) -> Result:
        if not refused:
            return Sent(remote_id=self.id)
        remote = {"message_id": self.id, "taken": " ".join(sorted(self.taken))}
        for_good = [code for code, _ in refused.values() if 500 <= code < 600]
        words = "; ".join(f"{a}: {code} {said}" for a, (code, said) in refused.items())
        said = f"{self.notifier._host} refused {safe_words(words, self.notifier._secrets())}"
        # One that may take it later is worth another try; those refused for good are told of at the end.
        return Failed(said) if len(for_good) == len(refused) else Retry(said, remote=remote)


def _id_part(text: str) -> str:
    return _NOT_IN_ID.sub("-", text) or "-"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
