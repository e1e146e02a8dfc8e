"""PagerDuty's REST API on loopback: who is on call, in pages [docs: List all of the on-calls]."""

from typing import Any

from aiohttp import web

from tests.standins.server import HttpStandin, Reply

TOKEN = "rest-token-of-the-tests"


class PagerDutyRestStandin(HttpStandin):
    """`duties` are entries of `oncalls`, as the API has them."""

    name = "pagerduty-rest"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.duties: list[dict[str, Any]] = []

    def duty(self, policy: str, level: int, name: str, until: str | None = None) -> None:
        """Somebody is on call."""
        user = {"id": f"P{name.upper()}", "name": name, "summary": name, "email": f"{name.lower()}@example.org"}
        self.duties.append(
            {"user": user, "escalation_policy": {"id": "PPOL", "summary": policy}, "escalation_level": level,
             "schedule": None, "start": None, "end": until}
        )  # fmt: skip

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        return request.path, dict(request.query)

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        if request.headers.get("Authorization") != f"Token token={TOKEN}":
            return Reply(401, {"error": {"message": "Your account is not authorized to access this resource."}})
        if endpoint != "/oncalls" or request.method != "GET":
            return Reply(404, {"error": {"message": "Not Found", "code": 2100}})
        start, limit = int(params.get("offset", 0)), min(int(params.get("limit", 25)), 100)
        page = self.duties[start : start + limit]
        more = start + limit < len(self.duties)
        return Reply(200, {"oncalls": page, "limit": limit, "offset": start, "more": more, "total": None})
