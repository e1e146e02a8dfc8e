"""`alertbot slack manifest` and `alertbot check --online`, against Slack's and PagerDuty's stand-ins."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import yaml

from alertbot.commands import commands
from tests.cli.test_cli import alertbot
from tests.standins.pagerduty_rest import TOKEN, PagerDutyRestStandin
from tests.standins.redis_servers import RedisServer
from tests.standins.slack import SlackStandin

CONFIG = """
global:
  slack_bot_token: {token}
  slack_signing_secret: a-secret
  slack_api_url: {slack}
  pagerduty_api_url: {pagerduty}
  pagerduty_api_token: {rest}
{more}
web: {{external_url: 'https://alertbot.example.org/'}}
slack: {{may_act: {may_act}}}
route: {{receiver: ops}}
receivers:
  - name: ops
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef}}]
    slack_configs:
      - channel: '#ops-alerts'
      - channel: '#{channel}'
"""


APP_TOKEN = "an app token (xapp-…) with the scope connections:write is needed"


@pytest.fixture
async def slack() -> AsyncIterator[SlackStandin]:
    async with SlackStandin() as standin:
        yield standin


@pytest.fixture
async def pagerduty() -> AsyncIterator[PagerDutyRestStandin]:
    async with PagerDutyRestStandin() as standin:
        standin.duty("Platform", 1, "Alice")
        yield standin


def write(
    path: Path, slack: str = "https://slack.com/api/", pagerduty: str = "https://api.pagerduty.com/", **options: str
) -> Path:
    values = {"token": "xoxb-stand-in", "rest": TOKEN, "more": "", "may_act": "anyone", "channel": "dev-alerts"}
    file = path / "alertbot.yml"
    file.write_text(CONFIG.format(slack=slack, pagerduty=pagerduty, **(values | options)))
    return file


async def online(file: Path) -> tuple[int, dict[str, list[str]]]:
    """What `check --online --json` says, asked in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "alertbot", "check", "--config", str(file), "--online", "--json",
        stdout=asyncio.subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(out)


async def test_a_set_up_that_works_is_said_to(
    tmp_path: Path, slack: SlackStandin, pagerduty: PagerDutyRestStandin
) -> None:
    code, said = await online(write(tmp_path, slack.api_url, pagerduty.url))
    assert (code, said["problems"]) == (0, [])
    assert "Slack: alertbot in Stand-in" in said["online"]
    assert "PagerDuty: the token is good, 1 on call now" in said["online"]
    assert any("by an event only: alertbot test RECEIVER (ops)" in line for line in said["online"])
    assert [m for m in slack.requests if m.endpoint.startswith("chat.")] == []


async def test_each_missing_scope_channel_and_token_is_named_with_its_line(
    tmp_path: Path, slack: SlackStandin, pagerduty: PagerDutyRestStandin
) -> None:
    slack.scopes -= {"users:read.email", "channels:join", "usergroups:read"}
    file = write(
        tmp_path, slack.api_url, pagerduty.url, rest="wrong", channel="general", may_act="[S0ONCALL]",
        more="  slack_app_token: xapp-wrong",
    )  # fmt: skip
    code, said = await online(file)
    assert code == 1
    lacks = f"{file}:3: the bot lacks the scope"
    assert said["problems"] == [
        f"{lacks} channels:join: it is there to join a public channel by itself",
        f"{lacks} users:read.email: it is there to know who that is in PagerDuty",
        f"{lacks} usergroups:read: it is there to know who is in the user groups of slack.may_act",
        f"{file}:17: #general: the bot is not in it, and may not join by itself: /invite @alertbot",
        f"{file}:8: Slack's apps.connections.open says invalid_auth: {APP_TOKEN}",
        f"{file}:7: PagerDuty: it answered 401: Your account is not authorized to access this resource.",
    ]


async def test_a_wrong_token_and_a_provider_that_is_away_are_findings_and_no_tracebacks(tmp_path: Path) -> None:
    async with SlackStandin() as slack:
        code, said = await online(write(tmp_path, slack.api_url, "http://127.0.0.1:1/", token="xoxb-wrong"))
    assert code == 1
    assert any("auth.test says invalid_auth: put a valid bot token" in p for p in said["problems"])
    assert any("PagerDuty: it cannot be reached" in p for p in said["problems"])
    code, said = await online(write(tmp_path, "http://127.0.0.1:1/", "http://127.0.0.1:1/", channel="nosuch"))
    assert any("no connection" in p for p in said["problems"])


async def test_a_redis_is_asked_whether_it_keeps_what_it_is_given_and_nothing_is_written(
    tmp_path: Path, real_server: Callable[[str], Path]
) -> None:
    server = RedisServer(real_server("redis-server"), tmp_path / "redis", appendonly="yes", appendfsync="always")
    nowhere = "http://127.0.0.1:1/"
    file = write(tmp_path, nowhere, nowhere)
    file.write_text(f"{file.read_text()}\nstore: {{url: '{server.url}'}}\n")
    line = len(file.read_text().splitlines())
    try:
        server.start()
        with server.client() as client:
            assert "Redis: it answers, and its settings keep what it is given" in (await online(file))[1]["online"]
            assert client.dbsize() == 0
            client.config_set("appendfsync", "everysec")
            assert any("appendfsync is everysec" in said for said in (await online(file))[1]["online"])
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert any(
                p.startswith(f"{file}:{line}: ") and "allkeys-lru" in p for p in (await online(file))[1]["problems"]
            )
    finally:
        server.stop()
    assert any("Error 111 connecting" in problem for problem in (await online(file))[1]["problems"])


def test_the_manifest_asks_for_what_the_config_needs_over_http(tmp_path: Path) -> None:
    done = alertbot("slack", "manifest", "--config", write(tmp_path))
    made = yaml.safe_load(done.stdout)
    assert made["settings"]["socket_mode_enabled"] is False
    assert made["settings"]["interactivity"]["request_url"] == "https://alertbot.example.org/slack/interactions"
    typed = {c["command"]: c for c in made["features"]["slash_commands"]}
    assert set(typed) == {f"/{name}" for name in commands()}
    assert {c["url"] for c in typed.values()} == {"https://alertbot.example.org/slack/commands"}
    assert "usergroups:read" not in made["oauth_config"]["scopes"]["bot"]
    assert set(SlackStandin().scopes) - {"files:write", "usergroups:read"} <= set(made["oauth_config"]["scopes"]["bot"])
    assert "signing secret" in done.stderr


def test_the_manifest_for_socket_mode_names_no_address(tmp_path: Path) -> None:
    file = write(tmp_path, may_act="[S0ONCALL, alice@example.org]", more="  slack_app_token: xapp-x")
    made = json.loads(alertbot("slack", "manifest", "--json", "--config", file).stdout)
    assert made["settings"]["socket_mode_enabled"] is True
    assert "https" not in json.dumps(made)
    assert "usergroups:read" in made["oauth_config"]["scopes"]["bot"]


def test_without_an_address_over_http_there_is_no_manifest(tmp_path: Path) -> None:
    file = tmp_path / "alertbot.yml"
    file.write_text("route: {receiver: log}\nreceivers: [{name: log}]\n")
    done = alertbot("slack", "manifest", "--config", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "set web.external_url, or use --socket-mode" in done.stderr
    assert alertbot("slack", "manifest", "--socket-mode", "--config", file).returncode == 0
