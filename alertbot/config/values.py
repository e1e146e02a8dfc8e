"""The values of alertbot.yml: pydantic's verdict in plain words, and integrations that could never send."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import ValidationError

from alertbot.config.integrations import Email, Entry, Key, Sms, Webhook, entries
from alertbot.config.models import Settings
from alertbot.config.problems import Path, dotted
from alertbot.config.walk import Walk


def validate(walk: Walk, data: dict[str, Any]) -> Settings | None:
    """The settings, or None where a value is not what its key takes; the walk then has the problems."""
    try:
        return Settings.model_validate(data)
    except ValidationError as error:
        for found in error.errors(include_url=False, include_input=False):
            path: Path = tuple(found["loc"])
            if any(path[:n] in walk.told for n in range(len(path) + 1)):
                continue
            walk.problem(path, _plainly(found["type"], path, found.get("ctx", {}), found["msg"]))
        return None


#: pydantic's names of what can go wrong → our words.
_WORDS: Final[Mapping[str, str]] = {
    "string_type": "expected a text",
    "list_type": "expected a list, `[a, b]` or lines that start with `-`",
    "tuple_type": "expected a list, `[a, b]` or lines that start with `-`",
    "dict_type": "expected a mapping, `key: value`",
    "model_type": "expected a mapping, `key: value`",
    "int_parsing": "expected a whole number",
    "int_type": "expected a whole number",
    "int_from_float": "expected a whole number",
    "float_parsing": "expected a number",
    "float_type": "expected a number",
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "literal_error": "expected {expected}",
    "finite_number": "expected a number",
}


def _plainly(kind: str, path: Path, context: Mapping[str, Any], message: str) -> str:
    if kind == "missing":
        if path == ("route",):
            return "there is no `route`: it says which receiver takes an alert"
        hint = ""
        if path[-1] == "channel":
            hint = " (a channel that starts with # must be quoted, '#ops': what follows a bare # is a comment)"
        return f"{dotted(path[:-1])}: `{path[-1]}` is missing{hint}"
    if kind == "value_error":
        return f"{_called(path)}: {context['error']}"
    return f"{_called(path)}: {_WORDS.get(kind, message).format_map(context)}"


def _called(path: Path) -> str:
    """What a value is called on its own line: the last key, with an item's place."""
    key = next((i for i in range(len(path) - 1, -1, -1) if isinstance(path[i], str) and path[i] != "[key]"), 0)
    return f"`{dotted(path[key : key + 1])}`"


def misfits(settings: Settings, unset: set[Path]) -> Iterator[tuple[Entry, str]]:
    """Destinations that are there twice, and integrations that lack what is no credential.

    `unset` are settings that were written and are taken as not given: what lacks those runs dry, and is no
    mistake.
    """
    seen: set[tuple[Path, Key]] = set()
    for entry in entries(settings):
        key = (entry.path[:2], entry.key)
        if key in seen:
            _, kind, to = entry.key
            yield entry, f"`{entry.receiver}` has {kind} {to} twice: one incident has one card there"
        seen.add(key)
        lacking = _lacking(entry, unset)
        if lacking:
            yield entry, f"{dotted(entry.path[:4])}: {lacking}"


def _lacking(entry: Entry, unset: set[Path]) -> str:
    match entry.integration:
        case Webhook(dry=str()) if (*entry.path, "url") not in unset:
            return "`url` or `url_file` is missing"
        case Sms(dry=None, from_="", messaging_service_sid=""):
            return "`from`, `messaging_service_sid` or global `twilio_from` is missing"
        case Email(dry=None, from_=""):
            return "`from` or global `smtp_from` is missing"
        case Email(dry=None, auth_username=user, auth_password=password) if bool(user) != bool(password):
            given, other = ("username", "password") if user else ("password", "username")
            if not {(*entry.path, f"auth_{other}"), ("global", f"smtp_auth_{other}")} & unset:
                return f"there is an auth_{given} and no auth_{other}"
    return ""
