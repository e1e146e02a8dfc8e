"""Whether a request was signed by who knows the secret, by each sender's own rules.

Every function takes the raw body as it was sent, answers True or False and raises nothing whatever the headers are;
comparing takes the same time wherever the difference is. Without a secret nothing is genuine.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Final

#: Seconds that Slack's timestamp may be away from now, either way (its documentation; its SDK takes abs()).
SLACK_WINDOW: Final = 300


def github(secret: str, body: bytes, signature: str | None) -> bool:
    """X-Hub-Signature-256: `sha256=` and hex HMAC-SHA256. The older SHA-1 header counts for nothing."""
    return _same(f"sha256={_hex(secret, body, 'sha256')}", signature) and bool(secret)


def vercel(secret: str, body: bytes, signature: str | None) -> bool:
    """x-vercel-signature: hex HMAC-SHA1, nothing before it."""
    return _same(_hex(secret, body, "sha1"), signature) and bool(secret)


def sentry(secret: str, body: bytes, signature: str | None) -> bool:
    """Sentry-Hook-Signature: hex HMAC-SHA256, nothing before it. The secret is the integration's client secret."""
    return _same(_hex(secret, body, "sha256"), signature) and bool(secret)


def pagerduty(secret: str, body: bytes, signatures: str | None) -> bool:
    """X-PagerDuty-Signature: a list of `v1=` and hex HMAC-SHA256, one for each secret while they are exchanged. One
    that fits is enough; other versions are passed over.
    """
    expected = f"v1={_hex(secret, body, 'sha256')}"
    genuine = False
    for signature in (signatures or "").split(","):
        genuine |= _same(expected, signature.strip())
    return genuine and bool(secret)


def slack(secret: str, body: bytes, timestamp: str | None, signature: str | None, now: float) -> bool:
    """X-Slack-Signature over X-Slack-Request-Timestamp and the body; `now` in seconds since 1970. A timestamp that is
    no number, or more than `SLACK_WINDOW` away, makes it invalid.
    """
    if not timestamp or len(timestamp) > 12 or not (timestamp.isascii() and timestamp.isdigit()):
        return False
    if abs(now - int(timestamp)) > SLACK_WINDOW:
        return False
    signed = b"v0:" + timestamp.encode() + b":" + body
    return _same(f"v0={_hex(secret, signed, 'sha256')}", signature) and bool(secret)


def twilio(secret: str, url: str, params: Mapping[str, str], signature: str | None) -> bool:
    """X-Twilio-Signature: base64 HMAC-SHA1 over the URL as Twilio called it and the form's fields in their order."""
    signed = url + "".join(name + params[name] for name in sorted(params))
    digest = hmac.new(_bytes(secret), _bytes(signed), hashlib.sha1).digest()
    return _same(base64.b64encode(digest).decode(), signature) and bool(secret)


def token(secret: str, given: str | None) -> bool:
    """A secret that is sent as it is: in Railway's path, or in a header that Argo CD's template sets."""
    return _same(secret, given) and bool(secret)


def _hex(secret: str, signed: bytes, algorithm: str) -> str:
    return hmac.new(_bytes(secret), signed, algorithm).hexdigest()


def _same(expected: str, given: str | None) -> bool:
    return hmac.compare_digest(_bytes(expected), _bytes(given or ""))


def _bytes(text: str) -> bytes:
    # A header that is no UTF-8 comes with surrogates in it; it is never genuine, and must not raise.
    return text.encode("utf-8", "surrogatepass")
