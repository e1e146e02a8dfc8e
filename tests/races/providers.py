"""Slack and PagerDuty in memory, behind the live notifiers: a post is not idempotent, an event has its dedup key."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from alertbot.alertmanager import Alertmanager
from alertbot.notifiers.base import Failed, Job, Limiter, Retry
from alertbot.notifiers.pagerduty import Event, PagerDutyNotifier
from alertbot.notifiers.slack_api import LostError, RefusedError, SlackApi
from alertbot.store.base import StoreError
from tests.races.schedule import Fault, Schedule

#: Seconds that a request to Slack may be on its way after it was given up: less than the notifier allows for.
ON_ITS_WAY: Final = 3.0


@dataclass
class Slack:
    """The messages of each channel, in the order in which they came."""

    clock: Callable[[], float]
    messages: list[dict[str, Any]] = field(default_factory=list)

    def take(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """One request. Raises `RefusedError`."""
        match method:
            case "chat.postMessage":
                # Never the same `ts` twice in a channel.
                ts = f"{self.clock():.3f}{len(self.messages):03d}"
                self.messages.append({k: v for k, v in args.items() if v is not None} | {"ts": ts})
                return {"ok": True, "channel": args["channel"], "ts": ts}
            case "chat.update":
                for message in self.messages:
                    if message["ts"] == args["ts"]:
                        message.update(args)
                        return {"ok": True, "channel": args["channel"], "ts": args["ts"]}
                raise RefusedError(method, "message_not_found", after=None, perhaps=False)
            case "conversations.history" | "conversations.replies":
                thread = args.get("ts") if method == "conversations.replies" else None
                found = [
                    m
                    for m in self.messages
                    if m["channel"] == args["channel"]
                    and float(m["ts"]) > float(args["oldest"])
                    and (m.get("thread_ts") == thread or (thread is None and m.get("reply_broadcast")))
                ]
                return {"ok": True, "messages": found[::-1]}
        raise AssertionError(method)

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        """Messages by the kind in their metadata."""
        return [m for m in self.messages if payload(m)["kind"] == kind]


def payload(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a message says of itself."""
    found: Mapping[str, Any] = message["metadata"]["event_payload"]
    return found


class MemorySlackApi(SlackApi):
    """One replica's way to Slack. As the app's session does, it asks before each request whether that is still ours."""

    def __init__(self, slack: Slack, schedule: Schedule, who: str, ours: Callable[[], Awaitable[bool]]) -> None:
        super().__init__("xoxb-simulated")
        self.slack = slack
        self.schedule = schedule
        self.who = who
        self.ours = ours

    async def call(self, method: str, args: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        try:
            async with asyncio.timeout(min(self.timeout, seconds)):
                return await self._call(method, args)
        except (TimeoutError, StoreError):
            raise LostError(f"{method}: no answer", perhaps=True) from None

    async def _call(self, method: str, args: Mapping[str, Any]) -> dict[str, Any]:
        if not await self.ours():
            raise LostError("not sent: another replica has taken it over", perhaps=True)
        fault = self.schedule.fault(self.who)
        if fault is Fault.LATE and method == "chat.postMessage":
            asyncio.get_running_loop().call_later(ON_ITS_WAY, self.slack.take, method, args)
        if fault in (Fault.LATE, Fault.NEVER_SENT):
            raise LostError(f"{method}: {fault}", perhaps=True)
        answer = self.slack.take(method, args)
        self.schedule.note(f"{self.who}: {method} {payload(args) if 'metadata' in args else ''}")
        await self.schedule.turn(self.who, f"Slack's answer to {method}")
        if fault is not None:
            raise LostError(f"{method}: {fault}", perhaps=True)
        return answer


@dataclass
class PagerDuty:
    """By dedup key: how many incidents were opened, and what the newest is now."""

    opened: dict[str, int] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)

    def take(self, kind: str, key: str) -> None:
        """An event. What is not open is neither acknowledged nor resolved, without a word."""
        is_open = self.status.get(key) in ("triggered", "acknowledged")
        if kind == "trigger" and not is_open:
            self.opened[key] = self.opened.get(key, 0) + 1
            self.status[key] = "triggered"
        elif kind != "trigger" and is_open:
            self.status[key] = {"acknowledge": "acknowledged", "resolve": "resolved"}[kind]


class MemoryPagerDuty(PagerDutyNotifier):
    """The live notifier, but for the thread that speaks HTTP."""

    def __init__(self, there: PagerDuty, schedule: Schedule, who: str, limiter: Limiter, **more: Any) -> None:
        super().__init__("R" * 32, limiter=limiter, **more)
        self.there = there
        self.schedule = schedule
        self.who = who

    async def _send(self, job: Job, event: Event) -> Retry | Failed | None:
        fault = self.schedule.fault(self.who)
        if fault in (Fault.LATE, Fault.NEVER_SENT):
            return Retry(str(fault), uncertain=True)
        self.there.take(event.kind, event.dedup_key)
        self.schedule.note(f"{self.who}: PagerDuty {event.kind} {event.dedup_key} → {self.there.status}")
        await self.schedule.turn(self.who, "PagerDuty's answer")
        return None if fault is None else Retry(str(fault), uncertain=True)


class KnowingAlertmanager(Alertmanager):
    """Knows what fires, when it answers."""

    def __init__(self, fires: Callable[[], frozenset[str]], schedule: Schedule, who: str) -> None:
        self.fires = fires
        self.schedule = schedule
        self.who = who

    async def still_firing(self, fingerprints: Any, within: timedelta) -> Mapping[str, bool] | None:
        firing = self.fires()
        await self.schedule.turn(self.who, "Alertmanager's answer")
        return None if self.schedule.fault(self.who) else {f: f in firing for f in fingerprints}
