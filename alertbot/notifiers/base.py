"""What a notifier is: it brings one destination up to date with one incident, and says how that went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from alertbot.domain.deploys import Deploy
from alertbot.domain.enrichment import Enrichment
from alertbot.domain.model import Action, Alert, Delivery, Entry, Incident
from alertbot.domain.reasons import Reason
from alertbot.domain.storm import Storm
from alertbot.domain.windows import Window


@dataclass(frozen=True, slots=True)
class Links:
    """Where a person can go on. Empty strings are left out."""

    incident: str = ""
    graph: str = ""
    runbook: str = ""
    dashboard: str = ""
    silence: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What a verdict or a notice is about: `windows` are all that the verdict is for, `deploys` theirs."""

    window: Window
    windows: Sequence[Window]
    deploys: Sequence[Deploy]


@dataclass(frozen=True, slots=True)
class Job:
    """Everything one attempt needs. `action` is what the destination is to be told now.

    `alerts` holds at most a few hundred, firing ones first; the incident's counts are the truth.
    `news` are the entries since the destination was last brought up to date, oldest first: the details for a thread.
    `rank` is the severity's place, 0 the most urgent; `severities` the configured names in that order.
    """

    delivery: Delivery
    action: Action
    incident: Incident
    alerts: Sequence[Alert]
    news: Sequence[Entry]
    links: Links
    severities: Sequence[str]
    now: datetime
    card: Mapping[str, str] = field(default_factory=dict)
    """For a one-off post: what is remembered of the incident's own card at the same destination."""
    storm: Storm | None = None
    """What `incident` stands for, where it is a storm."""
    told: Told | None = None
    """What `incident` stands for, where it is a deploy's or maintenance's window."""
    enrichment: Enrichment = field(default_factory=Enrichment)
    """What else was known when the attempt began."""

    @property
    def urgency(self) -> int:
        """Place in `alertbot.domain.budgets.KEPT`: what of a destination's budget this may take."""
        if self.delivery.want.rank <= 0 and self.action is not Action.UPDATE:
            return 0
        return 2 if self.action is Action.UPDATE and not self._is_news else 1

    @property
    def _is_news(self) -> bool:
        want, shown = self.delivery.want, self.delivery.shown
        return want.level.news > shown.revision or want.reason in (Reason.ACKNOWLEDGED, Reason.NOTE_ADDED)


@dataclass(frozen=True, slots=True)
class Sent:
    """It is there. `remote` replaces what was remembered of the provider's references."""

    remote: Mapping[str, str] = field(default_factory=dict)
    remote_id: str = ""


@dataclass(frozen=True, slots=True)
class DryRun:
    """No credentials: rendered, and not sent. `text` is what it would have said, in short."""

    text: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after` is what the provider asked for; `uncertain`: it may have arrived all the same.

    `remote` (None: unchanged) keeps what was achieved before the failure, so that it is not done twice.
    """

    error: str
    after: timedelta | None = None
    uncertain: bool = False
    remote: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Later:
    """Not yet: the destination's budget is used up until then. That is no failed attempt.

    `lane`: nothing else can go there before that either. `error`: the provider itself said so, and for a fallback that
    counts as failing. `remote` as in `Retry`.
    """

    until: datetime
    lane: bool = False
    error: str = ""
    uncertain: bool = False
    remote: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """No retry can mend it. `error` has the provider's own words, and no secret."""

    error: str


Result = Sent | DryRun | Later | Retry | Failed


class Limiter(Protocol):
    """What a notifier asks before each call to its provider (`alertbot.limiter`)."""

    async def spend(self, what: str, whose: str, urgency: int, method: str = "") -> datetime | None:
        """None: go on, it is counted. Else when to ask again."""

    async def put_off(self, key: str, after: timedelta) -> datetime:
        """The provider asked for a pause of what is named by a key; returns its end."""


class Unlimited:
    """Where nothing is limited: a replay, a test of one notifier."""

    async def spend(self, what: str, whose: str, urgency: int, method: str = "") -> datetime | None:
        return None

    async def put_off(self, key: str, after: timedelta) -> datetime:
        return datetime.now(UTC) + after


class Notifier(Protocol):
    """One destination. A failure is a value; an exception out of `deliver` is a defect."""

    #: The credential that is missing, where the destination runs dry; else None.
    dry: str | None

    async def deliver(self, job: Job) -> Result:
        """One attempt. Idempotent as far as the provider allows; see `Delivery.uncertain`."""

    async def close(self) -> None: ...
