"""A member of Alertmanager: its API v2 as 0.25 answers it, for what a real one cannot be made to do in a test: be slow,
break, start anew, tell the time that a test moves.

It knows the alerts that a test puts there, and sends no webhooks. Its rules for silences are those measured on the real
one: no matchers 422, a regex that is none 400, only matchers that match the empty string 400, an end in the past 400, a
start in the past is now, an unknown id 404; a change of anything but the end makes a new silence.
"""

import json
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from alertbot.domain.fingerprint import fingerprint
from alertbot.domain.matchers import Matcher, MatcherError, Op
from tests.standins.server import Clock, HttpStandin, Reply

Json = dict[str, Any]


class AlertmanagerStandin(HttpStandin):
    """`alerts` by fingerprint, as the API shows them; `silences` by id. `started` is when it came up."""

    name = "alertmanager"

    def __init__(
        self,
        *,
        clock: Clock = time.time,
        port: int = 0,
        state: Path | None = None,
        up_for: timedelta = timedelta(days=1),
    ) -> None:
        super().__init__(clock=clock, port=port, state=state)
        self.alerts: dict[str, Json] = {}
        self.silences: dict[str, Json] = {}
        self.up_for = up_for
        self.cluster = "ready"
        self.config = "global:\n  resolve_timeout: 5m\nroute:\n  receiver: alertbot\n"
        self.password = ""
        """What the Authorization header has to be; empty: anything."""
        self._born = clock()

    @property
    def time(self) -> datetime:
        return datetime.fromtimestamp(self.now(), UTC)

    def restart(self) -> None:
        """Its alerts are lost, its silences are kept."""
        self.alerts.clear()
        self.up_for, self._born = timedelta(0), self.now()

    def fire(
        self, labels: Json, *, receivers: tuple[str, ...] = ("alertbot",), inhibited_by: tuple[str, ...] = ()
    ) -> Json:
        """An alert that fires there from now on; returns it."""
        made = {
            "fingerprint": fingerprint(labels),
            "labels": labels,
            "annotations": {"summary": labels.get("alertname", "")},
            "startsAt": self.time.isoformat(),
            "endsAt": (self.time + timedelta(days=1)).isoformat(),
            "updatedAt": self.time.isoformat(),
            "generatorURL": "http://prometheus.example.org/graph",
            "receivers": [{"name": name} for name in receivers],
            "inhibited_by": inhibited_by,
        }
        self.alerts[str(made["fingerprint"])] = made
        return made

    def end(self, alert: Json) -> None:
        """It is resolved there."""
        self.alerts.pop(alert["fingerprint"])

    def silence(
        self, labels: Json, comment: str = "by hand", by: str = "grace", lasts: timedelta = timedelta(hours=1)
    ) -> str:
        """A silence made by a person in its own pages; returns its id."""
        matchers = [{"name": n, "value": v, "isRegex": False, "isEqual": True} for n, v in labels.items()]
        ends = (self.time + lasts).isoformat()
        return self._put_silence(
            {
                "matchers": matchers,
                "startsAt": self.time.isoformat(),
                "endsAt": ends,
                "createdBy": by,
                "comment": comment,
            }
        )

    def expire(self, silence_id: str) -> None:
        """A silence ends now."""
        self.silences[silence_id] |= {"endsAt": self.time.isoformat(), "updatedAt": self.time.isoformat()}

    def active(self) -> list[Json]:
        """The silences in effect, the oldest first."""
        return [s for s in self.silences.values() if self.state_of(s) == "active"]

    async def read(self, request: web.Request) -> tuple[str, dict[str, Any]]:
        text = await request.text()
        path = "/api/v2/silence" if request.path.startswith("/api/v2/silence/") else request.path
        return f"{request.method} {path}", json.loads(text) if text else {}

    def handle(self, request: web.Request, endpoint: str, params: dict[str, Any]) -> Reply:
        if self.password and request.headers.get("Authorization") != self.password:
            return Reply(401, "Unauthorized")
        match endpoint:
            case "GET /api/v2/status":
                started = datetime.fromtimestamp(self._born, UTC) - self.up_for
                return Reply(
                    200,
                    {
                        "uptime": started.isoformat(), "config": {"original": self.config},
                        "cluster": {"status": self.cluster, "peers": []}, "versionInfo": {"version": "0.25.0"},
                    },
                )  # fmt: skip
            case "GET /api/v2/alerts":
                return Reply(200, [self._shown(a) for a in self.alerts.values()])
            case "GET /api/v2/silences":
                return Reply(200, [{**s, "status": {"state": self.state_of(s)}} for s in self.silences.values()])
            case "POST /api/v2/silences":
                return self._post_silence(params)
            case "DELETE /api/v2/silence":
                found = self.silences.get(request.path.rpartition("/")[2])
                if found is None:
                    return Reply(404)
                if self.state_of(found) == "expired":
                    return Reply(500, json.dumps("silence already expired"))
                self.expire(found["id"])
                return Reply(200)
        return Reply(404)

    def _shown(self, alert: Json) -> Json:
        silenced = [s["id"] for s in self.active() if self._matches(s, alert["labels"])]
        inhibited = list(alert["inhibited_by"])
        state = "suppressed" if silenced or inhibited else "active"
        shown = {k: v for k, v in alert.items() if k != "inhibited_by"}
        return {**shown, "status": {"state": state, "silencedBy": silenced, "inhibitedBy": inhibited}}

    def _matches(self, silence: Json, labels: Json) -> bool:
        return all(self._matcher(m).matches(labels) for m in silence["matchers"])

    def _matcher(self, matcher: Json) -> Matcher:
        op: dict[tuple[bool, bool], Op] = {
            (True, False): "=",
            (False, False): "!=",
            (True, True): "=~",
            (False, True): "!~",
        }
        return Matcher(matcher["name"], op[matcher.get("isEqual", True), matcher["isRegex"]], matcher["value"])

    def state_of(self, silence: Json) -> str:
        if datetime.fromisoformat(silence["endsAt"]) <= self.time:
            return "expired"
        return "pending" if datetime.fromisoformat(silence["startsAt"]) > self.time else "active"

    def _post_silence(self, wanted: Json) -> Reply:
        if not wanted.get("matchers"):
            return Reply(422, {"code": 612, "message": "matchers in body should have at least 1 items"})
        if "comment" not in wanted or "createdBy" not in wanted:
            return Reply(422, {"code": 602, "message": "comment in body is required"})
        try:
            if all(self._matcher(m).matches({}) for m in wanted["matchers"]):
                return Reply(400, json.dumps("at least one matcher must not match the empty string"))
        except MatcherError as e:
            return Reply(400, json.dumps(f"invalid silence: {e}"))
        if datetime.fromisoformat(wanted["endsAt"]) <= self.time:
            return Reply(400, json.dumps("end time can't be in the past"))
        if wanted.get("id"):
            known = self.silences.get(wanted["id"])
            if known is None:
                return Reply(404, json.dumps("silence not found"))
            same = known["matchers"] == wanted["matchers"] and self.state_of(known) == "active"
            if same and datetime.fromisoformat(known["startsAt"]) == datetime.fromisoformat(wanted["startsAt"]):
                known |= {k: wanted[k] for k in ("endsAt", "createdBy", "comment")}
                known["updatedAt"] = self.time.isoformat()
                return Reply(200, {"silenceID": known["id"]})
            self.expire(known["id"])
        return Reply(200, {"silenceID": self._put_silence(wanted)})

    def _put_silence(self, wanted: Json) -> str:
        starts = max(datetime.fromisoformat(wanted["startsAt"]), self.time).isoformat()
        made = {**wanted, "id": str(uuid.uuid4()), "startsAt": starts, "updatedAt": self.time.isoformat()}
        self.silences[made["id"]] = made
        return str(made["id"])
