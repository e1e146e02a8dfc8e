"""Silences, and what Alertmanager says of alerts that are open here: what a person then hears, and when.

Each test is a script on a time axis.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from alertbot.domain.intervals import parse_interval
from tests.domain.script import Script, alert, at, policy, rule

ALL = ("pagerduty", "slack")


def fired(**body: Any) -> dict[str, Any]:
    """An alert as the reconciler writes it."""
    made = alert("Down", body.pop("started", "0:00"), **body)
    return {k: made[k] for k in ("fingerprint", "labels", "annotations")} | {"starts_at": made["startsAt"]}


def there(identity: str, until: str | None = "1:00:00", **more: Any) -> dict[str, Any]:
    """What Alertmanager says of one alert: a silence made there."""
    ends = at(until).isoformat() if until else None
    silence = {"by": "grace", "since": at("0:00").isoformat(), "until": ends, "comment": "known", "id": "s1", **more}
    return {"silences": {identity: silence}}


async def opened(*hosts: str) -> tuple[Script, str]:
    """An incident that people know of, and its id."""
    s = Script(policy(alertmanager=True))
    await s.report("0:00", *(alert("Down", "0:00", host=h) for h in hosts or ("a",)))
    await s.until("1:00")
    (incident,) = (await s.replay.store.incidents(limit=1)).incidents
    s.heard()
    return s, incident.id


def identity(host: str = "a") -> str:
    return str(alert("Down", "0:00", host=host)["fingerprint"])


async def state(s: Script) -> str:
    (incident,) = (await s.replay.store.incidents(limit=1)).incidents
    return f"{incident.status.value} {incident.acknowledged_by or ''}".strip()


async def test_who_silences_what_is_open_has_it_and_at_the_end_it_is_told_anew() -> None:
    """PagerDuty stops to call, as for an acknowledgement: a silenced page must not wake the next one in line."""
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="ada", duration="1h", comment="known")
    assert s.heard(*ALL) == [
        "2:00 pagerduty acknowledge silenced 1/0/0",
        "2:00 slack acknowledge silenced 1/0/0",
    ]
    assert await state(s) == "acknowledged ada"
    await s.until("1:10:00")
    assert s.heard(*ALL) == [
        "52:00 slack update silence_ends_soon 1/0/0",
        "1:02:00 pagerduty reopen silence_ended 1/0/0",
        "1:02:00 slack reopen silence_ended 1/0/0",
    ]
    assert await state(s) == "open"


async def test_while_it_is_silenced_nobody_is_reminded_and_after_it_they_are() -> None:
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="ada", duration="10h")
    await s.until("10:01:00")
    assert [line for line in s.heard() if "remind" in line] == []
    await s.until("14:30:00")
    assert [line for line in s.heard() if "remind" in line] == ["14:02:00 slack remind repeat_interval 1/0/0"]


async def test_a_new_alert_in_a_silenced_incident_is_told_for_nobody_silenced_it() -> None:
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="ada", duration="1h")
    s.heard(*ALL)
    await s.report("5:00", alert("Down", "5:00", host="b"))
    assert s.heard(*ALL) == ["5:00 pagerduty reopen new_alert 2/0/0", "5:00 slack reopen new_alert 2/0/0"]
    # The end of a silence of one of several alerts calls nobody again.
    await s.until("1:30:00")
    assert s.heard("pagerduty") == []


async def test_what_is_not_told_yet_is_held_by_a_silence_and_told_at_its_end() -> None:
    s = Script(policy(alertmanager=True))
    await s.report("0:00", alert("Down", "0:00", host="a"))
    (incident,) = (await s.replay.store.incidents(limit=1)).incidents
    await s.act("0:05", "silence", incident=incident.id, by="ada", duration="20m")
    await s.until("20:00")
    assert s.heard(*ALL) == []
    assert await state(s) == "held"
    await s.until("21:00")
    assert s.heard("slack") == ["20:05 slack open hold_ended 1/0/0"]


async def test_a_silence_until_resolved_lasts_as_long_and_no_longer() -> None:
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="ada")
    s.heard()
    await s.until("30:00:00")
    assert s.heard(*ALL) == []
    await s.report("30:00:01", alert("Down", "0:00", "30:00:00", host="a"))
    assert s.heard("slack") == ["30:00:01 slack resolve all_resolved 0/1/0"]
    await s.report("30:05:00", alert("Down", "30:04:00", host="a"))
    await s.until("30:06:00")
    assert s.heard("slack") == ["30:05:10 slack reopen refired 1/0/0"]


async def test_a_silence_for_a_time_covers_a_refire_within_it() -> None:
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="ada", duration="1h")
    await s.report("5:00", alert("Down", "0:00", "4:50", host="a"))
    s.heard(*ALL)
    await s.report("8:00", alert("Down", "7:50", host="a"))
    await s.until("1:01:59")
    assert s.heard(*ALL) == []
    await s.until("1:03:00")
    assert s.heard("slack") == ["1:02:00 slack reopen hold_ended 1/0/0"]


async def test_who_ends_a_silence_hears_of_it_again() -> None:
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="ada", duration="1h")
    s.heard(*ALL)
    await s.act("3:00", "unsilence", incident=incident, by="grace")
    assert s.heard(*ALL) == ["3:00 pagerduty reopen silence_ended 1/0/0", "3:00 slack reopen silence_ended 1/0/0"]
    await s.until("1:10:00")
    assert s.heard(*ALL) == []


async def test_whoever_acknowledged_has_it_after_the_silence_too() -> None:
    s, incident = await opened()
    await s.act("1:30", "acknowledge", incident=incident, by="ada")
    await s.act("2:00", "silence", incident=incident, by="grace", duration="20m")
    s.heard(*ALL)
    await s.until("30:00")
    assert s.heard("pagerduty") == []
    assert await state(s) == "acknowledged ada"


async def test_who_acknowledges_what_is_silenced_has_it_after_the_silence() -> None:
    s, incident = await opened()
    await s.act("2:00", "silence", incident=incident, by="grace", duration="20m")
    await s.act("3:00", "acknowledge", incident=incident, by="ada")
    s.heard(*ALL)
    await s.until("30:00")
    assert s.heard("pagerduty") == []
    assert await state(s) == "acknowledged ada"


async def test_a_silence_made_in_alertmanager_counts_as_well() -> None:
    s, _ = await opened()
    await s.act("2:00", "reconcile", **there(identity()))
    assert s.heard(*ALL) == ["2:00 pagerduty acknowledge silenced 1/0/0", "2:00 slack acknowledge silenced 1/0/0"]
    assert await state(s) == "acknowledged grace"
    await s.act("30:00", "reconcile", silences={identity(): None})
    assert s.heard(*ALL) == ["30:00 pagerduty reopen silence_ended 1/0/0", "30:00 slack reopen silence_ended 1/0/0"]


async def test_a_silence_of_alertmanagers_whose_end_nobody_reports_is_over_all_the_same() -> None:
    s, _ = await opened()
    await s.act("2:00", "reconcile", **there(identity()))
    s.heard(*ALL)
    await s.until("1:04:59")
    assert s.heard(*ALL) == []
    await s.until("1:06:00")
    assert s.heard("pagerduty") == ["1:05:00 pagerduty reopen silence_ended 1/0/0"]


async def test_one_silenced_alert_of_two_changes_the_card_and_calls_or_stops_nobody() -> None:
    s, _ = await opened("a", "b")
    await s.act("2:00", "reconcile", **there(identity("a")))
    assert s.heard(*ALL) == ["2:00 slack update silenced 2/0/0"]
    # The other one resolves: what is left is silenced.
    await s.report("5:00", alert("Down", "0:00", "4:50", host="b"))
    assert "5:00 pagerduty acknowledge silenced 1/1/0" in s.heard("pagerduty")


async def test_what_alertmanager_inhibits_is_not_reminded_of_and_is_nobodys() -> None:
    s, _ = await opened()
    until = there(identity(), "4:10:00", by="Alertmanager", id="", inhibited=True)
    await s.act("2:00", "reconcile", **until)
    assert s.heard(*ALL) == ["2:00 slack update inhibited_there 1/0/0"]
    assert await state(s) == "open"
    await s.until("4:05:00")
    assert s.heard() == []
    await s.until("8:05:00")
    assert s.heard() == ["8:00:10 slack remind repeat_interval 1/0/0"]


async def test_the_end_of_a_silence_wakes_nobody_in_a_mute_and_is_told_after_it() -> None:
    night = parse_interval({"times": [{"start_time": "10:30", "end_time": "12:00"}]})
    mutes = policy(alertmanager=True, intervals={"night": (night,)})
    child = replace(mutes.route, key="{}/{}", mute_time_intervals=("night",))
    s = Script(replace(mutes, route=replace(mutes.route, routes=(child,))))
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    (incident,) = (await s.replay.store.incidents(limit=1)).incidents
    await s.act("2:00", "silence", incident=incident.id, by="ada", duration="1h")
    s.heard(*ALL)
    await s.until("1:59:00")
    assert s.heard("pagerduty") == []
    await s.until("2:01:00")
    assert s.heard("pagerduty") == ["2:00:00 pagerduty reopen silence_ended 1/0/0"]


async def test_the_end_of_a_silence_wakes_nobody_for_what_another_alert_explains() -> None:
    worst = policy(alertmanager=True, inhibit_rules=(rule("network", 'alertname="Network"', 'alertname="Down"'),))
    s = Script(worst)
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    (incident,) = (await s.replay.store.incidents(limit=1)).incidents
    await s.act("2:00", "silence", incident=incident.id, by="ada", duration="1h")
    await s.report("5:00", alert("Network", "5:00"))
    await s.until("6:00")
    s.heard(*ALL)
    await s.until("2:00:00")
    assert s.heard("pagerduty") == []
    await s.report("2:00:10", alert("Network", "5:00", "2:00:00"))
    await s.until("2:03:00")
    assert [line.split()[2:4] for line in s.heard("pagerduty")] == [
        ["resolve", "all_resolved"],
        ["reopen", "silence_ended"],
    ]


# What fires there and not here, and the other way round.


async def test_what_fires_there_and_was_never_heard_here_is_opened() -> None:
    s = Script(policy(alertmanager=True))
    await s.act("5:00", "reconcile", found=[fired()])
    await s.until("6:00")
    assert s.heard() == ["5:10 slack open first_notification 1/0/0"]
    # Its webhook, late, is a repeat.
    await s.report("6:00", alert("Down", "0:00"))
    await s.report("9:00", alert("Down", "0:00", "8:50"))
    assert s.heard() == ["9:00 slack resolve all_resolved 0/1/0"]


async def test_what_is_gone_there_is_closed_and_says_why() -> None:
    s, incident = await opened()
    await s.act("9:00", "reconcile", gone=[{**fired(host="a"), "ends_at": at("8:00").isoformat()}])
    assert s.heard() == ["9:00 slack resolve all_resolved 0/1/0"]
    page = await s.replay.store.entries(incident=incident)
    assert "gone_there" in [e.reason.value for e in page.entries]


async def test_what_fired_anew_since_it_was_missed_there_stays_open() -> None:
    s, _ = await opened()
    await s.report("8:30", alert("Down", "8:20", host="a"))
    s.heard()
    await s.act("9:00", "reconcile", gone=[{**fired(host="a"), "ends_at": at("8:00").isoformat()}])
    assert s.heard() == []
    assert await s.open_alerts() == {identity()}


async def test_what_was_taken_for_closed_and_fires_there_under_its_old_start_is_told_at_once() -> None:
    """Alertmanager alone can tell a late report from a refire that it merged into the old episode."""
    s, _ = await opened()
    await s.report("5:00", alert("Down", "0:00", "4:50", host="a"))
    await s.report("5:30", alert("Down", "0:00", host="a"))
    s.heard()
    await s.act("7:00", "reconcile", found=[fired(host="a")])
    await s.until("8:00")
    assert s.heard() == ["7:10 slack reopen refired 1/0/0"]
    await s.report("9:00", alert("Down", "0:00", "8:55", host="a"))
    assert [line.split()[2] for line in s.heard()] == ["resolve"]


async def test_what_was_cut_off_a_truncated_body_is_vouched_for_or_resolved() -> None:
    s = Script(policy(alertmanager=True))
    await s.report("0:00", *(alert("Down", "0:00", host=h) for h in "abc"), groupKey="g")
    gone = alert("Down", "0:00", "4:50", host="a")
    await s.report("5:00", gone, groupKey="g", truncatedAlerts=2, status="resolved")
    await s.act(
        "6:00", "reconcile", found=[fired(host="b")], gone=[{**fired(host="c"), "ends_at": at("5:30").isoformat()}]
    )
    rows = {a.labels["host"]: a.status.value for a in await s.replay.store.firing(("", ""), 10) if a.firing}
    assert rows == {"b": "firing"}


@pytest.mark.parametrize(
    ("source", "body", "reason"),
    [
        # Nobody can silence what is not there.
        ("silence", {"incident": "nope", "by": "ada"}, "no_such_incident"),
        ("unsilence", {"incident": "nope", "by": "ada"}, "no_such_incident"),
        # Nor end a silence that was never made here.
        ("unsilence", {"by": "ada"}, "not_silenced"),
    ],
)
async def test_what_cannot_be_silenced_says_so(source: str, body: dict[str, str], reason: str) -> None:
    s, incident = await opened()
    await s.act("2:00", source, **{"incident": incident, **body})
    page = await s.replay.store.entries(incident=body.get("incident", incident))
    assert [e.reason.value for e in page.entries if e.kind == "person"] == [reason]
    assert s.heard(*ALL) == []


async def test_what_is_over_cannot_be_silenced() -> None:
    s, incident = await opened()
    await s.report("5:00", alert("Down", "0:00", "4:50", host="a"))
    s.heard(*ALL)
    await s.act("6:00", "silence", incident=incident, by="ada")
    assert s.heard(*ALL) == []


async def test_without_an_alertmanager_it_is_muted_here_and_says_so() -> None:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("1:00")
    (incident,) = (await s.replay.store.incidents(limit=1)).incidents
    await s.act("2:00", "silence", incident=incident.id, by="ada", duration="1h")
    found = await s.replay.store.incident(incident.id)
    assert found is not None
    assert found.silence is not None
    assert found.silence.problem == "no Alertmanager is configured"
