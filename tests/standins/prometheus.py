"""Prometheus' query API: answers every query with the same series, or the same number.

https://prometheus.io/docs/prometheus/latest/querying/api/. That real servers answer so is tested with a real one.
"""

import time
from pathlib import Path
from typing import Any

from aiohttp import web

from tests.standins.server import Clock, HttpStandin, Reply


class PrometheusStandin(HttpStandin):
    """`values` are the numbers of the one series that a range has, the last one at its end; `number` is what a query of
    now is answered with, None for no series.
    """

    name = "prometheus"

    def __init__(self, *, clock: Clock = time.time, port: int = 0, state: Path | None = None) -> None:
        super().__init__(clock=clock, port=port, state=state)
        self.values: list[float] = [0.0, 1.0, 2.0]
        self.number: float | None = 1.0

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        return request.path, {str(k): str(v) for k, v in (await request.post()).items()}

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        if endpoint == "/api/v1/query_range":
            end, step = float(params["end"]), float(params["step"])
            places = range(len(self.values) - 1, -1, -1)
            values = [[end - n * step, str(v)] for n, v in zip(places, self.values, strict=True)]
            data = {"resultType": "matrix", "result": [{"metric": {}, "values": values}] if values else []}
        else:
            one = {"metric": {}, "value": [float(params["time"]), str(self.number)]}
            data = {"resultType": "vector", "result": [] if self.number is None else [one]}
        return Reply(200, {"status": "success", "data": data})
