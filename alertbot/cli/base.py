"""What the commands share: options, errors, and how things are printed and parsed."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Coroutine, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.table import Table

import alertbot
from alertbot.config.load import Config, ConfigErrors, load
from alertbot.domain.durations import DurationError, parse_duration
from alertbot.domain.matchers import MatcherError, parse_matcher
from alertbot.store.base import StoreError

T = TypeVar("T")


class No(click.ClickException):
    """The answer is no."""

    exit_code = 1


class CouldNot(click.ClickException):
    """It could not run."""

    exit_code = 2


def say(line: str) -> None:
    """One line on stderr."""
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


def load_config(file: Path) -> Config:
    """A config for a command that sends nothing: a secret's file need not be there."""
    try:
        return load(file, os.environ, need_secrets=False)
    except ConfigErrors as e:
        first, *more = e.problems
        rest = f" (and {len(more)} more: see alertbot check)" if more else ""
        raise CouldNot(f"{first}{rest}") from None


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs to the end; what the store cannot do is an error of the command."""
    try:
        return asyncio.run(work)
    except StoreError as e:
        raise CouldNot(str(e)) from None


def print_json(value: Any) -> None:
    """One line of JSON on stdout."""
    click.echo(json.dumps(value, ensure_ascii=False))


def parse_labels(texts: Iterable[str]) -> dict[str, str]:
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


def ago(span: str) -> datetime:
    """The time that is a duration (`7d`) before now. Raises `CouldNot`."""
    try:
        return datetime.now(UTC) - parse_duration(span)
    except DurationError as e:
        raise CouldNot(f"--since: {e}") from None


def parse_time(text: str, what: str) -> datetime:
    """An RFC 3339 time, UTC where it names no zone. Raises `CouldNot`; `what` is the option's name."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise CouldNot(f"{what}: {text} is not a time (RFC 3339, as 2026-01-05T10:00:00Z)") from None
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


def table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A table for people; an absent cell is empty."""
    table = Table(*columns, box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else str(cell) for cell in row))
    # A pipe has no width: whoever reads it wants whole words.
    Console(width=None if sys.stdout.isatty() else 240, highlight=False, markup=False).print(table)
