"""Episodes, incidents, timers: what a person hears, and when. Each test is a script on a time axis."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from alertbot.domain.policy import Flapping
from tests.domain.script import Script, alert, policy, receiver, rule

# Episodes, not messages.


async def test_an_episode_is_told_once_when_it_opens_and_once_when_it_closes() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("0:05", alert("Down", "0:00"))
    await s.report("2:00", alert("Down", "0:00"))
    await s.report("5:00", alert("Down", "0:00", "4:50"))
    await s.report("5:30", alert("Down", "0:00", "4:50"))
    await s.until("20:00")
    assert s.heard() == [
        "0:10 slack open first_notification 1/0/0",
        "5:00 slack resolve all_resolved 0/1/0",
    ]


async def test_the_twin_of_a_pair_is_a_duplicate_whatever_its_start() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"), externalURL="http://a")
    await s.report("0:15", alert("Down", "0:03"), externalURL="http://b")
    await s.report("5:00", alert("Down", "0:00", "4:50"), externalURL="http://a")
    await s.report("5:15", alert("Down", "0:03"), externalURL="http://b")
    await s.until("30:00")
    assert [line.split()[2] for line in s.heard()] == ["open", "resolve"]


async def test_a_late_firing_after_the_close_is_stale() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("5:00", alert("Down", "0:00", "4:50"))
    s.heard()
    await s.report("5:15", alert("Down", "0:00"))
    assert s.decisions() == ["5:15 Down stale_firing"]
    await s.until("4:30:00")
    assert s.heard() == []


async def test_a_resolve_that_overtakes_its_firing_leaves_nothing_open() -> None:
    s = Script()
    await s.report("5:00", alert("Down", "0:00", "4:50"))
    await s.report("5:10", alert("Down", "0:00"))
    assert s.decisions() == ["5:00 Down never_fired_here", "5:10 Down stale_firing"]
    await s.until("20:00")
    assert s.heard() == []
    assert await s.open_alerts() == set()


async def test_a_late_resolve_of_an_earlier_episode_does_not_close_the_present_one() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("8:00", alert("Down", "6:00"))
    await s.report("8:05", alert("Down", "0:00", "5:00"))
    await s.until("20:00")
    assert s.heard() == ["0:10 slack open first_notification 1/0/0"]


async def test_a_start_that_moves_while_open_is_a_continuation() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("30:00", alert("Down", "29:00"))
    await s.report("40:00", alert("Down", "29:00", "39:00"))
    assert [line.split()[2] for line in s.heard()] == ["open", "resolve"]


async def test_a_sender_that_still_says_firing_long_after_the_close_is_believed() -> None:
    """Its own old start notwithstanding: after this long it is no late delivery but its present opinion."""
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("5:00", alert("Down", "0:00", "4:50"))
    await s.report("25:00", alert("Down", "0:00"))
    await s.until("26:00")
    assert [line.split()[2] for line in s.heard()] == ["open", "resolve", "open"]


async def test_an_alert_that_resolves_within_group_wait_is_never_sent() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("0:08", alert("Down", "0:00", "0:07"))
    await s.until("20:00")
    assert s.decisions() == ["0:10 Down resolved_before_notify"]
    assert s.heard() == []


async def test_a_refire_before_the_close_was_told_changes_nothing_for_people() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("0:20", alert("Down", "0:00", "0:19"))
    await s.report("0:40", alert("Down", "0:35"))
    await s.until("20:00")
    assert s.heard() == ["0:10 slack open first_notification 1/0/0"]


async def test_a_truncated_body_keeps_what_was_cut_off_open_and_unknown() -> None:
    s = Script()
    pair = [alert("Down", "0:00", host=h) for h in "abc"]
    await s.report("0:00", *pair, groupKey="g")
    await s.report("5:00", alert("Down", "0:00", "4:50", host="a"), groupKey="g", truncatedAlerts=2, status="resolved")
    assert s.decisions() == ["5:00 Down cut_off"] * 2
    assert len(await s.open_alerts()) == 2
    await s.report("6:00", alert("Down", "0:00", "5:50", host="b"), alert("Down", "0:00", host="c"), groupKey="g")
    await s.until("7:30")
    s.heard()
    await s.report("8:00", alert("Down", "0:00", "7:50", host="c"), groupKey="g")
    assert s.heard() == ["8:00 slack resolve all_resolved 0/3/0"]


async def test_two_label_sets_with_one_fingerprint_are_two_alerts() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a", fingerprint_="f"))
    await s.report("0:01", alert("Down", "0:00", host="b", fingerprint_="f"))
    await s.until("1:00")
    assert s.heard() == ["0:10 slack open first_notification 2/0/0"]


# An incident that changes.


async def test_a_new_alert_in_an_open_incident_says_so_after_group_interval() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.report("0:20", alert("Down", "0:19", host="b"))
    await s.until("5:00")
    assert s.heard("pagerduty", "slack") == [
        "0:10 pagerduty open first_notification 1/0/0",
        "0:10 slack open first_notification 1/0/0",
        "1:10 pagerduty update new_alert 2/0/0",
        "1:10 slack update new_alert 2/0/0",
    ]


async def test_some_resolved_only_edits_the_card() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b"))
    await s.report("3:00", alert("Down", "0:00", "2:50", host="a"))
    await s.until("5:00")
    assert s.heard("pagerduty", "slack")[2:] == ["3:00 slack update some_resolved 1/1/0"]


async def test_a_higher_severity_says_so() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a", severity="warning"))
    await s.report("2:00", alert("Down", "2:00", host="a", severity="critical"))
    assert s.heard()[1] == "2:00 slack update severity_raised 2/0/0"


async def test_an_acknowledged_incident_that_gains_an_alert_opens_again() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.until("1:00")
    await s.act("1:00", "acknowledge", labels={"alertname": "Down"}, by="ana")
    await s.act("1:05", "acknowledge", labels={"alertname": "Down"}, by="bo")
    await s.until("9:00:00")
    await s.report("9:00:00", alert("Down", "9:00:00", host="b"))
    assert s.heard("pagerduty", "slack") == [
        "0:10 pagerduty open first_notification 1/0/0",
        "0:10 slack open first_notification 1/0/0",
        "1:00 pagerduty acknowledge acknowledged 1/0/0",
        "1:00 slack acknowledge acknowledged 1/0/0",
        "9:00:00 pagerduty reopen new_alert 2/0/0",
        "9:00:00 slack reopen new_alert 2/0/0",
    ]


async def test_a_refire_soon_after_the_close_reopens_the_incident_and_a_late_one_opens_another() -> None:
    s = Script(policy(flapping=None))
    for start, end in (("0:00", "5:00"), ("12:00", "13:00"), ("2:00:00", "2:01:00")):
        await s.report(start, alert("Down", start))
        await s.report(end, alert("Down", start, end))
    await s.until("2:10:00")
    lines = [line for line in s.replay.lines if line.get("integration") == "slack"]
    assert [line["action"] for line in lines] == ["open", "resolve", "reopen", "resolve", "open", "resolve"]
    ids = [line["incident"] for line in lines]
    assert ids[0] == ids[3] != ids[4] == ids[5]


async def test_what_flaps_is_said_to_flap_and_pages_no_more_until_it_is_quiet() -> None:
    s = Script(policy(flapping=Flapping(4, timedelta(hours=1), timedelta(minutes=30))))
    for n in range(5):
        await s.report(f"{n * 6}:00", alert("Down", f"{n * 6}:00"))
        if n < 4:
            await s.report(f"{n * 6 + 3}:00", alert("Down", f"{n * 6}:00", f"{n * 6 + 3}:00"))
    await s.until("2:00:00")
    assert s.heard("pagerduty", "slack") == [
        "0:10 pagerduty open first_notification 1/0/0",
        "0:10 slack open first_notification 1/0/0",
        "3:00 pagerduty resolve all_resolved 0/1/0",
        "3:00 slack resolve all_resolved 0/1/0",
        "6:10 pagerduty reopen refired 1/0/0",
        "6:10 slack reopen refired 1/0/0",
        "9:00 pagerduty resolve flapping 0/1/0",
        "9:00 slack resolve flapping 0/1/0",
        "12:10 slack update flapping 1/0/0",
        "15:00 slack update flapping 0/1/0",
        "18:10 slack update flapping 1/0/0",
        "21:00 slack update flapping 0/1/0",
        "24:10 slack update flapping 1/0/0",
        "54:10 pagerduty reopen flapping_ended 1/0/0",
        "54:10 slack update flapping_ended 1/0/0",
    ]


async def test_reminders_go_to_chat_until_somebody_acknowledges() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("8:30:00")
    await s.act("8:30:00", "acknowledge", labels={"alertname": "Down"}, by="ana")
    await s.until("30:00:00")
    assert s.heard("pagerduty", "slack") == [
        "0:10 pagerduty open first_notification 1/0/0",
        "0:10 slack open first_notification 1/0/0",
        "4:00:10 slack remind repeat_interval 1/0/0",
        "8:00:10 slack remind repeat_interval 1/0/0",
        "8:30:00 pagerduty acknowledge acknowledged 1/0/0",
        "8:30:00 slack acknowledge acknowledged 1/0/0",
    ]


async def test_what_a_person_resolved_and_still_fires_opens_again_after_repeat_interval() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    incident = s.replay.lines[-1]["incident"]
    await s.act("1:00", "resolve", incident=incident, by="ana")
    await s.report("2:00", alert("Down", "0:00"))
    await s.until("4:02:00")
    assert s.heard() == [
        "0:10 slack open first_notification 1/0/0",
        "1:00 slack resolve resolved_by_person 1/0/0",
        "4:01:00 slack reopen still_firing 1/0/0",
    ]


# Holds.

CRITICAL_HOLDS = rule("the worst only", 'severity="critical"', 'severity=~"high|warning"', "host")


async def test_an_alert_held_by_another_is_released_when_that_ends() -> None:
    s = Script(policy(inhibit_rules=(CRITICAL_HOLDS,)))
    await s.report("0:00", alert("Down", "0:00", severity="critical", host="a"), alert("Slow", "0:00", host="a"))
    await s.until("5:00")
    assert s.heard() == ["0:10 slack open first_notification 1/0/0"]
    await s.report("5:00", alert("Down", "0:00", "5:00", severity="critical", host="a"))
    await s.until("10:00")
    assert s.heard() == ["5:00 slack resolve all_resolved 0/1/0", "6:00 slack open hold_ended 1/0/0"]


async def test_what_resolves_while_held_is_recorded_and_never_sent() -> None:
    s = Script(policy(inhibit_rules=(CRITICAL_HOLDS,)))
    await s.report("0:00", alert("Down", "0:00", severity="critical", host="a"), alert("Slow", "0:00", host="a"))
    await s.report("3:00", alert("Slow", "0:00", "3:00", host="a"))
    await s.report("5:00", alert("Down", "0:00", "5:00", severity="critical", host="a"))
    await s.until("20:00")
    assert s.decisions() == ["0:10 Slow held the worst only", "3:10 Slow cleared the worst only"]
    s._seen = 0
    assert [line for line in s.heard() if "slack" in line] == [
        "0:10 slack open first_notification 1/0/0",
        "5:00 slack resolve all_resolved 0/1/0",
    ]


async def test_duration_is_the_longest_that_a_rule_holds_from_its_sources_start() -> None:
    hold = rule("maintenance", 'alertname="Maintenance"', 'alertname="Slow"', duration=timedelta(minutes=15))
    s = Script(policy(inhibit_rules=(hold,)))
    await s.report("0:00", alert("Maintenance", "0:00"))
    await s.report("5:00", alert("Slow", "5:00"))
    await s.until("1:00:00")
    assert s.heard() == ["0:10 slack open first_notification 1/0/0", "15:00 slack open hold_ended 1/0/0"]
    await s.report("1:00:00", alert("Slow", "59:00", host="b"))
    await s.until("1:02:00")
    assert s.heard() == ["1:00:00 slack update new_alert 2/0/0"]


async def test_a_held_alert_does_not_keep_its_group_from_speaking() -> None:
    s = Script(policy(inhibit_rules=(CRITICAL_HOLDS,)))
    await s.report("0:00", alert("Down", "0:00", severity="critical", host="a"))
    await s.report("0:01", alert("Slow", "0:00", host="a"), alert("Slow", "0:00", host="b"))
    await s.until("2:00")
    assert s.heard() == [
        "0:10 slack open first_notification 1/0/0",
        "0:11 slack open first_notification 1/0/1",
    ]


# Mutes.


async def test_what_still_fires_when_a_mute_ends_is_told_then() -> None:
    from alertbot.domain.intervals import parse_interval

    night = parse_interval({"times": [{"start_time": "09:30", "end_time": "10:30"}]})
    base = policy()
    s = Script(policy(route=replace(base.route, mute_time_intervals=("night",)), intervals={"night": (night,)}))
    await s.report("0:00", alert("Down", "0:00"), alert("Short", "0:00"))
    await s.report("20:00", alert("Short", "0:00", "19:00"))
    await s.until("3:00:00")
    assert s.heard() == ["30:00 slack open hold_ended 1/0/0"]


# People and tests.


async def test_a_fallback_hears_of_the_incident_from_then_on() -> None:
    receivers = {r.name: r for r in (receiver("ops", "slack", fallback="log"), receiver("log"))}
    s = Script(policy(receivers=receivers))
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    await s.act("1:00", "kept_failing", incident=s.replay.lines[-1]["incident"], receiver="ops")
    await s.report("5:00", alert("Down", "0:00", "5:00"))
    assert s.heard() == [
        "0:10 slack open first_notification 1/0/0",
        "1:00 log open fell_back 1/0/0",
        "5:00 slack resolve all_resolved 0/1/0",
        "5:00 log resolve all_resolved 0/1/0",
    ]
