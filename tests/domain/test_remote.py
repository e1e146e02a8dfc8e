"""What is done in PagerDuty, done here too, whatever the order. Scripts as in test_decide."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.remote import SIGNATURE
from tests.domain.script import Script, alert, at

BOTH = ("pagerduty", "slack")


def webhook(kind: str, key: str, offset: str, *, by: str = "Bo", agent: str = "user_reference", **data: Any) -> Any:
    """A body of PagerDuty's; its event's id is made of all of it."""
    return {
        "event": {
            "id": f"{kind} {offset} {by}",
            "event_type": f"incident.{kind}",
            "occurred_at": at(offset).isoformat(),
            "agent": {"type": agent, "summary": by},
            "data": {"id": "P1", "incident_key": key, **data},
        }
    }


async def opened() -> tuple[Script, str]:
    s = Script()
    await s.report("0:00", alert("Down", "0:00"))
    await s.until("0:30")
    s.heard()
    return s, (await of(s)).id


async def of(s: Script) -> Incident:
    return (await s.replay.store.incidents()).incidents[0]


async def reasons(s: Script) -> list[str]:
    page = await s.replay.store.entries(incident=(await of(s)).id, limit=500)
    return [e.reason.value for e in page.entries if e.kind == "person"]


async def test_an_acknowledgement_there_is_one_here_and_is_not_sent_back() -> None:
    s, key = await opened()
    await s.act("1:00", "pagerduty", **webhook("acknowledged", key, "0:59"))
    assert ((await of(s)).status, (await of(s)).acknowledged_by) == (IncidentStatus.ACKNOWLEDGED, "Bo")
    assert s.heard(*BOTH) == ["1:00 slack acknowledge acknowledged 1/0/0"]
    await s.act("2:00", "note", incident=key, by="ana", text="hm")
    assert s.heard(*BOTH) == ["2:00 slack update note_added 1/0/0"]
    await s.report("3:00", alert("Down", "0:00"), alert("Down", "3:00", host="b"))
    # It knows that PagerDuty shows the first opening: the second gets a key of its own, and the first is closed.
    assert "3:00 pagerduty reopen new_alert 2/0/0" in s.heard(*BOTH)


async def test_a_resolve_there_closes_here_and_the_alerts_own_end_is_told_to_nobody_again() -> None:
    s, key = await opened()
    await s.act("1:00", "pagerduty", **webhook("resolved", key, "0:59"))
    assert s.heard(*BOTH) == ["1:00 slack resolve resolved_by_person 1/0/0"]
    await s.report("5:00", alert("Down", "0:00", "4:50"))
    await s.until("10:00")
    assert s.heard("pagerduty") == []


async def test_what_we_sent_comes_back_and_changes_nothing() -> None:
    s, key = await opened()
    await s.act("1:00", "acknowledge", incident=key, by="ana")
    s.heard(*BOTH)
    await s.act("1:02", "pagerduty", **webhook("acknowledged", key, "1:01", by="Events", agent="integration_reference"))
    await s.act("1:03", "pagerduty", **webhook("acknowledged", key, "1:02", by="Ana"))
    assert (s.heard(*BOTH), (await of(s)).acknowledged_by, await reasons(s)) == ([], "ana", ["acknowledged"])
    await s.report("2:00", alert("Down", "0:00"), alert("Down", "2:00", host="b"))
    s.heard(*BOTH)
    # The first opening was closed by us, for the second.
    await s.act("2:10", "pagerduty", **webhook("resolved", key, "2:05", by="Bo"))
    assert (s.heard(*BOTH), (await of(s)).status) == ([], IncidentStatus.OPEN)


async def test_an_acknowledgement_that_ends_there_ends_here_without_a_second_page() -> None:
    s, key = await opened()
    await s.act("1:00", "pagerduty", **webhook("acknowledged", key, "0:59"))
    s.heard()
    await s.act("31:00", "pagerduty", **webhook("unacknowledged", key, "31:00", agent="service_reference"))
    assert s.heard(*BOTH) == ["31:00 slack update unacknowledged 1/0/0"]
    assert ((await of(s)).status, (await of(s)).openings) == (IncidentStatus.OPEN, 1)
    await s.act("32:00", "acknowledge", incident=key, by="ana")
    assert "32:00 pagerduty acknowledge acknowledged 1/0/0" in s.heard(*BOTH)


async def test_what_was_resolved_is_reopened_there_where_it_still_fires() -> None:
    s, key = await opened()
    await s.act("1:00", "resolve", incident=key, by="ana")
    s.heard(*BOTH)
    await s.act("2:00", "pagerduty", **webhook("reopened", key, "2:00"))
    assert s.heard(*BOTH) == ["2:00 slack reopen reopened 1/0/0"]
    await s.act("3:00", "pagerduty", **webhook("resolved", key, "3:00"))
    assert s.heard(*BOTH) == ["3:00 slack resolve resolved_by_person 1/0/0"]
    await s.report("4:00", alert("Down", "0:00", "3:50"))
    await s.act("5:00", "pagerduty", **webhook("reopened", key, "5:00"))
    assert (s.heard(*BOTH), (await reasons(s))[-1]) == ([], "nothing_fires")


async def test_a_time_limit_there_closes_nothing_here() -> None:
    s, key = await opened()
    await s.act("4:00", "pagerduty", **webhook("resolved", key, "4:00", by="Auto", agent="service_reference"))
    assert ((await of(s)).status, await reasons(s)) == (IncidentStatus.OPEN, ["changed_remotely"])


async def test_a_note_there_is_one_here_except_our_own() -> None:
    s, key = await opened()
    note: dict[str, Any] = {"incident": {"id": "P1"}}
    await s.act("1:00", "pagerduty", **webhook("annotated", "", "1:00", content="on it", **note), incident_key=key)
    await s.act("1:01", "pagerduty", **webhook("annotated", key, "1:01", content=f"ana: hm {SIGNATURE}", **note))
    assert (await reasons(s), s.heard(*BOTH)) == (["note_added"], ["1:00 slack update note_added 1/0/0"])


async def test_whom_it_was_given_to_is_told_in_the_thread() -> None:
    s, key = await opened()
    await s.act("1:00", "pagerduty", **webhook("reassigned", key, "1:00", assignees=[{"summary": "Cy"}]))
    assert s.heard(*BOTH) == ["1:00 slack update changed_remotely 1/0/0"]


@pytest.mark.parametrize("key", ["", "d387d7bd2e0a4294a5307339dfe1669a", "abcdefgh23"])
async def test_an_incident_that_is_not_ours_is_ignored_with_a_reason(key: str) -> None:
    s, _ = await opened()
    await s.act("1:00", "pagerduty", **webhook("acknowledged", key, "1:00"))
    page = await s.replay.store.entries(limit=500)
    assert [e.reason.value for e in page.entries if e.kind == "person"] == ["not_ours"]
    assert s.heard(*BOTH) == []


ORDERS = list(itertools.permutations(range(3)))


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: "".join(map(str, o)))
async def test_in_any_order_and_doubled_the_last_thing_that_happened_there_holds_here(order: tuple[int, ...]) -> None:
    s, key = await opened()
    told = [
        webhook("acknowledged", key, "1:00"),
        webhook("unacknowledged", key, "2:00"),
        webhook("acknowledged", key, "3:00"),
    ]
    for n, i in enumerate([*order, *order]):
        await s.act(f"5:{n:02}", "pagerduty", **json.loads(json.dumps(told[i])))
    assert ((await of(s)).status, (await of(s)).acknowledged_by) == (IncidentStatus.ACKNOWLEDGED, "Bo")
    assert s.heard("pagerduty") == []


async def test_an_acknowledgement_given_before_an_alert_joined_and_heard_after_it_is_not_of_that_alert() -> None:
    """PagerDuty swallowed the trigger of what joined: it has to call under another key."""
    s, key = await opened()
    await s.report("2:00", alert("Down", "0:00"), alert("Down", "2:00", host="b"))
    assert s.heard("pagerduty") == ["2:00 pagerduty update new_alert 2/0/0"]
    await s.act("2:03", "pagerduty", **webhook("acknowledged", key, "1:59"))
    assert s.heard(*BOTH) == ["2:03 pagerduty reopen new_alert 2/0/0", "2:03 slack reopen new_alert 2/0/0"]
    assert ((await of(s)).status, (await of(s)).acknowledged_by) == (IncidentStatus.OPEN, None)
    # One that was given after it is of both.
    await s.act("2:20", "pagerduty", **webhook("acknowledged", f"{key}.2", "2:19"))
    assert s.heard(*BOTH) == ["2:20 slack acknowledge acknowledged 2/0/0"]


async def test_a_resolve_from_before_an_alert_joined_closes_nothing_and_what_joined_is_told_there_again() -> None:
    s, key = await opened()
    await s.report("2:00", alert("Down", "0:00"), alert("Down", "2:00", host="b"))
    s.heard(*BOTH)
    await s.act("2:03", "pagerduty", **webhook("resolved", key, "1:59"))
    assert s.heard("pagerduty") == ["2:03 pagerduty update new_alert 2/0/0"]
    assert (await of(s)).status is IncidentStatus.OPEN


@pytest.mark.parametrize(
    ("taken", "heard"),
    [
        # Nobody looked: it calls again.
        (False, ["2:00 pagerduty reopen changed_remotely 1/0/0"]),
        # Somebody has it here: nobody is called for it.
        (True, []),
    ],
)
async def test_what_pagerduty_resolves_by_its_time_limit_is_open_there_again_unless_somebody_has_it(
    taken: bool, heard: list[str]
) -> None:
    s, key = await opened()
    if taken:
        await s.act("1:00", "acknowledge", incident=key, by="ana")
    s.heard(*BOTH)
    await s.act("2:00", "pagerduty", **webhook("resolved", key, "1:59", by="Service", agent="service_reference"))
    assert s.heard("pagerduty") == heard
    assert (await of(s)).told


async def test_where_all_is_silenced_the_end_of_an_acknowledgement_there_calls_nobody() -> None:
    s, key = await opened()
    await s.act("1:00", "silence", incident=key, by="ana", duration="2h")
    s.heard(*BOTH)
    limit = webhook("unacknowledged", key, "31:00", by="Service", agent="service_reference")
    await s.act("31:01", "pagerduty", **limit)
    assert s.heard("pagerduty") == ["31:01 pagerduty acknowledge unacknowledged 1/0/0"]
    assert (await of(s)).status is IncidentStatus.ACKNOWLEDGED


async def test_an_earlier_page_that_somebody_opens_again_is_closed_for_there_is_a_later_one() -> None:
    s, key = await opened()
    await s.act("1:00", "acknowledge", incident=key, by="ana")
    await s.report("2:00", alert("Down", "0:00"), alert("Down", "2:00", host="b"))
    s.heard(*BOTH)
    await s.act("3:00", "pagerduty", **webhook("reopened", key, "2:59"))
    assert s.heard("pagerduty") == ["3:00 pagerduty reopen remote_stale 2/0/0"]
    assert ((await of(s)).status, (await of(s)).openings) == (IncidentStatus.OPEN, 2)


@pytest.mark.parametrize(
    ("status", "is_now"),
    [
        # It calls somebody else: nobody has it any more.
        ("triggered", IncidentStatus.OPEN),
        # It was given to somebody else, acknowledged as it is.
        ("acknowledged", IncidentStatus.ACKNOWLEDGED),
    ],
)
async def test_a_reassignment_that_calls_somebody_ends_the_acknowledgement(status: str, is_now: IncidentStatus) -> None:
    s, key = await opened()
    await s.act("1:00", "pagerduty", **webhook("acknowledged", key, "0:59"))
    given = webhook("reassigned", key, "2:00", status=status, assignees=[{"summary": "Kim"}])
    await s.act("2:01", "pagerduty", **given)
    assert (await of(s)).status is is_now
    assert s.heard("pagerduty") == []
    assert "changed_remotely" in await reasons(s)


async def test_what_happened_there_before_somebody_acknowledged_here_ends_nothing() -> None:
    s, key = await opened()
    await s.act("1:00", "acknowledge", incident=key, by="ana")
    await s.act("1:05", "pagerduty", **webhook("acknowledged", key, "0:40"))
    await s.act("1:06", "pagerduty", **webhook("unacknowledged", key, "0:50"))
    assert ((await of(s)).status, (await of(s)).acknowledged_by) == (IncidentStatus.ACKNOWLEDGED, "ana")
