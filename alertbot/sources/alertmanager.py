"""Alertmanager's webhook, every version since 0.1, and Grafana's alerting webhook, which is a superset of it.

What is wrong in one alert sets that alert aside and no other: of a body with n alerts, `accepted` and
`set_aside` together always count n. A whole body is `Unreadable` only where its alerts cannot be told apart.

The readers are msgspec's, for their speed: the body is split into its alerts in one pass, without reading
them, and each alert is read on its own. An alert that does not read at once is read again, slowly and
tolerantly, and the error then says where.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from alertbot.domain.events import AlertsReported, Parsed, ReportedAlert, SetAside, Unreadable
from alertbot.domain.fingerprint import fingerprint

#: Alerts read at one go by `parse_in_slices`: about a millisecond.
SLICE: Final = 200
#: Annotation with what of an alert could not be read although the alert was taken (a time, its annotations).
NOTE: Final = "alertbot_note"

_STATUSES: Final = {"firing": True, "resolved": False}
_NAMES: Final = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number"}

# One escape of JSON text: a surrogate pair, a lone surrogate, or any other.
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)


class _Bad(Exception):
    """This alert cannot be taken. `where` points into it."""

    def __init__(self, where: str, error: str) -> None:
        super().__init__(error)
        self.where = where


class _Body(msgspec.Struct, rename="camel"):
    """A body whose parts are not read yet."""

    alerts: list[msgspec.Raw]
    status: msgspec.Raw = msgspec.Raw()
    group_key: msgspec.Raw = msgspec.Raw()
    external_url: msgspec.Raw = msgspec.field(default=msgspec.Raw(), name="externalURL")
    truncated_alerts: msgspec.Raw = msgspec.Raw()


class _Alert(msgspec.Struct, rename="camel", gc=False):
    """An alert as most are. Where a field is `Any`, no value of it is a reason to refuse the alert."""

    labels: dict[str, str] | None = None
    annotations: dict[str, Any] | None = None
    status: Any = None
    starts_at: Any = None
    ends_at: Any = None
    generator_url: Any = msgspec.field(default=None, name="generatorURL")
    fingerprint: Any = None


_split = msgspec.json.Decoder(_Body).decode
_read = msgspec.json.Decoder(_Alert).decode


def parse(body: bytes, at: datetime) -> Parsed:
    """The alerts of one webhook body that came in at `at`, as one `AlertsReported`.

    Raises `Unreadable` where the body is not JSON, not an object, or has no list of alerts.
    """
    steps = _steps(body, at)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            parsed: Parsed = done.value
            return parsed


async def parse_in_slices(body: bytes, at: datetime) -> Parsed:
    """The same as `parse`, for large bodies: others may run after every `SLICE` alerts."""
    steps = _steps(body, at)
    while True:
        try:
            next(steps)
        except StopIteration as done:
            parsed: Parsed = done.value
            return parsed
        await asyncio.sleep(0)


def rewrap(alert: bytes, original: bytes) -> bytes:
    """A body with this one alert, and all else as in the body that it came in.

    `original` may be any bytes; what cannot be read of it is left out.
    """
    try:
        fields = msgspec.json.decode(_mended(original), type=dict[str, msgspec.Raw])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        fields = {}
    fields["alerts"] = msgspec.Raw(b"[" + alert + b"]")
    return msgspec.json.encode(fields)


def _steps(body: bytes, at: datetime) -> Generator[None, None, Parsed]:
    """Reads a body; pauses after every `SLICE` alerts."""
    head = _head(body)
    body_status = _scalar(head.status)
    alerts: list[ReportedAlert] = []
    set_aside: list[SetAside] = []
    seen: dict[str, dict[str, str]] = {}
    for i, raw in enumerate(head.alerts):
        if i and i % SLICE == 0:
            yield
        try:
            alerts.append(_reported(raw, body_status, at, seen))
        except _Bad as e:
            set_aside.append(SetAside(where=f"alerts[{i}]{e.where}", error=str(e), raw=bytes(raw)))
    group_key = _scalar(head.group_key)
    external_url = _scalar(head.external_url)
    truncated = _scalar(head.truncated_alerts)
    event = AlertsReported(
        source="alertmanager",
        alerts=tuple(alerts),
        # A number in version "3" (Alertmanager before 0.6), text since.
        group_key="" if group_key is None else str(group_key),
        external_url=external_url if isinstance(external_url, str) else "",
        truncated=truncated if type(truncated) is int and truncated > 0 else 0,
    )
    return Parsed(events=(event,), accepted=len(alerts), set_aside=tuple(set_aside))


def _head(body: bytes) -> _Body:
    """The body, split into its parts."""
    try:
        return _split(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _split(_mended(body))
    except msgspec.ValidationError as e:
        error = str(e)
        if "`$.alerts" in error:
            raise Unreadable("alerts must be a list", "alerts") from None
        if "missing required field" in error:
            raise Unreadable("the list of alerts is missing", "alerts") from None
        raise Unreadable("the body must be a JSON object", "") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise Unreadable(f"the body is not JSON: {e}", "") from None
    except RecursionError:
        raise Unreadable("the body is nested too deeply", "") from None


def _reported(raw: msgspec.Raw, body_status: Any, at: datetime, seen: dict[str, dict[str, str]]) -> ReportedAlert:
    """One alert. `seen` has the label set of every fingerprint given so far in this body."""
    try:
        alert = _read(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        alert = _read_tolerantly(bytes(raw))
    labels = alert.labels or {}
    if "" in labels.values():
        # Alertmanager: a label with an empty value is the same as no label.
        labels = {name: value for name, value in labels.items() if value}
    annotations = alert.annotations or {}
    for value in annotations.values():
        if type(value) is not str:
            annotations = {name: _text(value) for name, value in annotations.items()}
            break
    starts_at, ends_at, trouble = _time(alert.starts_at), _time(alert.ends_at), ""
    # A time that makes no sense must not cost the alert. It counts as not given, and people can see that it
    # was.
    if isinstance(starts_at, str):
        starts_at, trouble = None, f"startsAt {starts_at} is no time. "
    if isinstance(ends_at, str):
        ends_at, trouble = None, trouble + f"endsAt {ends_at} is no time."
    if trouble:
        annotations = {**annotations, NOTE: trouble.strip()}
    url = alert.generator_url
    return ReportedAlert(
        fingerprint=_identity(alert.fingerprint, labels, seen),
        labels=labels,
        annotations=annotations,
        firing=_firing(alert.status, body_status, ends_at, at),
        starts_at=starts_at,
        ends_at=ends_at,
        generator_url=url if type(url) is str else "",
    )


def _firing(status: Any, body_status: Any, ends_at: datetime | None, at: datetime) -> bool:
    """The alert's own word counts: a body is "firing" while any of its alerts is.

    Without one: an end that has passed, else the body's word, else it fires. Telling too much is the smaller
    harm.
    """
    firing = _STATUSES.get(status) if type(status) is str else None
    if firing is None and ends_at is not None and ends_at <= at:
        return False
    if firing is None and type(body_status) is str:
        firing = _STATUSES.get(body_status)
    return True if firing is None else firing


def _identity(sent: Any, labels: dict[str, str], seen: dict[str, dict[str, str]]) -> str:
    """The fingerprint as it was sent, right or wrong for its labels: it is what other reports of this alert
    carry.

    Computed where none was sent (Alertmanager before 0.19), where it is no printable text of at most 128
    characters, and where another label set of this body came with it.
    """
    if type(sent) is str and 0 < len(sent) <= 128 and sent.isprintable():
        known = seen.setdefault(sent, labels)
        if known is labels or known == labels:
            return sent
    computed = fingerprint(labels)
    seen.setdefault(computed, labels)
    return computed


def _time(value: Any) -> datetime | str | None:
    """A time in UTC; None where none is given; the start of the text where it is no RFC 3339 time.

    Alertmanager writes 0 to 9 digits of a second and year 1 for "none" (Go's zero time); Grafana writes
    offsets.
    """
    if not value:
        return None
    if type(value) is not str:
        return _text(value)[:40]
    try:
        time = datetime.fromisoformat(value)
        if time.year == 1:
            return None
        if time.tzinfo is UTC:
            return time
        # A time without an offset is no instant: guessing its zone could move it by half a day.
        return value[:40] if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError):
        return value[:40]


def _text(value: Any) -> str:
    """An annotation's value as text. No value is no text."""
    if value is None:
        return ""
    try:
        return value if type(value) is str else json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return "(nested too deeply)"


def _scalar(raw: msgspec.Raw) -> Any:
    """A text or number of the body; None where it is anything else or absent."""
    if not raw:
        return None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            value = msgspec.json.decode(_mended(bytes(raw)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
    return value if type(value) in (str, int) else None


def _read_tolerantly(raw: bytes) -> _Alert:
    """An alert that is not as most are; raises `_Bad` with place and cause where it cannot be taken."""
    try:
        alert = json.loads(_mended(raw), parse_int=_number)
    except (ValueError, RecursionError):
        raise _Bad("", "the alert cannot be read as JSON") from None
    if not isinstance(alert, dict):
        raise _Bad("", f"an alert must be an object, not {_name(alert)}")
    labels = alert.get("labels")
    if labels is None:
        labels = {}
    if not isinstance(labels, dict):
        raise _Bad(".labels", f"labels must be an object, not {_name(labels)}")
    for name, value in labels.items():
        # Alertmanager itself refuses these; null is to it (to Go) the same as the empty text.
        if value is not None and not isinstance(value, str):
            raise _Bad(f".labels.{name}", f"a label's value must be text, not {_name(value)}")
    annotations = alert.get("annotations")
    if annotations is not None and not isinstance(annotations, dict):
        # They are only words: the alert is worth more than they are.
        annotations = {NOTE: f"The annotations were {_name(annotations)}, not an object: {_text(annotations)[:200]}"}
    return _Alert(
        labels={name: value or "" for name, value in labels.items()},
        annotations=annotations,
        status=alert.get("status"),
        starts_at=alert.get("startsAt"),
        ends_at=alert.get("endsAt"),
        generator_url=alert.get("generatorURL"),
        fingerprint=alert.get("fingerprint"),
    )


def _mended(body: bytes) -> bytes:
    """JSON text with U+FFFD for what is not Unicode in it, as Go's decoder reads it; without a byte order
    mark.
    """
    text = body.decode("utf-8-sig", "replace")
    if "\\u" in text:
        text = _ESCAPE.sub(lambda m: "\\ufffd" if m["lone"] else m[0], text)
    return text.encode()


def _number(digits: str) -> int | float:
    """Python refuses whole numbers of more than 4,300 digits; as a float they are infinite at worst."""
    return int(digits) if len(digits) < 4300 else float(digits)


def _name(value: object) -> str:
    return "null" if value is None else _NAMES.get(type(value), "a number")
