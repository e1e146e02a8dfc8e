"""A webhook carries the incident's shape, is never redirected, and can be recognised when it is repeated."""

import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from alertbot.domain.model import Action, AlertStatus, Level
from alertbot.notifiers.answers import LONGEST_WAIT, retry_after
from alertbot.notifiers.base import Failed, Retry, Sent
from alertbot.notifiers.webhook import WebhookNotifier, idempotency_key
from tests.notifiers.jobs import NASTY, NOW, OPEN, PAGE, alert, job
from tests.standins.faults import FlakyProxy
from tests.standins.webhook import WebhookStandin


@pytest.fixture
async def hook() -> AsyncIterator[WebhookStandin]:
    async with WebhookStandin() as standin:
        yield standin


@pytest.fixture
async def notifier(hook: WebhookStandin) -> AsyncIterator[WebhookNotifier]:
    made = WebhookNotifier(f"{hook.url}/hook", token="s3cret-token", secret="s3cret-hmac", timeout=5)
    yield made
    await made.close()


async def test_the_body_is_the_incident_with_what_is_to_be_done(
    hook: WebhookStandin, notifier: WebhookNotifier
) -> None:
    alerts = [alert(1), alert(2, status=AlertStatus.RESOLVED, ends_at=NOW)]
    assert isinstance(await notifier.deliver(job(alerts=alerts)), Sent)
    (body,) = hook.bodies
    assert (body["action"], body["reason"], body["id"], body["status"], body["url"]) == (
        "open",
        "first_notification",
        "i1",
        "open",
        PAGE,
    )
    assert body["labels"] == {"alertname": "HighErrorRate", "environment": "prod"}
    assert body["opened_at"] == "2026-11-21T03:00:00Z"
    assert [(a["status"], a["ends_at"]) for a in body["alerts"]] == [
        ("firing", None),
        ("resolved", "2026-11-21T03:12:00Z"),
    ]


async def test_a_repeat_has_the_same_key_and_a_later_change_another(
    hook: WebhookStandin, notifier: WebhookNotifier
) -> None:
    for wanted in (Level(OPEN, 1, 1, 1), Level(OPEN, 1, 1, 1), Level(OPEN, 1, 2, 2)):
        await notifier.deliver(job(want=wanted))
    first, again, later = (c.headers["Idempotency-Key"] for c in hook.requests)
    assert first == again != later
    assert first.isascii()
    assert idempotency_key(job()) == first


async def test_it_is_signed_over_time_and_body() -> None:
    async with WebhookStandin() as hook:
        bodies: list[bytes] = []
        read = hook.read

        async def keep(request: Any) -> Any:
            bodies.append(await request.read())
            return await read(request)

        hook.read = keep  # type: ignore[method-assign]  # the stand-in keeps parsed bodies only
        notifier = WebhookNotifier(hook.url, token="s3cret-token", secret="s3cret-hmac")
        await notifier.deliver(job())
        await notifier.close()
    headers = hook.requests[0].headers
    signed = headers["X-Alertbot-Timestamp"].encode() + b"." + bodies[0]
    expected = hmac.new(b"s3cret-hmac", signed, hashlib.sha256).hexdigest()
    assert headers["X-Alertbot-Signature"] == f"v1={expected}"
    assert headers["Authorization"] == "Bearer s3cret-token"


async def test_a_redirect_is_not_followed_and_is_no_delivery(hook: WebhookStandin, notifier: WebhookNotifier) -> None:
    for status in (301, 302, 303, 307, 308):
        hook.faults.add("answer", "/hook", status=status, headers={"Location": f"{hook.url}/elsewhere"})
        assert isinstance(await notifier.deliver(job()), Failed)
    assert {c.endpoint for c in hook.requests} == {"/hook"}


async def test_retry_after_is_heeded(hook: WebhookStandin, notifier: WebhookNotifier) -> None:
    hook.faults.add("answer", "/hook", status=429, headers={"Retry-After": "7"})
    result = await notifier.deliver(job())
    assert isinstance(result, Retry)
    assert result.after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("rule", "header", "wait"),
    [
        ("seconds", "30", timedelta(seconds=30)),
        ("a date", "Sat, 21 Nov 2026 03:13:00 GMT", timedelta(minutes=1)),
        ("a date that has passed: now", "Sat, 21 Nov 2026 03:00:00 GMT", timedelta(0)),
        ("a page is not put off for a day", "86400", LONGEST_WAIT),
        ("nor for longer than a number can say", "9" * 400, LONGEST_WAIT),
        ("neither", "soon", None),
        ("a negative number is none", "-5", None),
        ("other digits are none", "٣", None),
        ("nothing", None, None),
    ],
)
def test_what_retry_after_means(rule: str, header: str | None, wait: timedelta | None) -> None:
    assert retry_after(header, NOW) == wait, rule


async def test_a_lost_answer_is_uncertain_and_a_refused_connection_is_not(hook: WebhookStandin) -> None:
    async with FlakyProxy(hook.port) as proxy:
        notifier = WebhookNotifier(proxy.url, timeout=5)
        proxy.swallow_answer = True
        lost = await notifier.deliver(job())
        await proxy.refuse()
        refused = await notifier.deliver(job())
        await notifier.close()
    assert isinstance(lost, Retry)
    assert isinstance(refused, Retry)
    assert (lost.uncertain, refused.uncertain) == (True, False)
    assert len(hook.bodies) == 1


async def test_any_text_arrives_as_it_was(hook: WebhookStandin, notifier: WebhookNotifier) -> None:
    result = await notifier.deliver(job(Action.UPDATE, alerts=[alert(1, labels={"x": NASTY})], labels={"y": NASTY}))
    assert isinstance(result, Sent)
    assert hook.bodies[0]["alerts"][0]["labels"] == {"x": NASTY}
    assert json.dumps(hook.bodies[0]["labels"]) == json.dumps({"y": NASTY})


@pytest.mark.parametrize("url", ["ftp://a.example/", "/hook", "https://", "http://a.example/\nx", "http://[::1"])
def test_a_url_that_is_no_address_is_refused_without_being_shown(url: str) -> None:
    with pytest.raises(ValueError, match="absolute http") as caught:
        WebhookNotifier(url)
    assert url not in str(caught.value)


def test_a_header_with_a_line_break_is_refused() -> None:
    with pytest.raises(ValueError, match="header"):
        WebhookNotifier("https://a.example/", headers={"X-Team": "a\r\nHost: b"})
