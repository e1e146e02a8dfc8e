"""Alertmanager's API v2: what fires there, what is silenced, and silences of ours.

Several members of one cluster are one truth. An alert fires where any of them says so. It is gone only where each that
answers, and could know, does not have it: a member that just started has lost its alerts (Alertmanager keeps silences
on disk, and alerts in memory), and one that does not answer says nothing at all.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, TypeVar
from urllib.parse import quote

import aiohttp
import msgspec

from alertbot.clock import Clock
from alertbot.domain.durations import DurationError, parse_duration

log = logging.getLogger("alertbot.alertmanager")

#: One request, in seconds.
TIMEOUT: Final = 10.0
#: The largest answer: about 60,000 alerts as they usually are.
MAX_ANSWER: Final = 64 * 1024 * 1024
#: A member that is up for less may still miss what fires: Prometheus sends again every `--rules.alert.resend-delay`
#: (1m), but not before its next evaluation; Alertmanager's own default of `resolve_timeout` is as long.
SETTLED_AFTER: Final = timedelta(minutes=5)

_T = TypeVar("_T")


class Unreachable(Exception):
    """A member gave no usable answer. The message names it and the trouble, and holds no secret."""


class Refused(Exception):
    """Alertmanager will not take a silence (400, 422), or has none of this id (404). Its words are in the message."""


class AlertStatus(msgspec.Struct, rename="camel", frozen=True):
    """`state` is active, suppressed or unprocessed; `muted_by` (None before 0.28) names time intervals."""

    state: str
    silenced_by: tuple[str, ...] = ()
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] | None = None


class Receiver(msgspec.Struct, frozen=True):
    """A receiver of Alertmanager's, by its name as configured."""

    name: str


class Alert(msgspec.Struct, rename="camel", frozen=True):
    """An alert that fires as far as one member knows; resolved ones are not in the API's list."""

    fingerprint: str
    labels: dict[str, str]
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    status: AlertStatus
    annotations: dict[str, str] = {}
    receivers: tuple[Receiver, ...] = ()
    generator_url: str = msgspec.field(default="", name="generatorURL")


class Matcher(msgspec.Struct, rename="camel", frozen=True):
    """One matcher of a silence. Without `isEqual` (before 0.22) it means equal."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True


class SilenceStatus(msgspec.Struct, frozen=True):
    """`state` is active, pending or expired."""

    state: str


class Silence(msgspec.Struct, rename="camel", frozen=True):
    """A silence. `matchers` is empty for one of a kind that has several sets of them (0.32)."""

    id: str
    status: SilenceStatus
    starts_at: datetime
    ends_at: datetime
    updated_at: datetime
    created_by: str = ""
    comment: str = ""
    matchers: tuple[Matcher, ...] = ()


class _Config(msgspec.Struct, frozen=True):
    original: str = ""


class _Cluster(msgspec.Struct, frozen=True):
    status: str = "disabled"


class Status(msgspec.Struct, frozen=True):
    """What a member says of itself. `uptime` is the time of its start."""

    uptime: datetime
    config: _Config = _Config()
    cluster: _Cluster = _Cluster()

    @property
    def resolve_timeout(self) -> timedelta:
        """The `resolve_timeout` in its config; Alertmanager prints defaults too."""
        found = re.search(r"^\s*resolve_timeout:\s*(\S+)\s*$", self.config.original, re.MULTILINE)
        try:
            return parse_duration(found[1]) if found else SETTLED_AFTER
        except DurationError:
            return SETTLED_AFTER

    def could_know(self, now: datetime) -> bool:
        """Whether an alert that this member does not have does not fire."""
        settling = self.cluster.status == "settling"
        return not settling and now - self.uptime >= max(SETTLED_AFTER, self.resolve_timeout)


class _SilenceId(msgspec.Struct, rename="camel"):
    silence_id: str = msgspec.field(name="silenceID")


_alerts: Final = msgspec.json.Decoder(list[Alert]).decode
_silences: Final = msgspec.json.Decoder(list[Silence]).decode
_status: Final = msgspec.json.Decoder(Status).decode
_silence_id: Final = msgspec.json.Decoder(_SilenceId).decode


@dataclass(frozen=True, slots=True)
class Look:
    """What all members said at one time. `alerts` and `silences` are by fingerprint and by id.

    `complete`: every member answered, and could know what it does not have; only then absence means something.
    """

    at: datetime
    alerts: Mapping[str, Alert]
    silences: Mapping[str, Silence]
    complete: bool
    config: str = ""
    """The config of one member, as its API prints it."""


@dataclass(slots=True)
class Alertmanager:
    """The members of one cluster at `urls` (each with a slash at its end). `headers` are secrets."""

    session: aiohttp.ClientSession
    urls: Sequence[str]
    clock: Clock
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    max_answer: int = MAX_ANSWER

    async def still_firing(self, fingerprints: Iterable[str], within: timedelta) -> Mapping[str, bool] | None:
        """Which of these alerts fire. What cannot be said (see the module's text) is not in the answer.

        None: within this time no member answered.
        """
        members = await asyncio.gather(*(self._member(url, within, silences=False) for url in self.urls))
        seen = [m for m in members if m is not None]
        if not seen:
            return None
        firing = frozenset().union(*(m.alerts for m in seen))
        knowing = any(m.could_know for m in seen)
        return {f: f in firing for f in fingerprints if f in firing or knowing}

    async def look(self) -> Look | None:
        """What fires and what is silenced. None: no member answered."""
        within = timedelta(seconds=TIMEOUT)
        at = self.clock.now()
        members = await asyncio.gather(*(self._member(url, within, silences=True) for url in self.urls))
        seen = [m for m in members if m is not None]
        if not seen:
            return None
        alerts: dict[str, Alert] = {}
        silences: dict[str, Silence] = {}
        for member in seen:
            for fingerprint, alert in member.alerts.items():
                known = alerts.get(fingerprint)
                # What one of them would send is sent.
                if known is None or (known.status.state != "active" and alert.status.state == "active"):
                    alerts[fingerprint] = alert
            silences |= member.silences
        complete = len(seen) == len(self.urls) and all(m.could_know for m in seen)
        return Look(at, alerts, silences, complete, seen[0].config)

    async def silences(self) -> Sequence[Silence]:
        """All silences, of the first member that answers: they gossip them. Raises `Unreachable`."""
        return await self._of_any(lambda url: self._get(url, "api/v2/silences", _silences))

    async def silence(
        self,
        matchers: Sequence[Matcher],
        starts_at: datetime,
        ends_at: datetime,
        by: str,
        comment: str,
        silence_id: str = "",
    ) -> str:
        """Makes a silence, or changes the end of one, and returns its id. Raises `Unreachable`, `Refused`.

        A member that took it without our knowing, and another that was asked then, make two: look for it first.
        """
        wanted = {
            "matchers": matchers,
            "startsAt": starts_at,
            "endsAt": ends_at,
            "createdBy": by,
            "comment": comment,
            **({"id": silence_id} if silence_id else {}),
        }
        body = msgspec.json.encode(wanted)
        made = await self._of_any(lambda url: self._call("POST", url, "api/v2/silences", _silence_id, body))
        return made.silence_id

    async def expire(self, silence_id: str) -> None:
        """Ends a silence. Raises `Unreachable`, `Refused` (it is not there, or over already)."""
        path = f"api/v2/silence/{quote(silence_id, safe='')}"
        await self._of_any(lambda url: self._call("DELETE", url, path, bytes))

    async def _member(self, url: str, within: timedelta, *, silences: bool) -> _Member | None:
        """One member; None where it does not answer in time."""
        try:
            async with asyncio.timeout(within.total_seconds()):
                status, alerts, found = await asyncio.gather(
                    self._get(url, "api/v2/status", _status),
                    self._get(url, "api/v2/alerts", _alerts),
                    self._get(url, "api/v2/silences", _silences) if silences else _nothing(),
                )
        except TimeoutError:
            log.warning("an Alertmanager does not answer in time", extra={"url": url})
            return None
        except (Unreachable, Refused) as e:
            log.warning("an Alertmanager cannot be asked", extra={"error": str(e)})
            return None
        return _Member(
            alerts={a.fingerprint: a for a in alerts},
            silences={s.id: s for s in found},
            could_know=status.could_know(self.clock.now()),
            config=status.config.original,
        )

    async def _of_any(self, ask: Callable[[str], Awaitable[_T]]) -> _T:
        """The answer of the first member that gives one. Raises the last one's `Unreachable`."""
        for url in self.urls[:-1]:
            try:
                return await ask(url)
            except Unreachable as e:
                log.warning("an Alertmanager cannot be asked: the next one is", extra={"error": str(e)})
        return await ask(self.urls[-1])

    async def _get(self, url: str, path: str, read: Callable[[bytes], _T]) -> _T:
        return await self._call("GET", url, path, read)

    async def _call(
        self, method: str, url: str, path: str, read: Callable[[bytes], _T], body: bytes | None = None
    ) -> _T:
        headers = {**self.headers, **({"Content-Type": "application/json"} if body is not None else {})}
        try:
            async with self.session.request(
                method,
                url + path,
                data=body,
                headers=headers,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=TIMEOUT),
            ) as answer:
                said = await _bounded(answer, self.max_answer)
        except (aiohttp.ClientError, OSError, TimeoutError) as e:
            raise Unreachable(f"{url} does not answer: {type(e).__name__}") from None
        if answer.status in (400, 404, 422):
            raise Refused(f"{url} answered {answer.status}: {_words(said)}")
        if answer.status != 200:
            raise Unreachable(f"{url} answered {answer.status}: {_words(said)}")
        try:
            return read(said)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
            raise Unreachable(f"{url}{path}: not what Alertmanager's API answers: {e}") from None


@dataclass(frozen=True, slots=True)
class _Member:
    alerts: Mapping[str, Alert]
    silences: Mapping[str, Silence]
    could_know: bool
    config: str


async def _nothing() -> Sequence[Silence]:
    return ()


async def _bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """The whole answer. Raises ClientPayloadError where it has more than `most` bytes."""
    body = bytearray()
    async for chunk in answer.content.iter_any():
        body += chunk
        if len(body) > most:
            raise aiohttp.ClientPayloadError(f"more than {most} bytes")
    return bytes(body)


def _words(said: bytes) -> str:
    """An error's text: a bare JSON string, or {code, message}; Alertmanager has both."""
    try:
        body = msgspec.json.decode(said)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return said[:200].decode("utf-8", "replace")
    return str(body.get("message", "") if isinstance(body, dict) else body)[:500]
