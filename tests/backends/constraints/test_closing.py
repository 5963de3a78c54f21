"""Objects get no properties that their schema does not list, unless it asks for them."""

from typing import Any

import pytest

from backends.constraints.schema import prepared_schema

TEXT = {"type": "string"}
OBJECT = {"type": "object", "properties": {"a": TEXT}}


def prepared(schema: dict[str, Any]) -> dict[str, Any]:
    result = prepared_schema(schema, param="response_format")
    assert isinstance(result, dict)
    return result


@pytest.mark.parametrize(
    "keywords", [{}, {"required": ["a"]}, {"minProperties": 1}, {"title": "t", "description": "d"}]
)
def test_an_object_that_lists_its_properties_is_closed(keywords: dict[str, Any]) -> None:
    assert prepared(OBJECT | keywords)["additionalProperties"] is False


def test_objects_inside_are_closed_too() -> None:
    inner = prepared({"type": "object", "properties": {"list": {"type": "array", "items": OBJECT}}})
    assert inner["properties"]["list"]["items"]["additionalProperties"] is False
    assert prepared({"anyOf": [OBJECT, TEXT]})["anyOf"][0]["additionalProperties"] is False


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "properties": {}},
        OBJECT | {"additionalProperties": True},
        OBJECT | {"additionalProperties": TEXT},
        OBJECT | {"patternProperties": {"^x": TEXT}},
        OBJECT | {"required": ["a", "b"]},
        {"allOf": [OBJECT, {"type": "object", "properties": {"b": TEXT}}]},
        OBJECT | {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
    ],
)
def test_what_may_need_more_properties_stays_open(schema: dict[str, Any]) -> None:
    result = prepared(schema)
    assert result.get("additionalProperties") is not False
    assert all(part.get("additionalProperties") is not False for part in result.get("allOf", []))


@pytest.mark.parametrize(
    "name", ["binary", "byte", "password", "uri-reference", "regex", "decimal", "json-pointer", "idn-email", "phone"]
)
def test_a_format_that_nothing_enforces_is_an_annotation(name: str) -> None:
    assert "format" not in prepared({"type": "string", "format": name})
    assert prepared({"type": "string", "format": "date"})["format"] == "date"


@pytest.mark.parametrize("names", [True, {}, {"type": "string"}])
def test_names_that_every_object_has_are_no_constraint(names: Any) -> None:
    result = prepared({"type": "object", "propertyNames": names, "additionalProperties": TEXT})
    assert "propertyNames" not in result
