"""When a destination that fails is tried again, and by whom."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from alertbot.domain.breakers import (
    BREAKS_AFTER,
    FORGOTTEN_AFTER,
    LONGEST_PROBE,
    PROBE,
    RARE_AFTER,
    RARE_PROBE,
    Breaker,
    failed,
    probed,
    released,
    sooner,
)
from tests.store.builders import T0, at

LANE = "pagerduty:key"


def broken(now: datetime = T0) -> Breaker:
    """One that has just failed for the last time before it is broken."""
    breaker = Breaker("pagerduty", "key")
    for _ in range(BREAKS_AFTER):
        assert breaker.opened is None
        breaker = failed(breaker, LANE, "w", now, "HTTP 503")
    return breaker


def probes(count: int) -> Iterator[tuple[float, Breaker]]:
    """Each pause in seconds, and what is known in it, of a lane that is tried as soon as it may be and fails."""
    breaker, now = broken(), T0
    for number in range(count):
        assert breaker.until is not None
        yield (breaker.until - now).total_seconds(), breaker
        now = breaker.until
        taken = probed(breaker, f"w{number}", now)
        assert taken is not None
        breaker = failed(taken, LANE, f"w{number}", now, "HTTP 503")


def test_a_lane_is_broken_after_five_failures_and_its_pauses_grow_to_a_quarter_of_a_minute_and_then_a_minute() -> None:
    pauses = [pause for pause, _ in probes(RARE_AFTER + 2)]
    for pause, full in zip(pauses, (2, 4, 8, 15, 15), strict=False):
        assert 0.75 * full <= pause <= full
    assert all(pause <= LONGEST_PROBE.total_seconds() for pause in pauses[:RARE_AFTER])
    assert all(0.75 * RARE_PROBE.total_seconds() <= pause for pause in pauses[RARE_AFTER:])


def test_it_stays_broken_since_it_broke_and_says_what_it_heard_last() -> None:
    *_, (_, last) = probes(4)
    assert last.opened == T0
    other = failed(replace(last, probe="w"), LANE, "w", at(99), "no answer")
    assert (other.opened, other.error, other.failed_at) == (T0, "no answer", at(99))


def test_one_at_a_time_tries_it_and_only_when_its_pause_is_over() -> None:
    breaker = broken()
    assert breaker.until is not None
    assert probed(breaker, "a", breaker.until - timedelta(milliseconds=1)) == breaker
    taken = probed(breaker, "a", breaker.until)
    assert taken is not None
    assert taken.probe == "a"
    assert probed(taken, "b", breaker.until) == taken, "somebody else tries it"
    late = probed(taken, "b", breaker.until + PROBE)
    assert late is not None
    assert late.probe == "b", "the first one is dead"


NOT_TRIED = {
    "one that answers": None,
    "one that failed less often": Breaker("slack", "#ops", failures=BREAKS_AFTER - 1, failed_at=T0),
}


@pytest.mark.parametrize("which", NOT_TRIED)
def test_a_lane_that_is_not_broken_is_not_kept_from_the_others(which: str) -> None:
    assert probed(NOT_TRIED[which], "a", T0) == NOT_TRIED[which]


def test_a_failure_of_an_attempt_that_began_before_the_lane_broke_does_not_put_off_the_next_try() -> None:
    breaker = broken()
    late = failed(breaker, LANE, "another", at(1), "HTTP 502")
    assert (late.until, late.probes) == (breaker.until, breaker.probes)
    assert (late.failures, late.error) == (breaker.failures + 1, "HTTP 502")


def test_who_did_not_try_it_after_all_lets_the_next_one_and_ends_nobody_elses_try() -> None:
    taken = probed(broken(), "a", at(10))
    assert released(taken, "b", at(11)) == taken
    free = released(taken, "a", at(11))
    assert free is not None
    assert not free.closed(at(11))
    assert released(None, "a", at(11)) is None


def test_it_can_be_tried_sooner_and_not_later_and_not_while_it_is_tried() -> None:
    breaker = broken()
    earlier = sooner(breaker, at(1))
    assert earlier is not None
    assert earlier.until == at(1)
    assert sooner(breaker, at(60)) == breaker
    taken = probed(breaker, "a", at(2))
    assert sooner(taken, at(3)) == taken
    assert sooner(None, at(3)) is None


def test_what_waits_is_due_again_soon_while_somebody_tries_it_and_else_at_the_next_try() -> None:
    breaker = broken()
    assert breaker.again(T0) == breaker.until
    assert breaker.again(at(100)) == at(100)
    taken = probed(breaker, "a", at(2))
    assert taken is not None
    assert taken.again(at(2)) == at(4), "and not when the attempt must be over at the latest"


def test_what_nobody_tried_for_an_hour_is_forgotten() -> None:
    breaker = broken()
    assert not breaker.forgotten(T0 + FORGOTTEN_AFTER - timedelta(seconds=1))
    assert breaker.forgotten(T0 + FORGOTTEN_AFTER)
    assert not replace(breaker, probe="a", until=T0 + 2 * FORGOTTEN_AFTER).forgotten(T0 + FORGOTTEN_AFTER)
