"""Replicas on one Redis, those who report to them, and what must hold in the end."""

from __future__ import annotations

import asyncio
import contextvars
import json
import random
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from alertbot.domain.budgets import RATES
from alertbot.domain.events import RawEvent
from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.levels import action_for
from alertbot.domain.model import Delivery, Incident, IncidentStatus
from alertbot.domain.policy import Escalation, EscalationStep, Policy, Severity, Storms
from alertbot.domain.reasons import Reason
from alertbot.domain.routing import Route
from alertbot.engine import Engine
from alertbot.limiter import StoredLimiter, WhileOurs
from alertbot.notifiers.base import Links, Notifier
from alertbot.notifiers.slack import SlackNotifier
from alertbot.notifiers.slack_blocks import Renderer
from alertbot.outbox import Address, Outbox
from alertbot.release import Release
from alertbot.sources import SOURCES
from alertbot.store.base import StoreError
from alertbot.storms import Storms as Sweeper
from alertbot.storms import is_storm
from tests.domain.script import SEVERITIES, START, policy, receiver, rule
from tests.races.places import misplaced
from tests.races.providers import KnowingAlertmanager, MemoryPagerDuty, MemorySlackApi, PagerDuty, Slack, payload
from tests.races.schedule import REPLICA, LoopClock, Odds, Schedule, SimulatedLoop, SteppingStore

SECOND: Final = timedelta(seconds=1)
MINUTE: Final = timedelta(minutes=1)
#: Seconds in which all that was begun comes to its end: a lease that nobody holds lasts two minutes.
SETTLES: Final = 160.0
#: And in which every window, hold and silence ends too.
ENDS: Final = 400.0
#: Templates are read once.
RENDERER: Final = Renderer()
CHANNELS: Final = {"ops": "C00000001", "lead": "C00000002"}
HOSTS: Final = "abcdefgh"
#: What people do to an incident.
ACTS: Final = ("acknowledge", "resolve", "note", "note", "escalate", "assign", "silence", "unsilence")
_S = IncidentStatus


def races_policy(*, by_host: bool, flapping: bool) -> Policy:
    """`ops` in PagerDuty and Slack, `lead` in Slack after 2 minutes; short times, and storms of three cards."""
    made = policy()
    route = Route(
        key="{}", receiver="ops", group_by=("alertname", "host" if by_host else "service"),
        group_wait=timedelta(seconds=3), group_interval=timedelta(seconds=20), repeat_interval=timedelta(hours=4),
        escalation="lead",
    )  # fmt: skip
    return policy(
        route=route,
        receivers={r.name: r for r in (receiver("ops", "pagerduty", "slack"), receiver("lead", "slack"))},
        escalations={"lead": Escalation("lead", (EscalationStep(2 * MINUTE, "lead"),))},
        severities=tuple(
            Severity(s.name, s.aliases, ack_within=3 * MINUTE, remind_acknowledged=True) for s in SEVERITIES
        ),
        inhibit_rules=(
            rule("power", 'alertname="Power"', 'alertname="Down"', "service", duration=2 * MINUTE),
            rule("maintenance", 'alertname="Maintenance"', 'alertname="Down"', duration=10 * MINUTE),
            rule("deploy", 'alertname="Deployment"', 'alertname="Down"', "service", duration=5 * MINUTE),
        ),
        flapping=made.flapping if flapping else None,
        storms=Storms(cards=3, every=timedelta(seconds=5), quiet=timedelta(seconds=40)),
        alertmanager=True,
    )


class Replica:
    """One bot's core, made of the live parts as the app makes it."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        schedule, policy_ = world.schedule, world.policy
        self.clock = LoopClock(START, world.ahead())
        self.store = SteppingStore(world.url, schedule, name)
        self.limiter = StoredLimiter(self.store, self.clock, RATES)
        self.outbox = Outbox(
            self.store, policy_, {}, self.clock, lambda *_: Links(), self._kept_failing,
            storms=Sweeper(self.store, policy_, self.limiter),
        )  # fmt: skip
        self.engine = Engine(self.store, policy_, self.clock, SOURCES, on_wants=self.outbox.wake)
        alertmanager = KnowingAlertmanager(world.fingerprints, schedule, name)
        self.release = Release(self.store, self.clock, lambda: alertmanager, lambda _: True, self._found)
        self.engine.on_asking = self.release.wake
        limiter = WhileOurs(self.limiter, self.clock, self.outbox.still_ours)
        notifiers: dict[Address, Notifier] = {}
        for r in policy_.receivers.values():
            for d in r.destinations:
                if d.integration == "slack":
                    slack = SlackNotifier("xoxb-simulated", CHANNELS[r.name], limiter=limiter)
                    slack.renderer = RENDERER
                    slack.api = MemorySlackApi(world.slack, schedule, name, self.outbox.still_ours)
                    notifiers[r.name, d.integration, d.to] = slack
                else:
                    notifiers[r.name, d.integration, d.to] = MemoryPagerDuty(
                        world.pagerduty, schedule, name, limiter, budget=d.lane
                    )
        self.outbox.notifiers = notifiers

    async def start(self) -> None:
        await self.store.open()
        await self.engine.adopt(self.engine.policy)
        await self.outbox.start()
        await self.engine.start()
        self.store.client.faults = True

    async def stop(self) -> None:
        await self.release.close()
        await self.engine.stop()
        await self.outbox.stop()
        await self.store.close()

    async def accept(self, source: str, body: bytes) -> int:
        raw = RawEvent(self.clock.now(), source, body)
        return await self.engine.accept(raw, SOURCES[source](body, raw.at))

    async def _found(self, source: str, body: bytes) -> None:
        await self.accept(source, body)

    async def _kept_failing(self, incident: str, receiver: str) -> None:
        raise AssertionError("no receiver has a fallback here")


@dataclass
class World:
    """All that one seed makes."""

    seed: int
    url: str
    loop: SimulatedLoop
    chance: random.Random
    policy: Policy
    skewed: bool = False
    """The replicas' clocks differ, by less than makes a living one look dead."""
    pagerduty: PagerDuty = field(default_factory=PagerDuty)
    replicas: dict[str, Replica] = field(default_factory=dict)
    graves: list[Replica] = field(default_factory=list)
    fires: dict[str, tuple[dict[str, str], datetime]] = field(default_factory=dict)
    """By fingerprint: labels, and since when it fires."""
    ended: dict[str, datetime] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    """Notes by their text, and how often a replica said that it has them."""
    tried: Counter[bytes] = field(default_factory=Counter)
    """How often each body was sent."""
    unanswered: int = 0
    _names: int = 0
    _background: set[asyncio.Task[Any]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.schedule = self.loop.schedule
        self.schedule.on_kill = self._killed
        self.slack = Slack(lambda: START.timestamp() + self.loop.seconds)
        self.clock = LoopClock(START)
        self.seen = SteppingStore(self.url, self.schedule, "")

    # The replicas.

    def ahead(self) -> timedelta:
        """How far a replica's clock is before the others'."""
        return timedelta(seconds=self.chance.uniform(-3, 3) if self.skewed else 0)

    def fingerprints(self) -> frozenset[str]:
        return frozenset(self.fires)

    def spawn(self, coro: Any, replica: str = "") -> asyncio.Task[Any]:
        """Runs something as a replica's, or the world's."""
        context = contextvars.copy_context()
        context.run(REPLICA.set, replica)
        task = self.loop.create_task(coro, context=context)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def start(self) -> None:
        """One replica more."""
        self._names += 1
        replica = Replica(self, f"r{self._names}")
        self.schedule.note(f"{replica.name} starts")
        self.replicas[replica.name] = replica
        await asyncio.wait([self.spawn(replica.start(), replica.name)])

    def _killed(self, name: str) -> None:
        """It is gone; another one starts some time later."""
        self.schedule.dead.add(name)
        self.loop.kill(name)
        self.graves.append(self.replicas.pop(name))
        self.loop.call_later(self.chance.choice([0.0, 2.0, 20.0]), lambda: self.spawn(self.start()))

    async def retire(self, name: str) -> None:
        """One ends in good order."""
        replica = self.replicas.pop(name)
        self.graves.append(replica)
        await asyncio.wait([self.spawn(replica.stop(), name)])
        self.schedule.dead.add(name)
        self.loop.kill(name)

    async def stop(self) -> None:
        for replica in self.replicas.values():
            self.loop.kill(replica.name)
        for replica in [*self.replicas.values(), *self.graves]:
            with self.schedule.asked():
                await replica.store.client.close()
            for notifier in replica.outbox.notifiers.values():
                await notifier.close()
        with self.schedule.asked():
            await self.seen.client.close()

    # Who reports.

    async def tell(self, source: str, body: Mapping[str, Any], first: str = "") -> None:
        """Sends until a replica says that it has it, as every sender of ours does."""
        raw = json.dumps(body).encode()
        self.unanswered += 1
        while True:
            names = sorted(self.replicas)
            name = first if first in names else self.chance.choice(names) if names else ""
            first = ""
            if name:
                self.tried[raw] += 1
                sent = self.spawn(self.replicas[name].accept(source, raw), name)
                await asyncio.wait([sent], timeout=10)
                if sent.done() and not sent.cancelled():
                    error = sent.exception()
                    if error is None:
                        if source == "note":
                            self.notes[body["text"]] += 1
                        self.unanswered -= 1
                        return
                    if not isinstance(error, StoreError):
                        raise error
            await asyncio.sleep(self.chance.choice([0.5, 5.0]))

    def report(self, labels: dict[str, str], *, ends: bool) -> None:
        """Alertmanager tells of a change; every other time a pair of them does."""
        name = fingerprint(labels)
        now = self.clock.now()
        if name not in self.fires:
            if ends or now - self.ended.get(name, START - MINUTE) < SECOND:
                return  # an alert that ends when it starts again is for nobody to tell apart
            self.fires[name] = labels, now
        elif ends and now - self.fires[name][1] < SECOND:
            return
        since = self.fires[name][1]
        if ends:
            del self.fires[name]
            self.ended[name] = now
        body = {
            "status": "resolved" if ends else "firing",
            "labels": labels,
            "annotations": {},
            "startsAt": since.isoformat(),
            "endsAt": now.isoformat() if ends else "0001-01-01T00:00:00Z",
            "fingerprint": name,
        }
        for _ in range(self.chance.choice([1, 2])):
            self.spawn(self.tell("alertmanager", {"version": "4", "alerts": [body]}))

    async def open_incidents(self) -> Sequence[Incident]:
        return [i for i in (await self.seen.incidents(limit=500)).incidents if i.told]

    async def happen(self) -> None:
        """One thing, anything."""
        what = self.chance.choice([*["fire"] * 6, *["end"] * 3, *["act"] * 5, "power", "maintenance", "deploy", "burst",
                                   "adopt", "found", "flap"])  # fmt: skip
        match what:
            case "fire" | "burst":
                for host in self.chance.sample(HOSTS, 1 if what == "fire" else 7):
                    self.report(labels_of("Down", host), ends=False)
            case "end" if self.fires:
                labels, _ = self.fires[self.chance.choice(sorted(self.fires))]
                self.report(labels, ends=True)
            case "flap":
                labels = labels_of("Down", self.chance.choice(HOSTS))
                for ends in (False, True, False):
                    self.report(labels, ends=ends)
                    await asyncio.sleep(1)
            case "power":
                self.report({"alertname": "Power", "severity": "high", "service": "s0"}, ends=False)
            case "maintenance":
                action = self.chance.choice(["start", "end"])
                body = {"action": action, "id": "m1", "by": "ada", "reason": "r", "labels": {}}
                self.spawn(self.tell("maintenance", body | ({"duration": "1m"} if action == "start" else {})))
            case "deploy":
                status = self.chance.choice(["started", "started", "succeeded", "failed"])
                service = self.chance.choice(["s0", "s1"])
                number = self.chance.choice(["1", "2"])
                body = {"id": f"d{number}-{service}", "service": service, "version": f"v{number}", "status": status}
                self.spawn(self.tell("deploy", body))
            case "act":
                await self.act()
            case "adopt" if self.replicas:
                replica = self.replicas[self.chance.choice(sorted(self.replicas))]
                self.spawn(_whatever(replica.engine.adopt(self.policy)), replica.name)
            case "found" if self.replicas and (found := await self.open_incidents()):
                replica = self.replicas[self.chance.choice(sorted(self.replicas))]
                self.spawn(replica.outbox.found(self.chance.choice(found).id), replica.name)

    async def act(self) -> None:
        found = await self.open_incidents()
        if not found:
            return
        what, incident = self.chance.choice(ACTS), self.chance.choice(found).id
        body: dict[str, Any] = {"incident": incident, "by": self.chance.choice(["ada", "bo"])}
        match what:
            case "note":
                body["text"] = f"note at {self.loop.seconds:.3f}"
            case "assign":
                body["to"] = "bo"
            case "silence":
                body["duration"] = self.chance.choice(["1m", "2m", None])
        self.spawn(self.tell(what, body))


async def _whatever(done: Any) -> None:
    """A person's wish that may fail: they see it, and ask again."""
    try:
        await done
    except StoreError:
        return


def labels_of(name: str, host: str) -> dict[str, str]:
    number = HOSTS.index(host)
    severity = "critical" if number % 4 == 0 else "high"
    return {"alertname": name, "severity": severity, "host": host, "service": f"s{number % 2}"}


async def evening(world: World, odds: Odds) -> list[str]:
    """Some minutes in which everything happens, then quiet. Returns what is wrong."""
    world.schedule.log.append(f"seed {world.seed}")
    await world.seen.open()
    for _ in range(world.chance.choice([2, 2, 3])):
        await world.start()
    world.schedule.odds = odds
    for _ in range(world.chance.randint(6, 18)):
        await asyncio.sleep(world.chance.choice([0.0, 0.0, 0.5, 2.0, 5.0, 15.0, 40.0]))
        await world.happen()
    await asyncio.sleep(world.chance.choice([0.0, 5.0, 30.0]))
    world.schedule.odds = Odds()
    await asyncio.sleep(max([*world.schedule.paused.values(), world.loop.seconds]) - world.loop.seconds + SETTLES)
    found = [f"once all is quiet: {line}" for line in [*await unfinished(world), *await untold(world)]]
    for labels, _ in list(world.fires.values()):
        world.report(labels, ends=True)
    for name in sorted(world.replicas)[1:]:
        await world.retire(name)
    await asyncio.sleep(ENDS)
    found += [f"at the end: {line}" for line in [*await unfinished(world), *await untold(world), *await twice(world)]]
    for incident in (await world.seen.incidents(limit=500)).incidents:
        if incident.status is not _S.RESOLVED or incident.flush_at is not None:
            found.append(f"at the end {incident.id} is {incident.status}, to be looked at {incident.flush_at}")
    found += [f"at the end {key} is {is_} in PagerDuty" for key, is_ in world.pagerduty.status.items()
              if is_ != "resolved"]  # fmt: skip
    found += misplaced(world.url)
    await world.stop()
    return found


async def unfinished(world: World) -> list[str]:
    """What should be decided, delivered or let go of by now, and is not."""
    store, now = world.seen, world.clock.now()
    found = []
    stats = await store.stats(now - timedelta(seconds=30))
    if stats.undecided:
        found.append(f"{stats.undecided} events are not decided")
    if stats.due_deliveries:
        found.append(f"{stats.due_deliveries} deliveries are due for long")
    if stats.parked:
        found.append(f"parked: {[p.error for p in await store.parked()]}")
    if world.unanswered:
        found.append(f"{world.unanswered} senders are not answered")
    for incident in (await store.incidents(limit=500)).incidents:
        if incident.wake_at is not None and incident.wake_at < now - timedelta(seconds=30):
            found.append(f"{incident.id} should have been woken at {incident.wake_at}")
        for delivery in await store.deliveries(incident.id):
            if delivery.want.at > now - timedelta(seconds=30):
                continue
            if delivery.lease and not is_storm(delivery.want):
                found.append(f"{delivery.id} is still in a hand")
            elif action_for(delivery) is not None and not delivery.storm and not is_storm(delivery.want):
                found.append(f"{delivery.id} is behind: {delivery.want.level}, shows {delivery.shown}, due "
                             f"{delivery.next_at} {delivery.last_error}")  # fmt: skip
    return found


async def untold(world: World) -> list[str]:
    """Where what people see is not what is so."""
    store = world.seen
    found = []
    incidents = (await store.incidents(limit=500)).incidents
    rows = {}
    for incident in incidents:
        for alert in await store.members(incident.id):
            if alert.current:
                rows[alert.identity] = (alert, incident)
        if not incident.told or incident.flapping:
            continue
        for delivery in await store.deliveries(incident.id):
            found += _shows(world, incident, delivery)
    for name, (labels, _) in world.fires.items():
        row = rows.get(name)
        if row is None:
            found.append(f"nobody knows that {labels} fires")
            continue
        alert, incident = row
        if not alert.firing:
            found.append(f"{labels} fires, and counts as resolved")
        elif not alert.announced and alert.hold is None and not alert.silence:
            found.append(f"{labels} fires, nothing holds it, and nobody was told: {incident.id} is {incident.status}")
        elif alert.announced and not incident.told and not alert.silence and not incident.resolved_by:
            found.append(f"{labels} fires and was told, and {incident.id} is {incident.status}")
    found += [f"{a.labels} does not fire, and counts as firing" for n, (a, _) in rows.items()
              if a.firing and n not in world.fires]  # fmt: skip
    return found


def _shows(world: World, incident: Incident, delivery: Delivery) -> list[str]:
    want, shown = delivery.want, delivery.shown
    if want.kind != "incident" or delivery.storm or want.receiver != "ops":
        return []
    says = f"{incident.id} is {incident.status}"
    if shown.status is not incident.status and not (shown.status is None and incident.status is _S.ACKNOWLEDGED):
        return [f"{says}, and {delivery.id} shows {shown.status}"]
    if want.integration == "slack" and shown.status is not None:
        cards = [m for m in world.slack.of_kind("card") if payload(m)["delivery"] == delivery.id]
        if not cards:
            return [f"{says}, and has no card"]
    if want.integration == "pagerduty" and shown.status is not None:
        key = incident.id if incident.openings <= 1 else f"{incident.id}.{incident.openings}"
        # Of what may not have arrived before somebody took it, nobody is called.
        there = {_S.OPEN: ("triggered",), _S.ACKNOWLEDGED: ("acknowledged", None)}[incident.status]
        if world.pagerduty.status.get(key) not in there and shown.opening == incident.openings:
            return [f"{says}, and {key} is {world.pagerduty.status.get(key)} in PagerDuty"]
    return []


async def twice(world: World) -> list[str]:
    """What was told, opened or written down more than once, or not as often as it should be."""
    found = [f"{key} opened {n} incidents in PagerDuty" for key, n in world.pagerduty.opened.items() if n > 1]
    for kind in ("card", "news", "remind", "told"):
        of = Counter((payload(m)["delivery"], payload(m).get("revision")) for m in world.slack.of_kind(kind))
        found += [f"{n} times in Slack: {kind} {which}" for which, n in of.items() if n > 1]
    # What was over for people while the rest was held stays so.
    found += [f"the card of {payload(m)['incident']} ends as {m['text']!r}" for m in world.slack.of_kind("card")
              if not re.search("(?i)resolved|held", m["text"])]  # fmt: skip
    events = [e.event for e in await world.seen.events(START - MINUTE, 0, 100_000)]
    bodies = Counter(e.body for e in events if e.body in world.tried)
    found += [f"{body!r} was sent {world.tried[body]} times and stored {n} times" for body, n in bodies.items()
              if n > world.tried[body]]  # fmt: skip
    stored = Counter(json.loads(e.body)["text"] for e in events if e.source == "note")
    written: Counter[str] = Counter()
    for incident in (await world.seen.incidents(limit=500)).incidents:
        entries = (await world.seen.entries(incident=incident.id, limit=10_000)).entries
        written.update(e.details["note"] for e in entries if e.reason is Reason.NOTE_ADDED)
        tells = [e for e in entries if e.kind == "notification"]
        if incident.revision < len(tells):
            found.append(f"{incident.id} is at {incident.revision}, and {len(tells)} notifications are written down")
        lines = Counter(
            (e.at, e.kind, e.reason, e.by, json.dumps(dict(e.details), sort_keys=True))
            for e in entries
            # A person may silence it, and not, twice in an instant.
            if e.kind in ("notification", "incident") and e.reason is not Reason.SILENCE_ENDED
        )
        found += [f"{incident.id} has {n} lines {line}" for line, n in lines.items() if n > 1]
        sent = Counter(
            (e.details["integration"], e.details["receiver"])
            for e in entries
            if e.kind == "delivery" and e.reason is Reason.SENT and e.details["action"] == "open"
        )
        found += [f"{incident.id} was opened {n} times at {where} in the record" for where, n in sent.items() if n > 1]
    if stored != written:
        found.append(f"notes stored {stored}, written down {written}")
    if world.notes - stored:
        found.append(f"notes accepted and lost: {world.notes - stored}")
    return found


async def one_alert(world: World) -> list[str]:
    """It fires, and is over 25 seconds later: then others had the time to take over what a paused replica had."""
    await world.seen.open()
    for _ in range(2):
        await world.start()
    world.report(labels_of("Down", "b"), ends=False)
    await asyncio.sleep(25)
    world.report(labels_of("Down", "b"), ends=True)
    await asyncio.sleep(SETTLES)
    found = [*await unfinished(world), *await untold(world), *await twice(world)]
    found += [f"{key} is {is_} in PagerDuty" for key, is_ in world.pagerduty.status.items() if is_ != "resolved"]
    await world.stop()
    return found


def run_one(url: str, pause_before: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """What is wrong with `one_alert`, and what happened, where a replica is paused before such requests to Redis."""
    schedule = Schedule(random.Random(1), pause_before=dict(pause_before))
    loop = SimulatedLoop(schedule)
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        world = World(0, url, loop, random.Random(1), races_policy(by_host=True, flapping=False))
        found = runner.run(one_alert(world))
    assert not schedule.pause_before, "nobody was paused"
    return found, schedule.log


def run(seed: int, url: str) -> tuple[list[str], list[str]]:
    """What is wrong with a seed's evening, and what happened in it."""
    chance = random.Random(seed)
    schedule = Schedule(random.Random(seed + 1), sticky=chance.choice([0.0, 0.5, 0.9]))
    loop = SimulatedLoop(schedule)
    odds = Odds(
        fault=chance.choice([0.0, 0.005, 0.03]),
        pause=chance.choice([0.0, 0.004, 0.02]),
        kill=chance.choice([0.0, 0.004, 0.01]),
    )
    with asyncio.Runner(loop_factory=lambda: loop) as runner:
        world = World(
            seed, url, loop, chance,
            races_policy(by_host=chance.random() < 0.6, flapping=chance.random() < 0.3),
            skewed=chance.random() < 0.3,
        )  # fmt: skip
        found = runner.run(evening(world, odds))
    return found, schedule.log
