"""The API: its shapes are the contract's, and its description is true of every answer in this file."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import Any

import pytest
from aiohttp.test_utils import TestClient
from openapi_spec_validator import OpenAPIV31SpecValidator

from alertbot.domain.model import DeliveryStatus, Level
from alertbot.sources import SOURCES
from alertbot.store.base import Changes, Outcome, Parked
from tests.web.abot import START, ABot, alert, webhook
from tests.web.described import Described


async def report(bot: ABot, *alerts: Any, **fields: Any) -> None:
    """A webhook comes in, and is decided."""
    body = webhook(*alerts, **fields)
    await bot.accept("alertmanager", body, SOURCES["alertmanager"](body, bot.clock()), "t" * 32, wait=True)


async def only(api: Described) -> dict[str, Any]:
    """The one incident that there is."""
    (incident,) = (await api.get("/api/v1/incidents"))["incidents"]
    assert isinstance(incident, dict)
    return incident


async def test_the_description_is_valid_openapi(client: TestClient[Any, Any]) -> None:
    document = await (await client.get("/api/v1/openapi.json")).json()
    OpenAPIV31SpecValidator(document).validate()
    assert document["openapi"].startswith("3.1")


async def test_the_description_names_every_route(client: TestClient[Any, Any]) -> None:
    document = await (await client.get("/api/v1/openapi.json")).json()
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in client.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(method, path) for path, methods in document["paths"].items() for method in methods}
    # The variant with a slash at the end is no path of its own, and what Slack calls is described by Slack.
    slack = {("post", "/slack/commands"), ("post", "/slack/interactions")}
    assert described == {(m, path) for m, path in served - slack if path == "/" or not path.endswith("/")}


async def test_an_incident_has_the_shape_of_the_contract(bot: ABot, api: Described) -> None:
    await report(bot, alert("HighLatency"))
    incident = await only(api)
    assert incident == await api.get(f"/api/v1/incidents/{incident['id']}")
    assert incident == {
        "id": incident["id"],
        "status": "open",
        "severity": "critical",
        "receivers": ["ops"],
        "labels": {"alertname": "HighLatency"},
        "title": incident["title"],
        "url": f"https://alertbot.example.org/incidents/{incident['id']}",
        "opened_at": "2026-01-05T10:00:00Z",
        "acknowledged_at": None,
        "acknowledged_by": None,
        "resolved_at": None,
        "flapping": False,
        "silences": [],
        "counts": {"firing": 1, "held": 0, "resolved": 0},
        "alerts": [
            {
                "fingerprint": incident["alerts"][0]["fingerprint"],
                "status": "firing",
                "labels": incident["alerts"][0]["labels"],
                "annotations": alert("HighLatency")["annotations"],
                "starts_at": "2026-01-05T09:58:00Z",
                "ends_at": None,
                "held_by": None,
                "held_until": None,
            }
        ],
        "deliveries": incident["deliveries"],
        "runbook": "https://runbooks.example.org/HighLatency",
        "deploys": [],
        "suspect": None,
    }
    nothing_yet = {"status": "pending", "attempts": 0, "last_error": None, "remote_id": None, "sent_at": None}
    assert sorted(incident["deliveries"], key=lambda d: str(d["integration"])) == [
        {"receiver": "ops", "integration": "slack", "to": "#ops", **nothing_yet},
        {"receiver": "ops", "integration": "sms", "to": "+1555", **nothing_yet},
    ]


async def test_a_delivery_shows_how_it_went(bot: ABot, api: Described) -> None:
    await report(bot, alert("HighLatency"))
    lease, minute = "lease", timedelta(minutes=1)
    (delivery,) = await bot.store.claim("slack:ops", START, lease, minute, 10)
    outcome = Outcome(
        delivery.id,
        lease,
        START,
        DeliveryStatus.RETRYING,
        Level(),
        1,
        START + minute,
        False,
        {},
        "",
        "ratelimited",
        None,
    )
    assert await bot.store.record(outcome)
    incident = await only(api)
    (shown,) = [d for d in incident["deliveries"] if d["integration"] == "slack"]
    assert (shown["status"], shown["attempts"], shown["last_error"]) == ("retrying", 1, "ratelimited")


async def test_a_list_is_filtered_by_status_severity_and_time(bot: ABot, api: Described) -> None:
    await report(bot, alert("A", "critical"))
    bot.moved.advance(timedelta(hours=1))
    await report(bot, alert("B", "warning"))
    (a,) = [i for i in (await api.get("/api/v1/incidents"))["incidents"] if i["labels"]["alertname"] == "A"]
    await api.post(f"/api/v1/incidents/{a['id']}/acknowledge", {"by": "ada"})

    async def names(query: str) -> list[str]:
        found = await api.get(f"/api/v1/incidents?{query}")
        return [i["labels"]["alertname"] for i in found["incidents"]]

    assert await names("") == ["B", "A"]
    assert await names("status=open") == ["B"]
    assert await names("status=acknowledged,open") == ["B", "A"]
    assert await names("status=acknowledged&status=held") == ["A"]
    assert await names("severity=medium") == ["B"]
    # A foreign word means the severity that it maps to.
    assert await names("severity=page") == ["A"]
    assert await names("since=2026-01-05T10:30:00Z") == ["B"]
    assert await names("since=30m") == ["B"]
    assert await names("since=2h") == ["B", "A"]
    # An offset whose plus sign was not escaped.
    assert await names("since=2026-01-05T12:30:00+02:00") == ["B"]


@pytest.mark.parametrize("path", ["/api/v1/incidents?limit=500", "/api/v1/maintenance", "/"])
async def test_a_list_asks_the_store_as_often_however_long_it_is(
    bot: ABot, client: TestClient[Any, Any], api: Described, path: str
) -> None:
    asked: list[dict[str, int]] = []
    for names in ("ABC", "DEFGHIJKLMNOPQRSTUVWXYZ"):
        for name in names:
            await report(bot, alert(name))
            await api.post("/api/v1/deploys", {"service": f"service {name}", "status": "started"})
            await api.post("/api/v1/maintenance", {"action": "start", "alertname": f"Work{name}", "duration": "1h"})
        bot.store.asked.clear()
        response = await client.get(path)
        assert response.status == 200
        asked.append(dict(bot.store.asked))
    assert asked[0]
    assert asked[0] == asked[1]


async def test_a_list_goes_on_at_its_cursor(bot: ABot, api: Described) -> None:
    for name in "ABCDE":
        await report(bot, alert(name))
    found: list[str] = []
    query = "limit=2"
    while True:
        page = await api.get(f"/api/v1/incidents?{query}")
        assert len(page["incidents"]) <= 2
        found += [i["labels"]["alertname"] for i in page["incidents"]]
        if page["next"] is None:
            break
        query = f"limit=2&cursor={page['next']}"
    assert sorted(found) == ["A", "B", "C", "D", "E"]


BAD_QUERIES = [
    ("incidents?status=broken", "status"),
    ("incidents?severity=loud", "severity"),
    ("incidents?since=yesterday", "since"),
    ("incidents?since=9999999y", "since"),
    ("incidents?since=2026-01-05T10:00:00", "since"),
    ("incidents?limit=0", "limit"),
    ("incidents?limit=501", "limit"),
    ("incidents?limit=x", "limit"),
    ("incidents?limit=%C2%B2", "limit"),
    ("incidents?cursor=nonsense", "cursor"),
    # A misspelt filter that is passed over would show everything.
    ("incidents?state=open", "state"),
    ("explain", "label"),
    ("explain?label=alertname", "label"),
    ("explain?label==x", "label"),
    ("explain?alertname=x", "alertname"),
    ("parked?x=1", "x"),
]


@pytest.mark.parametrize(("query", "where"), BAD_QUERIES)
async def test_a_query_that_makes_no_sense_is_refused_with_its_place(api: Described, query: str, where: str) -> None:
    status, said = await api.send("GET", f"/api/v1/{query}")
    assert (status, said["where"]) == (400, where)


async def test_a_silence_of_no_readable_length_is_refused_with_its_place(bot: ABot, api: Described) -> None:
    await report(bot, alert("HighLatency"))
    incident = await only(api)
    path = f"/api/v1/incidents/{incident['id']}/silence"
    for length in ("an hour", "0s", "-1h"):
        answer = await api.post(path, {"duration": length}, 400)
        assert answer["where"] == "duration"
    silenced = await api.post(path, {"by": "ada", "comment": "known"})
    (found,) = silenced["silences"]
    assert (found["until"], found["via"], found["alerts"]) == (None, "alertbot", [silenced["alerts"][0]["fingerprint"]])


async def test_an_acknowledgement_a_note_and_a_resolve_are_in_the_timeline_under_their_persons(
    bot: ABot, api: Described
) -> None:
    await report(bot, alert())
    path = f"/api/v1/incidents/{(await only(api))['id']}"
    acknowledged = await api.post(f"{path}/acknowledge", {"by": "ada"})
    assert (acknowledged["status"], acknowledged["acknowledged_by"]) == ("acknowledged", "ada")
    assert acknowledged["acknowledged_at"] == "2026-01-05T10:00:00Z"
    await api.post(f"{path}/notes", {"by": "ada", "text": "it is the <b>disk</b>"})
    assert (await api.post(f"{path}/resolve"))["status"] == "resolved"
    timeline = await api.get(f"{path}/timeline")
    people = [(e["reason"], e["by"], e["text"]) for e in timeline["entries"] if e["kind"] == "person"]
    assert people == [
        ("acknowledged", "ada", "acknowledged by ada"),
        ("note_added", "ada", "note by ada: it is the <b>disk</b>"),
        ("resolved_by_person", "api", "resolved by api"),
    ]
    assert timeline["next"] is None
    assert [raw.source for raw in bot.taken] == ["alertmanager", "acknowledge", "note", "resolve"]


async def test_a_timeline_comes_in_parts(bot: ABot, api: Described) -> None:
    await report(bot, alert())
    path = f"/api/v1/incidents/{(await only(api))['id']}"
    for n in range(5):
        await api.post(f"{path}/notes", {"text": str(n)})
    whole = (await api.get(f"{path}/timeline"))["entries"]
    first = await api.get(f"{path}/timeline?limit=3")
    rest = await api.get(f"{path}/timeline?cursor={first['next']}")
    assert first["entries"] + rest["entries"] == whole


BAD_BODIES = [
    ("acknowledge", b"{", ""),
    ("acknowledge", b"[]", ""),
    ("acknowledge", b'{"by": 5}', "by"),
    ("acknowledge", b'{"by": ""}', "by"),
    # A misspelt key that is passed over would act under a wrong name.
    ("acknowledge", b'{"user": "ada"}', "user"),
    ("notes", b"{}", "text"),
    ("notes", b'{"text": ""}', "text"),
    ("notes", b'{"text": "\\ud800"}', ""),
]


@pytest.mark.parametrize(("act", "body", "where"), BAD_BODIES)
async def test_a_body_that_makes_no_sense_changes_nothing(
    bot: ABot, api: Described, act: str, body: bytes, where: str
) -> None:
    await report(bot, alert())
    path = f"/api/v1/incidents/{(await only(api))['id']}/{act}"
    status, said = await api.send("POST", path, data=body, headers={"Content-Type": "application/json"})
    assert (status, said["where"]) == (400, where)
    assert len(bot.taken) == 1


NOT_THERE = [
    ("GET", "/api/v1/incidents/nope"),
    ("GET", "/api/v1/incidents/nope/timeline"),
    ("POST", "/api/v1/incidents/nope/acknowledge"),
    ("POST", "/api/v1/incidents/nope/resolve"),
    ("GET", "/api/v1/parked/nope"),
    ("POST", "/api/v1/parked/nope/retry"),
    ("DELETE", "/api/v1/parked/nope"),
    ("POST", "/api/v1/receivers/nope/test"),
    ("GET", "/incidents/nope"),
    ("GET", "/windows/nope"),
]


@pytest.mark.parametrize(("method", "path"), NOT_THERE)
async def test_what_is_not_there_is_a_404(bot: ABot, api: Described, method: str, path: str) -> None:
    status, said = await api.send(method, path, **({"json": {}} if method == "POST" else {}))
    assert (status, said["where"]) == (404, "name" if "receivers" in path else "id")
    assert bot.taken == []


async def test_why_is_answered_for_the_alerts_with_these_labels(bot: ABot, api: Described) -> None:
    await report(bot, alert("A"), alert("B"))
    said = await api.get("/api/v1/explain?label=alertname=A&label=service=api")
    (found,) = said["alerts"]
    assert found["alert"]["labels"]["alertname"] == "A"
    assert found["incident"] is not None
    assert "new_episode" in [e["reason"] for e in found["entries"]]
    assert (await api.get("/api/v1/explain?label=alertname=None"))["alerts"] == []


# What is parked.


async def test_an_alert_that_was_set_aside_can_be_seen_mended_and_retried(bot: ABot, api: Described) -> None:
    await report(bot, alert("A"), {**alert("B"), "labels": {"alertname": "B", "n": 5}}, externalURL="http://am")
    (item,) = (await api.get("/api/v1/parked"))["parked"]
    assert (item["kind"], item["where"]) == ("alert", "alerts[1].labels.n")
    path = f"/api/v1/parked/{item['id']}"
    raw = json.loads((await api.get(path))["raw"])
    assert raw["labels"] == {"alertname": "B", "n": 5}

    assert (await api.post(f"{path}/retry", status=422))["where"] == "alert"
    assert len((await api.get("/api/v1/parked"))["parked"]) == 1

    raw["labels"]["n"] = "5"
    assert await api.post(f"{path}/retry", {"alert": raw}) == {"done": True}
    assert (await api.get("/api/v1/parked"))["parked"] == []
    names = {i["labels"]["alertname"] for i in (await api.get("/api/v1/incidents"))["incidents"]}
    assert names == {"A", "B"}
    assert json.loads(bot.taken[-1].body)["externalURL"] == "http://am"


async def test_a_parked_delivery_is_due_again(bot: ABot, api: Described) -> None:
    await report(bot, alert())
    (delivery,) = await bot.store.claim("slack:ops", START, "l", timedelta(minutes=1), 10)
    parked = Parked("d1", START, "delivery", delivery.id, "slack #ops", "channel_not_found")
    outcome = Outcome(
        delivery.id, "l", START, DeliveryStatus.PARKED, Level(), 1, None, False, {}, "", "channel_not_found",
        None, parked=[parked],
    )  # fmt: skip
    assert await bot.store.record(outcome)
    assert (await bot.store.lanes(START)).due == ["sms:1"]
    said = await api.post("/api/v1/parked/d1/retry", {"alert": {}}, status=400)
    assert said["where"] == "alert"
    await api.post("/api/v1/parked/d1/retry")
    assert set((await bot.store.lanes(START)).due) == {"sms:1", "slack:ops"}
    assert bot.woken == 1


async def test_what_is_parked_can_be_dropped(bot: ABot, api: Described) -> None:
    await bot.store.commit(Changes(parked=[Parked("p/1", START, "alert", "1", "alerts[0]", "no", b"\xff")]))
    assert (await api.get("/api/v1/parked/p%2F1"))["raw"] == "\ufffd"
    assert (await api.send("DELETE", "/api/v1/parked/p%2F1"))[0] == 200
    assert (await api.send("DELETE", "/api/v1/parked/p%2F1"))[0] == 404


async def test_a_receiver_is_tested_with_one_marked_incident(bot: ABot, api: Described) -> None:
    said = await api.post("/api/v1/receivers/ops/test", {"by": "ada"})
    assert said["receiver"] == "ops"
    assert said["incident"]["labels"]["receiver"] == "ops"
    again = await api.post("/api/v1/receivers/ops/test", {"by": "ada"})
    assert again["incident"]["id"] != said["incident"]["id"]


# Who may.

PROTECTED = [
    ("GET", "/api/v1/incidents"),
    ("GET", "/api/v1/incidents/x"),
    ("GET", "/api/v1/openapi.json"),
    ("GET", "/api/v1/explain"),
    ("GET", "/api/v1/parked"),
    ("POST", "/api/v1/incidents/x/acknowledge"),
    ("DELETE", "/api/v1/parked/x"),
    ("POST", "/api/v1/receivers/ops/test"),
    ("POST", "/-/reload"),
    ("GET", "/"),
    ("GET", "/incidents/x"),
]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_a_token_is_asked_for_where_one_is_configured(bot: ABot, api: Described, method: str, path: str) -> None:
    bot.configure(api_tokens=("t0ken",), webhook_tokens=("hook",))
    for given in (None, "Bearer wrong", "Bearer hook", "Basic Og=="):
        status, said = await api.send(method, path, headers={"Authorization": given} if given else {})
        assert (status, said["where"]) == (401, "Authorization")
    status, _ = await api.send(method, path, headers={"Authorization": "Bearer t0ken"})
    assert status != 401


async def test_a_browser_logs_in_to_the_pages_with_the_token_as_password(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    bot.configure(api_tokens=("t0ken",))
    answer = await client.get("/")
    assert answer.headers["WWW-Authenticate"].startswith("Basic")
    login = {"Authorization": "Basic OnQwa2Vu"}  # ":t0ken"
    assert (await client.get("/", headers=login)).status == 200
    # A login that the browser adds by itself does not act.
    refused = await client.post("/-/reload", headers=login)
    assert refused.status == 401
    assert refused.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("path", ["/metrics", "/-/healthy", "/-/ready"])
async def test_probes_and_scrapes_need_no_token(bot: ABot, api: Described, path: str) -> None:
    bot.configure(api_tokens=("t0ken",), webhook_tokens=("hook",))
    await api.get(path)


FOREIGN = [
    # A form of another site: what a browser sends without asking first.
    ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ({"Content-Type": "text/plain"}, 415),
    ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
    ({}, 415),
    ({"Content-Type": "application/json"}, 200),
    ({"Content-Type": "application/json; charset=utf-8"}, 200),
    ({"Content-Type": "application/json", "Origin": "https://evil.example"}, 403),
    ({"Content-Type": "application/json", "Origin": "null"}, 403),
    ({"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"}, 403),
    ({"Content-Type": "application/json", "Origin": "https://alertbot.example.org"}, 200),
    ({"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}, 200),
    # No browser adds a Bearer token by itself.
    ({"Content-Type": "text/plain", "Authorization": "Bearer x", "Origin": "https://evil.example"}, 200),
]


@pytest.mark.parametrize(("headers", "status"), FOREIGN)
async def test_a_page_of_another_site_cannot_act(
    bot: ABot, api: Described, headers: dict[str, str], status: int
) -> None:
    await report(bot, alert())
    path = f"/api/v1/incidents/{(await only(api))['id']}/acknowledge"
    got, _ = await api.send("POST", path, data=b"{}", headers=headers, skip_auto_headers=["Content-Type"])
    assert got == status
    assert len(bot.taken) == (2 if status == 200 else 1)


async def test_a_body_over_the_limit_of_the_api_is_a_413(bot: ABot, api: Described) -> None:
    await report(bot, alert())
    path = f"/api/v1/incidents/{(await only(api))['id']}/notes"
    body = io.BytesIO(b'{"text": "%s"}' % (b"x" * 2_000_000))
    status, _ = await api.send("POST", path, data=body, headers={"Content-Type": "application/json"})
    assert status == 413


async def test_the_door_answers_as_it_is_described(bot: ABot, api: Described) -> None:
    door = "/webhooks/alertmanager"
    assert (await api.send("POST", door, data=webhook(alert())))[0] == 200
    assert (await api.send("POST", door, data=b"junk"))[0] == 400
    bot.configure(max_body=5)
    assert (await api.send("POST", door, data=webhook(alert())))[0] == 413
    bot.configure(webhook_tokens=("hook",), max_body=1000)
    assert (await api.send("POST", door, data=webhook(alert())))[0] == 401
    bot.configure(webhook_tokens=())
    bot.store.away = True
    assert (await api.send("POST", door, data=webhook(alert())))[0] == 503
    bot.store.away, bot.breaks = False, True
    assert (await api.send("POST", door, data=webhook(alert())))[0] == 500


# Operating.


async def test_a_reload_is_taken_or_refused_whole(bot: ABot, api: Described) -> None:
    # As with Prometheus: no body, no content type.
    status, said = await api.send("POST", "/-/reload", skip_auto_headers=["Content-Type"])
    assert (status, said) == (200, {"warnings": ["alertbot.yml:3: a rule holds critical alerts"]})
    bot.problems.append("alertbot.yml:7: no such receiver: opps")
    status, said = await api.send("POST", "/-/reload")
    assert (status, said["problems"]) == (500, ["alertbot.yml:7: no such receiver: opps"])
    status, said = await api.send("POST", "/-/reload", headers={"Origin": "https://evil.example"})
    assert status == 403


async def test_health_and_readiness_are_two_things(bot: ABot, api: Described) -> None:
    bot.ready = (False, "the store is away")
    assert await api.get("/-/healthy") == "alertbot is healthy.\n"
    assert await api.send("GET", "/-/ready") == (503, {"error": "the store is away", "where": ""})
    bot.ready = (True, "")
    assert await api.get("/-/ready") == "alertbot is ready.\n"


async def test_a_head_answers_as_a_get_without_its_body(client: TestClient[Any, Any]) -> None:
    for path in ("/", "/-/healthy", "/api/v1/incidents"):
        answer = await client.head(path)
        assert (answer.status, await answer.read()) == (200, b"")


async def test_the_metrics_tell_the_sizes_of_what_is_stored(bot: ABot, api: Described) -> None:
    await report(bot, alert("A"), {"labels": {"a": 1}})
    text = await api.get("/metrics")
    for line in (
        "alertbot_open_incidents 1.0",
        "alertbot_parked 1.0",
        "alertbot_outbox_due 2.0",
        "alertbot_events_undecided 0.0",
        "alertbot_store_up 1.0",
        'alertbot_build_info{version="0.0.0"} 1.0',
        'alertbot_events_received_total{source="alertmanager"} 1.0',
        'alertbot_decisions_total{reason="new_episode"} 1.0',
    ):
        assert line in text.splitlines()
    assert "_created" not in text


async def test_the_metrics_are_served_while_the_store_is_away(bot: ABot, api: Described) -> None:
    bot.store.away = True
    assert "alertbot_store_up 0.0" in await api.get("/metrics")


async def test_the_store_away_is_a_503_everywhere(bot: ABot, api: Described) -> None:
    bot.store.away = True
    for method, path in PROTECTED:
        if path in ("/api/v1/openapi.json", "/api/v1/explain", "/-/reload"):
            continue
        status, said = await api.send(method, path, **({"json": {}} if method == "POST" else {}))
        assert status == 503
        assert "hunter2" not in str(said)
