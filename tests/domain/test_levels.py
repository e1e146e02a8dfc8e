"""From what a destination shows and what it should show follows what it is told. The rule is above each row."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from alertbot.domain.levels import action_for, shown_after
from alertbot.domain.model import Delivery, IncidentStatus, Level, Want
from alertbot.domain.reasons import Reason

OPEN, ACKED, DONE = IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED, IncidentStatus.RESOLVED
NOTHING = Level()


def delivery(
    integration: str, shown: Level, want: Level, *, kind: str = "incident", uncertain: bool = False
) -> Delivery:
    wanted = Want("i1", "ops", integration, "x", "x", want, Reason.NEW_ALERT, datetime(2026, 1, 5, tzinfo=UTC), 0, kind)
    return Delivery(wanted.id, wanted, shown=shown, uncertain=uncertain)


@pytest.mark.parametrize(
    ("shown", "want", "told"),
    [
        # What has heard nothing hears that it opens.
        (NOTHING, Level(OPEN, 1, 1, 1), {"pagerduty": "open", "slack": "open", "email": "open", "sms": "open"}),
        # What shows it already hears nothing.
        (Level(OPEN, 1, 1, 1), Level(OPEN, 1, 1, 1), {}),
        # A change that is no news only edits what can be edited.
        (Level(OPEN, 1, 1, 1), Level(OPEN, 1, 2, 1), {"slack": "update"}),
        # News is told again; an SMS is for openings and closes.
        (Level(OPEN, 1, 1, 1), Level(OPEN, 1, 2, 2), {"pagerduty": "update", "slack": "update", "email": "update"}),
        # News that came before a change that is none is still news.
        (Level(OPEN, 1, 1, 1), Level(OPEN, 1, 3, 2), {"pagerduty": "update", "slack": "update", "email": "update"}),
        # An acknowledgement is for what knows what that is.
        (Level(OPEN, 1, 1, 1), Level(ACKED, 1, 2, 1), {"pagerduty": "acknowledge", "slack": "acknowledge"}),
        # A close is told to all who heard of it.
        (
            Level(ACKED, 1, 2, 1),
            Level(DONE, 1, 3, 1),
            {"pagerduty": "resolve", "slack": "resolve", "email": "resolve", "sms": "resolve"},
        ),
        # Opened and closed while the destination was away: passed over.
        (NOTHING, Level(DONE, 1, 2, 1), {}),
        # Somebody has it already when the destination is back: no page, but a card.
        (NOTHING, Level(ACKED, 1, 2, 1), {"slack": "open"}),
        # Opened again after its close, or after an acknowledgement that ended.
        (
            Level(DONE, 1, 2, 1),
            Level(OPEN, 2, 3, 3),
            {"pagerduty": "reopen", "slack": "reopen", "email": "reopen", "sms": "reopen"},
        ),
        (
            Level(ACKED, 1, 2, 1),
            Level(OPEN, 2, 3, 3),
            {"pagerduty": "reopen", "slack": "reopen", "email": "reopen", "sms": "reopen"},
        ),
        # Opened anew and acknowledged before it heard of that: what still calls there stops.
        (Level(OPEN, 1, 1, 1), Level(ACKED, 2, 4, 3), {"pagerduty": "acknowledge", "slack": "reopen"}),
        # While it flaps, what is there is edited.
        (Level(OPEN, 1, 1, 1), Level(DONE, 1, 2, 1, quiet=True), {"slack": "update"}),
    ],
)
def test_what_a_destination_is_told(shown: Level, want: Level, told: dict[str, str]) -> None:
    for integration in ("pagerduty", "slack", "email", "sms"):
        action = action_for(delivery(integration, shown, want))
        assert (action.value if action else None) == told.get(integration), integration


def test_a_close_is_told_where_the_opening_may_have_arrived() -> None:
    unknown = delivery("pagerduty", NOTHING, Level(DONE, 1, 2, 1), uncertain=True)
    action = action_for(unknown)
    assert action is not None
    assert action.value == "resolve"


def test_a_reminder_is_told_once_and_only_of_what_is_open() -> None:
    due = delivery("slack", NOTHING, Level(OPEN, 1, 3, 3), kind="remind")
    action = action_for(due)
    assert action is not None
    assert action.value == "remind"
    assert action_for(delivery("slack", shown_after(due, action), Level(OPEN, 1, 3, 3), kind="remind")) is None
    assert action_for(delivery("slack", NOTHING, Level(DONE, 1, 3, 3), kind="remind")) is None


def test_an_acknowledgement_is_of_the_opening_that_is_there() -> None:
    late = delivery("pagerduty", Level(OPEN, 1, 1, 1), Level(ACKED, 2, 4, 3))
    assert shown_after(late, action_for(late)).opening == 1
