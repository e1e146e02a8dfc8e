"""The command line's way to a running bot: its HTTP API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import aiohttp


class ApiError(Exception):
    """The bot said no (`status` is its HTTP status), or could not be reached (`status` is 0)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Client:
    """One bot at `url` (with a slash at the end), with one of its `api_tokens` where it has any."""

    def __init__(self, url: str, token: str = "") -> None:
        self.url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def call(
        self,
        method: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]] = (),
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """The JSON of the answer. Raises `ApiError`."""
        timeout = aiohttp.ClientTimeout(total=30)
        try:
            async with (
                aiohttp.ClientSession(headers=self._headers, timeout=timeout, trust_env=False) as session,
                session.request(
                    method, self.url + path, params=list(query), json=body, allow_redirects=False
                ) as answer,
            ):
                said = await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as e:
            raise ApiError(0, f"no bot answers at {self.url} ({type(e).__name__}): is it running?") from None
        if answer.status >= 400:
            what = said.get("error", "") if isinstance(said, dict) else ""
            raise ApiError(answer.status, what or f"the bot answered {answer.status}")
        found: dict[str, Any] = said
        return found
