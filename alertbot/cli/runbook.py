"""`alertbot runbook`: search the runbooks, show one, and say what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from alertbot.cli.base import (
    CouldNot,
    No,
    cli,
    config_option,
    json_option,
    load_config,
    parse_labels,
    print_json,
    table,
)
from alertbot.config.check import Rule, read_rules
from alertbot.config.load import Config
from alertbot.config.problems import Problem
from alertbot.domain.severity import severities_of
from alertbot.enrich.runbooks import Runbook, Runbooks, folder_of, lint, load, runbooks_of
from alertbot.paths import data_dir


@cli.group()
def runbook() -> None:
    """Search the runbooks, show one, or say what is wrong with them.

    They are the Markdown files in `runbooks.path` of the config. Without a config, those that alertbot ships.

    \b
    Example: alertbot runbook search high error rate
    """


@runbook.command("search")
@config_option
@click.option("--limit", type=click.IntRange(1), default=10, show_default=True, help="At most so many.")
@click.argument("words", nargs=-1, required=True)
@json_option
def runbook_search(config_file: Path, limit: int, words: tuple[str, ...], as_json: bool) -> None:
    """The runbooks that have these words, the best first; typos are forgiven. Exits 1 where none has any.

    \b
    Example: alertbot runbook search databse conection
    """
    found = _runbooks(config_file).search(" ".join(words), limit)
    if as_json:
        print_json({"runbooks": [{**_summary(r), "score": round(score, 2)} for r, score in found]})
    elif found:
        table(("NAME", "TITLE", "SEVERITY", "OWNER"), ((r.name, r.title, r.severity, r.owner) for r, _ in found))
    if not found:
        raise No(f"no runbook has anything like {' '.join(words)}")


@runbook.command("show")
@config_option
@click.argument("what", metavar="NAME-OR-ALERT")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE]…")
@json_option
def runbook_show(config_file: Path, what: str, labels: tuple[str, ...], as_json: bool) -> None:
    """One runbook, by its name or title, or by the name of an alert that it is for. Exits 1 where there is none.

    Labels of the alert choose between runbooks that ask for them.

    \b
    Example: alertbot runbook show HighErrorRate environment=prod
    """
    runbooks = _runbooks(config_file)
    given = parse_labels(labels)
    found = runbooks.named(what, given)
    if not found:
        near = [r.name for r, _ in runbooks.search(what, 3)]
        link = runbooks.for_alert({**given, "alertname": what}, {})
        hint = f"; nearest: {', '.join(near)}" if near else ""
        hint += f"; an alert of this name is shown with {link.url}" if link else ""
        raise No(f"no runbook is called {what}, and none is for such an alert{hint}")
    if len(found) > 1:
        raise No(f"{what} may be any of {', '.join(r.name for r in found)}")
    (one,) = found
    if as_json:
        print_json({**_summary(one), "text": one.body})
        return
    facts = [
        ("alerts", "; ".join(n.text for n in one.alerts)),
        ("severity", one.severity),
        ("owner", one.owner),
        *(("dashboard", url) for url in one.dashboards),
        ("file", one.file),
    ]
    click.echo(one.title)
    for name, value in facts:
        if value:
            click.echo(f"  {name + ':':<11}{value}")
    click.echo(f"\n{one.body}")


@runbook.command("lint")
@config_option
@click.option("--rules", "rules", multiple=True, metavar="GLOB", help="Prometheus rule files whose alerts to look up.")
@click.argument("more", nargs=-1, metavar="[MORE RULES]…")
@json_option
def runbook_lint(config_file: Path, rules: tuple[str, ...], more: tuple[str, ...], as_json: bool) -> None:
    """What is wrong with the runbooks: front matter, dead links, and with rule files the alerts that have none.

    Prints one `file:line: what` for each problem, and exits 1 if there is any. An alert whose only runbook is a link
    to elsewhere is a warning: its card has no title and no steps. Of a `runbook_url` below `runbooks.url` that no
    file answers, it is a problem.

    \b
    Example: alertbot runbook lint --config alertbot.yml --rules 'rules/*.yml'
    """
    if more and not rules:
        raise CouldNot(f"{more[0]}: what is this? Rule files come after --rules")
    config = _config(config_file)
    runbooks = _runbooks_of(config)
    policy = config.policy if config else None
    known = severities_of(policy) if policy else None
    names = ", ".join(s.name for s in policy.severities) + " and their aliases" if policy else ""
    problems = lint(runbooks, known.knows if known else lambda word: True, names)
    found, unreadable = read_rules((*rules, *more))
    problems += unreadable
    warnings: list[Problem] = []
    coverage: list[dict[str, Any]] = []
    for rule in found:
        file = runbooks.find({**rule.labels, "alertname": rule.alert}, rule.annotations, of_rule=True)
        url = rule.annotations.get("runbook_url", "")
        if file is None:
            (warnings if url and not runbooks.is_ours(url) else problems).append(_uncovered(rule, url))
        coverage.append(
            {
                "alert": rule.alert,
                "file": rule.file,
                "line": rule.line,
                "runbook": file.name if file else None,
                "runbook_url": url or None,
            }
        )
    said = [str(p) for p in sorted(set(problems))]
    warned = [str(w) for w in sorted(set(warnings))]
    if as_json:
        print_json({"runbooks": len(runbooks.all), "problems": said, "warnings": warned, "coverage": coverage})
    else:
        for line in said:
            click.echo(line)
        for line in warned:
            click.echo(f"warning: {line}", err=True)
        covered = sum(c["runbook"] is not None for c in coverage)
        rate = f"; {covered} of {len(coverage)} alerting rules have one" if rules else ""
        click.echo(f"{len(runbooks.all)} runbooks, {len(said) or 'no'} problems{rate}", err=bool(said))
    if said:
        raise click.exceptions.Exit(1)


def _uncovered(rule: Rule, url: str) -> Problem:
    if url:
        return rule.problem(f"no runbook here is for it; its card has only the link {url}")
    return rule.problem("no runbook is for it, and it has no runbook_url: who is woken by it has nothing to go by")


def _config(config_file: Path) -> Config | None:
    """The config; None where none was asked for and there is none."""
    source = click.get_current_context().get_parameter_source("config_file")
    if source is ParameterSource.DEFAULT and not config_file.exists():
        return None
    return load_config(config_file)


def _runbooks(config_file: Path) -> Runbooks:
    return _runbooks_of(_config(config_file))


def _runbooks_of(config: Config | None) -> Runbooks:
    if config is None:
        try:
            return load(data_dir("runbooks"))
        except OSError as e:
            raise CouldNot(f"no runbooks: {e}; --config names a configuration that has some") from None
    runbooks = runbooks_of(config)
    if not runbooks.all:
        why = next((str(p) for p in runbooks.problems), f"there is no runbook in {folder_of(config)}")
        raise CouldNot(why)
    return runbooks


def _summary(r: Runbook) -> dict[str, Any]:
    return {
        "name": r.name,
        "title": r.title,
        "alerts": [n.text for n in r.alerts],
        "severity": r.severity or None,
        "owner": r.owner or None,
        "dashboards": list(r.dashboards),
        "steps": list(r.steps),
        "file": r.file,
    }
