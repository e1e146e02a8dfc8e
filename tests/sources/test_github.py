"""GitHub's webhooks: what they say of a deploy, and that one deploy of Actions counts once."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from alertbot.domain.deploy_reports import heard
from alertbot.domain.deploys import Deploy, DeployReport, DeploySettings, DeployStatus, going_on
from alertbot.domain.reasons import Reason
from alertbot.sources import github

NOW = datetime(2022, 1, 3, 1, 30, tzinfo=UTC)
SETTINGS = DeploySettings()
SHA = "f95f852bd8fca8fcc58a9a2d6c842781e32a215e"


def load(corpus: Path, name: str) -> dict[str, Any]:
    """A recorded body: `deployment/` for its payload.json, `deployment/gh-pages` for gh-pages.payload.json."""
    file = f"{name}payload.json" if name.endswith("/") else f"{name}.payload.json"
    body = json.loads((corpus / "github" / file).read_text())
    assert isinstance(body, dict)
    return body


def read(body: Any) -> DeployReport:
    (report,) = github.parse(json.dumps(body).encode(), NOW)
    return report


def test_a_recorded_deployment_is_read(corpus: Path) -> None:
    report = read(load(corpus, "deployment/"))
    assert report == DeployReport(
        source="github",
        status=DeployStatus.REQUESTED,
        service="Hello-World",
        environment="production",
        version="f95f852",
        name="github_deployment:145988746",
        at=datetime(2019, 5, 15, 15, 20, 53, tzinfo=UTC),
        repository="Codertocat/Hello-World",
        commit=SHA,
        author="Codertocat",
        diff_url="https://github.com/Codertocat/Hello-World/compare/{previous}..." + SHA,
        labels={"repository": "Codertocat/Hello-World"},
        guessed=frozenset({"service", "version"}),
    )


def test_a_bot_deploys_for_the_person_who_sent_it(corpus: Path) -> None:
    report = read(load(corpus, "deployment/gh-pages"))
    assert report.author == "Codertocat"
    assert (report.run, report.attempt) == ("github_run:289782451", 1)


@pytest.mark.parametrize("payload", [{"service": "checkout", "version": "v1.2", "labels": {"team": "pay", "n": 1}}])
@pytest.mark.parametrize("as_text", [True, False])
def test_a_payload_names_the_service_as_an_object_or_as_text(corpus: Path, payload: Any, as_text: bool) -> None:
    body = load(corpus, "deployment/")
    body["deployment"]["payload"] = json.dumps(payload) if as_text else payload
    report = read(body)
    assert (report.service, report.version) == ("checkout", "v1.2")
    assert report.labels == {"repository": "Codertocat/Hello-World", "team": "pay"}
    assert report.guessed == frozenset()


@pytest.mark.parametrize("payload", ["", "text", "[1]", "[" * 10_000, 5, None, []])
def test_a_payload_that_is_something_else_is_not_looked_at(corpus: Path, payload: Any) -> None:
    body = load(corpus, "deployment/")
    body["deployment"]["payload"] = payload
    assert read(body).service == "Hello-World"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        ("pending", DeployStatus.WAITING),
        ("queued", DeployStatus.WAITING),
        ("waiting", DeployStatus.WAITING),
        ("in_progress", DeployStatus.STARTED),
        ("success", DeployStatus.SUCCEEDED),
        ("failure", DeployStatus.FAILED),
        ("error", DeployStatus.FAILED),
        # Another deployment has taken its place; and words that are yet to come.
        ("inactive", None),
        ("paused", None),
    ],
)
def test_the_states_of_a_deployment(corpus: Path, state: str, status: DeployStatus | None) -> None:
    body = load(corpus, "deployment_status/")
    body["deployment_status"]["state"] = state
    reports = github.parse(json.dumps(body).encode(), NOW)
    assert [r.status for r in reports] == ([] if status is None else [status])


@pytest.mark.parametrize(
    ("name", "action", "conclusion", "status"),
    [
        ("requested", "requested", None, DeployStatus.REQUESTED),
        ("requested", "in_progress", None, DeployStatus.STARTED),
        ("requested.with-conclusion", "requested", "action_required", DeployStatus.WAITING),
        ("completed", "completed", "success", DeployStatus.SUCCEEDED),
        ("completed", "completed", "failure", DeployStatus.FAILED),
        ("completed", "completed", "cancelled", DeployStatus.FAILED),
        ("completed", "completed", "timed_out", DeployStatus.FAILED),
        # Nothing was deployed: nothing is to settle.
        ("completed", "completed", "skipped", DeployStatus.FAILED),
        ("completed", "completed", None, DeployStatus.SUCCEEDED),
    ],
)
def test_the_ways_of_a_run(corpus: Path, name: str, action: str, conclusion: str | None, status: DeployStatus) -> None:
    body = load(corpus, f"workflow_run/{name}")
    body["action"], body["workflow_run"]["conclusion"] = action, conclusion
    assert read(body).status is status


@pytest.mark.parametrize(
    ("path", "workflow", "is_deploy", "environment"),
    [
        (".github/workflows/deploy-prod.yml", "Release it", True, "prod"),
        (".github/workflows/deploy-beta.yml", "x", True, "beta"),
        (".github/workflows/main.yml", "Deploy to Production", True, "production"),
        (".github/workflows/deploy.yml", "x", True, ""),
        (".github/workflows/rollback.yml@main", "x", True, ""),
        # Tests, and what only publishes.
        (".github/workflows/test.yml", "test", False, "test"),
        (".github/workflows/release.yml", "publish the package", False, ""),
    ],
)
def test_a_run_is_a_deploy_by_its_name(
    corpus: Path, path: str, workflow: str, is_deploy: bool, environment: str
) -> None:
    body = load(corpus, "workflow_run/requested")
    body["workflow_run"] |= {"path": path, "name": workflow}
    body["workflow"] |= {"path": path, "name": workflow}
    report = read(body)
    assert (not report.joins_only, report.environment) == (is_deploy, environment)


def test_ping_and_reviews_say_nothing(corpus: Path) -> None:
    for path in sorted(corpus.glob("github/ping/*.json")):
        assert github.parse(path.read_bytes(), NOW) == []
    run = load(corpus, "workflow_run/requested")
    assert github.parse(json.dumps({**run, "reviewers": []}).encode(), NOW) == []
    assert github.parse(json.dumps(run).encode(), NOW, event="workflow_job") == []


def test_the_body_tells_what_the_header_does(corpus: Path) -> None:
    paths = sorted(corpus.glob("github/*/*.json"))
    assert len(paths) == 13
    for path in paths:
        body = path.read_bytes()
        assert github.parse(body, NOW) == github.parse(body, NOW, event=path.parent.name)


# One Actions deploy, whole: recorded bodies, made to be of one run.


def actions(corpus: Path, workflow: str, linked: bool, result: str = "success", attempt: int = 1) -> list[Any]:
    """workflow_run requested and completed, deployment, and its three statuses; a minute between each.

    `linked`: the deployment names its run. Without, only the commit ties the two together.
    """
    start = NOW + timedelta(hours=attempt - 1)

    def at(minutes: float) -> str:
        return (start + timedelta(minutes=minutes)).isoformat().replace("+00:00", "Z")

    run = load(corpus, "workflow_run/requested")
    run["repository"] = load(corpus, "deployment/")["repository"]
    run["workflow_run"] |= {
        "head_sha": SHA,
        "run_attempt": attempt,
        "run_started_at": at(0),
        "path": f".github/workflows/{workflow}",
        "updated_at": at(0),
    }
    deployment = load(corpus, "deployment/gh-pages")
    deployment["deployment"] |= {"environment": "production", "id": 1000 + attempt, "created_at": at(1)}
    deployment["workflow_run"] = {**run["workflow_run"]} if linked else None
    bodies = [run, deployment]
    for i, state in enumerate(("queued", "in_progress", result)):
        status = load(corpus, "deployment_status/gh-pages")
        status["deployment"] = deployment["deployment"]
        status["workflow_run"] = deployment["workflow_run"]
        status["deployment_status"] |= {"state": state, "created_at": at(2 + i)}
        bodies.append(status)
    done = copy.deepcopy(run)
    done["action"] = "completed"
    done["workflow_run"] |= {"conclusion": result, "updated_at": at(5)}
    return [*bodies, done]


def told(bodies: list[Any], now: datetime, known: list[Deploy] | None = None) -> list[Deploy]:
    deploys = {d.id: d for d in known or []}
    for body in bodies:
        for report in github.parse(json.dumps(body).encode(), now):
            deploys |= {d.id: d for d in heard(list(deploys.values()), report, now, SETTINGS).deploys}
    return list(deploys.values())


@pytest.mark.parametrize("workflow", ["deploy-prod.yml", "main.yml"])
@pytest.mark.parametrize("linked", [True, False])
@pytest.mark.parametrize("result", ["success", "failure"])
def test_one_actions_deploy_counts_once_in_every_order(corpus: Path, workflow: str, linked: bool, result: str) -> None:
    reports = [read(body) for body in actions(corpus, workflow, linked, result)]
    now = NOW + timedelta(minutes=6)
    for order in permutations(reports):
        known: dict[str, Deploy] = {}
        for report in (*order, order[2], order[0]):
            known |= {d.id: d for d in heard(list(known.values()), report, now, SETTINGS).deploys}
        (deploy,) = known.values()
        assert deploy.status.value == ("succeeded" if result == "success" else "failed")
        assert (deploy.environment, deploy.service, deploy.attempt) == ("production", "Hello-World", 1)
        # The queue is over at the third minute; the deployment's own word is its end.
        assert (deploy.started_at, deploy.ended_at) == (NOW + timedelta(minutes=3), NOW + timedelta(minutes=4))


def test_a_delivery_that_comes_again_changes_nothing(corpus: Path) -> None:
    bodies = actions(corpus, "deploy-prod.yml", linked=True)
    now = NOW + timedelta(minutes=6)
    once = told(bodies, now)
    for body in bodies:
        result = heard(once, read(body), now + timedelta(minutes=1), SETTINGS)
        assert result == type(result)(Reason.DEPLOY_HEARD_AGAIN, tuple(once))


@pytest.mark.parametrize("linked", [True, False])
def test_a_re_run_is_the_next_try_of_the_same_deploy(corpus: Path, linked: bool) -> None:
    first = told(actions(corpus, "deploy-prod.yml", linked, "failure"), NOW + timedelta(minutes=6))
    again = actions(corpus, "deploy-prod.yml", linked, attempt=2)
    (going,) = told(again[:4], NOW + timedelta(hours=1, minutes=3), first)
    assert (going.attempt, going.status, going.id) == (2, DeployStatus.STARTED, first[0].id)
    assert going.identity != first[0].identity
    assert going.started_at == NOW + timedelta(hours=1, minutes=3)
    assert going.first_started_at == first[0].started_at
    (done,) = told(again[4:], NOW + timedelta(hours=1, minutes=6), [going])
    assert (done.attempt, done.status) == (2, DeployStatus.SUCCEEDED)
    # What is still heard of the first try changes nothing.
    late = read(actions(corpus, "deploy-prod.yml", linked, "failure")[4])
    result = heard([done], late, NOW + timedelta(hours=1, minutes=7), SETTINGS)
    assert result.reason is Reason.DEPLOY_STALE
    assert result.deploys == (done,)


def test_a_run_that_deploys_to_two_environments_is_two_deploys(corpus: Path) -> None:
    bodies = actions(corpus, "main.yml", linked=True)
    beta = copy.deepcopy(bodies[1])
    beta["deployment"] |= {"id": 77, "environment": "beta"}
    now = NOW + timedelta(minutes=6)
    known = told([bodies[1], beta, bodies[4]], now)
    assert {(d.environment, d.status) for d in known} == {
        ("production", DeployStatus.SUCCEEDED),
        ("beta", DeployStatus.STARTED),
    }
    # The end of beta is lost: that of the run stands in.
    after = told([bodies[5]], now, known)
    assert {(d.environment, d.status) for d in after} == {
        ("production", DeployStatus.SUCCEEDED),
        ("beta", DeployStatus.SUCCEEDED),
    }


def test_two_jobs_of_a_run_in_one_environment_are_one_deploy(corpus: Path) -> None:
    migrate = actions(corpus, "main.yml", linked=True)
    deploy = copy.deepcopy(migrate)
    for body in deploy[1:5]:
        body["deployment"]["id"] = 99
    now = NOW + timedelta(minutes=6)
    (one,) = told([*migrate[1:5], *deploy[1:4]], now)
    assert one.status is DeployStatus.STARTED
    (done,) = told([deploy[4]], now, [one])
    assert (done.status, done.attempt) == (DeployStatus.SUCCEEDED, 1)


def test_a_deploy_that_waits_for_an_approval_starts_when_it_has_it(corpus: Path) -> None:
    bodies = actions(corpus, "deploy-prod.yml", linked=True)
    bodies[2]["deployment_status"]["state"] = "waiting"
    (waits,) = told(bodies[:3], NOW + timedelta(minutes=3))
    assert waits.status is DeployStatus.WAITING
    assert not going_on(waits, NOW + timedelta(minutes=3), SETTINGS)
    later = NOW + timedelta(hours=3)
    bodies[3]["deployment_status"]["created_at"] = later.isoformat()
    (going,) = told(bodies[3:4], later, [waits])
    assert going.started_at == later
    assert going_on(going, later, SETTINGS)


def test_a_test_run_of_the_same_commit_is_not_its_deploy(corpus: Path) -> None:
    bodies = actions(corpus, "test.yml", linked=False, result="failure")
    known = told(bodies[1:4], NOW + timedelta(minutes=3))
    assert told([bodies[5]], NOW + timedelta(minutes=6), known) == known
    result = heard([], read(bodies[5]), NOW + timedelta(minutes=6), SETTINGS)
    assert (result.reason, result.deploys) == (Reason.NO_DEPLOY, ())
