"""The published interface: docs/openapi.json is valid, current, and what the routes do."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from api import app, openapi

PATH = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(openapi.text())


def test_the_committed_document_is_current() -> None:
    assert PATH.read_text() == openapi.text(), "run: python -m api.openapi > docs/openapi.json"


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.1"
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_in_it(document: dict[str, Any]) -> None:
    made = app.bare()
    undocumented = {"docs.openapi", "docs.page", "docs.script"}
    routes = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in made.url_map.iter_rules()
        if rule.endpoint not in undocumented
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    documented = {(path, method) for path, item in document["paths"].items() for method in item}

    assert routes == documented


def test_every_error_is_a_problem(document: dict[str, Any]) -> None:
    for item in document["paths"].values():
        for operation in item.values():
            for status, response in operation["responses"].items():
                if status >= "400":
                    assert list(response["content"]) == ["application/problem+json"]


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def references(value: Any) -> list[str]:
        if isinstance(value, dict):
            own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
            return own + [found for part in value.values() for found in references(part)]
        return [found for part in value for found in references(part)] if isinstance(value, list) else []

    assert {name.removeprefix("#/components/schemas/") for name in references(document)} <= set(schemas)


def test_a_submitted_job_is_told_apart_by_its_kind(document: dict[str, Any]) -> None:
    spec = document["components"]["schemas"]["JobSpec"]

    assert spec["discriminator"]["propertyName"] == "kind"
    assert set(spec["discriminator"]["mapping"]) == {"train", "evaluate", "predict"}
    for name in ("TrainSpec", "EvaluateSpec", "PredictSpec"):
        assert "kind" in document["components"]["schemas"][name]["required"]


def test_operations_have_names_of_their_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]

    assert len(names) == len(set(names))
