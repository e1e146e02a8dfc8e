"""What we publish beside the program (alerts on alertbot itself, a manifest), held against what alertbot really is."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml

from alertbot.config.check import Rule, check_rules
from alertbot.config.load import load
from alertbot.enrich.runbooks import runbooks_of
from alertbot.telemetry import Metrics

PROJECT = Path(__file__).parents[2]
ALERTS = PROJECT / "docs" / "alerts.yml"


def test_each_has_a_known_severity_a_runbook_and_a_route() -> None:
    config = load(PROJECT / "alertbot.example.yml", {}, need_secrets=False)
    runbooks = runbooks_of(config)

    def has_runbook(rule: Rule) -> bool:
        return runbooks.find({**rule.labels, "alertname": rule.alert}, rule.annotations, of_rule=True) is not None

    assert [str(problem) for problem in check_rules(config.policy, [str(ALERTS)], has_runbook)] == []


def test_each_asks_for_metrics_that_there_are() -> None:
    asked = set(re.findall(r"\balertbot_\w+", ALERTS.read_text()))
    there = {sample for family in Metrics("1").registry.collect() for sample in (family.name, f"{family.name}_total")}
    assert asked
    assert asked - there == set()


def test_prometheus_takes_them(real_server: Callable[[str], Path]) -> None:
    done = subprocess.run(
        [real_server("promtool"), "check", "rules", str(ALERTS)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_manifest_runs_the_image_as_its_own_user_by_number() -> None:
    """Kubelet refuses `runAsNonRoot` for a user that it knows by name only."""
    (user,) = re.findall(r"^USER (.+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)
    deployment, *_ = yaml.safe_load_all((PROJECT / "docs" / "kubernetes" / "alertbot.yml").read_text())
    runs_as = deployment["spec"]["template"]["spec"]["securityContext"]
    assert user == f"{runs_as['runAsUser']}:{runs_as['runAsGroup']}"
    assert runs_as["runAsUser"] > 0
