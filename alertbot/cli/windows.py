"""`alertbot deploy` and `alertbot maintenance`: what explains alerts, told by a pipeline or a person."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from alertbot.cli.base import CouldNot, cli, parse_labels, print_json, say, table
from alertbot.cli.bot import ListByDefault, ask, asks_the_bot, me, quoted, seconds


@cli.group()
def deploy() -> None:
    """Tell of a deploy, from a pipeline: start, finish, fail.

    \b
    Example: ID=$(alertbot deploy start --service api --environment prod --version a1b2c3)
             alertbot deploy finish --id "$ID"
    """


def _report(status: str) -> Callable[..., None]:
    def report(
        config_file: Path, url: str | None, token: str | None, as_json: bool, labels: tuple[str, ...], **said: str
    ) -> None:
        # `--url` is where the bot is, as for every command.
        said["url"] = said.pop("link")
        fields: dict[str, Any] = {name: value for name, value in said.items() if value}
        if not fields.get("service") and (status == "started" or not fields.get("id")):
            raise CouldNot("--service is missing" + ("" if status == "started" else " (or --id, which start printed)"))
        fields |= {"status": status, "labels": parse_labels(labels)}
        fields["at"] = datetime.now(UTC).isoformat()
        (found,) = ask(config_file, url, token, ("POST", "api/v1/deploys", (), fields))
        if as_json:
            print_json(found)
        elif status == "started":
            click.echo(found["id"])
        else:
            click.echo(f"{found['id']}: {found['service']} {found['version']} {found['status']}")

    return report


_WHAT = (
    ("service", "What is deployed."),
    ("environment", "Where to."),
    ("version", "Which version."),
    ("id", "The deploy's id: as `start` printed it, or one of your own."),
    ("author", "Who deploys."),
    ("commit", "The commit."),
    ("link", "Where to look at it: the pipeline's run."),
    ("diff_url", "Where to see what changed."),
    ("rollback", "The command or link that takes it back."),
    ("title", "What it is, in a line."),
)
for _name, _status, _help in (
    ("start", "started", "A deploy begins. Prints its id, for finish and fail."),
    ("finish", "succeeded", "A deploy succeeded: it counts as going on for `deploys.settle` more."),
    ("fail", "failed", "A deploy failed: what it held is released at once."),
):
    _command: Callable[..., Any] = click.argument("labels", nargs=-1, metavar="[LABEL=VALUE …]")(_report(_status))
    for _option, _about in reversed(_WHAT):
        _command = click.option(f"--{_option.replace('_', '-')}", _option, default="", help=_about)(_command)
    _text = f"{_help}\n\n\b\nExample: alertbot deploy {_name} --service api --environment prod --version a1b2c3"
    deploy.command(_name, help=_text)(asks_the_bot(_command))


@cli.group(cls=ListByDefault)
def maintenance() -> None:
    """Maintenance windows: start, extend, end, list. Each has an end.

    \b
    Example: alertbot maintenance start --alertname DatabaseMaintenance --for 2h --reason "new disks"
    """


@maintenance.command("start")
@asks_the_bot
@click.option("--alertname", default="", help="What inhibit rules know it by; Maintenance without it.")
@click.option("--for", "duration", required=True, help="How long, as 2h.")
@click.option("--reason", default="", help="What for.")
@click.option("--by", default=me, help="Who opens it.", show_default="you")
@click.argument("labels", nargs=-1, metavar="[LABEL=VALUE …]")
def maintenance_start(
    config_file: Path,
    url: str | None,
    token: str | None,
    as_json: bool,
    alertname: str,
    duration: str,
    reason: str,
    by: str,
    labels: tuple[str, ...],
) -> None:
    """Open a window. Prints its id, for extend and end.

    \b
    Example: alertbot maintenance start --alertname DatabaseMaintenance service=orders --for 2h --reason "new disks"
    """
    fields = {"alertname": alertname, "labels": parse_labels(labels), "duration": duration, "reason": reason, "by": by}
    (found,) = ask(config_file, url, token, ("POST", "api/v1/maintenance", (), fields))
    if found["warning"]:
        say(f"warning: {found['warning']}")
    print_json(found) if as_json else click.echo(found["id"])


@maintenance.command("extend")
@asks_the_bot
@click.option("--for", "duration", required=True, help="How much longer, as 30m.")
@click.option("--by", default=me, help="Who extends it.", show_default="you")
@click.argument("window")
def maintenance_extend(
    config_file: Path, url: str | None, token: str | None, as_json: bool, duration: str, by: str, window: str
) -> None:
    """Make a window longer than it is.

    \b
    Example: alertbot maintenance extend 9f3c21ab07 --for 30m
    """
    fields = {"action": "extend", "id": window, "duration": duration, "by": by}
    (found,) = ask(config_file, url, token, ("POST", "api/v1/maintenance", (), fields))
    print_json(found) if as_json else click.echo(f"{found['id']} ends at {seconds(found['ends_at'])}")


@maintenance.command("end")
@asks_the_bot
@click.argument("window")
def maintenance_end(config_file: Path, url: str | None, token: str | None, as_json: bool, window: str) -> None:
    """End a window now: what it held and still fires is released, with a verdict.

    \b
    Example: alertbot maintenance end 9f3c21ab07
    """
    (found,) = ask(config_file, url, token, ("DELETE", f"api/v1/maintenance/{quoted(window)}", (), None))
    print_json(found) if as_json else click.echo(f"{found['id']} is ended")


@maintenance.command("list")
@asks_the_bot
@click.option("--since", default="", help="Also those that ended since, as 24h.")
def maintenance_list(config_file: Path, url: str | None, token: str | None, as_json: bool, since: str) -> None:
    """Windows that are open, the latest start first.

    \b
    Example: alertbot maintenance list --since 24h
    """
    query = (("since", since),) if since else ()
    (answer,) = ask(config_file, url, token, ("GET", "api/v1/maintenance", query, None))
    if as_json:
        print_json(answer)
        return
    rows = (
        (w["id"], w["status"], seconds(w["starts_at"]), seconds(w["ends_at"]), w["by"], w["reason"],
         " ".join(f"{k}={v}" for k, v in w["labels"].items()))
        for w in answer["maintenance"]
    )  # fmt: skip
    table(("id", "status", "from", "to", "by", "reason", "labels"), rows)
