"""`alertbot replay`: what would have been sent."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from alertbot.cli.base import CouldNot, ago, cli, config_option, load_config, parse_time, print_json, run
from alertbot.config.load import Config
from alertbot.domain.events import RawEvent, Unreadable
from alertbot.replay import Line, Replay, difference
from alertbot.sources import SOURCES
from alertbot.store import open_store


@cli.command()
@config_option
@click.option("--against", type=click.Path(path_type=Path), help="Another config: print only how they differ.")
@click.option("--from-store", is_flag=True, help="Take the bot's own record in place of a file.")
@click.option("--since", default="7d", show_default=True, help="With --from-store: how far back.")
@click.option("--until", metavar="TIME", help="Let the clock run on until then (RFC 3339).")
@click.option("--decisions", is_flag=True, help="Also what was not sent, and why.")
@click.option("--json", "_", is_flag=True, expose_value=False, help="It prints nothing but JSON anyway.")
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

    One JSON object a line, in time order. With --against, only what differs: the field `only` names the config that
    sends it; exit 1 if there is any. A record --from-store is run on until now, a file until its last event.

    \b
    Example: alertbot replay --config new.yml --against alertbot.yml --from-store --since 7d
    """
    if from_store == (events is not None):
        raise CouldNot("give either a file of events or --from-store")
    config = load_config(config_file)
    other = load_config(against) if against else None
    end = parse_time(until, "--until") if until else datetime.now(UTC) if from_store else None

    async def work() -> tuple[list[Line], list[Line]]:
        if from_store:
            record = await _recorded(config.settings.store.url, ago(since))
        else:
            record = list(_read_events(events))
        ours = await _replay(config, record, end, decisions)
        return ours, await _replay(other, record, end, decisions) if other else []

    ours, theirs = run(work())
    if other is None:
        for line in ours:
            print_json(line)
        return
    different = difference(ours, theirs)
    for sign, line in different:
        print_json({"only": str(config_file if sign == "-" else against), **line})
    if different:
        raise click.exceptions.Exit(1)


async def _replay(config: Config, record: Iterable[RawEvent], end: datetime | None, decisions: bool) -> list[Line]:
    run = Replay(config.policy, SOURCES, decisions=decisions)
    for n, event in enumerate(record, 1):
        try:
            await run.feed(event)
        except (Unreadable, ValueError) as e:
            raise CouldNot(f"event {n}: {e}") from None
    # Also what the last event itself makes due at its own time, as the end of a maintenance does.
    await run.run_until(end or run.clock.now())
    return run.lines


def _read_events(lines: Iterable[bytes]) -> Iterable[RawEvent]:
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
        if source not in SOURCES:
            raise CouldNot(f"line {n}: no source is called {source}")
        yield RawEvent(at.astimezone(UTC), source, json.dumps(event.get("body", {})).encode())


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
