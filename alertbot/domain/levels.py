"""Deliveries are levels: from what a destination shows and what it should show follows what to tell it.

The outbox and the replay ask the same function, so a notification that folds in live folds in the same way there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from alertbot.domain.model import Action, Delivery, IncidentStatus, Level

#: Integrations that keep a living picture of the incident. They are told of every change.
LIVING: Final = frozenset({"slack", "webhook", "log"})
#: Integrations whose card is edited when more is learnt about its incident.
ENRICHED: Final = frozenset({"slack"})
#: Integrations that are reminded. PagerDuty has reminders of its own.
REMINDED: Final = frozenset({"slack", "email"})
#: Integrations that know what an acknowledgement is.
ACKNOWLEDGING: Final = LIVING | {"pagerduty"}
#: Integrations that are told again of a new alert in an incident that they hold for open.
NEWS_TOLD: Final = LIVING | {"pagerduty", "email"}
#: Integrations that are told once more of what they hold for open, when an escalation comes to them (again). PagerDuty
#: swallows a trigger of what is open, and escalates by itself.
CALLED_AGAIN: Final = LIVING | {"email", "sms"}
#: Integrations that get a verdict or a notice. PagerDuty has no place for either, and a text is no place to read one.
TOLD_OF_WINDOWS: Final = frozenset({"slack", "webhook", "log", "email"})
#: The integration that tells us what people do there.
SPEAKS: Final = "pagerduty"
#: What the kind of a note's own post begins with.
NOTE: Final = "note:"
#: One-off posts that are no incident's.
ONE_OFF: Final = {"verdict": Action.VERDICT, "notice": Action.NOTICE}
#: Integrations that disturb a person each time: they hear nothing of a flapping incident.
PAGING: Final = frozenset({"pagerduty", "email", "sms"})


def shown_by(delivery: Delivery) -> Level:
    """What the destination shows: what it was told, unless it said otherwise since."""
    said, shown = delivery.want.level.said, delivery.shown
    if said is None or said == shown.said or delivery.want.integration != SPEAKS:
        return shown
    return replace(shown, status=said.status, opening=said.opening, said=said)


def doubtful(delivery: Delivery) -> bool:
    """More of its openings may be open there than the one that it shows: each has to be closed."""
    return delivery.uncertain or shown_by(delivery).opening < delivery.shown.opening


def action_for(delivery: Delivery) -> Action | None:
    """What to tell the destination now; None where it need not hear anything.

    What became stale while the destination was away is not told: an incident that opened and closed in the
    meantime is passed over, except where an earlier attempt may have arrived (`uncertain`).
    """
    want, shown, integration = delivery.want.level, shown_by(delivery), delivery.want.integration
    if delivery.want.kind == "remind":
        over = want.status is IncidentStatus.RESOLVED
        return Action.REMIND if want.revision > shown.revision and not over else None
    if want.revision <= shown.revision:
        on_show = shown.status in (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)
        return Action.UPDATE if want.found > shown.found and on_show and integration in ENRICHED else None
    if delivery.want.kind.startswith(NOTE):
        return Action.UPDATE
    if delivery.want.kind in ONE_OFF:
        return ONE_OFF[delivery.want.kind]
    if want.quiet and shown.status is not None:
        return Action.UPDATE if integration in LIVING else None
    if want.status is IncidentStatus.RESOLVED:
        told = shown.status in (IncidentStatus.OPEN, IncidentStatus.ACKNOWLEDGED)
        if told or delivery.uncertain:
            return Action.RESOLVE
        return Action.UPDATE if shown.status is IncidentStatus.RESOLVED and integration in LIVING else None
    acknowledged = want.status is IncidentStatus.ACKNOWLEDGED
    # Who was to be brought in because nobody acknowledged is not, once somebody did.
    escalated = want.escalated > shown.escalated and (want.urged or not acknowledged)
    if shown.status is None:
        if escalated:
            return Action.ESCALATE
        return None if acknowledged and integration in PAGING and not delivery.uncertain else Action.OPEN
    if shown.status is IncidentStatus.RESOLVED or want.opening > shown.opening:
        if escalated:
            return Action.ESCALATE
        if acknowledged and integration in PAGING:
            # It opened anew and was acknowledged before this one heard of it: nobody is called again, and what
            # still calls here stops.
            calls = integration in ACKNOWLEDGING and shown.status is IncidentStatus.OPEN
            return Action.ACKNOWLEDGE if calls else None
        return Action.REOPEN
    if escalated and integration in CALLED_AGAIN:
        return Action.ESCALATE
    if acknowledged and shown.status is IncidentStatus.OPEN:
        return Action.ACKNOWLEDGE if integration in ACKNOWLEDGING else None
    if integration in LIVING or (integration in NEWS_TOLD and want.news > shown.revision):
        return Action.UPDATE
    return None


def shown_after(delivery: Delivery, action: Action | None) -> Level:
    """What the destination shows once it was told; with no action, what it has heard of stays as it is.

    Never an older revision: what a storm's card shows may be ahead of what was last wanted of it.
    """
    want, shown = delivery.want.level, shown_by(delivery)
    if action is None:
        revision, news = max(want.revision, shown.revision), max(want.news, shown.news)
        return replace(want, status=shown.status, opening=shown.opening, revision=revision, news=news)
    if action is Action.ACKNOWLEDGE:
        # Of an opening that may have arrived, the latest is acknowledged there and those before it are closed.
        return want if doubtful(delivery) else replace(want, opening=shown.opening)
    return want
