"""Matchers in both of Alertmanager's syntaxes.

Alertmanager has two parsers and three modes (matcher/compat/parse.go). In its default, *fallback*, both parse: where
only one
of them can, its answer counts; where their answers differ, the classic one does. A regex is RE2, anchored at both
ends, and its
`.` does not match a newline. A label that is missing has the empty value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final, Literal, TypeVar

import re2

Op = Literal["=", "!=", "=~", "!~"]
Mode = Literal["fallback", "classic", "utf8"]

T = TypeVar("T")

_OPS: Final[dict[str, Op]] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
#: Values of a regex that is nothing but an alternation of plain words: matched as a set.
_WORDS: Final = re.compile(r"[A-Za-z0-9_ :/@%-]*(?:\|[A-Za-z0-9_ :/@%-]*)*")
_LONE: Final = re.compile("[\ud800-\udfff]")


class MatcherError(ValueError):
    """This is no matcher; the message says what is wrong and where. Whoever wrote it mends it."""


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on one label. Raises `MatcherError` for a regex that RE2 does not take."""

    name: str
    op: Op
    value: str
    _test: Callable[[str], bool] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_test", _test_for(self.op, self.value))

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether the label has such a value."""
        return self._test(labels.get(self.name, ""))

    def __str__(self) -> str:
        """Alertmanager's canonical form: `name="value"`, the name quoted where it has to be."""
        if _RESERVED.search(self.name):
            return f"{_go_quote(self.name)}{self.op}{_go_quote(self.value)}"
        return f"{self.name}{self.op}{_quote(self.value)}"

    def __reduce__(self) -> tuple[type[Matcher], tuple[str, Op, str]]:
        return Matcher, (self.name, self.op, self.value)


def matches_all(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    """Whether every one of them matches; true for none at all."""
    return all(m._test(labels.get(m.name, "")) for m in matchers)  # a call less for each matcher


def parse_matchers(text: str, mode: Mode = "fallback") -> tuple[Matcher, ...]:
    """All matchers of `{a="b", c=~"d"}`; the braces are optional. Raises `MatcherError`."""
    return _by_mode(text, mode, _classic_matchers, _utf8_matchers)


def parse_matcher(text: str, mode: Mode = "fallback") -> Matcher:
    """One matcher, without braces. Raises `MatcherError`."""
    return _by_mode(text, mode, _classic_matcher, _utf8_matcher)


def _by_mode(text: str, mode: Mode, classic: Callable[[str], T], utf8: Callable[[str], T]) -> T:
    if mode == "classic":
        return classic(text)
    if mode == "utf8":
        return utf8(text)
    if utf8 is _utf8_matcher:
        _refuse_braces(text)
    try:
        new = utf8(text)
    except MatcherError:
        return classic(text)
    try:
        old = classic(text)
    except MatcherError:
        return new
    return new if new == old else old


def _refuse_braces(text: str) -> None:
    if text.startswith("{") or text.endswith("}"):
        raise MatcherError(f"unexpected open or close brace: {text}")


def _test_for(op: Op, value: str) -> Callable[[str], bool]:
    match op:
        case "=":
            return value.__eq__
        case "!=":
            return value.__ne__
        case "=~":
            return _regex(value)
        case "!~":
            matches = _regex(value)
            return lambda text: not matches(text)


@lru_cache(maxsize=4096)
def _regex(value: str) -> Callable[[str], bool]:
    if _WORDS.fullmatch(value):
        return frozenset(value.split("|")).__contains__
    options = re2.Options()
    options.log_errors = False
    try:
        # As Alertmanager anchors it (pkg/labels/matcher.go).
        full = re2.compile(f"^(?:{value})$", options).fullmatch
    except (re2.error, UnicodeEncodeError) as e:
        raise MatcherError(f"not a regular expression: {value}: {_words(e)}") from None

    def matches(text: str) -> bool:
        try:
            return full(text) is not None
        except UnicodeEncodeError:  # a lone surrogate; Go's JSON decoder reads one as U+FFFD
            return full(_LONE.sub("\ufffd", text)) is not None

    return matches


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else error
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


# The classic syntax (pkg/labels/parse.go).

#: `\s` of Go's regexes.
_BLANK: Final = r"[\t\n\f\r ]*"
_CLASSIC: Final = re.compile(rf"{_BLANK}([a-zA-Z_:][a-zA-Z0-9_:]*){_BLANK}(=~|=|!=|!~){_BLANK}((?s:.*?)){_BLANK}")


def _classic_matchers(text: str) -> tuple[Matcher, ...]:
    """Splits at commas that are outside of quotes; a last empty part does not count."""
    text = text.removeprefix("{").removesuffix("}")
    parts: list[str] = []
    part, quoted, escaped = "", False, False
    for char in text:
        if char == "," and not quoted:
            parts.append(part)
            part = ""
            continue
        if char == '"':
            quoted = quoted if escaped else not quoted
            escaped = False
        elif char != ",":  # a comma within quotes leaves it as it is
            escaped = char == "\\" and not escaped
        part += char
    # Only the last part is trimmed of all that Unicode calls a space.
    if part := part.strip(_SPACES):
        parts.append(part)
    return tuple(_classic_matcher(p) for p in parts)


def _classic_matcher(text: str) -> Matcher:
    found = _CLASSIC.fullmatch(text)
    if found is None:
        raise MatcherError(f"bad matcher format: {text}")
    name, op, raw = found.groups()
    return Matcher(name, _OPS[op], _classic_value(raw))


def _classic_value(raw: str) -> str:
    """Unescapes `\\n`, `\\"` and `\\\\`; any other backslash is itself. Quotes are optional, and both or none."""
    bad = MatcherError(f"matcher value contains unescaped double quote: {raw}")
    quoted = raw.startswith('"')
    rest = raw[1:] if quoted else raw
    closed = not quoted
    value, i = "", 0
    while i < len(rest):
        char, last = rest[i], i == len(rest) - 1
        if char == "\\" and not last:
            i += 1
            value += {"n": "\n", '"': '"', "\\": "\\"}.get(rest[i], "\\" + rest[i])
        elif char == '"':
            if closed or not last:
                raise bad
            closed = True
        else:
            value += char
        i += 1
    if not closed:
        raise bad
    return value


# The UTF-8 syntax (matcher/parse).

#: Go's unicode.IsSpace; Python's own `\s` has U+001C to U+001F too.
_SPACES: Final = (
    "\t\n\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
#: What a name or a value without quotes cannot hold.
_RESERVED: Final = re.compile(rf"[{_SPACES}{{}}!=~,\\\"'`]")
_TOKEN: Final = re.compile(
    rf"""(?P<space>[{_SPACES}]+)|(?P<op>=~|!~|!=|=)|(?P<brace>[{{}}])|(?P<comma>,)"""
    rf"""|(?P<quoted>"(?:[^"\\]|\\.)*")|(?P<plain>[^{_SPACES}{{}}!=~,\\"'`]+)""",
    re.DOTALL,
)
_ESCAPE: Final = re.compile(
    r"\\(?:(?P<one>[abfnrtv\\\"])|x(?P<x>[0-9a-fA-F]{2})|(?P<o>[0-7]{3})|u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|(?P<bad>.?))",
    re.DOTALL,
)
_ONE: Final = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, "\\": 92, '"': 34}


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    at: int


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            what = 'missing end "' if text[at] == '"' else "invalid input"
            raise MatcherError(f"{at}: {text[at:]}: {what}")
        if match.lastgroup != "space":
            found.append(_Token(match.lastgroup or "", match[0], at))
        at = match.end()
    return found


def _utf8_matcher(text: str) -> Matcher:
    _refuse_braces(text)
    found = _utf8_matchers(text)
    if len(found) != 1:
        raise MatcherError(f"expected 1 matcher, found {len(found)}" if found else "no matchers")
    return found[0]


def _utf8_matchers(text: str) -> tuple[Matcher, ...]:
    """Braces both or neither; matchers with commas between them, one more at the end is allowed."""
    tokens = _tokens(text)
    opened = bool(tokens) and tokens[0].text == "{" and tokens[0].kind == "brace"
    rest = tokens[1:] if opened else tokens
    found: list[Matcher] = []
    while rest and rest[0].kind != "brace":
        name, op, value = _three(rest, text)
        found.append(Matcher(_text(name), _OPS[op.text], _text(value)))
        rest = rest[3:]
        if not rest or rest[0].kind == "brace":
            break
        if rest[0].kind != "comma":
            raise MatcherError(f"{rest[0].at}: unexpected {rest[0].text}: expected a comma or close brace")
        rest = rest[1:]
    if opened:
        if not rest or rest[0].text != "}":
            raise MatcherError("expected close brace")
        rest = rest[1:]
    elif rest and rest[0].text == "}":
        raise MatcherError(f"{rest[0].at}: }}: expected opening brace")
    if rest:
        raise MatcherError(f"{rest[0].at}: {rest[0].text}: expected end of input")
    return tuple(found)


def _three(tokens: list[_Token], text: str) -> tuple[_Token, _Token, _Token]:
    words = (
        (("quoted", "plain"), "label name"),
        (("op",), "an operator such as '=', '!=', '=~' or '!~'"),
        (
            ("quoted", "plain"),
            "label value",
        ),
    )
    for n, (kinds, what) in enumerate(words):
        if n >= len(tokens):
            raise MatcherError(f"{len(text)}: end of input: expected {what}")
        if tokens[n].kind not in kinds:
            raise MatcherError(f"{tokens[n].at}: unexpected {tokens[n].text}: expected {what}")
    return tokens[0], tokens[1], tokens[2]


def _text(token: _Token) -> str:
    """What a token says: a quoted one by the rules of Go's strconv.Unquote."""
    if token.kind == "plain":
        return token.text
    body = token.text[1:-1]
    if "\n" in body:
        raise MatcherError(f"{token.at}: {token.text}: invalid input")

    def unescape(match: re.Match[str]) -> bytes:
        groups = match.groupdict()
        if groups["one"]:
            return bytes([_ONE[groups["one"]]])
        if groups["x"]:
            return bytes([int(groups["x"], 16)])
        if groups["o"] and int(groups["o"], 8) < 256:
            return bytes([int(groups["o"], 8)])
        point = groups["u"] or groups["U"]
        if point and int(point, 16) < 0x110000 and not 0xD800 <= int(point, 16) < 0xE000:
            return chr(int(point, 16)).encode()
        raise MatcherError(f"{token.at}: {token.text}: invalid input")

    out, last = b"", 0
    for match in _ESCAPE.finditer(body):
        out += body[last : match.start()].encode() + unescape(match)
        last = match.end()
    try:
        return (out + body[last:].encode()).decode()
    except UnicodeError:
        raise MatcherError(f"{token.at}: {token.text}: not valid UTF-8") from None


def _quote(text: str) -> str:
    """OpenMetrics escaping, as in Alertmanager's Matcher.String."""
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f'"{escaped}"'


_GO_SHORT: Final = {
    "\a": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v", "\\": "\\\\", '"': '\\"',
}  # fmt: skip


def _go_quote(text: str) -> str:
    """Go's strconv.Quote: how Alertmanager writes name and value of a matcher whose name needs quotes."""
    return '"' + "".join([_GO_SHORT.get(char) or _go_char(char) for char in text]) + '"'


def _go_char(char: str) -> str:
    point = ord(char)
    if char.isprintable():
        return char
    if point < 0x20 or point == 0x7F:
        return f"\\x{point:02x}"
    return f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}"
