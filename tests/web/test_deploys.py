"""Who deploys tells us, and Sentry: each by its own signature or token, durable before the answer; and the API."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp.test_utils import TestClient

from alertbot.sources import SOURCES
from tests.domain.script import rule
from tests.web.abot import POLICY, ABot, alert, webhook
from tests.web.described import Described

SECRETS = {sender: f"secret-of-{sender}" for sender in ("github", "vercel", "railway", "argocd", "sentry")}
RULES = (
    rule("deploys", "alertname=Deployment", "alertname=~High.*", "service"),
    rule("works", "alertname=DatabaseMaintenance", "alertname=Slow", duration=timedelta(hours=2)),
)
DEPLOYMENT = {
    "action": "created",
    "deployment": {"id": 7, "sha": "a1b2c3d4e5f6", "environment": "prod", "payload": {"service": "api"}},
    "repository": {"name": "shop", "full_name": "acme/shop"},
}
#: A body of each sender that tells of one deploy, or of one alert.
BODIES: dict[str, Any] = {
    "github": DEPLOYMENT,
    "vercel": {
        "type": "deployment.created",
        "payload": {"deployment": {"id": "dpl_1", "name": "shop"}, "target": "production"},
    },
    "railway": {
        "type": "Deployment.deploying",
        "details": {"status": "DEPLOYING"},
        "resource": {"service": {"name": "shop"}, "deployment": {"id": "r1"}, "environment": {"name": "production"}},
    },
    "argocd": {"app": "shop", "phase": "Running", "health": "Healthy", "labels": None},
    "sentry": {
        "action": "created",
        "data": {"issue": {"id": "11", "title": "Broken", "level": "error", "project": {"slug": "web"}}},
    },
}


@pytest.fixture
async def bot() -> AsyncIterator[ABot]:
    """One whose rules hold by deploys and maintenance, with a secret for each sender."""
    it = ABot(policy=replace(POLICY, inhibit_rules=RULES))
    it.configure(webhook_secrets=SECRETS)
    await it.store.open()
    await it.engine.start()
    yield it
    await it.engine.stop()


def signed(sender: str, body: bytes, secret: str | None = None) -> tuple[str, dict[str, str]]:
    """Where a sender sends a body, and with which headers."""
    secret = SECRETS[sender] if secret is None else secret
    path = f"/webhooks/{sender}" + (f"/{secret}" if sender == "railway" else "")
    match sender:
        case "github":
            digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
            return path, {"X-Hub-Signature-256": f"sha256={digest}"}
        case "vercel":
            return path, {"x-vercel-signature": hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()}
        case "argocd":
            return path, {"Authorization": f"Bearer {secret}"}
        case "sentry":
            return path, {"Sentry-Hook-Signature": hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}
    return path, {}


async def send(client: TestClient[Any, Any], sender: str, body: Any, secret: str | None = None) -> tuple[int, Any]:
    """What the bot answers to a webhook."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    path, headers = signed(sender, data, secret)
    headers |= {"Content-Type": "application/json"}
    answer = await client.post(path, data=data, headers=headers, allow_redirects=False)
    assert answer.content_type == "application/json"
    return answer.status, await answer.json()


async def settled(bot: ABot) -> None:
    """Returns when all that was accepted is decided: what comes now is decided after it."""
    await bot.accept("tick", b"", SOURCES["tick"](b"", bot.clock()), "", wait=True)


# The doors.


@pytest.mark.parametrize("sender", SECRETS)
async def test_a_genuine_webhook_is_durable_when_its_sender_hears_so(
    bot: ABot, client: TestClient[Any, Any], sender: str
) -> None:
    assert await send(client, sender, BODIES[sender]) == (200, {"accepted": 1, "set_aside": 0})
    event = await bot.store.event(1)
    assert event is not None
    assert (event.event.source, json.loads(event.event.body)) == (sender, BODIES[sender])


@pytest.mark.parametrize("sender", SECRETS)
async def test_a_webhook_with_another_secret_is_refused_and_leaves_no_trace(
    bot: ABot, client: TestClient[Any, Any], sender: str
) -> None:
    status, said = await send(client, sender, BODIES[sender], "another")
    assert (status, said["error"]) == (401, "the signature or token is wrong or missing")
    assert bot.taken == []
    assert SECRETS[sender] not in str(said)


@pytest.mark.parametrize("sender", ["github", "vercel", "argocd", "sentry"])
async def test_a_webhook_without_a_signature_is_refused(bot: ABot, client: TestClient[Any, Any], sender: str) -> None:
    answer = await client.post(f"/webhooks/{sender}", json=BODIES[sender])
    assert (answer.status, bot.taken) == (401, [])


@pytest.mark.parametrize("sender", SECRETS)
async def test_without_a_secret_in_the_config_nothing_is_genuine_and_the_answer_says_what_to_set(
    bot: ABot, client: TestClient[Any, Any], sender: str
) -> None:
    bot.configure(webhook_secrets={})
    for secret in ("x", SECRETS[sender]):
        status, said = await send(client, sender, BODIES[sender], secret)
        assert status == 401
        assert f"web.{sender}_webhook_secret is not set" in said["error"]
    assert bot.taken == []


@pytest.mark.parametrize("sender", SECRETS)
async def test_what_is_not_json_is_refused_with_what_and_where(
    bot: ABot, client: TestClient[Any, Any], sender: str
) -> None:
    for body in (b"", b"nonsense", b"[]", b"[" * 100_000, b"\xff\xfe"):
        status, said = await send(client, sender, body)
        assert status == 400
        assert set(said) >= {"error", "where"}
    assert bot.taken == []


async def test_what_is_missing_in_a_body_is_named(client: TestClient[Any, Any]) -> None:
    assert (await send(client, "github", {**DEPLOYMENT, "deployment": {}}))[1]["where"] == "deployment.id"
    assert (await send(client, "argocd", {"app": "shop"}))[1]["where"] == "phase"
    nameless = {"action": "resolved", "data": {"issue": {"title": "Broken"}}}
    assert (await send(client, "sentry", nameless))[1]["where"] == "data.issue.id"
    assert (await send(client, "railway", {"type": "Deployment.deployed"}))[1]["where"] == "resource.deployment.id"


@pytest.mark.parametrize("sender", SECRETS)
async def test_a_body_over_the_limit_is_refused(bot: ABot, client: TestClient[Any, Any], sender: str) -> None:
    bot.configure(max_body=1000)
    status, said = await send(client, sender, {**BODIES[sender], "more": "x" * 1000})
    assert (status, said["error"]) == (413, "the body is larger than 1000 bytes")
    assert bot.taken == []


async def test_github_may_send_its_json_as_a_form(bot: ABot, client: TestClient[Any, Any]) -> None:
    """The signature is over the form, as it was sent."""
    form = urlencode({"payload": json.dumps(DEPLOYMENT)}).encode()
    path, headers = signed("github", form)
    headers["Content-Type"] = "application/x-www-form-urlencoded"
    answer = await client.post(path, data=form, headers=headers)
    assert (answer.status, await answer.json()) == (200, {"accepted": 1, "set_aside": 0})
    assert json.loads(bot.taken[0].body) == DEPLOYMENT, "it is recorded as it can be read again"
    for wrong in (b"", b"payload=", b"other=%7B%7D"):
        path, headers = signed("github", wrong)
        headers["Content-Type"] = "application/x-www-form-urlencoded"
        assert (await client.post(path, data=wrong, headers=headers)).status == 400


async def test_what_tells_of_no_deploy_is_answered_and_not_kept(
    bot: ABot, client: TestClient[Any, Any], corpus: Path
) -> None:
    for ping in sorted((corpus / "github" / "ping").glob("*.json")):
        assert await send(client, "github", ping.read_bytes()) == (200, {"accepted": 0, "set_aside": 0})
    volume = {"type": "VolumeAlert.triggered", "details": {}, "resource": {}}
    assert await send(client, "railway", volume) == (200, {"accepted": 0, "set_aside": 0})
    assert bot.taken == []


@pytest.mark.parametrize("path", ["/webhooks/github/", "/webhooks/railway/secret-of-railway/"])
async def test_these_doors_do_not_redirect_either(client: TestClient[Any, Any], path: str) -> None:
    sender = path.split("/")[2]
    body = json.dumps(BODIES[sender]).encode()
    answer = await client.post(path, data=body, headers=signed(sender, body)[1], allow_redirects=False)
    assert answer.status == 200


async def test_a_store_that_is_away_is_503_so_that_the_sender_tries_again(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    bot.store.away = True
    status, said = await send(client, "github", DEPLOYMENT)
    assert status == 503
    assert "hunter2" not in str(said)


async def test_an_issue_of_sentry_is_an_incident_from_its_rule_to_its_end(
    bot: ABot, client: TestClient[Any, Any], api: Described
) -> None:
    event = {"issue_id": "11", "title": "Broken", "level": "fatal", "environment": "prod"}
    triggered = {"action": "triggered", "data": {"event": event, "triggered_rule": "Checkout is broken"}}
    assert (await send(client, "sentry", triggered))[0] == 200
    await settled(bot)
    (incident,) = (await api.get("/api/v1/incidents"))["incidents"]
    assert (incident["severity"], incident["alerts"][0]["status"]) == ("critical", "firing")
    # Its end is told as an issue, with another name and without an environment.
    ended = {"action": "resolved", "data": {"issue": BODIES["sentry"]["data"]["issue"]}}
    assert (await send(client, "sentry", ended))[0] == 200
    await settled(bot)
    (incident,) = (await api.get("/api/v1/incidents"))["incidents"]
    (alert,) = incident["alerts"]
    assert (alert["status"], alert["labels"]["alertname"]) == ("resolved", "Checkout is broken")


# What recorded webhooks come to.


async def deploys(client: TestClient[Any, Any]) -> list[dict[str, Any]]:
    found = await (await client.get("/api/v1/deploys?since=3000d")).json()
    return list(found["deploys"])


async def test_recorded_webhooks_of_github_are_one_deploy_in_any_order_and_twice(
    bot: ABot, client: TestClient[Any, Any], corpus: Path
) -> None:
    """A deployment and its status, each twice; and a run of tests, which is no deploy."""
    names = ("deployment/payload", "deployment_status/payload", "deployment/with-installation.payload",
             "workflow_run/completed.payload")  # fmt: skip
    bodies = [(corpus / "github" / f"{name}.json").read_bytes() for name in names]
    for order in permutations(bodies):
        await bot.engine.stop()
        bot.__post_init__()
        await bot.store.open()
        await bot.engine.start()
        for body in (*order, order[0]):
            assert await send(client, "github", body) == (200, {"accepted": 1, "set_aside": 0})
        await settled(bot)
        (deploy,) = await deploys(client)
        shown = [deploy[name] for name in ("service", "environment", "version", "status", "author")]
        assert shown == ["Hello-World", "production", "f95f852", "succeeded", "Codertocat"]


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        # Its type says that it failed, its status that it succeeded: the type counts.
        ("railway_docs_example", ("failed", "railway")),
        ("vercel_hookdeck_reference_example", ("started", "vercel")),
    ],
)
async def test_the_examples_of_vercel_and_railway_are_deploys(
    bot: ABot, client: TestClient[Any, Any], corpus: Path, name: str, shown: tuple[str, str]
) -> None:
    body = (corpus / "deploy_other" / f"{name}.json").read_bytes()
    assert await send(client, name.split("_")[0], body) == (200, {"accepted": 1, "set_aside": 0})
    await settled(bot)
    (deploy,) = await deploys(client)
    assert (deploy["status"], deploy["source"]) == shown


async def test_the_older_example_of_railway_says_nothing_of_how_it_went_and_is_refused_for_that(
    client: TestClient[Any, Any], corpus: Path
) -> None:
    body = (corpus / "deploy_other" / "railway_docs_example_before_2025-11.json").read_bytes()
    status, said = await send(client, "railway", body)
    assert (status, said["where"]) == (400, "status")
    assert (await send(client, "railway", {**json.loads(body), "status": "SUCCESS"}))[0] == 200


# The API.


async def test_a_deploy_over_the_api_is_known_by_the_id_that_it_was_given(bot: ABot, api: Described) -> None:
    about = {"service": "api", "environment": "prod", "version": "a1b2c3", "author": "ana", "commit": "a1b2c3d4"}
    started = await api.post("/api/v1/deploys", {**about, "status": "started", "labels": {"team": "pay"}})
    assert {k: started[k] for k in about} == about
    assert (started["status"], started["labels"]["team"]) == ("started", "pay")
    assert started["holds_until"] == "2026-01-05T10:30:00Z", "max_duration, until its end is known"
    bot.moved.advance(timedelta(minutes=2))
    ended = await api.post("/api/v1/deploys", {"id": started["id"], "status": "succeeded"})
    assert (ended["id"], ended["status"]) == (started["id"], "succeeded")
    assert ended["holds_until"] == "2026-01-05T10:07:00Z", "settle, after its end"
    listed = await api.get("/api/v1/deploys")
    assert listed == {"deploys": [ended]}
    assert (await api.get("/api/v1/deploys?service=web"))["deploys"] == []
    assert (await api.get("/api/v1/deploys?since=1m&limit=1"))["deploys"] == [ended]


async def test_an_end_without_an_id_is_of_the_deploy_of_this_service_environment_and_version(
    bot: ABot, api: Described
) -> None:
    about = {"service": "api", "environment": "prod", "version": "a1b2c3"}
    started = await api.post("/api/v1/deploys", {**about, "status": "started"})
    failed = await api.post("/api/v1/deploys", {**about, "status": "failed"})
    assert (failed["id"], failed["status"], failed["holds_until"]) == (started["id"], "failed", None)


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "status"),
        ({"status": "done", "service": "api"}, "status"),
        ({"status": "started"}, "service"),
        ({"status": "succeeded", "version": "x"}, "service"),
        ({"status": "started", "service": "api", "at": "yesterday"}, "at"),
        ({"status": "started", "service": 5}, "service"),
        ({"status": "started", "service": "api", "versoin": "x"}, "versoin"),
        ({"status": "started", "service": "api", "labels": {"a": 1}}, "labels.a"),
    ],
)
async def test_a_deploy_that_cannot_be_understood_is_refused_with_its_field(
    bot: ABot, api: Described, body: dict[str, Any], where: str
) -> None:
    assert (await api.post("/api/v1/deploys", body, status=400))["where"] == where
    assert bot.taken == []


async def test_the_end_of_a_deploy_that_nobody_knows_is_refused_unless_it_says_what_was_deployed(
    bot: ABot, api: Described
) -> None:
    assert (await api.post("/api/v1/deploys", {"id": "typo", "status": "failed"}, status=404))["where"] == "id"
    assert bot.taken == []
    late = await api.post("/api/v1/deploys", {"id": "d1", "service": "api", "status": "failed"})
    assert (late["id"], late["status"]) == ("d1", "failed")


async def test_an_alert_that_a_deploy_holds_says_so_and_an_incident_after_it_names_it(
    bot: ABot, api: Described
) -> None:
    deploy = await api.post("/api/v1/deploys", {"service": "api", "version": "a1", "status": "started"})
    body = webhook(alert("HighLatency", startsAt="2026-01-05T10:00:00Z"))
    await bot.accept("alertmanager", body, SOURCES["alertmanager"](body, bot.clock()), "t" * 32, wait=True)
    (incident,) = (await api.get("/api/v1/incidents"))["incidents"]
    (held,) = incident["alerts"]
    assert (incident["status"], held["status"], held["held_by"]) == ("held", "held", "deploys")
    assert held["held_until"] == deploy["holds_until"]
    assert incident["suspect"]["id"] == deploy["id"]
    assert incident["suspect"]["agreeing"] == ["service"]


async def test_maintenance_is_opened_extended_listed_and_ended(bot: ABot, api: Described) -> None:
    opened = await api.post(
        "/api/v1/maintenance",
        {
            "alertname": "DatabaseMaintenance",
            "labels": {"db": "orders"},
            "duration": "2h",
            "by": "ana",
            "reason": "disks",
        },
    )
    assert opened == {
        "id": opened["id"],
        "status": "active",
        "labels": {"alertname": "DatabaseMaintenance", "db": "orders"},
        "starts_at": "2026-01-05T10:00:00Z",
        "ends_at": "2026-01-05T12:00:00Z",
        "by": "ana",
        "reason": "disks",
        "warning": None,
    }
    assert (await api.get("/api/v1/maintenance"))["maintenance"] == [opened]
    more = await api.post("/api/v1/maintenance", {"action": "extend", "id": opened["id"], "duration": "30m"})
    assert more["ends_at"] == "2026-01-05T12:30:00Z"
    status, ended = await api.send("DELETE", f"/api/v1/maintenance/{opened['id']}", json={})
    assert (status, ended["status"]) == (200, "ended")
    assert (await api.get("/api/v1/maintenance"))["maintenance"] == []
    (found,) = (await api.get("/api/v1/maintenance?since=1h"))["maintenance"]
    assert (found["id"], found["status"]) == (opened["id"], "ended")


async def test_a_window_that_no_rule_has_as_a_source_is_opened_with_a_warning(bot: ABot, api: Described) -> None:
    opened = await api.post("/api/v1/maintenance", {"labels": {"db": "orders"}, "duration": "2h"})
    assert "holds nothing" in opened["warning"]


@pytest.mark.parametrize(
    ("body", "status", "where"),
    [
        # Nobody can open one without an end.
        ({"alertname": "X"}, 400, "duration"),
        ({"alertname": "X", "duration": ""}, 400, "duration"),
        ({"alertname": "X", "duration": "0s"}, 400, "duration"),
        ({"alertname": "X", "duration": "soon"}, 400, "duration"),
        ({"duration": "2h"}, 400, "labels"),
        ({"action": "begin", "alertname": "X", "duration": "2h"}, 400, "action"),
        ({"action": "extend", "id": "nothere", "duration": "2h"}, 404, "id"),
        ({"action": "end", "id": "nothere"}, 404, "id"),
    ],
)
async def test_a_window_that_cannot_be_understood_is_refused_with_its_field(
    bot: ABot, api: Described, body: dict[str, Any], status: int, where: str
) -> None:
    assert (await api.post("/api/v1/maintenance", body, status=status))["where"] == where
    assert bot.taken == []


async def test_a_window_opens_once_and_ends_once(bot: ABot, api: Described) -> None:
    start = {"alertname": "X", "duration": "2h", "id": "m1"}
    await api.post("/api/v1/maintenance", start)
    assert (await api.post("/api/v1/maintenance", start, status=409))["where"] == "id"
    assert (await api.send("DELETE", "/api/v1/maintenance/m1", json={}))[0] == 200
    assert (await api.send("DELETE", "/api/v1/maintenance/m1", json={}))[0] == 409
    assert (await api.send("DELETE", "/api/v1/maintenance/m2", json={}))[0] == 404
    await api.post("/api/v1/maintenance", {"action": "extend", "id": "m1", "duration": "1h"}, status=409)


async def test_a_deploy_is_no_maintenance_window(bot: ABot, api: Described) -> None:
    deploy = await api.post("/api/v1/deploys", {"service": "api", "version": "a1", "status": "started"})
    assert (await api.send("DELETE", f"/api/v1/maintenance/{deploy['id']}", json={}))[0] == 404


async def test_a_windows_record_is_read_like_an_incidents(bot: ABot, api: Described) -> None:
    about = {"service": "api", "version": "a1", "status": "started"}
    deploy = await api.post("/api/v1/deploys", about)
    await api.post("/api/v1/deploys", {"id": deploy["id"], "status": "failed"})
    await bot.engine.turn()
    entries = (await api.get(f"/api/v1/incidents/{deploy['id']}/timeline"))["entries"]
    assert [e["text"] for e in entries] == [
        "the API says: a deploy of api a1 began",
        "the API says: the deploy of api a1 failed",
        f"the deploy {deploy['id']} failed",
    ]
    window = await api.post("/api/v1/maintenance", {"alertname": "X", "duration": "2h", "by": "ana", "id": "m1"})
    await api.post("/api/v1/maintenance", {"action": "end", "id": window["id"], "by": "bob"})
    await bot.engine.turn()
    entries = (await api.get("/api/v1/incidents/m1/timeline"))["entries"]
    assert [(e["by"], e["reason"]) for e in entries] == [("ana", "maintenance_started"), ("bob", "maintenance_ended")]
