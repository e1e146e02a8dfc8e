"""Argo CD's notifications. They have no body of their own: docs/argocd.md has the template that makes this one.

`{"app", "namespace", "project", "labels", "phase", "health", "revision", "repository", "started_at",
"finished_at", "author", "title", "message", "url"}`. One template serves every trigger: how it goes is read from the
operation's `phase` and the application's `health`, not from the trigger's name. A sync that succeeded is over once the
application is healthy, for its pods may still roll. Each sync operation is a deploy, known by its start; a template
that does not say it counts one deploy a revision.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from alertbot.domain.deploys import SHORTEST_COMMIT, DeployReport, DeployStatus
from alertbot.domain.events import Unreadable
from alertbot.sources.deploys import first_line, labels, link, part, read_object, text, time

_PHASES: Final = {
    "Running": DeployStatus.STARTED,
    "Terminating": DeployStatus.STARTED,
    "Succeeded": DeployStatus.SUCCEEDED,
    "Failed": DeployStatus.FAILED,
    "Error": DeployStatus.FAILED,
}
#: Labels of an application that name its service and its environment.
_SERVICE: Final = ("service", "app.kubernetes.io/name", "app")
_ENVIRONMENT: Final = ("environment", "env")


def parse(body: bytes, at: datetime) -> list[DeployReport]:
    """One report. Raises `Unreadable` where the body is not what the template makes, with the field."""
    b = read_object(body)
    app = text(b.get("app"))
    if not app:
        raise Unreadable("the application's name is missing", "app")
    status = _PHASES.get(text(b.get("phase")))
    if status is None:
        raise Unreadable("phase must be Running, Terminating, Succeeded, Failed or Error", "phase")
    health = text(b.get("health"))
    finished = time(b.get("finished_at"))
    if status is DeployStatus.SUCCEEDED and health == "Progressing":
        status = DeployStatus.STARTED
    elif status is DeployStatus.SUCCEEDED and health == "Degraded":
        # It came to that after the sync: when, nobody says.
        status, finished = DeployStatus.FAILED, at
    started = time(b.get("started_at"))
    sha = text(b.get("revision"))
    named, said = labels(b.get("labels")), part(b, "labels")
    service = next((named[n] for n in _SERVICE if n in named), "")
    environment = next((named[n] for n in _ENVIRONMENT if n in named), "")
    where = f"argocd:{text(b.get('argocd_namespace'))}/{app}@"
    return [
        DeployReport(
            source="argocd",
            status=status,
            service=service or app,
            environment=environment or text(b.get("namespace")),
            version=sha[:SHORTEST_COMMIT] if _is_commit(sha) else sha,
            name=f"{where}{started.isoformat() if started else sha}",
            at=finished if status.ended else started,
            repository=text(b.get("repository")),
            commit=sha if _is_commit(sha) else "",
            author=text(b.get("author")),
            title=first_line(b.get("title")),
            url=link(b.get("url")),
            detail=first_line(b.get("message")),
            labels={
                **{n: text(v) for n, v in said.items() if n in named and n.isidentifier()},
                "application": app,
                **({"project": project} if (project := text(b.get("project"))) else {}),
            },
            guessed=frozenset(
                name
                for name, value in (("service", service), ("environment", environment), ("version", ""))
                if not value
            ),
        )
    ]


def _is_commit(revision: str) -> bool:
    """A Helm chart's revision is its version."""
    return len(revision) == 40 and all(c in "0123456789abcdef" for c in revision)
