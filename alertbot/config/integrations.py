"""Each integration of each receiver with everything filled in: what its notifier is built from, and its
destination.

The globals are filled in here, once. `dry` names the setting whose lack makes a destination run dry; None: it
sends. Secrets are plain text in these values, and in no repr.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import getaddresses
from urllib.parse import urlsplit

from alertbot.config.models import (
    EmailConfig,
    Global,
    PagerDutyConfig,
    ReceiverModel,
    Settings,
    SlackConfig,
    SmsConfig,
    WebhookConfig,
)
from alertbot.config.problems import Path
from alertbot.config.secrets import plain
from alertbot.domain.policy import Destination

#: Names one integration: the receiver, the kind (`slack`), and `to`.
Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What every integration has: who it speaks to (`to`, shown), the lane it shares, and what it lacks."""

    to: str
    lane: str
    dry: str | None = None
    send_resolved: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PagerDuty(Resolved):
    """`url` is the base URL that `v2/enqueue` is added to. `notes`: there is a token to write them with."""

    routing_key: str = field(repr=False)
    url: str
    client: str
    severity_map: Mapping[str, str]
    notes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack(Resolved):
    """`api_url` is the base URL that a method's name is added to; `mentions` are IDs, or here, channel,
    everyone. `answered`: presses of its buttons reach us.
    """

    channel: str
    bot_token: str = field(repr=False)
    api_url: str
    mentions: tuple[str, ...]
    answered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sms(Resolved):
    """`url` is Twilio's base URL. One of `from_` and `messaging_service_sid` is set where it does not run
    dry.
    """

    number: str
    from_: str
    messaging_service_sid: str
    account_sid: str
    auth_token: str = field(repr=False)
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Email(Resolved):
    """`addresses` are bare, for the envelope; `header_to` is as written. No username: no authentication."""

    addresses: tuple[str, ...]
    header_to: str
    from_: str
    host: str
    port: int
    hello: str
    auth_username: str
    auth_password: str = field(repr=False)
    require_tls: bool
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook(Resolved):
    """The URL and the headers are secrets."""

    url: str = field(repr=False)
    bearer_token: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    timeout: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Log(Resolved):
    """A receiver without integrations."""


Integration = PagerDuty | Slack | Sms | Email | Webhook | Log
KINDS: Mapping[type[Resolved], str] = {
    PagerDuty: "pagerduty",
    Slack: "slack",
    Sms: "sms",
    Email: "email",
    Webhook: "webhook",
    Log: "log",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """An integration, whose it is, and where it stands in the file."""

    receiver: str
    integration: Integration
    path: Path

    @property
    def key(self) -> Key:
        """Receiver, kind and `to`."""
        return self.receiver, KINDS[type(self.integration)], self.integration.to

    @property
    def destination(self) -> Destination:
        """The same for a decision: without anything secret."""
        i = self.integration
        return Destination(KINDS[type(i)], i.to, i.lane, i.send_resolved, isinstance(i, PagerDuty) and i.notes)


def integrations(settings: Settings) -> dict[Key, Integration]:
    """All integrations by receiver, kind and `to`; of two with one key (which `load` refuses) the first."""
    made: dict[Key, Integration] = {}
    for entry in entries(settings):
        made.setdefault(entry.key, entry.integration)
    return made


def entries(settings: Settings) -> Iterator[Entry]:
    """All integrations, receiver by receiver, in the order in which people are to be reached: a page goes
    first.
    """
    for i, receiver in enumerate(settings.receivers):
        for integration, path in _of_receiver(settings.global_, receiver):
            yield Entry(receiver.name, integration, ("receivers", i, *path))


def _of_receiver(defaults: Global, receiver: ReceiverModel) -> Iterator[tuple[Integration, Path]]:
    if not receiver.has_integrations:
        yield Log(to=receiver.name, lane="log"), ()
        return
    pagerduty_names = _Names("pagerduty")
    for i, p in enumerate(receiver.pagerduty_configs):
        yield _pagerduty(defaults, p, pagerduty_names), ("pagerduty_configs", i)
    for i, s in enumerate(receiver.slack_configs):
        yield _slack(defaults, s), ("slack_configs", i)
    for i, t in enumerate(receiver.sms_configs):
        for j, number in enumerate(t.to):
            yield _sms(defaults, t, number), ("sms_configs", i, "to", j)
    for i, e in enumerate(receiver.email_configs):
        yield _email(defaults, e), ("email_configs", i)
    hosts: dict[str, _Names] = {}
    for i, w in enumerate(receiver.webhook_configs):
        yield _webhook(w, hosts), ("webhook_configs", i)


class _Names:
    """`name`, `name-2`, `name-3`: one for each thing that is not the same as one before."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: list[object] = []

    def next(self, thing: object) -> str:
        if thing is None or thing not in self._known:
            self._known.append(thing)
            n = len(self._known)
        else:
            n = self._known.index(thing) + 1
        return self._name if n == 1 else f"{self._name}-{n}"


def _pagerduty(defaults: Global, config: PagerDutyConfig, names: _Names) -> PagerDuty:
    key = plain(config.routing_key)
    to = config.name or names.next(key or None)
    return PagerDuty(
        to=to,
        lane=f"pagerduty:{_short(key, 12) if key else to}",
        dry=None if key else "routing_key",
        send_resolved=config.send_resolved,
        routing_key=key,
        url=config.url or defaults.pagerduty_url,
        client=config.client,
        severity_map=dict(config.severity_map),
        notes=bool(key and defaults.pagerduty_api_token),
    )


def _slack(defaults: Global, config: SlackConfig) -> Slack:
    token = plain(config.bot_token) or plain(defaults.slack_bot_token)
    return Slack(
        to=f"{config.channel} ({config.name})" if config.name else config.channel,
        lane=f"slack:{config.channel}",
        dry=None if token else "slack_bot_token",
        send_resolved=config.send_resolved,
        channel=config.channel,
        bot_token=token,
        api_url=defaults.slack_api_url,
        mentions=config.mentions,
        # A bot token of its own is another app's, whose presses are signed with a secret that we do not have.
        answered=token == plain(defaults.slack_bot_token)
        and bool(defaults.slack_signing_secret or defaults.slack_app_token),
    )


def _sms(defaults: Global, config: SmsConfig, number: str) -> Sms:
    sid, token = defaults.twilio_account_sid or "", plain(defaults.twilio_auth_token)
    service = config.messaging_service_sid or ""
    return Sms(
        to=number,
        lane=f"sms:{sid or 'default'}",
        dry="twilio_account_sid" if not sid else None if token else "twilio_auth_token",
        send_resolved=config.send_resolved,
        number=number,
        from_=config.from_ or ("" if service else defaults.twilio_from or ""),
        messaging_service_sid=service,
        account_sid=sid,
        auth_token=token,
        url=defaults.twilio_url,
    )


def _email(defaults: Global, config: EmailConfig) -> Email:
    smarthost = config.smarthost or defaults.smtp_smarthost or ""
    host, _, port = smarthost.rpartition(":")
    host = host.strip("[]")
    require_tls = defaults.smtp_require_tls if config.require_tls is None else config.require_tls
    addresses = tuple(address for _, address in getaddresses([config.to]))
    return Email(
        to=", ".join(addresses),
        lane=f"email:{smarthost or 'default'}",
        dry=None if smarthost else "smtp_smarthost",
        send_resolved=config.send_resolved,
        addresses=addresses,
        header_to=config.to,
        from_=config.from_ or defaults.smtp_from or "",
        host=host,
        port=int(port) if port else 25,
        hello=config.hello or defaults.smtp_hello,
        auth_username=config.auth_username or defaults.smtp_auth_username or "",
        auth_password=plain(config.auth_password) or plain(defaults.smtp_auth_password),
        require_tls=not is_loopback(host) if require_tls is None else require_tls,
        headers=dict(config.headers),
    )


def _webhook(config: WebhookConfig, hosts: dict[str, _Names]) -> Webhook:
    url = plain(config.url)
    parts = urlsplit(url)
    host = (parts.hostname or "webhook") + (f":{parts.port}" if parts.port is not None else "")
    to = config.name or hosts.setdefault(host, _Names(host)).next(url or None)
    return Webhook(
        to=to,
        lane=f"webhook:{host}-{_short(url, 8)}" if url else f"webhook:{to}",
        dry=None if url else "url",
        send_resolved=config.send_resolved,
        url=url,
        bearer_token=plain(config.bearer_token),
        headers={name: value.get_secret_value() for name, value in config.headers.items()},
        timeout=config.timeout,
    )


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone: nothing is looked up."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _short(secret: str, digits: int) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:digits]
