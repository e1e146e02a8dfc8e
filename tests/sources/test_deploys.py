"""Deploys in our own words, and in Vercel's, Railway's and Argo CD's."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from alertbot.domain.deploy_reports import heard
from alertbot.domain.deploys import Deploy, DeployKind, DeployReport, DeploySettings, DeployStatus
from alertbot.domain.events import Unreadable
from alertbot.sources import argocd, deploys, github, railway, vercel

NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
SETTINGS = DeploySettings()
READERS = {"deploys": deploys, "github": github, "vercel": vercel, "railway": railway, "argocd": argocd}


def read(reader: Any, body: Any) -> DeployReport:
    """The one report of a body."""
    (report,) = reader.parse(json.dumps(body).encode(), NOW)
    assert isinstance(report, DeployReport)
    return report


def test_our_own_body_is_read_whole() -> None:
    body = {
        "service": "api",
        "environment": "prod",
        "version": "a1b2c3",
        "status": "started",
        "id": "d1",
        "author": "ana",
        "commit": "a1b2c3d4e5",
        "url": "https://ci.example.org/1",
        "labels": {"team": "payments", "empty": ""},
        "at": "2026-01-05T11:00:00+01:00",
        "rollback": "make rollback",
        "something": "newer than its reader",
    }
    assert read(deploys, body) == DeployReport(
        source="api",
        status=DeployStatus.STARTED,
        service="api",
        environment="prod",
        version="a1b2c3",
        id="d1",
        name="api:d1",
        at=NOW,
        commit="a1b2c3d4e5",
        author="ana",
        url="https://ci.example.org/1",
        rollback="make rollback",
        labels={"team": "payments"},
    )


def test_an_end_is_enough_with_its_id() -> None:
    report = read(deploys, {"id": 7, "status": "failed"})
    assert (report.name, report.status) == ("api:7", DeployStatus.FAILED)


REFUSED: list[tuple[str, bytes, str]] = [
    ("deploys", b"{}", "status"),
    ("deploys", b'{"service": "api", "status": "done"}', "status"),
    ("deploys", b'{"status": "started", "id": "d1"}', "service"),
    ("deploys", b'{"status": "succeeded"}', "service"),
    ("deploys", b'{"service": 5, "status": "started"}', "service"),
    ("deploys", b'{"service": "a", "status": "started", "labels": []}', "labels"),
    ("deploys", b'{"service": "a", "status": "started", "labels": {"a": 1}}', "labels.a"),
    # A time without an offset is no instant.
    ("deploys", b'{"service": "a", "status": "started", "at": "2026-01-05T10:00:00"}', "at"),
    ("deploys", b'{"service": "a", "status": "started", "kind": "x"}', "kind"),
    ("github", b'{"action": "created", "deployment": {}}', "deployment.id"),
    ("github", b'{"deployment_status": {"state": "success"}}', "deployment.id"),
    ("github", b'{"action": "completed", "workflow": {}, "workflow_run": null}', "workflow_run.id"),
    ("vercel", b'{"type": "deployment.created", "payload": {"deployment": null}}', "payload.deployment.id"),
    ("railway", b'{"type": "Deployment.failed"}', "resource.deployment.id"),
    ("railway", b'{"type": "DEPLOY", "deployment": {"id": "1"}}', "status"),
    ("railway", b'{"type": "DEPLOY", "status": "SUCCESS"}', "deployment.id"),
    ("argocd", b'{"phase": "Running"}', "app"),
    ("argocd", b'{"app": "checkout"}', "phase"),
]


@pytest.mark.parametrize(("reader", "body", "where"), REFUSED)
def test_what_names_no_deploy_is_refused_with_its_place(reader: str, body: bytes, where: str) -> None:
    with pytest.raises(Unreadable) as e:
        READERS[reader].parse(body, NOW)
    assert e.value.where == where


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "body", [b"", b"\xff\xfe", b"[]", b"null", b"{", b'"text"', b"[" * 100_000, b'{"a":' * 100_000, b"9" * 5000]
)
def test_what_is_no_json_object_is_refused(reader: str, body: bytes) -> None:
    with pytest.raises(Unreadable):
        READERS[reader].parse(body, NOW)


@pytest.mark.parametrize("reader", [vercel, railway, github])
@pytest.mark.parametrize("body", [{}, {"type": "volume.alert"}, {"type": 5}, {"zen": "…", "hook": {}}])
def test_events_of_other_things_say_nothing(reader: Any, body: Any) -> None:
    assert reader.parse(json.dumps(body).encode(), NOW) == []


# Whatever stands where something else is expected counts as not given; it never raises anything but Unreadable.
ODD: list[Any] = [None, 5, -1, 1e300, True, "", "text", [], {}, [{}], {"id": []}, "\ud800", 10**30]


@pytest.mark.parametrize("reader", READERS)
def test_a_body_with_anything_anywhere_is_read_or_refused(reader: str, corpus: Path) -> None:
    samples: dict[str, list[Any]] = {
        "deploys": [{"service": "a", "status": "started", "labels": {}, "at": "", "id": ""}],
        "github": [json.loads(p.read_text()) for p in sorted(corpus.glob("github/*/*.json"))],
        "vercel": [_vercel("deployment.created")],
        "railway": [json.loads(p.read_text()) for p in sorted(corpus.glob("deploy_other/railway*.json"))],
        "argocd": [_argocd()],
    }

    def damaged(value: Any) -> Any:
        """Every body that differs in one place."""
        yield from ODD
        if isinstance(value, dict):
            for key, inner in value.items():
                if key in ("repository", "organization", "sender", "actor", "triggering_actor", "head_repository"):
                    continue
                for other in damaged(inner):
                    yield {**value, key: other}

    read_ones = 0
    for sample in samples[reader]:
        for body in damaged(sample):
            try:
                for report in READERS[reader].parse(json.dumps(body).encode(), NOW):
                    read_ones += 1
                    heard([], report, NOW, SETTINGS)
                    json.dumps([report.service, report.labels, report.title]).encode()
            except Unreadable:
                pass
    assert read_ones > 10


# Vercel


def _vercel(kind: str, at: int = 1698345600000, **payload: Any) -> dict[str, Any]:
    return {
        "id": f"event_{kind}_{at}",
        "type": kind,
        "createdAt": at,
        "payload": {
            "deployment": {
                "id": "dpl_1",
                "name": "web",
                "url": "web-git-main.vercel.app",
                "meta": {"githubCommitSha": "abc1234def", "githubCommitOrg": "acme", "githubCommitRepo": "shop"},
            },
            "project": {"id": "prj_1", "name": "web"},
            "target": "production",
            **payload,
        },
    }


def test_vercels_published_example_is_a_preview_that_starts(corpus: Path) -> None:
    body = (corpus / "deploy_other/vercel_hookdeck_reference_example.json").read_bytes()
    (report,) = vercel.parse(body, NOW)
    assert report.status is DeployStatus.STARTED
    assert (report.service, report.environment, report.version) == ("my-app", "preview", "abc123d")
    assert report.at == datetime(2023, 10, 26, 18, 40, tzinfo=UTC)
    assert report.title == "Update homepage"
    assert report.url == "https://my-app-git-main-team.vercel.app"
    assert report.labels == {"branch": "main"}


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("deployment.created", DeployStatus.STARTED),
        ("deployment.succeeded", DeployStatus.SUCCEEDED),
        ("deployment.ready", DeployStatus.SUCCEEDED),
        ("deployment.promoted", DeployStatus.SUCCEEDED),
        ("deployment.error", DeployStatus.FAILED),
        ("deployment.canceled", DeployStatus.FAILED),
    ],
)
def test_vercels_events_say_how_it_goes(kind: str, status: DeployStatus) -> None:
    assert read(vercel, _vercel(kind)).status is status


def test_vercels_target_is_the_environment_and_null_is_a_preview() -> None:
    assert read(vercel, _vercel("deployment.created")).environment == "production"
    assert read(vercel, _vercel("deployment.created", target=None)).environment == "preview"


def test_vercels_rollback_is_one_and_its_diff_is_at_github() -> None:
    report = read(vercel, _vercel("deployment.rollback"))
    assert report.kind is DeployKind.ROLLBACK
    assert report.diff_url == "https://github.com/acme/shop/compare/{previous}...abc1234def"


def told(reports: list[DeployReport], now: datetime) -> list[Deploy]:
    known: dict[str, Deploy] = {}
    for i, report in enumerate(reports):
        result = heard(list(known.values()), report, now + timedelta(seconds=i), SETTINGS)
        known |= {d.id: d for d in result.deploys}
    return list(known.values())


def test_vercels_events_of_one_deployment_are_one_deploy_in_every_order() -> None:
    start = int(NOW.timestamp() * 1000)
    bodies = [
        _vercel("deployment.created", start),
        _vercel("deployment.ready", start + 60_000),
        _vercel("deployment.succeeded", start + 61_000),
        _vercel("deployment.promoted", start + 62_000),
    ]
    reports = [read(vercel, b) for b in bodies]
    for order in permutations(reports):
        (deploy,) = told([*order, order[0]], NOW + timedelta(minutes=2))
        assert (deploy.status, deploy.attempt) == (DeployStatus.SUCCEEDED, 1)
        assert (deploy.started_at, deploy.ended_at) == (NOW, NOW + timedelta(minutes=1))


def test_a_promotion_long_after_the_success_goes_live_then() -> None:
    start = int(NOW.timestamp() * 1000)
    bodies = [
        _vercel("deployment.created", start),
        _vercel("deployment.succeeded", start + 60_000),
        _vercel("deployment.promoted", start + 3_600_000),
    ]
    (deploy,) = told([read(vercel, b) for b in bodies], NOW + timedelta(minutes=61))
    assert (deploy.status, deploy.attempt) == (DeployStatus.SUCCEEDED, 2)
    assert deploy.started_at == NOW + timedelta(hours=1)


# Railway


def test_railways_published_example_contradicts_itself_and_its_type_decides(corpus: Path) -> None:
    (report,) = railway.parse((corpus / "deploy_other/railway_docs_example.json").read_bytes(), NOW)
    assert report.status is DeployStatus.FAILED
    assert report.detail == "failed (its status says success)"
    assert (report.service, report.environment) == ("<service name>", "<environment name>")
    assert report.name == "railway:<deployment id>"
    assert report.url == ""


def test_railways_older_example_has_no_status_and_says_nothing(corpus: Path) -> None:
    body = (corpus / "deploy_other/railway_docs_example_before_2025-11.json").read_bytes()
    with pytest.raises(Unreadable) as e:
        railway.parse(body, NOW)
    assert e.value.where == "status"
    report = read(railway, {**json.loads(body), "status": "SUCCESS"})
    assert report.status is DeployStatus.SUCCEEDED
    assert (report.service, report.environment) == ("[project name]", "[environment name]")
    assert report.guessed == {"service", "version"}


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        # The type's word, where we know it.
        ("Deployment.failed", "FAILED", DeployStatus.FAILED),
        ("Deployment.deployed", "SUCCESS", DeployStatus.SUCCEEDED),
        ("Deployment.crashed", "", DeployStatus.FAILED),
        # The status, where we do not.
        ("Deployment.redeployed", "SUCCESS", DeployStatus.SUCCEEDED),
        ("Deployment.status_changed", "BUILDING", DeployStatus.STARTED),
        ("DEPLOY", "DEPLOYING", DeployStatus.STARTED),
        ("DEPLOY", "INITIALIZING", DeployStatus.STARTED),
        ("DEPLOY", "WAITING", DeployStatus.WAITING),
        ("DEPLOY", "QUEUED", DeployStatus.WAITING),
        ("DEPLOY", "CRASHED", DeployStatus.FAILED),
        # A newer one has taken its place.
        ("DEPLOY", "REMOVED", None),
        ("Deployment.removed", "REMOVING", None),
    ],
)
def test_railways_words(kind: str, status: str, expected: DeployStatus | None) -> None:
    resource = {"deployment": {"id": "d"}, "service": {"name": "api"}, "environment": {"name": "prod"}}
    body = {"type": kind, "status": status, "details": {"status": status}, "resource": resource, **resource}
    reports = railway.parse(json.dumps(body).encode(), NOW)
    assert [r.status for r in reports] == ([] if expected is None else [expected])


# Argo CD


def _argocd(**more: Any) -> dict[str, Any]:
    return {
        "app": "checkout",
        "argocd_namespace": "argocd",
        "namespace": "shop-prod",
        "project": "shop",
        "labels": {"env": "prod", "team": "payments", "app.kubernetes.io/part-of": "shop"},
        "phase": "Running",
        "health": "Progressing",
        "revision": "f95f852bd8fca8fcc58a9a2d6c842781e32a215e",
        "started_at": "2026-01-05T10:00:00Z",
        "finished_at": None,
        "url": "https://argocd.example.org/applications/checkout",
        **more,
    }


@pytest.mark.parametrize(
    ("phase", "health", "status"),
    [
        ("Running", "Healthy", DeployStatus.STARTED),
        # Applied, and its pods still roll.
        ("Succeeded", "Progressing", DeployStatus.STARTED),
        ("Succeeded", "Healthy", DeployStatus.SUCCEEDED),
        ("Succeeded", "", DeployStatus.SUCCEEDED),
        ("Succeeded", "Degraded", DeployStatus.FAILED),
        ("Failed", "Healthy", DeployStatus.FAILED),
        ("Error", "Healthy", DeployStatus.FAILED),
    ],
)
def test_argo_cds_phase_and_health_say_how_it_goes(phase: str, health: str, status: DeployStatus) -> None:
    assert read(argocd, _argocd(phase=phase, health=health)).status is status


def test_argo_cds_labels_name_service_and_environment() -> None:
    report = read(argocd, _argocd())
    assert (report.service, report.environment, report.version) == ("checkout", "prod", "f95f852")
    assert report.labels == {"application": "checkout", "project": "shop", "env": "prod", "team": "payments"}
    bare = read(argocd, _argocd(labels=None))
    assert (bare.service, bare.environment) == ("checkout", "shop-prod")
    assert bare.guessed == {"service", "environment", "version"}


def test_one_sync_of_argo_cd_is_one_deploy_in_every_order_and_the_next_sync_another() -> None:
    end = {"phase": "Succeeded", "finished_at": "2026-01-05T10:01:00Z"}
    reports = [
        read(argocd, _argocd()),
        read(argocd, _argocd(**end)),
        read(argocd, _argocd(**end, health="Healthy")),
    ]
    for order in permutations(reports):
        (deploy,) = told([*order, order[1]], NOW + timedelta(minutes=2))
        assert (deploy.status, deploy.attempt) == (DeployStatus.SUCCEEDED, 1)
        assert (deploy.started_at, deploy.ended_at) == (NOW, NOW + timedelta(minutes=1))
        after = told([*order, read(argocd, _argocd(started_at="2026-01-05T10:01:30Z"))], NOW + timedelta(minutes=2))
        assert [d.kind for d in after] == [DeployKind.DEPLOY, DeployKind.REDEPLOY]


def test_the_documented_template_makes_the_fields_that_are_read() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "argocd.md").read_text()
    template = page.partition("body: |")[2].partition("trigger.")[0]
    for name in ("app", "argocd_namespace", "namespace", "project", "labels", "phase", "health", "revision"):
        assert f'"{name}": ' in template
    for name in ("started_at", "finished_at", "message", "repository", "url"):
        assert f'"{name}": ' in template
