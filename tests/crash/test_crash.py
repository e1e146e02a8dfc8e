"""The bot dies before and after every call to its store and to its providers, is started again, and nobody can tell."""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from tests.standins.pagerduty import PagerDutyStandin
from tests.standins.slack import SlackStandin

PROJECT: Final = Path(__file__).parents[2]
#: The crash points are dealt out to so many tests, so that workers can share them.
SHARDS: Final = 4
NEVER: Final = 0


class Driver:
    """`tests.crash.driver`, which runs one life of the bot after another."""

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "ignore", "-m", "tests.crash.driver",
            cwd=PROJECT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**22,
        )  # fmt: skip
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def live(self, task: dict[str, Any]) -> list[dict[str, Any]]:
        """One life: what it said, and at the end how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(task).encode() + b"\n")
        said: list[dict[str, Any]] = []
        while not said or "exit" not in said[-1]:
            line = await asyncio.wait_for(self._process.stdout.readline(), 60)
            assert line, "the driver is gone"
            said.append(json.loads(line))
        return said


@dataclass
class Run:
    """The scenario from start to end, over as many lives as it took. `killed` says where each but the last ended."""

    pages: list[str] = field(default_factory=list)
    cards: list[tuple[str, str]] = field(default_factory=list)
    replies: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    killed: list[str] = field(default_factory=list)
    final: dict[str, Any] = field(default_factory=dict)
    open_pages: list[str] = field(default_factory=list)

    def outcome(self) -> dict[str, Any]:
        """What must be the same wherever the bot died."""
        alerts = [
            (i["labels"]["alertname"], a["labels"]["host"], a["status"])
            for i in self.final["incidents"]
            for a in i["alerts"]
        ]
        return {
            "pages": sorted(self.pages),
            "pages still open": self.open_pages,
            "cards": sorted(self.cards),
            "replies there twice": [reply for reply, count in self.replies.items() if count > 1],
            "incidents": sorted((i["labels"]["alertname"], i["status"]) for i in self.final["incidents"]),
            "alerts": sorted(alerts),
            "deliveries": sorted(
                (i["labels"]["alertname"], d["integration"], d["status"])
                for i in self.final["incidents"]
                for d in i["deliveries"]
            ),
            "parked": self.final["parked"],
        }


async def play(driver: Driver, folder: Path, *crashes: int) -> Run:
    """Plays the scenario; each of `crashes` ends one life at that call. The providers live through it all."""
    run = Run()
    folder.mkdir()
    now = datetime.now(UTC).isoformat()
    async with SlackStandin(limited=False) as slack, PagerDutyStandin(limited=False) as pagerduty:
        task: dict[str, Any] = {
            "folder": str(folder), "slack": slack.url, "pagerduty": pagerduty.url,
            "started": now, "at": now, "step": 0, "answered": False,
        }  # fmt: skip
        for crash_at in (*crashes, NEVER):
            for line in await driver.live(task | {"crash_at": crash_at}):
                task |= {k: v for k, v in line.items() if k in task}
                run.killed += [line["killed"]] if "killed" in line else []
                run.final = line if "incidents" in line else run.final
                assert "error" not in line, (run.killed, line)
            if run.final:
                break
        names = {i["id"]: i["labels"]["alertname"] for i in run.final["incidents"]}

        def named(key: str) -> str:
            incident, dot, opening = key.partition(".")
            return names.get(incident, incident) + dot + opening

        run.pages = [named(page.dedup_key) for page in pagerduty.pages]
        run.open_pages = [named(incident.dedup_key) for incident in pagerduty.open()]
        for message in slack.messages("#ops-alerts"):
            payload = message["metadata"]["event_payload"]
            name = names[payload["incident"]]
            if payload["kind"] == "card":
                run.cards.append((name, message["text"]))
            else:
                run.replies[name, payload["kind"], payload["revision"]] += 1
    return run


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with Driver() as running:
        yield running


async def test_without_a_crash_each_opening_is_one_page_and_each_incident_one_card(
    driver: Driver, tmp_path: Path
) -> None:
    """What all the others are compared with is itself right."""
    run = await play(driver, tmp_path / "whole")
    assert run.outcome() == {
        "pages": ["Down", "Down.2", "Slow"],
        "pages still open": [],
        "cards": [
            ("Down", "[CRITICAL] Down (resolved)"),
            ("Slow", "[CRITICAL] Slow (resolved)"),
        ],
        "replies there twice": [],
        "incidents": [("Down", "resolved"), ("Slow", "resolved")],
        "alerts": [(*a, "resolved") for a in (("Down", "a"), ("Down", "b"), ("Down", "c"), ("Slow", "a"))],
        "deliveries": [(name, to, "sent") for name in ("Down", "Slow") for to in ("pagerduty", "slack")],
        "parked": 0,
    }
    told = Counter(reason for record in run.final["reasons"].values() for reason, _ in record)
    assert told["new_episode"] == 4
