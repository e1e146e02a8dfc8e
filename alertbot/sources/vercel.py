"""Vercel's webhooks: a deployment created, succeeded (older: ready), promoted, rolled back to, failed, canceled.

`target` is "production", "staging", or null for a preview. The service is the project. The commit is in the
deployment's `meta`, by the names of the Git host it came from. Vercel retries for up to a day: `createdAt` tells
when it happened. A promotion long after the success is the next try of the same deploy: it goes live then.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from alertbot.domain.deploys import PREVIOUS, SHORTEST_COMMIT, DeployKind, DeployReport, DeployStatus
from alertbot.domain.events import Unreadable
from alertbot.sources.deploys import first_line, link, part, read_object, text, time

_TYPES: Final = {
    "deployment.created": DeployStatus.STARTED,
    "deployment.succeeded": DeployStatus.SUCCEEDED,
    "deployment.ready": DeployStatus.SUCCEEDED,
    "deployment.promoted": DeployStatus.SUCCEEDED,
    "deployment.rollback": DeployStatus.SUCCEEDED,
    "deployment.error": DeployStatus.FAILED,
    "deployment.canceled": DeployStatus.FAILED,
}
_HOSTS: Final = ("github", "gitlab", "bitbucket")


def parse(body: bytes, at: datetime) -> list[DeployReport]:
    """One report for a deployment's event, none for any other. Raises `Unreadable`, with the field."""
    b = read_object(body)
    kind = text(b.get("type"))
    status = _TYPES.get(kind)
    if status is None:
        return []
    payload = part(b, "payload")
    deployment = part(payload, "deployment")
    # Before 2023 some events had these beside the deployment.
    ident = text(deployment.get("id")) or text(payload.get("deploymentId"))
    if not ident:
        raise Unreadable("the deployment has no id", "payload.deployment.id")
    meta = part(deployment, "meta")
    sha, repository = _meta(meta, "CommitSha"), _repository(meta)
    target = text(payload.get("target")) or text(deployment.get("target"))
    on_github = repository and text(meta.get("githubCommitSha"))
    return [
        DeployReport(
            source="vercel",
            status=status,
            service=text(part(payload, "project").get("name")) or text(deployment.get("name")),
            environment=target or "preview",
            version=sha[:SHORTEST_COMMIT] or ident,
            name=f"vercel:{ident}",
            at=time(b.get("createdAt")),
            repository=repository,
            commit=sha,
            author=_meta(meta, "CommitAuthorLogin") or _meta(meta, "CommitAuthorName"),
            title=first_line(_meta(meta, "CommitMessage")),
            url=link(part(payload, "links").get("deployment")) or _site(deployment),
            diff_url=f"https://github.com/{repository}/compare/{PREVIOUS}...{sha}" if on_github else "",
            detail=kind.partition(".")[2],
            labels={"branch": branch} if (branch := _meta(meta, "CommitRef")) else {},
            kind=DeployKind.ROLLBACK if kind == "deployment.rollback" else None,
            guessed=frozenset({"version"} if target else {"version", "environment"}),
        )
    ]


def _meta(meta: Mapping[str, Any], name: str) -> str:
    return next((text(meta[host + name]) for host in _HOSTS if text(meta.get(host + name))), "")


def _repository(meta: Mapping[str, Any]) -> str:
    owner = text(meta.get("githubCommitOrg")) or text(meta.get("githubOrg"))
    name = text(meta.get("githubCommitRepo")) or text(meta.get("githubRepo"))
    return f"{owner}/{name}" if owner and name else ""


def _site(deployment: Mapping[str, Any]) -> str:
    url = text(deployment.get("url"))
    return link(url if "://" in url else f"https://{url}") if url else ""
