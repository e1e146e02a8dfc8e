"""Twilio's message resource on loopback: POST /2010-04-01/Accounts/{Sid}/Messages.json [docs].

Run it as a process: `python -m tests.standins.twilio --port N --state FILE`.
"""

import base64
import binascii
import re
import time
import uuid
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.standins.server import Clock, HttpStandin, RateLimit, Reply, serve

ACCOUNT_SID = "AC" + "0" * 32
BODY = 1600  # over it: 21617 [docs]
NUMBER = re.compile(r"\+[1-9]\d{6,14}")  # E.164
_PATH = re.compile(r"/2010-04-01/Accounts/(?P<sid>[^/]+)/Messages\.json")
# GSM 03.38: its basic letters, and those that cost two. One other letter makes all of a text UCS-2: a
# segment of 160 becomes one of 70 (153 and 67 in a text of several).
_GSM = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_TWICE = set("^{}\\[~]|€\f")
ERRORS = {
    20003: (401, "Authenticate"),
    20404: (404, "The requested resource was not found"),
    20429: (429, "Too Many Requests"),
    21211: (400, "Invalid 'To' Phone Number"),
    21602: (400, "Message body is required."),
    21603: (400, "A 'From' phone number is required."),
    21604: (400, "A 'To' phone number is required."),
    21610: (400, "Attempt to send to unsubscribed recipient"),
    21617: (400, "The concatenated message body exceeds the 1600 character limit"),
}


def segments(text: str) -> int:
    """How many messages a phone company bills for a text."""
    if all(letter in _GSM or letter in _GSM_TWICE for letter in text):
        length, one, many = sum(2 if letter in _GSM_TWICE else 1 for letter in text), 160, 153
    else:
        length, one, many = len(text.encode("utf-16-le")) // 2, 70, 67
    return 1 if length <= one else -(-length // many)


class TwilioStandin(HttpStandin):
    """One account. `messages` holds what was queued; `unsubscribed` the numbers that said STOP.

    per_second: requests a second over which 20429 is answered; None: none. Basic auth with sid and token.
    """

    name = "twilio"
    adjustable = ("unsubscribed", "bad_numbers")

    def __init__(
        self,
        *,
        clock: Clock = time.time,
        port: int = 0,
        state: Path | None = None,
        account_sid: str = ACCOUNT_SID,
        auth_token: str = "stand-in-token",
        per_second: int | None = None,
    ) -> None:
        super().__init__(clock=clock, port=port, state=state)
        self.account_sid = account_sid
        self.auth_token = auth_token
        self.unsubscribed: set[str] = set()
        self.bad_numbers: set[str] = set()  # well formed, but nobody's
        self.messages: list[dict[str, Any]] = []
        self._limit = RateLimit(per_second, 1) if per_second else None

    def snapshot(self) -> dict[str, Any]:
        return {"messages": self.messages}

    def restore(self, kept: dict[str, Any]) -> None:
        self.messages = kept["messages"]

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        """The endpoint is `Messages`, whatever the account. The body is a form; JSON is not taken."""
        endpoint = "Messages" if _PATH.fullmatch(request.path) else request.path
        return endpoint, {name: str(value) for name, value in (await request.post()).items()}

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        code = self._objection(request, endpoint, params)
        if code is not None:
            status, words = ERRORS[code]
            more = f"https://www.twilio.com/docs/errors/{code}"
            return Reply(status, {"code": code, "message": words, "more_info": more, "status": status})
        sid = "SM" + uuid.uuid4().hex
        message = {
            "sid": sid,
            "account_sid": self.account_sid,
            "to": params["To"],
            "from": params.get("From"),
            "messaging_service_sid": params.get("MessagingServiceSid"),
            "body": params["Body"],
            "status": "queued",
            "num_segments": str(segments(params["Body"])),
            "error_code": None,
            "uri": f"/2010-04-01/Accounts/{self.account_sid}/Messages/{sid}.json",
        }
        self.messages.append(message | {"at": self.now(), "status_callback": params.get("StatusCallback")})
        return Reply(201, message)

    def _objection(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> int | None:
        """The code of Twilio's error; None where the message is taken."""
        if endpoint != "Messages" or request.method != "POST":
            return 20404
        if not self._authentic(request) or f"/{self.account_sid}/" not in request.path:
            return 20003
        if self._limit is not None and self._limit.take("account", self.now()) > 0:
            return 20429  # [mem]
        to = params.get("To", "")
        sender = params.get("From") or params.get("MessagingServiceSid")
        rules = (
            (not to, 21604),
            (not sender, 21603),
            (not params.get("Body"), 21602),
            (not NUMBER.fullmatch(to) or to in self.bad_numbers, 21211),
            (to in self.unsubscribed, 21610),
            (len(params.get("Body", "")) > BODY, 21617),
        )
        return next((code for broken, code in rules if broken), None)

    def _authentic(self, request: web.Request) -> bool:
        kind, _, given = request.headers.get("Authorization", "").partition(" ")
        try:
            pair = base64.b64decode(given, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return False
        return kind == "Basic" and pair == f"{self.account_sid}:{self.auth_token}"


if __name__ == "__main__":
    serve(TwilioStandin)
