"""What every notifier promises, over all of them: classified answers, no secrets, dry runs, bounded time."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from alertbot.config.integrations import KINDS, Email, Log, PagerDuty, Slack, Sms, Webhook
from alertbot.domain.model import Action
from alertbot.notifiers import REGISTRY, Shared, build, slack_mention
from alertbot.notifiers.base import DryRun, Failed, Notifier, Retry, Sent
from tests.notifiers.jobs import job
from tests.standins.faults import FlakyProxy
from tests.standins.webhook import WebhookStandin

#: Every secret is this, so that one search finds any of them. 32 characters, as a routing key has.
SECRET = "5ecretDoNotShow00000000deadbeef7"
#: Codes that a provider, or a proxy before it, may answer with: all that IANA lists, and some that nobody
#: does.
CODES = [
    *range(200, 209), 226, *range(300, 309), *range(400, 419), *range(421, 432), 444, 451, 460, 499,
    *range(500, 512), 520, 521, 522, 523, 524, 525, 526, 529, 530, 598, 599,
]  # fmt: skip


def settings(kind: str, port: int, *, secret: str = SECRET, host: str = "127.0.0.1") -> Any:
    """Settings as the config makes them, for a destination on this machine; without a secret it is dry."""
    url = f"http://{host}:{port}/"
    dry = None if secret else "a secret"
    common: dict[str, Any] = {"to": "there", "lane": kind, "dry": dry}
    made: dict[str, Callable[[], Any]] = {
        "pagerduty": lambda: PagerDuty(
            **common, routing_key=secret, url=url, client="alertbot", severity_map={}
        ),
        "slack": lambda: Slack(**common, channel="C0123456789", bot_token=secret, api_url=url, mentions=("here",)),
        "sms": lambda: Sms(
            **common, number="+15550100", from_="+15550199", messaging_service_sid="",
            account_sid="AC0" if secret else "", auth_token=secret, url=url,
        ),
        "email": lambda: Email(
            **common, addresses=("ops@example.org",), header_to="Ops <ops@example.org>",
            from_="Bot <bot@example.org>", host=host if secret else "", port=port, hello="localhost",
            auth_username="bot" if secret else "", auth_password=secret, require_tls=False, headers={},
        ),
        "webhook": lambda: Webhook(
            **common, url=f"{url}hook/{secret}" if secret else "", bearer_token=secret,
            headers={"X-Key": secret}, timeout=timedelta(seconds=1),
        ),
        "log": lambda: Log(**common),
    }  # fmt: skip
    return made[kind]()


NETWORK = sorted(set(REGISTRY) - {"log"})
HTTP = sorted(set(NETWORK) - {"email"})


@dataclass
class Maker:
    """Makes notifiers, and closes them at the end."""

    shared: Shared
    made: list[Notifier]

    def __call__(self, kind: str, port: int, **more: Any) -> Notifier:
        self.made.append(build(kind, settings(kind, port, **more), self.shared))
        return self.made[-1]


@pytest.fixture
async def make() -> AsyncIterator[Maker]:
    async with aiohttp.ClientSession(trust_env=False) as session:
        maker = Maker(Shared(session, "alertbot.example.org", timeout=1.0), [])
        yield maker
        for notifier in maker.made:
            await notifier.close()


@pytest.fixture
async def server() -> AsyncIterator[WebhookStandin]:
    async with WebhookStandin() as standin:
        yield standin


def test_every_integration_that_can_be_configured_has_a_notifier() -> None:
    assert set(REGISTRY) == set(KINDS.values())


def test_an_integration_that_we_do_not_know_is_an_error() -> None:
    with pytest.raises(KeyError):
        build("carrier-pigeon", None)


@pytest.mark.parametrize("kind", HTTP)
async def test_every_status_code_is_classified(kind: str, make: Maker, server: WebhookStandin) -> None:
    """2xx of a stranger: sent only where any 2xx will do; 408, 425, 429, 5xx: again; any other 4xx, 3xx:
    never."""
    notifier = make(kind, server.port)
    wrong: dict[int, object] = {}
    for code in CODES:
        server.faults.clear()
        server.faults.add("answer", times=None, status=code, body="")
        result = await notifier.deliver(job(integration=kind))
        if 200 <= code < 300:
            expected: type | tuple[type, ...] = Sent if kind == "webhook" else (Retry, Failed)
        elif code in (408, 425, 429) or code >= 500:
            expected = Retry
        else:
            expected = Failed
        if kind == "slack" and code < 500 and code != 429:
            expected = (Retry, Failed)  # Slack's errors are in the body of a 200: other codes are strangers'
        if not isinstance(result, expected):
            wrong[code] = result
    assert wrong == {}


@pytest.mark.parametrize("kind", HTTP)
async def test_no_error_log_or_repr_has_a_secret_even_if_the_provider_repeats_it(
    kind: str, make: Maker, server: WebhookStandin, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = make(kind, server.port)
    body = f"you sent {SECRET} in Authorization: Bearer {SECRET}"
    errors = {"ok": False, "error": "invalid_auth", "message": body, "code": 1, "errors": [body]}
    with caplog.at_level(logging.DEBUG):
        for code in (200, 302, 400, 401, 403, 429, 500, 503):
            for answer in (body, errors):
                server.faults.clear()
                server.faults.add("answer", times=None, status=code, body=answer)
                result = await notifier.deliver(job(integration=kind))
                assert SECRET not in repr(result)
                assert SECRET[-4:] not in repr(result)
    ours = [r for r in caplog.records if not r.name.startswith(("aiohttp.access", "tests"))]
    assert SECRET not in "".join(r.getMessage() + repr(r.__dict__.get("exc_text")) for r in ours)
    assert SECRET not in repr(notifier)
    assert SECRET not in str(vars(notifier).get("dry"))


@pytest.mark.parametrize("kind", NETWORK)
async def test_no_network_failure_shows_a_secret(kind: str, make: Maker, server: WebhookStandin) -> None:
    async with FlakyProxy(server.port) as proxy:
        notifier = make(kind, proxy.port)
        proxy.swallow_answer = True
        cut = await notifier.deliver(job(integration=kind))
        await proxy.refuse()
        refused = await notifier.deliver(job(integration=kind))
    assert isinstance(cut, Retry)
    assert isinstance(refused, Retry)
    assert not refused.uncertain
    assert SECRET not in repr((cut, refused))


@pytest.mark.parametrize("kind", NETWORK)
async def test_a_name_that_does_not_resolve_is_for_now(kind: str, make: Maker) -> None:
    result = await make(kind, 1, host="no-such-host.invalid").deliver(job(integration=kind))
    assert isinstance(result, Retry)
    assert SECRET not in repr(result)


@pytest.mark.parametrize("kind", NETWORK)
async def test_without_credentials_it_renders_and_sends_nothing(kind: str, make: Maker, server: WebhookStandin) -> None:
    notifier = make(kind, server.port, secret="")
    assert notifier.dry
    for action in Action:
        result = await notifier.deliver(job(action, integration=kind))
        assert isinstance(result, DryRun)
        assert "HighErrorRate" in result.text
    assert server.requests == []


@pytest.mark.parametrize("kind", sorted(REGISTRY))
async def test_with_credentials_it_is_not_dry(kind: str, make: Maker) -> None:
    assert make(kind, 1).dry is None


@pytest.mark.parametrize("kind", NETWORK)
async def test_a_hang_is_bounded_and_its_outcome_uncertain(kind: str, make: Maker) -> None:
    async with FlakyProxy(1) as proxy:
        proxy.blackhole = True
        notifier = make(kind, proxy.port)
        result = await asyncio.wait_for(notifier.deliver(job(integration=kind)), 10)
    assert isinstance(result, Retry)
    # A mail server that says nothing has not been given the message.
    assert result.uncertain == (kind != "email")


@pytest.mark.parametrize("kind", NETWORK)
async def test_an_attempt_can_be_cancelled_and_the_notifier_goes_on(
    kind: str, make: Maker, server: WebhookStandin
) -> None:
    async with FlakyProxy(server.port) as proxy:
        proxy.blackhole = True
        notifier = make(kind, proxy.port)
        attempt = asyncio.create_task(notifier.deliver(job(integration=kind)))
        while not proxy.connections:  # noqa: ASYNC110 - the proxy has no event for it
            await asyncio.sleep(0.01)
        attempt.cancel()
        with pytest.raises(asyncio.CancelledError):
            await attempt
        proxy.blackhole = False
        assert isinstance(await notifier.deliver(job(integration=kind)), Sent | Retry | Failed)


@pytest.mark.parametrize("kind", sorted(REGISTRY))
async def test_closing_twice_is_closing_once(kind: str, make: Maker) -> None:
    notifier = make(kind, 1)
    await notifier.close()
    await notifier.close()


@pytest.mark.parametrize(
    ("word", "mention"),
    [
        ("here", "<!here>"),
        ("everyone", "<!everyone>"),
        ("U0123", "<@U0123>"),
        ("S0123", "<!subteam^S0123>"),
        ("<@U0123>", "<@U0123>"),
    ],
)
def test_mentions_get_slacks_own_form(word: str, mention: str) -> None:
    assert slack_mention(word) == mention
