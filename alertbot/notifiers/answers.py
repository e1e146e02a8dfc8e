"""What a provider's HTTP answer means for a delivery: it is there, try again, or never.

RFC 9110: 408, 425 and 429 ask for another try, as do all 5xx; any other 4xx is refused the same way the next
time. A redirect is never followed: a POST would arrive as a GET without its body.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from alertbot.notifiers.base import Failed, Retry
from alertbot.render import cut, one_line

#: 4xx codes that speak of the moment and not of the request.
TRY_AGAIN: Final = frozenset({408, 425, 429})
#: A provider may ask for more, but a page is not put off for longer than this.
LONGEST_WAIT: Final = timedelta(minutes=10)
#: Characters of a provider's own words that are kept.
WORDS: Final = 300


def classify(who: str, status: int, words: str, after: timedelta | None = None) -> Retry | Failed | None:
    """The result that a status code stands for; None for 2xx. `words` is what the provider said, made
    safe."""
    if 200 <= status < 300:
        return None
    said = f"{who} answered {status}" + (f": {words}" if words else "")
    if status in TRY_AGAIN or status >= 500:
        # Whoever answers 5xx may have acted first; a 4xx says that it did not.
        return Retry(said, after=after, uncertain=status >= 500)
    if 300 <= status < 400:
        return Failed(f"{said} (a redirect, which is not followed: check the URL)")
    if status < 200:
        return Retry(said, uncertain=True)
    return Failed(said)


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """RFC 9110, 10.2.3: seconds, or a date. None for what is neither; at most `LONGEST_WAIT`."""
    if not header:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(timedelta(seconds=int(text[:9])), LONGEST_WAIT)
    try:
        when = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when
    return min(max(when - now, timedelta(0)), LONGEST_WAIT)


def safe_words(text: object, secrets: Iterable[str | None]) -> str:
    """A provider's words on one line, short, and without our secrets, should it repeat them."""
    line = one_line(text)
    for secret in sorted({s for s in secrets if s}, key=len, reverse=True):
        line = line.replace(secret, "[redacted]")
    return cut(line, WORDS)
