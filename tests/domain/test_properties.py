"""What holds for any history: order and repetition do not matter, no timer is lost, and a replay is what happens
live.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alertbot.domain.events import RawEvent
from alertbot.domain.model import IncidentStatus
from alertbot.replay import Line, Replay
from alertbot.sources import SOURCES
from alertbot.store import open_store
from tests.domain.script import START, Script, alert, at, policy, rule

SETTINGS = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


def clock(seconds: int) -> str:
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


@dataclass(frozen=True)
class History:
    """What really happened to one alert: episodes one after another, the last of them still going on or not."""

    host: str
    bounds: tuple[int, ...]

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What senders may say of it, in its true order."""
        told = []
        for n, start in enumerate(self.bounds[::2]):
            told.append(alert("Down", clock(start), host=self.host))
            if 2 * n + 1 < len(self.bounds):
                told.append(alert("Down", clock(start), clock(self.bounds[2 * n + 1]), host=self.host))
        return told

    @property
    def is_open(self) -> bool:
        return len(self.bounds) % 2 == 1


histories = st.lists(st.integers(0, 240), min_size=1, max_size=5, unique=True).map(sorted).map(tuple)


@SETTINGS
@given(st.data())
async def test_any_order_repetition_and_delay_of_bodies_leads_to_the_same_open_set(
    data: st.DataObject,
) -> None:
    truth = [History(host, data.draw(histories, label=host)) for host in "abc"]
    reports = [r for h in truth for r in h.reports]
    repeats = data.draw(st.lists(st.sampled_from(reports), max_size=6), label="repeats")
    shuffled: list[dict[str, Any]] = data.draw(st.permutations(reports + repeats), label="order")
    s = Script()
    now = 250
    while shuffled:
        n = data.draw(st.integers(1, 3))
        now += data.draw(st.integers(0, 15))
        await s.report(clock(now), *shuffled[:n])
        shuffled = shuffled[n:]
    await s.until("6:00:00")
    expected = {h.reports[0]["fingerprint"] for h in truth if h.is_open}
    assert await s.open_alerts() == expected
    page = await s.replay.store.incidents()
    told = {i.status for i in page.incidents}
    assert told <= ({IncidentStatus.OPEN, IncidentStatus.RESOLVED} if expected else {IncidentStatus.RESOLVED})


HOLDS = (
    rule("the worst only", 'severity="critical"', 'severity=~"high|warning"', "host"),
    rule("for a while", 'alertname="Deploy"', 'alertname=~"Slow|Down"', duration=timedelta(minutes=10)),
)


@st.composite
def bodies(draw: st.DrawFn) -> list[tuple[int, str, dict[str, Any]]]:
    """A random evening: alerts of a few names fire, resolve and fire again; people act on them."""
    evening: list[tuple[int, str, dict[str, Any]]] = []
    since: dict[tuple[str, str, str], int] = {}
    now = 0
    for _ in range(draw(st.integers(1, 25))):
        now += draw(st.integers(0, 700))
        what = draw(st.sampled_from(["report", "report", "report", "acknowledge", "pause"]))
        if what == "pause":
            now += draw(st.integers(0, 6 * 3600))
        elif what == "acknowledge":
            name = draw(st.sampled_from(["Down", "Slow"]))
            evening.append((now, "acknowledge", {"labels": {"alertname": name}, "by": "ana"}))
        else:
            alerts = []
            for _ in range(draw(st.integers(1, 3))):
                name = draw(st.sampled_from(["Down", "Slow", "Deploy"]))
                key = (name, draw(st.sampled_from("ab")), draw(st.sampled_from(["critical", "high", "low"])))
                labels = {"host": key[1], "severity": key[2]}
                if key in since and draw(st.booleans()):
                    alerts.append(alert(name, clock(since.pop(key)), clock(now), **labels))
                else:
                    alerts.append(alert(name, clock(since.setdefault(key, now)), **labels))
            evening.append((now, "alertmanager", {"version": "4", "alerts": alerts}))
    return evening


def raw(event: tuple[int, str, dict[str, Any]]) -> RawEvent:
    return RawEvent(at(clock(event[0])), event[1], json.dumps(event[2]).encode())


@SETTINGS
@given(bodies())
async def test_no_timer_is_lost(evening: Sequence[tuple[int, str, dict[str, Any]]]) -> None:
    """Whatever happened: a day later everything that fires and is not held was told, and all else is over."""
    replay = Replay(policy(inhibit_rules=HOLDS), SOURCES)
    for event in evening:
        await replay.feed(raw(event))
    end = at(clock(evening[-1][0])) + timedelta(days=1) if evening else START
    await replay.run_until(end)
    for incident in (await replay.store.incidents()).incidents:
        members = await replay.store.members(incident.id)
        firing = [a for a in members if a.firing and a.current]
        held = [a for a in firing if a.hold is not None]
        assert incident.status is not IncidentStatus.PENDING
        assert all(a.announced or a.hold for a in firing)
        assert all(h.hold is not None and h.hold.by == "the worst only" for h in held), "a duration ends"
        assert incident.told == any(a.announced for a in firing)
        assert (incident.status is IncidentStatus.HELD) == (bool(held) and len(held) == len(firing))
        assert not incident.flapping


@SETTINGS
@given(bodies(), st.sets(st.integers(0, 24)))
async def test_a_replay_is_what_happens_live_also_over_restarts(
    evening: Sequence[tuple[int, str, dict[str, Any]]], restarts: set[int]
) -> None:
    replay = Replay(policy(inhibit_rules=HOLDS), SOURCES, decisions=True)
    for event in evening:
        await replay.feed(raw(event))
    live: list[Line] = []
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{Path(folder) / 'live.db'}"

        async def begin(start: int) -> Replay:
            store = open_store(url)
            await store.open()
            run = Replay(policy(inhibit_rules=HOLDS), SOURCES, decisions=True, store=store, start=at(clock(start)))
            await run.engine.recover()
            return run

        run = await begin(0)
        for n, event in enumerate(evening):
            await run.feed(raw(event))
            if n in restarts:
                live += run.lines
                await run.store.close()
                run = await begin(event[0])
        live += run.lines
        await run.store.close()
    assert live == replay.lines
