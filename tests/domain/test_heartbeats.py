"""What must keep arriving, and what is told when it does not. Scripts as in test_decide."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from alertbot.domain.matchers import parse_matcher
from alertbot.domain.model import Incident
from alertbot.domain.policy import Heartbeat, Policy
from tests.domain.script import Script, alert, policy, rule

MINUTE = timedelta(minutes=1)
PROMETHEUS = Heartbeat("prometheus", (parse_matcher('alertname="Watchdog"'),), 5 * MINUTE, "ops", MINUTE)


def waiting(**changes: Any) -> Policy:
    return policy(heartbeats=(PROMETHEUS,), **changes)


async def incidents(s: Script) -> list[Incident]:
    """Those that people may see, the oldest first."""
    return [i for i in (await s.replay.store.incidents()).incidents if not i.watch][::-1]


async def watches(s: Script) -> list[str]:
    return [i.id for i in (await s.replay.store.incidents(statuses=["pending"])).incidents if i.watch]


async def beat(s: Script, offset: str, cluster: str = "a", started: str = "0:00") -> None:
    await s.report(offset, alert("Watchdog", started, severity="none", cluster=cluster))


async def test_a_heartbeat_is_no_alert_and_nobody_hears_of_it_while_it_comes() -> None:
    s = Script(waiting())
    for minute in range(0, 60, 5):
        await beat(s, f"{minute}:00")
    assert s.decisions()[0] == "0:00 Watchdog heartbeat prometheus"
    assert (s.heard("pagerduty", "slack"), await incidents(s)) == ([], [])


async def test_what_stays_away_is_an_incident_that_says_which_since_when_and_closes_when_it_is_back() -> None:
    s = Script(waiting())
    for minute in (0, 5, 10):
        await beat(s, f"{minute}:00")
    await s.until("15:59")
    assert s.heard("pagerduty") == []
    await s.until("16:00")
    assert s.heard("pagerduty", "slack") == [
        "16:00 pagerduty open first_notification 1/0/0",
        "16:00 slack open first_notification 1/0/0",
    ]
    (silent,) = await incidents(s)
    assert silent.title == "Heartbeat prometheus of cluster=a is silent since 2026-01-05 10:10 UTC"
    assert (silent.severity, silent.receiver) == ("critical", "ops")
    await s.until("50:00")
    await beat(s, "50:00")
    await s.until("51:00")
    assert s.heard("pagerduty", "slack") == [
        "50:00 pagerduty resolve all_resolved 0/1/0",
        "50:00 slack resolve all_resolved 0/1/0",
    ]
    await s.until("56:00")
    assert s.heard("pagerduty") == ["56:00 pagerduty reopen refired 1/0/0"], "it is missed again, soon after"


async def test_of_two_that_send_it_either_may_fall_silent() -> None:
    s = Script(waiting())
    await beat(s, "0:00", "a")
    await beat(s, "0:00", "b")
    for minute in (5, 10, 15):
        await beat(s, f"{minute}:00", "b")
    await s.until("16:00")
    assert [i.title for i in await incidents(s)] == [
        "Heartbeat prometheus of cluster=a is silent since 2026-01-05 10:00 UTC"
    ]


async def test_one_that_never_came_is_missed_a_period_after_the_first_start_and_closes_with_the_first_that_comes() -> (
    None
):
    s = Script(waiting())
    await s.act("0:00", "heartbeats", started=True)
    await s.until("5:59")
    assert s.heard() == []
    await s.until("6:00")
    assert [i.title for i in await incidents(s)] == ["Heartbeat prometheus is not heard since 2026-01-05 10:00 UTC"]
    await beat(s, "10:00")
    await s.until("11:00")
    assert s.heard("pagerduty")[-1] == "10:00 pagerduty resolve all_resolved 0/1/0"
    await s.until("16:00")
    assert len(await incidents(s)) == 2, "from then on it is the one that came that is missed"


async def test_after_alertbot_was_away_nothing_is_missed_before_a_whole_period() -> None:
    s = Script(waiting())
    await beat(s, "0:00")
    await s.act("5:30", "heartbeats", started=True, watches=await watches(s))
    await s.until("11:29")
    assert s.heard() == []
    await s.until("11:30")
    assert s.heard() == ["11:30 slack open first_notification 1/0/0"]


async def test_a_silence_noticed_late_was_ours() -> None:
    """The store was away, or the process stood still: the time comes and goes with nobody to notice."""
    s = Script(waiting())
    await beat(s, "0:00")
    s.replay.clock.advance(timedelta(minutes=20))
    await s.replay.engine.turn()
    assert await incidents(s) == []
    await s.until("26:00")
    assert len(await incidents(s)) == 1


async def test_a_reload_gives_no_more_time_to_what_is_waited_for() -> None:
    s = Script(waiting())
    await beat(s, "0:00")
    await s.act("5:30", "heartbeats", watches=await watches(s))
    await s.until("6:00")
    assert len(await incidents(s)) == 1


async def test_one_that_a_person_gave_up_on_is_not_asked_for_until_it_comes_again() -> None:
    s = Script(waiting())
    await beat(s, "0:00")
    await s.until("7:00")
    await s.act("8:00", "resolve", incident=(await incidents(s))[0].id, by="ana")
    s.heard()
    await s.until("24:00:00")
    assert s.heard() == []
    await beat(s, "24:00:00")
    await s.until("24:05:59")
    assert s.heard() == []
    await s.until("24:06:00")
    assert [line.split()[2] for line in s.heard()] == ["open"]


async def test_a_heartbeat_that_is_no_longer_in_the_config_is_forgotten() -> None:
    s = Script(waiting())
    await beat(s, "0:00")
    s.replay.engine.policy = policy()
    await s.until("1:00:00")
    assert (await incidents(s), await watches(s)) == ([], [])


async def test_a_missed_heartbeat_can_hold_others_and_be_held() -> None:
    s = Script(waiting(inhibit_rules=(rule("dark", "alertname=HeartbeatSilent", "alertname=Down"),)))
    await beat(s, "0:00")
    await s.report("7:00", alert("Down", "7:00"))
    await s.until("20:00")
    assert [line.split()[2] for line in s.heard()] == ["open"]
    await beat(s, "20:00")
    await s.until("22:00")
    assert s.heard()[-1] == "21:00 slack open hold_ended 1/0/0"
