"""Verdicts and notices as each destination shows them: complete, within its rules, harmless whatever is in them."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from alertbot.domain.deploys import Deploy, DeployStatus
from alertbot.domain.model import Action, Delivery, IncidentStatus, Level, Want
from alertbot.domain.reasons import Reason
from alertbot.domain.windows import StillFiring, Verdict, Window, WindowKind
from alertbot.notifiers.base import Job, Links, Notifier, Sent, Told
from alertbot.notifiers.email import EmailNotifier
from alertbot.notifiers.log import LogNotifier
from alertbot.notifiers.slack import SlackNotifier
from alertbot.notifiers.slack_blocks import Renderer
from alertbot.notifiers.webhook import WebhookNotifier
from alertbot.render import told_lines
from alertbot.verdicts import incident_of, title
from tests.notifiers.jobs import NASTY, NOW
from tests.standins.blocks import objections
from tests.standins.mrkdwn import rendered_mentions, shown
from tests.standins.slack import SlackStandin
from tests.standins.smtp import SmtpStandin
from tests.standins.webhook import WebhookStandin

START = NOW - timedelta(minutes=10)
PAGE = "https://alertbot.example.org/windows/d1"
PINGS = "<!channel> <!here> <@U12345> <https://evil.example|click> *bold* `code` " + NASTY

DEPLOY = Deploy(
    id="d1",
    source="github",
    service="checkout",
    environment="prod",
    version="a1b2c3",
    status=DeployStatus.SUCCEEDED,
    started_at=START,
    first_started_at=START,
    heard_at=NOW,
    author="ana",
    commit="a1b2c3d4e5f6a7b8",
    title="New price rounding",
    url="https://ci.example.org/1",
    diff_url="https://git.example.org/compare/1...2",
    rollback="kubectl rollout undo deployment/checkout",
)
VERDICT = Verdict(
    at=NOW,
    cleared=14,
    firing=5,
    held=1,
    severity="high",
    windows=("d1",),
    first_after=timedelta(seconds=40),
    still=(
        StillFiring("i1", "HighErrorRate", "high", timedelta(minutes=1), 4),
        StillFiring("i2", "HighLatency", "medium", timedelta(0)),
    ),
    cleared_names=("HighLoad", "PodRestarting"),
)
WINDOW = Window(
    id="d1",
    kind=WindowKind.DEPLOY,
    labels={"alertname": "Deployment", "service": "checkout"},
    starts_at=START,
    ends_at=NOW,
    why=Reason.DEPLOY_SETTLED,
    deploy="d1",
    over_at=NOW,
    verdict=VERDICT,
)
WORKS = Window(
    id="m1",
    kind=WindowKind.MAINTENANCE,
    labels={"alertname": "DatabaseMaintenance", "db": "orders"},
    starts_at=START,
    ends_at=NOW + timedelta(minutes=10),
    by="ana",
    reason="new disks",
)


def job(window: Window = WINDOW, *deploys: Deploy, integration: str = "slack", **changes: Any) -> Job:
    """A verdict, or without one the notice that the window ends soon, as the outbox makes it."""
    told = Told(window, (window,), deploys or ((DEPLOY,) if window.kind is WindowKind.DEPLOY else ()))
    kind = "verdict" if window.verdict is not None else "notice"
    level = Level(IncidentStatus.OPEN, 1, 1, 1)
    want = Want(window.id, "ops", integration, "there", "lane", level, window.why, NOW, 1, kind)
    delivery = Delivery(want.id, want)
    made = Job(
        delivery=delivery,
        action=Action(kind),
        incident=incident_of(delivery, told),
        alerts=(),
        news=(),
        links=Links(incident=PAGE),
        severities=("critical", "high", "medium", "low"),
        now=NOW,
        told=told,
    )
    return replace(made, **changes)


def lines(window: Window = WINDOW, *deploys: Deploy) -> list[str]:
    told = job(window, *deploys).told
    assert told is not None
    return told_lines(told)


def test_a_verdict_says_what_cleared_what_fires_since_when_and_how_to_go_back() -> None:
    told = job().told
    assert told is not None
    assert title(told) == "checkout a1b2c3 to prod by ana"
    assert lines() == [
        "14 cleared, 5 still firing, 1 held on by something else; the first began 40 s after the start",
        "The deploy is done, and had its time to settle.",
        "🔥 HIGH HighErrorRate (4), 1 min after the start",
        "🔥 MEDIUM HighLatency, 0s after the start",
        "✔️ Cleared: HighLoad, PodRestarting",
        "Commit a1b2c3d4e5f6: New price rounding",
        "To roll back: kubectl rollout undo deployment/checkout",
    ]


@pytest.mark.parametrize(
    ("rule", "changes", "wanted"),
    [
        ("no commit", {"commit": ""}, "New price rounding"),
        ("no title", {"title": ""}, "Commit a1b2c3d4e5f6"),
        ("neither", {"title": "", "commit": ""}, None),
    ],
)
def test_what_is_not_known_of_a_deploy_leaves_no_gap(rule: str, changes: dict[str, Any], wanted: str | None) -> None:
    said = lines(WINDOW, replace(DEPLOY, **changes))
    assert [line for line in said if "Commit" in line or "price" in line] == ([wanted] if wanted else []), rule


def test_a_verdict_in_which_all_cleared_offers_no_way_back() -> None:
    clear = replace(WINDOW, verdict=replace(VERDICT, firing=0, held=0, still=()))
    assert not any("roll back" in line for line in lines(clear))


def test_every_reason_for_an_end_has_its_words() -> None:
    ends = [r for r in Reason if r.value.startswith("deploy_") or r.value.startswith("maintenance_")]
    said = {r: lines(replace(WINDOW, why=r))[1] for r in (*ends, Reason.TOO_MANY_HELD, Reason.HELD_ALERT_WORSENED)}
    ending = {
        Reason.DEPLOY_SETTLED, Reason.DEPLOY_FAILED, Reason.DEPLOY_END_MISSING, Reason.DEPLOY_TRIED_AGAIN,
        Reason.TOO_MANY_HELD, Reason.HELD_ALERT_WORSENED, Reason.MAINTENANCE_OVER, Reason.MAINTENANCE_ENDED,
    }  # fmt: skip
    assert {r for r, text in said.items() if not text.startswith("🔥")} == ending
    assert len({said[r] for r in ending}) == len(ending)


# Slack.


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandin]:
    async with SlackStandin(limited=False) as standin:
        standin.workspace.add_channel("#ops")
        yield standin


async def in_slack(slack: SlackStandin, *jobs: Job) -> list[dict[str, Any]]:
    async with aiohttp.ClientSession() as session:
        notifier = SlackNotifier("xoxb-stand-in", "#ops", session=session, base_url=slack.api_url)
        for one in jobs:
            assert isinstance(await notifier.deliver(one), Sent)
    return slack.messages("#ops")


@pytest.mark.parametrize(
    ("rule", "window", "header"),
    [
        ("something fires", WINDOW, "🚨 Still firing after: checkout a1b2c3 to prod by ana"),
        ("all cleared", replace(WINDOW, verdict=replace(VERDICT, firing=0, held=0, still=())), "✅ All clear after: "),
        ("held on", replace(WINDOW, verdict=replace(VERDICT, firing=0, still=())), "⏸️ Still held after: "),
        ("a notice", WORKS, "⏳ Ends soon: DatabaseMaintenance (db=orders), new disks"),
    ],
)
async def test_the_header_says_how_it_stands(slack: SlackStandin, rule: str, window: Window, header: str) -> None:
    (message,) = await in_slack(slack, job(window))
    assert message["blocks"][0]["text"]["text"].startswith(header), rule
    assert objections(message["blocks"]) == []


async def test_a_verdict_is_a_message_of_its_own_with_the_ways_to_the_deploy(slack: SlackStandin) -> None:
    (message,) = await in_slack(slack, job())
    assert "thread_ts" not in message
    last = message["blocks"][-1]["text"]["text"]
    assert last == (
        f"<https://ci.example.org/1|Deploy> · <https://git.example.org/compare/1...2|Diff> · <{PAGE}|Details>"
    )


async def test_a_verdict_that_may_have_arrived_is_looked_for_and_not_posted_again(slack: SlackStandin) -> None:
    """The process died between the post and its record."""
    first = job()
    again = replace(first, delivery=replace(first.delivery, uncertain=True))
    assert len(await in_slack(slack, first, again)) == 1


# Hostile text.

EVIL_DEPLOY = replace(
    DEPLOY, service=PINGS, version=PINGS, environment=PINGS, author=PINGS, title=PINGS, commit=PINGS, rollback=PINGS,
    url="javascript:alert(1)", diff_url="https://x.example/|<!channel>",
)  # fmt: skip
EVIL = replace(
    WINDOW,
    verdict=replace(
        VERDICT,
        still=tuple(StillFiring("i1", PINGS * 10, "high", timedelta(0)) for _ in range(20)),
        cleared_names=(PINGS,) * 20,
    ),
)
EVIL_WORKS = replace(WORKS, id=PINGS[:100], labels={"alertname": PINGS, PINGS: PINGS}, by=PINGS, reason=PINGS * 100)


@pytest.mark.parametrize("evil", [job(EVIL, EVIL_DEPLOY), job(EVIL_WORKS)], ids=["verdict", "notice"])
async def test_foreign_text_pings_nobody_and_breaks_no_rule_of_slack(slack: SlackStandin, evil: Job) -> None:
    (message,) = await in_slack(slack, evil)
    assert objections(message["blocks"]) == []
    assert {m.target for m in rendered_mentions(message)} <= {PAGE}, "only the way to our own page"
    assert "javascript:" not in json.dumps(message["blocks"][-1])
    assert "click" in shown(message), "it is shown as text"


@pytest.mark.parametrize("evil", [job(EVIL, EVIL_DEPLOY), job(EVIL_WORKS)], ids=["verdict", "notice"])
async def test_foreign_text_bends_no_mail(evil: Job) -> None:
    async with SmtpStandin() as smtp:
        mailer = EmailNotifier(
            host="127.0.0.1", port=smtp.port, sender="alertbot@example.org", addresses=["ops@example.org"],
            require_tls=False, id_host="alertbot.example.org", timeout=5,
        )  # fmt: skip
        assert isinstance(await mailer.deliver(evil), Sent)
        (mail,) = smtp.mails
    assert mail.recipients == ["ops@example.org"]
    assert mail.message["Bcc"] is None
    html = mail.message.get_body(("html",))
    assert html is not None
    assert "<script" not in html.get_content()


# The others.


async def test_a_mail_has_the_same_lines_in_text_and_html() -> None:
    async with SmtpStandin() as smtp:
        mailer = EmailNotifier(
            host="127.0.0.1", port=smtp.port, sender="alertbot@example.org", addresses=["ops@example.org"],
            require_tls=False, id_host="alertbot.example.org", timeout=5,
        )  # fmt: skip
        assert isinstance(await mailer.deliver(job()), Sent)
        (mail,) = smtp.mails
    assert mail.message["Subject"] == "[STILL FIRING] checkout a1b2c3 to prod by ana"
    html = mail.message.get_body(("html",))
    assert html is not None
    for text in (mail.text, html.get_content()):
        assert all(line in text for line in lines())
        assert "https://ci.example.org/1" in text


async def test_a_webhook_carries_the_lines_and_has_one_key_however_often_it_is_sent() -> None:
    async with WebhookStandin() as hook:
        notifier: Notifier = WebhookNotifier(f"{hook.url}/hook", timeout=5)
        for _ in range(2):
            assert isinstance(await notifier.deliver(job()), Sent)
        await notifier.close()
        bodies, keys = hook.bodies, [c.headers["Idempotency-Key"] for c in hook.requests]
    assert (bodies[0]["action"], bodies[0]["told"]) == ("verdict", lines())
    assert keys[0] == keys[1]


async def test_the_log_has_a_line_with_what_became_of_it(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "alertbot.notify"):
        assert isinstance(await LogNotifier().deliver(job()), Sent)
    (record,) = caplog.records
    assert record.getMessage().startswith("verdict [high] checkout a1b2c3 to prod by ana (14 cleared, 5 still firing")
    assert record.__dict__["told"] == lines()


def test_a_dry_slack_says_it_in_one_line() -> None:
    said = Renderer().summary(job())
    assert said.startswith("🚨 Still firing after: checkout a1b2c3 to prod by ana: 14 cleared")
    assert "\n" not in said
