"""argv → a command. Errors are one line on stderr; exit codes: 0, 1 (the answer is no), 2 (usage, or it could not
run).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NoReturn, TypeVar

import click
from rich.console import Console
from rich.table import Table

import alertbot
from alertbot.client import ApiError, Client
from alertbot.config.check import check as check_config
from alertbot.config.load import Config, ConfigErrors, load
from alertbot.domain.durations import DurationError, parse_duration
from alertbot.domain.events import RawEvent, Unreadable
from alertbot.domain.matchers import MatcherError, parse_matcher
from alertbot.domain.routing import Route, match
from alertbot.domain.severity import severities_of
from alertbot.replay import Line, Replay, difference
from alertbot.sources import SOURCES
from alertbot.store import open_store
from alertbot.store.base import StoreError

T = TypeVar("T")

#: Sources that a record may hold and that do nothing in this version.
NOT_YET: Final = frozenset({"deploy", "maintenance"})


class No(click.ClickException):
    """The answer is no."""

    exit_code = 1


class CouldNot(click.ClickException):
    """It could not run."""

    exit_code = 2


def main() -> NoReturn:
    """The program. Every error is one line on stderr."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        _say("interrupted")
        sys.exit(2)
    except click.exceptions.Exit as e:
        sys.exit(e.exit_code)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as e:
        _say(e.format_message())
        sys.exit(e.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(0)


def _say(line: str) -> None:
    click.echo("alertbot: " + " ".join(line.split()), err=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(alertbot.__version__, prog_name="alertbot")
def cli() -> None:
    """Routes Alertmanager's alerts to people, once, with the reason.

    \b
    Example: alertbot serve --config alertbot.yml
    """


config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    default=Path("alertbot.yml"),
    envvar="ALERTBOT_CONFIG",
    show_default=True,
    show_envvar=True,
    help="The configuration.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def _load(file: Path) -> Config:
    """A config for a command that sends nothing: a secret's file need not be there."""
    try:
        return load(file, os.environ, need_secrets=False)
    except ConfigErrors as e:
        first, *more = e.problems
        rest = f" (and {len(more)} more: see alertbot check)" if more else ""
        raise CouldNot(f"{first}{rest}") from None


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except StoreError as e:
        raise CouldNot(str(e)) from None


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, ensure_ascii=False))


# serve


@cli.command()
@config_option
@click.option("--insecure", is_flag=True, help="Serve without tokens on an address that others can reach.")
@click.option("--log-level", default="INFO", show_default=True, help="DEBUG, INFO, WARNING or ERROR.")
def serve(config_file: Path, insecure: bool, log_level: str) -> None:
    """Run the bot until it is told to stop. SIGHUP reloads the config.

    \b
    Example: alertbot serve --config /etc/alertbot/alertbot.yml
    """
    import uvloop

    from alertbot.app import App, Refused
    from alertbot.telemetry import configure_logging

    redaction = configure_logging(log_level.upper())
    # The store works in threads beside a loop that may never idle: with the default of 5 ms a call of theirs can
    # wait for seconds until it gets the interpreter.
    sys.setswitchinterval(0.0005)

    async def run() -> None:
        try:
            app = App(config_file, os.environ, insecure=insecure, redaction=redaction)
            await app.start()
        except ConfigErrors as e:
            for problem in e.problems:
                click.echo(str(problem), err=True)
            raise CouldNot(f"the config has {len(e.problems)} problems") from None
        except (Refused, ValueError) as e:
            raise CouldNot(str(e)) from None
        for line in app.banner():
            click.echo(line, err=True)
        await app.serve_until_stopped()

    try:
        uvloop.run(run())
    except StoreError as e:
        raise CouldNot(str(e)) from None


# check


@cli.command()
@config_option
@click.option("--rules", "rules", multiple=True, metavar="GLOB", help="Prometheus rule files to check too.")
@json_option
def check(config_file: Path, rules: tuple[str, ...], as_json: bool) -> None:
    """Check the config and the templates; with rule files, also what becomes of their alerts.

    Prints one `file:line: what` for each problem, and exits 1 if there is any. Warnings do not count.

    \b
    Example: alertbot check --config alertbot.yml --rules 'rules/*.yml'
    """
    from alertbot.render import check_templates

    problems = [str(p) for p in check_config(config_file, rules)]
    problems += check_templates()
    warnings: list[str] = []
    try:
        config = load(config_file, os.environ, need_secrets=False)
        warnings = [str(w) for w in (*config.warnings, *config.not_in_effect)]
    except ConfigErrors:
        pass  # its problems are among those above
    if as_json:
        _print_json({"problems": problems, "warnings": warnings})
    else:
        for line in problems:
            click.echo(line)
        for line in warnings:
            click.echo(f"warning: {line}", err=True)
        if not problems:
            click.echo(f"{config_file}: good")
    if problems:
        raise click.exceptions.Exit(1)


# routes


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
    root = _load(config_file).policy.route
    if as_json:
        _print_json(_route_json(root))
        return
    for depth, route in _with_depth(root, 0):
        matchers = ",".join(str(m) for m in route.matchers)
        name = f"{{{matchers}}}" if depth else "default-route"
        cont = "  continue: true" if route.continue_ else ""
        click.echo(f"{'    ' * depth}{name}{cont}  receiver: {route.receiver}")


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
        "group_wait": route.group_wait.total_seconds(),
        "group_interval": route.group_interval.total_seconds(),
        "repeat_interval": route.repeat_interval.total_seconds(),
        "reopen_within": route.reopen_within.total_seconds(),
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
@click.argument("labels", nargs=-1, metavar="LABEL=VALUE …")
def routes_test(config_file: Path, jsonl: bool, verify: str | None, labels: tuple[str, ...]) -> None:
    """The receivers that take a label set, in order, with commas between them.

    \b
    Example: alertbot routes test --verify.receivers=critical severity=critical team=payments
    """
    config = _load(config_file)
    different = False
    for given in _label_sets(labels, jsonl):
        seen = severities_of(config.policy).with_severity(given)
        receivers = ",".join(r.receiver for r in match(config.policy.route, seen))
        click.echo(receivers)
        if verify is not None and receivers != verify:
            different = True
            _say(f"expected {verify}, got {receivers}")
    if different:
        raise click.exceptions.Exit(1)


def _label_sets(labels: tuple[str, ...], jsonl: bool) -> Iterable[dict[str, str]]:
    if not jsonl:
        yield _labels(labels)
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


def _labels(texts: Iterable[str]) -> dict[str, str]:
    """`LABEL=VALUE` as amtool takes them: the value may be quoted."""
    found: dict[str, str] = {}
    for text in texts:
        try:
            matcher = parse_matcher(text)
        except MatcherError as e:
            raise CouldNot(f"{text}: not LABEL=VALUE: {e}") from None
        if matcher.op != "=":
            raise CouldNot(f"{text}: a label set is made of LABEL=VALUE")
        found[matcher.name] = matcher.value
    return found


# replay


@cli.command()
@config_option
@click.option("--against", type=click.Path(path_type=Path), help="Another config: print only how they differ.")
@click.option("--from-store", is_flag=True, help="Take the bot's own record in place of a file.")
@click.option("--since", default="7d", show_default=True, help="With --from-store: how far back.")
@click.option("--until", metavar="TIME", help="Let the clock run on until then (RFC 3339).")
@click.option("--decisions", is_flag=True, help="Also what was not sent, and why.")
@click.argument("events", type=click.File("rb"), required=False)
def replay(
    config_file: Path,
    against: Path | None,
    from_store: bool,
    since: str,
    until: str | None,
    decisions: bool,
    events: Any,
) -> None:
    """Run recorded events on a virtual clock, and print what would be sent. Nothing is sent.

    One JSON object a line, in time order. With --against, each line has a field `only`: "-" for what only
    --config sends, "+" for what only the other does; exit 1 if there is any.

    \b
    Example: alertbot replay --config new.yml --against alertbot.yml --from-store --since 7d
    """
    if from_store == (events is not None):
        raise CouldNot("give a file of events, or --from-store")
    config = _load(config_file)
    other = _load(against) if against else None
    end = _time(until, "--until") if until else None

    async def work() -> tuple[list[Line], list[Line]]:
        if from_store:
            record = await _recorded(config.settings.store.url, _ago(since))
        else:
            record = list(_read_events(events))
        ours = await _replay(config, record, end, decisions)
        return ours, await _replay(other, record, end, decisions) if other else []

    ours, theirs = _run(work())
    if other is None:
        for line in ours:
            _print_json(line)
        return
    different = difference(ours, theirs)
    for sign, line in different:
        _print_json({"only": sign, **line})
    if different:
        raise click.exceptions.Exit(1)


async def _replay(config: Config, record: Iterable[RawEvent], end: datetime | None, decisions: bool) -> list[Line]:
    run = Replay(config.policy, SOURCES, decisions=decisions)
    for n, event in enumerate(record, 1):
        try:
            await run.feed(event)
        except (Unreadable, ValueError) as e:
            raise CouldNot(f"event {n}: {e}") from None
    if end is not None:
        await run.run_until(end)
    return run.lines


def _read_events(lines: Iterable[bytes]) -> Iterable[RawEvent]:
    skipped: set[str] = set()
    for n, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
            at = datetime.fromisoformat(event["at"])
            source = event["source"]
        except (ValueError, KeyError, TypeError):
            raise CouldNot(f"line {n}: an event is an object with `at` (RFC 3339), `source` and `body`") from None
        if at.tzinfo is None:
            raise CouldNot(f"line {n}: `at` has no time zone")
        if source in NOT_YET:
            skipped.add(source)
            continue
        if source not in SOURCES:
            raise CouldNot(f"line {n}: no source is called {source}")
        yield RawEvent(at.astimezone(UTC), source, json.dumps(event.get("body", {})).encode())
    for source in sorted(skipped):
        _say(f"events of the source {source} are not in effect yet, and were left out")


async def _recorded(url: str, since: datetime) -> list[RawEvent]:
    store = open_store(url, readonly=True)
    await store.open()
    try:
        found: list[RawEvent] = []
        after = 0
        while page := await store.events(since, after, 1000):
            found += [stored.event for stored in page]
            after = page[-1].seq
    finally:
        await store.close()
    return sorted(found, key=lambda e: e.at)


def _ago(span: str) -> datetime:
    try:
        return datetime.now(UTC) - parse_duration(span)
    except DurationError as e:
        raise CouldNot(f"--since: {e}") from None


def _time(text: str, what: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CouldNot(f"{what}: {text} is not a time (RFC 3339, as 2026-01-05T10:00:00Z)") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


# What asks a running bot.

F = TypeVar("F", bound=Callable[..., Any])


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


def _ask(
    config_file: Path,
    url: str | None,
    token: str | None,
    *calls: tuple[str, str, tuple[tuple[str, str], ...], Mapping[str, Any] | None],
) -> list[dict[str, Any]]:
    """Makes calls one after another, and returns the answers."""
    if url is None or token is None:
        config = _load(config_file) if config_file.exists() or url is None else None
        if config is not None:
            tokens = config.settings.web.api_tokens
            token = token or (tokens[0].get_secret_value() if tokens else "")
            url = url or f"http://{config.settings.web.listen}/"
    client = Client(url.rstrip("/") + "/" if url else "", token or "")

    async def work() -> list[dict[str, Any]]:
        return [await client.call(method, path, query=query, body=body) for method, path, query, body in calls]

    try:
        return _run(work())
    except ApiError as e:
        if e.status in (404, 409, 422):
            raise No(str(e)) from None
        raise CouldNot(str(e)) from None


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    # A pipe has no width: whoever reads it wants whole words.
    Console(width=None if sys.stdout.isatty() else 240, highlight=False, markup=False).print(table)


def _me() -> str:
    return os.environ.get("USER") or os.environ.get("LOGNAME") or "cli"


# explain


@cli.command()
@asks_the_bot
@click.argument("what", nargs=-1, required=True, metavar="INCIDENT | LABEL=VALUE …")
def explain(config_file: Path, url: str | None, token: str | None, as_json: bool, what: tuple[str, ...]) -> None:
    """Why an incident, or the alerts with these labels, were sent, held, or not sent.

    \b
    Examples: alertbot explain 5kq3v7x2ma
              alertbot explain alertname=HighLatency environment=prod
    """
    if len(what) == 1 and "=" not in what[0]:
        path = f"api/v1/incidents/{what[0]}"
        incident, timeline = _ask(
            config_file, url, token, ("GET", path, (), None), ("GET", f"{path}/timeline", (), None)
        )
        if as_json:
            _print_json({"incident": incident, **timeline})
            return
        click.echo(f"{incident['title']}: {incident['status']}, {incident['severity']}")
        _entries(timeline["entries"])
        return
    query = tuple(("label", f"{k}={v}") for k, v in _labels(what).items())
    (answer,) = _ask(config_file, url, token, ("GET", "api/v1/explain", query, None))
    if as_json:
        _print_json(answer)
    for found in () if as_json else answer["alerts"]:
        alert = found["alert"]
        labels = " ".join(f"{k}={v}" for k, v in sorted(alert["labels"].items()))
        click.echo(f"{labels}: {alert['status']}, incident {found['incident'] or 'none'}")
        _entries(found["entries"])
    if not answer["alerts"]:
        raise No("no alert with these labels was heard of")


def _entries(entries: Iterable[Mapping[str, Any]]) -> None:
    for entry in entries:
        click.echo(f"  {entry['at']}  {entry['text']}  [{entry['reason']}]")


# incidents


@cli.group(invoke_without_command=True)
@click.pass_context
def incidents(context: click.Context) -> None:
    """What is going on: list, show, ack, resolve.

    \b
    Example: alertbot incidents list --status open
    """
    if context.invoked_subcommand is None:
        context.invoke(incidents_list)


@incidents.command("list")
@asks_the_bot
@click.option("--status", default="", help="pending, held, open, acknowledged, resolved; several with commas.")
@click.option("--severity", default="", help="One severity.")
@click.option("--since", default="", help="How far back, as 24h.")
def incidents_list(
    config_file: Path = Path("alertbot.yml"),
    url: str | None = None,
    token: str | None = None,
    as_json: bool = False,
    status: str = "",
    severity: str = "",
    since: str = "",
) -> None:
    """Incidents, the newest first.

    \b
    Example: alertbot incidents list --status open,acknowledged --severity critical
    """
    start = _ago(since).isoformat().replace("+00:00", "Z") if since else ""
    query = tuple((k, v) for k, v in (("status", status), ("severity", severity), ("since", start)) if v)
    (answer,) = _ask(config_file, url, token, ("GET", "api/v1/incidents", query, None))
    if as_json:
        _print_json(answer)
        return
    _table(
        ("id", "status", "severity", "opened", "alerts", "title"),
        (
            (i["id"], i["status"], i["severity"], i["opened_at"], i["counts"]["firing"], i["title"])
            for i in answer["incidents"]
        ),
    )
    if answer["next"]:
        _say("there are more: narrow it down with --status, --severity or --since")


@incidents.command("show")
@asks_the_bot
@click.argument("incident")
def incidents_show(config_file: Path, url: str | None, token: str | None, as_json: bool, incident: str) -> None:
    """One incident: its alerts and its deliveries.

    \b
    Example: alertbot incidents show 5kq3v7x2ma
    """
    (found,) = _ask(config_file, url, token, ("GET", f"api/v1/incidents/{incident}", (), None))
    if as_json:
        _print_json(found)
        return
    click.echo(f"{found['title']}: {found['status']}, {found['severity']}  {found['url']}")
    if found["acknowledged_by"]:
        click.echo(f"acknowledged by {found['acknowledged_by']} at {found['acknowledged_at']}")
    _table(
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
    _table(
        ("receiver", "integration", "to", "status", "attempts", "last error"),
        (
            [d[k] for k in ("receiver", "integration", "to", "status", "attempts", "last_error")]
            for d in found["deliveries"]
        ),
    )


def _act(what: str) -> Callable[..., None]:
    def act(config_file: Path, url: str | None, token: str | None, as_json: bool, by: str, incident: str) -> None:
        path = f"api/v1/incidents/{incident}/{what}"
        (found,) = _ask(config_file, url, token, ("POST", path, (), {"by": by}))
        if as_json:
            _print_json(found)
        else:
            click.echo(f"{found['id']} is {found['status']}")

    return act


for _name, _what, _help in (
    ("ack", "acknowledge", "Take an incident."),
    (
        "resolve",
        "resolve",
        "Say that an incident is over. If it still fires after repeat_interval, it opens again.",
    ),
):
    incidents.command(_name, help=f"{_help}\n\n\b\nExample: alertbot incidents {_name} 5kq3v7x2ma")(
        asks_the_bot(
            click.option("--by", default=_me, help="Who acts.", show_default="you")(
                click.argument("incident")(_act(_what))
            )
        )
    )


# parked


@cli.group(invoke_without_command=True)
@click.pass_context
def parked(context: click.Context) -> None:
    """What could not be read or delivered: list, show, retry, drop.

    \b
    Example: alertbot parked retry a17-0
    """
    if context.invoked_subcommand is None:
        context.invoke(parked_list)


@parked.command("list")
@asks_the_bot
def parked_list(
    config_file: Path = Path("alertbot.yml"),
    url: str | None = None,
    token: str | None = None,
    as_json: bool = False,
) -> None:
    """All of it, the oldest first.

    \b
    Example: alertbot parked list --json
    """
    (answer,) = _ask(config_file, url, token, ("GET", "api/v1/parked", (), None))
    if as_json:
        _print_json(answer)
        return
    _table(
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
    (found,) = _ask(config_file, url, token, ("GET", f"api/v1/parked/{_quoted(item)}", (), None))
    if as_json:
        _print_json(found)
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
    (answer,) = _ask(config_file, url, token, ("POST", f"api/v1/parked/{_quoted(item)}/retry", (), {}))
    _print_json(answer) if as_json else click.echo(f"{item} is tried again")


@parked.command("drop")
@asks_the_bot
@click.argument("item")
def parked_drop(config_file: Path, url: str | None, token: str | None, as_json: bool, item: str) -> None:
    """Forget it.

    \b
    Example: alertbot parked drop a17-0
    """
    (answer,) = _ask(config_file, url, token, ("DELETE", f"api/v1/parked/{_quoted(item)}", (), None))
    _print_json(answer) if as_json else click.echo(f"{item} is forgotten")


def _quoted(item: str) -> str:
    from urllib.parse import quote

    return quote(item, safe="")


# test


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
    import time

    (made,) = _ask(config_file, url, token, ("POST", f"api/v1/receivers/{_quoted(receiver)}/test", (), {"by": _me()}))
    incident = made["incident"]["id"]
    deadline = time.monotonic() + wait
    while True:
        (found,) = _ask(config_file, url, token, ("GET", f"api/v1/incidents/{incident}", (), None))
        waiting = [d for d in found["deliveries"] if d["status"] in ("pending", "retrying")]
        if not waiting or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    _ask(config_file, url, token, ("POST", f"api/v1/incidents/{incident}/resolve", (), {"by": _me()}))
    bad = [d for d in found["deliveries"] if d["status"] not in ("sent", "dry_run")]
    if as_json:
        _print_json({"incident": incident, "deliveries": found["deliveries"]})
    else:
        _table(
            ("integration", "to", "status", "last error"),
            ([d[k] for k in ("integration", "to", "status", "last_error")] for d in found["deliveries"]),
        )
    if bad:
        raise No(f"{len(bad)} of {len(found['deliveries'])} destinations did not take it")
