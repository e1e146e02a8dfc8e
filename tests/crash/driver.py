"""The bot in a process that kills itself at one of its calls, and a sender that knows what was answered.

`python -m tests.crash.driver` reads tasks from stdin, one JSON object a line, and runs each in a fork of itself: what
takes long, the imports, is done once. A task's fork writes what it got through to stdout, one JSON object a line; the
last line of a task is {"exit": how the fork ended}.

A task with a `step` goes through the scenario from there on. The moments at which it can die are before and after each
call to the store (of one that only reads: before) and each request to a provider: not sent yet, or answered and the bot
has not heard it. A moment is named by the call and by how often this life came there: "before store.commit 2". A task
with `expect` takes webhooks from outside until there are so many incidents, and is killed from there.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, cast

import aiohttp
from aiohttp import web

from alertbot import notifiers
from alertbot.app import App
from alertbot.clock import MovableClock
from alertbot.domain.fingerprint import fingerprint
from alertbot.notifiers import pagerduty, slack
from alertbot.render import environment
from alertbot.store import redis, sqlite
from alertbot.store.base import Store
from tests.acceptance.timing import PATIENCE, advance, settle

Say = Callable[[dict[str, Any]], None]

#: Imported before the first fork, so that no fork has to.
WARM: Final = (notifiers, pagerduty, redis, slack, sqlite)
#: A crash after a read is one before the next call: neither the file nor a provider is any other for it.
WRITES: Final = frozenset(
    {
        "open",
        "append",
        "commit",
        "claim",
        "record",
        "renew",
        "set_meta",
        "spend",
        "refile",
        "breaker",
        "once",
        "remember",
    }
)
#: Where the process dies late, a call is held for so many seconds: all that does not wait for it goes on meanwhile.
HELD: Final = 0.05
#: No such moment: this life ends by itself.
NEVER: Final = ""

CONFIG: Final = """
global: {{slack_bot_token: xoxb-stand-in, slack_api_url: {slack}/api/, pagerduty_url: {pagerduty}/}}
web: {{listen: 127.0.0.1:0}}
store: {{url: '{store}'}}
severities: [{{name: critical, ack_within: 1h}}]
route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 5s, repeat_interval: 4h}}
receivers:
  - name: ops
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef}}]
    slack_configs: [{{channel: '#ops-alerts'}}]
inhibit_rules:
  - {{name: deploy, source_matchers: [alertname="Deployment"], target_matchers: [alertname=~"Loud|Noise"]}}
"""


class Crash:
    """Kills the process at one moment; `late`: once all that does not wait for the call there has gone on."""

    def __init__(self, at: str, late: bool, say: Say) -> None:
        self.moments: list[str] = []
        self._at = at
        self._late = late
        self._say = say
        self._seen: Counter[str] = Counter()

    async def here(self, what: str) -> None:
        """A moment at which a process can die."""
        self._seen[what] += 1
        moment = f"{what} {self._seen[what]}"
        self.moments.append(moment)
        if moment == self._at:
            if self._late:
                await asyncio.sleep(HELD)
            self._say({"killed": moment})
            os.kill(os.getpid(), signal.SIGKILL)


class CrashingStore:
    """A store between whose callers and whose file or server the process can die."""

    def __init__(self, store: Store, crash: Crash) -> None:
        self._store = store
        self._crash = crash
        self.renewed_at: datetime | None = None

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        async def call(*args: Any, **options: Any) -> Any:
            await self._crash.here(f"before store.{name}")
            result = await method(*args, **options)
            if name == "renew":
                (self.renewed_at,) = args
            if name in WRITES:
                await self._crash.here(f"after store.{name}")
            return result

        return call


def changes_something(moment: str) -> bool:
    """Whether a moment is that of a request to a provider, or of a call to the store that may write."""
    _, _, call = moment.rpartition(" ")[0].partition(" store.")
    return not call or call in WRITES


class CrashingProxy:
    """An HTTP proxy in the bot's own process, which can die with a request not sent, or its answer not heard."""

    def __init__(self, name: str, upstream: str, crash: Crash) -> None:
        self._name = name
        self._upstream = upstream
        self._crash = crash
        self.url = ""

    async def start(self) -> None:
        """Listens on a free port of 127.0.0.1."""
        self._session = aiohttp.ClientSession()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._pass_on)
        runner = web.AppRunner(app, access_log=None, handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async def _pass_on(self, request: web.Request) -> web.Response:
        what = f"{self._name} {request.path.rpartition('/')[2]}"
        body = await request.read()
        await self._crash.here(f"before {what}")
        headers = {k: v for k, v in request.headers.items() if k in ("Authorization", "Content-Type")}
        url = f"{self._upstream}{request.path_qs}"
        async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
            said = await answer.read()
        await self._crash.here(f"after {what}")
        return web.Response(status=answer.status, body=said, content_type=answer.content_type)


def alert(name: str, host: str, start: datetime, end: datetime | None = None) -> dict[str, Any]:
    """An alert as Alertmanager sends it."""
    labels = {"alertname": name, "severity": "critical", "host": host}
    return {
        "status": "resolved" if end else "firing",
        "labels": labels,
        "annotations": {"summary": f"{name} on {host}"},
        "startsAt": start.isoformat(),
        "endsAt": end.isoformat() if end else "0001-01-01T00:00:00Z",
        "fingerprint": fingerprint(labels),
    }


class Scenario:
    """Three alerts fire in two incidents, one incident is acknowledged, a new alert reopens it, all resolve."""

    STEPS: tuple[str, ...] = ("two", "third", "acknowledge", "new", "resolve")

    def __init__(self, app: App, started: datetime) -> None:
        self._app = app
        self._at = [started + timedelta(minutes=n) for n in range(len(self.STEPS))]

    async def do(self, step: int) -> bool:
        """Does one step as its sender would; whether it was answered with 2xx."""
        t = self._at
        if self.STEPS[step] == "acknowledge":
            (incident,) = [i for i in await self.incidents() if i["labels"]["alertname"] == "Down"]
            return await self._post(f"/api/v1/incidents/{incident['id']}/acknowledge", {"by": "alice"})
        fires = {
            "two": [alert("Down", "a", t[0]), alert("Slow", "a", t[0])],
            "third": [alert("Down", "b", t[1])],
            "new": [alert("Down", "c", t[3])],
            "resolve": [
                alert("Down", "a", t[0], t[4]),
                alert("Down", "b", t[1], t[4]),
                alert("Down", "c", t[3], t[4]),
                alert("Slow", "a", t[0], t[4]),
            ],
        }[self.STEPS[step]]
        return await self._post("/webhooks/alertmanager", {"version": "4", "groupKey": "{}:{}", "alerts": fires})

    async def _post(self, path: str, body: dict[str, Any]) -> bool:
        url = f"http://127.0.0.1:{self._app.port}{path}"
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as answer:
            return answer.status == 200

    async def windows(self) -> list[tuple[str, bool]]:
        """Those that are known, and whether each is over."""
        return [(w.id, w.over) for w in await self._app.store.windows(self._at[0])]

    async def incidents(self) -> list[dict[str, Any]]:
        """All of them as the API shows them."""
        url = f"http://127.0.0.1:{self._app.port}/api/v1/incidents?limit=200"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return list((await answer.json())["incidents"])


class DeployScenario(Scenario):
    """A deploy holds two incidents, one of them clears, the deploy fails: a verdict, and the other one opens."""

    STEPS = ("start", "noise", "clear", "fail")

    async def do(self, step: int) -> bool:
        """Does one step as its sender would; whether it was answered with 2xx."""
        t, name = self._at, self.STEPS[step]
        if name in ("start", "fail"):
            status = {"start": "started", "fail": "failed"}[name]
            return await self._post(
                "/api/v1/deploys", {"id": "d1", "service": "api", "version": "a1", "status": status}
            )
        noise = [alert("Loud", "a", t[1]), alert("Noise", "a", t[1])]
        alerts = noise if name == "noise" else [alert("Noise", "a", t[1], t[2])]
        return await self._post("/webhooks/alertmanager", {"version": "4", "groupKey": "{}:{}", "alerts": alerts})


#: By the name that a task gives.
SCENARIOS: Final = {"people": Scenario, "deploy": DeployScenario}


class Life:
    """One life of the bot on the task's store, from the time `at` on."""

    def __init__(self, task: dict[str, Any], say: Say) -> None:
        self._task = task
        self._say = say
        self._crash = Crash(task["die"], task["late"], say)
        self._alone = False

    async def run(self) -> None:
        """Until the task is done, or the process is killed."""
        task = self._task
        slack_proxy = CrashingProxy("slack", task["slack"], self._crash)
        pagerduty_proxy = CrashingProxy("pagerduty", task["pagerduty"], self._crash)
        await slack_proxy.start()
        await pagerduty_proxy.start()
        folder = Path(task["folder"])
        config = CONFIG.format(slack=slack_proxy.url, pagerduty=pagerduty_proxy.url, store=task["store"])
        (folder / "alertbot.yml").write_text(config)
        self._clock = MovableClock(datetime.fromisoformat(task["at"]))
        app = App(folder / "alertbot.yml", {}, clock=self._clock)
        self._store = app.store
        self._outbox = app.outbox
        self._crashing = CrashingStore(app.store, self._crash)
        crashing = cast("Store", self._crashing)
        app.store = app.engine.store = app.outbox.store = app.storms.store = app.limiter.store = crashing
        await app.start()
        scenario = SCENARIOS[task["scenario"]](app, datetime.fromisoformat(task["started"]))
        if "expect" in task:
            await self._serve(app.port)
        else:
            await self._play(scenario)
        incidents = (await self._store.incidents(limit=500)).incidents
        records = {i.id: (await self._store.entries(incident=i.id)).entries for i in incidents}
        self._say(
            {
                "incidents": await scenario.incidents(),
                "windows": await scenario.windows(),
                "record": {i: [(e.reason.value, e.identity) for e in entries] for i, entries in records.items()},
                "parked": len(await self._store.parked()),
                "moments": self._crash.moments,
            }
        )
        await app.stop()

    async def _play(self, scenario: Scenario) -> None:
        answered = self._task["answered"]
        for step in range(self._task["step"], len(scenario.STEPS)):
            if not answered:
                assert await scenario.do(step), scenario.STEPS[step]
                self._say({"step": step, "answered": True})
            answered = False
            await self._advance()
            self._say({"step": step + 1, "answered": False})

    async def _serve(self, port: int) -> None:
        self._say({"port": port, "pid": os.getpid()})
        await self._outlive()
        expected = self._task["expect"]
        stats = await self._store.stats(self._clock.now())
        try:
            async with asyncio.timeout(PATIENCE):
                while stats.open_incidents < expected:
                    await asyncio.sleep(0.01)
                    stats = await self._store.stats(self._clock.now())
        except TimeoutError:
            raise AssertionError(f"{expected} incidents are expected, and there are {stats}") from None
        await self._advance()

    async def _outlive(self) -> None:
        """Time passes until an earlier life counts as dead, and what it left has been taken over."""
        if self._store.shared and not self._alone:
            self._alone = True
            self._clock.advance(redis.LIVES + timedelta(seconds=1))
            self._tell_time()
            while self._crashing.renewed_at != self._clock.now():  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.001)

    def _tell_time(self) -> None:
        """For the next life: time does not go back where this one ends."""
        self._say({"at": self._clock.now().isoformat()})

    async def _advance(self) -> None:
        """A minute, in which all is delivered that can be."""
        await self._outlive()

        async def settled() -> None:
            self._tell_time()
            await settle(self._store, self._clock, self._outbox)

        await advance(self._store, self._clock, self._outbox, timedelta(minutes=1), settled)


def fork(task: dict[str, Any], say: Say) -> int:
    """Runs a task in a child process and waits for it; its exit status, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(Life(task, say).run())
            status = 0
        except BaseException as e:  # noqa: BLE001 - whatever it was, the parent shall show it
            say({"error": repr(e)})
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def warm() -> None:
    """What every life would do again: compile the templates, and touch each object to collect garbage."""
    for folder in ("pagerduty", "slack", "web", "words"):
        templates = environment(folder)
        for name in templates.list_templates(extensions=["j2"]):
            templates.get_template(name)
    gc.freeze()


def _say(line: dict[str, Any]) -> None:
    """One write, so that a kill leaves whole lines."""
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    warm()
    for line in sys.stdin:
        _say({"exit": fork(json.loads(line), _say)})
