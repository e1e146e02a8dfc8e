"""`python -m bench.clock_steps --config FILE`: the bot, with a clock a minute on (SIGUSR1) or back (SIGUSR2)."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import uvloop

from alertbot.app import App
from alertbot.clock import SystemClock
from alertbot.telemetry import configure_logging

STEP: Final = timedelta(minutes=1)


class SteppingClock(SystemClock):
    """The machine's clock, and so far off."""

    def __init__(self) -> None:
        self._off = timedelta(0)

    def step(self, by: timedelta) -> None:
        self._off += by

    def now(self) -> datetime:
        return super().now() + self._off


async def run(config: Path) -> None:
    """Until told to end."""
    clock = SteppingClock()
    for number, by in ((signal.SIGUSR1, STEP), (signal.SIGUSR2, -STEP)):
        asyncio.get_running_loop().add_signal_handler(number, clock.step, by)
    app = App(config, os.environ, clock=clock, redaction=configure_logging("INFO"))
    await app.start()
    await app.serve_until_stopped()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.clock_steps")
    parser.add_argument("--config", type=Path, required=True)
    uvloop.run(run(parser.parse_args().config))
