"""A client that holds every answer against the API's own description."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp.test_utils import TestClient
from jsonschema import Draft202012Validator


class Described:
    """Sends requests; an answer that openapi.json does not describe fails the test."""

    def __init__(self, client: TestClient[Any, Any], document: dict[str, Any]) -> None:
        self._client = client
        self._document = document
        self.seen: set[tuple[str, str]] = set()
        """(operation, status) of every answer."""

    async def send(self, method: str, path: str, **options: Any) -> tuple[int, Any]:
        """The status, and the answer: JSON as data, else text."""
        answer = await self._client.request(method, path, allow_redirects=False, **options)
        template, operation = self._operation(method, answer.url.raw_path)
        described = operation["responses"].get(str(answer.status))
        assert described is not None, f"{method} {template} does not say that it answers {answer.status}"
        assert answer.content_type in described["content"], f"{method} {template}: {answer.content_type}"
        text = await answer.text()
        said = json.loads(text) if answer.content_type == "application/json" else text
        schema = {
            **described["content"][answer.content_type]["schema"],
            "components": self._document["components"],
        }
        Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(said)
        self.seen.add((f"{method} {template}", str(answer.status)))
        return answer.status, said

    async def get(self, path: str, **options: Any) -> Any:
        """The answer of a GET that must succeed."""
        status, said = await self.send("GET", path, **options)
        assert status == 200, said
        return said

    async def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """The answer of a POST of JSON that must have this status."""
        got, said = await self.send("POST", path, json={} if body is None else body)
        assert got == status, said
        return said

    def _operation(self, method: str, path: str) -> tuple[str, dict[str, Any]]:
        for template, operations in self._document["paths"].items():
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path):
                return template, operations[method.lower()]
        raise AssertionError(f"{path} is not described")
