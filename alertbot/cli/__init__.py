"""argv → a command. Errors are one line on stderr; exit codes: 0, 1 (the answer is no), 2 (usage, or it could not)."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import click

from alertbot.cli import bot, check, replay, routes, runbook, serve, slack, store, windows  # noqa: F401  # each adds its commands
from alertbot.cli.base import cli, say

__all__ = ["cli", "main"]


def main() -> NoReturn:
    """The program. Every error is one line on stderr."""
    try:
        # Without its standalone mode click returns the code of an Exit.
        code = cli(standalone_mode=False)
    except click.exceptions.Abort:
        say("interrupted")
        sys.exit(2)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message(), err=True)
        sys.exit(2)
    except click.ClickException as e:
        say(e.format_message())
        sys.exit(e.exit_code)
    except BrokenPipeError:
        # Whoever read our output has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
