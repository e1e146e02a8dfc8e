"""The pages: what a person sees, and what nobody can put there."""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any

from aiohttp.test_utils import TestClient

from alertbot.domain.intervals import TimeInterval
from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.windows import Recurring
from alertbot.store.base import Changes
from alertbot.web.pages import INCIDENTS
from tests.web.abot import START, ABot, alert
from tests.web.described import Described
from tests.web.test_api import report
from tests.web.test_deploys import RULES

EVIL = """<script>alert(1)</script>"'><img src=x onerror=alert(2)>{{ 7*7 }}</style>"""


class Elements(HTMLParser):
    """Every element of a page with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


async def page(client: TestClient[Any, Any], path: str = "/", status: int = 200) -> str:
    answer = await client.get(path)
    assert (answer.status, answer.content_type) == (status, "text/html")
    return await answer.text()


async def story(bot: ABot, client: TestClient[Any, Any]) -> str:
    (incident,) = (await bot.store.incidents()).incidents
    return await page(client, f"/incidents/{incident.id}")


async def test_an_open_incident_is_on_the_page_with_a_link_to_its_story(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    await report(bot, alert("HighLatency"))
    text = await page(client)
    (incident,) = (await bot.store.incidents()).incidents
    assert f'href="/incidents/{incident.id}"' in text
    assert "HighLatency" in text
    assert "1 firing" in text
    assert "<title>(1) alertbot</title>" in text


async def test_nothing_open_says_so(client: TestClient[Any, Any]) -> None:
    assert "Nothing is open" in await page(client)


async def test_the_most_urgent_comes_first(bot: ABot, client: TestClient[Any, Any]) -> None:
    for name, severity in (("Low", "info"), ("Worst", "page"), ("Middle", "warning"), ("High", "error")):
        await report(bot, alert(name, severity))
        bot.moved.advance(timedelta(minutes=1))
    text = await page(client)
    places = [text.index(f">{name}") for name in ("Worst", "High", "Middle", "Low")]
    assert places == sorted(places)


async def test_in_a_storm_an_old_urgent_incident_is_not_pushed_off_the_page(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    await report(bot, alert("TheWorst", "page"))
    (worst,) = (await bot.store.incidents()).incidents
    idle = [
        replace(
            worst,
            id=f"i{n}",
            key=f"k{n}",
            title=f"idle {n}",
            severity="low",
            created_at=START + timedelta(seconds=n),
        )
        for n in range(1, INCIDENTS + 50)
    ]
    await bot.store.commit(Changes(incidents=idle))
    text = await page(client)
    assert "TheWorst" in text
    assert text.count('<li class="card') == INCIDENTS
    assert "There are more" in text


async def test_what_nobody_acknowledged_in_time_says_so(bot: ABot, client: TestClient[Any, Any]) -> None:
    await report(bot, alert("HighLatency", "page"))
    assert "Nobody acknowledged" not in await page(client)
    bot.moved.advance(timedelta(minutes=6))
    assert "Nobody acknowledged it within 5 min" in await page(client)


async def test_a_dry_destination_is_named_with_what_it_lacks(bot: ABot, client: TestClient[Any, Any]) -> None:
    text = await page(client)
    assert "1 destination runs dry" in text
    assert "ops → slack #ops: slack_bot_token is not set" in text
    bot.configure(dry=())
    assert "never sent" not in await page(client)


async def test_what_is_parked_is_on_the_page(bot: ABot, client: TestClient[Any, Any]) -> None:
    await report(bot, {"labels": {"a": 1}})
    assert "1 parked" in await page(client)


async def test_a_story_has_the_alerts_the_deliveries_and_every_decision(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    await report(bot, alert("HighLatency", annotations={"summary": "slow", "runbook_url": "https://r.example/x"}))
    text = await story(bot, client)
    assert "slow" in text
    assert 'href="https://r.example/x"' in text
    assert "#ops" in text
    assert "the alert fires" in text
    assert "service=api" in text


async def test_nothing_that_comes_from_outside_is_markup(bot: ABot, client: TestClient[Any, Any]) -> None:
    await report(
        bot,
        {
            "status": "firing",
            "labels": {"alertname": EVIL, "severity": EVIL, EVIL: EVIL},
            "annotations": {
                "summary": EVIL,
                "description": EVIL,
                EVIL: EVIL,
                "runbook_url": "javascript:alert(3)",
            },
            "generatorURL": "javascript:alert(4)",
        },
    )
    (incident,) = (await bot.store.incidents()).incidents
    body = b'{"by": "%s", "text": "%s"}' % ((EVIL.replace('"', "'").encode(),) * 2)
    noted = await client.post(
        f"/api/v1/incidents/{incident.id}/notes", data=body, headers={"Content-Type": "application/json"}
    )
    assert noted.status == 200
    bot.configure(dry=(replace(bot.view.dry[0], to=EVIL),))
    for text in (await page(client), await story(bot, client)):
        elements = Elements(text).found
        assert {tag for tag, _ in elements}.isdisjoint({"script", "img", "iframe", "object", "form"})
        assert sum(tag == "style" for tag, _ in elements) == 1
        for tag, attributes in elements:
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            assert not (attributes.get("href") or "").startswith("javascript:")
        assert "&lt;script&gt;" in text
        assert "49" not in re.findall(r"<h1>(.*?)</h1>", text)[0]


async def test_the_page_takes_nothing_from_elsewhere_and_says_so_to_the_browser(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    await report(bot, alert("HighLatency"))
    answer = await client.get("/")
    text = await answer.text()
    for tag, attributes in Elements(text).found:
        assert "src" not in attributes
        if tag == "link":
            assert attributes["href"] == "data:,"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    (style,) = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert "style=" not in text
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_page_keeps_trying_while_the_store_is_away(bot: ABot, client: TestClient[Any, Any]) -> None:
    bot.store.away = True
    text = await page(client, status=503)
    assert "The store is away" in text
    assert 'http-equiv="refresh"' in text
    assert "hunter2" not in text


async def test_a_long_story_shows_its_latest_part(bot: ABot, client: TestClient[Any, Any]) -> None:
    await report(bot, alert("HighLatency"))
    (incident,) = (await bot.store.incidents()).incidents
    for n in range(210):
        await client.post(f"/api/v1/incidents/{incident.id}/notes", json={"text": f"note number {n}."})
    text = await story(bot, client)
    assert "note number 209." in text
    assert "note number 3." not in text
    assert "latest 200 entries" in text


async def test_every_status_has_a_place(bot: ABot, client: TestClient[Any, Any]) -> None:
    for status in IncidentStatus:
        name = f"title of {status}"
        made = Incident(f"i-{status}", status, "{}", "ops", {}, name, "high", status, START, firing=1)
        await bot.store.commit(Changes(incidents=[made]))
    text = await page(client)
    for status in IncidentStatus:
        assert f"title of {status}" in text


# Deploys and maintenance.


async def test_what_holds_is_on_the_page_with_what_it_holds_and_until_when(
    bot: ABot, client: TestClient[Any, Any], api: Described
) -> None:
    bot.policy = bot.engine.policy = replace(bot.policy, inhibit_rules=RULES)
    deploy = await api.post(
        "/api/v1/deploys",
        {"service": "api", "environment": "prod", "version": EVIL, "author": "ana", "status": "started",
         "url": "https://ci.example.org/1", "diff_url": "javascript:alert(1)"},
    )  # fmt: skip
    await report(bot, alert("HighLatency", "high", startsAt="2026-01-05T10:00:00Z"))
    overview, incident = await page(client), await story(bot, client)
    assert "holds 1" in overview
    for text in (overview, incident):
        assert f'href="/windows/{deploy["id"]}"' in text
        assert "2026-01-05 10:30 UTC" in text
    window = await page(client, f"/windows/{deploy['id']}")
    assert "What it holds" in window
    assert "HighLatency of api" in window
    assert "the API says: a deploy of api" in window, "its record"
    for text in (overview, incident, window):
        assert "script" not in {tag for tag, _ in Elements(text).found}
        assert "javascript:" not in text


async def test_what_is_open_comes_before_what_holds_and_that_before_what_it_holds(
    bot: ABot, client: TestClient[Any, Any], api: Described
) -> None:
    bot.policy = bot.engine.policy = replace(bot.policy, inhibit_rules=RULES)
    await api.post("/api/v1/deploys", {"service": "api", "version": "a1b2c3", "status": "started"})
    await report(bot, alert("HighLatency", "high", startsAt="2026-01-05T10:00:00Z"), alert("Down", "critical"))
    text = await page(client)
    places = [
        text.index(said) for said in (">Down", "Deploys and maintenance", "a1b2c3", "Held and waiting", ">HighLat")
    ]
    assert places == sorted(places)


async def test_a_window_that_is_over_shows_its_verdict(bot: ABot, client: TestClient[Any, Any], api: Described) -> None:
    bot.policy = bot.engine.policy = replace(bot.policy, inhibit_rules=RULES)
    about = {"service": "api", "version": "a1b2c3", "author": "ana", "rollback": "make rollback"}
    deploy = await api.post("/api/v1/deploys", {**about, "status": "started"})
    await report(bot, alert("HighLatency", "high", startsAt="2026-01-05T10:00:00Z"))
    await api.post("/api/v1/deploys", {"id": deploy["id"], "status": "failed"})
    await bot.engine.turn()
    text = await page(client, f"/windows/{deploy['id']}")
    for said in ("1 still firing", "The deploy failed.", "To roll back: make rollback", "What it held"):
        assert said in text
    assert "Deploys and maintenance" not in await page(client)


async def test_a_repeating_window_that_holds_nothing_yet_has_a_page_too(
    bot: ABot, client: TestClient[Any, Any]
) -> None:
    every_day = Recurring("disks", {"alertname": "Maintenance"}, (TimeInterval(times=((600, 660),)),), "new disks")
    bot.policy = replace(bot.policy, maintenance=(every_day,))
    assert 'href="/windows/disks-20260105T1000"' in await page(client)
    assert "new disks" in await page(client, "/windows/disks-20260105T1000")
