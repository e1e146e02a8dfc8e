"""Recorded events under a config, on a virtual clock: what would have been sent, and what not, and why.

The engine, the decision and the outbox are the live ones; only the store is in memory, the clock is moved, and
the notifiers write down what they are given. Destinations are instant, unlimited and never fail.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from alertbot.clock import MovableClock
from alertbot.domain.events import RawEvent
from alertbot.domain.model import SEVERITY_LABEL, Alert, Entry, Incident
from alertbot.domain.policy import Policy
from alertbot.domain.reasons import Reason
from alertbot.domain.situation import Decision
from alertbot.engine import Engine, Parse
from alertbot.notifiers.base import Job, Links, Result, Sent
from alertbot.outbox import Outbox
from alertbot.store.base import Store
from alertbot.store.memory import MemoryStore

#: What `--decisions` calls an alert event that was not sent.
NOT_SENT: Final[Mapping[Reason, str]] = {
    Reason.DUPLICATE: "duplicate",
    Reason.START_MOVED: "start_moved",
    Reason.STALE_FIRING: "stale_firing",
    Reason.STALE_RESOLVED: "stale_resolved",
    Reason.NEVER_FIRED_HERE: "never_fired_here",
    Reason.CUT_OFF: "cut_off",
    Reason.HEARD_AGAIN: "heard_again",
    Reason.SILENCED: "silenced",
    Reason.HEARTBEAT: "heartbeat",
    Reason.INHIBITED: "held",
    Reason.HELD_BY_DEPLOY: "held",
    Reason.HELD_BY_MAINTENANCE: "held",
    Reason.MUTED: "muted",
    Reason.CLEARED_WHILE_HELD: "cleared",
    Reason.RESOLVED_BEFORE_NOTIFY: "resolved_before_notify",
}

Line = dict[str, Any]


def rfc3339(time: datetime) -> str:
    """A time as every output of alertbot writes it: UTC, with `Z`, no fraction where there is none."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


@dataclass(slots=True)
class _Recorder:
    """A notifier that writes down what it is given, each line with its delivery's id."""

    lines: list[tuple[str, Line]]
    dry: str | None = None

    async def deliver(self, job: Job) -> Result:
        want, incident = job.delivery.want, job.incident
        self.lines.append(
            (
                want.id,
                {
                    "at": rfc3339(job.now),
                    "incident": incident.id,
                    "receiver": want.receiver,
                    "integration": want.integration,
                    "to": want.to,
                    "action": job.action.value,
                    "severity": incident.severity,
                    "labels": dict(incident.labels),
                    "alerts": {
                        "firing": incident.firing,
                        "resolved": incident.resolved,
                        "held": incident.held,
                    },
                    "reason": want.reason.value,
                },
            )
        )
        return Sent()

    async def close(self) -> None:
        """Holds nothing."""


class Replay:
    """One run. `feed` it events in time order, then `run_until`; `lines` has what came of it so far.

    `store` takes the place of one in memory: a run can then go on where an earlier one stopped, from `start`.
    """

    def __init__(
        self,
        policy: Policy,
        parsers: Mapping[str, Parse],
        *,
        decisions: bool = False,
        store: Store | None = None,
        start: datetime | None = None,
    ) -> None:
        # Nobody is asked what fires in Alertmanager: what it said then is among the events.
        self.policy = replace(policy, alertmanager=False)
        self.parsers = parsers
        self.decisions = decisions
        self.lines: list[Line] = []
        self._sent: list[tuple[str, Line]] = []
        self._order: dict[str, int] = {}
        self.store = store or MemoryStore()
        self.clock = MovableClock(start or datetime.min.replace(tzinfo=UTC))
        self.engine = Engine(self.store, self.policy, self.clock, self.parsers, on_decision=self._decided)
        recorder = _Recorder(self._sent)
        notifiers = {
            (receiver.name, d.integration, d.to): recorder
            for receiver in self.policy.receivers.values()
            for d in receiver.destinations
        }
        self.outbox = Outbox(self.store, self.policy, notifiers, self.clock, _no_links, _never)

    async def feed(self, event: RawEvent) -> None:
        """Lets the time until the event pass, then decides it.

        Raises `Unreadable` or `KeyError` (a source that is not known), with nothing changed; ValueError for an event
        that is
        older than the one before.
        """
        parsed = self.parsers[event.source](event.body, event.at)
        if event.at < self.clock.now():
            raise ValueError(f"{rfc3339(event.at)} is before {rfc3339(self.clock.now())}: events come in time order")
        await self.run_until(event.at, inclusive=False)
        self.clock.move_to(event.at)
        await self.engine.accept(event, parsed)
        await self.engine.turn()
        if any(p.kind == "event" for p in await self.store.parked(1)):
            raise RuntimeError(f"a defect of alertbot kept the event at {rfc3339(event.at)} from being decided")
        await self._deliver()

    async def run_until(self, time: datetime, *, inclusive: bool = True) -> None:
        """Lets timers that come due until then go off, each at its own time."""
        while (wake := await self.store.next_wake()) is not None and (wake < time or (inclusive and wake == time)):
            self.clock.move_to(max(wake, self.clock.now()))
            await self.engine.turn()
            await self._deliver()
        self.clock.move_to(max(time, self.clock.now()))

    def _decided(self, decision: Decision) -> None:
        for want in decision.wants:
            self._order.setdefault(want.id, len(self._order))
        if self.decisions:
            self.lines += [_decision_line(e) for e in decision.entries if _is_told(e)]

    async def _deliver(self) -> None:
        await self.outbox.drain()
        self._sent.sort(key=lambda sent: self._order[sent[0]])
        self.lines += [line for _, line in self._sent]
        self._sent.clear()
        self._order.clear()


def difference(ours: Iterable[Line], theirs: Iterable[Line]) -> list[tuple[str, Line]]:
    """What only one of two runs has: ("-", line) of the first, ("+", line) of the second, in time order.

    Incident ids do not count: they depend on the route's place.
    """

    def key(line: Line) -> str:
        return json.dumps({k: v for k, v in line.items() if k != "incident"}, sort_keys=True)

    mine, other = list(ours), list(theirs)
    left, right = Counter(map(key, mine)), Counter(map(key, other))
    found: list[tuple[str, Line]] = []
    for sign, lines, surplus in (("-", mine, left - right), ("+", other, right - left)):
        for line in lines:
            if surplus[key(line)] > 0:
                surplus[key(line)] -= 1
                found.append((sign, line))
    return sorted(found, key=lambda pair: str(pair[1]["at"]))


def _is_told(entry: Entry) -> bool:
    return entry.reason in NOT_SENT and entry.labels is not None


def _decision_line(entry: Entry) -> Line:
    return {
        "at": rfc3339(entry.at),
        "labels": {k: v for k, v in (entry.labels or {}).items() if k != SEVERITY_LABEL},
        "decision": NOT_SENT[entry.reason],
        "by": entry.by or None,
        "until": rfc3339(entry.until) if entry.until else None,
    }


def _no_links(_incident: Incident, _alerts: Sequence[Alert]) -> Links:
    return Links()


async def _never(_incident: str, _receiver: str) -> None:
    """A recorder does not fail."""
