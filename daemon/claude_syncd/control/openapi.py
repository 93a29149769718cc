"""The description of the control API as an OpenAPI document, made from the table of routes."""

from __future__ import annotations

import re
from functools import cache

import msgspec

from claude_syncd.control.messages import ErrorBody
from claude_syncd.control.route import EVENT_STREAM, Route
from claude_syncd.core.status import Progress, Status

_JSON = "application/json"
_REFERENCE = "#/components/schemas/{name}"

Schema = dict[str, object]


@cache
def document(routes: tuple[Route, ...]) -> bytes:
    """The OpenAPI 3.1 document of `routes` as JSON, indented, the same on every call; it is docs/openapi.json."""
    bodies = [route.body for route in routes if route.body]
    answers = [answer for route in routes for answer in route.answers]
    types: list[type[msgspec.Struct]] = list(dict.fromkeys([*bodies, *answers, Progress, Status, ErrorBody]))
    references, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schemas: dict[type[msgspec.Struct], Schema] = dict(zip(types, references, strict=True))
    paths: dict[str, Schema] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    described = {
        "openapi": "3.1.0",
        "info": {
            "title": "claude-syncd control API",
            "version": "1",
            "description": "HTTP/1.1 and JSON over the Unix socket control.sock in the state folder, for its owner",
        },
        "servers": [{"url": "http://localhost"}],
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items()))},
    }
    return msgspec.json.format(msgspec.json.encode(described), indent=2) + b"\n"


def _operation(route: Route, schemas: dict[type[msgspec.Struct], Schema]) -> Schema:
    operation: Schema = {"operationId": route.name, "summary": route.summary}
    if names := re.findall(r"{(\w+)}", route.path):
        operation["parameters"] = [
            {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
        ]
    if route.body:
        operation["requestBody"] = {"required": False, "content": {_JSON: {"schema": schemas[route.body]}}}
    operation["responses"] = {
        **_success(route, schemas),
        "default": {
            "description": "It failed: why, and what to do now",
            "content": {_JSON: {"schema": schemas[ErrorBody]}},
        },
    }
    return operation


def _success(route: Route, schemas: dict[type[msgspec.Struct], Schema]) -> Schema:
    content: Schema = {}
    if route.answers:
        found = [schemas[answer] for answer in route.answers]
        content[_JSON] = {"schema": found[0] if len(found) == 1 else {"oneOf": found}}
    elif route.media:
        content[route.media] = {"schema": {"type": "object" if route.media == _JSON else "string"}}
    if route.events:
        content[EVENT_STREAM] = {
            "schema": {"type": "string", "description": f"server-sent events: {', '.join(route.events)}"}
        }
    if not content:
        return {"204": {"description": "Done"}}
    return {"200": {"description": "Done", "content": content}}
