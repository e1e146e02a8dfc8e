"""Random interleavings of two or three replicas on one Redis: pauses, deaths, lost and late requests between any two
steps. ALERTBOT_RACES="1000 2000" runs these seeds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final

import pytest

from tests.races.world import run

#: Each is a second or so of a machine that has nothing else to do.
SEEDS: Final = range(*map(int, os.environ.get("ALERTBOT_RACES", "0 8").split()))


@pytest.mark.parametrize("seed", SEEDS)
def test_in_whatever_order_replicas_come_to_it_nothing_is_lost_doubled_or_left(
    redis_url: Callable[[], str], seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    found, log = run(seed, redis_url())
    assert not found, "\n".join([*log, *found])
