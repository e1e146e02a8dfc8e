"""Due delivery → render → notifier → record.

The store says what is due and hands it out under a lease. Each lane (one channel, one routing key) is worked on by
itself, so that a slow destination delays no other, and within a lane one incident's delivery is in one hand at a time.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Final, Protocol, TypeVar
from urllib.parse import quote

from alertbot.clock import Clock
from alertbot.domain.breakers import BREAKS_AFTER, Breaker, failed, probed, released, sooner
from alertbot.domain.enrichment import Enrichment
from alertbot.domain.levels import ENRICHED, NOTE, ONE_OFF, action_for, shown_after
from alertbot.domain.model import (
    Action,
    Alert,
    Delivery,
    DeliveryStatus,
    Entry,
    Incident,
    Level,
    Want,
    delivery_id,
)
from alertbot.domain.policy import Policy
from alertbot.domain.reasons import Reason
from alertbot.enrich.deploys import suspects_of
from alertbot.notifiers.base import DryRun, Failed, Job, Later, Links, Notifier, Result, Retry, Sent, Told
from alertbot.store.base import BreakerChange, Changes, Lanes, Outcome, Parked, Store, StoreError, StoreUnavailable
from alertbot.storms import Look, Storms, incident_of, is_storm
from alertbot.verdicts import incident_of as window_as_incident
from alertbot.verdicts import told_of

T = TypeVar("T")
log = logging.getLogger("alertbot.outbox")

#: Deliveries of one lane at once. Slack takes one post a second a channel; order in PagerDuty is kept by the incident.
AT_ONCE: Final[Mapping[str, int]] = {
    "slack": 1,
    "pagerduty": 4,
    "email": 2,
    "sms": 2,
    "webhook": 4,
    "log": 32,
}
#: Longer than any attempt: a notifier bounds every network call by 10 s, and makes a few.
ATTEMPT: Final = timedelta(seconds=60)
LEASE: Final = timedelta(seconds=120)
#: How long the questions before an attempt wait for a store that is away: the lease then still holds for the attempt.
BEFORE: Final = LEASE - ATTEMPT
#: How long a replica leaves a destination that its own config does not have to others, which may have read a newer one;
#: and how often it looks whether one did.
CONFIGS_DIFFER: Final = timedelta(minutes=2)
LEFT_TO_OTHERS: Final = timedelta(seconds=1)
FIRST_BACKOFF: Final = timedelta(seconds=1)
LONGEST_BACKOFF: Final = timedelta(minutes=5)
#: When a destination that keeps failing is given up for this incident, and shown as parked.
GIVE_UP_AFTER: Final = timedelta(hours=24)
#: Deliveries of a broken lane that share the fate of the one that is tried.
AT_A_PROBE: Final = 200
#: How soon it is noticed what another replica heard of a destination that fails, and of one that did not.
NOTICED: Final = timedelta(seconds=1)
HEARD: Final = timedelta(seconds=5)
#: Alerts of an incident that a notifier is given. The counts are the incident's own.
ALERTS_SHOWN: Final = 200
#: Where a delivery remembers up to when its destination knows the record.
TOLD_UNTIL: Final = "told_until"

#: What the task that runs is working on.
_AT_WORK: Final = ContextVar[Delivery | None]("delivery", default=None)

#: A destination: (receiver, integration, to).
Address = tuple[str, str, str]


class Counts(Protocol):
    """Where deliveries are counted. `waited` is the time from the webhook to the provider's answer."""

    def delivered(self, integration: str, outcome: str, waited: timedelta | None) -> None: ...


class Enricher(Protocol):
    """What else is known of an incident (`alertbot.enrich.enricher`)."""

    @property
    def under_way(self) -> int:
        """Searches that are going on."""

    def known(self, incident: Incident, alerts: Sequence[Alert]) -> Enrichment:
        """Without waiting, and without raising."""


class Outbox:
    """See the module's text. `links` makes an incident's links from it and its alerts; `on_kept_failing` is told the
    incident and the receiver whose destinations all keep failing, before that is recorded, and possibly again."""

    def __init__(
        self,
        store: Store,
        policy: Policy,
        notifiers: Mapping[Address, Notifier],
        clock: Clock,
        links: Callable[[Incident, Sequence[Alert]], Links],
        on_kept_failing: Callable[[str, str], Awaitable[None]],
        counts: Counts | None = None,
        storms: Storms | None = None,
    ) -> None:
        self.store = store
        self.policy = policy
        self.notifiers = notifiers
        self.clock = clock
        self.links = links
        self.on_kept_failing = on_kept_failing
        self.counts = counts
        self.storms = storms
        self.enricher: Enricher | None = None
        self.page = ""
        """Where all incidents are listed: a storm's link."""
        self.failing = ""
        """Why nothing is delivered now; empty while all is well."""
        self._closed: dict[str, datetime] = {}
        """Lanes whose budget is used up: the budget itself, and what a provider closed, is in the store."""
        self._breakers: dict[str, Breaker] = {}
        """As the store said last."""
        self._changes = 0
        self._signal = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._working: dict[str, set[asyncio.Task[None]]] = {}
        self._stopping = False
        self._claiming = False
        self._claims: dict[str, asyncio.Task[int]] = {}
        self._giving_up = asyncio.Lock()

    def wake(self) -> None:
        """Something may be due."""
        self._signal.set()

    async def found(self, incident: str, card: str | None = None) -> None:
        """More is known of an incident than its cards show: they are due again, as edits that nobody is told of.

        `card`: only this delivery's. What is not there yet will have it anyway; what is being worked on asks when it is
        done.
        """
        try:
            cards = [d for d in await self.store.deliveries(incident) if _is_card(d) and card in (None, d.id)]
            wants = [replace(d.want, level=replace(d.want.level, found=d.want.level.found + 1)) for d in cards]
            if wants:
                await self.store.commit(Changes(wants=wants))
        except StoreError as e:
            log.warning("what was found is not shown", extra={"incident": incident, "error": str(e)})
        self.wake()

    async def start(self) -> None:
        """Works in the background until `stop`."""
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="outbox")

    async def stop(self) -> None:
        """Takes nothing new, and waits for what is under way: each attempt is bounded in time."""
        self._stopping = True
        self._signal.set()
        if self._task is not None:
            await self._task
            self._task = None
        if self._claims:
            await asyncio.wait(self._claims.values())
        under_way = [t for tasks in self._working.values() for t in tasks]
        if under_way:
            await asyncio.wait(under_way)

    async def _run(self) -> None:
        delay = 0.1
        while not self._stopping:
            self._signal.clear()
            now = self.clock.now()
            try:
                started = await self._claim_due(asyncio.FIRST_COMPLETED)
                next_at = await self.store.next_delivery()
                if self.failing:
                    log.info("the store is back: what is due is delivered")
                self.failing, delay = "", 0.1
            except StoreError as e:
                if not self.failing:
                    log.error("the store is away: nothing is delivered until it is back", extra={"error": str(e)})
                self.failing = str(e)
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
                continue
            if not started:
                # What was due and could not be started waits for a place in its lane, and that wakes this loop; or for
                # the lane's time.
                until = next_at if next_at is None or next_at > now else now + timedelta(seconds=1)
                times = [t for t in (until, *self.closed(now).values()) if t is not None and t > now]
                if self.store.shared:
                    times.append(now + (NOTICED if self._breakers else HEARD))
                await self.clock.wait(self._signal, min(times, default=None))

    async def _claim_due(self, until: str) -> int:
        """Claims what is due in each lane that has room, and starts on it. Returns how many, as far as is known: each
        lane goes by itself, so that none waits for what another has to read. `until` is one of `asyncio.wait`.
        """
        self._claiming = True
        try:
            now = self.clock.now()
            lanes = await self._lanes(now)
            started = self._claimed()
            for lane in lanes.due:
                if lane not in self._claims:
                    claim = self._claim_lane(lane, now, stormy=lane in lanes.stormy)
                    self._claims[lane] = asyncio.create_task(claim)
            if self._claims:
                await asyncio.wait(self._claims.values(), return_when=until)
            started += self._claimed()
            for task in self._claims.values():
                task.add_done_callback(self._claimed_late)
            return started
        finally:
            self._claiming = False

    def _claimed(self) -> int:
        """What the claims that came to their end have started. Raises what one of them raised."""
        done = {lane: task for lane, task in self._claims.items() if task.done()}
        for lane in done:
            del self._claims[lane]
        errors = [error for task in done.values() if (error := task.exception()) is not None]
        if errors:
            raise errors[0]
        return sum(task.result() for task in done.values())

    def _claimed_late(self, claim: asyncio.Task[int]) -> None:
        if claim.exception() is not None or claim.result():
            self._signal.set()

    async def _lanes(self, now: datetime) -> Lanes:
        before = self._changes
        lanes = await self.store.lanes(now)
        if before == self._changes:  # else we know better
            self._breakers = dict(lanes.breakers)
        for lane in [lane for lane, breaker in self._breakers.items() if breaker.forgotten(now)]:
            await self._change(lane, lambda b: None if b is not None and b.forgotten(now) else b)
        return lanes

    async def _claim_lane(self, lane: str, now: datetime, *, stormy: bool) -> int:
        busy = self._working.setdefault(lane, set())
        room = AT_ONCE.get(lane.partition(":")[0], 1) - len(busy)
        if room <= 0 or lane in self.closed(now):
            return 0
        self._closed.pop(lane, None)
        if self.storms is not None:
            await self.storms.sweep(lane, now, stormy=stormy)
        lease = secrets.token_hex(8)
        if lane not in self.broken:
            claimed = await self.store.claim(lane, now, lease, LEASE, room)
            return sum(self._begin(busy, self._work(delivery)) for delivery in claimed)
        if busy:
            return 0
        taken = await self._change(lane, lambda b: probed(b, lease, now))
        if taken is None or taken.probe != lease:
            return 0
        claimed = await self.store.claim(lane, now, lease, LEASE, AT_A_PROBE)
        return self._begin(busy, self._probe(lane, lease, claimed))

    def _begin(self, busy: set[asyncio.Task[None]], work: Coroutine[None, None, None]) -> int:
        task = asyncio.create_task(work)
        busy.add(task)
        task.add_done_callback(busy.discard)
        task.add_done_callback(lambda _: self._signal.set())
        return 1

    async def drain(self) -> None:
        """Delivers until nothing is due: for a run without a loop of its own."""
        while await self._claim_due(asyncio.ALL_COMPLETED):
            while under_way := [t for tasks in self._working.values() for t in tasks]:
                await asyncio.wait(under_way)

    async def still_ours(self) -> bool:
        """Whether what this task is working on is still in its hands. To be asked before each request to a provider: a
        replica that was paused must not send what another has taken over.
        """
        delivery = _AT_WORK.get()
        if delivery is None or not self.store.shared:
            return True
        found = await self.store.delivery(delivery.id)
        return found is not None and found.lease == delivery.lease

    async def _work(self, delivery: Delivery) -> None:
        _AT_WORK.set(delivery)
        try:
            await self.deliver(delivery)
        except StoreError as e:
            # The lease runs out, and the attempt is made again as one whose outcome is not known.
            log.error("an outcome could not be recorded", extra={**_about(delivery), "error": str(e)})
        except Exception:  # a defect in one delivery must not end the outbox; its lease runs out and it is tried again
            log.exception("a delivery failed in a way that nobody foresaw", extra=_about(delivery))

    async def _probe(self, lane: str, lease: str, deliveries: Sequence[Delivery]) -> None:
        """The most urgent one that has something to tell is tried. While the lane does not answer, the others share its
        fate: for them too it is failing, so that their fallback is not forgotten.
        """
        others = list(deliveries)
        while others and self._probes(lane, lease) and lane not in self._closed:
            await self._work(others.pop(0))
        if self._probes(lane, lease):
            await self._noted(lane, lambda b: released(b, lease, self.clock.now()))
        for delivery in others:
            breaker = self.broken.get(lane)
            action = action_for(delivery)
            if breaker is None or action is None or is_storm(delivery.want):
                await self._work(delivery)
                continue
            if _adds(delivery):
                await self._record(self._nothing(delivery))
                continue
            now = self.clock.now()
            untried = Retry(f"not tried, for it does not answer: {breaker.error}", breaker.again(now) - now)
            await self._retry(delivery, action, untried, now, tried=False)

    def _probes(self, lane: str, lease: str) -> bool:
        breaker = self._breakers.get(lane)
        return breaker is not None and breaker.probe == lease

    async def deliver(self, delivery: Delivery) -> None:
        """One attempt: what to tell, telling it, and writing down how it went."""
        want, until = delivery.want, self.clock.now() + BEFORE
        if is_storm(want):
            await self._deliver_storm(delivery, until)
            return
        told = (
            await self._patiently(lambda: told_of(self.store, want.incident), until) if want.kind in ONE_OFF else None
        )
        found = None if told else await self._patiently(lambda: self.store.incident(want.incident), until)
        incident = window_as_incident(delivery, told) if told else found
        action = action_for(delivery)
        if incident is None or action is None or self._stale(incident, delivery):
            await self._record(self._nothing(delivery))
            return
        notifier = self.notifiers.get((want.receiver, want.integration, want.to))
        if notifier is None and self._may_be_known_elsewhere(want):
            await self._later(delivery, Later(self.clock.now() + LEFT_TO_OTHERS))
            return
        if notifier is None:
            await self._failed(delivery, action, Failed("this destination is no longer in the config"))
            return
        job = await self._patiently(partial(self._job, delivery, action, incident, told), until)
        result = await self._attempt(notifier, job, until)
        now = self.clock.now()
        match result:
            case Sent() | DryRun():
                await self._record(self._done(delivery, action, result, now))
                if not told and self._knows_more(job):
                    await self.found(incident.id, delivery.id)
            case Later():
                await self._later(delivery, result)
            case Retry() | Failed() if _adds(delivery) and _did_nothing(delivery, result):
                # The next change shows it. That it did not arrive is no failure to tell somebody.
                await self._record(self._nothing(delivery))
            case Retry():
                await self._retry(delivery, action, result, now)
            case Failed():
                await self._failed(delivery, action, result)

    def _may_be_known_elsewhere(self, want: Want) -> bool:
        """Whether another replica may have a config with this destination: they read a new one one after another."""
        return self.store.shared and self.clock.now() - want.at < CONFIGS_DIFFER

    async def _deliver_storm(self, delivery: Delivery, until: datetime) -> None:
        """A storm's card, page or digest: what it should say follows from its members, and is looked up now."""
        if self.storms is None:
            await self._record(self._nothing(delivery))
            return
        now = self.clock.now()
        notifier = self.notifiers.get((delivery.want.receiver, delivery.want.integration, delivery.want.to))
        if notifier is None and self._may_be_known_elsewhere(delivery.want):
            await self._later(delivery, Later(now + LEFT_TO_OTHERS))
            return
        soonest = self.storms.soonest(delivery)
        if soonest is not None and now < soonest:
            await self._later(delivery, Later(soonest))
            return
        look = await self._patiently(partial(self.storms.look, delivery, now), until)
        at_level = delivery if look.level is None else replace(delivery, want=replace(delivery.want, level=look.level))
        action = None if look.level is None else action_for(at_level)
        if action is None or notifier is None:
            outcome = self._nothing(at_level)
            kept = {**delivery.remote, **look.remote} if action is None else delivery.remote
            await self._record(replace(outcome, next_at=look.next_at if notifier else None, remote=kept))
            return
        job = Job(
            delivery=at_level,
            action=action,
            incident=incident_of(delivery, look.storm, delivery.want.receiver),
            alerts=(),
            news=(),
            links=Links(incident=self.page),
            severities=[s.name for s in self.policy.severities],
            now=now,
            storm=look.storm,
        )
        result = await self._attempt(notifier, job, until)
        await self._record_storm(delivery, at_level, action, result, look)

    async def _record_storm(
        self, delivery: Delivery, at_level: Delivery, action: Action, result: Result, look: Look
    ) -> None:
        now = self.clock.now()
        match result:
            case Sent() | DryRun():
                done = self._done(at_level, action, result, now)
                await self._record(
                    replace(done, next_at=look.next_at, remote={**done.remote, **look.remote}, entries=())
                )
            case Later():
                await self._later(delivery, result)
            case Retry():
                await self._retry(delivery, action, result, now)
            case Failed():
                await self._failed(delivery, action, result)

    def _stale(self, incident: Incident, delivery: Delivery) -> bool:
        """A reminder of what was acknowledged, or is over, by now."""
        return delivery.want.kind == "remind" and incident.status is not delivery.want.level.status

    async def _job(self, delivery: Delivery, action: Action, incident: Incident, told: Told | None) -> Job:
        told_until = delivery.remote.get(TOLD_UNTIL)
        since = datetime.fromisoformat(told_until) if told_until else None
        if delivery.want.kind.startswith(NOTE):
            since = delivery.want.at - timedelta(microseconds=1)
        alerts, page, card = await asyncio.gather(
            self.store.members(incident.id, ALERTS_SHOWN),
            self.store.entries(incident=incident.id, since=since, limit=200),
            self._card(delivery.want),
        )
        more, links = Enrichment(), Links(incident=f"{self.page}windows/{quote(incident.id, safe='')}")
        if told is None:
            known = more if self.enricher is None else self.enricher.known(incident, alerts)
            (suspects,) = await suspects_of(self.store.deploys, self.policy.deploys, [alerts])
            more = replace(known, suspects=suspects)
            links = self.links(incident, alerts)
        if more.runbook is not None:
            links = replace(links, runbook=more.runbook.url)
        return Job(
            delivery=delivery,
            action=action,
            incident=incident,
            alerts=alerts,
            news=[e for e in page.entries if e.at <= delivery.want.at and e.kind != "delivery"] if told is None else (),
            links=links,
            severities=[s.name for s in self.policy.severities],
            now=self.clock.now(),
            card=card,
            told=told,
            enrichment=more,
        )

    def _knows_more(self, job: Job) -> bool:
        """More was found while an attempt was under way."""
        shown = job.enrichment
        return self.enricher is not None and shown | self.enricher.known(job.incident, job.alerts) != shown

    async def _card(self, want: Want) -> Mapping[str, str]:
        if want.kind != "remind":
            return {}
        own = delivery_id(want.incident, want.receiver, want.integration, want.to, "incident")
        card = await self.store.delivery(own)
        return card.remote if card is not None else {}

    async def _attempt(self, notifier: Notifier, job: Job, until: datetime) -> Result:
        if not await self._patiently(self.still_ours, until):
            return Retry("another replica has taken it over")
        result: Result
        try:
            async with asyncio.timeout(ATTEMPT.total_seconds()):
                result = await notifier.deliver(job)
        except TimeoutError:
            result = Retry(f"no answer within {ATTEMPT.total_seconds():.0f} s", uncertain=True)
        except StoreUnavailable as e:  # between two requests, maybe; that is no failure of the destination
            return Retry(f"the store is away: {e}", uncertain=True)
        except Exception as e:  # a notifier's defect is that destination's failure, and is retried and seen as one
            log.exception("a notifier raised", extra=_about(job.delivery))
            result = Retry(f"defect in the notifier: {type(e).__name__}", uncertain=True)
        want, now = job.delivery.want, self.clock.now()
        if self.counts is not None:
            is_told = isinstance(result, Sent) and not _adds(job.delivery)
            waited = now - want.cause.at if want.cause is not None and is_told else None
            self.counts.delivered(want.integration, _word(result), waited)
        await self._heard(want, job.delivery.lease, result, now)
        return result

    async def _heard(self, want: Want, lease: str, result: Result, now: datetime) -> None:
        """What an answer says of its lane: whether it has to wait, or is broken, or works again."""
        lane, known = want.lane, self._breakers.get(want.lane)
        match result:
            case Later(until, lane=True):
                self._closed[lane] = max(until, self._closed.get(lane, until))
            case Retry(error):
                well = Breaker(want.integration, want.to)
                breaker = await self._noted(lane, lambda b: failed(b or well, lane, lease, now, error))
                if breaker is not None and breaker.failures == BREAKS_AFTER:
                    log.error("a destination does not answer: it is tried now and then", extra=_where(want))
            case Sent() | Failed() if known is not None:  # somebody answered
                await self._noted(lane, lambda _: None)
                if known.opened is not None:
                    log.info("a destination answers again", extra=_where(want))

    async def _change(self, lane: str, change: BreakerChange) -> Breaker | None:
        """Changes what all replicas know of a lane's failures."""
        breaker = await self.store.breaker(lane, change)
        self._know(lane, breaker)
        return breaker

    async def _noted(self, lane: str, change: BreakerChange) -> Breaker | None:
        """As `_change`; while the store is away, we alone know."""
        try:
            return await self._change(lane, change)
        except StoreError:
            breaker = change(self._breakers.get(lane))
            self._know(lane, breaker)
            return breaker

    def _know(self, lane: str, breaker: Breaker | None) -> None:
        self._changes += 1
        self._breakers.pop(lane, None)
        if breaker is not None:
            self._breakers[lane] = breaker

    @property
    def under_way(self) -> int:
        """Attempts and searches that are being made, and one more while it is claiming."""
        searches = self.enricher.under_way if self.enricher is not None else 0
        claims = sum(not claim.done() for claim in self._claims.values())
        return sum(len(tasks) for tasks in self._working.values()) + self._claiming + claims + searches

    def closed(self, now: datetime) -> Mapping[str, datetime]:
        """Lanes that nothing may go to before a time: a budget is used up, or a broken one waits to be tried."""
        pauses = {lane: b.until for lane, b in self._breakers.items() if b.until is not None and b.closed(now)}
        return pauses | {lane: until for lane, until in self._closed.items() if until > now}

    @property
    def broken(self) -> Mapping[str, Breaker]:
        """The lanes that do not answer, as far as any replica knows."""
        return {lane: breaker for lane, breaker in self._breakers.items() if breaker.opened is not None}

    async def _patiently(self, ask: Callable[[], Awaitable[T]], until: datetime) -> T:
        """What the store answers, once it is back. Raises StoreUnavailable at `until`, or at the end."""
        delay = 0.1
        while True:
            try:
                return await ask()
            except StoreUnavailable:
                if self._stopping or self.clock.now() >= until:
                    raise
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)

    async def _record(self, outcome: Outcome) -> None:
        """While the store is away it is kept for a while: what is known is not to become uncertain."""
        recorded = await self._patiently(lambda: self.store.record(outcome), self.clock.now() + LEASE)
        if not recorded:
            log.warning("an outcome came after its lease had been taken over", extra={"delivery": outcome.id})

    def _nothing(self, delivery: Delivery) -> Outcome:
        told = delivery.shown.status is not None
        return _outcome(
            delivery,
            self.clock.now(),
            status=DeliveryStatus.SENT if told else DeliveryStatus.FOLDED,
            shown=shown_after(delivery, None),
        )

    def _done(self, delivery: Delivery, action: Action, result: Sent | DryRun, now: datetime) -> Outcome:
        dry = isinstance(result, DryRun)
        said = result.text if isinstance(result, DryRun) else ""
        remote = dict(delivery.remote) if isinstance(result, DryRun) else dict(result.remote)
        remote[TOLD_UNTIL] = delivery.want.at.isoformat()
        if isinstance(result, DryRun):
            log.info("dry run: %s", result.text, extra=_about(delivery))
        return _outcome(
            delivery,
            now,
            status=DeliveryStatus.DRY_RUN if dry else DeliveryStatus.SENT,
            shown=shown_after(delivery, action),
            remote=remote,
            remote_id="" if isinstance(result, DryRun) else result.remote_id or delivery.remote_id,
            sent_at=now,
            entries=[]
            if _adds(delivery)
            else [_entry(delivery, action, now, Reason.DRY_RUN if dry else Reason.SENT, said=said)],
        )

    async def _later(self, delivery: Delivery, result: Later) -> None:
        """Not an attempt. Where the provider itself says no, the fallback's time begins to run."""
        now = self.clock.now()
        failing_since = delivery.failing_since or (now if result.error else None)
        until = result.until
        if delivery.want.rank <= 0 and delivery.shown.status is None:
            until = min(until, now + timedelta(seconds=1))  # a storm's page may take it before that
        outcome = _outcome(
            delivery,
            now,
            status=DeliveryStatus.RETRYING if failing_since else DeliveryStatus.PENDING,
            attempts=delivery.attempts,
            next_at=until,
            uncertain=result.uncertain or delivery.uncertain,
            last_error=result.error or delivery.last_error,
            failing_since=failing_since,
            remote=None if result.remote is None else {**delivery.remote, **result.remote},
        )
        await self._record_failure(outcome, delivery.want, now)

    async def _retry(
        self, delivery: Delivery, action: Action, result: Retry, now: datetime, *, tried: bool = True
    ) -> None:
        since = delivery.failing_since or now
        if now - since >= GIVE_UP_AFTER:
            await self._failed(delivery, action, Failed(f"given up after 24 hours: {result.error}"))
            return
        lane, fallback_at = delivery.want.lane, since + self._fallback_after(delivery.want)
        if result.after is not None:
            next_at = now + result.after
        elif lane in self.broken:
            next_at = self.broken[lane].again(now)  # its failures are the lane's: once that answers, all of it is due
        else:
            next_at = now + backoff(delivery.id, delivery.attempts)
        if now < fallback_at < next_at and (result.after is None or not tried):
            # The last try before the fallback is due, and not minutes after that.
            next_at = fallback_at
            if lane in self.broken:
                await self._noted(lane, lambda b: sooner(b, next_at))
        entries = []
        if result.error != delivery.last_error:
            entries = [_entry(delivery, action, now, Reason.RETRYING, result.error, next_at)]
        if tried:
            log.warning(
                "attempt %d failed: %s",
                delivery.attempts + 1,
                result.error,
                extra={**_about(delivery), "next_at": next_at.isoformat()},
            )
        outcome = _outcome(
            delivery,
            now,
            status=DeliveryStatus.RETRYING,
            attempts=delivery.attempts + tried,
            next_at=next_at,
            uncertain=result.uncertain or delivery.uncertain,
            last_error=result.error,
            failing_since=since,
            entries=entries,
            remote=delivery.remote if result.remote is None else {**delivery.remote, **result.remote},
        )
        await self._record_failure(outcome, delivery.want, now)

    async def _failed(self, delivery: Delivery, action: Action, result: Failed) -> None:
        now = self.clock.now()
        log.error("a delivery is parked: %s", result.error, extra=_about(delivery))
        outcome = _outcome(
            delivery,
            now,
            status=DeliveryStatus.PARKED,
            attempts=delivery.attempts + 1,
            last_error=result.error,
            failing_since=delivery.failing_since or now,
            entries=[_entry(delivery, action, now, Reason.PARKED, result.error)],
            parked=[Parked(f"d-{delivery.id}", now, "delivery", delivery.id, delivery.want.to, result.error)],
        )
        await self._record_failure(outcome, delivery.want, now)

    async def _record_failure(self, outcome: Outcome, want: Want, now: datetime) -> None:
        """Once all of a receiver's integrations are parked, or failed for long enough, that is news for the engine.

        One at a time: of several that fail in the same moment, the last must see what became of the others.
        """
        receiver = self.policy.receivers.get(want.receiver)
        asks = receiver is not None and receiver.fallback is not None and want.kind == "incident"
        after = self._fallback_after(want)
        if not asks or not _hopeless(outcome.status, outcome.failing_since, now, after):
            await self._record(outcome)
            return
        async with self._giving_up:
            others = [
                d
                for d in await self.store.deliveries(want.incident)
                if d.want.receiver == want.receiver and d.want.kind == "incident" and d.id != outcome.id
            ]
            if all(_hopeless(d.status, d.failing_since, now, after) for d in others):
                await self.on_kept_failing(want.incident, want.receiver)
            await self._record(outcome)

    def _fallback_after(self, want: Want) -> timedelta:
        receiver = self.policy.receivers.get(want.receiver)
        return timedelta(0) if receiver is None else receiver.fallback_after


def backoff(delivery: str, attempts: int) -> timedelta:
    """1 s, 2 s, 4 s … 5 min, less up to a quarter that differs by delivery, so that not all come back at once."""
    full = min(FIRST_BACKOFF * (1 << min(attempts, 16)), LONGEST_BACKOFF)
    spread = hashlib.sha256(f"{delivery}\n{attempts}".encode()).digest()[0] / 255
    return full * (1 - spread / 4)


def _hopeless(status: DeliveryStatus, failing_since: datetime | None, now: datetime, after: timedelta) -> bool:
    if status is DeliveryStatus.PARKED:
        return True
    return status is DeliveryStatus.RETRYING and failing_since is not None and now - failing_since >= after


def _is_card(delivery: Delivery) -> bool:
    """It is there, in nobody's hands, and can be edited."""
    return (
        delivery.want.kind == "incident"
        and delivery.want.integration in ENRICHED
        and delivery.shown.status is not None
        and not delivery.lease
        and delivery.status not in (DeliveryStatus.PARKED, DeliveryStatus.DRY_RUN)
    )


def _adds(delivery: Delivery) -> bool:
    """It only edits a card, for what was found since: nothing of the incident is told."""
    return delivery.shown.status is not None and delivery.want.level.revision <= delivery.shown.revision


def _did_nothing(delivery: Delivery, result: Retry | Failed) -> bool:
    return isinstance(result, Failed) or (not result.uncertain and result.remote in (None, delivery.remote))


def _where(want: Want) -> dict[str, str]:
    return {"receiver": want.receiver, "integration": want.integration, "to": want.to}


def _about(delivery: Delivery) -> dict[str, str]:
    """What every log line about a delivery says of it."""
    want = delivery.want
    return {
        "incident": want.incident,
        "trace_id": want.cause.trace_id if want.cause else "",
        "receiver": want.receiver,
        "integration": want.integration,
        "to": want.to,
        "reason": want.reason.value,
    }


def _word(result: Result) -> str:
    match result:
        case Sent():
            return "sent"
        case DryRun():
            return "dry_run"
        case Later():
            return "put_off"
        case Retry():
            return "retried"
        case Failed():
            return "parked"


def _entry(
    delivery: Delivery,
    action: Action,
    at: datetime,
    reason: Reason,
    error: str = "",
    until: datetime | None = None,
    said: str = "",
) -> Entry:
    want = delivery.want
    details = {
        "integration": want.integration,
        "to": want.to,
        "action": action.value,
        "receiver": want.receiver,
    }
    details |= {k: v for k, v in (("error", error), ("said", " ".join(said.split()))) if v}
    return Entry(at, "delivery", reason, want.incident, until=until, details=details)


def _outcome(
    delivery: Delivery,
    at: datetime,
    *,
    status: DeliveryStatus,
    shown: Level | None = None,
    attempts: int = 0,
    next_at: datetime | None = None,
    uncertain: bool = False,
    remote: Mapping[str, str] | None = None,
    remote_id: str | None = None,
    last_error: str = "",
    sent_at: datetime | None = None,
    failing_since: datetime | None = None,
    entries: Sequence[Entry] = (),
    parked: Sequence[Parked] = (),
) -> Outcome:
    return Outcome(
        id=delivery.id,
        lease=delivery.lease,
        at=at,
        status=status,
        shown=delivery.shown if shown is None else shown,
        attempts=attempts,
        next_at=next_at,
        uncertain=uncertain,
        remote=delivery.remote if remote is None else remote,
        remote_id=delivery.remote_id if remote_id is None else remote_id,
        last_error=last_error,
        sent_at=sent_at or delivery.sent_at,
        failing_since=failing_since,
        entries=entries,
        parked=parked,
    )
