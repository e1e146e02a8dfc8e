"""`alertbot serve`: the bot."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import click
import uvloop

from alertbot.app import App, Refused
from alertbot.cli.base import CouldNot, cli, config_option
from alertbot.config.load import ConfigErrors
from alertbot.store.base import StoreError
from alertbot.telemetry import configure_logging


@cli.command()
@config_option
@click.option("--insecure", is_flag=True, help="Serve without tokens on an address that others can reach.")
@click.option("--log-level", default="INFO", show_default=True, help="DEBUG, INFO, WARNING or ERROR.")
def serve(config_file: Path, insecure: bool, log_level: str) -> None:
    """Run the bot until it is told to stop. SIGHUP reloads the config.

    \b
    Example: alertbot serve --config /etc/alertbot/alertbot.yml
    """
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
            raise CouldNot(
                f"{config_file}: {len(e.problems)} problem{'s' * (len(e.problems) > 1)}, see above"
            ) from None
        except (Refused, ValueError) as e:
            raise CouldNot(str(e)) from None
        # What is there now stays: the collector need not look at it again, which takes it some 50 ms each time.
        gc.collect()
        gc.freeze()
        for line in app.banner():
            click.echo(line, err=True)
        await app.serve_until_stopped()

    try:
        uvloop.run(run())
    except StoreError as e:
        raise CouldNot(str(e)) from None
