"""PagerDuty's REST API on loopback: who is on call, in pages; users; incidents, their alerts and notes [docs]."""

from typing import Any

from aiohttp import web

from tests.standins.pagerduty import PagerDutyStandin, remote_id
from tests.standins.server import HttpStandin, Reply

TOKEN = "rest-token-of-the-tests"


class PagerDutyRestStandin(HttpStandin):
    """`duties` are entries of `oncalls`, as the API has them. `users`: name by mail address. `events` holds the
    incidents, and tells of what is done to them.
    """

    name = "pagerduty-rest"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.events: PagerDutyStandin | None = None
        self.users: dict[str, str] = {}
        self.notes: list[tuple[str, str, str]] = []
        """Incident, author, content."""
        self.duties: list[dict[str, Any]] = []

    def duty(self, policy: str, level: int, name: str, until: str | None = None) -> None:
        """Somebody is on call."""
        user = {"id": f"P{name.upper()}", "name": name, "summary": name, "email": f"{name.lower()}@example.org"}
        self.duties.append(
            {"user": user, "escalation_policy": {"id": "PPOL", "summary": policy}, "escalation_level": level,
             "schedule": None, "start": None, "end": until}
        )  # fmt: skip

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        if request.method in ("PUT", "POST"):
            return request.path, await request.json()
        return request.path, dict(request.query)

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        if request.headers.get("Authorization") != f"Token token={TOKEN}":
            return Reply(401, {"error": {"message": "Your account is not authorized to access this resource."}})
        if endpoint == "/users":
            users = [{"name": n, "email": e} for e, n in self.users.items() if params["query"].lower() in n.lower()]
            return Reply(200, {"users": users, "more": False})
        if endpoint.startswith("/incidents"):
            return self._incidents(request, endpoint, params)
        if endpoint != "/oncalls" or request.method != "GET":
            return Reply(404, {"error": {"message": "Not Found", "code": 2100}})
        start, limit = int(params.get("offset", 0)), min(int(params.get("limit", 25)), 100)
        page = self.duties[start : start + limit]
        more = start + limit < len(self.duties)
        return Reply(200, {"oncalls": page, "limit": limit, "offset": start, "more": more, "total": None})

    def _incidents(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        """A change needs the address of a user in From [docs]."""
        assert self.events is not None
        _, _, remote, *what = [*endpoint.split("/"), ""]
        if not remote:
            wanted = [i for i in self.events.incidents if i.dedup_key == params.get("incident_key")]
            return Reply(200, {"incidents": [{"id": remote_id(i), "status": i.status} for i in reversed(wanted)]})
        found = next((i for i in self.events.incidents if remote_id(i) == remote), None)
        if found is None:
            return Reply(404, {"error": {"message": "Not Found", "code": 2100}})
        if request.method == "GET" and what[0] == "alerts":
            return Reply(200, {"alerts": [{"alert_key": found.dedup_key}]})
        if request.method == "GET":
            return Reply(200, {"notes": [{"content": c} for i, _, c in self.notes if i == remote]})
        sender = self.users.get(request.headers.get("From", ""))
        if sender is None:
            return Reply(400, {"error": {"message": "Requester User Not Found", "code": 2001}})
        if what[0] == "notes":
            self.notes.append((remote, sender, params["note"]["content"]))
            self.events.note(found, params["note"]["content"], sender)
            return Reply(201, {"note": {"id": "N1"}})
        self.events.do(found, params["incident"]["status"], sender)
        return Reply(200, {"incident": {"id": remote, "status": found.status}})
