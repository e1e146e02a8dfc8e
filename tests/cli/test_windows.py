"""`alertbot deploy` and `alertbot maintenance` as a pipeline and a person call them, against a bot that serves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.cli.test_cli import alertbot

CONFIG = """
web: {{listen: "127.0.0.1:0"}}
store: {{url: "sqlite:///{store}"}}
route: {{receiver: log, group_by: [alertname], group_wait: 0s}}
receivers: [{{name: log}}]
inhibit_rules:
  - name: deploy
    source_matchers: [alertname="Deployment"]
    target_matchers: [alertname="High", alertbot_severity!="critical"]
    equal: [service, environment]
  - name: works
    source_matchers: [alertname="DatabaseMaintenance"]
    target_matchers: [alertname="Slow", alertbot_severity!="critical"]
deploys: {{settle: 0s}}
"""
WHAT = ("--service", "api", "--environment", "prod", "--version", "a1b2c3")


class Served:
    """A bot that serves, and the command line that asks it."""

    def __init__(self, config: Path, url: str) -> None:
        self.config = config
        self.url = url

    def run(self, *args: str) -> subprocess.CompletedProcess[str]:
        return alertbot(*args, "--config", self.config, "--url", self.url)

    def say(self, *args: str) -> str:
        """What it prints; it must succeed."""
        done = self.run(*args)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.strip()

    def ask(self, *args: str) -> Any:
        return json.loads(self.say(*args, "--json"))

    def fire(self, name: str) -> None:
        labels = {"alertname": name, "severity": "high", "service": "api", "env": "prod"}
        alert = {"status": "firing", "labels": labels, "startsAt": datetime.now(UTC).isoformat()}
        body = json.dumps({"version": "4", "alerts": [alert]}).encode()
        with urllib.request.urlopen(urllib.request.Request(self.url + "webhooks/alertmanager", body)) as answer:  # noqa: S310  # loopback
            assert json.load(answer) == {"accepted": 1, "set_aside": 0}


@pytest.fixture(scope="module")
def bot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One for all tests here: starting it takes longer than they do."""
    tmp_path = tmp_path_factory.mktemp("served")
    config = tmp_path / "alertbot.yml"
    config.write_text(CONFIG.format(store=tmp_path / "bot.db"))
    command = [sys.executable, "-m", "alertbot", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        assert "serves on http://127.0.0.1:" in first, first
        yield Served(config, first.split("serves on ")[1].split(",")[0])
        process.terminate()


def test_a_pipeline_tells_of_its_deploy_and_what_it_holds_is_explained(bot: Served) -> None:
    ident = bot.say("deploy", "start", *WHAT, "--author", "ana", "--link", "https://ci.example.org/1", "team=pay")
    assert re.fullmatch(r"[0-9a-f]{10}", ident), "an id and nothing else, for a shell to keep"
    bot.fire("High")
    (held,) = bot.ask("incidents", "list", "--status", "held")["incidents"]
    assert (held["alerts"][0]["held_by"], held["suspect"]["id"]) == ("deploy", ident)
    assert (held["suspect"]["url"], held["suspect"]["labels"]) == ("https://ci.example.org/1", {"team": "pay"})
    said = bot.say("explain", "alertname=High")
    assert f"held by the inhibit rule “deploy” while a deploy goes on ({ident}) until" in said
    assert bot.say("deploy", "finish", "--id", ident) == f"{ident}: api a1b2c3 succeeded"
    said = bot.say("explain", "alertname=High")
    assert "no longer held by “deploy”" in said
    assert "notified: what held it has ended, and it still fires" in said
    story = re.findall(r"Z  (.*)  \[", bot.say("explain", ident))
    assert story[:3] == [
        "the API says: a deploy of api a1b2c3 began",
        "the API says: the deploy of api a1b2c3 succeeded",
        f"the deploy {ident} is done, and the time to settle is over",
    ]
    assert bot.ask("explain", ident)["incident"] is None


def test_a_pipeline_without_a_place_for_an_id_names_the_deploy_again(bot: Served) -> None:
    ident = bot.ask("deploy", "start", *WHAT)["id"]
    failed = bot.ask("deploy", "fail", *WHAT)
    assert (failed["id"], failed["status"], failed["holds_until"]) == (ident, "failed", None)


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (("deploy", "start", "--version", "x"), 2, "--service is missing"),
        (("deploy", "finish", "--version", "x"), 2, "--service is missing (or --id, which start printed)"),
        (("deploy", "finish", "--id", "nothere"), 1, "no such deploy"),
        (("deploy", "start", *WHAT, "team!=pay"), 2, "a label set is made of LABEL=VALUE"),
        (("maintenance", "start", "--alertname", "X"), 2, "--for"),
        (("maintenance", "start", "--for", "2h"), 2, "needs labels or an alertname"),
        (("maintenance", "start", "--alertname", "X", "--for", "soon"), 2, "duration"),
        (("maintenance", "end", "nothere"), 1, "there is no such maintenance window"),
        (("maintenance", "extend", "nothere", "--for", "1h"), 1, "there is no such maintenance window"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_an_exit_code(
    bot: Served, args: tuple[str, ...], code: int, error: str
) -> None:
    done = bot.run(*args)
    assert (done.returncode, done.stdout) == (code, "")
    assert error in done.stderr


def test_a_person_opens_extends_lists_and_ends_a_window(bot: Served) -> None:
    start = ("maintenance", "start", "--alertname", "DatabaseMaintenance", "db=orders", "--for", "2h")
    ident = bot.say(*start, "--reason", "new disks", "--by", "ana")
    bot.fire("Slow")
    (held,) = bot.ask("incidents", "list", "--status", "held")["incidents"]
    assert held["alerts"][0]["held_by"] == "works"
    assert bot.say("maintenance", "extend", ident, "--for", "30m").startswith(f"{ident} ends at ")
    listed = bot.say("maintenance")
    for word in (ident, "active", "ana", "new disks", "db=orders"):
        assert word in listed
    assert bot.say("maintenance", "end", ident) == f"{ident} is ended"
    assert ident not in bot.say("maintenance", "list")
    assert bot.ask("maintenance", "list", "--since", "1h")["maintenance"][0]["status"] == "ended"
    again = bot.run("maintenance", "end", ident)
    assert (again.returncode, again.stderr) == (1, "alertbot: this window is over\n")
    assert bot.ask("incidents", "list", "--status", "open")["incidents"][0]["title"] == "Slow"


def test_a_window_that_can_hold_nothing_is_opened_with_a_warning(bot: Served) -> None:
    done = bot.run("maintenance", "start", "--alertname", "Typo", "--for", "1h")
    assert done.returncode == 0
    assert done.stderr == "alertbot: warning: no inhibit rule has a source with these labels: it holds nothing\n"
    assert "\n" not in done.stdout.strip()
