"""`alertbot check`: the configuration, and how the alerts of rules files would arrive."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

import pytest

from alertbot.config.check import check
from tests.config.contract import CONTRACT

RULES = """
groups:
  - name: a
    rules:
      - record: job:up
        expr: up
      - alert: Good
        expr: up == 0
        labels: {severity: critical}
        annotations: {runbook_url: 'https://runbooks.example.org/good'}
      - alert: NoRunbook
        labels: {severity: page}
      - alert: UnknownWord
        labels: {severity: banana}
        annotations: {runbook_url: x}
      - alert: NoWord
        annotations: {runbook_url: x}
      - alert: Templated
        labels: {severity: '{{ $labels.severity }}'}
        annotations: {runbook_url: x, summary: '${value} of {{ $value }}'}
"""
KNOWN = "critical, high, medium, low and their aliases"
ROUTED = """
route:
  receiver: a
  routes: [{matchers: [alertname="Good"]}]
receivers: [{name: a}]
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "contract.yml").write_text(CONTRACT)
    (tmp_path / "routed.yml").write_text(ROUTED)
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "a.yml").write_text(RULES)
    return tmp_path


def test_the_contracts_example_is_good_without_its_secrets(here: Path) -> None:
    assert check("contract.yml", (), {}) == []


def test_a_configuration_that_does_not_load_is_all_that_is_said(here: Path) -> None:
    (here / "bad.yml").write_text("routes: {}\nreceivers: []\n")
    assert [str(p) for p in check("bad.yml", ["rules/*.yml"], {})] == [
        "bad.yml:1: there is no `route`: it says which receiver takes an alert",
        "bad.yml:1: unknown key `routes`: did you mean `route`?",
    ]


def test_alerts_without_a_runbook_or_a_known_severity_are_named_with_their_line(here: Path) -> None:
    assert [str(p) for p in check("contract.yml", ["rules/*.yml"], {})] == [
        "rules/a.yml:11: NoRunbook: no runbook_url: who is woken by it has nothing to go by",
        "rules/a.yml:13: UnknownWord: unknown severity `banana`: it counts as medium; known are " + KNOWN,
        "rules/a.yml:16: NoWord: no severity label: it counts as medium",
    ]


def test_alerts_that_only_the_root_takes_are_named(here: Path) -> None:
    only_root = [p.what.split(":")[0] for p in check("routed.yml", ["rules/*.yml"], {}) if "no route" in p.what]
    assert only_root == ["NoRunbook", "UnknownWord", "NoWord", "Templated"]


def test_the_operators_rules_are_read_too(here: Path) -> None:
    spec = dedent(RULES).strip().replace("\n", "\n  ")
    (here / "crd.yaml").write_text(f"apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nspec:\n  {spec}\n")
    assert len(check("contract.yml", ["*.yaml"], {})) == 3


@pytest.mark.parametrize(
    ("rule", "text", "problem"),
    [
        (
            "no rules file at all",
            "a: 1\n",
            "x.rules:1: this is no rules file of Prometheus: it has no `groups`",
        ),
        ("no YAML", "a: [\n", "x.rules:2: not valid YAML: "),
        ("a list", "- a\n", "x.rules:1: this is no rules file of Prometheus: it has no `groups`"),
    ],
)
def test_what_is_no_rules_file_is_a_problem(here: Path, rule: str, text: str, problem: str) -> None:
    (here / "x.rules").write_text(text)
    (said,) = check("contract.yml", ["x.rules"], {})
    assert str(said).startswith(problem), rule


def test_a_pattern_that_finds_nothing_is_a_problem(here: Path) -> None:
    (said,) = check("contract.yml", ["nothing/*.yml"], {})
    assert str(said) == "nothing/*.yml:1: there is no such rules file"


def test_the_published_rules_of_kubernetes_all_have_a_known_severity_a_runbook_and_a_route(
    here: Path, corpus: Path
) -> None:
    lines = (corpus / "rules_kube_prometheus.jsonl").read_text().splitlines()
    rules = [json.loads(line) for line in lines]
    (here / "kube.yml").write_text(json.dumps({"groups": [{"name": "kube", "rules": rules}]}))
    assert len(rules) == 139
    assert check("contract.yml", ["kube.yml"], {}) == []
