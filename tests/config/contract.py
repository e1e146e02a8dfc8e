# ruff: noqa: E501  # the lines are the contract's
"""The configuration that the contract shows, as it stands there."""

from typing import Final

CONTRACT: Final = r"""
global:
  slack_bot_token_file: /run/secrets/slack_bot_token
  slack_signing_secret_file: /run/secrets/slack_signing_secret
  slack_app_token: ${SLACK_APP_TOKEN}          # set: Socket Mode, no public URL needed
  slack_api_url: https://slack.com/api/        # any base URL: a proxy, a stand-in
  pagerduty_url: https://events.pagerduty.com/ # Events API v2 and change events
  pagerduty_api_url: https://api.pagerduty.com/
  pagerduty_api_token: ${PAGERDUTY_API_TOKEN}  # REST: notes, who is on call; optional
  pagerduty_webhook_secret: ${PAGERDUTY_WEBHOOK_SECRET}
  smtp_smarthost: localhost:25
  smtp_from: alertbot@example.org
  twilio_url: https://api.twilio.com/
  alertmanager_url: http://localhost:9093/     # reconciling, silences
  prometheus_url: http://localhost:9090/       # graphs, error budgets
  limits: {slack_posts_per_second: 1, slack_updates_per_minute: 50, pagerduty_per_minute: 120}  # per channel, workspace, key
web:
  listen: 127.0.0.1:9098
  external_url: https://alertbot.example.org/
  webhook_tokens: [${ALERTBOT_WEBHOOK_TOKEN}]  # Bearer, or Basic with it as the password
  api_tokens: [${ALERTBOT_API_TOKEN}]
  github_webhook_secret: ${GITHUB_WEBHOOK_SECRET}
  vercel_webhook_secret: ${VERCEL_WEBHOOK_SECRET}
store:
  url: sqlite:///alertbot.db                   # or redis://, rediss://, redis+sentinel://, redis+cluster://
  retention: 30d
severities:                                    # most urgent first; every foreign word maps to one of these
  - {name: critical, aliases: [page, p1, disaster, emergency], ack_within: 5m}
  - {name: high,     aliases: [error, major, p2],              ack_within: 30m}
  - {name: medium,   aliases: [warning, minor, ticket, p3],    ack_within: 4h}
  - {name: low,      aliases: [info, none, notice, p4]}
route:
  receiver: log
  group_by: [alertname, environment, team]
  group_wait: 10s
  group_interval: 10s
  repeat_interval: 12h
  reopen_within: 10m   # a refire this soon after the close reopens the incident
  routes:
    - {matchers: [alertbot_severity="critical"], receiver: critical, group_wait: 0s, repeat_interval: 5m, escalation: page-the-lead}
    - {matchers: [alertbot_severity="high"],     receiver: ops, group_wait: 5s, repeat_interval: 1h}
    - {matchers: [alertbot_severity="medium"],   receiver: dev, group_wait: 1m, repeat_interval: 4h}
    - {matchers: [alertbot_severity="low"],      receiver: log, repeat_interval: 24h}
receivers:
  - name: critical
    pagerduty_configs: [{routing_key: ${PAGERDUTY_KEY}}]
    slack_configs: [{channel: '#critical-alerts'}]
    sms_configs: [{to: ['+15550100']}]
    fallback: ops-mail                         # gets the incident if every integration above keeps failing
  - name: ops
    pagerduty_configs: [{routing_key: ${PAGERDUTY_KEY}}]
    slack_configs: [{channel: '#ops-alerts'}]
  - name: dev
    slack_configs: [{channel: '#dev-alerts'}]
  - name: ops-mail
    email_configs: [{to: ops@example.org}]
  - name: log                                  # no integrations: logged, and on the page
escalation_policies:
  - name: page-the-lead
    steps: [{after: 5m, receiver: ops}, {after: 15m, receiver: ops-mail}]
inhibit_rules:
  - name: deploy
    source_matchers: [alertname="Deployment"]
    target_matchers: [alertname=~"HighErrorRate|HighLatency", alertbot_severity!="critical"]
    equal: [environment]
    duration: 15m
  - name: database maintenance
    source_matchers: [alertname="DatabaseMaintenance"]
    target_matchers: [alertname=~"DatabaseConnectionDown|SlowQueries"]
    duration: 2h
  - name: the worst only
    source_matchers: [alertbot_severity="critical"]
    target_matchers: [alertbot_severity=~"high|medium|low"]
    equal: [alertname, environment, service]
deploys:
  labels: {service: [service, app, job], environment: [environment, env, namespace]}   # which alert labels name the deployed thing
  panic_threshold: 20 # more alerts of one service held than this end the hold at once
  settle: 5m          # a finished deploy still counts as going on for this long
  max_duration: 30m   # one that never reports its end ends here
  lookback: 2h        # which recent deploys an alert is shown with
flapping: {changes: 4, within: 1h, quiet: 30m}  # so many opens and closes: said to flap, pages no more until quiet for so long
runbooks:
  path: runbooks/
  url: https://runbooks.example.org/{{ slug }}   # for a runbook that is not in path
heartbeats:
  - {name: prometheus, matchers: [alertname="Watchdog"], every: 5m, receiver: critical}
time_intervals: []
"""

#: Every variable that it names.
VARIABLES: Final = {
    "SLACK_APP_TOKEN": "xapp-secret-1",
    "PAGERDUTY_API_TOKEN": "secret-2",
    "PAGERDUTY_WEBHOOK_SECRET": "secret-3",
    "ALERTBOT_WEBHOOK_TOKEN": "secret-4",
    "ALERTBOT_API_TOKEN": "secret-5",
    "GITHUB_WEBHOOK_SECRET": "secret-6",
    "VERCEL_WEBHOOK_SECRET": "secret-7",
    "PAGERDUTY_KEY": "0123456789abcdef0123456789abcdef",
}
