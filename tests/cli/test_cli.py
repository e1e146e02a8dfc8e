"""The command line as its users call it: what it prints, where, and how it exits."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from alertbot.cli import cli

CONFIG = """
web: {{listen: "127.0.0.1:{port}"}}
store: {{url: "sqlite:///{store}"}}
route:
  receiver: log
  group_by: [alertname]
  group_wait: 0s
  routes:
    - {{matchers: ['alertbot_severity="critical"'], receiver: critical}}
    - {{matchers: ['team="db"'], receiver: db, continue: true}}
    - {{matchers: ['team=~"db|web"'], receiver: web}}
receivers:
  - {{name: log}}
  - {{name: critical, pagerduty_configs: [{{name: primary}}], slack_configs: [{{channel: '#critical'}}]}}
  - {{name: db, slack_configs: [{{channel: '#db'}}]}}
  - {{name: web}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "alertbot.yml"
    path.write_text(CONFIG.format(port=0, store=tmp_path / "bot.db"))
    return path


def alertbot(*args: str | Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alertbot", *map(str, args)]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60)


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, group
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))


@pytest.mark.parametrize(("path", "command"), [pytest.param(p, c, id=" ".join(p)) for p, c in commands(cli)])
def test_every_command_has_help_with_an_example(path: tuple[str, ...], command: click.Command) -> None:
    assert command.help is not None
    assert "Example" in command.help
    assert "alertbot " + " ".join(path[:1]) in command.help
    options = [name for option in command.params for name in option.opts if name.startswith("-")]
    assert len(options) == len(set(options)), "the later of two of one name takes the value from the other"


@pytest.mark.parametrize(
    "args",
    [
        # No such command, option, file; a missing argument.
        ["bogus"],
        ["serve", "--bogus"],
        ["routes", "test", "--config", "/nowhere/alertbot.yml", "a=b"],
        ["explain"],
        ["replay"],
        # Nobody answers.
        ["incidents", "list", "--url", "http://127.0.0.1:1/", "--token", "t"],
    ],
)
def test_an_error_is_one_line_on_stderr_and_exits_2(args: list[str]) -> None:
    done = alertbot(*args)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("alertbot: ")
    assert done.stderr.count("\n") == 1


def test_routes_test_names_the_receivers_in_order(config: Path) -> None:
    done = alertbot("routes", "test", "--config", config, "team=db", "env=prod")
    assert (done.returncode, done.stdout) == (0, "db,web\n")
    sets = '{"team": "web"}\n\n{"severity": "page", "team": "db"}\n{}\n'
    assert alertbot("routes", "test", "--config", config, "--jsonl", stdin=sets).stdout == "web\ncritical\nlog\n"
    assert json.loads(alertbot("routes", "test", "--config", config, "--json", "team=db").stdout) == {
        "receivers": ["db", "web"]
    }


def test_routes_test_verifies(config: Path) -> None:
    good = alertbot("routes", "test", "--config", config, "--verify.receivers=db,web", "team=db")
    bad = alertbot("routes", "test", "--config", config, "--verify.receivers=web,db", "team=db")
    assert (good.returncode, bad.returncode) == (0, 1)
    assert "expected web,db, got db,web" in bad.stderr


def test_check_names_the_line_and_exits_1(config: Path) -> None:
    assert alertbot("check", "--config", config).returncode == 0
    config.write_text(config.read_text().replace("receiver: critical}", "receiver: crytical}"))
    done = alertbot("check", "--config", config)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{config}:9: ")
    assert "critical" in done.stdout
    assert json.loads(alertbot("check", "--config", config, "--json").stdout)["problems"]


def event(at: str, source: str, **body: Any) -> str:
    return json.dumps({"at": at, "source": source, "body": body}) + "\n"


FIRING = {
    "status": "firing",
    "labels": {"alertname": "Down", "severity": "critical"},
    "startsAt": "2026-01-05T10:00:00Z",
}


def test_replay_prints_what_would_be_sent_and_why_not(config: Path, tmp_path: Path) -> None:
    record = tmp_path / "events.jsonl"
    record.write_text(
        event("2026-01-05T10:00:00Z", "alertmanager", alerts=[FIRING])
        + event("2026-01-05T10:00:30Z", "alertmanager", alerts=[FIRING])
        + event("2026-01-05T10:01:00Z", "acknowledge", labels={"alertname": "Down"}, by="ana")
        + '{"at": "2026-01-05T10:02:00Z", "source": "tick"}\n'
    )
    done = alertbot("replay", "--config", config, "--decisions", record)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line.get("action") or line["decision"] for line in lines] == [
        "open",
        "open",
        "duplicate",
        "acknowledge",
        "acknowledge",
    ]
    first = lines[0]
    assert first.pop("incident")
    assert first == {
        "at": "2026-01-05T10:00:00Z",
        "receiver": "critical",
        "integration": "pagerduty",
        "to": "primary",
        "action": "open",
        "severity": "critical",
        "labels": {"alertname": "Down"},
        "alerts": {"firing": 1, "resolved": 0, "held": 0},
        "reason": "first_notification",
    }
    other = tmp_path / "other.yml"
    other.write_text(config.read_text().replace("receiver: critical}", "receiver: web}"))
    against = alertbot("replay", "--config", config, "--against", other, record)
    assert against.returncode == 1
    only = [json.loads(line)["only"] for line in against.stdout.splitlines()]
    assert (only.count(str(config)), only.count(str(other))) == (4, 2)
    assert alertbot("replay", "--config", config, "--against", config, record).returncode == 0


def test_deploys_and_maintenance_hold_in_a_replay_as_they_do_live(config: Path, tmp_path: Path) -> None:
    config.write_text(
        config.read_text()
        + """
inhibit_rules:
  - {name: deploys, source_matchers: ['alertname="Deployment"'], target_matchers: [alertname=Down], equal: [service]}
  - {name: works, source_matchers: ['alertname="Works"'], target_matchers: [alertname=Slow]}
"""
    )
    about = {"service": "api", "environment": "prod", "version": "a1b2c3", "id": "d1"}
    down = {"labels": {"alertname": "Down", "app": "api", "severity": "high"}, "startsAt": "2026-01-05T10:01:00Z"}
    slow = {"labels": {"alertname": "Slow", "severity": "high"}, "startsAt": "2026-01-05T10:01:00Z"}
    record = tmp_path / "events.jsonl"
    record.write_text(
        event("2026-01-05T10:00:00Z", "deploy", **about, status="started")
        + event(
            "2026-01-05T10:00:00Z", "maintenance", action="start", id="m1", labels={"alertname": "Works"}, duration="2h"
        )
        + event("2026-01-05T10:01:00Z", "alertmanager", alerts=[down, slow])
        + event("2026-01-05T10:02:00Z", "deploy", id="d1", status="failed")
        + event("2026-01-05T10:03:00Z", "maintenance", action="extend", id="m1", duration="1h")
        + event("2026-01-05T10:04:00Z", "maintenance", action="end", id="m1")
    )
    done = alertbot("replay", "--config", config, "--decisions", "--json", record)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    told = [(line["at"][11:16], line.get("action") or line["decision"], line["labels"]["alertname"]) for line in lines]
    assert told == [
        ("10:01", "held", "Down"),
        ("10:01", "held", "Slow"),
        ("10:02", "verdict", "Deployment"),
        ("10:02", "open", "Down"),
        ("10:04", "verdict", "Works"),
        ("10:04", "open", "Slow"),
    ]
    assert [line["by"] for line in lines[:2]] == ["deploys", "works"]


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("nonsense", "line 1: an event is an object"),
        ('{"at": "2026-01-05T10:00:00", "source": "tick"}', "line 1: `at` has no time zone"),
        ('{"at": "2026-01-05T10:00:00Z", "source": "smoke"}', "line 1: no source is called smoke"),
        ('{"at": "2026-01-05T10:00:00Z", "source": "alertmanager", "body": []}', "event 1: "),
    ],
)
def test_a_bad_record_is_an_error_with_its_line(config: Path, tmp_path: Path, line: str, error: str) -> None:
    record = tmp_path / "events.jsonl"
    record.write_text(line + "\n")
    done = alertbot("replay", "--config", config, record)
    assert done.returncode == 2
    assert error in done.stderr


@pytest.fixture
def bot(config: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A bot that serves, and its URL."""
    command = [sys.executable, "-m", "alertbot", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "serves on http://127.0.0.1:" in first, first
        yield process, first.split("serves on ")[1].split(",")[0]
        if process.poll() is None:
            process.kill()


def test_an_evening_with_the_bot(bot: tuple[subprocess.Popen[str], str], config: Path) -> None:
    process, url = bot
    body = json.dumps({"version": "4", "alerts": [FIRING, {"labels": {"alertname": 7}}]}).encode()
    with urllib.request.urlopen(urllib.request.Request(url + "webhooks/alertmanager", body)) as answer:  # noqa: S310  # loopback
        assert json.load(answer) == {"accepted": 1, "set_aside": 1}

    def ask(*args: str) -> Any:
        done = alertbot(*args, "--config", str(config), "--url", url, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    [incident] = ask("incidents", "--status", "open")["incidents"]
    assert (incident["title"], incident["severity"]) == ("Down", "critical")
    assert ask("incidents", "ack", incident["id"], "--by", "ana")["acknowledged_by"] == "ana"
    (silence,) = ask("incidents", "silence", incident["id"], "--for", "1h", "--by", "ana")["silences"]
    assert (silence["by"], silence["problem"]) == ("ana", "no Alertmanager is configured")
    assert ask("incidents", "unsilence", incident["id"])["silences"] == []
    reasons = [e["reason"] for e in ask("explain", incident["id"])["entries"]]
    assert reasons[:2] == ["new_episode", "first_notification"]
    assert "acknowledged" in reasons
    assert ask("explain", "alertname=Down")["alerts"][0]["incident"] == incident["id"]
    [parked] = ask("parked")["parked"]
    assert parked["where"] == "alerts[1].labels.alertname"
    assert ask("parked", "drop", parked["id"])
    assert ask("parked")["parked"] == []
    assert {d["status"] for d in ask("test", "critical")["deliveries"]} == {"dry_run"}
    started = ask("deploy", "start", "--service", "api", "--version", "a1", "--link", "https://ci.example.org/7")
    assert (started["status"], started["url"]) == ("started", "https://ci.example.org/7")
    assert ask("deploy", "finish", "--id", started["id"])["status"] == "succeeded"
    window = ask("maintenance", "start", "db=orders", "--for", "2h", "--by", "ana")
    assert [w["id"] for w in ask("maintenance")["maintenance"]] == [window["id"]]
    assert ask("maintenance", "end", window["id"])["status"] == "ended"
    assert ask("incidents", "resolve", incident["id"])["status"] == "resolved"
    missing = alertbot("incidents", "show", "nothere", "--config", config, "--url", url)
    assert (missing.returncode, missing.stderr) == (1, "alertbot: there is no such incident\n")
    late = alertbot("incidents", "ack", incident["id"], "--config", config, "--url", url)
    assert (late.returncode, "nothing to acknowledge" in late.stderr) == (1, True)
    replayed = alertbot("replay", "--config", config, "--from-store", "--since", "1h")
    assert [json.loads(line)["action"] for line in replayed.stdout.splitlines()][:2] == ["open", "open"]

    process.send_signal(signal.SIGHUP)
    second = alertbot("serve", "--config", config)
    assert second.returncode == 2
    assert "in use" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
