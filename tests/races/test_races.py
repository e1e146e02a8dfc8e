"""Random interleavings of two or three replicas on one Redis: pauses, deaths, lost and late requests between any two
steps. ALERTBOT_RACES="1000 2000" runs these seeds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final

import pytest

from tests.races.world import run, run_one

#: Each takes two seconds or so of a processor.
SEEDS: Final = range(*map(int, os.environ.get("ALERTBOT_RACES", "6 11").split()))


@pytest.mark.parametrize("seed", SEEDS)
def test_in_whatever_order_replicas_come_to_it_nothing_is_lost_doubled_or_left(
    redis_url: Callable[[], str], seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    found, log = run(seed, redis_url())
    assert not found, "\n".join([*log, *found])


def test_a_seed_is_one_evening(redis_url: Callable[[], str]) -> None:
    assert run(3, redis_url())[1] == run(3, redis_url())[1]


#: Seconds: longer than a replica counts as alive, and shorter than an attempt may last.
PAUSED: Final = 50.0
#: Where a replica is paused → words of the request to Redis that comes next.
PAUSES = {
    "between the claim and the question whether it is still its own": "docs rows",
    "while it counts a page": "HSET budgets pagerduty:",
    "while it counts a post": "HSET budgets slack_posts:",
    "while it commits what it decided": "lost",
    "while it writes down what it sent": "HDEL leases",
}


@pytest.mark.parametrize("where", PAUSES)
def test_a_replica_that_goes_on_after_a_pause_does_nothing_over_again(redis_url: Callable[[], str], where: str) -> None:
    found, log = run_one(redis_url(), {PAUSES[where]: PAUSED})
    assert not found, "\n".join([*log, *found])
