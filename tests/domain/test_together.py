"""All that can happen to an incident, in any order: Alertmanager reports, people act here and in PagerDuty, silences,
deploys and maintenance begin and end, and PagerDuty's word of it comes late, twice and in any order.

PagerDuty is a model with its own rules: a trigger under a key that is acknowledged calls nobody, under one that is
resolved it opens another incident. What we send it, it tells us again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.domain.deadlines import next_step
from alertbot.domain.events import RawEvent
from alertbot.domain.model import Incident, IncidentStatus
from alertbot.domain.policy import Escalation, EscalationStep, Policy, Severity
from alertbot.domain.silences import in_force
from alertbot.notifiers.base import Job, Notifier, Result
from alertbot.notifiers.pagerduty import plan
from alertbot.replay import Replay, rfc3339
from alertbot.sources import SOURCES
from tests.domain.script import SEVERITIES, START, alert, policy, receiver, rule

_S = IncidentStatus
SETTINGS = settings(
    max_examples=60,
    deadline=None,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
MINUTE = timedelta(minutes=1)
LEAD = Escalation("lead", (EscalationStep(5 * MINUTE, "lead"), EscalationStep(15 * MINUTE, "ops")), repeat=1)
RULES = (
    rule("maintenance", 'alertname="Maintenance"', 'alertname="Down"', duration=timedelta(hours=2)),
    rule("deploy", 'alertname="Deployment"', 'alertname="Down"', "service", duration=30 * MINUTE),
)
#: PagerDuty's status of what is open here, and of what somebody has.
THERE = {_S.OPEN: "triggered", _S.ACKNOWLEDGED: "acknowledged"}


def evening_policy(*, services: int = 1, flapping: bool = False) -> Policy:
    """`ops` in PagerDuty and Slack; after 5 minutes `lead`, in Slack or in a PagerDuty service of its own too."""
    lead = receiver("lead", "slack") if services == 1 else receiver("lead", "pagerduty", "slack")
    made = policy()
    return policy(
        route=replace(made.route, escalation="lead"),
        receivers={r.name: r for r in (receiver("ops", "pagerduty", "slack"), lead, receiver("log"))},
        escalations={"lead": LEAD},
        severities=tuple(
            Severity(s.name, s.aliases, ack_within=30 * MINUTE, remind_acknowledged=True) for s in SEVERITIES
        ),
        inhibit_rules=RULES,
        flapping=made.flapping if flapping else None,
    )


class PagerDuty:
    """The services that it has, by receiver: what stands under each key, the newest last, and what it has to tell.

    It is what a receiver's notifier of the run is; `recorder` writes down what it is given.
    """

    dry: str | None = None

    def __init__(self, recorder: Notifier, world: World) -> None:
        self.recorder = recorder
        self.world = world
        self.incidents: list[list[str]] = []
        """(key, status) of each."""
        self.reopened: set[str] = set()
        """Keys that somebody opened again there: where nothing of it fires, that is theirs."""
        self.timed_out: set[str] = set()
        """Keys that it resolved by a time limit: where somebody has it here, nobody is called for it again."""
        self.swallowed: list[str] = []
        """Keys of triggers that were to call somebody and did not."""

    async def deliver(self, job: Job) -> Result:
        for kind, key in plan(job):
            self.take(kind, key, loud=job.action.value in ("open", "reopen"))
        return await self.recorder.deliver(job)

    async def close(self) -> None:
        """Holds nothing."""

    def take(self, kind: str, key: str, *, loud: bool) -> None:
        """An event of ours."""
        there = next((i for i in self.incidents if i[0] == key and i[1] != "resolved"), None)
        if there is None:
            if kind == "trigger":
                self.incidents.append([key, "triggered"])
                self.tell("triggered", key)
            return
        if kind == "trigger":
            if loud and there[1] == "acknowledged":
                self.swallowed.append(key)
            return
        status = {"acknowledge": "acknowledged", "resolve": "resolved"}[kind]
        if there[1] != status:
            there[1] = status
            as_person = self.world.as_person and kind == "acknowledge"
            self.tell(status, key, agent="user_reference" if as_person else "integration_reference")

    def person(self, change: str, agent: str) -> None:
        """Somebody, or a time limit, does something to the newest incident, where that is possible there."""
        from_ = {
            "acknowledged": ("triggered",),
            "unacknowledged": ("acknowledged",),
            "resolved": ("triggered", "acknowledged"),
            "reassigned": ("triggered", "acknowledged"),
            "reopened": ("resolved",),
        }[change]
        newest = self.incidents[-1] if self.incidents else None
        if newest is None or newest[1] not in from_:
            return
        if agent != "user_reference" and change == "resolved":
            self.timed_out.add(newest[0])
        if change == "reopened":
            self.reopened.add(newest[0])
        newest[1] = {"acknowledged": "acknowledged", "resolved": "resolved"}.get(change, "triggered")
        self.tell(change, newest[0], agent=agent)

    def tell(self, change: str, key: str, *, agent: str = "integration_reference") -> None:
        number = self.world.count()
        at = self.world.replay.clock.now() + timedelta(milliseconds=number)
        status = change if change in ("acknowledged", "resolved") else "triggered"
        event = {
            "id": f"E{number}", "event_type": f"incident.{change}", "occurred_at": at.isoformat(),
            "agent": {"type": agent, "summary": "Bo"}, "data": {"id": "P1", "incident_key": key, "status": status},
        }  # fmt: skip
        self.world.mail.append({"event": event})

    def of(self, incident: str) -> list[list[str]]:
        """What is not resolved of one of our incidents."""
        return [i for i in self.incidents if i[0].partition(".")[0] == incident and i[1] != "resolved"]


class World:
    """A run of the bot, with PagerDuty beside it. `raws` is what was recorded, in the order in which it came.

    `as_person`: alertbot acknowledges there as the person who did it here, so that it comes back as that person's.
    """

    def __init__(self, with_policy: Policy, *, as_person: bool = False) -> None:
        self.as_person = as_person
        self.policy = with_policy
        self.replay = Replay(with_policy, SOURCES, decisions=True)
        self.raws: list[RawEvent] = []
        self.mail: list[dict[str, Any]] = []
        self.now = START
        self._counter = 0
        mapping: dict[Any, Notifier] = dict(self.replay.outbox.notifiers)
        self.services = {
            address[0]: PagerDuty(recorder, self) for address, recorder in mapping.items() if address[1] == "pagerduty"
        }
        self.replay.outbox.notifiers = mapping | {
            address: self.services[address[0]] for address in mapping if address[1] == "pagerduty"
        }

    def count(self) -> int:
        self._counter += 1
        return self._counter

    async def feed(self, source: str, body: Mapping[str, Any]) -> None:
        raw = RawEvent(self.now, source, json.dumps(body).encode())
        self.raws.append(raw)
        await self.replay.feed(raw)

    async def incidents(self) -> list[Incident]:
        """The oldest first."""
        return list((await self.replay.store.incidents(limit=100)).incidents)[::-1]

    async def hear(self, numbers: Sequence[int], *, twice: bool) -> None:
        """Some of PagerDuty's messages arrive a second later, in an order of their own."""
        self.now = max(self.now, self.replay.clock.now()) + timedelta(seconds=1)
        for n in numbers:
            if not self.mail:
                return
            body = self.mail.pop(n % len(self.mail))
            await self.feed("pagerduty", body)
            if twice:
                await self.feed("pagerduty", body)


@dataclass(frozen=True)
class Step:
    """One thing that happens: what, to which, and how many seconds after the one before."""

    after: int
    what: str
    which: int = 0
    flag: bool = False


PEOPLE = ("acknowledge", "resolve", "note", "escalate", "assign", "silence", "unsilence")
REMOTE = ("acknowledged", "unacknowledged", "resolved", "reopened", "reassigned")
OTHER = ("maintenance", "deploy", "there", "hear", "pause", "kept_failing", "tick")

steps = st.lists(
    st.builds(
        Step,
        after=st.sampled_from([0, 0, 1, 5, 20, 60, 300, 700]),
        what=st.sampled_from(["fire", "fire", "fire", "end", "end", *PEOPLE, *REMOTE, *REMOTE, *OTHER]),
        which=st.integers(0, 5),
        flag=st.booleans(),
    ),
    min_size=1,
    max_size=25,
)

HOSTS = [{"host": h, "severity": s, "service": "api"} for h, s in (("a", "high"), ("b", "high"), ("c", "critical"))]


def offset(world: World) -> str:
    seconds = int((world.now - START).total_seconds())
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


class Evening:
    """Carries out steps. What fires in truth is in `since`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.since: dict[int, str] = {}
        self.windows = 0

    async def do(self, step: Step) -> None:
        """One step, if it is possible now."""
        world = self.world
        world.now += timedelta(seconds=1 + step.after + (6 * 3600 if step.what == "pause" and step.flag else 0))
        known = await world.incidents()
        newest = known[-1].id if known else ""
        match step.what:
            case "fire":
                await self.report(step.which % 3)
            case "end" if self.since:
                host = sorted(self.since)[step.which % len(self.since)]
                await self.report(host, ends=True)
            case "silence" if newest:
                duration = ("20m", "2h", None)[step.which % 3]
                await world.feed("silence", {"incident": newest, "by": "ada", "duration": duration})
            case "assign" if newest:
                await world.feed("assign", {"incident": newest, "by": "ada", "to": "bo"})
            case "note" if newest:
                await world.feed("note", {"incident": newest, "by": "ada", "text": "hm"})
            case "kept_failing" if newest:
                await world.feed("kept_failing", {"incident": newest, "receiver": "ops"})
            case what if what in PEOPLE and newest:
                await world.feed(what, {"incident": newest, "by": "ada"})
            case what if what in REMOTE:
                await world.replay.run_until(world.now)
                agent = (
                    "service_reference" if step.flag and what in ("unacknowledged", "resolved") else "user_reference"
                )
                services = list(world.services.values())
                services[step.which % len(services)].person(what, agent)
                world.now += timedelta(seconds=1)
            case "maintenance":
                await self.maintenance(step)
            case "deploy":
                status = ("started", "succeeded", "failed")[step.which % 3]
                body = {"id": "d1", "service": "api", "version": "v1", "status": status}
                await world.feed("deploy", body)
            case "there" if self.since:
                await self.silenced_there(step)
            case "hear":
                await world.hear([step.which, 0, 3], twice=step.flag)
            case _:
                await world.feed("tick", {})
        await world.replay.run_until(world.now)

    async def report(self, host: int, *, ends: bool = False) -> None:
        now = offset(self.world)
        if ends:
            body = alert("Down", self.since.pop(host), now, **HOSTS[host])
        else:
            body = alert("Down", self.since.setdefault(host, now), **HOSTS[host])
        await self.world.feed("alertmanager", {"version": "4", "alerts": [body]})

    async def maintenance(self, step: Step) -> None:
        action = ("start", "extend", "end")[step.which % 3]
        if action == "start":
            self.windows += 1
        body: dict[str, Any] = {"action": action, "id": f"m{self.windows}", "by": "ada", "reason": "r"}
        if action != "end":
            body |= {"labels": {}, "duration": "30m"}
        await self.world.feed("maintenance", body)

    async def silenced_there(self, step: Step) -> None:
        """Alertmanager says that an alert is silenced, inhibited, or neither."""
        host = sorted(self.since)[step.which % len(self.since)]
        identity = alert("Down", "0:00", **HOSTS[host])["fingerprint"]
        world = self.world
        said = {
            "by": "grace", "since": rfc3339(world.now), "until": rfc3339(world.now + timedelta(hours=1)),
            "comment": "c", "id": "" if step.which > 2 else "s1", "inhibited": step.which > 2,
        }  # fmt: skip
        await world.feed("reconcile", {"silences": {identity: said if step.flag else None}})


async def wrong(world: World) -> list[str]:
    """What does not hold of the incidents as they are now, whatever is still under way to us."""
    found: list[str] = []
    for incident in await world.incidents():
        members = await world.replay.store.members(incident.id)
        firing = [a for a in members if a.firing and a.announced and not a.settled]
        says = f"{incident.id} is {incident.status.value}"
        if incident.status is _S.OPEN:
            if incident.unacknowledged_since is None:
                found.append(f"{says} and nothing counts since when")
            if firing and incident.repeat_at is None:
                found.append(f"{says}, fires, and will never be told again")
            if next_step(world.policy, incident) and incident.escalate_at is None and not incident.flapping:
                found.append(f"{says} and will never escalate")
            if incident.acknowledged_by or incident.acknowledged_at or incident.quieted:
                found.append(f"{says} and says that {incident.acknowledged_by} has it")
        else:
            stopped = (incident.escalate_at, incident.ack_due_at, incident.unacknowledged_since)
            if any(stopped) or incident.escalates_to or incident.overdue:
                found.append(f"{says} and still waits for an acknowledgement")
        if incident.status is _S.ACKNOWLEDGED:
            if not incident.acknowledged_by or incident.repeat_at is not None:
                found.append(f"{says}, by {incident.acknowledged_by!r}, and reminds at {incident.repeat_at}")
            silenced = [a for a in firing if in_force(a, world.replay.clock.now())]
            if incident.quieted and firing and not silenced and incident.silence_at is None:
                found.append(f"{says} by a silence that is over")
        if incident.told and not firing and incident.flush_at is None:
            found.append(f"{says} and nothing fires")
        if (
            incident.status is _S.HELD
            and incident.flush_at is None
            and not any(a.hold is not None and a.hold.until is None for a in members)
        ):
            found.append(f"{says} and nobody looks when that ends")
        for delivery in await world.replay.store.deliveries(incident.id):
            if delivery.want.integration != "slack" or delivery.want.kind != "incident":
                continue
            shown, told = delivery.shown.status, incident.status if incident.told else _S.RESOLVED
            if shown is not None and shown is not told:
                found.append(f"{says} and {delivery.id} shows {shown}")
            if shown is None and incident.told and delivery.want.receiver == "ops":
                found.append(f"{says} and {delivery.id} shows nothing")
    return found


async def wrong_there(world: World) -> list[str]:
    """What PagerDuty has otherwise than we, once it has told us everything."""
    found: list[str] = []
    for name, service in world.services.items():
        if service.swallowed:
            found.append(f"{name} swallowed {service.swallowed}")
        for incident in await world.incidents():
            there = service.of(incident.id)
            says = f"{incident.id} is {incident.status.value}, and {name} has {there}"
            if len(there) > 1:
                found.append(says)
            elif incident.flapping or name not in (incident.receiver, *incident.also):
                continue
            elif not incident.told:
                found += [says for key, _ in there if key not in service.reopened]
            elif incident.status is _S.ACKNOWLEDGED and not there and service.timed_out:
                continue
            elif [status for _, status in there] != [THERE[incident.status]]:
                found.append(says)
    return found


async def until_all_is_heard(world: World, order: Sequence[int]) -> None:
    """PagerDuty's messages arrive, each twice; what is done then it tells again."""
    for n in [*order, *([0] * 200)]:
        if not world.mail:
            return
        await world.hear([n], twice=True)
    raise AssertionError(f"we and PagerDuty go on telling each other: {world.mail}")


@SETTINGS
@given(steps, st.lists(st.integers(0, 9), max_size=10), st.sampled_from([1, 2]), st.booleans(), st.booleans())
async def test_whatever_happens_all_sides_agree_in_the_end(
    evening: Sequence[Step], order: Sequence[int], services: int, flapping: bool, as_person: bool
) -> None:
    world = World(evening_policy(services=services, flapping=flapping), as_person=as_person)
    run = Evening(world)
    for step in evening:
        await run.do(step)
        assert await wrong(world) == []
    await until_all_is_heard(world, order)
    assert await wrong(world) == []
    if services == 1:
        assert await wrong_there(world) == []
    # A day later every hold, silence and window is over, and what fires is with people.
    world.now += timedelta(days=1)
    await run.do(Step(0, "tick"))
    await until_all_is_heard(world, ())
    assert await wrong(world) == []
    for incident in await world.incidents():
        members = await world.replay.store.members(incident.id)
        firing = [a for a in members if a.firing and a.current]
        assert all(a.announced and a.hold is None for a in firing if not a.silence)
        assert not incident.flapping
        assert incident.told or all(a.silence for a in firing), "what a person resolved and still fires is open again"
    for host in sorted(run.since):
        world.now += timedelta(seconds=90)
        await run.report(host, ends=True)
    world.now += timedelta(days=1)
    await run.do(Step(0, "tick"))
    await until_all_is_heard(world, ())
    assert await wrong(world) == []
    assert await wrong_there(world) == []
    for incident in await world.incidents():
        assert incident.status is _S.RESOLVED
        assert incident.wake_at is None
    again = Replay(world.policy, SOURCES, decisions=True)
    for raw in world.raws:
        await again.feed(raw)
    await again.run_until(world.now)
    assert again.lines == world.replay.lines
