"""Notifiers: one file per destination. To add one: its file, its templates, and its builder and line here.

A notifier's module is imported when the config first names its integration.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from alertbot.notifiers.base import Limiter, Notifier, Unlimited

if TYPE_CHECKING:
    import aiohttp

    from alertbot.config import integrations as config
    from alertbot.notifiers.pagerduty_rest import PagerDutyRest


@dataclass(frozen=True, slots=True)
class Shared:
    """What destinations share. The session stays its owner's, and has `trust_env` off; without one each has its own.

    `limiter` is asked before each call. `rest` is PagerDuty's REST API, where there is a token. `host` is the name that
    ids of mails end in: the external URL's. `timeout` bounds each network call, in seconds. `buttons` are the acts that
    a chat's cards offer.
    """

    session: aiohttp.ClientSession | None = None
    host: str = ""
    timeout: float = 10.0
    limiter: Limiter = field(default_factory=Unlimited)
    rest: PagerDutyRest | None = None
    buttons: frozenset[str] = frozenset()


def build(integration: str, settings: Any, shared: Shared | None = None) -> Notifier:
    """The notifier of one destination, from its settings with the globals filled in (`config.integrations`).

    Raises KeyError for an integration that is not in `REGISTRY`, ValueError for settings that its notifier
    refuses.
    """
    return REGISTRY[integration](settings, shared or Shared())


def _slack(settings: config.Slack, shared: Shared) -> Notifier:
    from alertbot.notifiers.slack import SlackNotifier

    return SlackNotifier(
        settings.bot_token or None,
        settings.channel,
        session=shared.session,
        base_url=settings.api_url,
        mentions=[slack_mention(m) for m in settings.mentions],
        timeout=shared.timeout,
        limiter=shared.limiter,
        buttons=shared.buttons if settings.answered else (),
    )


def slack_mention(word: str) -> str:
    """Slack's form of a mention: `here`, `channel`, `everyone`, a user's or a user group's ID."""
    if word.startswith("<"):
        return word
    if word in ("here", "channel", "everyone"):
        return f"<!{word}>"
    return f"<!subteam^{word}>" if word.startswith("S") else f"<@{word}>"


def _pagerduty(settings: config.PagerDuty, shared: Shared) -> Notifier:
    from alertbot.notifiers.pagerduty import PagerDutyNotifier

    return PagerDutyNotifier(
        settings.routing_key or None,
        name=settings.to,
        url=settings.url,
        client=settings.client,
        severity_map=settings.severity_map,
        timeout=shared.timeout,
        limiter=shared.limiter,
        budget=settings.lane,
        rest=shared.rest,
    )


def _email(settings: config.Email, shared: Shared) -> Notifier:
    from alertbot.notifiers.email import EmailNotifier

    return EmailNotifier(
        host=settings.host,
        port=settings.port,
        sender=settings.from_,
        addresses=settings.addresses,
        header_to=settings.header_to,
        username=settings.auth_username,
        password=settings.auth_password,
        require_tls=settings.require_tls,
        hello=settings.hello,
        headers=settings.headers,
        id_host=shared.host,
        timeout=shared.timeout,
        limiter=shared.limiter,
    )


def _sms(settings: config.Sms, shared: Shared) -> Notifier:
    from alertbot.notifiers.sms import SmsNotifier

    return SmsNotifier(
        settings.account_sid or None,
        settings.auth_token or None,
        to=settings.number,
        sender=settings.from_,
        messaging_service_sid=settings.messaging_service_sid,
        url=settings.url,
        session=shared.session,
        timeout=shared.timeout,
        limiter=shared.limiter,
    )


def _webhook(settings: config.Webhook, shared: Shared) -> Notifier:
    from alertbot.notifiers.webhook import WebhookNotifier

    return WebhookNotifier(
        settings.url or None,
        to=settings.to,
        token=settings.bearer_token or None,
        headers=settings.headers,
        timeout=settings.timeout.total_seconds(),
        session=shared.session,
    )


def _log(settings: config.Log, shared: Shared) -> Notifier:
    from alertbot.notifiers.log import LogNotifier

    return LogNotifier()


#: Integration → what makes its notifier.
REGISTRY: Final[Mapping[str, Callable[[Any, Shared], Notifier]]] = {
    "slack": _slack,
    "pagerduty": _pagerduty,
    "email": _email,
    "sms": _sms,
    "webhook": _webhook,
    "log": _log,
}
