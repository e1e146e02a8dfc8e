"""The store: the narrow interface behind which everything durable lives.

One contract suite (`tests/store`) runs over all back ends. Nothing above this package knows which one it is.

The shape of the work: `append` makes raw events durable before a sender is answered. The engine takes them in
order, `load`s what the decision needs and `commit`s what was decided, in one transaction with the mark that
the event is done. The outbox `claim`s deliveries that are due and `record`s their outcome. A claim is a
lease: when its time has passed another worker may take the delivery, and the late one's `record` is refused.

Several replicas may share a store. An event belongs to the one that appended it, until it has not said for a while that
it lives (`renew`); a decision counts only if nobody changed what it was made from. A store that one process has for
itself has nothing to do for that.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from alertbot.domain.budgets import Budget, Spent
from alertbot.domain.deploys import Deploy
from alertbot.domain.enrichment import Past
from alertbot.domain.events import RawEvent, StoredEvent
from alertbot.domain.model import Alert, Delivery, DeliveryStatus, Entry, Incident, Level, Want
from alertbot.domain.windows import Window

if TYPE_CHECKING:
    from alertbot.store.rows import Row


class StoreError(Exception):
    """The store could not do it. Nothing of the call took effect."""


class StoreUnavailable(StoreError):  # a state, and what the answer 503 says
    """The store is away, full or locked: the same call may succeed later."""


class StoreUnusable(StoreError):  # as above
    """The file or server is damaged, foreign or of a newer version: a person has to look at it."""


class Changed(StoreError):  # as above
    """Another replica was there first: what was loaded has changed since. To be loaded and decided again."""


class TakenOver(StoreError):  # as above
    """These events (seqs) are another replica's by now, and maybe decided."""

    def __init__(self, seqs: Sequence[int]) -> None:
        super().__init__(f"another replica took over {len(seqs)} events")
        self.seqs = frozenset(seqs)


@dataclass(frozen=True, slots=True)
class Source:
    """A firing alert on the source side of an inhibition relation."""

    identity: str
    starts_at: datetime
    two_sided: bool
    """It matches the target side of the rule too."""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Keys:
    """What to load. Everything not named stays away."""

    identities: frozenset[str] = frozenset()
    """Current alerts of these identities."""
    incident_keys: frozenset[str] = frozenset()
    """The newest incident of each of these group keys."""
    incidents: frozenset[str] = frozenset()
    """Incidents by id."""
    members: frozenset[str] = frozenset()
    """All unsettled alerts of these incidents (and the incidents themselves)."""
    relations: frozenset[str] = frozenset()
    """Firing sources of these inhibition relations: at most `SOURCES_LOADED` a side, the earliest first."""
    waiting: frozenset[str] = frozenset()
    """Incidents with an alert that is held under one of these relations."""
    labels: Mapping[str, str] | None = None
    """Incidents that are open or acknowledged and have a firing alert with all of these labels (none: "")."""
    windows: frozenset[str] = frozenset()
    """Windows by id; with any name here, also all that are not over."""
    held_in: frozenset[str] = frozenset()
    """Current alerts that one of these windows held in their latest episode, settled ones too."""
    services: frozenset[str] = frozenset()
    """The latest `DEPLOYS_LOADED` deploys of each of these services."""
    deploys_since: datetime | None = None
    """All deploys that were heard of since then."""


#: How many sources of a relation are loaded on each side. A decision needs one that holds; more are only
#: named.
SOURCES_LOADED = 20
#: How many of a service's deploys are loaded, to know what was there before.
DEPLOYS_LOADED = 20


@dataclass(frozen=True, slots=True)
class Loaded:
    """The answer to `Keys`. What does not exist is absent."""

    alerts: Sequence[Alert] = ()
    """Everything named by `identities`, `members` and `held_in`, each alert once, by (incident, identity)."""
    incidents: Sequence[Incident] = ()
    """Everything named by `incident_keys`, `incidents`, `members` and `labels`, each once, by id."""
    relations: Mapping[str, Sequence[Source]] = field(default_factory=dict)
    waiting: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Relation to incident ids."""
    labelled: Sequence[str] = ()
    """Ids of the incidents named by `labels`."""
    windows: Sequence[Window] = ()
    deploys: Sequence[Deploy] = ()
    """Each once, by id."""
    seen: tuple[Any, ...] = field(default=(), compare=False)
    """What this is a view of: for `Changes.seen`, and each store's own."""


@dataclass(frozen=True, slots=True)
class Parked:
    """Something that could not be read or delivered, kept for a person.

    `kind` is "alert" (a part of a body), "event" (a whole stored event) or "delivery".
    `ref` is the event's seq or the delivery's id.
    """

    id: str
    at: datetime
    kind: str
    ref: str
    where: str
    error: str
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Changes:
    """What one transaction writes. Order within a list is kept."""

    done: Sequence[int] = ()
    """Seqs of events that are decided."""
    alerts: Sequence[Alert] = ()
    """Upserts by (incident, identity)."""
    incidents: Sequence[Incident] = ()
    """Upserts by id; the newest incident of a key is the one whose first write was the last."""
    wants: Sequence[Want] = ()
    """Upserts by id: a new want makes the delivery due at `want.at` unless it is backing off or held by a
    worker. One of an older revision is passed over; one of the same level only changes lane and rank.
    """
    entries: Sequence[Entry] = ()
    parked: Sequence[Parked] = ()
    windows: Sequence[Window] = ()
    """Upserts by id."""
    deploys: Sequence[Deploy] = ()
    """Upserts by id."""
    seen: Sequence[Any] = ()
    """All that was loaded for it: where any of that has changed since, `Changed` is raised and nothing written."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """A replica lives on. It has to say so again at `again_at` (None: nobody else would ask).

    `taken` is how many undecided events it now has from replicas that died, and how many deliveries of theirs are due
    again; `others` how many replicas live beside it, `mine` how many undecided events it has in all.
    """

    again_at: datetime | None = None
    taken: int = 0
    others: int = 0
    mine: int = 0


@dataclass(frozen=True, slots=True)
class Due:
    """What the clock has made due, the earliest first: ids of incidents and of windows."""

    incidents: Sequence[str] = ()
    windows: Sequence[str] = ()

    @property
    def some(self) -> bool:
        """There is anything."""
        return bool(self.incidents or self.windows)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an attempt at a delivery came to.

    `shown` is what the destination shows now (unchanged where the attempt failed). `next_at` is the time of
    the next attempt, None where there is nothing left to do. `uncertain`: the provider may have taken it
    without telling us.
    """

    id: str
    lease: str
    at: datetime
    status: DeliveryStatus
    shown: Level
    attempts: int
    next_at: datetime | None
    uncertain: bool
    remote: Mapping[str, str]
    remote_id: str
    last_error: str
    sent_at: datetime | None
    failing_since: datetime | None = None
    entries: Sequence[Entry] = ()
    parked: Sequence[Parked] = ()


@dataclass(frozen=True, slots=True)
class Filing:
    """Deliveries by id that a storm takes in, lets have their own card or page, and lets go at its end.

    `told`: those let go were told by the storm, and need no card of their own.
    """

    storm: str
    at: datetime
    fold: Sequence[str] = ()
    promote: Sequence[str] = ()
    leave: Sequence[str] = ()
    told: bool = False
    wants: Sequence[Want] = ()
    entries: Sequence[Entry] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A slice of a list and the cursor of the next one, None at the end."""

    incidents: Sequence[Incident]
    next: str | None


@dataclass(frozen=True, slots=True)
class EntryPage:
    """A slice of the record and the cursor of the next one, None at the end."""

    entries: Sequence[Entry]
    next: str | None


@dataclass(frozen=True, slots=True)
class Stats:
    """Sizes for the metrics."""

    undecided: int
    due_deliveries: int
    parked: int
    open_incidents: int
    storms: int = 0
    folded: int = 0
    """Deliveries that a storm stands in for."""


class Store(Protocol):
    """See the module's text. Every method raises `StoreUnavailable` when it can't be done now."""

    async def open(self) -> None:
        """Connects, migrates the schema; raises `StoreUnusable` rather than replace what it does not know.

        A store that only one process can have ends the leases of the one before: nobody has to wait for a dead worker.
        """

    async def close(self) -> None:
        """Finishes what was begun and lets go. Idempotent."""

    # The record of events.
    async def append(self, events: Sequence[RawEvent]) -> Sequence[int]:
        """Makes events durable; returns their seqs, ascending. Concurrent calls share one commit."""

    async def undecided(self, limit: int) -> Sequence[StoredEvent]:
        """This replica's events that are not done yet, in order of seq. After a crash: what is to be decided first."""

    async def renew(self, now: datetime) -> Renewal:
        """This replica lives. The events of one that died are its own from now on, and the leases of that one are over.

        To be called before `undecided`.
        """

    @property
    def shared(self) -> bool:
        """Whether other replicas may work on it."""

    @property
    def changed_elsewhere(self) -> int:
        """Grows when, as far as this replica has heard, another one changed the status or labels of an alert."""

    async def events(self, since: datetime, after: int, limit: int) -> Sequence[StoredEvent]:
        """The record from a time on, in order, past a seq: for `replay --from-store`."""

    async def event(self, seq: int) -> StoredEvent | None:
        """One raw event."""

    # Deciding.
    async def load(self, keys: Keys) -> Loaded:
        """A consistent view of what is named."""

    async def commit(self, changes: Changes) -> None:
        """All of it or none. Raises `Changed`, and `TakenOver` where an event of `done` is not this replica's."""

    async def due(self, now: datetime, limit: int) -> Due:
        """Incidents and windows whose `wake_at` has come, at most so many of each. No other replica gets these
        incidents for a while.
        """

    async def next_wake(self) -> datetime | None:
        """The earliest `wake_at` of all incidents and windows; of one that another replica has, the end of that."""

    async def firing(self, after: tuple[str, str], limit: int) -> Sequence[Alert]:
        """Unsettled alerts in order of (incident, identity), past a place: for a changed policy."""

    # Delivering.
    async def lanes(self, now: datetime) -> Sequence[str]:
        """Lanes with a delivery that is due and not leased; the most urgent first."""

    async def claim(self, lane: str, now: datetime, lease: str, lease_for: timedelta, limit: int) -> Sequence[Delivery]:
        """Takes due deliveries of a lane: most urgent rank first, then the oldest want.

        Each is marked as leased and in flight before this returns; one whose earlier lease ran out with the
        outcome not recorded comes back `uncertain`.
        """

    async def record(self, outcome: Outcome) -> bool:
        """Writes an outcome. False, and nothing written, where the lease is no longer this worker's.

        A want that became newer while the attempt ran is due at once (or at `next_at`, where that is set).
        """

    async def next_delivery(self) -> datetime | None:
        """When the next delivery is due or a lease runs out."""

    # Storms: one card or page that stands in for many.
    async def waiting(self, lane: str, now: datetime, limit: int) -> Sequence[Delivery]:
        """Deliveries of a lane that a storm could stand in for (`rows.waits`), in the order of `claim`."""

    async def refile(self, filing: Filing) -> None:
        """Moves deliveries into a storm or out of it, all of it or none; one that has moved on stays as it is."""

    async def folded(self, storm: str) -> Sequence[Delivery]:
        """The deliveries that a storm stands in for, in the order in which they were first wanted."""

    async def storms(self, lane: str) -> Sequence[Delivery]:
        """A lane's storms (kind "storm:…") that are not over, the oldest first."""

    # Budgets.
    async def spend(self, budgets: Sequence[Budget], now: datetime) -> datetime | None:
        """Takes one call from each of these, or nothing from any: then it says when to ask again."""

    async def calls_left(self, budget: Budget, now: datetime) -> int:
        """How many calls may be made now."""

    async def close_budget(self, key: str, until: datetime) -> None:
        """No call before this time: the provider said so."""

    # Looking.
    async def incident(self, incident_id: str) -> Incident | None:
        """One incident."""

    async def incidents(
        self,
        *,
        statuses: Sequence[str] = (),
        severity: str | None = None,
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page:
        """Newest first; `since` compares `created_at`. ValueError for a cursor that is none of ours."""

    async def past(self, key: str, since: datetime, limit: int = 100) -> Past:
        """The incidents of a group (`Incident.key`) that were created since then, newest first, and the latest note on
        one of these.
        """

    async def members(self, incident_id: str, limit: int = 1000) -> Sequence[Alert]:
        """An incident's alerts: firing ones first, then by start, newest first."""

    async def deliveries(self, incident_id: str) -> Sequence[Delivery]:
        """An incident's deliveries in the order in which they were first wanted."""

    async def members_of(self, incident_ids: Sequence[str], limit: int = 100) -> Mapping[str, Sequence[Alert]]:
        """The `members` of many incidents, at most `limit` of each; an incident without any has an empty list."""

    async def deliveries_of(self, incident_ids: Sequence[str]) -> Mapping[str, Sequence[Delivery]]:
        """The `deliveries` of many incidents; an incident without any has an empty list."""

    async def delivery(self, delivery_id: str) -> Delivery | None:
        """One delivery."""

    async def entries(
        self,
        *,
        incident: str = "",
        identity: str = "",
        since: datetime | None = None,
        cursor: str | None = None,
        limit: int = 200,
    ) -> EntryPage:
        """The record of one incident, or of one alert, oldest first; with `since`, only what is later than
        that.

        Raises ValueError for a cursor that is none of ours.
        """

    async def find_alerts(self, labels: Mapping[str, str], limit: int = 100) -> Sequence[Alert]:
        """Alerts that have all of these labels, current ones, the newest first."""

    async def windows(self, since: datetime, limit: int = 500) -> Sequence[Window]:
        """Windows that are not over, or were not at that time; the latest starts first."""

    async def window(self, window_id: str) -> Window | None:
        """One window."""

    async def windows_named(self, window_ids: Sequence[str]) -> Mapping[str, Window]:
        """Windows by id, those that are there."""

    async def deploys(self, since: datetime, service: str | None = None, limit: int = 500) -> Sequence[Deploy]:
        """Deploys heard of since then, of one service or of all; those heard of last first."""

    async def deploy(self, deploy_id: str) -> Deploy | None:
        """One deploy."""

    async def deploys_named(self, deploy_ids: Sequence[str]) -> Mapping[str, Deploy]:
        """Deploys by id, those that are there."""

    async def parked(self, limit: int = 100) -> Sequence[Parked]:
        """Newest first, each without its `raw`: bodies are large."""

    async def parked_item(self, parked_id: str) -> Parked | None:
        """One parked thing with its `raw`."""

    async def retry_parked(self, parked_id: str, now: datetime) -> bool:
        """A delivery becomes due again with a fresh count of attempts, an event undecided again; the item
        goes.

        False, and nothing changed, where there is no such item or what it refers to is gone.

        For a part of a body ("alert") only the item goes: the caller appends what it mended.
        """

    async def drop_parked(self, parked_id: str) -> bool:
        """Forgets it. False where there is none."""

    async def stats(self, now: datetime) -> Stats:
        """Sizes at a time: what is due then, open or acknowledged, and so on."""

    async def trim(self, before: datetime) -> int:
        """Forgets what is older than this: done events, resolved incidents with all that hangs on them,
        settled alerts, entries of no incident, windows that are over, deploys, parked events and parts of bodies.
        Returns how many events, incidents and alerts.

        An event stays while it is undecided or parked, an incident while one of its alerts is unsettled.
        """

    async def get_meta(self, key: str) -> str | None:
        """Small facts of our own (the policy's hash)."""

    async def set_meta(self, key: str, value: str) -> None:
        """Writes one."""

    # Moving, to another store (`alertbot.store.copy`): what the calls above show only in part.
    async def facts(self) -> Mapping[str, str]:
        """All small facts."""

    async def spent(self) -> Mapping[str, Spent]:
        """What was spent, by the budgets' keys."""

    def rows(self) -> AsyncIterator[Sequence[Row]]:
        """All deliveries with what decides when they are due, page by page, in the order in which they were first
        wanted.
        """

    async def restore(self, rows: Sequence[Row], spent: Mapping[str, Spent]) -> None:
        """Writes these as they are."""
