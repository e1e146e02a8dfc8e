"""`alertbot check`: what is wrong with a config."""

from __future__ import annotations

import os
from pathlib import Path

import click

from alertbot.cli.base import CouldNot, cli, config_option, json_option, print_json
from alertbot.config.check import check as check_config
from alertbot.config.load import ConfigErrors, load
from alertbot.render import check_templates


@cli.command()
@config_option
@click.option("--rules", "rules", multiple=True, metavar="GLOB", help="Prometheus rule files to check too.")
@click.argument("more", nargs=-1, metavar="[MORE RULES]…")
@json_option
def check(config_file: Path, rules: tuple[str, ...], more: tuple[str, ...], as_json: bool) -> None:
    """Check the config and the templates; with rule files, also what becomes of their alerts.

    Prints one `file:line: what` for each problem, and exits 1 if there is any. Warnings do not count.

    \b
    Example: alertbot check --config alertbot.yml --rules 'rules/*.yml'
    """
    problems = [str(p) for p in check_config(config_file, (*rules, *more))]
    problems += check_templates()
    if more and not rules:
        raise CouldNot(f"{more[0]}: what is this? Rule files come after --rules")
    warnings: list[str] = []
    try:
        config = load(config_file, os.environ, need_secrets=False)
        warnings = [str(w) for w in (*config.warnings, *config.not_in_effect)]
    except ConfigErrors:
        pass  # its problems are among those above
    if as_json:
        print_json({"problems": problems, "warnings": warnings})
    else:
        for line in problems:
            click.echo(line)
        for line in warnings:
            click.echo(f"warning: {line}", err=True)
        if not problems:
            click.echo(f"{config_file}: good")
    if problems:
        raise click.exceptions.Exit(1)
