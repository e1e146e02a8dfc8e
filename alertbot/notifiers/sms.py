"""Text messages, by Twilio's message resource: one POST a message.

https://www.twilio.com/docs/messaging/api/message-resource: 201 with the message's sid; an error has a `code`
and a `message`. Twilio has no idempotency key: an answer that got lost may mean the same text twice.
"""

from __future__ import annotations

import asyncio
import base64
import json
import unicodedata
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aiohttp

from alertbot.domain.budgets import SMS
from alertbot.notifiers.answers import classify, retry_after, safe_words
from alertbot.notifiers.base import DryRun, Failed, Job, Later, Limiter, Result, Retry, Sent, Unlimited
from alertbot.render import clean, context, cut, environment

#: 3GPP TS 23.038: the alphabet of which a segment holds 160 (153 of several), and what costs two places in
#: it.
_GSM: Final = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED: Final = frozenset("^{}\\[~]|€")
#: Typography that is worth nothing in a text message, and would halve what a segment holds.
_PLAIN: Final = {
    ord(c): plain
    for plain, chars in {
        "'": "‘’‚‛′`´",
        '"': "“”„‟″«»",
        "-": "‐‑‒–—―−",
        "...": "…",
        " ": "\u00a0\u2007\u2009\u202f\t",
        "*": "•·●",
        "->": "→⇒",
        "<-": "←⇐",
        "<=": "≤",
        ">=": "≥",
        "!=": "≠",
        "x": "×",
        "u": "µμ",
        "deg": "°",
        "(c)": "©",
        "ss": "ẞ",
        "l": "ł",
        "L": "Ł",
        "d": "đ",
        "D": "Đ",
        "/": "⁄",
        "oe": "œ",
        "OE": "Œ",
    }.items()
    for c in chars
}
#: Segments that one notification may cost.
SEGMENTS: Final = 2
#: Characters of a title that are worth reading on a phone; less where they do not fit.
_TITLE: Final = 250
#: Codes that speak of the moment though their status may be 400: rate limits and full queues.
_TRY_AGAIN: Final = frozenset({20429, 14107, 30001, 30022, 63018})


class SmsNotifier:
    """One number. `sender` is a number or name of ours, or `messaging_service_sid` a service that picks one.

    `timeout`, in seconds, bounds an attempt as a whole. A session that is given stays its giver's.
    """

    def __init__(
        self,
        account_sid: str | None,
        auth_token: str | None,
        *,
        to: str,
        sender: str = "",
        messaging_service_sid: str = "",
        url: str = "https://api.twilio.com/",
        session: aiohttp.ClientSession | None = None,
        timeout: float = 10.0,
        limiter: Limiter | None = None,
    ) -> None:
        self._limiter = limiter or Unlimited()
        missing = None if auth_token else "twilio_auth_token"
        self.dry: str | None = missing if account_sid else "twilio_account_sid"
        self.to = to
        self.timeout = timeout
        sid = quote(account_sid or "", safe="")
        self._url = f"{url.rstrip('/')}/2010-04-01/Accounts/{sid}/Messages.json"
        self._who = urlsplit(url).hostname or "Twilio"
        self._token = auth_token or ""
        self._basic = base64.b64encode(f"{account_sid}:{auth_token}".encode()).decode()
        self._from = {"MessagingServiceSid": messaging_service_sid} if messaging_service_sid else {"From": sender}
        self._session = session
        self._own_session = session is None
        self._template = environment("sms").get_template("text.j2")

    def text(self, job: Job) -> str:
        """At most `SEGMENTS` segments. Where it is too long the title gives way first, the link last."""
        values = context(job)
        full, link = values["title"], values["links"].incident
        for candidate in (link, ""):
            values["links"] = replace(values["links"], incident=candidate)
            low, high, best = 0, min(len(full), _TITLE), ""
            while low <= high:
                length = (low + high) // 2
                values["title"] = full if length >= len(full) else _cut_plain(full, length)
                text = transliterate(clean(self._template.render(values)).strip())
                if segments(text) <= SEGMENTS:
                    best, low = text, length + 1
                else:
                    high = length - 1
            if best:
                return best
        return _hard_cut(transliterate(cut(full, _TITLE)))

    async def deliver(self, job: Job) -> Result:
        """One POST."""
        text = self.text(job)
        if self.dry:
            return DryRun(f"{self.to}: {text}")
        if not any(self._from.values()):
            return Failed("no number to send from: set twilio_from, or from or messaging_service_sid of the sms config")
        until = await self._limiter.spend(SMS, self.to, job.urgency)
        if until is not None:
            return Later(until)
        try:
            async with asyncio.timeout(self.timeout):
                async with self._client().post(
                    self._url,
                    data={"To": self.to, **self._from, "Body": text},
                    headers={"Authorization": f"Basic {self._basic}"},
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(total=self.timeout),
                ) as answer:
                    raw = await answer.content.read(65536)
                    after = retry_after(answer.headers.get("Retry-After"), job.now)
        except (TimeoutError, aiohttp.ServerTimeoutError):
            return Retry(f"no answer from {self._who} within {self.timeout:g} s", uncertain=True)
        except aiohttp.ClientConnectorError as e:
            return Retry(f"no connection to {self._who}: {type(e.os_error).__name__}")
        except (aiohttp.ClientError, OSError) as e:
            return Retry(f"the connection to {self._who} broke: {type(e).__name__}", uncertain=True)
        return self._result(answer.status, _json(raw), raw, after)

    def _result(self, status: int, said: dict[str, Any], raw: bytes, after: timedelta | None) -> Result:
        code = said.get("code")
        words = f"{said.get('message', '')} ({code})" if code else raw.decode("utf-8", "replace")
        words = safe_words(words, (self._token, self._basic))
        if 400 <= status < 500 and code in _TRY_AGAIN:
            return Retry(f"Twilio answered {status}: {words}", after=after)
        bad = classify("Twilio", status, words, after)
        if bad is not None:
            return bad
        sid = said.get("sid")
        if not isinstance(sid, str):
            return Retry(f"Twilio answered {status}, but not as itself", uncertain=True)
        return Sent(remote_id=sid)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def close(self) -> None:
        """Lets go of a session of our own."""
        if self._own_session and self._session is not None:
            await self._session.close()
            self._session = None

    def __repr__(self) -> str:
        return f"SmsNotifier({self.to!r})"


def transliterate(text: str) -> str:
    """Typography as plain characters, and letters that GSM lacks without their accents; other scripts
    stay."""
    return "".join(c if _in_gsm(c) else _bare(c) for c in text)


def segments(text: str) -> int:
    """How many messages a text is billed as; 0 for none."""
    if all(_in_gsm(c) for c in text):
        length, one, many = sum(2 if c in _GSM_EXTENDED else 1 for c in text), 160, 153
    else:
        length, one, many = len(text.encode("utf-16-le")) // 2, 70, 67
    return (1 if length else 0) if length <= one else -(-length // many)


def _in_gsm(c: str) -> bool:
    return c in _GSM or c in _GSM_EXTENDED


def _bare(c: str) -> str:
    """`ő` → `o`; an emoji, which says nothing that words do not, → nothing; of another script: itself."""
    parts = "".join(p for p in unicodedata.normalize("NFKD", c.translate(_PLAIN)) if not unicodedata.combining(p))
    parts = parts.translate(_PLAIN)
    if parts and all(_in_gsm(p) for p in parts):
        return parts
    return "" if unicodedata.category(c) in ("So", "Sk", "Mn", "Me", "Cf", "Cn", "Co") else c


def _cut_plain(text: str, length: int) -> str:
    return text[:length].rstrip() + "..." if length else ""


def _hard_cut(text: str) -> str:
    while segments(text) > SEGMENTS:
        text = text[:-1]
    return text


def _json(raw: bytes) -> dict[str, Any]:
    try:
        said = json.loads(raw)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
