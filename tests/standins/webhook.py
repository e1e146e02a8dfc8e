"""Anybody's receiver: records what is posted to it and answers as told.

Run it as a process: `python -m tests.standins.webhook --port N --state FILE`.
"""

import json
import time
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.standins.server import Clock, HttpStandin, Reply, serve


class WebhookStandin(HttpStandin):
    """Takes any method at any path. `status` is the answer, faults aside; `bodies` what came, oldest first.

    Any other answer is scripted: `faults.add("answer", "/hook", status=503, headers={"Retry-After": "7"})`.
    """

    name = "webhook"
    adjustable = ("status",)

    def __init__(
        self, *, clock: Clock = time.time, port: int = 0, state: Path | None = None, status: int = 200
    ) -> None:
        super().__init__(clock=clock, port=port, state=state)
        self.status = status
        self.bodies: list[Any] = []

    def snapshot(self) -> dict[str, Any]:
        return {"bodies": self.bodies}

    def restore(self, kept: dict[str, Any]) -> None:
        self.bodies = kept["bodies"]

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        """The parameters are the JSON object that came; else {"text": ...}, {"json": ...} for other JSON."""
        text = await request.text()
        try:
            body = json.loads(text)
        except ValueError:
            return request.path, {"text": text}
        return request.path, body if isinstance(body, dict) else {"json": body}

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        self.bodies.append(params)
        return Reply(self.status, {})


if __name__ == "__main__":
    serve(WebhookStandin)
