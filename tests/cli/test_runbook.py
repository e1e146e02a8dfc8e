"""`alertbot runbook` and `alertbot check --rules`, as their users call them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alertbot.paths import data_dir
from tests.cli.test_cli import alertbot

RUNBOOK = """---
title: Database down
alerts: [DatabaseDown, 'Postgres*', 'alertname="Slow", team="db"']
severity: critical
owner: data
dashboards: [https://grafana.example.org/d/db]
---

# Database down

## First five minutes

1. Look: `psql -c 'select 1'`.
2. See [the other](Other.md).
"""
OTHER = RUNBOOK.replace("Database down", "Other").replace("[DatabaseDown", "[Other").replace("'Postgres*', ", "")
RULES = """
groups:
  - name: a
    rules:
      - {alert: databasedown, labels: {severity: page, team: db}}
      - {alert: Slow, labels: {severity: page, team: db}}
      - {alert: PostgresSlow, labels: {severity: banana, team: db}}
      - {alert: Linked, labels: {severity: page, team: db}, annotations: {runbook_url: 'https://wiki.example.org/l'}}
      - {alert: Nothing, labels: {severity: page}}
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "books").mkdir()
    (tmp_path / "books" / "DatabaseDown.md").write_text(RUNBOOK)
    (tmp_path / "books" / "Other.md").write_text(OTHER.replace('"Slow"', '"Slower"'))
    (tmp_path / "rules.yml").write_text(RULES)
    path = tmp_path / "alertbot.yml"
    path.write_text(
        "route: {receiver: log, routes: [{matchers: [team=db], receiver: log}]}\n"
        "receivers: [{name: log}]\n"
        "runbooks: {path: books, url: 'https://runbooks.example.org/{{ slug }}'}\n"
    )
    return path


def test_search_prints_the_best_first(config: Path) -> None:
    done = alertbot("runbook", "search", "--config", config, "databse", "dwon")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[1].split() == ["DatabaseDown", "Database", "down", "critical", "data"]


def test_search_prints_json(config: Path) -> None:
    (found,) = json.loads(alertbot("runbook", "search", "--config", config, "--json", "postgres").stdout)["runbooks"]
    assert found.pop("score") > 0
    assert found == {
        "name": "DatabaseDown",
        "title": "Database down",
        "alerts": ["DatabaseDown", "Postgres*", 'alertname="Slow", team="db"'],
        "severity": "critical",
        "owner": "data",
        "dashboards": ["https://grafana.example.org/d/db"],
        "steps": ["Look: `psql -c 'select 1'`.", "See the other."],
        "file": str(config.parent / "books" / "DatabaseDown.md"),
    }


def test_search_without_a_hit_exits_1(config: Path) -> None:
    done = alertbot("runbook", "search", "--config", config, "zzzzqqqq")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "alertbot: no runbook has anything like zzzzqqqq\n"
    done = alertbot("runbook", "search", "--config", config, "--json", "zzzzqqqq")
    assert (done.returncode, json.loads(done.stdout)) == (1, {"runbooks": []})


@pytest.mark.parametrize(
    "what",
    [["DatabaseDown"], ["database-down"], ["databasedown.md"], ["postgresfull"], ["Slow", "team=db"], ["slow"]],
)
def test_show_takes_a_name_a_title_or_an_alert(config: Path, what: list[str]) -> None:
    done = alertbot("runbook", "show", "--config", config, *what)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Database down\n  alerts:    DatabaseDown; Postgres*; ")
    assert done.stdout.endswith("2. See [the other](Other.md).\n")


@pytest.mark.parametrize("what", ["../alertbot.yml", "../alertbot", "/etc/passwd", "books/DatabaseDown/../../x"])
def test_show_reads_no_file_by_a_name(config: Path, what: str) -> None:
    done = alertbot("runbook", "show", "--config", config, what)
    assert (done.returncode, done.stdout) == (1, "")
    assert len(done.stderr.splitlines()) == 1


def test_show_says_what_is_nearest_and_where_an_alert_would_be_linked(config: Path) -> None:
    done = alertbot("runbook", "show", "--config", config, "DatabaseBroken")
    assert done.returncode == 1
    assert "nearest: DatabaseDown" in done.stderr
    assert "https://runbooks.example.org/database-broken" in done.stderr


def test_lint_says_which_alerts_have_no_runbook(config: Path) -> None:
    rules = config.parent / "rules.yml"
    done = alertbot("runbook", "lint", "--config", config, "--rules", rules)
    assert done.returncode == 1
    assert done.stdout == (
        f"{rules}:9: Nothing: no runbook is for it, and it has no runbook_url: "
        "who is woken by it has nothing to go by\n"
    )
    assert done.stderr == (
        f"warning: {rules}:8: Linked: no runbook here is for it; its card has only the link https://wiki.example.org/l\n"
        "2 runbooks, 1 problems; 3 of 5 alerting rules have one\n"
    )


def test_lint_takes_a_link_below_our_own_address_that_no_file_answers_for_dead(config: Path) -> None:
    rules = config.parent / "rules.yml"
    rules.write_text(RULES.replace("wiki.example.org", "runbooks.example.org").replace("{alert: Nothing", "{record: x"))
    done = alertbot("runbook", "lint", "--config", config, "--json", "--rules", rules)
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["warnings"]) == (1, [])
    assert [p.partition(": ")[2].partition(":")[0] for p in answer["problems"]] == ["Linked"]
    assert [c["runbook"] for c in answer["coverage"]] == ["DatabaseDown", "DatabaseDown", "DatabaseDown", None]


def test_lint_of_a_good_folder_exits_0(config: Path) -> None:
    done = alertbot("runbook", "lint", "--config", config)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2 runbooks, no problems\n", "")


def test_lint_names_dead_links_and_mistakes_with_file_and_line(config: Path) -> None:
    (config.parent / "books" / "Other.md").write_text(OTHER.replace("Other.md", "Gone.md").replace("critical", "loud"))
    done = alertbot("runbook", "lint", "--config", config)
    other = config.parent / "books" / "Other.md"
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f'{other}:3: `alertname="Slow", team="db"` has a runbook already: {other.with_name("DatabaseDown.md")}',
        f"{other}:4: unknown severity `loud`: known are critical, high, medium, low and their aliases",
        f"{other}:14: a dead link: there is no `Gone.md` here",
    ]


@pytest.mark.parametrize(
    ("rule", "args"),
    [
        ("no such folder", ["search", "x"]),
        ("no such folder", ["lint"]),
        ("a pattern that finds no file is a problem of lint; a stray word is usage", ["lint", "stray.yml"]),
        ("no words", ["search"]),
        ("no name", ["show"]),
    ],
)
def test_what_cannot_run_exits_2_with_one_line(config: Path, rule: str, args: list[str]) -> None:
    config.write_text(config.read_text().replace("path: books", "path: nope"))
    done = alertbot("runbook", args[0], "--config", config, *args[1:])
    assert (done.returncode, done.stdout) == (2, ""), rule
    assert done.stderr.startswith("alertbot: ")
    assert len(done.stderr.splitlines()) == 1


def test_the_shipped_runbooks_are_good_for_the_shipped_config() -> None:
    done = alertbot("runbook", "lint", "--config", data_dir("runbooks").parent / "alertbot.example.yml")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


# alertbot check --rules.


def test_check_counts_a_file_as_a_runbook(config: Path) -> None:
    rules = config.parent / "rules.yml"
    done = alertbot("check", "--config", config, "--rules", rules)
    known, nothing = "critical, high, medium, low", "who is woken by it has nothing to go by"
    assert done.returncode == 1
    assert done.stdout.splitlines() == [
        f"{rules}:7: PostgresSlow: unknown severity `banana`: it counts as medium; known are {known} and their aliases",
        f"{rules}:9: Nothing: no route but the root takes it, by the labels that the rule itself sets",
        f"{rules}:9: Nothing: no runbook_url, and no file in runbooks.path is for it: {nothing}",
    ]


def test_check_refuses_a_pattern_that_makes_no_address(config: Path) -> None:
    config.write_text(config.read_text().replace("{{ slug }}", "{{ slugg }}"))
    done = alertbot("check", "--config", config)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{config}:3: runbooks.url: not a template of an address: 'slugg' is undefined")


def test_check_warns_of_runbooks_that_cannot_be_read(config: Path) -> None:
    (config.parent / "books" / "Other.md").write_text("---\ntitle: [\n---\n")
    done = alertbot("check", "--config", config)
    assert done.returncode == 0
    assert f"warning: {config.parent / 'books' / 'Other.md'}:" in done.stderr


def test_check_says_so_where_no_published_rule_has_a_runbook_but_its_link(config: Path, corpus: Path) -> None:
    lines = (corpus / "rules_kube_prometheus.jsonl").read_text().splitlines()
    rules = [{**json.loads(line), "annotations": {}} for line in lines]
    (config.parent / "kube.yml").write_text(json.dumps({"groups": [{"name": "kube", "rules": rules}]}))
    config.write_text(config.read_text().replace("path: books", f"path: {corpus / 'runbooks'}"))
    done = alertbot("check", "--config", config, "--rules", config.parent / "kube.yml")
    without = {line.split(": ")[1] for line in done.stdout.splitlines() if "no file in runbooks.path" in line}
    assert len(without) == 26, "names; one of them is of two rules"
    assert {"NodeSystemSaturation", "KubeNodeEviction"} <= without
    assert "KubePodCrashLooping" not in without
