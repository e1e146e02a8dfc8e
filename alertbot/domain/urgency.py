"""Which reports may be decided before earlier ones, while many wait.

What is open does not depend on the order in which it is heard (see `episodes`), but two things do: what people and
other systems did in between, and whether the source of a hold was heard before its target. So only reports pass
reports, and nothing passes that a rule could hold.
"""

from __future__ import annotations

from collections.abc import Sequence

from alertbot.domain import inhibit
from alertbot.domain.events import AlertsReported, Event
from alertbot.domain.policy import Policy
from alertbot.domain.severity import severities_of


def is_passable(events: Sequence[Event]) -> bool:
    """Whether later reports may be decided before these events."""
    return all(isinstance(event, AlertsReported) for event in events)


def is_urgent(policy: Policy, events: Sequence[Event]) -> bool:
    """Whether these reports tell of a firing alert of the most urgent severity, and of none that a rule could hold.

    A resolve waits its turn: before its alert was heard firing, nobody would be told of either. So does a body that was
    cut off, which is judged by what it does not name.
    """
    match = severities_of(policy)
    urgent = False
    for event in events:
        if not isinstance(event, AlertsReported) or event.truncated:
            return False
        for report in event.alerts:
            labels = match.with_severity(report.labels)
            if not report.firing or inhibit.target_of(policy, labels):
                return False
            urgent = urgent or policy.rank(match.of(labels)) == 0
    return urgent
