"""Prometheus' HTTP API, as far as enrichment asks it: a number now, and series over a time.

https://prometheus.io/docs/prometheus/latest/querying/api/: POST takes long queries; `timeout` bounds the evaluation in
Prometheus itself; numbers come as text, NaN and ±Inf among them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

import aiohttp
import msgspec

#: A longer answer is none of a graph's or a budget's, and reading it would cost everybody else.
MAX_ANSWER: Final = 1 << 20


class Unanswered(Exception):
    """Prometheus did not answer, or not as itself; the message says how. Nothing is shown then."""


class Series(msgspec.Struct, frozen=True):
    """One series: its labels, and (Unix time, number as text) in order."""

    metric: dict[str, str] = {}
    values: list[tuple[float, str]] = []
    value: tuple[float, str] | None = None


class _Data(msgspec.Struct):
    resultType: str  # noqa: N815 - Prometheus' word
    result: msgspec.Raw


class _Answer(msgspec.Struct):
    status: str
    data: _Data | None = None
    error: str = ""


_answer: Final = msgspec.json.Decoder(_Answer)
_series: Final = msgspec.json.Decoder(list[Series])
_scalar: Final = msgspec.json.Decoder(tuple[float, str])


class Prometheus:
    """One server. `url` ends with a slash; `seconds` bounds its evaluation, and our waiting."""

    def __init__(self, url: str, session: aiohttp.ClientSession, seconds: float = 2.0) -> None:
        self._url = url
        self._session = session
        self._seconds = seconds

    async def number(self, query: str, at: datetime) -> float | None:
        """What a query answers with one number; None where it answers with none, or not a finite one.

        Raises `Unanswered`, also where there are several.
        """
        data = await self._ask("query", {"query": query, "time": f"{at.timestamp():.3f}"})
        try:
            if data.resultType == "scalar":
                return _finite(_scalar.decode(data.result)[1])
            found = [s.value for s in _series.decode(data.result) if s.value is not None]
        except (msgspec.DecodeError, ValueError) as e:
            raise Unanswered(f"not an answer of Prometheus': {e}") from None
        if len(found) > 1:
            raise Unanswered(f"{len(found)} series where one number was expected")
        return _finite(found[0][1]) if found else None

    async def series(self, query: str, start: datetime, end: datetime, step: timedelta) -> Sequence[Series]:
        """The series of a query, from start to end. Raises `Unanswered`."""
        args = {
            "query": query,
            "start": f"{start.timestamp():.3f}",
            "end": f"{end.timestamp():.3f}",
            "step": f"{step.total_seconds():g}",
        }
        data = await self._ask("query_range", args)
        try:
            return _series.decode(data.result)
        except msgspec.DecodeError as e:
            raise Unanswered(f"not an answer of Prometheus': {e}") from None

    async def _ask(self, what: str, args: Mapping[str, str]) -> _Data:
        form = {**args, "timeout": f"{self._seconds:g}s"}
        limit = aiohttp.ClientTimeout(total=self._seconds)
        try:
            async with self._session.post(
                f"{self._url}api/v1/{what}", data=form, timeout=limit, allow_redirects=False
            ) as response:
                body = await _read(response)
        except TimeoutError:
            raise Unanswered(f"no answer within {self._seconds:g} s") from None
        except (aiohttp.ClientError, OSError) as e:
            raise Unanswered(f"no answer: {type(e).__name__}") from None
        try:
            answer = _answer.decode(body)
        except msgspec.DecodeError:
            raise Unanswered(f"HTTP {response.status}, and not an answer of Prometheus'") from None
        if answer.status != "success" or answer.data is None:
            raise Unanswered(f"HTTP {response.status}: {answer.error[:200]}")
        return answer.data


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_ANSWER:
            response.close()
            raise Unanswered(f"an answer of more than {MAX_ANSWER >> 20} MiB")
    return bytes(body)


def numbers(series: Series, start: datetime, step: timedelta, count: int) -> list[float | None]:
    """A series' numbers at `count` steps from start on; None where it has none, or not a finite one."""
    found: list[float | None] = [None] * count
    for at, text in series.values:
        place = round((at - start.timestamp()) / step.total_seconds())
        if 0 <= place < count:
            found[place] = _finite(text)
    return found


def _finite(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        raise Unanswered("a number that is none") from None
    return number if math.isfinite(number) else None
