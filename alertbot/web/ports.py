"""What the web needs of the bot. The composition root implements it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from alertbot.commands.desk import Desk
from alertbot.domain.deploys import Suspect
from alertbot.domain.enrichment import Enrichment
from alertbot.domain.events import Parsed
from alertbot.domain.model import Alert, Incident
from alertbot.domain.policy import Policy, Severity
from alertbot.enrich.runbooks import Runbook
from alertbot.store.base import Store
from alertbot.telemetry import Metrics


class ReloadRefused(Exception):
    """The config as it stands now is wrong, and the one in use stays.

    `problems` has one line each, `file:line: what`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = list(problems)


class RemoteUnknown(Exception):
    """Which incident it is cannot be found out now: the sender is to try again."""


@dataclass(frozen=True, slots=True)
class DryDestination:
    """A destination that is rendered and never sent to, because a credential is missing."""

    receiver: str
    integration: str
    to: str
    missing: str


@dataclass(frozen=True, slots=True)
class BrokenDestination:
    """A destination that does not answer: since when, and its last words."""

    integration: str
    to: str
    since: datetime
    error: str


@dataclass(frozen=True, slots=True)
class View:
    """What the web sees of the config in use. A reload replaces it as a whole.

    `external_url` ends with a slash. Without `webhook_tokens` the webhooks are open, without `api_tokens` all
    else. `max_body` is in bytes, and counts a body as it is after decompression.
    """

    external_url: str
    webhook_tokens: tuple[str, ...] = ()
    api_tokens: tuple[str, ...] = ()
    slack_signing_secret: str = field(default="", repr=False)
    pagerduty_webhook_secret: str = field(default="", repr=False)
    webhook_secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Of each sender that signs, or names a token of its own."""
    max_body: int = 32 * 1024 * 1024
    receivers: tuple[str, ...] = ()
    dry: tuple[DryDestination, ...] = ()


class Bot(Protocol):
    """The parts of the bot that a request can reach."""

    @property
    def store(self) -> Store:
        """Everything that is looked at comes from here."""

    @property
    def metrics(self) -> Metrics:
        """Requests are counted here; `GET /metrics` shows it."""

    @property
    def view(self) -> View:
        """The config in use; asked anew at every request."""

    @property
    def policy(self) -> Policy:
        """What decisions are made by."""

    @property
    def severities(self) -> Sequence[Severity]:
        """The configured levels, the most urgent first."""

    @property
    def desk(self) -> Desk:
        """Where what people do in Slack is answered."""

    async def remote_key(self, remote: str, said: str) -> str:
        """The key that we gave to an incident of PagerDuty's, by PagerDuty's id of it; empty for one that is not ours.

        `said` is the key that came with it, and is remembered. Raises `StoreError`, and `RemoteUnknown` where PagerDuty
        has to be asked and does not answer.
        """

    def clock(self) -> datetime:
        """Now, in UTC."""

    def broken(self) -> Sequence[BrokenDestination]:
        """The destinations that do not answer now."""

    def runbook(self, alerts: Sequence[Alert]) -> str | None:
        """The address of the runbook of an incident with these alerts."""

    def runbook_file(self, name: str) -> Runbook | None:
        """A runbook by its name in the folder."""

    async def suspects(self, incidents: Sequence[Sequence[Alert]]) -> Sequence[tuple[Suspect, ...]]:
        """Of each incident's alerts the recent deploys that they may come from, the likeliest first."""

    async def enrichment(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        """All that is known of an incident beside its own record; a few seconds at most."""

    async def accept(
        self,
        source: str,
        body: bytes,
        parsed: Parsed,
        trace_id: str,
        wait: bool = False,
        decided: asyncio.Future[None] | None = None,
    ) -> int:
        """Takes one raw event; it is durable when this returns its seq. Parts set aside are parked.

        It counts the event in `metrics.events_received`; the door counts the alerts.

        With `wait`, returns after the event was decided; `decided` is done then, for who does not wait.

        Raises `StoreUnavailable`, and then nothing was
        taken.
        """

    def wake(self) -> None:
        """Work became due outside of a decision (a parked delivery is to be tried again): look now."""

    async def reload(self) -> list[str]:
        """Takes the config as it stands now; returns its warnings. Raises `ReloadRefused`."""

    def readiness(self) -> tuple[bool, str]:
        """Whether requests make sense now, and why not."""
