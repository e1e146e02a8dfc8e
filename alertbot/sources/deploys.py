"""A deploy in our own words: what `POST /api/v1/deploys`, `alertbot deploy` and a replayed deploy say.

Also what the readers of all deploy webhooks share: their senders' bodies are theirs to change, so a field that is
not as expected counts as not given, and only a body that says nothing of a deploy it must name is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final

from alertbot.domain.deploys import DeployKind, DeployReport, DeployStatus
from alertbot.domain.events import Unreadable

#: Characters of one field that are kept.
LONGEST: Final = 1000

_STATUSES: Final = {
    "started": DeployStatus.STARTED,
    "succeeded": DeployStatus.SUCCEEDED,
    "failed": DeployStatus.FAILED,
}
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def parse(body: bytes, at: datetime) -> list[DeployReport]:
    """`{"service", "environment", "version", "status": "started|succeeded|failed", "id", "author", "url", "commit",
    "labels"}`, and besides: `at` (RFC 3339; without it, now), `title`, `diff_url`, `rollback` (a command or link that
    takes it back), `repository`, `kind` ("rollback").

    `status` is required, and `service` too unless an end has an `id`. Raises `Unreadable`, with the field.
    """
    b = read_object(body)
    status = _STATUSES.get(text(b.get("status")))
    if status is None:
        raise Unreadable("status must be started, succeeded or failed", "status")
    for name, value in b.items():
        if name not in ("labels", "id") and value is not None and not isinstance(value, str):
            raise Unreadable("must be text", name)
    ident, service = text(b.get("id")), text(b.get("service"))
    if not service and not (ident and status.ended):
        raise Unreadable("the service is missing", "service")
    said = time(b.get("at"))
    if b.get("at") and said is None:
        raise Unreadable("at must be an RFC 3339 time with an offset", "at")
    kind = text(b.get("kind"))
    if kind and kind not in tuple(DeployKind):
        raise Unreadable("kind must be deploy, redeploy or rollback", "kind")
    version, commit = text(b.get("version")), text(b.get("commit"))
    return [
        DeployReport(
            source="api",
            status=status,
            service=service,
            environment=text(b.get("environment")),
            version=version or commit[:7],
            id=ident,
            name=f"api:{ident}" if ident else "",
            at=said,
            repository=text(b.get("repository")),
            commit=commit,
            author=text(b.get("author")),
            title=first_line(b.get("title")),
            url=link(b.get("url")),
            diff_url=link(b.get("diff_url")),
            rollback=text(b.get("rollback")),
            labels=read_labels(b.get("labels")),
            kind=DeployKind(kind) if kind else None,
            guessed=frozenset() if version else frozenset({"version"}),
        )
    ]


def read_labels(value: Any) -> dict[str, str]:
    """Labels that somebody gave by hand: none, or an object of texts. Raises `Unreadable`."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Unreadable("labels must be an object", "labels")
    for name, v in value.items():
        if not isinstance(v, str):
            raise Unreadable("a label's value must be text", f"labels.{name}")
    return labels(value)


# What the readers of deploy webhooks share.


def read_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object; raises `Unreadable`."""
    try:
        value = json.loads(body.decode("utf-8-sig", "replace"))
    except ValueError as e:
        raise Unreadable(f"the body is not JSON: {e}") from None
    except RecursionError:
        raise Unreadable("the body is nested too deeply") from None
    if not isinstance(value, dict):
        raise Unreadable("the body must be a JSON object")
    return value


def part(value: Any, *path: str) -> Mapping[str, Any]:
    """The object at a path; an empty one where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else _NOTHING


def text(value: Any) -> str:
    """Text or a whole number as text, without outer blanks, of `LONGEST` characters at most; empty for all else."""
    if type(value) is int:
        value = str(value) if abs(value) < 10**18 else ""
    if not isinstance(value, str):
        return ""
    # JSON can spell half a surrogate pair, which no encoder takes.
    return value.strip()[:LONGEST].encode("utf-8", "replace").decode("utf-8")


def first_line(value: Any) -> str:
    """The first line of a text."""
    return text(value).partition("\n")[0].strip()


def link(value: Any) -> str:
    """A http(s) URL; empty for all else, `javascript:` above all."""
    url = text(value)
    return url if url.lower().startswith(("http://", "https://")) and not any(c.isspace() for c in url) else ""


def labels(value: Any) -> dict[str, str]:
    """Those of an object's members that can be labels: text, and not empty."""
    if not isinstance(value, dict):
        return {}
    return {text(name): text(v) for name, v in value.items() if isinstance(v, str) and text(name) and text(v)}


def time(value: Any) -> datetime | None:
    """An RFC 3339 time in UTC, or a number of milliseconds since 1970; None for all else."""
    try:
        if type(value) is int:
            return datetime.fromtimestamp(value / 1000, UTC)
        if isinstance(value, str) and value:
            said = datetime.fromisoformat(value.strip())
            return said.astimezone(UTC) if said.tzinfo is not None and said.year > 1 else None
    except (ValueError, OverflowError, OSError):
        pass
    return None
