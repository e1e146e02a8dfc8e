"""Windows that overlap, nest and repeat, and reports of them in any order: what is held is told once, at the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.domain.deploys import DeploySettings
from alertbot.domain.intervals import TimeInterval
from alertbot.domain.model import IncidentStatus
from alertbot.domain.windows import Recurring, going_on
from tests.domain.script import Script, alert, policy, rule
from tests.domain.test_windows import BY_SERVICE, LONG, QUICK, WORKS, deploy, high, script, works

MINUTE = timedelta(minutes=1)
#: Any maintenance that is called so, without a duration of its own.
NIGHTLY = rule("nightly", "alertname=Maintenance", "alertname=~Slow|Down")
#: The replay starts on a Monday at 10:00 UTC.
EVERY_DAY = Recurring(
    "disks", {"alertname": "Maintenance"}, (TimeInterval(times=((10 * 60 + 30, 11 * 60 + 30),)),), "new disks"
)


async def verdict_of(s: Script, window: str) -> tuple[str, ...]:
    """The windows that one's verdict names; empty where it left the word to another."""
    found = await s.replay.store.window(window)
    assert found is not None
    assert found.over
    return found.verdict.windows if found.verdict is not None else ()


# Overlaps.


async def test_a_chain_of_three_deploys_has_one_verdict_that_names_them_all() -> None:
    """Each releases what only it explains; the last one says what became of everything."""
    s = script(LONG)
    await deploy(s, "0:00", id="d1")
    await deploy(s, "3:00", id="d2", service="web", version="b2")
    await s.report("3:30", high("ErrorRate", "3:30"), high("Load", "3:30"))
    await deploy(s, "4:00", "succeeded", id="d1")
    await deploy(s, "8:00", id="d3", service="jobs", version="c3")
    await s.report("8:30", high("Latency", "8:30"))
    await deploy(s, "9:00", "succeeded", id="d2", service="web", version="b2")
    await s.report("10:00", high("Load", "3:30", "10:00"))
    await s.until("13:59")
    assert s.heard("slack", "pagerduty") == []
    await s.until("15:00")
    # It fired before the third began.
    assert s.heard() == ["14:00 slack open hold_ended 1/0/0"]
    await deploy(s, "20:00", "succeeded", id="d3", service="jobs", version="c3")
    await s.until("40:00")
    assert s.heard() == ["25:00 slack verdict deploy_settled 2/1/0", "25:00 slack open hold_ended 1/0/0"]
    assert [await verdict_of(s, name) for name in ("d1", "d2", "d3")] == [(), (), ("d1", "d2", "d3")]


async def test_deploys_that_only_touch_are_no_chain() -> None:
    s = script(LONG)
    await deploy(s, "0:00", id="d1")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00", "failed", id="d1")
    await deploy(s, "2:00", id="d2", version="b2")
    await s.report("3:00", high("Latency", "3:00"))
    await deploy(s, "4:00", "failed", id="d2", version="b2")
    await s.until("30:00")
    assert [line for line in s.heard() if "verdict" in line] == [
        "2:00 slack verdict deploy_failed 1/0/0",
        "4:00 slack verdict deploy_failed 1/0/0",
    ]


async def test_an_overlapping_deploy_that_holds_none_of_it_gets_no_verdict_to_give() -> None:
    s = script(BY_SERVICE)
    await deploy(s, "0:00", id="d1")
    await deploy(s, "1:00", id="d2", service="web", version="b2")
    await s.report("2:00", high("ErrorRate", "2:00"))
    await deploy(s, "3:00", "failed", id="d1")
    await s.until("3:01")
    assert s.heard() == ["3:00 slack verdict deploy_failed 1/0/0", "3:00 slack open hold_ended 1/0/0"]
    await s.until("2:00:00")
    assert s.heard() == []


async def test_a_maintenance_that_outlasts_a_deploy_has_the_verdict_of_both() -> None:
    both = rule("works", "alertname=DatabaseMaintenance", "alertname=~High.*")
    s = script(LONG, both)
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"), high("Latency", "1:00"))
    await works(s, "2:00", duration="15m")
    await deploy(s, "3:00", "succeeded")
    await s.report("4:00", high("Latency", "1:00", "4:00"))
    await s.until("16:59")
    assert s.heard() == []
    await s.until("1:00:00")
    assert s.heard() == ["17:00 slack verdict maintenance_over 1/1/0", "17:00 slack open hold_ended 1/0/0"]
    assert await verdict_of(s, "m1") == ("d1", "m1")


async def test_a_maintenance_inside_a_deploy_leaves_the_word_to_the_deploy() -> None:
    both = rule("works", "alertname=DatabaseMaintenance", "alertname=~High.*")
    s = script(LONG, both)
    await deploy(s, "0:00")
    await works(s, "1:00", duration="3m")
    await s.report("2:00", high("ErrorRate", "2:00"))
    await deploy(s, "10:00", "succeeded")
    await s.until("14:59")
    assert s.heard() == []
    await s.until("1:00:00")
    assert s.heard() == ["15:00 slack verdict deploy_settled 1/0/0", "15:00 slack open hold_ended 1/0/0"]
    assert await verdict_of(s, "d1") == ("m1", "d1")


async def test_more_time_for_a_deploy_by_a_later_word_holds_what_it_held() -> None:
    """A success that becomes a failure while it settles ends the hold there and then."""
    s = script(LONG)
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00", "succeeded")
    await deploy(s, "4:00", "failed")
    await s.until("30:00")
    assert s.heard() == ["4:00 slack verdict deploy_failed 1/0/0", "4:00 slack open hold_ended 1/0/0"]


async def test_a_verdict_names_alerts_of_one_name_once_with_how_many_there_are() -> None:
    s = script(LONG)
    await deploy(s, "0:00")
    await s.report("2:00", *(high("Load", "2:00", instance=str(n)) for n in range(3)))
    await s.report("3:00", high("Load", "3:00", severity="warning"), high("Errors", "2:30"))
    await deploy(s, "4:00", "failed")
    await s.until("4:01")
    window = await s.replay.store.window("d1")
    assert window is not None
    assert window.verdict is not None
    named = [(one.name, one.severity, one.count, one.after // MINUTE) for one in window.verdict.still]
    assert named == [("HighLoad", "high", 3, 2), ("HighErrors", "high", 1, 2), ("HighLoad", "medium", 1, 3)]


# Any order, any number of times.


async def test_an_end_that_comes_before_its_start_holds_nothing_longer() -> None:
    s = script(LONG)
    await deploy(s, "3:00", "failed")
    await deploy(s, "3:10")
    await s.report("4:00", high("ErrorRate", "4:00"))
    assert s.heard() == ["4:00 slack open first_notification 1/0/0"]


async def test_a_success_without_its_start_settles_and_says_so_once() -> None:
    s = script(LONG)
    await deploy(s, "3:00", "succeeded")
    await s.report("4:00", high("ErrorRate", "4:00"))
    await deploy(s, "4:10", "succeeded")
    await s.until("30:00")
    assert s.heard() == ["8:00 slack verdict deploy_settled 1/0/0", "8:00 slack open hold_ended 1/0/0"]


async def test_reports_that_come_twice_change_neither_the_hold_nor_the_verdict() -> None:
    s = script(LONG)
    await deploy(s, "0:00")
    await deploy(s, "0:01")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await deploy(s, "2:00")
    for offset in ("3:00", "3:01", "7:30"):
        await deploy(s, offset, "succeeded")
    await s.until("8:01")
    assert s.heard() == ["8:00 slack verdict deploy_settled 1/0/0", "8:00 slack open hold_ended 1/0/0"]
    await deploy(s, "9:00", "succeeded")
    await s.until("1:00:00")
    assert s.heard() == []


async def test_an_end_that_is_heard_after_max_duration_brings_nothing_back() -> None:
    s = script(LONG, deploys=DeploySettings(max_duration=10 * MINUTE))
    await deploy(s, "0:00")
    await s.report("1:00", high("ErrorRate", "1:00"))
    await s.until("10:01")
    assert s.heard() == ["10:00 slack verdict deploy_end_missing 1/0/0", "10:00 slack open hold_ended 1/0/0"]
    await deploy(s, "12:00", "succeeded")
    await s.report("13:00", high("Latency", "13:00"))
    assert s.heard() == ["13:00 slack open first_notification 1/0/0"]


async def test_a_senders_clock_that_is_ahead_does_not_hold_what_fires_now() -> None:
    """No time is later than when we heard it: the alert of the same minute is held all the same."""
    s = script(LONG)
    await deploy(s, "1:00", at="2026-01-05T12:00:00Z")
    await s.report("1:30", high("ErrorRate", "1:30"))
    assert s.heard() == []
    await deploy(s, "2:00", "failed", at="2026-01-05T12:01:00Z")
    await s.until("2:01")
    assert s.heard() == ["2:00 slack verdict deploy_failed 1/0/0", "2:00 slack open hold_ended 1/0/0"]


# Windows that repeat.


async def test_a_repeating_window_opens_by_itself_notices_and_ends_with_a_verdict() -> None:
    s = script(NIGHTLY, maintenance=(EVERY_DAY,))
    await s.report("29:00", alert("Down", "29:00"))
    assert s.heard() == ["29:00 slack open first_notification 1/0/0"]
    await s.report("31:00", alert("Slow", "31:00"))
    await s.until("1:19:00")
    assert s.heard() == []
    await s.until("1:45:00")
    assert s.heard() == [
        "1:20:00 slack notice maintenance_ends_soon 0/0/0",
        "1:30:00 slack verdict maintenance_over 1/0/0",
        "1:30:00 slack open hold_ended 1/0/0",
    ]


async def test_a_repeating_window_is_a_new_one_each_time() -> None:
    s = script(NIGHTLY, maintenance=(EVERY_DAY,))
    for day in (0, 24):
        await s.report(f"{day}:31:00", alert("Slow", f"{day}:31:00"))
        await s.report(f"{day}:40:00", alert("Slow", f"{day}:31:00", f"{day}:40:00"))
    await s.until("48:00:00")
    assert s.heard() == [
        "1:30:00 slack verdict maintenance_over 0/1/0",
        "25:30:00 slack verdict maintenance_over 0/1/0",
    ]


async def test_a_repeating_window_that_is_ended_early_does_not_open_again_before_its_next_time() -> None:
    s = script(NIGHTLY, maintenance=(EVERY_DAY,))
    await s.report("31:00", alert("Slow", "31:00"))
    await s.act("40:00", "maintenance", action="end", id="disks-20260105T1030", by="ana")
    await s.until("40:01")
    assert s.heard() == ["40:00 slack verdict maintenance_ended 1/0/0", "40:00 slack open hold_ended 1/0/0"]
    await s.report("50:00", alert("Down", "50:00"))
    assert s.heard() == ["50:00 slack open first_notification 1/0/0"]
    await s.report("24:31:00", alert("Down", "50:00", "24:31:00"))
    s.heard()
    await s.report("24:50:00", alert("Down", "24:45:00"))
    assert s.heard() == []


async def test_a_repeating_window_that_held_nothing_yet_can_be_ended_or_extended() -> None:
    for action, more in (("end", {}), ("extend", {"duration": "1h"})):
        s = script(NIGHTLY, maintenance=(EVERY_DAY,))
        await s.act("31:00", "maintenance", action=action, id="disks-20260105T1030", by="ana", **more)
        await s.report("1:45:00", alert("Slow", "1:45:00"))
        assert s.heard() == ([] if action == "extend" else ["1:45:00 slack open first_notification 1/0/0"])


@pytest.mark.parametrize(
    ("now", "starts", "ends"),
    [
        # In winter 02:00 to 04:00 in Berlin is 01:00 to 03:00 UTC.
        ("2026-01-05T01:30", "2026-01-05T01:00", "2026-01-05T03:00"),
        # On the day on which the clock jumps from 02:00 to 03:00 it is an hour long.
        ("2026-03-29T01:30", "2026-03-29T01:00", "2026-03-29T02:00"),
        # On the day on which the hour from 02:00 comes twice it is three hours long, and one window.
        ("2026-10-25T00:30", "2026-10-25T00:00", "2026-10-25T03:00"),
        ("2026-10-25T02:30", "2026-10-25T00:00", "2026-10-25T03:00"),
    ],
)
def test_a_repeating_window_follows_the_clock_of_its_place(now: str, starts: str, ends: str) -> None:
    night = TimeInterval(times=((2 * 60, 4 * 60),), location="Europe/Berlin")
    each = Recurring("night", {"alertname": "Maintenance"}, (night,))
    (window,) = going_on((each,), datetime.fromisoformat(now).replace(tzinfo=UTC))
    assert (f"{window.starts_at:%Y-%m-%dT%H:%M}", f"{window.ends_at:%Y-%m-%dT%H:%M}") == (starts, ends)
    assert window.id == f"night-{datetime.fromisoformat(starts):%Y%m%dT%H%M}"


def test_an_interval_without_an_end_has_an_end_to_look_again_at() -> None:
    (window,) = going_on((Recurring("always", {}, (TimeInterval(),)),), datetime(2026, 1, 5, tzinfo=UTC))
    assert window.ends_at - datetime(2026, 1, 5, tzinfo=UTC) == timedelta(days=31)


# Whatever happens.

Step = tuple[int, str, dict[str, Any]]


def clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@st.composite
def evenings(draw: st.DrawFn) -> list[Step]:
    """Deploys and maintenance of any kind, in any order, and alerts that fire and resolve among them."""
    steps: list[Step] = []
    since: dict[str, int] = {}
    now = 0
    for _ in range(draw(st.integers(2, 20))):
        now += draw(st.sampled_from([1, 20, 100, 400, 1500]))
        what = draw(st.sampled_from(["alert", "alert", "alert", "deploy", "deploy", "maintenance"]))
        if what == "deploy":
            status = draw(st.sampled_from(["started", "started", "succeeded", "failed"]))
            ident = draw(st.sampled_from(["d1", "d2", "d3"]))
            fields = {"id": ident, "status": status, "service": "api", "environment": "prod", "version": ident}
            steps.append((now, "deploy", fields))
        elif what == "maintenance":
            action = draw(st.sampled_from(["start", "extend", "end"]))
            fields = {"id": draw(st.sampled_from(["m1", "m2"])), "action": action, "by": "ana"}
            if action != "end":
                fields["duration"] = draw(st.sampled_from(["1m", "40m"]))
            steps.append((now, "maintenance", fields))
        else:
            name = draw(st.sampled_from(["HighA", "HighB", "HighC"]))
            start = since.pop(name, None)
            began = clock(now if start is None else start)
            if start is None:
                since[name] = now
            fired = alert(name, began, None if start is None else clock(now), service="api", env="prod")
            steps.append((now, "alertmanager", {"version": "4", "alerts": [fired]}))
    return steps


WINDOWS = (
    rule("deploys", "alertname=Deployment", "alertname=~High.*", "environment"),
    rule("maintenance", "alertname=Maintenance", "alertname=~High[AB]"),
)


async def lived(steps: Sequence[Step], **changes: Any) -> Script:
    s = Script(policy(route=QUICK, **changes))
    for seconds, source, body in steps:
        await s.act(clock(seconds), source, **body)
    await s.until(clock(steps[-1][0] + 6 * 3600))
    return s


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(evenings())
async def test_once_all_windows_are_past_what_was_held_is_told_or_over(steps: list[Step]) -> None:
    s = await lived(steps, inhibit_rules=WINDOWS)
    for incident in (await s.replay.store.incidents(limit=500)).incidents:
        assert incident.status not in (IncidentStatus.PENDING, IncidentStatus.HELD)
        for member in await s.replay.store.members(incident.id):
            assert member.hold is None
            assert member.announced or not member.firing
    windows = await s.replay.store.windows(datetime(2020, 1, 1, tzinfo=UTC))
    assert all(w.over for w in windows)
    # Each thing that was held is in one verdict or, where it fired again meanwhile, in those of its episodes.
    told = [name for w in windows if w.verdict is not None for name in w.verdict.windows]
    assert len(told) == len(set(told)), "no window is in two verdicts"
    verdicts = [line for line in s.replay.lines if line.get("action") == "verdict"]
    assert len(verdicts) == sum(w.verdict is not None for w in windows)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(evenings())
async def test_no_page_is_lost_to_windows_but_of_what_cleared_while_it_was_held(steps: list[Step]) -> None:
    """Whatever fires in the end is open for PagerDuty, with the rules and without, and nothing else is."""

    async def paged(**changes: Any) -> set[str]:
        s = await lived(steps, **changes)
        pages: dict[str, str] = {}
        for line in s.replay.lines:
            if line.get("integration") == "pagerduty":
                pages[line["labels"]["alertname"]] = line["action"]
        return {name for name, last in pages.items() if last != "resolve"}

    assert await paged(inhibit_rules=WINDOWS) == await paged()


async def test_what_a_maintenance_holds_of_other_names_is_left_alone() -> None:
    """WORKS is for two names: everything else is told as ever."""
    s = script(WORKS)
    await works(s, "0:00", duration="1h")
    await s.report("1:00", alert("Slow", "1:00"), alert("Other", "1:00"))
    assert s.heard() == ["1:00 slack open first_notification 1/0/0"]
