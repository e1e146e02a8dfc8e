"""Loading: the contract's example, secrets, variables, what is not in effect, and what is doubtful."""

from __future__ import annotations

import logging
from dataclasses import fields
from datetime import timedelta
from pathlib import Path

import pytest

from alertbot.config.integrations import Email, PagerDuty, Slack
from alertbot.config.load import NOT_IN_EFFECT, ConfigErrors, load
from alertbot.paths import data_file
from tests.config.conftest import LEAST, Loads, Refusals
from tests.config.contract import CONTRACT, VARIABLES

FILES = ["/run/secrets/slack_bot_token", "/run/secrets/slack_signing_secret"]


# The contract's example.


def test_the_contracts_example_loads_with_nothing_set_and_every_destination_is_dry(loads: Loads) -> None:
    config = loads(CONTRACT, need_secrets=False)
    dry = {key: i.dry for key, i in config.integrations.items() if key[1] != "log"}
    assert dry == {
        ("critical", "pagerduty", "pagerduty"): "routing_key",
        ("critical", "slack", "#critical-alerts"): "slack_bot_token",
        ("critical", "sms", "+15550100"): "twilio_account_sid",
        ("ops", "pagerduty", "pagerduty"): "routing_key",
        ("ops", "slack", "#ops-alerts"): "slack_bot_token",
        ("dev", "slack", "#dev-alerts"): "slack_bot_token",
        ("ops-mail", "email", "ops@example.org"): None,
    }, "the example names a smarthost; nothing else has what it needs"


def test_to_serve_the_contracts_example_its_secret_files_must_be_there(refusals: Refusals) -> None:
    assert refusals(CONTRACT) == [
        f"{line}: `{key}_file`: {file} cannot be read: No such file or directory"
        for line, key, file in zip((3, 4), ("slack_bot_token", "slack_signing_secret"), FILES, strict=True)
    ]


def test_the_contracts_example_with_its_environment_sends(loads: Loads, tmp_path: Path) -> None:
    for file in FILES:
        (tmp_path / Path(file).name).write_text("xoxb-secret\n")
    config = loads(CONTRACT.replace("/run/secrets", str(tmp_path)), VARIABLES)
    slack = config.integrations["ops", "slack", "#ops-alerts"]
    pagerduty = config.integrations["critical", "pagerduty", "pagerduty"]
    assert isinstance(slack, Slack)
    assert isinstance(pagerduty, PagerDuty)
    assert (slack.bot_token, slack.dry, slack.api_url) == ("xoxb-secret", None, "https://slack.com/api/")
    assert (pagerduty.routing_key, pagerduty.dry) == (VARIABLES["PAGERDUTY_KEY"], None)
    assert [t.get_secret_value() for t in config.settings.web.webhook_tokens] == ["secret-4"]


def test_the_contracts_example_means_what_it_says(loads: Loads) -> None:
    settings = loads(CONTRACT, need_secrets=False).settings
    assert settings.store.retention == timedelta(days=30)
    assert settings.deploys.labels.service == ("service", "app", "job")
    assert settings.deploys.lookback == timedelta(hours=2)
    assert settings.runbooks.url == "https://runbooks.example.org/{{ slug }}"
    assert settings.escalation_policies[0].steps[1].after == timedelta(minutes=15)
    assert settings.severities[0].ack_within == timedelta(minutes=5)
    assert settings.route.routes[0].group_wait == timedelta(0)


def test_the_example_that_is_shipped_serves_with_nothing_set() -> None:
    config = load(data_file("alertbot.example.yml"), {})
    assert all(i.dry for (_, kind, _), i in config.integrations.items() if kind != "log")
    assert config.not_in_effect == [], "an example shows what works"
    assert all("is not set in the environment" in w.what for w in config.warnings), "and nothing doubtful"


def test_what_is_left_out_has_the_contracts_defaults(loads: Loads) -> None:
    settings = loads(LEAST).settings
    assert settings.web.listen == "127.0.0.1:9098"
    assert settings.web.max_body == 32 * 2**20
    assert settings.store.url == "sqlite:///alertbot.db"
    assert settings.store.retention == timedelta(days=30)
    assert (settings.flapping.changes, settings.flapping.quiet) == (4, timedelta(minutes=30))
    contract = loads(CONTRACT, need_secrets=False).settings
    for name in ("severities", "flapping", "deploys", "store"):
        assert getattr(settings, name) == getattr(contract, name), f"{name}: the example shows the defaults"


# Secrets.


def test_a_secret_from_a_file_loses_its_line_end_and_nothing_else(loads: Loads, tmp_path: Path) -> None:
    (tmp_path / "token").write_bytes(b" secret x \r\n")
    config = loads("global: {slack_bot_token_file: token}\n" + LEAST)
    token = config.settings.global_.slack_bot_token
    assert token is not None
    assert token.get_secret_value() == " secret x ", "the path is taken from beside the configuration"


def test_a_list_of_secrets_from_a_file_has_one_a_line(loads: Loads, tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text("one\n\ntwo\n")
    tokens = loads("web: {api_tokens_file: tokens}\n" + LEAST).settings.web.api_tokens
    assert [t.get_secret_value() for t in tokens] == ["one", "two"]


def test_a_file_named_by_a_variable_that_is_not_set_is_not_given(loads: Loads) -> None:
    config = loads("global: {slack_bot_token_file: '${TOKEN_FILE}'}\n" + LEAST)
    assert config.settings.global_.slack_bot_token is None
    assert [w.line for w in config.warnings] == [1]


def test_a_file_stands_in_for_a_variable_that_is_not_set(loads: Loads, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("secret")
    config = loads("global: {slack_bot_token: '${TOKEN}', slack_bot_token_file: token}\n" + LEAST)
    assert config.settings.global_.slack_bot_token is not None


def test_where_nothing_is_sent_a_missing_secret_file_is_a_warning(loads: Loads) -> None:
    config = loads("global: {slack_bot_token_file: not/there}\n" + LEAST, need_secrets=False)
    assert [str(w).split(": ")[-1] for w in config.warnings] == [
        "No such file or directory; taken as not given here, and `serve` would refuse it"
    ]


@pytest.mark.parametrize("value", ["''", "", "'  '"])
def test_an_empty_secret_is_none(loads: Loads, value: str) -> None:
    assert loads(f"global:\n  slack_bot_token: {value}\n" + LEAST).settings.global_.slack_bot_token is None


def test_secrets_are_in_no_repr_of_anything(loads: Loads) -> None:
    config = loads(
        """
        global:
          slack_bot_token: 7f3-a
          smtp_smarthost: localhost:25
          smtp_from: a@example.org
          smtp_auth_username: me
          smtp_auth_password: 7f3-b
          twilio_account_sid: AC1
          twilio_auth_token: 7f3-c
          twilio_from: '+15550199'
        web: {webhook_tokens: [7f3-d], github_webhook_secret: 7f3-e}
        route: {receiver: a}
        receivers:
          - name: a
            slack_configs: [{channel: '#a', bot_token: 7f3-f}]
            pagerduty_configs: [{routing_key: 7f3-g}]
            email_configs: [{to: b@example.org}]
            sms_configs: [{to: ['+15550100']}]
            webhook_configs:
              - {url: 'https://example.org/7f3-h', bearer_token: 7f3-i, headers: {X-Key: 7f3-j}}
        """
    )
    shown = [repr(getattr(config, f.name)) for f in fields(config)]
    shown += [repr(config), str(config.settings)]
    shown += [repr(e) for e in config.integrations.values()]
    assert "7f3" not in "".join(shown)
    assert all(i.dry is None for i in config.integrations.values()), "and yet all of them are there"


def test_loading_logs_nothing(loads: Loads, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        loads(CONTRACT, need_secrets=False)
    assert caplog.records == []


# Variables that are not set.


def test_an_optional_setting_whose_variable_is_not_set_has_its_default_and_a_warning(loads: Loads) -> None:
    config = loads("global:\n  slack_api_url: ${SLACK_API_URL}\n" + LEAST)
    assert config.settings.global_.slack_api_url == "https://slack.com/api/"
    assert [(w.line, w.what) for w in config.warnings] == [
        (2, "SLACK_API_URL is not set in the environment: global.slack_api_url is taken as not given")
    ]


def test_of_a_list_of_secrets_only_what_is_not_set_is_left_out(loads: Loads) -> None:
    config = loads("web: {webhook_tokens: ['${OLD}', '${NEW}']}\n" + LEAST, {"NEW": "token"})
    assert [t.get_secret_value() for t in config.settings.web.webhook_tokens] == ["token"]


def test_a_webhook_whose_url_is_not_set_runs_dry(loads: Loads) -> None:
    config = loads("route: {receiver: a}\nreceivers:\n  - name: a\n    webhook_configs: [{url: '${URL}'}]\n")
    assert config.integrations["a", "webhook", "webhook"].dry == "url"


def test_a_matcher_that_needs_a_variable_is_never_left_out(refusals: Refusals) -> None:
    said = refusals('route: {receiver: log, routes: [{matchers: [a="b", "${MORE}"]}]}\nreceivers: [{name: log}]\n')
    assert said == ["1: MORE is not set in the environment, and `matchers` needs it"]


# What is not in effect, and what is doubtful.


def test_what_is_not_in_effect_is_said_once_and_where_it_is_set_first(loads: Loads) -> None:
    found = {p.what.split("`")[1]: p.line for p in loads(CONTRACT, need_secrets=False).not_in_effect}
    lines = CONTRACT.splitlines()
    assert set(found) <= set(NOT_IN_EFFECT)
    for name, line in found.items():
        assert name.rpartition(".")[2] in lines[line - 1], name
    unset = {"SLACK_APP_TOKEN", "PAGERDUTY_API_TOKEN"}
    assert not any(v.lower() in name for name in found for v in unset), "what is not given has no effect to miss"


def test_what_is_not_set_is_not_said_to_be_without_effect(loads: Loads) -> None:
    assert loads(LEAST).not_in_effect == []
    assert loads("heartbeats: []\nslos: []\ndeploys: {}\n" + LEAST).not_in_effect == []


def test_every_name_in_the_table_of_what_is_not_in_effect_is_a_setting(loads: Loads, refusals: Refusals) -> None:
    """A misspelt one would never be found."""
    from alertbot.config.models import Settings
    from alertbot.config.walk import section_in

    for name in NOT_IN_EFFECT:
        model = Settings
        for part in name.split("."):
            known = {f.alias or key: f for key, f in model.model_fields.items()}
            assert part in known, name
            model = section_in(known[part])[0] or model  # type: ignore[assignment]  # a section is a model


DEPLOY = 'inhibit_rules: [{name: d, source_matchers: [alertname="Deployment"], target_matchers: [%s]}]\n'
WINDOW = "inhibit_rules: [{source_matchers: [alertname=%s]}]\n"
EQUAL = (
    'inhibit_rules: [{name: d, source_matchers: [alertname="Deployment"],'
    " target_matchers: ['alertbot_severity!=\"critical\"'], equal: [%s]}]\n"
)
NIGHTS = (
    "time_intervals: [{name: night, time_intervals: [{times: [{start_time: '01:00', end_time: '03:00'}]}]}]\n"
    "maintenance: [{name: disks, time_intervals: [night], labels: {alertname: Works, db: orders}}]\n"
)
OF_WORKS = "inhibit_rules: [{name: w, source_matchers: ['alertname=\"%s\"'], target_matchers: ['%s']}]\n"
SLO = "slos: [{name: a, objective: 99, query: left}]\n"
CAN_HOLD = '` can hold critical alerts too: add alertbot_severity!="critical" to its target_matchers'


@pytest.mark.parametrize(
    ("rule", "text", "warning"),
    [
        ("a deploy that holds critical alerts", DEPLOY % 'team="a"', "d" + CAN_HOLD),
        ("by their word, not their severity", DEPLOY % 'severity=~"page|error"', "d" + CAN_HOLD),
        ("critical ones kept out by severity", DEPLOY % 'alertbot_severity!="critical"', None),
        ("critical ones kept out by their word", DEPLOY % 'severity="warning"', None),
        ("a window by a name of its own", WINDOW % "DbMaintenance", "inhibit_rules[0]" + CAN_HOLD),
        ("an alert as a source is what inhibition is for", WINDOW % "NodeDown", None),
        ("a deploy and an alert that agree in what both have", EQUAL % "service, env, version", None),
        ("agree in a name that a deploy never has", EQUAL % "alertname", "holds no alert of another name"),
        ("agree in what a deploy lacks", EQUAL % "instance", "no deploy has `instance` unless it is reported with it"),
        ("agree in what a sender reports", EQUAL % "repository", None),
        ("a repeating window that nothing knows", NIGHTS, 'no inhibit rule has alertname="Works", db="orders"'),
        ("one that a rule has as a source", NIGHTS + OF_WORKS % ("Works", 'severity="warning"'), None),
        ("one that holds critical alerts", NIGHTS + OF_WORKS % ("Works", 'team="a"'), "w" + CAN_HOLD),
        ("a record shorter than a reminder", "store: {retention: 3h}\n", "shorter than the repeat_interval"),
        ("a door without a lock", "web: {listen: '0.0.0.0:9098'}\n", "anybody could raise alerts"),
        ("a door without a lock, at home", "web: {listen: '[::1]:9098'}\n", None),
        ("a door with a lock", "web: {listen: ':9098', webhook_tokens: [x]}\n", None),
        ("budgets without a Prometheus", SLO, "nobody is asked for these error budgets"),
        ("budgets with one", SLO + "global: {prometheus_url: 'http://p:9090'}\n", None),
    ],
)
def test_doubts_are_warnings(loads: Loads, rule: str, text: str, warning: str | None) -> None:
    said = [w.what for w in loads(text + LEAST).warnings]
    assert len(said) == (warning is not None), rule
    assert warning is None or warning in said[0], rule


def test_a_fallback_that_only_logs_is_doubtful(loads: Loads) -> None:
    config = loads(
        "route: {receiver: a}\nreceivers: [{name: a, slack_configs: [{channel: '#a'}], fallback: b}, {name: b}]\n"
    )
    assert ["only the log would hear of it" in w.what for w in config.warnings] == [True]


# Values.


def test_tls_is_required_of_a_smarthost_unless_it_is_this_machine(loads: Loads) -> None:
    def required(smarthost: str, more: str = "") -> bool:
        config = loads(
            f"global: {{smtp_smarthost: '{smarthost}', smtp_from: a@example.org{more}}}\n"
            "route: {receiver: a}\nreceivers: [{name: a, email_configs: [{to: b@example.org}]}]\n"
        )
        email = config.integrations["a", "email", "b@example.org"]
        assert isinstance(email, Email)
        return email.require_tls

    assert required("mail.example.org:587")
    assert not required("localhost:25")
    assert not required("127.0.0.1:25")
    assert required("localhost:25", ", smtp_require_tls: true")
    assert not required("mail.example.org:587", ", smtp_require_tls: false")


@pytest.mark.parametrize(
    ("text", "size"), [("1024", 1024), ("512KiB", 2**19), ("32MiB", 2**25), ("1 GB", 10**9), ("64kB", 64_000)]
)
def test_sizes_are_written_as_people_write_them(loads: Loads, text: str, size: int) -> None:
    assert loads(f"web: {{max_body: {text}}}\n" + LEAST).settings.web.max_body == size


def test_base_urls_end_with_a_slash_and_alertmanagers_pagerduty_url_is_understood(loads: Loads) -> None:
    settings = loads(
        "global:\n  slack_api_url: http://localhost:1/api\n"
        "  pagerduty_url: https://events.pagerduty.com/v2/enqueue\n" + LEAST
    ).settings.global_
    assert settings.slack_api_url == "http://localhost:1/api/"
    assert settings.pagerduty_url == "https://events.pagerduty.com/"


def test_errors_come_in_the_order_of_the_file(loads: Loads) -> None:
    with pytest.raises(ConfigErrors) as refused:
        loads("weg: {}\nroute: {receiver: b, group_wait: x}\nreceivers: [{name: a}]\nslos: text\n")
    assert [p.line for p in refused.value.problems] == [1, 2, 2, 4]


def test_a_problem_is_one_line_whatever_was_written(loads: Loads) -> None:
    with pytest.raises(ConfigErrors) as refused:
        loads('route: {receiver: "a\\nb"}\nreceivers: [{name: c}]\n')
    assert str(refused.value).endswith("alertbot.yml:1: there is no receiver `a b`: there are c")
