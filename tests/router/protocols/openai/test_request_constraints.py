from typing import Any

import msgspec
import pytest

from backends.wire.request import Constraint, ConstraintKind
from router.errors import InvalidRequestError
from tests.router.protocols.openai.test_request import chat, complete
from tests.router.protocols.openai.test_request_tools import tool

JSON_OBJECT = {"type": "json_object"}
SCHEMA = {"type": "object", "properties": {"ä": {"type": "integer"}}}


NO_SCHEMA = {"type": "json_schema", "json_schema": {"name": "n"}}


def json_schema(schema: Any, **fields: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, **fields}}


def test_each_form_becomes_its_constraint_in_both_endpoints() -> None:
    cases: list[tuple[dict[str, Any], Constraint | None]] = [
        ({}, None),
        ({"response_format": {"type": "text"}}, None),
        ({"grammar": ""}, None),  # as llama-server's clients send it where they want none
        ({"response_format": JSON_OBJECT}, Constraint(ConstraintKind.JSON_OBJECT, "", "response_format")),
        ({"grammar": "root ::= 'a'"}, Constraint(ConstraintKind.GBNF, "root ::= 'a'", "grammar")),
        ({"regex": "a+"}, Constraint(ConstraintKind.REGEX, "a+", "regex")),
    ]
    for body, constraint in cases:
        assert chat(**body).spec.constraint == complete(**body).spec.constraint == constraint


def test_a_schema_travels_as_json_whatever_strict_says() -> None:
    for strict in (True, False, None):
        constraint = chat(response_format=json_schema(SCHEMA, strict=strict, description="d")).spec.constraint
        assert constraint is not None
        assert (constraint.kind, constraint.param) == (ConstraintKind.JSON_SCHEMA, "response_format")
        assert msgspec.json.decode(constraint.text) == SCHEMA


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": "json_object"}, "response_format"),
        ({"response_format": {"type": "json_object", "schema": []}}, "response_format.schema"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}},
            "response_format.json_schema.schema",
        ),
        ({"response_format": json_schema([])}, "response_format.json_schema.schema"),
        ({"response_format": json_schema({}, name=5)}, "response_format.json_schema.name"),
        ({"response_format": json_schema({}, strict=1)}, "response_format.json_schema.strict"),
        ({"response_format": json_schema({"title": "x" * 65_536})}, "response_format"),
        ({"grammar": "x" * 65_537}, "grammar"),
        ({"grammar": "é" * 40_000}, "grammar"),
        ({"grammar": {}}, "grammar"),
        ({"regex": ""}, "regex"),
        ({"regex": "x" * 65_537}, "regex"),
        ({"regex": "a", "grammar": "root ::= 'a'"}, "regex"),
        ({"regex": "a", "response_format": JSON_OBJECT}, "regex"),
        ({"grammar": "root ::= 'a'", "response_format": JSON_OBJECT}, "grammar"),
    ],
)
def test_what_is_not_one_constraint_is_refused_by_name(body: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        chat(**body)
    assert caught.value.param == param
    assert param in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_constraint_may_stand_beside_tools() -> None:
    for body in ({"regex": "a"}, {"grammar": "root ::= 'a'"}, {"response_format": JSON_OBJECT}):
        request = chat(tools=[tool()], **body)
        assert request.spec.constraint is not None
        assert request.spec.output is not None
        assert request.spec.output.tools is not None
