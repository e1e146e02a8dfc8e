"""`alertbot store`: moving what is stored."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime

import click

from alertbot.cli.base import CouldNot, cli, run
from alertbot.store import open_store
from alertbot.store.copy import Copied, copy


@cli.group("store")
def store_group() -> None:
    """Move what is stored.

    \b
    Example: alertbot store copy sqlite:////var/lib/alertbot.db redis://redis.example.org/0
    """


@store_group.command("copy")
@click.argument("source", metavar="FROM")
@click.argument("target", metavar="TO")
def copy_command(source: str, target: str) -> None:
    """Copy one store's contents into another, empty one. Both are URLs as in `store.url`.

    Stop alertbot first, all replicas, and start it with the new store.url after. FROM stays, brought up to this
    version's schema.

    \b
    Example: alertbot store copy sqlite:////var/lib/alertbot.db redis://redis.example.org/0
    """
    copied = run(_copy(source, target))
    click.echo(", ".join(f"{count} {what}" for what, count in asdict(copied).items()))


async def _copy(source: str, target: str) -> Copied:
    try:
        there = open_store(source, readonly=True)
        stores = open_store(source), open_store(target)
    except ValueError as e:
        raise CouldNot(str(e)) from None
    # A mistyped FROM would be made, and copied, empty.
    await there.open()
    await there.close()
    opened = []
    try:
        for store in stores:
            await store.open()
            opened.append(store)
        return await copy(*stores, datetime.now(UTC))
    finally:
        for store in opened:
            await store.close()
