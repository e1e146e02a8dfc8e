"""Railway's webhooks, in both their generations.

Since November 2025: `{"type": "Deployment.failed", "details": {…}, "resource": {…}}`; before: `{"type": "DEPLOY",
"status", "project", "environment", "deployment"}`. It also sends alerts on volumes, memory and processors: they say
nothing of a deploy.

The two places that say how it went contradict each other even in Railway's own example (`Deployment.failed`
with the status SUCCESS). The type decides; where we do not know its word, the status does. A deployment that is removed
or asleep has been replaced or is idle: neither tells of a deploy.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from alertbot.domain.deploys import SHORTEST_COMMIT, DeployReport, DeployStatus
from alertbot.domain.events import Unreadable
from alertbot.sources.deploys import first_line, part, read_object, text, time

_WORDS: Final[Mapping[str, DeployStatus | None]] = {
    "queued": DeployStatus.WAITING,
    "waiting": DeployStatus.WAITING,
    "needs_approval": DeployStatus.WAITING,
    "initializing": DeployStatus.STARTED,
    "building": DeployStatus.STARTED,
    "deploying": DeployStatus.STARTED,
    "success": DeployStatus.SUCCEEDED,
    "succeeded": DeployStatus.SUCCEEDED,
    "deployed": DeployStatus.SUCCEEDED,
    "failed": DeployStatus.FAILED,
    "crashed": DeployStatus.FAILED,
    "canceled": DeployStatus.FAILED,
    "cancelled": DeployStatus.FAILED,
    "skipped": None,
    "sleeping": None,
    "slept": None,
    "removing": None,
    "removed": None,
}


def parse(body: bytes, at: datetime) -> list[DeployReport]:
    """One report for what tells of a deploy, none for all else. Raises `Unreadable`, with the field."""
    b = read_object(body)
    kind = text(b.get("type"))
    group, _, word = kind.lower().partition(".")
    if group == "deployment":
        details, resource, where = part(b, "details"), part(b, "resource"), "details.status"
    elif group == "deploy":
        details, resource, where = part(b, "deployment", "meta"), b, "status"
    else:
        return []
    said = text(b.get("status")) if group == "deploy" else text(details.get("status"))
    if word in _WORDS:
        status = _WORDS[word]
    elif said.lower() in _WORDS:
        status = _WORDS[said.lower()]
    else:
        raise Unreadable("neither the type nor the status says how the deployment went", where)
    if status is None:
        return []
    deployment, environment = part(resource, "deployment"), part(resource, "environment")
    ident = text(deployment.get("id")) or text(details.get("id"))
    if not ident:
        raise Unreadable("the deployment has no id", "resource.deployment.id" if word else "deployment.id")
    project, sha = text(part(resource, "project").get("name")), text(details.get("commitHash"))
    service = text(part(resource, "service").get("name"))
    labels = {"project": project, "branch": text(details.get("branch"))}
    if environment.get("isEphemeral") is True:
        labels["ephemeral"] = "true"
    guessed = {"version"} if service else {"version", "service"}
    return [
        DeployReport(
            source="railway",
            status=status,
            service=service or project,
            environment=text(environment.get("name")),
            version=sha[:SHORTEST_COMMIT] or ident[:8],
            name=f"railway:{ident}",
            at=time(b.get("timestamp")),
            repository=text(details.get("repo")),
            commit=sha,
            author=text(details.get("commitAuthor")) or text(part(deployment, "creator").get("name")),
            title=first_line(details.get("commitMessage")),
            url=_page(resource),
            detail=_detail(word, said),
            labels={name: value for name, value in labels.items() if value},
            guessed=frozenset(guessed),
        )
    ]


def _detail(word: str, said: str) -> str:
    """What was said of it; both, where they contradict each other."""
    said = said.lower()
    if word and said and _WORDS.get(word) is not _WORDS.get(said):
        return f"{word} (its status says {said})"
    return word or said


def _page(resource: Mapping[str, Any]) -> str:
    """The deployment's page at Railway, for ids as Railway makes them."""
    project, service = text(part(resource, "project").get("id")), text(part(resource, "service").get("id"))
    if not project or not service or not (project + service).replace("-", "").isalnum():
        return ""
    return f"https://railway.com/project/{project}/service/{service}"
