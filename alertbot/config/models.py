"""alertbot.yml as types: every key there is, its default, and what it takes.

Words and defaults are Alertmanager's wherever it has them (config/config.go, dispatch/route.go); ours are
said to be ours. What hangs together across sections (a receiver that is not there) is checked in `load`,
where the places are known.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from alertbot.config.fields import (
    Address,
    BaseUrl,
    Bool,
    Channel,
    Duration,
    Interval,
    LabelName,
    LabelValue,
    MailAddresses,
    MatcherLine,
    MayAct,
    Mention,
    Name,
    OneOrMore,
    Password,
    PhoneNumber,
    PositiveDuration,
    QueryPattern,
    Regex,
    Secret,
    SecretItem,
    SecretUrl,
    Size,
    UrlPattern,
)
from alertbot.redis_url import SCHEMES, RedisUrl

#: "10,000 alerts in one group are one body of 9.3 MB", measured on Alertmanager 0.25.
MAX_BODY: Final = 32 * 2**20


class Section(BaseModel):
    """A mapping of the file. It takes no key that it does not know, and shows no input in its errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def _slack_api_url(url: str) -> str:
    if "hooks.slack.com" in url:
        raise ValueError(
            "this is an incoming webhook: alertbot edits its messages, so it needs slack_bot_token and "
            "the API's own URL, https://slack.com/api/"
        )
    return url


def _events_url(url: str) -> str:
    # Alertmanager's setting of this name includes the path.
    return url.removesuffix("v2/enqueue/")


def _store_url(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    if scheme in SCHEMES:
        RedisUrl.of(url)
        return url
    if scheme != "sqlite" or not separator:
        raise ValueError("expected sqlite:/// and a path, such as sqlite:///alertbot.db, or redis://")
    if not rest.startswith("/") or not rest.strip("/"):
        raise ValueError("expected a path after sqlite:///; a fourth slash starts an absolute one")
    return url


def _at_least_one(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if not values:
        raise ValueError("at least one is needed here")
    return values


#: On a list that may not be empty.
NonEmpty: Final = AfterValidator(_at_least_one)

Equals = dict[LabelName, LabelValue]
Regexes = dict[LabelName, Regex]


class Limits(Section):
    """How fast to speak to providers: a channel, a workspace, a routing key."""

    slack_posts_per_second: float = Field(1, gt=0)
    slack_updates_per_minute: float = Field(50, gt=0)
    pagerduty_per_minute: float = Field(120, gt=0)
    emails_per_minute: float = Field(10, gt=0)
    """To one list of addresses."""
    sms_per_minute: float = Field(5, gt=0)
    """To one number."""


class Global(Section):
    """Credentials and addresses that the integrations share."""

    slack_bot_token: Secret = None
    slack_signing_secret: Secret = None
    slack_app_token: Secret = None
    slack_api_url: Annotated[BaseUrl, AfterValidator(_slack_api_url)] = "https://slack.com/api/"
    pagerduty_url: Annotated[BaseUrl, AfterValidator(_events_url)] = "https://events.pagerduty.com/"
    pagerduty_api_url: BaseUrl = "https://api.pagerduty.com/"
    pagerduty_api_token: Secret = None
    pagerduty_webhook_secret: Secret = None
    smtp_smarthost: Address | None = None
    smtp_from: MailAddresses | None = None
    smtp_hello: str = "localhost"
    smtp_auth_username: str | None = None
    smtp_auth_password: Password = None
    smtp_require_tls: Bool | None = None
    """Not given: required, as in Alertmanager, but not of a smarthost on this machine."""
    twilio_url: BaseUrl = "https://api.twilio.com/"
    twilio_account_sid: str | None = None
    twilio_auth_token: Secret = None
    twilio_from: str | None = None
    alertmanager_url: OneOrMore[BaseUrl] = ()
    """The members of one cluster. None: alertbot knows only what it is sent, and silences only itself."""
    alertmanager_username: str | None = None
    alertmanager_password: Password = None
    alertmanager_bearer_token: Secret = None
    alertmanager_external_url: OneOrMore[BaseUrl] = ()
    """What they call themselves in webhooks (`--web.external-url`), where that is another."""
    alertmanager_receiver: Regex | None = None
    """Which of its receivers have our webhook; not given: those by which alerts came."""
    reconcile_every: PositiveDuration = timedelta(minutes=1)
    prometheus_url: BaseUrl | None = None
    """Not given: no graphs and no error budgets."""
    heartbeat_url: SecretUrl = None
    heartbeat_every: PositiveDuration = timedelta(minutes=1)
    limits: Limits = Limits()


class Web(Section):
    """The door: who may come in, and how much they may bring."""

    listen: Address = "127.0.0.1:9098"
    external_url: BaseUrl | None = None
    max_body: Size = MAX_BODY
    webhook_tokens: tuple[SecretItem, ...] = ()
    api_tokens: tuple[SecretItem, ...] = ()
    github_webhook_secret: Secret = None
    vercel_webhook_secret: Secret = None
    railway_webhook_secret: Secret = None
    argocd_webhook_secret: Secret = None
    sentry_webhook_secret: Secret = None


class Store(Section):
    """Where everything is kept, and for how long after it ended."""

    url: Annotated[str, AfterValidator(_store_url)] = "sqlite:///alertbot.db"
    retention: PositiveDuration = timedelta(days=30)
    allow_eviction: Bool = False
    wait_replicas: Annotated[int, Field(ge=0, le=16)] = 0
    wait_disk: Bool = False


class SeverityModel(Section):
    """One level of urgency and the foreign words for it."""

    name: Name
    aliases: tuple[Name, ...] = ()
    ack_within: PositiveDuration | None = None
    remind_acknowledged: Bool = False
    """Whoever acknowledged is reminded after `ack_within`, if it is not resolved by then."""


def default_severities() -> tuple[SeverityModel, ...]:
    """The four levels that are there when none are given."""
    minutes = timedelta(minutes=1)
    return (
        SeverityModel(name="critical", aliases=("page", "p1", "disaster", "emergency"), ack_within=5 * minutes),
        SeverityModel(name="high", aliases=("error", "major", "p2"), ack_within=30 * minutes),
        SeverityModel(name="medium", aliases=("warning", "minor", "ticket", "p3"), ack_within=240 * minutes),
        SeverityModel(name="low", aliases=("info", "none", "notice", "p4")),
    )


class RouteModel(Section):
    """A node of the tree. What is None is inherited."""

    receiver: str | None = None
    matchers: tuple[MatcherLine, ...] = ()
    match: Equals = {}
    match_re: Regexes = {}
    continue_: Bool = Field(False, alias="continue")
    group_by: tuple[str, ...] | None = None
    group_wait: Duration | None = None
    group_interval: PositiveDuration | None = None
    repeat_interval: PositiveDuration | None = None
    reopen_within: Duration | None = None
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    escalation: str | None = None
    routes: tuple[RouteModel, ...] = ()


class Integration(Section):
    """What every entry of every `*_configs` has. Alertmanager's default of send_resolved is false for chat
    and mail.
    """

    name: Name | None = None
    send_resolved: Bool = True


class PagerDutyConfig(Integration):
    """Events API v2. Without a routing key it runs dry."""

    routing_key: Secret = None
    url: Annotated[BaseUrl, AfterValidator(_events_url)] | None = None
    client: str = "alertbot"
    severity_map: dict[str, Literal["critical", "error", "warning", "info"]] = {}
    """Our severity → PagerDuty's; where it is silent, by the place in the order."""


class SlackConfig(Integration):
    """One channel. Without a bot token, here or in `global`, it runs dry."""

    channel: Channel
    bot_token: Secret = None
    mentions: tuple[Mention, ...] = ()


class SmsConfig(Integration):
    """Numbers that Twilio sends to: each is a destination of its own."""

    to: Annotated[tuple[PhoneNumber, ...], NonEmpty]
    from_: str | None = Field(None, alias="from")
    messaging_service_sid: str | None = None


class EmailConfig(Integration):
    """One mail to one or more addresses. Without a smarthost, here or in `global`, it runs dry."""

    to: MailAddresses
    from_: MailAddresses | None = Field(None, alias="from")
    smarthost: Address | None = None
    hello: str | None = None
    auth_username: str | None = None
    auth_password: Password = None
    require_tls: Bool | None = None
    headers: dict[str, str] = {}


class WebhookConfig(Integration):
    """A POST of the incident as JSON. The URL is a secret, as in Alertmanager since 0.26."""

    url: SecretUrl = None
    bearer_token: Secret = None
    headers: dict[str, SecretItem] = {}
    timeout: PositiveDuration = timedelta(seconds=10)


class ReceiverModel(Section):
    """A named set of integrations; without any, the log."""

    name: Name
    pagerduty_configs: tuple[PagerDutyConfig, ...] = ()
    slack_configs: tuple[SlackConfig, ...] = ()
    sms_configs: tuple[SmsConfig, ...] = ()
    email_configs: tuple[EmailConfig, ...] = ()
    webhook_configs: tuple[WebhookConfig, ...] = ()
    fallback: str | None = None
    fallback_after: PositiveDuration = timedelta(minutes=5)

    @property
    def has_integrations(self) -> bool:
        """Whether anything but the log hears of it."""
        return bool(
            self.pagerduty_configs
            or self.slack_configs
            or self.sms_configs
            or self.email_configs
            or self.webhook_configs
        )


class EscalationStep(Section):
    """After so long without an acknowledgement this receiver is brought in."""

    after: PositiveDuration
    receiver: str


def _in_order(steps: tuple[EscalationStep, ...]) -> tuple[EscalationStep, ...]:
    if any(a.after >= b.after for a, b in pairwise(steps)):
        raise ValueError("the steps go in the order of their times, each later than the one before")
    return steps


class EscalationPolicy(Section):
    """Steps, in the order of their times; after the last they start again, `repeat` times."""

    name: Name
    steps: Annotated[tuple[EscalationStep, ...], NonEmpty, AfterValidator(_in_order)]
    repeat: int = Field(0, ge=0, le=100)


class InhibitRuleModel(Section):
    """Alertmanager's rule; `duration` is ours."""

    name: Name | None = None
    source_matchers: tuple[MatcherLine, ...] = ()
    source_match: Equals = {}
    source_match_re: Regexes = {}
    target_matchers: tuple[MatcherLine, ...] = ()
    target_match: Equals = {}
    target_match_re: Regexes = {}
    equal: tuple[LabelName, ...] = ()
    duration: PositiveDuration | None = None


class DeployLabels(Section):
    """Which labels of an alert name the deployed thing, the first that is there counts."""

    service: tuple[LabelName, ...] = ("service", "app", "job")
    environment: tuple[LabelName, ...] = ("environment", "env", "namespace")


class Deploys(Section):
    """How a deploy holds alerts, and when it stops."""

    labels: DeployLabels = DeployLabels()
    panic_threshold: int = Field(20, ge=1)
    settle: Duration = timedelta(minutes=5)
    max_duration: PositiveDuration = timedelta(minutes=30)
    lookback: PositiveDuration = timedelta(hours=2)


class MaintenanceModel(Section):
    """A maintenance window that opens by itself, in each of these time intervals."""

    name: Name
    time_intervals: Annotated[tuple[str, ...], NonEmpty]
    labels: Equals = {}
    reason: str = ""


class FlappingModel(Section):
    """So many opens and closes within a time are flapping, until quiet for so long."""

    changes: int = Field(4, ge=2)
    within: PositiveDuration = timedelta(hours=1)
    quiet: PositiveDuration = timedelta(minutes=30)


class Runbooks(Section):
    """Where runbooks are; `url` is for one that is not in `path`."""

    path: str = "runbooks/"
    url: str | None = None


class Heartbeat(Section):
    """An alert that must keep firing; silence for `every` is told to the receiver."""

    name: Name
    matchers: Annotated[tuple[MatcherLine, ...], NonEmpty]
    every: PositiveDuration
    receiver: str
    grace: Duration = timedelta(minutes=1)
    severity: str | None = None
    """Not given: the most urgent one."""


class Slo(Section):
    """An objective, in percent, whose error budget an incident is shown with.

    `query` answers the share of the budget that is left (1: all of it); or `good` and `total` count events over
    `window`. They know `labels` and `window`.
    """

    name: Name
    objective: float = Field(gt=0, lt=100)
    window: PositiveDuration = timedelta(days=30)
    query: QueryPattern | None = None
    good: QueryPattern | None = None
    total: QueryPattern | None = None
    matchers: tuple[MatcherLine, ...] = ()


class SlackModel(Section):
    """Who may act on an incident from Slack: these people and user groups, or whomever Slack lets (`anyone`, None)."""

    may_act: MayAct = None


class LinkModel(Section):
    """A way on from an incident, made of an alert's labels; not shown for an alert that lacks one of them."""

    name: Name
    url: UrlPattern


class TimeIntervalModel(Section):
    """A name for times; inside any of them is inside."""

    name: Name
    time_intervals: tuple[Interval, ...] = ()


class StormsModel(Section):
    """When one card stands in for many incidents."""

    cards: Annotated[int, Field(ge=1, le=500)] = 10
    every: PositiveDuration = timedelta(seconds=5)
    quiet: PositiveDuration = timedelta(minutes=2)


class Settings(Section):
    """The whole file."""

    global_: Global = Field(Global(), alias="global")
    web: Web = Web()
    store: Store = Store()
    severities: Annotated[tuple[SeverityModel, ...], NonEmpty] = Field(default_factory=default_severities)
    route: RouteModel
    receivers: tuple[ReceiverModel, ...] = ()
    escalation_policies: tuple[EscalationPolicy, ...] = ()
    inhibit_rules: tuple[InhibitRuleModel, ...] = ()
    deploys: Deploys = Deploys()
    maintenance: tuple[MaintenanceModel, ...] = ()
    flapping: FlappingModel = FlappingModel()
    storms: StormsModel = StormsModel()
    runbooks: Runbooks = Runbooks()
    slack: SlackModel = SlackModel()
    heartbeats: tuple[Heartbeat, ...] = ()
    slos: tuple[Slo, ...] = ()
    links: tuple[LinkModel, ...] = ()
    time_intervals: tuple[TimeIntervalModel, ...] = ()
    mute_time_intervals: tuple[TimeIntervalModel, ...] = ()
    """The older name of time_intervals; Alertmanager still takes it."""
