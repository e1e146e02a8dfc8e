"""What happens when two things meet: a person and a refire, a reload and an open alert, a mute and a flap, a storm.

Scripts as in test_decide.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.domain import inhibit
from alertbot.domain.decide import decide
from alertbot.domain.events import AlertsReported, ReportedAlert
from alertbot.domain.intervals import parse_interval
from alertbot.domain.matchers import parse_matcher
from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.policy import Flapping, Policy, Severity
from alertbot.domain.routing import Route
from alertbot.domain.situation import SOURCES_NAMED, ActiveSource, Situation
from tests.domain.script import SEVERITIES, START, Script, alert, at, policy, receiver, rule

MINUTE = timedelta(minutes=1)
FLAPS_AT_THREE = Flapping(3, 60 * MINUTE, 30 * MINUTE)


def from_13_to_16(**changes: Any) -> Policy:
    """Muted from three to six hours after the start."""
    night = parse_interval({"times": [{"start_time": "13:00", "end_time": "16:00"}]})
    return policy(
        route=replace(policy().route, mute_time_intervals=("night",)), intervals={"night": (night,)}, **changes
    )


async def ids(s: Script) -> dict[str, str]:
    """The newest incident of each alertname."""
    page = await s.replay.store.incidents()
    return {i.labels.get("alertname", ""): i.id for i in reversed(page.incidents)}


async def reload(s: Script, changed: Policy) -> None:
    await s.replay.engine.adopt(changed)
    s.replay.outbox.policy = changed


# A person resolves.


async def test_a_refire_after_a_person_resolved_opens_again_although_its_own_close_was_not_told_yet() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("0:20", alert("Down", "0:00", "0:19"))
    await s.act("0:30", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.report("0:40", alert("Down", "0:38"))
    await s.until("1:00:00")
    assert s.heard()[-1] == "0:50 slack reopen refired 1/0/0"


async def test_an_alert_that_waited_while_a_person_resolved_is_still_told() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.report("0:20", alert("Down", "0:20", host="b"))
    await s.act("0:30", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.until("2:00")
    assert s.heard() == [
        "0:10 slack open first_notification 1/0/0",
        "0:30 slack resolve resolved_by_person 1/0/0",
        "1:10 slack reopen refired 2/0/0",
    ]


async def test_an_alert_that_was_held_while_a_person_resolved_is_released_all_the_same() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "host=b"),)))
    await s.report("0:00", alert("Source", "0:00"), alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b"))
    await s.until("1:00")
    await s.act("1:30", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.report("2:00", alert("Down", "0:00", "1:59", host="a"))
    await s.report("5:00", alert("Source", "0:00", "5:00"))
    await s.until("1:00:00")
    assert s.heard()[-1] == "6:00 slack reopen hold_ended 1/1/0"


async def test_what_a_person_resolved_and_still_fires_has_no_second_incident_beside_it() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.until("1:00")
    await s.act("1:00", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.report("30:00", alert("Down", "30:00", host="b"))
    await s.until("3:00:00")
    assert s.heard()[-1] == "30:10 slack reopen refired 2/0/0"
    assert len((await s.replay.store.incidents()).incidents) == 1


async def test_once_all_of_it_is_over_an_incident_that_a_person_resolved_is_as_closed_as_any() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    await s.act("1:00", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.report("2:00", alert("Down", "0:00", "2:00"))
    await s.report("30:00", alert("Down", "30:00"))
    await s.until("6:00:00")
    assert s.heard()[2:] == [
        "30:10 slack open first_notification 1/0/0",
        "4:30:10 slack remind repeat_interval 1/0/0",
    ]


async def test_what_a_person_resolved_opens_again_although_another_alert_of_it_is_held_by_then() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "host=b"),)))
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.until("1:00")
    await s.act("1:00", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.report("2:00", alert("Source", "2:00"), alert("Down", "2:00", host="b"))
    await s.until("4:02:00")
    assert s.heard()[-1] == "4:01:00 slack reopen still_firing 1/0/1"


async def test_what_a_person_resolved_does_not_open_again_during_a_mute_but_at_its_end() -> None:
    s = Script(from_13_to_16())
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    await s.act("1:00", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.until("7:00:00")
    assert s.heard()[2:] == ["6:00:00 slack reopen still_firing 1/0/0"]


async def test_what_a_person_resolved_does_not_open_again_while_it_is_inhibited() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "alertname=Down"),)))
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    await s.act("1:00", "resolve", incident=(await ids(s))["Down"], by="ana")
    await s.report("2:00", alert("Source", "2:00"))
    await s.report("5:00:00", alert("Source", "2:00", "5:00:00"))
    await s.until("9:00:00")
    assert [line for line in s.heard() if "still_firing" in line] == ["8:01:00 slack reopen still_firing 1/0/0"]


# Notes and acknowledgements.


async def test_a_note_on_an_incident_that_waits_to_open_again_opens_nothing() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("5:00", alert("Down", "0:00", "5:00"))
    await s.report("6:00", alert("Down", "6:00"))
    await s.act("6:05", "note", incident=(await ids(s))["Down"], by="ana", text="hm")
    await s.until("7:00")
    assert s.heard("pagerduty", "slack")[4:] == [
        "6:05 slack update note_added 1/0/0",
        "6:10 pagerduty reopen refired 1/0/0",
        "6:10 slack reopen refired 1/0/0",
    ]


async def test_notes_and_acknowledgements_put_no_new_alert_off() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.act("5:00", "acknowledge", labels={"alertname": "Down"}, by="ana")
    await s.act("5:01", "note", incident=(await ids(s))["Down"], by="ana", text="hm")
    await s.report("5:02", alert("Down", "5:02", host="b"))
    assert s.heard()[-1] == "5:02 slack reopen new_alert 2/0/0"


async def test_who_is_given_an_incident_has_it_and_it_can_be_given_on() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    down = (await ids(s))["Down"]
    await s.act("2:00", "assign", incident=down, to="bob", by="ana")
    await s.act("3:00", "assign", incident=down, to="eve", by="bob")
    assert s.heard("pagerduty") == [
        "0:10 pagerduty open first_notification 1/0/0",
        "2:00 pagerduty acknowledge assigned 1/0/0",
    ]
    found = await s.replay.store.incident(down)
    assert found is not None
    assert (found.status, found.acknowledged_by, found.acknowledged_at) == ("acknowledged", "eve", at("3:00"))
    await s.until("5:00:00")
    assert [line for line in s.heard() if "remind" in line] == []


async def test_what_is_over_is_given_to_nobody_and_a_refusal_changes_nothing() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    down = (await ids(s))["Down"]
    await s.act("2:00", "refused", incident=down, act="resolve", by="mallory")
    await s.act("2:30", "refused", incident="nosuch", act="resolve", by="mallory")
    await s.report("3:00", alert("Down", "0:00", "3:00"))
    await s.until("5:00")
    s.heard()
    await s.act("6:00", "assign", incident=down, to="bob", by="ana")
    assert s.heard() == []
    entries = (await s.replay.store.entries(incident=down)).entries
    assert [(e.reason, e.by) for e in entries if e.kind == "person"] == [
        ("not_allowed", "mallory"),
        ("already_resolved", "ana"),
    ]


async def test_one_alert_in_two_incidents_is_acknowledged_in_one_and_closes_and_opens_again_in_both() -> None:
    base = policy().route
    both = (replace(base, key="{}/1", continue_=True), replace(base, key="{}/2", receiver="log"))
    s = Script(policy(route=replace(base, routes=both)))
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    ours = next(line["incident"] for line in s.replay.lines if line["integration"] == "slack")
    await s.act("1:00", "acknowledge", incident=ours, by="ana")
    await s.report("5:00", alert("Down", "0:00", "5:00"))
    await s.report("7:00", alert("Down", "7:00"))
    await s.until("9:00")
    assert [line.split(" ", 1)[1] for line in s.heard()] == [
        "slack open first_notification 1/0/0",
        "log open first_notification 1/0/0",
        "slack acknowledge acknowledged 1/0/0",
        "slack resolve all_resolved 0/1/0",
        "log resolve all_resolved 0/1/0",
        "slack reopen refired 1/0/0",
        "log reopen refired 1/0/0",
    ]


async def test_what_joins_an_acknowledged_incident_when_its_hold_ends_opens_it_again() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "host=b"),)))
    await s.report("0:00", alert("Source", "0:00"), alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b"))
    await s.until("1:00")
    await s.act("2:00", "acknowledge", labels={"alertname": "Down"}, by="ana")
    await s.report("5:00", alert("Source", "0:00", "5:00"))
    await s.until("7:00")
    assert s.heard("pagerduty")[-1] == "6:00 pagerduty reopen hold_ended 2/0/0"


# Flapping.


async def flapping(with_policy: Policy, hours: str = "") -> Script:
    """It opens for the second time after ten minutes and is found to flap at that opening, which is still told."""
    s = Script(with_policy)
    await s.report(f"{hours}0:00", alert("Down", f"{hours}0:00"))
    await s.report(f"{hours}5:00", alert("Down", f"{hours}0:00", f"{hours}5:00"))
    await s.report(f"{hours}10:00", alert("Down", f"{hours}10:00"))
    await s.until(f"{hours}11:00")
    assert s.heard("pagerduty")[-1].endswith("pagerduty reopen flapping 1/0/0")
    return s


async def test_an_acknowledgement_while_it_flaps_stops_what_still_calls() -> None:
    s = await flapping(policy(flapping=FLAPS_AT_THREE))
    await s.act("12:00", "acknowledge", labels={"alertname": "Down"}, by="ana")
    assert s.heard("pagerduty") == ["12:00 pagerduty acknowledge acknowledged 1/0/0"]


async def test_a_person_who_resolves_what_flaps_ends_the_page() -> None:
    s = await flapping(policy(flapping=FLAPS_AT_THREE))
    await s.act("12:00", "resolve", incident=(await ids(s))["Down"], by="ana")
    assert s.heard("pagerduty") == ["12:00 pagerduty resolve resolved_by_person 1/0/0"]


async def test_a_fallback_is_brought_in_while_it_flaps_too() -> None:
    receivers = [receiver("ops", "pagerduty", fallback="mail"), receiver("mail", "email"), receiver("log")]
    s = await flapping(policy(flapping=FLAPS_AT_THREE, receivers={r.name: r for r in receivers}))
    await s.act("12:00", "kept_failing", incident=(await ids(s))["Down"], receiver="ops")
    assert s.heard("pagerduty", "email") == ["12:00 email open fell_back 1/0/0"]


async def test_flapping_does_not_end_with_a_page_during_a_mute_but_after_it() -> None:
    s = Script(from_13_to_16(flapping=Flapping(4, 60 * MINUTE, 30 * MINUTE)))
    for start, end in (("2:30:00", "2:33:00"), ("2:36:00", "2:39:00"), ("2:42:00", "")):
        await s.report(start, alert("Down", start))
        if end:
            await s.report(end, alert("Down", start, end))
    await s.until("2:59:00")
    s.heard()
    await s.until("6:30:00")
    assert s.heard("pagerduty") == ["6:00:00 pagerduty reopen flapping_ended 1/0/0"]


async def test_flapping_that_ends_while_it_waits_to_open_again_opens_nothing_by_itself() -> None:
    s = Script(policy(flapping=Flapping(2, 60 * MINUTE, 30 * MINUTE)))
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("5:00", alert("Down", "0:00", "5:00"))
    await s.report("34:55", alert("Down", "34:55"))
    await s.until("1:00:00")
    assert s.heard("pagerduty")[2:] == ["35:05 pagerduty reopen refired 1/0/0"]


# Counts.


async def test_an_alert_that_fires_again_is_no_longer_counted_among_the_resolved() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b"))
    await s.report("5:00", alert("Down", "0:00", "5:00", host="a"))
    await s.report("10:00", alert("Down", "10:00", host="a"))
    await s.report("20:00", alert("Down", "10:00", "20:00", host="a"), alert("Down", "0:00", "20:00", host="b"))
    await s.report("21:00", alert("Down", "21:00", host="a"))
    await s.until("22:00")
    assert [line.rsplit(" ", 1)[1] for line in s.heard()] == ["2/0/0", "1/1/0", "2/0/0", "0/2/0", "1/1/0"]


# Episodes.


@pytest.mark.parametrize("end", ["0:03", "0:05"])
async def test_an_end_at_or_before_its_own_start_is_an_end(end: str) -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:05"))
    await s.report("5:00", alert("Down", "0:05", end))
    await s.report("5:10", alert("Down", "0:05"))
    assert await s.open_alerts() == set()


async def test_an_alert_in_two_incidents_that_was_cut_off_in_one_is_heard_again_there() -> None:
    base = policy().route
    by_host = replace(base, key="{}/host", continue_=True, group_by=("host",))
    s = Script(policy(route=replace(base, routes=(by_host, replace(base, key="{}/all")))))
    await s.report("0:00", alert("Down", "0:00", host="a"), alert("Down", "0:00", host="b"), groupKey="g")
    await s.report("5:00", alert("Down", "0:00", "4:50", host="a"), groupKey="g", truncatedAlerts=1)
    await s.until("7:00")
    assert [i.unknown for i in (await s.replay.store.incidents()).incidents if i.told and i.unknown] == [1]
    await s.report("8:00", alert("Down", "0:00", host="b"), groupKey="g")
    await s.until("10:00")
    assert [i.unknown for i in (await s.replay.store.incidents()).incidents if i.told] == [0, 0]


async def test_grafanas_test_message_has_no_labels_and_opens_and_closes_like_any() -> None:
    s = Script()
    await s.report("0:00", {"status": "firing"})
    await s.report("1:00", {"status": "firing"})
    await s.report("5:00", {"status": "resolved"})
    assert [line.split()[2] for line in s.heard()] == ["open", "resolve"]


async def test_a_start_with_a_zone_offset_is_that_instant() -> None:
    s = Script()
    offset = {"labels": {"alertname": "G"}, "startsAt": "2026-01-05T12:00:00+02:00"}
    await s.report("0:00", {"status": "firing", **offset})
    await s.report("5:00", {"status": "resolved", **offset, "endsAt": "2026-01-05T12:05:00+02:00"})
    await s.report("5:01", alert("G", "0:00"))
    assert [line.split()[2] for line in s.heard()] == ["open", "resolve"]


# A changed config.


async def test_a_refire_after_a_reload_goes_by_the_new_severities_routes_and_rules() -> None:
    base = policy().route
    worst = replace(base, key="{}/worst", receiver="log", matchers=(parse_matcher('alertbot_severity="critical"'),))
    before = policy(route=replace(base, routes=(worst,)))
    s = Script(before)
    await s.report("0:00", alert("Down", "0:00", severity="sos"))
    await s.report("5:00", alert("Down", "0:00", "5:00", severity="sos"))
    s.heard()
    more = (Severity("critical", ("page", "sos")), *SEVERITIES[1:])
    hold = rule("worst", 'alertbot_severity="critical"', "alertname=Slow")
    await reload(s, replace(before, severities=more, inhibit_rules=(hold,)))
    await s.report("30:00", alert("Down", "30:00", severity="sos"), alert("Slow", "30:00"))
    await s.report("31:00", alert("Down", "31:00", severity="sos", host="b"))
    await s.until("40:00")
    assert s.heard() == ["30:10 log open first_notification 1/0/0", "31:10 log update new_alert 2/0/0"]


async def test_an_open_incident_whose_severity_is_gone_from_the_config_takes_the_new_name() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00", host="a", severity="critical"))
    await s.until("1:00")
    await reload(s, policy(severities=(Severity("sev1", ("critical",)), *SEVERITIES[1:])))
    await s.report("5:00", alert("Down", "5:00", host="b", severity="warning"))
    assert s.heard()[-1] == "5:00 slack update new_alert 2/0/0"
    assert s.replay.lines[-1]["severity"] == "sev1"


async def test_a_rule_that_a_reload_takes_away_holds_no_more() -> None:
    hold = rule("r", "alertname=Source", "alertname=Down")
    s = Script(policy(inhibit_rules=(hold,)))
    await s.report("0:00", alert("Source", "0:00"), alert("Down", "0:00"))
    await s.until("1:00")
    s.heard()
    await reload(s, policy())
    await s.until("2:00")
    assert s.heard() == ["1:00 slack open hold_ended 1/0/0"]


# Holds.


async def test_more_sources_than_are_loaded_hold_on_when_those_that_were_loaded_end() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "host=held"),)))
    sources = [alert("Source", "0:00", n=str(n)) for n in range(SOURCES_NAMED + 2)]
    down = [alert("Down", "0:00", host=host) for host in ("held", "a", "b")]
    await s.report("0:00", *sources, *down)
    await s.until("4:00")
    s.heard()
    ended = sorted(sources, key=lambda a: str(a["fingerprint"]))[:SOURCES_NAMED]
    ended = [{**a, "status": "resolved", "endsAt": at("5:00").isoformat()} for a in ended]
    # The target's incident is looked at in the same instant, because another of its alerts ended.
    await s.report("5:00", *ended, alert("Down", "0:00", "5:00", host="a"))
    await s.until("20:00")
    assert [line for line in s.heard() if "hold_ended" in line] == []
    await s.report("20:00", *({**a, "status": "resolved", "endsAt": at("20:00").isoformat()} for a in sources))
    await s.until("30:00")
    assert [line for line in s.heard() if "hold_ended" in line] == ["21:00 slack update hold_ended 2/1/0"]


async def test_a_source_that_fires_again_before_its_target_is_looked_at_holds_on() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "alertname=Down"),)))
    await s.report("0:00", alert("Source", "0:00"), alert("Down", "0:00"))
    await s.report("10:00", alert("Source", "0:00", "10:00"))
    await s.report("10:30", alert("Source", "10:20"))
    await s.until("1:00:00")
    assert [line for line in s.heard() if "hold_ended" in line] == []


async def test_what_is_inhibited_and_then_muted_waits_for_the_end_of_both() -> None:
    night = parse_interval({"times": [{"start_time": "10:05", "end_time": "10:20"}]})
    base = policy().route
    muted = replace(base, key="{}/m", matchers=(parse_matcher("alertname=Down"),), mute_time_intervals=("n",))
    hold = rule("r", "alertname=Source", "alertname=Down")
    s = Script(policy(inhibit_rules=(hold,), route=replace(base, routes=(muted,)), intervals={"n": (night,)}))
    await s.report("0:00", alert("Source", "0:00"), alert("Down", "0:00"))
    await s.report("10:00", alert("Source", "0:00", "10:00"))
    await s.until("1:00:00")
    assert s.decisions() == ["0:10 Down held r", "11:00 Down muted n"]
    s._seen = 0
    assert s.heard()[-1] == "20:00 slack open hold_ended 1/0/0"


async def test_what_resolves_in_the_instant_in_which_its_hold_ends_is_cleared() -> None:
    s = Script(policy(inhibit_rules=(rule("r", "alertname=Source", "alertname=Down", duration=10 * MINUTE),)))
    await s.report("0:00", alert("Source", "0:00"), alert("Down", "0:00"))
    await s.report("10:00", alert("Down", "0:00", "10:00"))
    await s.until("1:00:00")
    assert s.decisions() == ["0:10 Down held r", "10:00 Down cleared r"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        # Values that hold the separator itself: control characters do occur.
        ({"a": "x\x1fy"}, {"a": "x", "b": "y\x1f"}),
        ({"a": "x\x1f", "b": "y"}, {"a": "x", "b": "\x1fy"}),
        # And what stands in for it.
        ({"a": "\x1f"}, {"a": "\\s"}),
        ({"a": "\\\x1f"}, {"a": "\\\\s"}),
    ],
)
def test_two_sets_of_values_are_never_one_relation(one: dict[str, str], other: dict[str, str]) -> None:
    equal = rule("r", "a=~.*", "a=~.*", "a", "b")
    assert inhibit.relation(equal, one) != inhibit.relation(equal, other)


# Storms.


def _source(n: int, *, two_sided: bool = False) -> ActiveSource:
    return ActiveSource(f"{n:05}", START + n * MINUTE, two_sided)


def test_of_many_sources_the_earliest_are_looked_at_on_each_side() -> None:
    situation = Situation(policy())
    many = [*(_source(n) for n in range(1000)), *(_source(n, two_sided=True) for n in range(1000, 2000))]
    situation.add(relations={"r": reversed(many)})
    found = situation.sources("r")
    assert found == [*many[:SOURCES_NAMED], *many[1000 : 1000 + SOURCES_NAMED]]
    situation.add(relations={"r": [replace(many[0], identity="earlier", starts_at=START - MINUTE)]})
    assert situation.sources("r")[0].identity == "earlier"


class Watched(Situation):
    """Counts how often it is asked who waits."""

    asked = 0

    def waiting(self, relation: str) -> list[str]:
        self.asked += 1
        return Situation.waiting(self, relation)


def test_who_waits_is_looked_for_once_however_many_sources_end() -> None:
    situation = Watched(policy(inhibit_rules=(rule("r", "alertname=Source", "alertname=Down"),)))
    firing = [ReportedAlert(f"s{n}", {"alertname": "Source", "n": str(n)}, {}, True, START) for n in range(50)]
    situation.apply(decide(situation, AlertsReported("alertmanager", tuple(firing)), START))
    held = Incident("held", "k", "{}", "ops", {}, "t", "high", IncidentStatus.HELD, START)
    situation.add(incidents=[held], waiting={"r": ["held"]})
    over = tuple(replace(a, firing=False, ends_at=at("5:00")) for a in firing)
    decision = decide(situation, AlertsReported("alertmanager", over), at("5:00"))
    assert [i.flush_at for i in decision.incidents if i.id == "held"] == [at("6:00")]
    assert situation.asked == 1


# Everything together.

Step = tuple[int, str, dict[str, Any]]
NAMES = ("Down", "Slow", "Deploy")
RULES = (
    rule("the worst only", 'severity="critical"', 'severity="high"', "host"),
    rule("for a while", 'alertname="Deploy"', 'alertname=~"Slow|Down"', duration=timedelta(minutes=10)),
    rule("one way", 'alertname="Slow"', 'alertname="Down"', "host"),
    rule("the other way", 'alertname="Down"', 'alertname="Slow"', "host", duration=timedelta(minutes=30)),
)


def clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@st.composite
def configs(draw: st.DrawFn) -> Policy:
    """Routes that continue, group differently, are muted and wait for no time at all; some of the rules."""
    base = policy().route
    times = [{"start_time": "12:00", "end_time": "12:40"}, {"start_time": "15:00", "end_time": "18:00"}]
    night = parse_interval({"times": times})
    a = replace(
        base,
        key="{}/a",
        matchers=(parse_matcher('alertname=~"Slow|Down"'),),
        continue_=draw(st.booleans()),
        mute_time_intervals=draw(st.sampled_from([(), ("night",)])),
        group_by=draw(st.sampled_from([("alertname",), None, ()])),
    )
    b = replace(
        base,
        key="{}/b",
        receiver="mail",
        matchers=(parse_matcher('alertbot_severity=~"critical|low"'),),
        group_by=("host",),
        group_wait=draw(st.sampled_from([0, 3])) * MINUTE,
        group_interval=draw(st.sampled_from([0, 1, 10])) * MINUTE,
        repeat_interval=draw(st.sampled_from([5, 240])) * MINUTE,
    )
    routes: tuple[Route, ...] = draw(st.sampled_from([(), (a,), (a, b), (b, a)]))
    receivers = [
        receiver("ops", "pagerduty", "slack", fallback="mail"),
        receiver("mail", "email", "sms"),
        receiver("log"),
    ]
    return policy(
        route=replace(base, routes=routes),
        receivers={r.name: r for r in receivers},
        intervals={"night": (night,)},
        inhibit_rules=tuple(draw(st.sets(st.sampled_from(RULES)))),
        flapping=draw(st.sampled_from([None, FLAPS_AT_THREE, Flapping(4, 60 * MINUTE, 30 * MINUTE)])),
    )


@st.composite
def evenings(draw: st.DrawFn) -> list[Step]:
    """Reports, some of them cut off, and what people do meanwhile, to the n-th incident there is."""
    steps: list[Step] = []
    since: dict[tuple[str, str, str], int] = {}
    now = 0
    kinds = ["report"] * 5 + ["acknowledge", "resolve", "note", "kept_failing", "reload"]
    for _ in range(draw(st.integers(1, 30))):
        now += draw(st.sampled_from([0, 1, 30, 60, 120, 600, 4000]))
        kind = draw(st.sampled_from(kinds))
        if kind != "report":
            steps.append((now, kind, {"n": draw(st.integers(0, 5))}))
            continue
        body: dict[tuple[str, str, str], dict[str, Any]] = {}
        for _ in range(draw(st.integers(1, 4))):
            key = (
                draw(st.sampled_from(NAMES)),
                draw(st.sampled_from("ab")),
                draw(st.sampled_from(["critical", "high", "low"])),
            )
            if key in body:
                continue
            over = key in since and draw(st.booleans())
            start = clock(since.pop(key) if over else since.setdefault(key, now))
            body[key] = alert(key[0], start, clock(now) if over else None, host=key[1], severity=key[2])
        steps.append(
            (now, kind, {"alerts": list(body.values()), "truncatedAlerts": draw(st.sampled_from([0, 0, 0, 2]))})
        )
    return steps


async def play(s: Script, steps: Sequence[Step], reloads: Policy | None) -> None:
    """Lets it happen; after each step no group has two incidents that are not over."""
    for when, kind, what in steps:
        incidents = (await s.replay.store.incidents(limit=1000)).incidents
        if kind == "report":
            await s.report(clock(when), *what["alerts"], groupKey="g", truncatedAlerts=what["truncatedAlerts"])
        elif kind == "reload":
            await s.until(clock(when))
            if reloads is not None:
                await reload(s, reloads)
        elif incidents:
            words = {"note": {"text": "hm"}, "kept_failing": {"receiver": "ops"}}.get(kind, {})
            of = incidents[what["n"] % len(incidents)].id
            await s.act(clock(when), kind, **{"incident": of, "by": "ana", **words})
        live = [
            i.key
            for i in (await s.replay.store.incidents(limit=1000)).incidents
            if i.status is not IncidentStatus.RESOLVED
        ]
        assert len(live) == len(set(live))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(configs(), evenings(), st.none() | configs())
async def test_whatever_people_do_meanwhile_nothing_that_fires_is_swallowed(
    config: Policy, steps: list[Step], reloads: Policy | None
) -> None:
    """A day later each alert that fires was told or is held, and what a person resolved has a time to open again."""
    s = Script(config)
    await play(s, steps, reloads)
    await s.until(clock(steps[-1][0] + 30 * 3600))
    for incident in (await s.replay.store.incidents(limit=1000)).incidents:
        firing = [a for a in await s.replay.store.members(incident.id, 1000) if a.firing and a.current]
        told = [a for a in firing if a.announced]
        assert incident.status is not IncidentStatus.PENDING
        assert all(a.announced != (a.hold is not None) and not a.settled for a in firing)
        assert not incident.told or told
        assert not told or incident.told or incident.repeat_at is not None
        assert incident.held == len(firing) - len(told)
        assert not incident.told or incident.firing == len(told)
        assert not incident.flapping
    if reloads is None:
        _check_pages(s, config)


def _check_pages(s: Script, config: Policy) -> None:
    """PagerDuty hears of an opening first, and of a close only where it is open."""
    open_there: dict[tuple[str, str], bool] = {}
    for line in (line for line in s.replay.lines if line.get("integration") == "pagerduty"):
        key = (line["incident"], line["receiver"])
        match line["action"]:
            case "open":
                assert key not in open_there
                open_there[key] = True
            case "reopen":
                assert key in open_there
                open_there[key] = True
            case "resolve":
                assert open_there[key]
                open_there[key] = False
            case "acknowledge" | "update":
                assert open_there[key]
