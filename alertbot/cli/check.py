"""`alertbot check`: what is wrong with a config."""

from __future__ import annotations

import os
from pathlib import Path

import click

from alertbot.cli.base import CouldNot, cli, config_option, json_option, print_json, run
from alertbot.commands.online import check_online
from alertbot.config.check import Rule, check_rules
from alertbot.config.load import ConfigErrors, load
from alertbot.enrich.runbooks import runbooks_of, url_problem
from alertbot.render import check_templates


@cli.command()
@config_option
@click.option("--rules", "rules", multiple=True, metavar="GLOB", help="Prometheus rule files to check too.")
@click.option("--online", is_flag=True, help="Ask Slack, PagerDuty and Redis too. Nothing is posted or written.")
@click.argument("more", nargs=-1, metavar="[MORE RULES]…")
@json_option
def check(config_file: Path, rules: tuple[str, ...], online: bool, more: tuple[str, ...], as_json: bool) -> None:
    """Check the config and the templates; with rule files, also what becomes of their alerts.

    Prints one `file:line: what` for each problem, and exits 1 if there is any. Warnings do not count. Of an alert
    it asks: is there a runbook_url, or a file in runbooks.path that is for it? is its severity known? does a route
    take it, or the root only? With --online also: which scope, channel or token is missing? Does Redis answer,
    and do its settings keep what it is given?

    \b
    Example: alertbot check --config alertbot.yml --rules 'rules/*.yml'
    """
    if more and not rules:
        raise CouldNot(f"{more[0]}: what is this? Rule files come after --rules")
    problems: list[str] = []
    warnings: list[str] = []
    notes: list[str] = []
    try:
        config = load(config_file, os.environ, need_secrets=False)
    except ConfigErrors as error:
        problems += map(str, error.problems)
    else:
        warnings += map(str, (*config.warnings, *config.not_in_effect))
        runbooks = runbooks_of(config)
        bad_url = url_problem(config)
        problems += [str(bad_url)] if bad_url else []
        warnings += [str(p) for p in runbooks.problems if p != bad_url]

        def has_runbook(rule: Rule) -> bool:
            return runbooks.find({**rule.labels, "alertname": rule.alert}, rule.annotations, of_rule=True) is not None

        problems += map(str, check_rules(config.policy, (*rules, *more), has_runbook))
        if online:
            asked = run(check_online(config))
            problems += map(str, asked.problems)
            notes += asked.notes
    problems += check_templates()
    if as_json:
        print_json({"problems": problems, "warnings": warnings, **({"online": notes} if online else {})})
    else:
        for line in problems:
            click.echo(line)
        for line in warnings:
            click.echo(f"warning: {line}", err=True)
        for line in notes:
            click.echo(line, err=True)
        if not problems:
            click.echo(f"{config_file}: good")
    if problems:
        raise click.exceptions.Exit(1)
