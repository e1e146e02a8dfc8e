"""Who may call."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

from aiohttp import hdrs, web

from alertbot.web.errors import Refused

_BEARER: Final = {"WWW-Authenticate": 'Bearer realm="alertbot"'}
_EITHER: Final = {"WWW-Authenticate": 'Basic realm="alertbot", charset="UTF-8"'}


def authenticate(request: web.Request, tokens: Iterable[str], *, basic: bool) -> None:
    """Raises `Refused` (401) unless the request carries one of the tokens, or none is configured.

    A token is given as Bearer, and with `basic` also as the password of Basic, whatever the user name:
    Alertmanager and browsers can do that.
    """
    if not tokens:
        return
    given = _credential(request.headers.get(hdrs.AUTHORIZATION, ""), basic)
    known = False
    # Every token is compared, in constant time each: how long it takes says nothing about which of them is
    # near.
    for token in tokens:
        known |= hmac.compare_digest(given, token.encode())
    if not given or not known:
        challenge = _EITHER if basic else _BEARER
        raise Refused(401, "wrong credentials" if given else "credentials are missing", "Authorization", challenge)


def refuse_foreign_pages(request: web.Request, external_url: str) -> None:
    """Raises `Refused` (403) where a browser sends this on behalf of another site's page.

    Browsers name the page's origin in every such request; other programs name none.
    """
    if is_bearer(request):
        return
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin not in (
        _origin(external_url),
        f"http://{request.host}",
        f"https://{request.host}",
    ):
        raise Refused(403, "a page of another site may not do this", "Origin")
    if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Refused(403, "a page of another site may not do this", "Sec-Fetch-Site")


def is_bearer(request: web.Request) -> bool:
    """The request carries a Bearer token, which no browser adds by itself."""
    return request.headers.get(hdrs.AUTHORIZATION, "")[:7].lower() == "bearer "


def _credential(header: str, basic: bool) -> bytes:
    """The token of an Authorization header; empty where there is none."""
    scheme, _, value = header.partition(" ")
    value = value.strip()
    # aiohttp decodes headers as UTF-8 with surrogateescape: this gives back the bytes that were sent.
    if scheme.lower() == "bearer":
        return value.encode("utf-8", "surrogateescape")
    if basic and scheme.lower() == "basic":
        try:
            return base64.b64decode(value.encode("ascii"), validate=True).partition(b":")[2]
        except (UnicodeEncodeError, binascii.Error):
            return b""
    return b""


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
