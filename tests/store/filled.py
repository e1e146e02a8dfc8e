"""A bit of everything that a store can hold, in every state; and all that it holds, to be compared."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from alertbot.domain.budgets import Budget
from alertbot.domain.deploys import DeployStatus
from alertbot.domain.model import DeliveryStatus, IncidentStatus, Silence
from alertbot.domain.windows import WindowKind
from alertbot.store.base import Changes, Filing, Keys, Store
from tests.store.builders import (
    T0,
    alert,
    at,
    deploy,
    entry,
    failed,
    held,
    incident,
    parked,
    raw,
    sent,
    want,
    window,
)

LANE: Final = "slack:#ops"
LEASE: Final = timedelta(seconds=60)
POSTS: Final = Budget("slack_posts:#ops", 1, timedelta(seconds=1))
EVENTS: Final = Budget("pagerduty:key", 120, timedelta(minutes=1))
STORM: Final = replace(want("storm-1", to="#storm"), kind="storm:1")
OVER: Final = replace(want("storm-2", to="#storm", lane="slack:#storm"), kind="storm:2")


async def fill(store: Store) -> None:
    """What has a bot that was stopped at work, at `at(9)`."""
    seqs = list(await store.append([raw(b"decided"), raw(b"parked", at(1)), raw(b"waits", at(2), "deploy", "ab" * 16)]))
    silence = Silence("kim", T0, at(600), ask_at=at(500), kept=1)
    await store.commit(
        Changes(
            done=seqs[:2],
            incidents=[
                incident("old", "k", IncidentStatus.RESOLVED, resolved_at=at(1)),
                incident("new", "k", created_at=at(2), flush_at=at(90), silence=silence, silence_at=at(500)),
                incident("beat", status=IncidentStatus.PENDING, created_at=at(3), flush_at=at(300), watch=True),
            ],
            alerts=[
                alert("a", "old", settled=True, current=False),
                alert("a", "new", source_of=("r",), two_sided=("r",), silence=silence),
                alert("b", "new", hold=held("r", windows=("w1",)), held_in=("w1",)),
                alert("c", "", settled=True),
            ],
            windows=[
                window("w1"),
                window("w2", kind=WindowKind.MAINTENANCE, deploy="", ends_at=at(1), over_at=at(1)),
            ],
            deploys=[deploy("d1"), deploy("d0", status=DeployStatus.SUCCEEDED, ended_at=at(1), heard_at=at(1))],
            wants=[
                *(want("new", to=f"#{n}", at=at(n)) for n in range(7)),
                want("w2", to="#verdict", kind="verdict", lane="slack:#verdict", at=at(2)),
            ],
            entries=[entry("new", "a", by="1"), entry("", "c", by="2"), entry("w2", by="3")],
            parked=[parked("p1", "event", str(seqs[1]), body=b"parked"), parked("p2", "alert", "x", at(1), b"\0\xff")],
        )
    )
    one, two, three, *_ = await store.claim(LANE, at(2), "w", LEASE, 3)
    await store.record(sent(one, at(3)))
    await store.record(failed(two, at(3), at(50), uncertain=True))
    given_up = parked("p3", "delivery", three.id, at(3))
    await store.record(failed(three, at(3), None, status=DeliveryStatus.PARKED, parked=[given_up]))
    await store.claim(LANE, at(3), "w", LEASE, 1)  # under way when it is stopped
    folded = [want("new", to="#5").id, want("new", to="#6").id]
    await store.refile(Filing(STORM.id, at(6), fold=folded, wants=[STORM]))
    await store.refile(Filing(STORM.id, at(7), promote=folded[1:]))
    await store.refile(Filing(OVER.id, at(6), wants=[OVER]))
    (over,) = await store.claim(OVER.lane, at(6), "w", LEASE, 1)
    await store.record(sent(over, at(7)))
    await store.spend([POSTS, EVENTS], at(8))
    await store.close_budget(EVENTS.key, at(3600))
    await store.set_meta("policy", "abc")
    await store.set_meta("pagerduty:Q1", "new.2")


async def contents(store: Store) -> dict[str, Any]:
    """All of it, as it can be asked for: for a store on which no worker is alive."""
    homes = frozenset({"old", "new", "beat", "w1", "w2", "storm-1", "storm-2"})
    keys = Keys(frozenset("abc"), frozenset({"k"}), homes, homes, frozenset("r"), frozenset("r"))
    stored = [item for p in await store.parked() if (item := await store.parked_item(p.id)) is not None]
    events = await store.events(T0, 0, 100)
    bodies = {str(e.seq): e.event.body for e in events}
    return {
        "loaded": replace(await store.load(keys), seen=()),
        "windows": await store.load(Keys(windows=frozenset({"w1", "w2"}), held_in=frozenset({"w1"}))),
        "all windows": list(await store.windows(T0)),
        "deploys": list(await store.deploys(T0)),
        "incidents": (await store.incidents()).incidents,
        "events": [e.event for e in events],
        "undecided": [e.event for e in await store.undecided(100)],
        "rows": [row async for page in store.rows() for row in page],
        "folded": list(await store.folded(STORM.id)),
        "storms": [list(await store.storms(lane)) for lane in (LANE, OVER.lane)],
        "lanes": await store.lanes(at(9)),
        "entries": list((await store.entries()).entries),
        # seqs differ from store to store
        "parked": [(replace(p, ref=""), bodies.get(p.ref, p.ref)) for p in stored],
        "spent": await store.spent(),
        "calls left": [await store.calls_left(budget, at(8)) for budget in (POSTS, EVENTS)],
        "facts": await store.facts(),
        "wake": await store.next_wake(),
        "next delivery": await store.next_delivery(),
        "stats": await store.stats(at(9)),
    }
