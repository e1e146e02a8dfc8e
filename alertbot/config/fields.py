"""The kinds of values in alertbot.yml: each takes the text that was written, and says in plain words what is
wrong.

No message repeats the value of a secret. `pydantic` turns the ValueErrors raised here into its own, with the
place.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import getaddresses
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainValidator, SecretStr

from alertbot.config.patterns import Pattern, query_pattern, url_pattern
from alertbot.domain.durations import DurationError, parse_duration
from alertbot.domain.intervals import IntervalError, TimeInterval, parse_interval
from alertbot.domain.matchers import Matcher, MatcherError, parse_matchers

_SIZE: Final = re.compile(r"([0-9]+) ?(B|[kK]B|[kK]iB|MB|MiB|GB|GiB)?")
_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "kib": 2**10,
    "mb": 10**6,
    "mib": 2**20,
    "gb": 10**9,
    "gib": 2**30,
}
_NUMBER: Final = re.compile(r"\+[1-9][0-9]{4,14}")
_ACTOR: Final = re.compile(r"[UWS][A-Z0-9]{4,20}|[^\s@<>]+@[^\s@<>]+")
_MENTION: Final = re.compile(r"@?(here|channel|everyone|[UWS][A-Z0-9]{4,20})")
# What Alertmanager's own parser keeps for itself in an unquoted name (matcher/parse/lexer.go), and white
# space.
_RESERVED: Final = re.compile(r"[\s{}!=~,\\\"'`]")


def _duration(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        raise ValueError("expected a duration such as 30s, 5m or 1h30m")
    try:
        return parse_duration(value)
    except DurationError as error:
        raise ValueError(str(error)) from None


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _more_than_nothing(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("cannot be zero")
    return value


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if value in ("true", "false"):
        return value == "true"
    raise ValueError(f"expected true or false, not {value}" if isinstance(value, str) else "expected true or false")


def _matchers(value: object) -> tuple[Matcher, ...]:
    if not isinstance(value, str):
        raise ValueError('expected matchers as text, such as team="web"')
    try:
        return parse_matchers(value)
    except MatcherError as error:
        raise ValueError(str(error)) from None


def _label_value(value: object) -> object:
    # As Alertmanager (Go) reads `match: {team: }`: the label is empty or missing.
    return "" if value is None else value


def _regex(value: object) -> object:
    # Alertmanager refuses a missing one too.
    if value is None:
        raise ValueError("a regular expression is missing here")
    if isinstance(value, str):
        try:
            Matcher("label", "=~", value)
        except MatcherError:
            raise ValueError(f"{value!r} is not a regular expression of RE2") from None
    return value


def _interval(value: object) -> TimeInterval:
    if not isinstance(value, dict):
        raise ValueError("expected a mapping of times, weekdays, days_of_month, months, years and location")
    try:
        return parse_interval({k: v for k, v in value.items() if v is not None})
    except IntervalError as error:
        raise ValueError(str(error)) from None


def check_label_name(value: str) -> str:
    """Alertmanager's rule since 0.27: any text; without what only a matcher has, which is never meant."""
    if not value:
        raise ValueError("a label name cannot be empty")
    if _RESERVED.search(value):
        raise ValueError(f"{value!r} is no label name: name the label alone, without operator, value or spaces")
    return value


def _size(value: object) -> int:
    if isinstance(value, int):
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("expected a size such as 33554432, 512KiB or 32MiB")
    size = int(found[1]) * _UNITS[(found[2] or "").lower()]
    if size < 1024:
        raise ValueError("a size below 1KiB takes no alert at all")
    return size


def check_url(value: str) -> str:
    """An http(s) URL with a host. The message does not repeat it: it may hold a secret."""
    try:
        parts = urlsplit(value)
        port_is_a_number = parts.port is None or parts.port >= 0
    except ValueError:
        raise ValueError("this is not a URL") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_a_number:
        raise ValueError("expected a URL that starts with http:// or https:// and a host")
    if re.search(r"\s", value):
        raise ValueError("a URL holds no spaces")
    return value


def _base_url(value: str) -> str:
    """A URL that others are made from; it is shown, so that it may hold no password."""
    parts = urlsplit(check_url(value))
    if parts.username is not None or parts.password is not None:
        raise ValueError("this URL is shown in logs and pages: it may hold no user and password")
    if parts.query or parts.fragment:
        raise ValueError("expected a base URL, without ? and #")
    return value if value.endswith("/") else value + "/"


def _address(value: str) -> str:
    """`host:port`; an IPv6 host in brackets. An empty host means all interfaces."""
    host, colon, port = value.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError("expected host:port, such as 127.0.0.1:9098")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("write an IPv6 address in brackets, such as [::1]:9098")
    return value


def _mail_addresses(value: str) -> str:
    found = [address for _, address in getaddresses([value])]
    if not found or not all(re.fullmatch(r"[^@\s]+@[^@\s]+", a) for a in found):
        raise ValueError("expected mail addresses with commas between them, such as ops@example.org")
    return value.strip()


def _phone_number(value: str) -> str:
    plain = re.sub(r"[ ().-]", "", value)
    if not _NUMBER.fullmatch(plain):
        raise ValueError("expected a number with its country code, such as '+15550100'")
    return plain


def _may_act(value: object) -> tuple[str, ...] | None:
    if value is None or value == "anyone":
        return None
    if not isinstance(value, list | tuple) or not value:
        raise ValueError("expected `anyone`, or a list of people's IDs (U…), user groups' IDs (S…) and mail addresses")
    for actor in value:
        if not isinstance(actor, str) or not _ACTOR.fullmatch(actor):
            raise ValueError(f"{actor!r} is no person's ID (U…), no user group's ID (S…) and no mail address")
    return tuple(actor.lower() if "@" in actor else actor for actor in value)


def _mention(value: str) -> str:
    found = _MENTION.fullmatch(value)
    if found is None:
        raise ValueError("expected here, channel, everyone, a member's ID (U…) or a user group's (S…), not a name")
    return found[1]


def _channel(value: str) -> str:
    if not value.strip() or re.search(r"[\s<>|]", value):
        raise ValueError("expected a channel such as '#ops' or its ID")
    return value


def _name(value: str) -> str:
    if not value.strip():
        raise ValueError("a name cannot be empty")
    if not value.isprintable():
        raise ValueError("a name holds printable characters only")
    return value


def _url_pattern(value: object) -> Pattern:
    if not isinstance(value, str):
        raise ValueError("expected an address, such as https://logs.example.org/?q={{ labels.service }}")
    return url_pattern(value)


def _query_pattern(value: object) -> Pattern:
    if not isinstance(value, str):
        raise ValueError("expected a query of PromQL")
    return query_pattern(value)


def _no_empty_secret(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _sendable(value: SecretStr) -> SecretStr:
    # A line break in a token would become one in a header; it is always a slip of copy and paste.
    if not value.get_secret_value().isprintable():
        raise ValueError("a secret in one line is meant, and this one has a line break or a control character in it")
    return value


def _secret_url(value: SecretStr) -> SecretStr:
    check_url(value.get_secret_value())
    return value


_T = TypeVar("_T")
#: One value, or a list of them.
OneOrMore = Annotated[tuple[_T, ...], BeforeValidator(_as_tuple)]
Bool = Annotated[bool, BeforeValidator(_boolean)]
Duration = Annotated[timedelta, BeforeValidator(_duration)]
PositiveDuration = Annotated[timedelta, BeforeValidator(_duration), AfterValidator(_more_than_nothing)]
Size = Annotated[int, BeforeValidator(_size)]
#: One line of a `matchers` list. Alertmanager takes several matchers in one line too.
MatcherLine = Annotated[tuple[Matcher, ...], PlainValidator(_matchers)]
UrlPattern = Annotated[Pattern, PlainValidator(_url_pattern)]
QueryPattern = Annotated[Pattern, PlainValidator(_query_pattern)]
Interval = Annotated[TimeInterval, PlainValidator(_interval)]
Name = Annotated[str, AfterValidator(_name)]
LabelValue = Annotated[str, BeforeValidator(_label_value)]
Regex = Annotated[str, BeforeValidator(_regex)]
LabelName = Annotated[str, AfterValidator(check_label_name)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
Address = Annotated[str, AfterValidator(_address)]
MailAddresses = Annotated[str, AfterValidator(_mail_addresses)]
PhoneNumber = Annotated[str, AfterValidator(_phone_number)]
#: None: anyone.
MayAct = Annotated[tuple[str, ...] | None, PlainValidator(_may_act)]
Mention = Annotated[str, AfterValidator(_mention)]
Channel = Annotated[str, AfterValidator(_channel)]
#: A secret of one line. Optional ones are `Secret | None`; an empty one is none.
_OneLine = Annotated[SecretStr, AfterValidator(_sendable)]
Secret = Annotated[_OneLine | None, BeforeValidator(_no_empty_secret)]
#: A password may hold anything.
Password = Annotated[SecretStr | None, BeforeValidator(_no_empty_secret)]
SecretUrl = Annotated[Annotated[SecretStr, AfterValidator(_secret_url)] | None, BeforeValidator(_no_empty_secret)]
SecretItem = _OneLine
