"""The bot in a process that kills itself at one of its calls, and a sender that knows what was answered.

`python -m tests.crash.driver` reads tasks from stdin, one JSON object a line, and runs each in a fork of itself: what takes
long, the imports, is done once. A task's fork goes through the steps of the scenario from a given one on, and writes what
it got through to stdout, one JSON object a line; the last line of a task is {"exit": how the fork ended}.

The calls are those to the store, before each and for those that write also after, and those to the providers: before the
request goes out, and when the provider has answered and the bot has not heard it. They are counted; at call number
`crash_at` the process gets SIGKILL.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
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
from alertbot.store import sqlite
from alertbot.store.base import Store
from tests.acceptance.timing import advance, settle

Say = Callable[[dict[str, Any]], None]

#: Imported before the first fork, so that no fork has to.
WARM: Final = (notifiers, pagerduty, slack, sqlite)
#: A crash after a read is the same as one before the next call.
WRITES: Final = frozenset({"open", "append", "commit", "claim", "record", "set_meta"})

CONFIG: Final = """
global: {{slack_bot_token: xoxb-stand-in, slack_api_url: {slack}/api/, pagerduty_url: {pagerduty}/}}
web: {{listen: 127.0.0.1:0}}
store: {{url: 'sqlite:///{store}'}}
route: {{receiver: ops, group_by: [alertname], group_wait: 0s, group_interval: 5s, repeat_interval: 4h}}
receivers:
  - name: ops
    pagerduty_configs: [{{routing_key: 0123456789abcdef0123456789abcdef}}]
    slack_configs: [{{channel: '#ops-alerts'}}]
"""


class Crash:
    """Counts the calls, and kills the process at one of them."""

    def __init__(self, at: int, say: Say) -> None:
        self.at = at
        self.count = 0
        self._say = say

    def here(self, what: str) -> None:
        """One of the moments at which a process can die."""
        self.count += 1
        if self.count == self.at:
            self._say({"killed": what})
            os.kill(os.getpid(), signal.SIGKILL)


class CrashingStore:
    """A store between whose callers and whose file the process can die."""

    def __init__(self, store: Store, crash: Crash) -> None:
        self._store = store
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)

        async def call(*args: Any, **options: Any) -> Any:
            self._crash.here(f"before store.{name}")
            result = await method(*args, **options)
            if name in WRITES:
                self._crash.here(f"after store.{name}")
            return result

        return call


class CrashingProxy:
    """An HTTP proxy in the bot's own process: it can die with the request not sent, or sent and the answer not heard."""

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
        self._crash.here(f"before {what}")
        headers = {k: v for k, v in request.headers.items() if k in ("Authorization", "Content-Type")}
        url = f"{self._upstream}{request.path_qs}"
        async with self._session.request(request.method, url, data=body or None, headers=headers) as answer:
            said = await answer.read()
        self._crash.here(f"after {what}")
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

    STEPS: Final = ("two", "third", "acknowledge", "new", "resolve")

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

    async def incidents(self) -> list[dict[str, Any]]:
        """All of them as the API shows them."""
        url = f"http://127.0.0.1:{self._app.port}/api/v1/incidents"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return list((await answer.json())["incidents"])


async def run(task: dict[str, Any], say: Say) -> None:
    """One life of the bot: from step `step` on, which was answered already or not, at the time `at`."""
    crash = Crash(task["crash_at"], say)
    slack_proxy = CrashingProxy("slack", task["slack"], crash)
    pagerduty_proxy = CrashingProxy("pagerduty", task["pagerduty"], crash)
    await slack_proxy.start()
    await pagerduty_proxy.start()
    folder = Path(task["folder"])
    config = CONFIG.format(slack=slack_proxy.url, pagerduty=pagerduty_proxy.url, store=folder / "alertbot.db")
    (folder / "alertbot.yml").write_text(config)
    clock = MovableClock(datetime.fromisoformat(task["at"]))
    app = App(folder / "alertbot.yml", {}, clock=clock)
    inner = app.store
    app.store = app.engine.store = app.outbox.store = cast("Store", CrashingStore(inner, crash))
    await app.start()
    scenario = Scenario(app, datetime.fromisoformat(task["started"]))

    async def settled() -> None:
        await settle(inner, clock)
        say({"at": clock.now().isoformat()})

    answered = task["answered"]
    for step in range(task["step"], len(Scenario.STEPS)):
        if not answered:
            assert await scenario.do(step), Scenario.STEPS[step]
            say({"step": step, "answered": True})
        answered = False
        await advance(inner, clock, timedelta(minutes=1), settled)
        say({"step": step + 1, "answered": False})
    records = {i.id: (await inner.entries(incident=i.id)).entries for i in (await inner.incidents()).incidents}
    say(
        {
            "incidents": await scenario.incidents(),
            "reasons": {i: [(e.reason.value, e.identity) for e in entries] for i, entries in records.items()},
            "parked": len(await inner.parked()),
            "calls": crash.count,
        }
    )
    await app.stop()


def fork(task: dict[str, Any], say: Say) -> int:
    """Runs a task in a child process and waits for it; its exit status, negative where a signal ended it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            asyncio.run(run(task, say))
            status = 0
        except BaseException as e:  # noqa: BLE001 - whatever it was, the parent shall show it
            say({"error": repr(e)})
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _say(line: dict[str, Any]) -> None:
    """One write, so that a kill leaves whole lines."""
    os.write(sys.stdout.fileno(), json.dumps(line).encode() + b"\n")


if __name__ == "__main__":
    for line in sys.stdin:
        _say({"exit": fork(json.loads(line), _say)})
