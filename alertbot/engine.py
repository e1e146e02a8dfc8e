"""event → decide → commit.

One loop takes what is durable and not decided yet, in order, and what the clock has made due; loads what the
decisions need; lets `domain.decide` decide; and writes all of it, with the mark that the events are done, in one
transaction. A crash anywhere leaves either all or nothing of a batch, and what was not done is found again at the
start, or by another replica. Where another replica changed what a decision was made from, it is made again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Protocol

from alertbot.backlog import Backlog
from alertbot.clock import Clock
from alertbot.domain.decide import Needs, decide, needs, needs_last, needs_more, reindexed
from alertbot.domain.deploys import Deploy
from alertbot.domain.events import (
    Acknowledged,
    AlertsReported,
    Event,
    Parsed,
    RawEvent,
    StoredEvent,
    Unreadable,
    WindowDue,
    Woken,
)
from alertbot.domain.model import Entry, Want
from alertbot.domain.policy import Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.repeats import Marks, Repeats, marks
from alertbot.domain.situation import Decision, Situation
from alertbot.domain.urgency import is_passable, is_urgent
from alertbot.domain.windows import Window
from alertbot.store.base import Changed, Changes, Due, Keys, Parked, Store, StoreError, StoreUnavailable, TakenOver

log = logging.getLogger("alertbot.engine")

#: Alerts of one report decided as one.
SLICE: Final = 500
#: Alerts decided without letting others run: about 20 ms.
BREATH: Final = 100
#: Events decided in one transaction at the most.
BATCH: Final = 64
#: Alerts decided in one transaction at the most, if it is more than one event: with 100 each costs a quarter more.
BATCH_ALERTS: Final = 500
#: Alerts looked at anew in one transaction, with all of their incidents.
ADOPTED: Final = 200
#: Incidents woken in one transaction.
WAKES: Final = 500
#: Bytes of accepted bodies that may wait to be decided. Above, the door answers 503.
BACKLOG: Final = 128 * 1024 * 1024
#: What is not written down one by one: repeats are counted, and show as `seen_at`.
NOT_RECORDED: Final = frozenset({Reason.DUPLICATE, Reason.REMOTE_ECHO, Reason.HEARTBEAT})

Parse = Callable[[bytes, datetime], Parsed]


class Counts(Protocol):
    """Where decisions are counted."""

    def decided(self, reason: Reason) -> None: ...
    def unacknowledged(self, severity: str) -> None: ...


@dataclass(slots=True)
class _Job:
    seq: int
    at: datetime
    size: int
    parsed: Parsed
    raw: RawEvent
    decided: asyncio.Future[None] | None = None


class Engine:
    """See the module's text. `on_wants` is called after each commit that asks something of the outbox, `on_asking`
    after one in which a window waits for Alertmanager's word before it releases what it held.

    `on_decision` sees every decision in order, before it is committed (the replay listens there). With nobody there,
    repeats are only counted.
    """

    def __init__(
        self,
        store: Store,
        policy: Policy,
        clock: Clock,
        parsers: Mapping[str, Parse],
        *,
        counts: Counts | None = None,
        on_wants: Callable[[], None] = lambda: None,
        on_asking: Callable[[], None] = lambda: None,
        on_decision: Callable[[Decision], None] | None = None,
        backlog: int = BACKLOG,
    ) -> None:
        self.store = store
        self.policy = policy
        self.clock = clock
        self.parsers = parsers
        self.counts = counts
        self.on_wants = on_wants
        self.on_asking = on_asking
        self.on_decision = on_decision
        self.failing = ""
        """Why nothing is decided now; empty while all is well."""
        self._queue: Backlog[_Job] = Backlog()
        self._backlog = 0
        self._most = backlog
        self._signal = asyncio.Event()
        self._next_wake: datetime | None = None
        self._task: asyncio.Task[None] | None = None
        self._appends: set[asyncio.Task[int]] = set()
        self._stopping = False
        self._turn = asyncio.Lock()
        self._unreadable: dict[int, Parked] = {}
        self._repeats = Repeats()
        self._repeats_as_of = 0
        self._counted: Counter[Reason] = Counter()
        self._overdue: list[str] = []
        self._renew_at: datetime | None = None
        self._unsure = False
        """An event may be stored that nobody was handed."""

    # Accepting.

    async def accept(
        self, raw: RawEvent, parsed: Parsed, *, wait: bool = False, decided: asyncio.Future[None] | None = None
    ) -> int:
        """Makes an event durable and hands it on. Returns its seq; with `wait`, once it is decided.

        `decided` is done once it is decided, for who goes on without waiting.

        Raises `StoreUnavailable`: nothing was accepted, and the sender is to try again.
        """
        if self._backlog > self._most:
            raise StoreUnavailable(f"{self._backlog} bytes wait to be decided")
        if wait and decided is None:
            decided = asyncio.get_running_loop().create_future()
        # Its own task: a caller that goes away must not leave a durable event that nobody was handed.
        append = asyncio.create_task(self._append(raw, parsed, decided))
        self._appends.add(append)
        append.add_done_callback(self._appends.discard)
        seq = await asyncio.shield(append)
        if wait and decided is not None:
            await decided
        return seq

    async def _append(self, raw: RawEvent, parsed: Parsed, decided: asyncio.Future[None] | None) -> int:
        size = len(raw.body) + 512
        self._backlog += size
        try:
            (seq,) = await self.store.append([raw])
        except BaseException:
            self._backlog -= size
            self._unsure = True
            self._signal.set()
            raise
        self._enqueue(_Job(seq, raw.at, size, parsed, raw, decided))
        self._signal.set()
        return seq

    def _enqueue(self, job: _Job) -> None:
        events = job.parsed.events
        self._queue.add(job, passable=is_passable(events), urgent=lambda: is_urgent(self.policy, events))

    # Running.

    async def start(self) -> None:
        """Decides first what an earlier run left undecided, then goes on in the background."""
        await self.recover()
        self._stopping = False
        self._task = asyncio.create_task(self._run(), name="engine")

    async def stop(self) -> None:
        """Finishes the batch at hand. What is still queued is durable, and found again at the next start."""
        self._stopping = True
        self._signal.set()
        if self._appends:
            await asyncio.wait(self._appends)
        if self._task is not None:
            await self._task
            self._task = None

    async def recover(self) -> None:
        """Queues the undecided events of an earlier run or of a dead replica, and finds the next time to wake."""
        self._unsure = False
        self._renew_at = (await self.store.renew(self.clock.now())).again_at
        undecided = await self.store.undecided(1_000_000)
        if self._appends:  # one of these may be stored, and not in the queue yet
            await asyncio.wait(self._appends)
        known = {job.seq for job in self._queue}
        left = [e for e in undecided if e.seq not in known]
        for stored in left:
            self._requeue(stored)
        if left:
            log.info("events were left undecided: taken up", extra={"events": len(left)})
        self._next_wake = await self.store.next_wake()

    async def _renew(self) -> None:
        """Among replicas: this one lives, and takes up what another left."""
        async with self._turn:
            now = self.clock.now()
            if self._renew_at is not None and self._renew_at <= now:
                renewal = await self.store.renew(now)
                self._renew_at = renewal.again_at
                # An append that was given up for lost may arrive at any time later, and nobody was handed its event.
                unheard = renewal.mine > len(self._queue) + len(self._appends)
                self._unsure |= renewal.taken > 0 or unheard
                self._next_wake = await self.store.next_wake()
            if self._unsure:
                await self.recover()
                self.on_wants()

    async def look_again(self) -> None:
        """Something was put back into the store from outside the loop (a parked event): take it up."""
        async with self._turn:
            await self.recover()
        self._signal.set()

    def _requeue(self, stored: StoredEvent) -> None:
        raw = stored.event
        try:
            parsed = self.parsers[raw.source](raw.body, raw.at)
        except (Unreadable, KeyError) as e:
            # It was readable when it was accepted: another version of us wrote it, or a person retries it.
            log.error("an accepted event cannot be read", extra={"seq": stored.seq, "error": str(e)})
            parsed = Parsed(())
            parked = Parked(f"e{stored.seq}", raw.at, "event", str(stored.seq), "", str(e), raw.body)
            self._enqueue(_Job(stored.seq, raw.at, 0, parsed, raw))
            self._unreadable[stored.seq] = parked
            return
        self._enqueue(_Job(stored.seq, raw.at, 0, parsed, raw))

    async def _run(self) -> None:
        delay = 0.1
        while not self._stopping:
            self._signal.clear()
            try:
                await self._renew()
                worked = await self.turn()
                if self.failing:
                    log.info("the store is back: what waited is decided")
                self.failing, delay = "", 0.1
            except StoreError as e:
                if not self.failing:
                    log.error("the store is away: nothing is decided until it is back", extra={"error": str(e)})
                self.failing = str(e)
                self._unsure = True  # of what was asked last
                await asyncio.sleep(delay)
                delay = min(delay * 2, 5.0)
                continue
            if not worked and not self._signal.is_set():
                times = [t for t in (self._next_wake, self._renew_at) if t is not None]
                await self.clock.wait(self._signal, min(times, default=None))

    async def turn(self) -> bool:
        """One batch of events, or else one of wakes. False where there was nothing to do.

        Raises `StoreUnavailable`: nothing of the batch took effect, and it is still to be done.
        """
        async with self._turn:
            jobs = self._next_jobs()
            if jobs:
                await self._decide_jobs(jobs)
                return True
            now = self.clock.now()
            if self._next_wake is None or self._next_wake > now:
                return False
            due = await self.store.due(now, WAKES)
            if due.some:
                await self._decide_due(due, now)
            self._next_wake = await self.store.next_wake()
            return due.some

    def _next_jobs(self) -> list[_Job]:
        jobs: list[_Job] = []
        alerts = 0
        for job in self._queue:
            alerts += sum(len(e.alerts) for e in job.parsed.events if isinstance(e, AlertsReported))
            if jobs and (len(jobs) >= BATCH or alerts > BATCH_ALERTS or _looks_around(job)):
                break
            jobs.append(job)
            if _looks_around(job):
                break
        return jobs

    async def _decide_jobs(self, jobs: Sequence[_Job]) -> None:
        heard: Marks
        try:
            changes, heard = await self._decided(jobs)
        except StoreError:
            raise
        except Exception:  # a defect in a decision must stop one event, not all that come after it
            if len(jobs) > 1:
                log.exception("a batch could not be decided: its events are tried one by one")
                for job in jobs:
                    await self._decide_jobs([job])
                return
            log.exception("an event could not be decided: parked", extra={"seq": jobs[0].seq})
            heard = {}
            self._forget_counted()
            changes = Changes(
                done=[jobs[0].seq],
                parked=[
                    Parked(
                        f"e{jobs[0].seq}",
                        jobs[0].at,
                        "event",
                        str(jobs[0].seq),
                        "",
                        "a defect of alertbot kept it from being decided; see the log",
                        jobs[0].raw.body,
                    )
                ],
            )
        try:
            await self._commit(changes)
        except Changed:
            return  # they are still the first in the queue, and decided anew over what stands there now
        except TakenOver as e:
            self._done([job for job in jobs if job.seq in e.seqs])
            return
        self._repeats.take(heard)
        self._done(jobs)

    def _done(self, jobs: Iterable[_Job]) -> None:
        """Takes what is decided, here or elsewhere, out of the queue."""
        for job in jobs:
            self._queue.done(job)
            self._unreadable.pop(job.seq, None)
            self._backlog -= job.size
            if job.decided is not None and not job.decided.done():
                job.decided.set_result(None)

    async def _decided(self, jobs: Sequence[_Job]) -> tuple[Changes, Marks]:
        """Loads for a batch, decides it in order, then what is due at once because of it."""
        situation = Situation(self.policy)
        work = _Gathered()
        self._forget_counted()
        events = self._news([(job, event) for job in jobs for event in job.parsed.events])
        await self._load(situation, [event for _, event in events], jobs[0].at, work)
        in_one_breath = 0
        for job, event in events:
            for part in _slices(event):
                self._apply(situation, decide(situation, part, job.at, job.raw.trace_id), work)
                in_one_breath += len(part.alerts) if isinstance(part, AlertsReported) else 1
                if in_one_breath >= BREATH:
                    in_one_breath = 0
                    await asyncio.sleep(0)
        now = max([self.clock.now(), *(job.at for job in jobs)])
        due = [i for i in work.incidents if _is_due(situation, i, now)]
        await self._wake(situation, due, now, work)
        parked = [self._unreadable[job.seq] for job in jobs if job.seq in self._unreadable]
        for job in jobs:
            parked += [
                Parked(f"a{job.seq}-{n}", job.at, "alert", str(job.seq), part.where, part.error, part.raw)
                for n, part in enumerate(job.parsed.set_aside)
            ]
        changes = work.changes(situation, [job.seq for job in jobs], parked)
        return changes, marks(situation, (e for _, e in events if isinstance(e, AlertsReported)), changes.alerts)

    def _news(self, events: Sequence[tuple[_Job, Event]]) -> Sequence[tuple[_Job, Event]]:
        """The events without what only repeats, which is counted."""
        if self.on_decision is not None:
            return events
        if self._repeats_as_of != self.store.changed_elsewhere:
            self._repeats, self._repeats_as_of = Repeats(), self.store.changed_elsewhere
        news: list[tuple[_Job, Event]] = []
        left: set[str] = set()
        for job, event in events:
            if isinstance(event, AlertsReported):
                new = self._repeats.sift(event, job.at, left)
                self._counted[Reason.DUPLICATE] += len(event.alerts) - len(new.alerts)
                if not new.alerts and not new.truncated:
                    continue
                event = new
            news.append((job, event))
        return news

    async def _decide_due(self, due: Due, now: datetime) -> None:
        """Windows first, for what they release is due with them."""
        situation = Situation(self.policy)
        work = _Gathered()
        self._forget_counted()
        ended = [WindowDue(name) for name in due.windows]
        if ended:
            await self._load(situation, ended, now, work)
            for event in ended:
                self._apply(situation, decide(situation, event, now), work)
        released = [i for i in work.incidents if _is_due(situation, i, now)]
        await self._wake(situation, list(dict.fromkeys([*due.incidents, *released]))[:WAKES], now, work)
        with suppress(Changed):  # what is still due then is found again
            await self._commit(work.changes(situation, (), ()))

    async def _wake(self, situation: Situation, due: Iterable[str], now: datetime, work: _Gathered) -> None:
        woken = [Woken(i) for i in due]
        if not woken:
            return
        await self._load(situation, woken, now, work)
        for n, event in enumerate(woken):
            self._apply(situation, decide(situation, event, now), work)
            if n % 50 == 49:
                await asyncio.sleep(0)

    def _apply(self, situation: Situation, decision: Decision, work: _Gathered) -> None:
        situation.apply(decision)
        if self.on_decision is not None:
            self.on_decision(decision)
        work.add(decision)
        self._counted.update(entry.reason for entry in decision.entries)
        self._overdue += [e.details["severity"] for e in decision.entries if e.reason is Reason.ACK_OVERDUE]

    async def _load(self, situation: Situation, events: Sequence[Event], now: datetime, work: _Gathered) -> None:
        """What the events name, what follows from that, and what follows from that again."""
        first, more, last = Needs(), Needs(), Needs()
        for event in events:
            needs(self.policy, event, now, first)
        await self._fetch(situation, first, work)
        for event in events:
            needs_more(situation, event, more)
        more.incidents -= situation.incidents.keys()
        more.members -= first.members
        await self._fetch(situation, more, work)
        for event in events if more.waiting or more.held_in else ():
            needs_last(situation, event, more, last)
        await self._fetch(situation, last, work)

    async def _fetch(self, situation: Situation, wanted: Needs, work: _Gathered) -> None:
        keys = Keys(
            identities=frozenset(wanted.identities),
            incident_keys=frozenset(wanted.incident_keys),
            incidents=frozenset(wanted.incidents),
            members=frozenset(wanted.members),
            relations=frozenset(wanted.relations),
            waiting=frozenset(wanted.waiting),
            labels=wanted.labels,
            windows=frozenset(wanted.windows),
            held_in=frozenset(wanted.held_in),
            services=frozenset(wanted.services),
            deploys_since=wanted.deploys_since,
        )
        if keys == Keys():
            return
        loaded = await self.store.load(keys)
        work.seen += loaded.seen
        situation.add(
            alerts=loaded.alerts,
            incidents=loaded.incidents,
            relations=loaded.relations,
            waiting=loaded.waiting,
            windows=loaded.windows,
            deploys=loaded.deploys,
            labelled=loaded.labelled,
        )

    async def _commit(self, changes: Changes) -> None:
        await self.store.commit(changes)
        if self.counts is not None:
            for reason in self._counted.elements():
                self.counts.decided(reason)
            for severity in self._overdue:
                self.counts.unacknowledged(severity)
        self._forget_counted()
        if changes.parked:
            one = changes.parked[0]
            log.warning(
                "%d parked, the first one: %s",
                len(changes.parked),
                one.error,
                extra={"parked": one.id, "where": one.where, "event": one.ref},
            )
        times = [*(i.wake_at for i in changes.incidents), *(w.wake_at for w in changes.windows)]
        wakes = [time for time in times if time is not None]
        if wakes:
            first = min(wakes)
            if self._next_wake is None or first < self._next_wake:
                self._next_wake = first
        if changes.wants:
            self.on_wants()
        if any(w.asked_at is not None and not w.over for w in changes.windows):
            self.on_asking()

    def _forget_counted(self) -> None:
        """What was counted for a transaction that is over, or was not made."""
        self._counted.clear()
        self._overdue.clear()

    # A changed policy.

    async def adopt(self, policy: Policy, *, wake: bool = True) -> int:
        """Takes a new policy: open alerts are looked at anew by it. Returns how many alerts changed.

        An open incident stays with the route and receiver it has; what opens from now on goes by the new tree.
        Holds of rules that are gone end at once.
        """
        async with self._turn:
            self.policy = policy
            now = self.clock.now()
            after = ("", "")
            changed = 0
            while page := await self.store.firing(after, ADOPTED):
                places = {(a.incident, a.identity) for a in page}
                loaded = await self.store.load(Keys(members=frozenset(a.incident for a in page)))
                alerts = [(a, reindexed(policy, a)) for a in loaded.alerts if (a.incident, a.identity) in places]
                different = [new for old, new in alerts if new != old]
                held = {a.incident for a, _ in alerts if a.hold is not None}
                incidents = [replace(i, flush_at=now) for i in loaded.incidents if wake and i.id in held]
                entries = [Entry(now, "config", Reason.POLICY_CHANGED, i.id) for i in incidents]
                if different or incidents:
                    try:
                        await self._commit(
                            Changes(alerts=different, incidents=incidents, entries=entries, seen=loaded.seen)
                        )
                    except Changed:
                        continue
                changed += len(different)
                after = (page[-1].incident, page[-1].identity)
            self._signal.set()
            return changed


class _Gathered:
    """What a transaction is going to write. Of alerts and incidents only the last value counts."""

    def __init__(self) -> None:
        self.alerts: dict[tuple[str, str], None] = {}
        self.incidents: dict[str, None] = {}
        self.wants: dict[str, Want] = {}
        self.entries: list[Entry] = []
        self.windows: dict[str, Window] = {}
        self.deploys: dict[str, Deploy] = {}
        self.seen: list[Any] = []
        """What was loaded for it, in the store's own words."""

    def add(self, decision: Decision) -> None:
        for alert in decision.alerts:
            self.alerts[alert.incident, alert.identity] = None
        for incident in decision.incidents:
            self.incidents[incident.id] = None
        for want in decision.wants:
            self.wants[want.id] = want
        self.windows |= {window.id: window for window in decision.windows}
        self.deploys |= {deploy.id: deploy for deploy in decision.deploys}
        self.entries += [e for e in decision.entries if e.reason not in NOT_RECORDED]

    def changes(self, situation: Situation, done: Sequence[int], parked: Sequence[Parked]) -> Changes:
        return Changes(
            done=done,
            alerts=[situation.alerts[k] for k in self.alerts],
            incidents=[situation.incidents[i] for i in self.incidents],
            wants=list(self.wants.values()),
            entries=self.entries,
            parked=parked,
            windows=list(self.windows.values()),
            deploys=list(self.deploys.values()),
            seen=self.seen,
        )


def _looks_around(job: _Job) -> bool:
    """Its decision depends on more than it names, so what comes before it must be committed."""
    return any(isinstance(e, Acknowledged) and not e.incident for e in job.parsed.events)


def _is_due(situation: Situation, incident_id: str, now: datetime) -> bool:
    wake = situation.incidents[incident_id].wake_at
    return wake is not None and wake <= now


def _slices(event: Event) -> Iterable[Event]:
    """A large report in parts. One that was cut off is judged whole: its alerts vouch for one another."""
    if not isinstance(event, AlertsReported) or len(event.alerts) <= SLICE or event.truncated:
        return (event,)
    return (replace(event, alerts=event.alerts[n : n + SLICE]) for n in range(0, len(event.alerts), SLICE))
