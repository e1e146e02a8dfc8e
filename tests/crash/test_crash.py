"""The bot dies before and after every call to its store and to its providers, is started again, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiohttp
import pytest

from tests.crash.driver import NEVER, alert, changes_something
from tests.standins.pagerduty import PagerDutyStandin
from tests.standins.slack import SlackStandin

PROJECT: Final = Path(__file__).parents[2]
#: Lives that run at once.
DRIVERS: Final = 2
#: What a record may have once more because of a crash: a delivery was repeated, or a sender that got no answer.
REPEATED: Final = frozenset({"sent", "retrying", "already_acknowledged"})
#: The moments whose like is there in every run of the scenario, as often.
CHANGING: Final = ("before store.append", "before store.commit", "before slack", "before pagerduty")
#: Calls without which the scenario would show little.
MUST_BE_THERE: Final = (
    "store.append", "store.commit", "store.claim", "store.record", "pagerduty enqueue", "slack chat.postMessage",
    "slack chat.update",
)  # fmt: skip
#: Concurrent webhooks, of two alerts each.
WEBHOOKS: Final = 60
#: What the scenario comes to, whatever happens on the way.
RIGHT: Final[dict[str, Any]] = {
    "pages": ["Down", "Down.2", "Slow"],
    "pages still open": [],
    "cards": [("Down", "[CRITICAL] Down (resolved)"), ("Slow", "[CRITICAL] Slow (resolved)")],
    "replies there twice": [],
    "incidents": [("Down", "resolved"), ("Slow", "resolved")],
    "alerts": [(*who, "resolved") for who in (("Down", "a"), ("Down", "b"), ("Down", "c"), ("Slow", "a"))],
    "record": {
        ("Down", "a"): ["alert_resolved", "new_episode"],
        ("Down", "b"): ["alert_resolved", "new_episode"],
        ("Down", "c"): ["alert_resolved", "new_episode"],
        ("Down", ""): ["acknowledged", "all_resolved", "first_notification", "new_alert", "new_alert"],
        ("Slow", "a"): ["alert_resolved", "new_episode"],
        ("Slow", ""): ["all_resolved", "first_notification"],
    },
    "deliveries": [(name, to, "sent") for name in ("Down", "Slow") for to in ("pagerduty", "slack")],
    "parked": 0,
}  # fmt: skip


class Driver:
    """`tests.crash.driver`, which runs one life of the bot after another."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-m", "tests.crash.driver",
            cwd=PROJECT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**22,
            start_new_session=True,
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Also a life that goes on because its test failed.
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def live(self, task: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """One life: what it says, and at the end how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        ended = False
        while not ended:
            line = await asyncio.wait_for(self._process.stdout.readline(), 60)
            assert line, "the driver is gone"
            said = json.loads(line)
            ended = "exit" in said
            yield said


@dataclass
class Run:
    """What became of it all, over as many lives as it took. `killed` says where each but the last ended."""

    pages: list[str] = field(default_factory=list)
    open_pages: list[str] = field(default_factory=list)
    cards: list[tuple[str, str]] = field(default_factory=list)
    replies: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    killed: list[str] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)

    def look(self, slack: SlackStandin, pagerduty: PagerDutyStandin) -> None:
        """Takes down what the providers have, in the names of the alerts."""
        names = {i["id"]: i["labels"]["alertname"] for i in self.final["incidents"]}

        def named(key: str) -> str:
            incident, dot, opening = key.partition(".")
            return names.get(incident, incident) + dot + opening

        self.pages = sorted(named(page.dedup_key) for page in pagerduty.pages)
        self.open_pages = [named(incident.dedup_key) for incident in pagerduty.open()]
        for message in slack.messages("#ops-alerts"):
            payload = message["metadata"]["event_payload"]
            name = named(payload["incident"])
            if payload["kind"] == "card":
                self.cards.append((name, message["text"]))
            else:
                self.replies[name, payload["kind"], payload["revision"]] += 1

    def outcome(self) -> dict[str, Any]:
        """What must be the same wherever the bot died: `RIGHT`."""
        incidents = self.final["incidents"]
        of = {a["fingerprint"]: a["labels"]["host"] for i in incidents for a in i["alerts"]} | {"": ""}
        record: dict[tuple[str, str], list[str]] = {}
        for i in incidents:
            for reason, identity in self.final["record"][i["id"]]:
                if reason not in REPEATED:
                    record.setdefault((i["labels"]["alertname"], of[identity]), []).append(reason)
        return {
            "pages": self.pages,
            "pages still open": self.open_pages,
            "cards": sorted(self.cards),
            "replies there twice": [reply for reply, count in self.replies.items() if count > 1],
            "incidents": sorted((i["labels"]["alertname"], i["status"]) for i in incidents),
            "alerts": sorted(
                (i["labels"]["alertname"], a["labels"]["host"], a["status"]) for i in incidents for a in i["alerts"]
            ),
            "record": {who: sorted(reasons) for who, reasons in record.items()},
            "deliveries": sorted(
                (i["labels"]["alertname"], d["integration"], d["status"]) for i in incidents for d in i["deliveries"]
            ),
            "parked": self.final["parked"],
        }


#: By the moments at which the lives before the last one ended; of a play that failed, its error.
Runs = dict[tuple[str, ...], Run | AssertionError]


@dataclass
class Stage:
    """Where the bot's lives are played: each play has a store and a folder of its own."""

    drivers: Sequence[Driver]
    folder: Path
    new_store: Callable[[], str]
    shared: bool
    _numbers: Iterator[int] = field(default_factory=count)

    def task(self, slack: SlackStandin, pagerduty: PagerDutyStandin) -> dict[str, Any]:
        """A task for a driver, at the start of a play."""
        folder = self.folder / str(next(self._numbers))
        folder.mkdir()
        now = datetime.now(UTC).isoformat()
        return {
            "store": self.new_store(), "folder": str(folder), "slack": slack.url, "pagerduty": pagerduty.url,
            "at": now, "started": now, "step": 0, "answered": False, "die": NEVER, "late": False, "scenario": "people",
        }  # fmt: skip

    async def play(
        self, *deaths: str, late: bool = False, scenario: str = "people", driver: Driver | None = None
    ) -> Run:
        """Plays a scenario; each of `deaths` ends one life. The providers live through it all."""
        run = Run()
        async with SlackStandin(limited=False) as slack, PagerDutyStandin(limited=False) as pagerduty:
            task = self.task(slack, pagerduty) | {"late": late, "scenario": scenario}
            for die in (*deaths, NEVER):
                async with aclosing((driver or self.drivers[0]).live(task | {"die": die})) as life:
                    async for said in life:
                        task |= {k: v for k, v in said.items() if k in task}
                        run.killed += [said["killed"]] if "killed" in said else []
                        run.final = said if "incidents" in said else run.final
                        assert "error" not in said, (run.killed, said)
                        if "exit" in said:
                            assert said["exit"] == (0 if run.final else -signal.SIGKILL)
                if run.final:
                    break
            run.look(slack, pagerduty)
        return run

    async def play_all(self, deaths: Sequence[tuple[str, ...]], **options: Any) -> Runs:
        """A play for each of `deaths`, with the driver that is free next. One that fails is its error."""
        left = iter(deaths)
        results: Runs = {}

        async def work(driver: Driver) -> None:
            for these in left:
                try:
                    results[these] = await self.play(*these, driver=driver, **options)
                except AssertionError as e:
                    results[these] = e

        async with asyncio.TaskGroup() as group:
            for driver in self.drivers:
                group.create_task(work(driver))
        return results


@pytest.fixture
async def stage(tmp_path: Path, new_store: Callable[[], str]) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as stack:
        drivers = [await stack.enter_async_context(Driver()) for _ in range(DRIVERS)]
        yield Stage(drivers, tmp_path, new_store, shared=not new_store().startswith("sqlite"))


def judge(results: Runs, subtests: pytest.Subtests) -> None:
    """Each play is a case of its own. Nearly all died where they should: reads are not always as many."""
    for deaths, run in results.items():
        with subtests.test(", then ".join(deaths)):
            if isinstance(run, AssertionError):
                raise run
            assert run.outcome() == RIGHT
    missed = [deaths for deaths, run in results.items() if isinstance(run, Run) and run.killed != list(deaths)]
    assert len(missed) <= len(results) // 20, missed
    assert not [deaths for deaths in missed if deaths[0].startswith(CHANGING)], missed


async def test_without_a_crash_each_opening_is_one_page_and_each_incident_one_card(stage: Stage) -> None:
    """What all the others are compared with is itself what happens."""
    run = await stage.play()
    assert run.outcome() == RIGHT
    calls = {moment.rpartition(" ")[0] for moment in run.final["moments"]}
    assert {c.removeprefix("before ") for c in calls} >= set(MUST_BE_THERE), calls


async def test_killed_at_any_moment_it_goes_on_as_if_nothing_had_been(stage: Stage, subtests: pytest.Subtests) -> None:
    """Before and after each call to the store and each request to a provider; nothing else gets to go on.

    On Redis not before a call that only reads: that is after the last one that wrote, and above the store as on SQLite.
    """
    whole = await stage.play()
    deaths = [(m,) for m in whole.final["moments"] if not stage.shared or changes_something(m)]
    judge(await stage.play_all(deaths), subtests)


async def test_killed_late_in_a_call_that_changes_something_nothing_else_had_run_ahead_of_it(
    stage: Stage, subtests: pytest.Subtests
) -> None:
    """A call is held, all that does not wait for it goes on, and the process dies: nobody was answered too early."""
    whole = await stage.play()
    deaths = [(moment,) for moment in whole.final["moments"] if moment.startswith(CHANGING)]
    judge(await stage.play_all(deaths, late=True), subtests)


async def test_killed_again_while_it_recovers_it_still_goes_on(stage: Stage, subtests: pytest.Subtests) -> None:
    """After a commit or an unheard answer of a provider: the next life dies after its own first claim or record."""
    whole = await stage.play()
    first = [
        m for m in whole.final["moments"] if m.startswith(("after slack", "after pagerduty", "after store.commit"))
    ]
    deaths = [(one, two) for one in first for two in ("after store.claim 1", "after store.record 1")]
    judge(await stage.play_all(deaths), subtests)


async def test_killed_at_any_moment_of_a_deploy_its_verdict_is_posted_once_and_what_it_held_is_released(
    stage: Stage, subtests: pytest.Subtests
) -> None:
    """Before each call that changes something, and after each of a provider's unheard answers."""
    whole = await stage.play(scenario="deploy")
    of_window = (whole.final["windows"], dict(whole.replies))
    assert of_window == ([["d1", True]], {("d1", "told", 1): 1})
    assert (whole.pages, whole.open_pages, [name for name, _ in whole.cards]) == (["Loud"], ["Loud"], ["Loud"])
    deaths = [(m,) for m in whole.final["moments"] if m.startswith((*CHANGING, "after slack", "after store.commit"))]
    for death, run in (await stage.play_all(deaths, scenario="deploy")).items():
        with subtests.test(death[0]):
            if isinstance(run, AssertionError):
                raise run
            assert run.outcome() == whole.outcome()
            assert (run.final["windows"], dict(run.replies)) == of_window


async def test_a_kill_amid_concurrent_webhooks_loses_none_that_was_answered_and_doubles_none(stage: Stage) -> None:
    """kill -9 three times, each time after some more answers; the sender repeats what it heard no answer to."""
    now = datetime.now(UTC)
    names = [f"Alert{n:02}" for n in range(WEBHOOKS)]
    bodies = {name: [alert(name, host, now) for host in ("a", "b")] for name in names}
    run = Run()
    answered: list[str] = []
    async with SlackStandin(limited=False) as slack, PagerDutyStandin(limited=False) as pagerduty:
        task = stage.task(slack, pagerduty) | {"expect": WEBHOOKS}
        for enough in (WEBHOOKS // 6, WEBHOOKS // 3, WEBHOOKS // 2, WEBHOOKS + 1):
            async for said in stage.drivers[0].live(task):
                if "port" in said:
                    sending = [n for n in names if n not in answered]
                    await send_until_killed(said, {n: bodies[n] for n in sending}, answered, enough)
                task |= {k: v for k, v in said.items() if k in task}
                assert "error" not in said, said
                run.final = said if "incidents" in said else run.final
                if "exit" in said:
                    assert said["exit"] == (0 if run.final else -signal.SIGKILL)
        run.look(slack, pagerduty)
    assert sorted(answered) == names
    assert run.pages == names
    assert sorted(name for name, _ in run.cards) == names
    alerts = [(i["labels"]["alertname"], a["labels"]["host"]) for i in run.final["incidents"] for a in i["alerts"]]
    assert sorted(alerts) == [(name, host) for name in names for host in ("a", "b")]
    assert {d["status"] for i in run.final["incidents"] for d in i["deliveries"]} == {"sent"}
    assert run.final["parked"] == 0


async def send_until_killed(
    bot: dict[str, Any], bodies: dict[str, list[dict[str, Any]]], answered: list[str], enough: int
) -> None:
    """Sends all at once; kills the bot when `enough` are answered in all, with the others under way."""
    url = f"http://127.0.0.1:{bot['port']}/webhooks/alertmanager"

    async def send(session: aiohttp.ClientSession, name: str, alerts: list[dict[str, Any]]) -> None:
        try:
            async with session.post(url, json={"version": "4", "groupKey": name, "alerts": alerts}) as answer:
                if answer.status == 200:
                    answered.append(name)
        except aiohttp.ClientError:
            return
        if len(answered) == enough:
            os.kill(bot["pid"], signal.SIGKILL)

    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        for name, alerts in bodies.items():
            group.create_task(send(session, name, alerts))
