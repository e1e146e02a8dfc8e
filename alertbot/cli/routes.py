"""`alertbot routes`: the tree, and what becomes of a label set."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from alertbot.cli.base import CouldNot, cli, config_option, json_option, load_config, parse_labels, print_json, say
from alertbot.domain.durations import format_duration
from alertbot.domain.routing import Route, match
from alertbot.domain.severity import severities_of


@cli.group()
def routes() -> None:
    """Show the route tree, or what becomes of a label set.

    \b
    Example: alertbot routes test alertname=HighLatency severity=critical
    """


@routes.command("show")
@config_option
@json_option
def routes_show(config_file: Path, as_json: bool) -> None:
    """The tree, with what each node inherits.

    \b
    Example: alertbot routes show
    """
    root = load_config(config_file).policy.route
    if as_json:
        print_json(_route_json(root))
        return
    for depth, route in _with_depth(root, 0):
        matchers = ",".join(str(m) for m in route.matchers)
        name = f"{{{matchers}}}" if depth else "default-route"
        cont = "  continue: true" if route.continue_ else ""
        times = " ".join(format_duration(t) for t in (route.group_wait, route.group_interval, route.repeat_interval))
        click.echo(f"{'    ' * depth}{name}{cont}  receiver: {route.receiver}  wait, interval, repeat: {times}")


def _with_depth(route: Route, depth: int) -> Iterable[tuple[int, Route]]:
    yield depth, route
    for child in route.routes:
        yield from _with_depth(child, depth + 1)


def _route_json(route: Route) -> dict[str, Any]:
    return {
        "key": route.key,
        "receiver": route.receiver,
        "matchers": [str(m) for m in route.matchers],
        "continue": route.continue_,
        "group_by": ["..."] if route.group_by is None else list(route.group_by),
        "group_wait": format_duration(route.group_wait),
        "group_interval": format_duration(route.group_interval),
        "repeat_interval": format_duration(route.repeat_interval),
        "reopen_within": format_duration(route.reopen_within),
        "mute_time_intervals": list(route.mute_time_intervals),
        "active_time_intervals": list(route.active_time_intervals),
        "routes": [_route_json(r) for r in route.routes],
    }


@routes.command("test")
@config_option
@click.option("--jsonl", is_flag=True, help="Read label sets from stdin, a JSON object a line; answer each.")
@click.option(
    "--verify.receivers",
    "verify",
    metavar="A,B",
    help="Exit 1 if the receivers are not these, in this order.",
)
@json_option
@click.argument("labels", nargs=-1, metavar="LABEL=VALUE …")
def routes_test(config_file: Path, jsonl: bool, verify: str | None, as_json: bool, labels: tuple[str, ...]) -> None:
    """The receivers that take a label set, in order, with commas between them.

    \b
    Example: alertbot routes test --verify.receivers=critical severity=critical team=payments
    """
    config = load_config(config_file)
    different = False
    for given in _label_sets(labels, jsonl):
        seen = severities_of(config.policy).with_severity(given)
        found = [r.receiver for r in match(config.policy.route, seen)]
        receivers = ",".join(found)
        print_json({"receivers": found}) if as_json else click.echo(receivers)
        if verify is not None and receivers != verify:
            different = True
            say(f"expected {verify}, got {receivers}")
    if different:
        raise click.exceptions.Exit(1)


def _label_sets(labels: tuple[str, ...], jsonl: bool) -> Iterable[dict[str, str]]:
    if not jsonl:
        yield parse_labels(labels)
        return
    for n, line in enumerate(sys.stdin, 1):
        if not line.strip():
            continue
        try:
            given = json.loads(line)
        except ValueError:
            raise CouldNot(f"stdin:{n}: this is not JSON") from None
        if not isinstance(given, dict) or not all(isinstance(v, str) for v in given.values()):
            raise CouldNot(f"stdin:{n}: a label set is an object of texts")
        yield given
