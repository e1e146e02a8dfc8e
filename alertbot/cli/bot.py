"""The commands that ask a running bot, through its HTTP API."""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import click

from alertbot.cli.base import (
    CouldNot,
    No,
    ago,
    cli,
    config_option,
    json_option,
    parse_labels,
    print_json,
    run,
    say,
    table,
)
from alertbot.client import ApiError, Client
from alertbot.config.load import ConfigErrors, load
from alertbot.config.models import Web

F = TypeVar("F", bound=Callable[..., Any])


class ListByDefault(click.Group):
    """A group that lists where no command of its own is named: `alertbot incidents --status open`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


def asks_the_bot(command: F) -> F:
    """The options of a command that speaks with a running bot."""
    for option in (
        config_option,
        click.option("--url", envvar="ALERTBOT_URL", show_envvar=True, help="The bot; else by the config."),
        click.option("--token", envvar="ALERTBOT_API_TOKEN", show_envvar=True, help="One of its api_tokens."),
        json_option,
    ):
        command = option(command)
    return command


def ask(
    config_file: Path,
    url: str | None,
    token: str | None,
    *calls: tuple[str, str, tuple[tuple[str, str], ...], Mapping[str, Any] | None],
) -> list[dict[str, Any]]:
    """Makes calls one after another, and returns the answers."""
    client = _client(config_file, url, token)

    async def work() -> list[dict[str, Any]]:
        return [await client.call(method, path, query=query, body=body) for method, path, query, body in calls]

    try:
        return run(work())
    except ApiError as e:
        if e.status in (404, 409, 422):
            raise No(str(e)) from None
        raise CouldNot(str(e)) from None


def _client(config_file: Path, url: str | None, token: str | None) -> Client:
    """The bot that is meant: `url`, else where the config says, else where a bot listens by default.

    With a URL a broken config is no reason to fail: the bot goes on with the one it has, and so do we.
    """
    web = Web()
    try:
        web = load(config_file, os.environ, need_secrets=False).settings.web
    except ConfigErrors as e:
        if url is None and config_file.exists():
            raise CouldNot(f"{e.problems[0]} (--url goes without the config)") from None
    if url is None:
        host, _, port = web.listen.rpartition(":")
        url = f"http://{'127.0.0.1' if host.strip('[]') in ('', '0.0.0.0', '::') else host}:{port}/"  # noqa: S104  # compared
    if token is None:
        token = web.api_tokens[0].get_secret_value() if web.api_tokens else ""
    return Client(url.rstrip("/") + "/", token)


def me() -> str:
    """Who runs the command."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a passwd entry
        return "cli"


def quoted(item: str) -> str:
    """An id as a part of a path."""
    return quote(item, safe="")


@cli.command()
@asks_the_bot
@click.argument("what", nargs=-1, required=True, metavar="INCIDENT | DEPLOY | WINDOW | LABEL=VALUE …")
def explain(config_file: Path, url: str | None, token: str | None, as_json: bool, what: tuple[str, ...]) -> None:
    """Why an incident, or the alerts with these labels, were sent, held, or not sent.

    The id of a deploy or of a maintenance window tells what was heard of it, and what ended its hold.

    \b
    Examples: alertbot explain 5kq3v7x2ma
              alertbot explain alertname=HighLatency environment=prod
    """
    if len(what) == 1 and "=" not in what[0]:
        path = f"api/v1/incidents/{quoted(what[0])}"
        incident: dict[str, Any] | None = None
        with suppress(No):  # a window, or nothing: that is for the timeline to say
            (incident,) = ask(config_file, url, token, ("GET", path, (), None))
        entries: list[Mapping[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            query = (("limit", "500"), *((("cursor", cursor),) if cursor else ()))
            (page,) = ask(config_file, url, token, ("GET", f"{path}/timeline", query, None))
            entries += page["entries"]
            cursor = page["next"]
        if as_json:
            print_json({"incident": incident, "entries": entries})
            return
        if incident is not None:
            click.echo(f"{incident['title']}: {incident['status']}, {incident['severity']}")
        _entries(entries)
        return
    query = tuple(("label", f"{k}={v}") for k, v in parse_labels(what).items())
    (answer,) = ask(config_file, url, token, ("GET", "api/v1/explain", query, None))
    if as_json:
        print_json(answer)
    for found in () if as_json else answer["alerts"]:
        alert = found["alert"]
        labels = " ".join(f"{k}={v}" for k, v in sorted(alert["labels"].items()))
        click.echo(f"{labels}: {alert['status']}, incident {found['incident'] or 'none'}")
        _entries(found["entries"])
    if not answer["alerts"]:
        raise No("no alert with these labels was heard of")


def _entries(entries: Iterable[Mapping[str, Any]]) -> None:
    for entry in entries:
        click.echo(f"  {seconds(entry['at'])}  {entry['text']}  [{entry['reason']}]")


def seconds(time: str | None) -> str:
    """A time for people: without its fraction."""
    return re.sub(r"\.\d+", "", time or "")


@cli.group(cls=ListByDefault)
def incidents() -> None:
    """What is going on: list, show, ack, resolve, silence, unsilence.

    \b
    Example: alertbot incidents list --status open
    """


@incidents.command("list")
@asks_the_bot
@click.option("--status", default="", help="pending, held, open, acknowledged, resolved; several with commas.")
@click.option("--severity", default="", help="One severity.")
@click.option("--since", default="", help="How far back, as 24h.")
def incidents_list(
    config_file: Path,
    url: str | None,
    token: str | None,
    as_json: bool,
    status: str,
    severity: str,
    since: str,
) -> None:
    """Incidents, the newest first.

    \b
    Example: alertbot incidents list --status open,acknowledged --severity critical
    """
    start = ago(since).isoformat().replace("+00:00", "Z") if since else ""
    query = tuple((k, v) for k, v in (("status", status), ("severity", severity), ("since", start)) if v)
    (answer,) = ask(config_file, url, token, ("GET", "api/v1/incidents", query, None))
    if as_json:
        print_json(answer)
        return
    table(
        ("id", "status", "severity", "opened", "alerts", "title"),
        (
            (
                i["id"],
                i["status"] + (", flapping" if i["flapping"] else ""),
                i["severity"],
                seconds(i["opened_at"]),
                i["counts"]["firing"] + i["counts"]["held"],
                i["title"],
            )
            for i in answer["incidents"]
        ),
    )
    if answer["next"]:
        say("there are more: narrow it down with --status, --severity or --since")


@incidents.command("show")
@asks_the_bot
@click.argument("incident")
def incidents_show(config_file: Path, url: str | None, token: str | None, as_json: bool, incident: str) -> None:
    """One incident: its alerts and its deliveries.

    \b
    Example: alertbot incidents show 5kq3v7x2ma
    """
    (found,) = ask(config_file, url, token, ("GET", f"api/v1/incidents/{incident}", (), None))
    if as_json:
        print_json(found)
        return
    click.echo(f"{found['title']}: {found['status']}, {found['severity']}  {found['url']}")
    if found["acknowledged_by"]:
        click.echo(f"acknowledged by {found['acknowledged_by']} at {found['acknowledged_at']}")
    table(
        ("alert", "status", "since", "labels"),
        (
            (
                a["fingerprint"],
                a["status"],
                a["starts_at"],
                " ".join(f"{k}={v}" for k, v in a["labels"].items()),
            )
            for a in found["alerts"]
        ),
    )
    table(
        ("receiver", "integration", "to", "status", "attempts", "last error"),
        (
            [d[k] for k in ("receiver", "integration", "to", "status", "attempts", "last_error")]
            for d in found["deliveries"]
        ),
    )


def _act(what: str, wanted: str) -> Callable[..., None]:
    def act(config_file: Path, url: str | None, token: str | None, as_json: bool, by: str, incident: str) -> None:
        path = f"api/v1/incidents/{incident}/{what}"
        (found,) = ask(config_file, url, token, ("POST", path, (), {"by": by}))
        if as_json:
            print_json(found)
        elif found["status"] == wanted:
            by_whom = found["acknowledged_by"] if wanted == "acknowledged" else ""
            click.echo(f"{found['id']} is {wanted}" + (f" by {by_whom}" if by_whom else ""))
        if found["status"] != wanted:
            raise No(f"{found['id']} is {found['status']}: there is nothing to {what}")

    return act


for _name, _what, _wanted, _help in (
    ("ack", "acknowledge", "acknowledged", "Take an incident."),
    (
        "resolve",
        "resolve",
        "resolved",
        "Say that an incident is over. If it still fires after repeat_interval, it opens again.",
    ),
):
    incidents.command(_name, help=f"{_help}\n\n\b\nExample: alertbot incidents {_name} 5kq3v7x2ma")(
        asks_the_bot(
            click.option("--by", default=me, help="Who acts.", show_default="you")(
                click.argument("incident")(_act(_what, _wanted))
            )
        )
    )


@incidents.command("silence")
@asks_the_bot
@click.option("--for", "duration", default="", help="How long, as 1h; without it, until the alerts resolve.")
@click.option("--comment", default="", help="Why: it shows in Alertmanager too.")
@click.option("--by", default=me, help="Who acts.", show_default="you")
@click.argument("incident")
def incidents_silence(
    config_file: Path,
    url: str | None,
    token: str | None,
    as_json: bool,
    duration: str,
    comment: str,
    by: str,
    incident: str,
) -> None:
    """Silence exactly the alerts of an incident that fire now. What joins it later is told.

    \b
    Example: alertbot incidents silence 5kq3v7x2ma --for 1h --comment "the disk is being replaced"
    """
    path = f"api/v1/incidents/{quoted(incident)}/silence"
    (found,) = ask(config_file, url, token, ("POST", path, (), {"by": by, "duration": duration, "comment": comment}))
    ours = [s for s in found["silences"] if s["via"] == "alertbot"]
    if as_json:
        print_json(found)
    for silence in () if as_json else ours:
        until = f"until {seconds(silence['until'])}" if silence["until"] else "until they resolve"
        click.echo(f"{len(silence['alerts'])} of {found['counts']['firing']} alerts are silenced {until}")
        if silence["problem"]:
            say(f"muted here only: {silence['problem']}")
    if not ours:
        raise No(f"{found['id']} is {found['status']}: there is nothing to silence")


@incidents.command("unsilence")
@asks_the_bot
@click.argument("incident")
def incidents_unsilence(config_file: Path, url: str | None, token: str | None, as_json: bool, incident: str) -> None:
    """End the silence that was made through alertbot. What still fires is told anew.

    \b
    Example: alertbot incidents unsilence 5kq3v7x2ma
    """
    (found,) = ask(config_file, url, token, ("DELETE", f"api/v1/incidents/{quoted(incident)}/silence", (), None))
    print_json(found) if as_json else click.echo(
        f"{found['id']} is {found['status']}, and silenced no more by alertbot"
    )


@cli.group(cls=ListByDefault)
def parked() -> None:
    """What could not be read or delivered: list, show, retry, drop.

    \b
    Example: alertbot parked retry a17-0
    """


@parked.command("list")
@asks_the_bot
def parked_list(
    config_file: Path,
    url: str | None,
    token: str | None,
    as_json: bool,
) -> None:
    """All of it, the newest first.

    \b
    Example: alertbot parked list --json
    """
    (answer,) = ask(config_file, url, token, ("GET", "api/v1/parked", (), None))
    if as_json:
        print_json(answer)
        return
    table(
        ("id", "at", "kind", "where", "error"),
        ([p[k] for k in ("id", "at", "kind", "where", "error")] for p in answer["parked"]),
    )


@parked.command("show")
@asks_the_bot
@click.argument("item")
def parked_show(config_file: Path, url: str | None, token: str | None, as_json: bool, item: str) -> None:
    """One of them, with what came in.

    \b
    Example: alertbot parked show a17-0
    """
    (found,) = ask(config_file, url, token, ("GET", f"api/v1/parked/{quoted(item)}", (), None))
    if as_json:
        print_json(found)
        return
    for key in ("id", "at", "kind", "ref", "where", "error", "raw"):
        click.echo(f"{key}: {found[key]}")


@parked.command("retry")
@asks_the_bot
@click.argument("item")
def parked_retry(config_file: Path, url: str | None, token: str | None, as_json: bool, item: str) -> None:
    """Try it again.

    \b
    Example: alertbot parked retry a17-0
    """
    (answer,) = ask(config_file, url, token, ("POST", f"api/v1/parked/{quoted(item)}/retry", (), {}))
    print_json(answer) if as_json else click.echo(f"{item} is tried again")


@parked.command("drop")
@asks_the_bot
@click.argument("item")
def parked_drop(config_file: Path, url: str | None, token: str | None, as_json: bool, item: str) -> None:
    """Forget it.

    \b
    Example: alertbot parked drop a17-0
    """
    (answer,) = ask(config_file, url, token, ("DELETE", f"api/v1/parked/{quoted(item)}", (), None))
    print_json(answer) if as_json else click.echo(f"{item} is forgotten")


@cli.command("test")
@asks_the_bot
@click.option("--wait", default=30.0, show_default=True, help="Seconds to wait for the destinations.")
@click.argument("receiver")
def test_receiver(
    config_file: Path, url: str | None, token: str | None, as_json: bool, wait: float, receiver: str
) -> None:
    """Send one marked test incident through a receiver, say how it went, and take it back.

    Exits 1 if a destination did not take it; one that runs dry counts as taken, and is named.

    \b
    Example: alertbot test critical
    """
    (made,) = ask(config_file, url, token, ("POST", f"api/v1/receivers/{quoted(receiver)}/test", (), {"by": me()}))
    incident = made["incident"]["id"]
    deadline = time.monotonic() + wait
    while True:
        (found,) = ask(config_file, url, token, ("GET", f"api/v1/incidents/{incident}", (), None))
        waiting = [d for d in found["deliveries"] if d["status"] in ("pending", "retrying")]
        if not waiting or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    ask(config_file, url, token, ("POST", f"api/v1/incidents/{incident}/resolve", (), {"by": me()}))
    bad = [d for d in found["deliveries"] if d["status"] not in ("sent", "dry_run")]
    if as_json:
        print_json({"incident": incident, "deliveries": found["deliveries"]})
    else:
        table(
            ("integration", "to", "status", "last error"),
            ([d[k] for k in ("integration", "to", "status", "last_error")] for d in found["deliveries"]),
        )
    if bad:
        raise No(f"{len(bad)} of {len(found['deliveries'])} destinations did not take it")
