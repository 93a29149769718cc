from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from claude_syncd.control.messages import RunRequest
from claude_syncd.control.openapi import document
from claude_syncd.control.routes import ROUTES

KEPT = Path(__file__).parents[3] / "docs" / "openapi.json"


def described() -> Any:
    return json.loads(document(ROUTES))


def test_the_document_in_docs_is_the_one_that_is_served() -> None:
    write = "from claude_syncd.control.routes import *; print(document(ROUTES).decode(), end=str())"
    assert KEPT.read_bytes() == document(ROUTES), f"write it anew: python -c '{write}' > docs/openapi.json"


def test_every_route_is_described_and_nothing_else() -> None:
    described_routes = {
        (path, method.upper(), operation["operationId"])
        for path, methods in described()["paths"].items()
        for method, operation in methods.items()
    }
    assert described_routes == {(route.path, route.method, route.name) for route in ROUTES}
    assert len({route.name for route in ROUTES}) == len(ROUTES)


def test_every_operation_says_what_goes_in_and_what_comes_out() -> None:
    for path, methods in described()["paths"].items():
        for operation in methods.values():
            assert operation["summary"]
            named = {parameter["name"] for parameter in operation.get("parameters", [])}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert set(operation["responses"]) & {"200", "204"}
            failure = operation["responses"]["default"]["content"]["application/json"]["schema"]
            assert failure == {"$ref": "#/components/schemas/ErrorBody"}


def test_every_reference_leads_somewhere() -> None:
    text = document(ROUTES).decode()
    schemas = set(described()["components"]["schemas"])
    assert set(re.findall(r'"#/components/schemas/(\w+)"', text)) <= schemas


def test_a_request_has_the_fields_of_its_struct() -> None:
    schema = described()["components"]["schemas"]["RunRequest"]
    assert list(schema["properties"]) == list(RunRequest.__struct_fields__)
    assert schema["additionalProperties"] is False
