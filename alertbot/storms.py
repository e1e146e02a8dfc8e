"""When one card or page stands in for many, and what it says.

A destination that more new incidents wait for than it takes has a storm: a delivery of kind "storm:…", with a card, a
page or a digest of its own, and the deliveries of those incidents are folded into it. It goes through the outbox as any
other delivery, so it is leased, retried, and posted once; and due again and again it is also the storm's own clock.

What each destination takes, and what it is spared:
    slack      a card a second. Critical incidents get cards of their own, as fast as that; those beyond the first few
               are on the board until then. Others get theirs when the storm is over.
    pagerduty  its events a minute. A critical incident that finds them used up is on the storm's page, and gets its
               own as the budget allows, if it still fires. All others are on one page a service.
    email      its mails a minute to one address. A digest now and then.
    sms        its texts a minute to one number. One text with a count, and one when it is over.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from alertbot.domain.budgets import COUNT, CRITICAL, EMAIL, NEWS, PAGERDUTY, SLACK_POSTS, SMS
from alertbot.domain.model import Delivery, DeliveryStatus, Entry, Incident, IncidentStatus, Level, Want
from alertbot.domain.policy import Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.storm import Storm, service_of, storm_of
from alertbot.limiter import StoredLimiter
from alertbot.store.base import Filing, Keys, Store

#: Integrations that can have storms.
STORMY: Final = frozenset({"slack", "pagerduty", "email", "sms"})
#: Deliveries looked at, and folded, in one go.
AT_ONCE: Final = 1_000
#: Incidents of which the alerts are looked at, for what they have in common.
SAMPLE: Final = 100
#: Incidents that one page lists: its body has 512 KB.
ON_A_PAGE: Final = 1_000
#: How often a storm's page, a digest and a text are looked at anew; a board as often as the config says.
EVERY: Final[Mapping[str, timedelta]] = {
    "pagerduty": timedelta(seconds=2),
    "email": timedelta(minutes=5),
    "sms": timedelta(minutes=10),
}
#: How long a text waits for more to count.
GATHERS: Final = timedelta(seconds=3)
#: A storm's page is looked at so soon if more incidents were folded into it: they are on no other.
SOONER: Final = timedelta(seconds=1)
#: How long a lane is left alone that had no storm, or where more than so many critical incidents wait, which go out
#: before all others: what is due in it can be much to read.
RESTS: Final = timedelta(milliseconds=250)
PLENTY: Final = 50
#: And at least so many times as long as it took to read what waits. So is a storm itself, by what it took to read all
#: that it stands in for: of ten thousand that is much, and the store has other things to do.
SPARED: Final = 9
#: Critical incidents that a channel has no time for within so long are on the board first.
SOON: Final = timedelta(minutes=1)
#: The rank of a storm that goes before every incident, for it stands in for many.
FIRST: Final = -1
#: Where a storm's delivery remembers what it said last, and of how many incidents.
_SAID, _LAST, _WORST = "storm_said", "storm_total", "storm_worst"


@dataclass(frozen=True, slots=True)
class Look:
    """What a storm's delivery has to do now: `level` to bring it to, and what there is to say.

    `level` is None where nothing changed, `next_at` once it is over. `remote` is to be remembered once it is said.
    """

    storm: Storm
    level: Level | None
    next_at: datetime | None
    remote: Mapping[str, str]


class Storms:
    """See the module's text. `policy` is set anew at a reload."""

    def __init__(self, store: Store, policy: Policy, limiter: StoredLimiter) -> None:
        self.store = store
        self.policy = policy
        self.limiter = limiter
        self._rests: dict[str, tuple[datetime, datetime]] = {}
        """When a lane, or what a storm stands in for, was looked at, and until when it is left alone then."""

    async def sweep(self, lane: str, now: datetime, *, stormy: bool) -> None:
        """Folds what waits for a lane beyond what goes out soon. To be called before what is due is claimed.

        `stormy`: the lane has a storm already.
        """
        integration = lane.partition(":")[0]
        looked, until = self._rests.get(lane, (now, now))
        if integration not in STORMY or looked < now < until:
            return
        while True:
            began = self.limiter.clock.now()
            waiting = await self.store.waiting(lane, now, AT_ONCE)
            if not stormy or (len(waiting) > PLENTY and waiting[PLENTY].want.rank <= 0):
                self._rests[lane] = now, max(now + RESTS, self._rested(began))
            if not waiting:
                return
            if not stormy and await self._fits(integration, lane, len(waiting)):
                return
            raging = await self.store.storms(lane)
            folds = await self._folds(integration, lane, waiting, raging, now)
            done = [await self._fold(name, want, deliveries, now) for name, (want, deliveries) in folds.items()]
            # Where another replica began a storm of this kind meanwhile, they go into that one.
            if all(done) and (not folds or len(waiting) < AT_ONCE):
                return
            stormy = True

    async def _fits(self, integration: str, lane: str, waiting: int) -> bool:
        """The usual case, cheaply: so few that they go out by themselves, in a lane that has no storm."""
        if integration == "pagerduty":
            return waiting <= await self.limiter.left(PAGERDUTY, lane, COUNT)
        return waiting == 1 and integration == "slack"

    async def _fold(self, name: str, want: Want, deliveries: Sequence[Delivery], now: datetime) -> bool:
        # Each time later than the last: a newer want is what makes it due.
        revision = int(now.timestamp() * 1000)
        level = Level(IncidentStatus.OPEN, 1, revision, revision)
        # One text has to do: it waits for those that come right behind.
        due = now + GATHERS if want.integration == "sms" else now
        want = replace(want, level=level, at=due)
        entries = [_entry(d, name, Reason.FOLDED_INTO_STORM, now) for d in deliveries]
        filing = Filing(want.id, now, fold=[d.id for d in deliveries], wants=[want], entries=entries)
        return await self.store.refile(filing)

    async def _folds(
        self, integration: str, lane: str, waiting: Sequence[Delivery], raging: Sequence[Delivery], now: datetime
    ) -> dict[str, tuple[Want, list[Delivery]]]:
        """Storm's delivery id → its want, and what it takes in."""
        if integration == "pagerduty":
            return await self._pages(lane, waiting, raging, now)
        by_address: dict[tuple[str, str], list[Delivery]] = {}
        for delivery in waiting:
            by_address.setdefault((delivery.want.receiver, delivery.want.to), []).append(delivery)
        folds = _Folds(raging)
        for (receiver, to), deliveries in by_address.items():
            rages = any((s.want.receiver, s.want.to) == (receiver, to) for s in raging)
            for delivery in await self._beyond(integration, to, deliveries, rages):
                folds.add(delivery, f"{receiver}/{to}")
        return folds.found

    async def _beyond(self, integration: str, to: str, waiting: Sequence[Delivery], rages: bool) -> Sequence[Delivery]:
        """What of that which waits for an address is over what it takes."""
        if integration != "slack":
            # The last one is the storm's own.
            takes = await self.limiter.left(EMAIL if integration == "email" else SMS, to, CRITICAL) - 1
            return waiting if rages or len(waiting) > takes else ()
        critical, lower = _by_urgency(waiting)
        return [*critical[self._soon() :], *(lower if rages or len(lower) > self.policy.storms.cards else ())]

    def _soon(self) -> int:
        """Cards that a channel takes before the last is late, or that are no flood."""
        rate = self.limiter.rates[SLACK_POSTS]
        return max(int(rate.count * (SOON / rate.per)), self.policy.storms.cards)

    async def _pages(
        self, lane: str, waiting: Sequence[Delivery], raging: Sequence[Delivery], now: datetime
    ) -> dict[str, tuple[Want, list[Delivery]]]:
        """A critical incident goes out by itself while the key's budget lasts; of the others one page a service."""
        folds = _Folds(raging)
        critical, lower = _by_urgency(waiting)
        own = await self.limiter.left(PAGERDUTY, lane, NEWS)
        beyond = critical[own:]
        if folds.known(_page(0)) is not None:  # nobody waits for a page of its own while there is one that lists it
            beyond = [d for d in critical[:own] if now - d.want.at >= SOONER] + beyond
        room = await self.limiter.left(PAGERDUTY, lane, COUNT) - len(critical)
        if lower and (raging or beyond or len(lower) > room):
            services = await self._services(lower)
            for delivery in lower:
                folds.add(delivery, f"service {services.get(delivery.want.incident, '')}", rank=delivery.want.rank)
        number = 0
        while beyond:
            part = _page(number)
            full = folds.known(part)
            has = len(await self.store.folded(full.id)) if full is not None else 0
            page, beyond = beyond[: max(ON_A_PAGE - has, 0)], beyond[max(ON_A_PAGE - has, 0) :]
            for delivery in page:
                folds.add(delivery, part)
            number += 1
        return folds.found

    async def _services(self, deliveries: Sequence[Delivery]) -> dict[str, str]:
        loaded = await self.store.load(Keys(incidents=frozenset(d.want.incident for d in deliveries)))
        return {i.id: service_of(i.labels, self.policy.deploys.naming.service) for i in loaded.incidents}

    async def look(self, delivery: Delivery, now: datetime) -> Look:
        """What is to be said of a storm now, and when to look again. Moves the members that are to move."""
        began, want, integration = self.limiter.clock.now(), delivery.want, delivery.want.integration
        members = await self.store.folded(delivery.id)
        loaded = await self.store.load(Keys(incidents=frozenset(d.want.incident for d in members)))
        by_id = {i.id: i for i in loaded.incidents}
        open_ = [d for d in members if _is_open(by_id.get(d.want.incident))]
        since = delivery.created_at or want.at
        quiet = now - want.at >= self.policy.storms.quiet
        over = await self._moves(delivery, members, open_, quiet, now)
        storm = await self._storm(list(by_id.values()), open_, since)
        remembered = delivery.remote
        if not members and _LAST in remembered:  # let go of already, by an attempt that did not come to its end
            storm = replace(storm, total=int(remembered[_LAST]), severity=remembered.get(_WORST, storm.severity))
        said = hashlib.sha256(f"{storm.open} {storm.alerts} {storm.title} {over}".encode()).hexdigest()[:16]
        grown = storm.total > int(remembered.get(_LAST, "0"))
        level = None
        if said != remembered.get(_SAID) or over:
            revision = max(want.level.revision, delivery.shown.revision + 1)
            # A mail or text that said "resolved" while something fires would be a false all-clear.
            closes = over and (integration == "slack" or not open_)
            status = IncidentStatus.RESOLVED if closes else IncidentStatus.OPEN
            level = Level(status, 1, revision, revision if grown or over else delivery.shown.news)
        rested = self._rested(began)
        self._rests[delivery.id] = now, rested
        if over:
            del self._rests[delivery.id]
        return Look(
            storm=replace(storm, over=over),
            level=level,
            next_at=None if over else max(now + self.every(integration), rested),
            remote={_SAID: said, _LAST: str(storm.total), _WORST: storm.severity},
        )

    def every(self, integration: str) -> timedelta:
        """How often a storm's delivery is looked at."""
        return EVERY.get(integration, self.policy.storms.every)

    def soonest(self, delivery: Delivery) -> datetime | None:
        """Not before then a storm's delivery is brought up to date again; None where it never was."""
        if delivery.sent_at is None:
            return None
        integration = delivery.want.integration
        soonest = delivery.sent_at + (SOONER if integration == "pagerduty" else self.every(integration))
        return max(soonest, self._rests.get(delivery.id, (soonest, soonest))[1])

    def _rested(self, began: datetime) -> datetime:
        """When what took from then until now may be done again."""
        now = self.limiter.clock.now()
        return now + SPARED * (now - began)

    async def _moves(
        self, storm: Delivery, members: Sequence[Delivery], open_: Sequence[Delivery], quiet: bool, now: datetime
    ) -> bool:
        """Gives members their own, or at the end lets them go. Whether it is over."""
        integration = storm.want.integration
        if integration == "pagerduty":
            room = await self.limiter.left(PAGERDUTY, storm.want.lane, COUNT)
            # In a storm only the critical ones; when it is quiet, and all of them find room, the others too.
            own = [d for d in open_ if d.status is DeliveryStatus.FOLDED]
            due = sorted((d for d in own if d.want.rank == 0), key=lambda d: (d.want.at, d.id))[:room]
            if quiet and len(own) <= room:
                due = own
            over = not open_
            if due or over:
                await self.store.refile(
                    Filing(storm.id, now, promote=[d.id for d in due], leave=[d.id for d in members] if over else ())
                )
            return over
        told = integration != "slack"
        over = quiet and len(open_) <= self.policy.storms.cards
        if over and members:
            entries = [_entry(d, storm.want.incident, Reason.LEFT_STORM, now) for d in open_ if not told]
            await self.store.refile(Filing(storm.id, now, leave=[d.id for d in members], told=told, entries=entries))
        elif not told:
            critical, _ = _by_urgency(open_)
            folded = [d.id for d in critical if d.status is DeliveryStatus.FOLDED]
            promoted = len(critical) - len(folded)
            if promote := folded[: max(self._soon() - promoted, 0)]:
                await self.store.refile(Filing(storm.id, now, promote=promote))
        return over

    async def _storm(self, incidents: Sequence[Incident], open_: Sequence[Delivery], since: datetime) -> Storm:
        names = [s.name for s in self.policy.severities]
        sample = await self.store.load(Keys(members=frozenset(d.want.incident for d in open_[:SAMPLE])))
        firing = [a for a in sample.alerts if a.firing]
        return storm_of(incidents, firing, since, names, self.policy.deploys.naming.service)


class _Folds:
    """Which deliveries go into which storm: one that goes on, or a new one."""

    def __init__(self, raging: Sequence[Delivery]) -> None:
        self._raging = {s.want.kind: s for s in raging}
        self.found: dict[str, tuple[Want, list[Delivery]]] = {}

    def known(self, part: str) -> Delivery | None:
        """The storm of a part of a lane, if it goes on."""
        return self._raging.get(_kind(part))

    def add(self, delivery: Delivery, part: str, rank: int = FIRST) -> None:
        """Into the storm of this part of its lane, a new one with this rank."""
        goes_on = self.known(part)
        if goes_on is not None:
            want = goes_on.want
        else:
            name = hashlib.sha256(f"{delivery.want.lane}\n{part}\n{delivery.want.at.isoformat()}".encode()).hexdigest()
            want = replace(
                delivery.want,
                incident=f"storm-{name[:10]}",
                kind=_kind(part),
                reason=Reason.STORM,
                rank=FIRST,
                cause=None,
            )
            self._raging[want.kind] = Delivery(want.id, want)
        self.found.setdefault(want.id, (want, []))[1].append(delivery)


def _kind(part: str) -> str:
    """A part's storm: a service's name is foreign text, and of any length."""
    return f"storm:{hashlib.sha256(part.encode()).hexdigest()[:10]}"


def _page(number: int) -> str:
    """The part of the lane that one page lists."""
    return f"critical {number}"


def _by_urgency(deliveries: Sequence[Delivery]) -> tuple[list[Delivery], list[Delivery]]:
    """The critical ones, and all others."""
    return [d for d in deliveries if d.want.rank == 0], [d for d in deliveries if d.want.rank > 0]


def is_storm(want: Want) -> bool:
    """Whether a delivery stands in for many."""
    return want.kind.startswith("storm:")


def _is_open(incident: Incident | None) -> bool:
    return incident is not None and incident.status is not IncidentStatus.RESOLVED


def _entry(delivery: Delivery, storm: str, reason: Reason, at: datetime) -> Entry:
    want = delivery.want
    details = {"integration": want.integration, "to": want.to, "receiver": want.receiver, "storm": storm}
    return Entry(at, "delivery", reason, want.incident, details=details)


def incident_of(delivery: Delivery, storm: Storm, receiver: str) -> Incident:
    """A storm as the incident that notifiers know how to show."""
    over = storm.over
    return Incident(
        id=delivery.want.incident,
        key="",
        route="",
        receiver=receiver,
        labels=dict(storm.common),
        title=storm.title,
        severity=storm.severity,
        status=IncidentStatus.RESOLVED if over else IncidentStatus.OPEN,
        created_at=storm.since,
        opened_at=storm.since,
        openings=1,
        firing=storm.alerts,
        resolved=storm.total - storm.open,
    )
