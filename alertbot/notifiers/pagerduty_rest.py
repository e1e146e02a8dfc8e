"""PagerDuty's REST API: who is on call, which incident is which of ours, and acts in a person's name. One call is one
request, in a thread.

https://developer.pagerduty.com/api-reference/: a list comes in pages, with `more` while there are further ones. Who
changes something names a user's mail address in `From`; only a user's own token may leave it out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote

from alertbot.notifiers.answers import safe_words
from alertbot.notifiers.pagerduty_sessions import ClientError, RestSession, Sessions

#: Items of a page [docs: 100 at most], and pages of one list that are read.
PAGE, PAGES = 100, 20


class RestError(Exception):
    """PagerDuty did not answer (`status` 0), or said no. The message has its own words, and no secret."""

    def __init__(self, error: str, status: int = 0) -> None:
        super().__init__(error)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether it makes sense to try again later."""
        return self.status in (0, 429) or self.status >= 500


@dataclass(frozen=True, slots=True)
class Duty:
    """Somebody is on call: at which level of which policy, until when (None: without an end)."""

    policy: str
    level: int
    name: str
    email: str
    until: datetime | None


class PagerDutyRest:
    """One account, with one token. `timeout` bounds each request, in seconds."""

    def __init__(self, token: str, url: str = "https://api.pagerduty.com/", timeout: float = 10.0) -> None:
        self._token = token
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._sessions = Sessions(lambda: RestSession(token, self._url, timeout), 2, "pagerduty-rest")

    def close(self) -> None:
        """Takes no more calls; one that is under way ends by itself."""
        self._sessions.close()

    async def on_call(self) -> Sequence[Duty]:
        """Everybody who is on call now. Raises `RestError`."""
        found: list[Duty] = []
        for page in range(PAGES):
            query = {"include[]": "users", "limit": PAGE, "offset": page * PAGE}
            answer = await self.get("/oncalls", query)
            found += [_duty(item) for item in answer.get("oncalls") or () if isinstance(item, dict)]
            if not answer.get("more"):
                break
        return found

    async def keys_of(self, remote: str) -> list[str]:
        """The keys of the alerts of one of PagerDuty's incidents. Raises `RestError`."""
        answer = await self.get(f"/incidents/{quote(remote, safe='')}/alerts", {})
        return [str(item.get("alert_key") or "") for item in answer.get("alerts") or () if isinstance(item, dict)]

    async def incident_of(self, key: str) -> str:
        """PagerDuty's id of the newest incident that was opened under a key; empty where there is none.

        Incidents with alerts have no key of their own: this finds those whose alerts have it [docs].
        Raises `RestError`.
        """
        answer = await self.get("/incidents", {"incident_key": key, "sort_by": "created_at:desc"})
        found = [item for item in answer.get("incidents") or () if isinstance(item, dict)]
        return str(found[0].get("id") or "") if found else ""

    async def email_of(self, name: str) -> str:
        """The address of the only user who is called so; empty where there are none or several. Raises `RestError`."""
        if "@" in name:
            return name
        answer = await self.get("/users", {"query": name})
        users = [user for user in answer.get("users") or () if isinstance(user, dict)]
        named = [user for user in users if str(user.get("name", "")).casefold() == name.casefold()]
        return str(named[0].get("email") or "") if len(named) == 1 else ""

    async def acknowledge(self, remote: str, email: str) -> None:
        """In the name of the user with this address. Raises `RestError`."""
        body = {"incident": {"type": "incident_reference", "status": "acknowledged"}}
        await self._call("PUT", f"/incidents/{quote(remote, safe='')}", {}, body, email)

    async def notes(self, remote: str) -> list[str]:
        """What stands in an incident's notes. Raises `RestError`."""
        answer = await self.get(f"/incidents/{quote(remote, safe='')}/notes", {})
        return [str(item.get("content") or "") for item in answer.get("notes") or () if isinstance(item, dict)]

    async def note(self, remote: str, text: str, email: str) -> None:
        """Writes one; no address: the token's own user. Raises `RestError`."""
        await self._call("POST", f"/incidents/{quote(remote, safe='')}/notes", {}, {"note": {"content": text}}, email)

    async def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """The JSON of one answer. Raises `RestError`."""
        return await self._call("GET", path, dict(query))

    async def _call(
        self, method: str, path: str, query: dict[str, Any], body: Any = None, email: str = ""
    ) -> dict[str, Any]:
        request = partial(self._request, method, path, query, body, email)
        try:
            async with asyncio.timeout(self._timeout + 1):
                return await asyncio.wrap_future(self._sessions.submit(request))
        except TimeoutError:
            raise RestError("it did not answer in time") from None

    def _request(
        self, method: str, path: str, query: dict[str, Any], body: Any, email: str, session: RestSession
    ) -> dict[str, Any]:
        """In a thread."""
        try:
            headers = {"From": email} if email else {}
            response = session.request(method, path, params=query, json=body, headers=headers)
        except ClientError as e:
            if e.response is None:
                raise RestError("it cannot be reached") from None
            response = e.response
        if response.status_code not in (200, 201):
            said = safe_words(_words(response.text), [self._token])
            raise RestError(f"it answered {response.status_code}{f': {said}' if said else ''}", response.status_code)
        try:
            answer = response.json()
        except ValueError:
            raise RestError("its answer is no JSON") from None
        return answer if isinstance(answer, dict) else {}


def _words(text: str) -> str:
    """`error.message` of PagerDuty's JSON; nothing of what is none: it is some proxy's page."""
    try:
        said = json.loads(text)
        return str(said["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return ""


def _duty(item: Mapping[str, Any]) -> Duty:
    user, policy = item.get("user") or {}, item.get("escalation_policy") or {}
    level, end = item.get("escalation_level"), item.get("end")
    return Duty(
        policy=str(policy.get("summary") or policy.get("name") or "a policy without a name"),
        level=level if isinstance(level, int) else 0,
        name=str(user.get("name") or user.get("summary") or "somebody"),
        email=str(user.get("email") or "").lower(),
        until=_time(end) if isinstance(end, str) else None,
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None
