"""Most of what comes in says again what is known: an alert that fires, fires. Such a report is recognised here without
loading what it repeats.

`episodes.merge` calls it DUPLICATE and leaves the alert as it is, `seen_at` too, for a minute after that was written;
so long it is remembered. A memory that is out of date could not lose an episode: with the start that it had before, an
alert that closed does not open again so soon (`episodes.LATE`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from itertools import islice
from typing import Final

from alertbot.domain.episodes import SEEN_EVERY
from alertbot.domain.events import AlertsReported, ReportedAlert
from alertbot.domain.model import Alert, AlertStatus
from alertbot.domain.reports import same_labels
from alertbot.domain.situation import Situation

#: Alerts remembered at the most; about 250 bytes each.
REMEMBERED: Final = 200_000

#: What was said of an alert (start and labels, as a hash), and its `seen_at`. None: forget it.
Mark = tuple[int, datetime]
Marks = Mapping[str, Mark | None]


class Repeats:
    """By fingerprint as it is sent. `take` only what is committed."""

    def __init__(self, remembered: int = REMEMBERED) -> None:
        self._remembered = remembered
        self._heard: dict[str, Mark] = {}

    def sift(self, event: AlertsReported, now: datetime, left: set[str]) -> AlertsReported:
        """The report without its repeats.

        `left` has the fingerprints of all that earlier reports of the same transaction were left with, and gets this
        one's: what they decide is not remembered yet.
        """
        if event.truncated:  # its alerts vouch for one another
            left.update(report.fingerprint for report in event.alerts)
            return event
        news: list[ReportedAlert] = []
        for report in event.alerts:
            mark = self._heard.get(report.fingerprint)
            if (
                mark is None
                or not report.firing
                or now - mark[1] >= SEEN_EVERY
                or mark[0] != _said(report)
                or report.fingerprint in left
            ):
                news.append(report)
                left.add(report.fingerprint)
        return event if len(news) == len(event.alerts) else replace(event, alerts=tuple(news))

    def take(self, marks: Marks) -> None:
        """Remembers what was committed."""
        for fingerprint, mark in marks.items():
            if mark is not None:
                self._heard[fingerprint] = mark
            else:
                self._heard.pop(fingerprint, None)
        if len(self._heard) > self._remembered:
            # The oldest, and some more: to find the first of a dict takes as long as many were deleted before it.
            enough = self._remembered - self._remembered // 10
            for fingerprint in list(islice(self._heard, len(self._heard) - enough)):
                del self._heard[fingerprint]


def marks(situation: Situation, events: Iterable[AlertsReported], changed: Iterable[Alert]) -> Marks:
    """What to remember once a transaction is committed, of the reports decided in it and the alerts changed."""
    found: dict[str, Mark | None] = {a.identity: None for a in changed if a.status is not AlertStatus.FIRING}
    for event in events:
        for report in event.alerts:
            rows = situation.current(report.fingerprint)
            for row in rows:
                if row.status is not AlertStatus.FIRING or row.fired_at != report.starts_at:
                    break
            else:
                if rows and same_labels(rows[0].labels, report.labels):
                    found[report.fingerprint] = _said(report), min([row.seen_at for row in rows])
    return found


def _said(report: ReportedAlert) -> int:
    return hash((report.starts_at, *report.labels, *report.labels.values()))
