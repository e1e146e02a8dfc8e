"""GitHub's webhooks that tell of deploys: `deployment`, `deployment_status` and `workflow_run`.

The kind of event is in the header X-GitHub-Event; the body alone tells it too, so that what was recorded can be read
again without its headers. Every other event, `ping` among them, says nothing of a deploy.

- A deployment is the authority on itself. Actions makes one for each job that names an `environment`, with the run that
  it belongs to, or null for it.
- A `deployment` counts as started at once, for those who report only `success` afterwards; the status `waiting`,
  `queued` or `pending` takes that back until `in_progress`.
- A workflow run is a deploy by itself only where the name of its file, or its own, says so (`deploy-prod.yml`);
  its environment is then a guess from that name. Any other run only ends the deployments made in it.
- The service is the repository's name, unless the deployment's `payload` has a `service`; the payload may have
  `version` and `labels` too. GitHub takes the payload as an object or as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from alertbot.domain.deploys import PREVIOUS, SHORTEST_COMMIT, DeployKind, DeployReport, DeployStatus
from alertbot.domain.events import Unreadable
from alertbot.sources.deploys import first_line, labels, link, part, read_object, text, time

EVENTS: Final = ("deployment", "deployment_status", "workflow_run")

_STATES: Final = {
    "pending": DeployStatus.WAITING,
    "queued": DeployStatus.WAITING,
    "waiting": DeployStatus.WAITING,
    "in_progress": DeployStatus.STARTED,
    "success": DeployStatus.SUCCEEDED,
    "failure": DeployStatus.FAILED,
    "error": DeployStatus.FAILED,
}
_CONCLUSIONS: Final = {
    "success": DeployStatus.SUCCEEDED,
    "neutral": DeployStatus.SUCCEEDED,
    "failure": DeployStatus.FAILED,
    "cancelled": DeployStatus.FAILED,
    "timed_out": DeployStatus.FAILED,
    "startup_failure": DeployStatus.FAILED,
    "stale": DeployStatus.FAILED,
    # Nothing was deployed.
    "skipped": DeployStatus.FAILED,
    "action_required": DeployStatus.WAITING,
}
_DEPLOYS: Final = re.compile(r"deploy|rollback|roll-back|rollout|roll-out", re.IGNORECASE)
_ROLLS_BACK: Final = re.compile(r"rollback|roll-back|revert", re.IGNORECASE)
_ENVIRONMENTS: Final = frozenset(
    [
        "prod",
        "production",
        "live",
        "stage",
        "staging",
        "stg",
        "beta",
        "dev",
        "development",
        "test",
        "qa",
        "uat",
        "preview",
        "canary",
        "sandbox",
        "demo",
    ]
)


def parse(body: bytes, at: datetime, event: str = "") -> list[DeployReport]:
    """What one webhook says of a deploy: one report, or none. `event` is X-GitHub-Event, where it is at hand.

    Raises `Unreadable` where the body is no JSON object, or a deploy event lacks what names the deploy.
    """
    b = read_object(body)
    event = event or _event(b)
    if event == "deployment":
        return _deployment(b)
    if event == "deployment_status":
        return _deployment_status(b)
    if event == "workflow_run":
        return _workflow_run(b)
    return []


def _event(b: Mapping[str, Any]) -> str:
    """The kind of event, by what only it has."""
    action = b.get("action")
    if "deployment_status" in b:
        return "deployment_status"
    # deployment_protection_rule, deployment_review and workflow_job have some of the same members.
    if "deployment" in b and action == "created":
        return "deployment"
    if "workflow_run" in b and "workflow" in b and action in ("requested", "in_progress", "completed"):
        return "" if {"deployment", "reviewers", "approver", "workflow_job_runs"} & b.keys() else "workflow_run"
    return ""


def _deployment(b: dict[str, Any]) -> list[DeployReport]:
    said = time(part(b, "deployment").get("created_at"))
    return [_of_deployment(b, DeployStatus.REQUESTED, said)]


def _deployment_status(b: dict[str, Any]) -> list[DeployReport]:
    status = part(b, "deployment_status")
    state = text(status.get("state"))
    found = _STATES.get(state)
    if found is None:
        # "inactive": another deployment has taken its place.
        return []
    said = time(status.get("created_at")) or time(status.get("updated_at"))
    url = link(status.get("log_url")) or link(status.get("target_url"))
    return [_of_deployment(b, found, said, state=state, url=url)]


def _of_deployment(
    b: dict[str, Any], status: DeployStatus, said: datetime | None, state: str = "", url: str = ""
) -> DeployReport:
    deployment, run, repository = part(b, "deployment"), part(b, "workflow_run"), part(b, "repository")
    ident = text(deployment.get("id"))
    if not ident:
        raise Unreadable("the deployment has no id", "deployment.id")
    payload = _payload(deployment.get("payload"))
    sha = text(deployment.get("sha"))
    service, version = text(payload.get("service")), text(payload.get("version"))
    guessed = {name for name, value in (("service", service), ("version", version)) if not value}
    environment = text(deployment.get("environment")) or text(part(b, "deployment_status").get("environment"))
    task = text(deployment.get("task"))
    return DeployReport(
        source="github",
        status=status,
        service=service or text(repository.get("name")),
        environment=environment,
        version=version or sha[:SHORTEST_COMMIT],
        name=f"github_deployment:{ident}",
        run=_run_name(run),
        attempt=_attempt(run),
        at=said,
        repository=text(repository.get("full_name")),
        commit=sha,
        author=_author(text(part(deployment, "creator").get("login")), b),
        title=first_line(deployment.get("description")) or first_line(run.get("display_title")),
        url=url or link(run.get("html_url")),
        diff_url=_diff_url(repository, sha),
        detail=state,
        labels={**_repository_label(repository), **labels(payload.get("labels"))},
        kind=DeployKind.ROLLBACK if _ROLLS_BACK.search(task) else None,
        guessed=frozenset(guessed),
    )


def _workflow_run(b: dict[str, Any]) -> list[DeployReport]:
    run, repository = part(b, "workflow_run"), part(b, "repository")
    if not text(run.get("id")):
        raise Unreadable("the workflow run has no id", "workflow_run.id")
    action, conclusion = text(b.get("action")), text(run.get("conclusion"))
    if conclusion == "action_required":
        status = DeployStatus.WAITING
    elif action == "completed":
        # An end without a conclusion is an end.
        status = _CONCLUSIONS.get(conclusion, DeployStatus.SUCCEEDED)
    elif action == "in_progress":
        status = DeployStatus.STARTED
    elif action == "requested":
        status = DeployStatus.REQUESTED
    else:
        return []
    begins = run.get("run_started_at") or run.get("created_at")
    path = text(run.get("path")) or text(part(b, "workflow").get("path"))
    words = (
        f"{path.rpartition('/')[2].partition('@')[0]} {text(run.get('name'))} {text(part(b, 'workflow').get('name'))}"
    )
    sha, name = text(run.get("head_sha")), _run_name(run)
    return [
        DeployReport(
            source="github",
            status=status,
            service=text(repository.get("name")),
            environment=_environment(words),
            version=sha[:SHORTEST_COMMIT],
            name=name,
            run=name,
            attempt=_attempt(run),
            at=time(run.get("updated_at")) if status.ended else time(begins),
            repository=text(repository.get("full_name")),
            commit=sha,
            author=_author(text(part(run, "triggering_actor").get("login")), b),
            title=first_line(run.get("display_title")) or first_line(part(run, "head_commit").get("message")),
            url=link(run.get("html_url")),
            diff_url=_diff_url(repository, sha),
            detail=conclusion,
            labels=_repository_label(repository),
            kind=DeployKind.ROLLBACK if _ROLLS_BACK.search(words) else None,
            guessed=frozenset({"service", "environment", "version"}),
            joins_only=_DEPLOYS.search(words) is None,
        )
    ]


def _payload(value: Any) -> Mapping[str, Any]:
    """A deployment's payload: an object, or text that may be one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    return value if isinstance(value, dict) else {}


def _run_name(run: Mapping[str, Any]) -> str:
    ident = text(run.get("id"))
    return f"github_run:{ident}" if ident else ""


def _attempt(run: Mapping[str, Any]) -> int:
    attempt = run.get("run_attempt")
    return attempt if type(attempt) is int and 0 < attempt < 10_000 else 0


def _author(login: str, b: dict[str, Any]) -> str:
    """A person rather than a bot: Actions makes deployments in the name of one."""
    sender = text(part(b, "sender").get("login"))
    return sender if sender and (not login or login.endswith("[bot]")) else login


def _repository_label(repository: Mapping[str, Any]) -> dict[str, str]:
    name = text(repository.get("full_name"))
    return {"repository": name} if name else {}


def _diff_url(repository: Mapping[str, Any], sha: str) -> str:
    url = link(repository.get("html_url"))
    return f"{url}/compare/{PREVIOUS}...{sha}" if url and sha else ""


def _environment(words: str) -> str:
    """The first word of a workflow's name that is an environment's."""
    return next((w for w in re.split(r"[^a-z0-9]+", words.lower()) if w in _ENVIRONMENTS), "")
