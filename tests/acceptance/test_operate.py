"""What the operator relies on: secrets stay secret, reloads, a store that goes away, what is set aside, the API."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from alertbot.app import App
from alertbot.store.base import StoreUnusable
from tests.acceptance.bot import ENVIRON, EXAMPLE, SECRETS, Bot
from tests.acceptance.timing import PATIENCE

README = Path(__file__).resolve().parents[2] / "README.md"

# Secrets.


async def test_no_secret_stands_in_any_log_line_page_metric_error_or_in_what_another_provider_gets(
    tmp_path: Path,
) -> None:
    """Every provider fails in every way first, and repeats what it was given, for errors are where secrets leak."""
    config = EXAMPLE.replace(
        "  - name: dev\n    slack_configs: [{channel: '#dev-alerts'}]",
        "  - name: dev\n    fallback: ops-mail\n"
        "    webhook_configs: [{url: '{hook}/in', bearer_token: '${HOOK_TOKEN}'}]",
    )
    async with Bot(tmp_path, config) as bot:
        for standin, own in (
            (bot.slack, "SLACK_BOT_TOKEN"),
            (bot.pagerduty, "PAGERDUTY_KEY"),
            (bot.twilio, "TWILIO_AUTH_TOKEN"),
            (bot.hook, "HOOK_TOKEN"),
        ):
            secret = ENVIRON[own]
            echo = {"ok": False, "error": f"bad {secret}", "message": secret, "errors": [secret]}
            for status in (500, 404, 200):
                standin.faults.add("answer", "*", status=status, body=echo)
            standin.faults.add("close", "*")
        bot.smtp.faults.add("answer", "MAIL", status=451, body=ENVIRON["SMTP_PASSWORD"])
        first, second = bot.alert("Down"), bot.alert("Slow", "warning")
        await bot.post(first, second, {"status": "firing", "labels": {"a": 1}})
        await bot.advance("20m")
        for name in ("Down", "Slow"):
            incident = await bot.incident(name)
            await bot.get(f"/api/v1/incidents/{incident['id']}/timeline")
            await bot.ask("GET", f"/incidents/{incident['id']}")
        await bot.end(first, second)
        await bot.advance("20m")
        bot.write_config(config.replace("receiver: dev", "receiver: nobody"))
        await bot.ask("POST", "/-/reload")
        await bot.ask("GET", "/api/v1/incidents", token=None)
        await bot.ask("GET", "/api/v1/incidents", token="PAGERDUTY_KEY")
        await bot.post("not an alert")
        await bot.ask("POST", "/webhooks/alertmanager", list(SECRETS))
        parked = (await bot.get("/api/v1/parked"))["parked"]
        assert parked
        for item in parked:
            await bot.get(f"/api/v1/parked/{quote(item['id'], safe='')}")
        for path in ("/", "/metrics", "/api/v1/openapi.json", "/-/ready"):
            await bot.ask("GET", path)
        for line in bot.app.banner():
            bot.seen.append(line)

        seen = "\n".join(bot.seen)
        assert [s for s in SECRETS if s in seen] == []
        bot.check_log()
        for standin, own in (
            (bot.slack, "SLACK_BOT_TOKEN"),
            (bot.pagerduty, "PAGERDUTY_KEY"),
            (bot.twilio, "TWILIO_AUTH_TOKEN"),
            (bot.hook, "HOOK_TOKEN"),
        ):
            got = str([(call.params, call.headers) for call in standin.requests])
            assert [s for s in SECRETS if s in got and s != ENVIRON[own]] == [], standin.name
        mails = "".join(m.raw for m in bot.smtp.mails)
        assert mails
        assert [s for s in SECRETS if s in mails] == []
        with closing(sqlite3.connect(bot.store_file)) as store:
            kept = "\n".join(store.iterdump())
        assert [s for s in SECRETS if s in kept] == []


# Reloading.

ONE_RECEIVER = """
route: {receiver: %s, group_by: [alertname], group_wait: 0s, group_interval: 10s}
receivers:
  - {name: dev, slack_configs: [{channel: '#dev-alerts'}]}
  - {name: ops, slack_configs: [{channel: '#ops-alerts'}]}
"""
HOLDING = (
    ONE_RECEIVER % "dev"
    + """
inhibit_rules:
  - {name: freeze, source_matchers: [alertname="Freeze"], target_matchers: [alertname="Slow"]}
"""
)


async def test_a_good_config_is_taken_new_incidents_go_by_it_and_open_ones_stay_where_they_are(
    tmp_path: Path, new_store: Callable[[], str]
) -> None:
    async with Bot(tmp_path, ONE_RECEIVER % "dev", store_url=new_store()) as bot:
        old = bot.alert("Old")
        await bot.fire(old)
        bot.write_config(ONE_RECEIVER % "ops")
        answer = await bot.ask("POST", "/-/reload")
        assert answer.status == 200
        await bot.fire(bot.alert("New"))
        await bot.advance("20s")
        await bot.end(old)
        assert await bot.heard() == [
            "slack #dev-alerts card Old",
            "slack #ops-alerts card New",
            "slack #dev-alerts edit Old",
            "slack #dev-alerts news Old",
        ]
        assert await bot.metric("alertbot_config_last_reload_successful") == 1


async def test_a_hold_of_a_rule_that_is_gone_ends_with_the_reload(tmp_path: Path, new_store: Callable[[], str]) -> None:
    async with Bot(tmp_path, HOLDING, store_url=new_store()) as bot:
        await bot.fire(bot.alert("Freeze", "info"))
        await bot.fire(bot.alert("Slow"))
        await bot.advance("1m")
        assert await bot.heard() == ["slack #dev-alerts card Freeze"]
        assert (await bot.incident("Slow"))["status"] == "held"
        bot.write_config(ONE_RECEIVER % "dev")
        assert (await bot.ask("POST", "/-/reload")).status == 200
        await bot.advance("1m")
        assert await bot.heard() == ["slack #dev-alerts card Slow"]
        assert "policy_changed" in await bot.reasons("Slow")


async def test_a_hold_of_a_rule_that_is_gone_ends_with_a_restart_too(
    tmp_path: Path, new_store: Callable[[], str]
) -> None:
    async with Bot(tmp_path, HOLDING, store_url=new_store()) as bot:
        await bot.fire(bot.alert("Freeze", "info"), bot.alert("Slow"))
        await bot.stop()
        bot.write_config(ONE_RECEIVER % "dev")
        await bot.start()
        await bot.advance("1m")
        assert sorted(await bot.heard()) == ["slack #dev-alerts card Freeze", "slack #dev-alerts card Slow"]


async def test_a_bad_config_is_refused_whole_with_file_and_line_and_the_old_one_goes_on(bot: Bot) -> None:
    good = bot.config_file.read_text()
    bad = good.replace("receiver: critical, group_wait: 0s", "receiver: criticl, group_wait: 0s")
    line = next(n for n, text in enumerate(bad.splitlines(), 1) if "criticl" in text)
    bot.config_file.write_text(bad.replace("channel: '#ops-alerts'", "channel: '#somewhere-else'"))
    answer = await bot.ask("POST", "/-/reload")
    assert answer.status == 500
    (problem,) = answer.body["problems"]
    assert problem.startswith(f"{bot.config_file}:{line}: ")
    assert "criticl" in problem
    assert await bot.metric("alertbot_config_last_reload_successful") == 0
    await bot.fire(bot.alert("Down"), bot.alert("Queue", "error"))
    await bot.advance("5s")
    assert {line.rpartition(" ")[0] for line in await bot.heard() if "slack" in line} == {
        "slack #critical-alerts card",
        "slack #ops-alerts card",
    }
    bot.config_file.write_text(good)
    assert (await bot.ask("POST", "/-/reload")).status == 200
    assert await bot.metric("alertbot_config_last_reload_successful") == 1


async def test_sighup_reloads_too_and_refuses_a_bad_config_whole(tmp_path: Path) -> None:
    async def hang_up(bot: Bot) -> Any:
        """What the log says of the reload."""
        done = len(bot.log_lines())
        os.kill(os.getpid(), signal.SIGHUP)
        async with asyncio.timeout(PATIENCE):
            while not (said := [x for x in bot.log_lines()[done:] if "config" in x["msg"]]):  # noqa: ASYNC110
                await asyncio.sleep(0.001)
        return said[0]

    async with Bot(tmp_path, ONE_RECEIVER % "dev") as bot:
        serving = asyncio.create_task(bot.app.serve_until_stopped())
        await asyncio.sleep(0)
        try:
            bot.write_config(ONE_RECEIVER % "nobody")
            said = await hang_up(bot)
            assert (said["level"], "nobody" in str(said)) == ("error", True)
            assert await bot.metric("alertbot_config_last_reload_successful") == 0
            await bot.fire(bot.alert("Down"))
            bot.write_config(ONE_RECEIVER % "ops")
            assert (await hang_up(bot))["level"] == "info"
            assert await bot.metric("alertbot_config_last_reload_successful") == 1
            await bot.fire(bot.alert("Slow"))
            await bot.advance("1s")
            assert await bot.heard() == ["slack #dev-alerts card Down", "slack #ops-alerts card Slow"]
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.wait_for(serving, PATIENCE)
        finally:
            serving.cancel()
            for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
                asyncio.get_running_loop().remove_signal_handler(number)


async def test_a_reload_asks_for_the_api_token(bot: Bot) -> None:
    assert (await bot.ask("POST", "/-/reload", token=None)).status == 401
    assert (await bot.ask("POST", "/-/reload", token="ALERTBOT_WEBHOOK_TOKEN")).status == 401


async def test_a_secret_that_changed_at_a_reload_is_used_and_kept_out_of_the_log(bot: Bot) -> None:
    bot.slack.token = "xoxb-the-next-one"
    bot.environ["SLACK_BOT_TOKEN"] = "xoxb-the-next-one"
    assert (await bot.ask("POST", "/-/reload")).status == 200
    bot.slack.faults.add("answer", "chat.postMessage", body={"ok": False, "error": "xoxb-the-next-one"})
    await bot.fire(bot.alert("Down"))
    await bot.advance("1m")
    assert len(bot.cards("#critical-alerts")) == 1
    assert "xoxb-the-next-one" not in bot.log.getvalue()


# The store.


@asynccontextmanager
async def locked(file: Path) -> AsyncIterator[None]:
    """Another program writes to the store's file and does not end."""
    with closing(sqlite3.connect(file, isolation_level=None)) as intruder:
        intruder.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            intruder.execute("ROLLBACK")


async def test_a_store_that_is_away_is_a_503_and_not_ready_and_both_end_by_themselves(sqlite_bot: Bot) -> None:
    bot = sqlite_bot
    await bot.fire(bot.alert("Before"))
    await bot.heard()
    down = bot.alert("Down")
    async with locked(bot.store_file):
        answer = await bot.post(down)
        assert answer.status == 503
        assert answer.body["error"]
        assert (await bot.ask("GET", "/-/ready", token=None)).status == 503
        assert (await bot.ask("GET", "/-/healthy", token=None)).status == 200
    assert (await bot.post(down)).status == 200
    assert (await bot.ask("GET", "/-/ready", token=None)).status == 200
    await bot.advance("1s")
    assert sorted(await bot.heard()) == [
        "pagerduty trigger Down",
        "slack #critical-alerts card Down",
        "sms +15550100 CRITICAL: Down (prod) (1 firing)",
    ]


async def test_two_bots_on_one_file_are_one_bot_and_a_clear_error(sqlite_bot: Bot) -> None:
    bot = sqlite_bot
    with pytest.raises(StoreUnusable, match=r"alertbot\.db.*another alertbot"):
        await App(bot.config_file, bot.environ, clock=bot.clock).start()
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alertbot", "serve", "--config", bot.config_file,
        env={**os.environ, **bot.environ}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(60):
        _, said = await second.communicate()
    assert second.returncode == 2
    assert "another alertbot" in said.decode()
    await bot.fire(bot.alert("Down"))
    assert len(await bot.heard()) == 3


# What is set aside.


async def test_one_bad_alert_is_parked_and_the_others_go_on_and_a_mended_one_is_delivered(bot: Bot) -> None:
    good, bad = bot.alert("Good"), bot.alert("Bad")
    bad["labels"] = {"alertname": "Bad", "severity": ["critical"]}
    answer = await bot.post(good, bad, bot.alert("Better"))
    assert (answer.status, answer.body) == (200, {"accepted": 2, "set_aside": 1})
    await bot.settle()
    assert {line.split()[-1] for line in await bot.heard() if "pagerduty" in line} == {"Good", "Better"}
    (parked,) = (await bot.get("/api/v1/parked"))["parked"]
    assert (parked["kind"], parked["where"]) == ("alert", "alerts[1].labels.severity")
    assert await bot.metric("alertbot_parked") == 1
    assert await bot.metric("alertbot_alerts_set_aside_total", source="alertmanager") == 1
    assert '["critical"]' in (await bot.get(f"/api/v1/parked/{parked['id']}"))["raw"]

    again = await bot.ask("POST", f"/api/v1/parked/{parked['id']}/retry", {})
    assert again.status == 422
    await bot.act(f"/api/v1/parked/{parked['id']}/retry", alert=bot.alert("Bad"))
    assert "pagerduty trigger Bad" in await bot.heard()
    assert (await bot.get("/api/v1/parked"))["parked"] == []


@pytest.mark.parametrize(
    ("sent", "where"),
    [
        ({"version": "4", "alerts": "none"}, "alerts"),
        ([1, 2], ""),
        ({"version": "4"}, "alerts"),
    ],
    ids=["alerts that are no list", "a list", "no alerts"],
)
async def test_a_body_that_cannot_be_read_is_a_400_that_says_where(bot: Bot, sent: Any, where: str) -> None:
    answer = await bot.ask("POST", "/webhooks/alertmanager", sent, token="ALERTBOT_WEBHOOK_TOKEN")
    assert answer.status == 400
    assert answer.body["error"]
    assert answer.body["where"] == where
    assert await bot.incidents() == []


# The API's shapes, as the contract has them.

INCIDENT = {
    "id", "status", "severity", "receivers", "labels", "title", "url", "opened_at", "acknowledged_at",
    "acknowledged_by", "resolved_at", "flapping", "alerts", "deliveries", "runbook", "deploys", "suspect",
}  # fmt: skip
ALERT = {
    "fingerprint", "status", "labels", "annotations", "starts_at", "ends_at", "held_by", "held_until",
}  # fmt: skip
DELIVERY = {
    "receiver", "integration", "to", "status", "attempts", "last_error", "remote_id", "sent_at",
}  # fmt: skip


async def test_an_incident_has_the_contracts_shape(bot: Bot) -> None:
    await bot.fire(bot.alert("Down", service="api"))
    listed = await bot.get("/api/v1/incidents?status=open&severity=page&since=1h")
    assert listed.keys() == {"incidents", "next"}
    (incident,) = listed["incidents"]
    assert incident.keys() >= INCIDENT
    assert incident == await bot.get(f"/api/v1/incidents/{incident['id']}")
    assert incident["labels"] == {"alertname": "Down", "environment": "prod"}
    assert incident["runbook"] == "https://runbooks.example.org/Down"
    assert incident["opened_at"] == "2026-01-05T10:00:00Z"
    assert incident["url"] == f"https://alertbot.example.org/incidents/{incident['id']}"
    (alert,) = incident["alerts"]
    assert alert.keys() >= ALERT
    assert (alert["status"], alert["starts_at"], alert["ends_at"]) == ("firing", "2026-01-05T10:00:00Z", None)
    assert alert["labels"]["alertbot_severity"] == "critical"
    assert [(d["integration"], d["to"], d["status"]) for d in incident["deliveries"]] == [
        ("pagerduty", "pagerduty", "sent"),
        ("slack", "#critical-alerts", "sent"),
        ("sms", "+15550100", "sent"),
    ]
    assert all(d.keys() >= DELIVERY for d in incident["deliveries"])


async def test_a_timeline_tells_every_decision_with_its_reason_in_order(bot: Bot) -> None:
    down = bot.alert("Down", "error")
    await bot.fire(down)
    await bot.advance("1m")
    incident = await bot.incident("Down")
    await bot.act(f"/api/v1/incidents/{incident['id']}/acknowledge", by="alice")
    await bot.act(f"/api/v1/incidents/{incident['id']}/notes", by="alice", text="disk is full")
    await bot.end(down)
    timeline = await bot.get(f"/api/v1/incidents/{incident['id']}/timeline")
    assert timeline.keys() == {"entries", "next"}
    entries = timeline["entries"]
    assert all(e.keys() == {"at", "kind", "reason", "text", "by", "details"} for e in entries)
    assert [e["at"] for e in entries] == sorted(e["at"] for e in entries)
    assert all(e["text"] for e in entries)
    told = [e["reason"] for e in entries if e["kind"] != "delivery"]
    assert told == [
        "new_episode",
        "first_notification",
        "acknowledged",
        "note_added",
        "alert_resolved",
        "all_resolved",
    ]
    assert [e["by"] for e in entries if e["reason"] == "acknowledged"] == ["alice"]
    pages = [await bot.get(f"/api/v1/incidents/{incident['id']}/timeline?limit=3")]
    while pages[-1]["next"]:
        cursor = pages[-1]["next"]
        pages.append(await bot.get(f"/api/v1/incidents/{incident['id']}/timeline?limit=3&cursor={cursor}"))
    assert [e for page in pages for e in page["entries"]] == entries


async def test_the_metrics_count(bot: Bot) -> None:
    bot.slack.faults.add("answer", "chat.postMessage", status=503)
    down = bot.alert("Down")
    await bot.fire(down)
    await bot.fire(down)
    await bot.advance("30s")
    await bot.end(down)
    assert (await bot.post("no alert")).body == {"accepted": 0, "set_aside": 1}
    counted = {
        "events received": await bot.metric("alertbot_events_received_total", source="alertmanager"),
        "firing": await bot.metric("alertbot_alerts_received_total", source="alertmanager", status="firing"),
        "resolved": await bot.metric("alertbot_alerts_received_total", source="alertmanager", status="resolved"),
        "duplicates": await bot.metric("alertbot_decisions_total", reason="duplicate"),
        "openings": await bot.metric("alertbot_decisions_total", reason="first_notification"),
        "pages": await bot.metric("alertbot_deliveries_total", integration="pagerduty", outcome="sent"),
        "failures of Slack": await bot.metric("alertbot_deliveries_total", integration="slack", outcome="retried"),
        "latencies": await bot.metric("alertbot_delivery_latency_seconds_count", integration="slack"),
        "store": await bot.metric("alertbot_store_up"),
        "open": await bot.metric("alertbot_open_incidents"),
        "due": await bot.metric("alertbot_outbox_due"),
    }
    assert counted == {
        "events received": 4, "firing": 2, "resolved": 1, "duplicates": 1, "openings": 1, "pages": 2,
        "failures of Slack": 1, "latencies": 2, "store": 1, "open": 0, "due": 0,
    }  # fmt: skip


async def test_every_metric_that_the_readme_tells_to_watch_is_there(bot: Bot) -> None:
    (watch,) = re.findall(r"^- \*\*Watch\*\* .*$", README.read_text(), re.MULTILINE)
    told = set(re.findall(r"`(alertbot_\w+)`", watch))
    assert told
    text = (await bot.ask("GET", "/metrics", token=None)).text
    assert told - set(re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)) == set()
