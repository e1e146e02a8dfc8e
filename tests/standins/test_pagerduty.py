"""PagerDuty's rules, asked with pdpyras as the peer where it can ask, and over HTTP where it cannot."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pdpyras
import pytest

from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.process import StandinProcess

OTHER_KEY = "f" * 32
RULESET_KEY = "R" + "0" * 31


class MovedClock:
    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> MovedClock:
    return MovedClock()


@pytest.fixture
async def pagerduty(clock: MovedClock) -> AsyncIterator[PagerDutyStandin]:
    keys = (ROUTING_KEY, OTHER_KEY, RULESET_KEY)
    async with PagerDutyStandin(clock=clock, routing_keys=keys) as standin:
        yield standin


def event(action: str = "trigger", dedup_key: str | None = "i1", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"routing_key": ROUTING_KEY, "event_action": action}
    if dedup_key is not None:
        made["dedup_key"] = dedup_key
    if action == "trigger":
        made["payload"] = {"summary": "High error rate", "source": "api", "severity": "critical"}
    return made | more


async def send(standin: PagerDutyStandin, body: Any, path: str = "/v2/enqueue") -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session:
        data = {"data": body} if isinstance(body, bytes) else {"json": body}
        async with session.post(standin.url + path, **data) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, await answer.json() if is_json else await answer.text()


async def story(standin: PagerDutyStandin, *steps: str) -> None:
    for action in steps:
        assert (await send(standin, event(action)))[0] == 202


# the rule; what happens; the states of the incidents there are then; how often somebody was called
STORIES = [
    ("a trigger opens an incident and calls", ["trigger"], ["triggered"], 1),
    ("a second trigger is appended and calls nobody", ["trigger", "trigger"], ["triggered"], 1),
    ("an acknowledgement stays over a trigger", ["trigger", "acknowledge", "trigger"], ["acknowledged"], 1),
    ("a resolve closes", ["trigger", "resolve"], ["resolved"], 1),
    ("a trigger after the resolve opens and calls again", ["trigger", "resolve", "trigger"],
     ["resolved", "triggered"], 2),
    ("what acknowledges or resolves nothing is dropped without a word", ["acknowledge", "resolve"], [], 0),
    ("an acknowledgement after the resolve too", ["trigger", "resolve", "acknowledge"], ["resolved"], 1),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "states", "pages"), [row[1:] for row in STORIES], ids=[r[0] for r in STORIES])
async def test_an_incident_lives(pagerduty: PagerDutyStandin, steps: list[str], states: list[str], pages: int) -> None:
    await story(pagerduty, *steps)
    assert [incident.status for incident in pagerduty.incidents] == states
    assert len(pagerduty.pages) == pages


async def test_a_dedup_key_means_something_under_its_own_routing_key_only(
    pagerduty: PagerDutyStandin,
) -> None:
    await send(pagerduty, event())
    await send(pagerduty, event(routing_key=OTHER_KEY))
    await send(pagerduty, event("resolve", routing_key=OTHER_KEY))
    assert pagerduty.incident("i1", ROUTING_KEY).status == "triggered"
    assert pagerduty.incident("i1", OTHER_KEY).status == "resolved"


PAYLOAD = event()["payload"]
REFUSED = [
    # the rule, the event
    ("the key has 32 characters", event(routing_key="short")),
    ("the key is known", event(routing_key="e" * 32)),
    ("the action is one of three", event("reopen")),
    ("an acknowledgement needs a dedup_key", event("acknowledge", dedup_key=None)),
    ("a resolve needs a dedup_key", event("resolve", dedup_key=None)),
    ("a dedup_key has 255 characters at most", event(dedup_key="x" * 256)),
    ("a trigger has a payload", event(payload=None)),
    ("a summary is required", event(payload=PAYLOAD | {"summary": ""})),
    ("a summary has 1024 characters at most", event(payload=PAYLOAD | {"summary": "x" * 1025})),
    ("a source is required", event(payload={k: v for k, v in PAYLOAD.items() if k != "source"})),
    ("a severity is one of four", event(payload=PAYLOAD | {"severity": "high"})),
    ("a timestamp is ISO 8601", event(payload=PAYLOAD | {"timestamp": "yesterday"})),
    ("custom_details is an object", event(payload=PAYLOAD | {"custom_details": [1]})),
    ("a link has a href", event(links=[{"text": "runbook"}])),
    ("an image's src is https", event(images=[{"src": "http://x/y.png"}])),
    ("a body is a JSON object", b"[1"),
]


@pytest.mark.parametrize("body", [row[1] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_an_event_is_refused_for_good(pagerduty: PagerDutyStandin, body: Any) -> None:
    status, answer = await send(pagerduty, body)
    assert (status, answer["status"]) == (400, "invalid event")
    assert answer["errors"]
    assert pagerduty.incidents == []


async def test_the_largest_summary_and_dedup_key_pass(pagerduty: PagerDutyStandin) -> None:
    body = event(dedup_key="x" * 255, payload=PAYLOAD | {"summary": "x" * 1024, "timestamp": "2026-01-05T10:00:00Z"})
    assert (await send(pagerduty, body))[0] == 202


async def test_a_body_over_512_kb_is_refused(pagerduty: PagerDutyStandin) -> None:
    status, _ = await send(pagerduty, event(payload=PAYLOAD | {"custom_details": {"x": "y" * 512_000}}))
    assert status == 413
    assert pagerduty.incidents == []


async def test_a_key_has_120_calls_in_any_sixty_seconds(pagerduty: PagerDutyStandin, clock: MovedClock) -> None:
    for number in range(120):
        clock.now += 0.25  # half a minute in all
        assert (await send(pagerduty, event(dedup_key=f"{number}")))[0] == 202
    assert (await send(pagerduty, event()))[0] == 429
    assert (await send(pagerduty, event(routing_key=OTHER_KEY)))[0] == 202  # each key has its own
    clock.now += 30.3  # the first call is 60 s old: one place is free
    assert (await send(pagerduty, event(dedup_key="one")))[0] == 202
    assert (await send(pagerduty, event(dedup_key="two")))[0] == 429


async def test_pdpyras_can_work_with_it(pagerduty: PagerDutyStandin) -> None:
    def work() -> str:
        with pdpyras.EventsAPISession(ROUTING_KEY) as session:
            session.url = pagerduty.url
            session.trust_env = False
            key = str(session.trigger("High error rate", "api", severity="error"))
            session.acknowledge(key)
            session.resolve(key)
        with pdpyras.ChangeEventsAPISession(ROUTING_KEY) as session:
            session.url = pagerduty.url
            session.trust_env = False
            session.submit("deployed a1b2c3", source="ci", links=[{"href": "https://x/y", "text": "run"}])
        return key

    key = await asyncio.to_thread(work)
    incident = pagerduty.incident(key)
    assert [what for _, what in incident.log] == ["trigger", "acknowledge", "resolve"]
    assert pagerduty.changes[0]["payload"]["summary"] == "deployed a1b2c3"
    assert len(pagerduty.pages) == 1  # a change event calls nobody


async def test_a_change_event_is_not_for_the_key_of_a_ruleset(pagerduty: PagerDutyStandin) -> None:
    change = {"routing_key": RULESET_KEY, "payload": {"summary": "deployed"}}
    assert (await send(pagerduty, change, "/v2/change/enqueue"))[0] == 400
    assert (await send(pagerduty, change | {"routing_key": OTHER_KEY}, "/v2/change/enqueue"))[0] == 202


async def test_in_a_process_of_its_own_it_keeps_its_incidents_over_a_crash(tmp_path: Path) -> None:
    async with StandinProcess("pagerduty", state=tmp_path / "pagerduty.json") as process:
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{process.url}/v2/enqueue", json=event()) as answer:
                assert answer.status == 202
            port = process.port
            await process.kill()
            await process.start()
            assert process.port == port
            async with session.post(f"{process.url}/v2/enqueue", json=event()) as answer:
                assert answer.status == 202
        kept = (await process.state())["kept"]
        assert len(kept["incidents"]) == len(kept["pages"]) == 1
        assert len((await process.state())["requests"]) == 2
