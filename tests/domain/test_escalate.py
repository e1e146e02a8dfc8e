"""Nobody acknowledges: who is brought in, when, and what stops it. Scripts as in test_decide."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertbot.domain.deadlines import next_step
from alertbot.domain.intervals import parse_interval
from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.policy import Escalation, EscalationStep, Flapping, Policy, Severity
from tests.domain.script import SEVERITIES, START, Script, alert, policy, receiver, rule

MINUTE = timedelta(minutes=1)
TO_THE_LEAD = Escalation("lead", (EscalationStep(5 * MINUTE, "lead"), EscalationStep(15 * MINUTE, "boss")))
ALL = ("pagerduty", "slack", "sms", "email")


def late(escalation: Escalation = TO_THE_LEAD, **changes: Any) -> Policy:
    """`ops` in PagerDuty and Slack; then `lead`, the same; then `boss` by mail and SMS. A new alert waits 10 s."""
    route = changes.pop("route", policy().route)
    receivers = (receiver("ops", "pagerduty", "slack"), receiver("lead", "pagerduty", "slack"))
    return policy(
        route=replace(route, escalation=escalation.name),
        receivers={r.name: r for r in (*receivers, receiver("boss", "email", "sms"), receiver("log"))},
        escalations={escalation.name: escalation},
        **changes,
    )


async def of(s: Script) -> Incident:
    """The newest incident."""
    return (await s.replay.store.incidents()).incidents[0]


async def reasons(s: Script) -> list[str]:
    """What the newest incident's record says of time and people."""
    page = await s.replay.store.entries(incident=(await of(s)).id, limit=500)
    return [e.reason.value for e in page.entries if e.kind in ("incident", "person")]


def whom(s: Script, *integrations: str) -> list[str]:
    """As `Script.heard`, with the receiver in the place of the counts."""
    seen = s.replay.lines[s._seen :]
    said = s.heard(*(integrations or ALL))
    names = [line["receiver"] for line in seen if line.get("integration") in (integrations or ALL)]
    return [f"{line.rsplit(' ', 1)[0]} {name}" for line, name in zip(said, names, strict=True)]


@pytest.mark.parametrize(
    ("taken", "repeat", "step"),
    [
        # The steps come in the order of their times, counted from the opening.
        (0, 0, ("5m", "lead")),
        (1, 0, ("15m", "boss")),
        # After the last there is none.
        (2, 0, None),
        # With `repeat` they start again when the last was taken.
        (2, 1, ("20m", "lead")),
        (3, 1, ("30m", "boss")),
        (4, 1, None),
    ],
)
def test_the_next_step(taken: int, repeat: int, step: tuple[str, str] | None) -> None:
    incident = Incident("i", "k", "{}", "ops", {}, "t", "high", IncidentStatus.OPEN, START, steps_taken=taken)
    found = next_step(late(replace(TO_THE_LEAD, repeat=repeat)), incident)
    assert (found and (f"{found.after // MINUTE}m", found.receiver)) == step


async def test_who_did_not_acknowledge_in_time_gets_company_step_by_step() -> None:
    s = Script(late())
    await s.report("0:00", alert("Down", "0:00"))
    assert (await of(s)).escalates_to == ""
    await s.until("1:00")
    assert ((await of(s)).escalates_to, (await of(s)).escalate_at) == (
        "lead",
        START + 5 * MINUTE + timedelta(seconds=10),
    )
    await s.until("2:00:00")
    assert whom(s) == [
        "0:10 pagerduty open first_notification ops",
        "0:10 slack open first_notification ops",
        "5:10 slack update escalated ops",
        "5:10 pagerduty escalate escalated lead",
        "5:10 slack escalate escalated lead",
        "15:10 slack update escalated ops",
        "15:10 slack update escalated lead",
        "15:10 email escalate escalated boss",
        "15:10 sms escalate escalated boss",
    ]
    assert await reasons(s) == ["escalated", "escalated"]


async def test_an_acknowledgement_ends_it_and_all_who_were_brought_in_hear_the_close() -> None:
    s = Script(late())
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("6:00")
    await s.act("7:00", "acknowledge", incident=(await of(s)).id, by="ana")
    assert (await of(s)).escalate_at is None
    await s.until("30:00")
    s.heard()
    await s.report("40:00", alert("Down", "0:00", "39:00"))
    assert whom(s, "pagerduty") == [
        "40:00 pagerduty resolve all_resolved ops",
        "40:00 pagerduty resolve all_resolved lead",
    ]


async def test_a_new_alert_ends_the_acknowledgement_and_the_steps_count_anew() -> None:
    s = Script(late())
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.act("6:00", "acknowledge", incident=(await of(s)).id, by="ana")
    await s.report("20:00", alert("Down", "20:00", host="b"))
    s.heard()
    assert (await of(s)).resting == ("lead",)
    await s.until("24:59")
    # The lead was brought in before; that does not make every later page the lead's.
    assert whom(s, "pagerduty") == []
    await s.until("26:00")
    assert whom(s) == [
        "25:00 slack update escalated ops",
        "25:00 pagerduty escalate escalated lead",
        "25:00 slack escalate escalated lead",
    ]
    await s.report("27:00", alert("Down", "0:00", "26:00", host="a"), alert("Down", "20:00", "26:00", host="b"))
    assert [line.split()[-1] for line in whom(s, "pagerduty")] == ["ops", "lead"]


async def test_a_policy_that_repeats_tells_those_who_know_already_once_more_but_pagerduty_escalates_by_itself() -> None:
    s = Script(late(Escalation("lead", (EscalationStep(5 * MINUTE, "lead"),), repeat=1)))
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("6:00")
    s.heard()
    await s.until("1:00:00")
    assert whom(s) == ["10:10 slack update escalated ops", "10:10 slack escalate escalated lead"]


async def test_a_person_escalates_at_once_and_the_next_step_keeps_its_time() -> None:
    s = Script(late())
    await s.report("0:00", alert("Down", "0:00"))
    await s.act("1:00", "escalate", incident=(await of(s)).id, by="ana", via="slack")
    assert whom(s, "pagerduty")[-1] == "1:00 pagerduty escalate escalated lead"
    await s.until("1:00:00")
    assert whom(s, "sms") == ["15:10 sms escalate escalated boss"]
    assert await reasons(s) == ["escalated", "escalated"]


async def test_who_has_it_can_ask_for_company_without_giving_it_back() -> None:
    s = Script(late())
    await s.report("0:00", alert("Down", "0:00"))
    await s.act("1:00", "acknowledge", incident=(await of(s)).id, by="ana")
    s.heard()
    await s.act("2:00", "escalate", incident=(await of(s)).id, by="ana")
    assert whom(s, "pagerduty") == ["2:00 pagerduty escalate escalated lead"]
    assert (await of(s)).status is IncidentStatus.ACKNOWLEDGED
    await s.until("1:00:00")
    assert whom(s, "pagerduty", "sms") == []


@pytest.mark.parametrize(
    ("with_policy", "times", "said"),
    [
        # A route without a policy: nobody to bring in.
        (policy(), 1, ["no_escalation"]),
        # Every step was taken.
        (late(), 3, ["escalated", "escalated", "out_of_steps"]),
    ],
)
async def test_where_nobody_can_be_brought_in_that_is_said(with_policy: Policy, times: int, said: list[str]) -> None:
    s = Script(with_policy)
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("0:30")
    for _ in range(times):
        await s.act("1:00", "escalate", incident=(await of(s)).id, by="ana")
    assert await reasons(s) == said


async def test_what_is_over_is_not_escalated_and_that_is_said() -> None:
    s = Script(late())
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("1:00", alert("Down", "0:00", "0:50"))
    await s.until("2:00")
    s.heard()
    await s.act("3:00", "escalate", incident=(await of(s)).id, by="ana")
    assert (await reasons(s), whom(s)) == (["not_open"], [])


async def test_a_mute_and_a_hold_put_a_step_off_to_their_end() -> None:
    night = parse_interval({"times": [{"start_time": "10:03", "end_time": "10:30"}]})
    muted = late(route=replace(policy().route, mute_time_intervals=("night",)), intervals={"night": (night,)})
    s = Script(muted)
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("29:59")
    assert (whom(s, "pagerduty")[1:], await reasons(s)) == ([], ["muted"])
    await s.until("31:00")
    assert whom(s, "pagerduty", "sms")[0] == "30:00 pagerduty escalate escalated lead"

    s = Script(late(inhibit_rules=(rule("r", "alertname=Source", "alertname=Down"),)))
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("3:00", alert("Source", "3:00"))
    await s.until("19:00")
    down = [i for i in (await s.replay.store.incidents()).incidents if i.labels["alertname"] == "Down"]
    assert down[0].steps_taken == 0
    await s.report("20:00", alert("Source", "3:00", "19:50"))
    await s.until("22:00")
    (again,) = [i for i in (await s.replay.store.incidents()).incidents if i.labels["alertname"] == "Down"]
    assert again.steps_taken == 2, "both steps are due by then"


async def test_a_flapping_incident_escalates_only_when_it_was_told_anew() -> None:
    s = Script(late(flapping=Flapping(2, 60 * MINUTE, 30 * MINUTE)))
    await s.report("0:00", alert("Down", "0:00"))
    await s.report("1:20", alert("Down", "0:00", "1:15"))
    await s.report("2:00", alert("Down", "2:00"))
    await s.until("32:00")
    assert [line for line in whom(s) if "escalate " in line] == []
    await s.until("38:00")
    assert [line for line in whom(s, "pagerduty") if "escalate " in line] == ["37:10 pagerduty escalate escalated lead"]


async def test_nobody_in_time_is_recorded_and_shown_and_sends_nothing() -> None:
    severities = (
        Severity("critical", ("page",), 2 * MINUTE),
        Severity("high", ("error",), 20 * MINUTE),
        *SEVERITIES[2:],
    )
    s = Script(policy(severities=severities))
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("20:09")
    s.heard(*ALL)
    assert (await of(s)).ack_due_at == START + timedelta(minutes=20, seconds=10)
    assert not (await of(s)).overdue
    await s.until("21:00")
    assert ((await of(s)).overdue, s.heard(*ALL), await reasons(s)) == (True, [], ["ack_overdue"])
    await s.act("22:00", "acknowledge", incident=(await of(s)).id, by="ana")
    assert not (await of(s)).overdue


async def test_a_higher_severity_wants_its_acknowledgement_by_its_own_time() -> None:
    severities = (
        Severity("critical", ("page",), 5 * MINUTE),
        Severity("high", ("error",), 60 * MINUTE),
        *SEVERITIES[2:],
    )
    s = Script(policy(severities=severities))
    await s.report("0:00", alert("Down", "0:00", host="a"))
    await s.report("10:00", {**alert("Down", "10:00", host="b", severity="page")})
    await s.until("11:00")
    assert await reasons(s) == ["ack_overdue"], "the five minutes of a critical one are over since its opening"


async def test_the_one_who_acknowledged_is_reminded_once_where_the_severity_says_so() -> None:
    high = Severity("high", ("error",), 20 * MINUTE, remind_acknowledged=True)
    s = Script(policy(severities=(SEVERITIES[0], high, *SEVERITIES[2:])))
    await s.report("0:00", alert("Down", "0:00"))
    await s.act("1:00", "acknowledge", incident=(await of(s)).id, by="ana")
    s.heard()
    await s.until("2:00:00")
    assert s.heard(*ALL) == ["21:00 slack remind not_resolved 1/0/0"]
