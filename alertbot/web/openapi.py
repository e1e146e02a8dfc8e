"""The description of the API (OpenAPI 3.1), made from the table of endpoints and the models of what they
answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from alertbot.web import shapes
from alertbot.web.routes import Access, Endpoint

_SECURITY: Final[dict[Access, list[dict[str, list[str]]]]] = {
    Access.OPEN: [],
    Access.WEBHOOK: [{"webhook_bearer": []}, {"webhook_basic": []}],
    Access.SIGNED: [],
    Access.API: [{"api_bearer": []}],
    Access.OPERATE: [{"api_bearer": []}],
    Access.PAGE: [{"api_bearer": []}, {"api_basic": []}],
}
_TOKEN: Final = {Access.WEBHOOK: "web.webhook_tokens", Access.API: "web.api_tokens"}


def document(endpoints: Sequence[Endpoint], version: str) -> dict[str, Any]:
    """The description, as JSON data."""
    answers = {e.answer for e in endpoints if not isinstance(e.answer, str)} | {shapes.Error}
    bodies = {e.body for e in endpoints if e.body is not None}
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(m, "serialization") for m in answers]
    models += [(m, "validation") for m in bodies]
    models.sort(key=lambda m: m[0].__name__)
    _, definitions = models_json_schema(models, ref_template="#/components/schemas/{model}")
    paths: dict[str, dict[str, Any]] = {}
    for e in endpoints:
        paths.setdefault(e.path, {})[e.method.lower()] = _operation(e)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "alertbot",
            "version": version,
            "description": "Alertmanager's webhooks in; incidents, and what people do to them. "
            "Times are RFC 3339 in UTC. Where no token is configured, none is asked for.",
        },
        "paths": paths,
        "components": {
            "schemas": definitions["$defs"],
            "securitySchemes": {
                f"{who}_{scheme}": {
                    "type": "http",
                    "scheme": scheme,
                    "description": f"one of {_TOKEN[access]}",
                }
                for who, access in (("webhook", Access.WEBHOOK), ("api", Access.API))
                for scheme in ("bearer", "basic")
            },
        },
    }


def _operation(e: Endpoint) -> dict[str, Any]:
    operation: dict[str, Any] = {"summary": e.summary, "security": _SECURITY[e.access]}
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"\{(\w+)\}", e.path)
    ]
    parameters += [
        {
            "name": q.name,
            "in": "query",
            "description": q.description,
            "schema": {"type": "array", "items": {"type": "string"}} if q.repeated else {"type": "string"},
        }
        for q in e.query
    ]
    if parameters:
        operation["parameters"] = parameters
    if e.body is not None:
        required = any(field.is_required() for field in e.body.model_fields.values())
        operation["requestBody"] = {"required": required, "content": _content(e.body)}
    elif e.access is Access.WEBHOOK:
        schema = {"type": "object", "required": ["alerts"], "properties": {"alerts": {"type": "array"}}}
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    elif e.access is Access.SIGNED:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    operation["responses"] = {"200": {"description": "OK", "content": _content(e.answer)}} | {
        str(code): {
            "description": HTTPStatus(code).phrase,
            # While the store is away a page is still a page.
            "content": _content("text/html" if e.access is Access.PAGE and code == 503 else shapes.Error),
        }
        for code in sorted({*e.errors, *_errors(e)})
    }
    return operation


def _errors(e: Endpoint) -> set[int]:
    """What an endpoint may answer because of what it is."""
    if e.access is Access.OPEN:
        return {500}
    errors = {401, 500, 503}
    if e.access is Access.API:
        errors.add(400)
    if e.method != "GET" and e.access not in (Access.WEBHOOK, Access.SIGNED):
        errors.add(403)
    if e.method == "POST" and e.access is Access.API:
        errors |= {408, 413, 415}
    if "{" in e.path:
        errors.add(404)
    return errors


def _content(answer: type[BaseModel] | str) -> dict[str, Any]:
    if isinstance(answer, str):
        return {answer: {"schema": {"type": "string"} if answer != "application/json" else {"type": "object"}}}
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{answer.__name__}"}}}
