"""What earlier incidents tell, and which card is due again when more is learnt."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from alertbot.domain.enrichment import Enrichment, ErrorBudget, History, Past, RunbookRef, history_of
from alertbot.domain.levels import action_for, shown_after
from alertbot.domain.model import Action, Delivery, IncidentStatus, Level
from alertbot.domain.reasons import Reason
from tests.store.builders import at, entry, incident, want

MONTH = timedelta(days=30)


def before(number: int, opened: float | None, lasted: float | None = None, **changes: Any) -> Any:
    ended = None if opened is None or lasted is None else at(opened + lasted)
    opened_at = None if opened is None else at(opened)
    return incident(f"i{number}", key="k", openings=1, opened_at=opened_at, resolved_at=ended, **changes)


def test_the_history_counts_openings_and_takes_the_median_of_how_long_they_lasted() -> None:
    past = Past(
        [before(4, 900, 30), before(3, 700, 10), before(2, 500, 3000), before(1, 100, None, acknowledged_by="a")]
    )
    found = history_of(incident("i9", key="k"), past, MONTH)
    assert found is not None
    assert (found.times, found.typical, found.last_at) == (4, timedelta(seconds=30), at(900))


def test_the_incident_itself_drills_and_what_nobody_was_told_of_do_not_count() -> None:
    past = Past([before(9, 900), before(8, 800, test=True), before(7, None)])
    assert history_of(incident("i9", key="k"), past, MONTH) is None


def test_a_reopened_incident_counts_as_often_as_it_opened() -> None:
    found = history_of(incident("i9", key="k"), Past([replace(before(1, 100, 5), openings=3)]), MONTH)
    assert found is not None
    assert found.times == 3


def test_who_ended_it_by_hand_comes_before_a_later_acknowledgement() -> None:
    past = Past(
        [before(3, 700, 10, acknowledged_by="bob", acknowledged_at=at(705)), before(2, 500, 20, resolved_by="ada")]
    )
    found = history_of(incident("i9", key="k"), past, MONTH)
    assert found is not None
    assert (found.by, found.by_at, found.resolved) == ("ada", at(520), True)
    found = history_of(incident("i9", key="k"), Past(past.incidents[:1]), MONTH)
    assert found is not None
    assert (found.by, found.by_at, found.resolved) == ("bob", at(705), False)


def test_the_latest_note_is_shown_with_its_author() -> None:
    note = entry("i2", when=at(530), reason=Reason.NOTE_ADDED, by="ada", details={"note": "restarted it"})
    found = history_of(incident("i9", key="k"), Past([before(2, 500, 20)], note), MONTH)
    assert found is not None
    assert (found.note, found.note_by, found.note_at) == ("restarted it", "ada", at(530))


def test_of_two_findings_the_later_one_counts_where_it_says_something() -> None:
    runbook, budget = RunbookRef("T", "", ("Look.",), "t"), ErrorBudget("a", 99.9, MONTH, 0.5)
    history = History(1, MONTH, at(0))
    both = Enrichment(runbook=runbook, history=history) | Enrichment(budgets=(budget,), runbook=None)
    assert both == Enrichment(runbook=runbook, history=history, budgets=(budget,))


OPEN, ACKNOWLEDGED, RESOLVED = IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED
FOUND = [
    ("an open card is edited", "slack", Level(OPEN, 1, 3, 3), 1, Action.UPDATE),
    ("an acknowledged one too", "slack", Level(ACKNOWLEDGED, 1, 3, 3), 1, Action.UPDATE),
    ("a closed one stays as it is", "slack", Level(RESOLVED, 1, 3, 3), 1, None),
    ("what was found is there already", "slack", Level(OPEN, 1, 3, 3, found=1), 1, None),
    ("nobody is paged for a graph", "pagerduty", Level(OPEN, 1, 3, 3), 1, None),
    ("no mail is sent for a graph", "email", Level(OPEN, 1, 3, 3), 1, None),
    ("no text is sent for a graph", "sms", Level(OPEN, 1, 3, 3), 1, None),
    ("no webhook is sent for a graph", "webhook", Level(OPEN, 1, 3, 3), 1, None),
]


@pytest.mark.parametrize(("rule", "integration", "shown", "found", "action"), FOUND, ids=[f[0] for f in FOUND])
def test_what_was_found_only_edits_a_card(
    rule: str, integration: str, shown: Level, found: int, action: Action | None
) -> None:
    wanted = want(integration=integration, level=replace(shown, found=found))
    delivery = Delivery(wanted.id, wanted, shown=shown)
    assert action_for(delivery) is action, rule
    done = replace(delivery, shown=shown_after(delivery, action))
    assert action_for(done) is None, "once is enough"


def test_a_card_that_is_not_there_yet_is_opened_with_all_that_is_known() -> None:
    wanted = want(level=Level(OPEN, 1, 1, 1, found=1))
    delivery = Delivery(wanted.id, wanted)
    assert action_for(delivery) is Action.OPEN
    assert action_for(replace(delivery, shown=shown_after(delivery, Action.OPEN))) is None
