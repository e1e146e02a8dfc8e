"""The whole way with real servers: a rule fires, Alertmanager sends it, PagerDuty calls, Slack has a card."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest

from tests.standins.pagerduty import ROUTING_KEY, PagerDutyStandin
from tests.standins.slack import SlackStandin

TOKEN: Final = "a-token-of-alertmanagers"
#: Seconds that anything may take here before it counts as not happening.
PATIENCE: Final = 40.0

CONFIG: Final = """
global: {{slack_bot_token: xoxb-stand-in, slack_api_url: {slack}/api/, pagerduty_url: {pagerduty}/}}
web: {{listen: '127.0.0.1:{port}', webhook_tokens: [{token}]}}
store: {{url: '{store}'}}
route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}
receivers:
  - name: ops
    pagerduty_configs: [{{routing_key: {key}}}]
    slack_configs: [{{channel: '#ops-alerts'}}]
"""
ALERTMANAGER: Final = """
route: {{receiver: alertbot, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 4h}}
receivers:
  - name: alertbot
    webhook_configs:
      - url: http://127.0.0.1:{port}/webhooks/alertmanager
        max_alerts: 0
        http_config: {{authorization: {{credentials: {token}}}}}
"""
PROMETHEUS: Final = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: ['{rules}']
alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{alertmanager}']}}]}}]}}
"""
RULES: Final = """
groups:
  - name: ours
    rules:
      - alert: HostDown
        expr: vector({value}) > 0
        labels: {{severity: critical, instance: a}}
        annotations: {{summary: it does not answer}}
"""


@dataclass
class World:
    """The bot in a process of its own, Alertmanagers, a Prometheus, and the providers."""

    folder: Path
    store: str
    port: Callable[[], int]
    real_server: Callable[[str], Path]
    stack: AsyncExitStack
    slack: SlackStandin
    pagerduty: PagerDutyStandin
    session: aiohttp.ClientSession
    bot_port: int = 0
    config: str = CONFIG
    processes: list[asyncio.subprocess.Process] = field(default_factory=list)

    async def run(self, *command: str | Path, log: str) -> asyncio.subprocess.Process:
        out = (self.folder / f"{log}.log").open("ab")
        process = await asyncio.create_subprocess_exec(*map(str, command), stdout=out, stderr=out, cwd=self.folder)
        out.close()
        self.stack.push_async_callback(end, process)
        return process

    async def start_bot(self) -> asyncio.subprocess.Process:
        config = self.folder / "alertbot.yml"
        config.write_text(
            self.config.format(
                slack=self.slack.url, pagerduty=self.pagerduty.url, port=self.bot_port, token=TOKEN,
                store=self.store, key=ROUTING_KEY,
            )
        )  # fmt: skip
        process = await self.run(sys.executable, "-m", "alertbot", "serve", "--config", config, log="bot")
        await self.answers(f"http://127.0.0.1:{self.bot_port}/-/ready")
        return process

    async def start_alertmanager(
        self, name: str, *, token: str = TOKEN, cluster: int | None = None, peer: int | None = None
    ) -> str:
        port = self.port()
        config = self.folder / f"{name}.yml"
        config.write_text(ALERTMANAGER.format(port=self.bot_port, token=token))
        listen = f"127.0.0.1:{cluster}" if cluster else ""
        await self.run(
            self.real_server("alertmanager"), f"--config.file={config}", f"--storage.path={self.folder / name}",
            f"--web.listen-address=127.0.0.1:{port}", f"--cluster.listen-address={listen}",
            "--cluster.peer-timeout=1s", "--cluster.settle-timeout=1s",
            *([f"--cluster.peer=127.0.0.1:{peer}"] if peer else []), log=name,
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        await self.answers(f"{url}/-/ready")
        return url

    async def start_prometheus(self, alertmanager: str) -> str:
        port = self.port()
        self.rule(0)
        config = self.folder / "prometheus.yml"
        config.write_text(
            PROMETHEUS.format(rules=self.folder / "rules.yml", alertmanager=alertmanager.rpartition(":")[2])
        )
        await self.run(
            self.real_server("prometheus"), f"--config.file={config}", f"--storage.tsdb.path={self.folder / 'tsdb'}",
            f"--web.listen-address=127.0.0.1:{port}", "--web.enable-lifecycle",
            "--rules.alert.resend-delay=1s", log="prometheus",
        )  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        await self.answers(f"{url}/-/ready")
        return url

    def rule(self, value: int) -> None:
        (self.folder / "rules.yml").write_text(RULES.format(value=value))

    async def fire(self, url: str, name: str, *, resolved: bool = False, **labels: str) -> None:
        alert: dict[str, Any] = {"labels": {"alertname": name, "severity": "critical", **labels}}
        if resolved:
            alert["endsAt"] = datetime.now(UTC).isoformat()
        async with self.session.post(f"{url}/api/v2/alerts", json=[alert]) as answer:
            assert answer.status == 200, await answer.text()

    async def answers(self, url: str) -> None:
        async def asked() -> bool:
            with suppress(aiohttp.ClientError):
                async with self.session.get(url) as answer:
                    return answer.status == 200
            return False

        await eventually(asked)

    async def has_peers(self, url: str, count: int) -> bool:
        async with self.session.get(f"{url}/api/v2/status") as answer:
            return len((await answer.json())["cluster"]["peers"]) == count

    async def metric(self, line: str) -> float:
        async with self.session.get(f"http://127.0.0.1:{self.bot_port}/metrics") as answer:
            found = [x for x in (await answer.text()).splitlines() if x.startswith(line)]
        return float(found[0].rpartition(" ")[2]) if found else 0.0

    def cards(self) -> list[str]:
        return [m["text"] for m in self.slack.messages("#ops-alerts") if not m.get("thread_ts")]


async def end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
    await process.wait()


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await true():  # noqa: ASYNC110 - other programs are waited for
            await asyncio.sleep(0.1)


async def until(true: Callable[[], bool]) -> None:
    async def asked() -> bool:
        return true()

    await eventually(asked)


@pytest.fixture
async def world(
    tmp_path: Path,
    new_store: Callable[[], str],
    unused_tcp_port_factory: Callable[[], int],
    real_server: Callable[[str], Path],
) -> AsyncIterator[World]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SlackStandin())
        pagerduty = await stack.enter_async_context(PagerDutyStandin())
        session = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)))
        world = World(tmp_path, new_store(), unused_tcp_port_factory, real_server, stack, slack, pagerduty, session)
        world.bot_port = unused_tcp_port_factory()
        yield world


@pytest.mark.real("alertmanager", "prometheus")
async def test_a_rule_fires_and_somebody_is_called_and_the_rule_ends_and_all_is_closed(world: World) -> None:
    await world.start_bot()
    alertmanager = await world.start_alertmanager("am")
    prometheus = await world.start_prometheus(alertmanager)
    assert world.pagerduty.pages == []
    world.rule(1)
    async with world.session.post(f"{prometheus}/-/reload") as answer:
        assert answer.status == 200
    await until(lambda: [page.summary for page in world.pagerduty.pages] == ["[1 firing] HostDown"])
    await until(lambda: world.cards() == ["[CRITICAL] HostDown (1 firing)"])
    world.rule(0)
    async with world.session.post(f"{prometheus}/-/reload") as answer:
        assert answer.status == 200
    await until(lambda: world.pagerduty.open() == [])
    await until(lambda: world.cards() == ["[CRITICAL] HostDown (resolved)"])
    assert len(world.pagerduty.pages) == 1


@pytest.mark.real("alertmanager")
@pytest.mark.parametrize("split", [False, True], ids=["that know each other", "that lost each other and both send"])
async def test_of_an_ha_pair_one_page_and_one_card_come_and_both_are_closed(world: World, split: bool) -> None:
    await world.start_bot()
    gossip = world.port()
    first = await world.start_alertmanager("a", cluster=gossip)
    second = await world.start_alertmanager("b", cluster=world.port(), peer=None if split else gossip)

    async def sent(times: int) -> None:
        async def so_many() -> bool:
            return await world.metric('alertbot_events_received_total{source="alertmanager"}') >= times

        await eventually(so_many)

    await eventually(lambda: world.has_peers(first, 1 if split else 2))
    for url in (first, second):
        await world.fire(url, "HostDown", instance="a")
    await sent(2 if split else 1)
    await until(lambda: world.cards() == ["[CRITICAL] HostDown (1 firing)"])
    for url in (first, second):
        await world.fire(url, "HostDown", instance="a", resolved=True)
    await sent(4 if split else 2)
    await until(lambda: world.pagerduty.open() == [])
    await until(lambda: world.cards() == ["[CRITICAL] HostDown (resolved)"])
    assert len(world.pagerduty.pages) == 1


@pytest.mark.real("alertmanager")
async def test_a_wrong_token_is_refused_and_counted_and_the_right_one_is_taken(world: World) -> None:
    await world.start_bot()
    wrong = await world.start_alertmanager("wrong", token="another")
    await world.fire(wrong, "HostDown", instance="a")

    async def refused() -> bool:
        return await world.metric('alertbot_requests_refused_total{code="401",source="alertmanager"}') >= 1

    await eventually(refused)
    assert world.pagerduty.pages == []
    right = await world.start_alertmanager("right")
    await world.fire(right, "HostDown", instance="a")
    await until(lambda: len(world.pagerduty.pages) == 1)


@pytest.mark.real("alertmanager")
async def test_what_fires_while_the_bot_is_away_reaches_people_when_it_is_back(world: World) -> None:
    alertmanager = await world.start_alertmanager("am")
    await world.fire(alertmanager, "HostDown", instance="a")
    await asyncio.sleep(1)
    bot = await world.start_bot()
    await until(lambda: len(world.pagerduty.pages) == 1)
    await end(bot)
    await world.fire(alertmanager, "HostDown", instance="b")
    await asyncio.sleep(1)
    await world.start_bot()
    await until(lambda: world.cards() == ["[CRITICAL] HostDown (2 firing)"])
    assert len(world.pagerduty.pages) == 1
