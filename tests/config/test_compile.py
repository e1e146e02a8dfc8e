"""Settings → policy: the tree as Alertmanager builds it, its keys, rules, and who is reached where."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import pytest

from alertbot.config.integrations import Email, PagerDuty, Slack, Sms, Webhook
from alertbot.domain.policy import Destination
from alertbot.domain.routing import Route, match
from tests.config.conftest import LEAST, Loads

TREE = """
route:
  receiver: a
  group_by: [alertname]
  group_wait: 10s
  escalation: lead
  routes:
    - matchers: [env!="dev", 'severity=~"critical|page"']
      receiver: b
      continue: true
      repeat_interval: 1h
      mute_time_intervals: [night]
      routes:
        - match: {team: web}
        - matchers: ['{team="web"}']
          group_by: []
        - match_re: {team: web}
          match: {env: prod}
          matchers: [az="1"]
          group_by: ['...']
          routes: [{group_by: [env]}, {}]
receivers: [{name: a}, {name: b}]
time_intervals: [{name: night}]
escalation_policies: [{name: lead, steps: [{after: 1m, receiver: a}]}]
"""


@pytest.fixture
def tree(loads: Loads) -> dict[str, Route]:
    return dict(loads(TREE).policy.routes)


B = '{}/{env!="dev",severity=~"critical|page"}'
LAST = B + '/{az="1",env="prod",team=~"web"}'


def test_a_routes_key_is_its_way_by_sorted_matchers_and_twins_are_told_apart(tree: dict[str, Route]) -> None:
    assert list(tree) == [
        "{}",
        B,
        B + '/{team="web"}',
        B + '/{team="web"}#2',
        LAST,
        LAST + "/{}",
        LAST + "/{}#2",
    ]


def test_a_child_inherits_what_it_does_not_set(tree: dict[str, Route]) -> None:
    child = tree[B + '/{team="web"}']
    assert child.receiver == "b"
    assert child.group_by == ("alertname",)
    assert child.group_wait == timedelta(seconds=10)
    assert child.repeat_interval == timedelta(hours=1)
    assert child.escalation == "lead"


def test_time_intervals_and_continue_are_a_routes_own_and_not_inherited(tree: dict[str, Route]) -> None:
    assert tree[B].mute_time_intervals == ("night",)
    assert tree[B].continue_
    child = tree[B + '/{team="web"}']
    assert child.mute_time_intervals == ()
    assert not child.continue_


def test_group_by_overrides_also_when_it_is_empty_or_all_labels(tree: dict[str, Route]) -> None:
    assert tree[B + '/{team="web"}#2'].group_by == ()
    assert tree[LAST].group_by is None
    assert tree[LAST + "/{}"].group_by == ("env",)
    assert tree[LAST + "/{}#2"].group_by is None


def test_the_root_has_alertmanagers_defaults(loads: Loads) -> None:
    root = loads(LEAST).policy.route
    assert (root.group_by, root.matchers) == ((), ())
    assert (root.group_wait, root.group_interval) == (timedelta(seconds=30), timedelta(minutes=5))
    assert (root.repeat_interval, root.reopen_within) == (timedelta(hours=4), timedelta(minutes=10))


def test_matchers_of_all_forms_are_taken_together(tree: dict[str, Route]) -> None:
    labels = {"env": "prod", "severity": "page", "team": "web", "az": "1"}
    assert [r.key for r in match(tree["{}"], labels)] == [B + '/{team="web"}']
    assert [str(m) for m in tree[LAST].matchers] == ['az="1"', 'env="prod"', 'team=~"web"']


def test_numbers_and_words_in_match_are_text_as_they_were_written(loads: Loads) -> None:
    policy = loads(
        """
        route:
          receiver: a
          routes: [{match: {n: 2, v: 1.10, on: yes, t: 12:30, b: true, empty: }}]
        receivers: [{name: a}]
        """
    ).policy
    found = [str(m) for m in policy.route.routes[0].matchers]
    assert found == ['b="true"', 'empty=""', 'n="2"', 'on="yes"', 't="12:30"', 'v="1.10"']


def test_inhibit_rules_have_names_and_both_forms_of_matchers(loads: Loads) -> None:
    policy = loads(
        """
        route: {receiver: a}
        receivers: [{name: a}]
        inhibit_rules:
          - source_match: {severity: critical}
            target_match_re: {severity: warning|info}
            target_matchers: [team="web"]
            equal: [alertname, cluster]
          - {name: deploy, source_matchers: [alertname="Deployment"], duration: 15m}
        """
    ).policy
    first, second = policy.inhibit_rules
    assert (first.name, first.equal, first.duration) == ("inhibit_rules[0]", ("alertname", "cluster"), None)
    assert [str(m) for m in first.source_matchers] == ['severity="critical"']
    assert [str(m) for m in first.target_matchers] == ['severity=~"warning|info"', 'team="web"']
    assert (second.name, second.duration) == ("deploy", timedelta(minutes=15))
    assert second.target_matchers == ()


def test_time_intervals_of_both_sections_are_one(loads: Loads) -> None:
    policy = loads(
        "time_intervals: [{name: a, time_intervals: [{weekdays: ['saturday', 'sunday']}]}]\n"
        "mute_time_intervals: [{name: b, time_intervals: [{months: ['1:3'], days_of_month: ['-1']}]}]\n" + LEAST
    ).policy
    assert policy.intervals is not None
    assert {name: len(times) for name, times in policy.intervals.items()} == {"a": 1, "b": 1}


RECEIVERS = """
global:
  slack_bot_token: xoxb-1
  smtp_smarthost: mail.example.org:587
  smtp_from: bot@example.org
  smtp_auth_username: bot
  smtp_auth_password: "p\\nw"
  twilio_account_sid: AC1
  twilio_auth_token: t
  twilio_from: '+15550199'
route: {receiver: all}
receivers:
  - name: all
    webhook_configs:
      - {url: 'https://hooks.example.org/one', timeout: 3s, headers: {X-A: b}}
      - {url: 'https://hooks.example.org/two'}
      - {url: 'http://localhost:8080/', name: local, send_resolved: false}
    email_configs:
      - {to: 'Ops <ops@example.org>,  dev@example.org', headers: {Reply-To: x@example.org}}
      - {to: c@example.org, smarthost: 'localhost:25', from: other@example.org}
    sms_configs:
      - {to: ['+15550100', '+1 (555) 0101']}
      - {to: ['+15550102'], messaging_service_sid: MG1}
    slack_configs:
      - {channel: '#a', mentions: [here, '@U012AB3CD']}
      - {channel: '#a', name: other workspace, bot_token: xoxb-2}
    pagerduty_configs:
      - {routing_key: key-1, severity_map: {high: critical}}
      - {routing_key: key-2, url: 'http://localhost:9/'}
      - {routing_key: key-3, name: database}
  - name: nobody
"""


def sha(text: str, digits: int) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:digits]


def test_destinations_are_pages_first_and_say_nothing_secret(loads: Loads) -> None:
    receivers = loads(RECEIVERS).policy.receivers
    host = "hooks.example.org"
    assert receivers["all"].destinations == (
        Destination("pagerduty", "pagerduty", f"pagerduty:{sha('key-1', 12)}"),
        Destination("pagerduty", "pagerduty-2", f"pagerduty:{sha('key-2', 12)}"),
        Destination("pagerduty", "database", f"pagerduty:{sha('key-3', 12)}"),
        Destination("slack", "#a", "slack:#a"),
        Destination("slack", "#a (other workspace)", "slack:#a"),
        Destination("sms", "+15550100", "sms:AC1"),
        Destination("sms", "+15550101", "sms:AC1"),
        Destination("sms", "+15550102", "sms:AC1"),
        Destination("email", "ops@example.org, dev@example.org", "email:mail.example.org:587"),
        Destination("email", "c@example.org", "email:localhost:25"),
        Destination("webhook", host, f"webhook:{host}-{sha(f'https://{host}/one', 8)}"),
        Destination("webhook", f"{host}-2", f"webhook:{host}-{sha(f'https://{host}/two', 8)}"),
        Destination(
            "webhook",
            "local",
            f"webhook:localhost:8080-{sha('http://localhost:8080/', 8)}",
            send_resolved=False,
        ),
    )
    assert receivers["nobody"].destinations == (Destination("log", "nobody", "log"),)


def test_every_destination_has_its_integration_with_the_globals_filled_in(loads: Loads) -> None:
    config = loads(RECEIVERS)
    made = config.integrations
    wanted = {(r.name, d.integration, d.to) for r in config.policy.receivers.values() for d in r.destinations}
    assert set(made) == wanted
    slack, other = made["all", "slack", "#a"], made["all", "slack", "#a (other workspace)"]
    assert isinstance(slack, Slack)
    assert isinstance(other, Slack)
    assert (slack.bot_token, other.bot_token) == ("xoxb-1", "xoxb-2")
    assert (slack.channel, other.channel, slack.mentions) == ("#a", "#a", ("here", "U012AB3CD"))
    page, second = made["all", "pagerduty", "pagerduty"], made["all", "pagerduty", "pagerduty-2"]
    assert isinstance(page, PagerDuty)
    assert isinstance(second, PagerDuty)
    assert (page.routing_key, page.severity_map) == ("key-1", {"high": "critical"})
    assert (page.url, second.url) == ("https://events.pagerduty.com/", "http://localhost:9/")
    sms, service = made["all", "sms", "+15550101"], made["all", "sms", "+15550102"]
    assert isinstance(sms, Sms)
    assert isinstance(service, Sms)
    assert (sms.from_, sms.account_sid, sms.auth_token) == ("+15550199", "AC1", "t")
    assert (service.from_, service.messaging_service_sid) == ("", "MG1"), "Twilio takes one of the two"
    email = made["all", "email", "ops@example.org, dev@example.org"]
    assert isinstance(email, Email)
    assert email.addresses == ("ops@example.org", "dev@example.org")
    assert (email.host, email.port, email.auth_password) == ("mail.example.org", 587, "p\nw")
    assert (email.from_, email.headers) == ("bot@example.org", {"Reply-To": "x@example.org"})
    hook = made["all", "webhook", "hooks.example.org"]
    assert isinstance(hook, Webhook)
    assert (hook.url, hook.timeout, hook.headers) == (
        "https://hooks.example.org/one",
        timedelta(seconds=3),
        {"X-A": "b"},
    )


def test_two_dry_integrations_of_pagerduty_are_two_destinations(loads: Loads) -> None:
    config = loads("route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{}, {}]}]\n")
    lanes = [(d.to, d.lane) for d in config.policy.receivers["a"].destinations]
    assert lanes == [("pagerduty", "pagerduty:pagerduty"), ("pagerduty-2", "pagerduty:pagerduty-2")]


def test_one_routing_key_in_two_receivers_is_one_lane(loads: Loads) -> None:
    config = loads(
        "route: {receiver: a}\nreceivers: [{name: a, pagerduty_configs: [{routing_key: k}]},"
        " {name: b, pagerduty_configs: [{routing_key: k, name: other}]}]\n"
    )
    a, b = (config.policy.receivers[name].destinations[0] for name in "ab")
    assert a.lane == b.lane


def test_numbers_in_time_intervals_are_read_as_written(loads: Loads) -> None:
    policy = loads(
        """
        time_intervals:
          - name: a
            time_intervals:
              - times: [{start_time: 09:00, end_time: 17:30}]
                days_of_month: [-1, 1:5]
                months: [1, march]
                years: [2030]
                location:
        """
        + "\n        ".join(["", *LEAST.splitlines()])
    ).policy
    assert policy.intervals is not None
    (interval,) = policy.intervals["a"]
    assert interval.times == ((9 * 60, 17 * 60 + 30),)
    assert interval.days_of_month == ((-1, -1), (1, 5))
    assert interval.months == ((1, 1), (3, 3))
    assert interval.years == ((2030, 2030),)
