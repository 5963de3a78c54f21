"""Whatever a random model writes under a schema parses and validates."""

import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.constraints.compiler import ConstraintCompiler
from backends.errors import ConstraintError
from backends.wire.request import ConstraintKind
from tests.backends.constraints.conftest import Compile, Sampler, compiled, matches

NUM_SCHEMAS = 220
MAX_TOKENS = 400
DRAFT_07 = "http://json-schema.org/draft-07/schema#"
BIAS = {'"}]': 7, ",:": 2, "0123456789": 3, "{[": -3, " \n\t": 0, "e": 1}
NAMES = st.sampled_from(["a", "b", "long name", 'q"uote', "ü", "a\\b"])
BOUNDS = st.integers(-1000, 1000)

json_values = st.recursive(
    st.none() | st.booleans() | BOUNDS | st.floats(-1e6, 1e6).map(lambda x: round(x, 3)) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=4,
)


def ranges(low: str, high: str, values: st.SearchStrategy[int]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(values, values).flatmap(
        lambda pair: st.sampled_from([{}, {low: min(pair)}, {high: max(pair)}, {low: min(pair), high: max(pair)}])
    )


strings = st.one_of(
    ranges("minLength", "maxLength", st.integers(0, 8)),
    st.sampled_from(["^[a-c]{2,4}$", "x", "^a|b$", r"^\d+$", "[^a-z]", r"^\S+$", "é?", "^$"]).map(
        lambda pattern: {"pattern": pattern}
    ),
    st.sampled_from(["date", "date-time", "time", "uuid", "ipv4", "email"]).map(lambda name: {"format": name}),
).map(lambda rest: {"type": "string", **rest})
numbers = st.one_of(
    ranges("minimum", "maximum", BOUNDS),
    ranges("exclusiveMinimum", "exclusiveMaximum", BOUNDS).filter(
        lambda bounds: bounds.get("exclusiveMaximum", 2000) - bounds.get("exclusiveMinimum", -2000) > 1
    ),
    st.integers(1, 20).map(lambda value: {"multipleOf": value}),
).flatmap(lambda rest: st.sampled_from(["integer", "number"]).map(lambda name: {"type": name, **rest}))
leaves = st.one_of(
    strings,
    numbers,
    st.sampled_from([{"type": "null"}, {"type": "boolean"}, {"type": ["integer", "null"]}, {}, True]),
    json_values.map(lambda value: {"const": value}),
    st.lists(json_values, min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.just({"$ref": "#/$defs/node"}),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    def shaped(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(st.dictionaries(NAMES, inner, max_size=3))
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if properties:
            schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        schema["additionalProperties"] = draw(st.one_of(st.just(False), st.just(False), inner))
        return schema

    return st.composite(shaped)()


def arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    plain = st.tuples(inner, ranges("minItems", "maxItems", st.integers(0, 3))).map(
        lambda pair: {"type": "array", "items": pair[0], **pair[1]}
    )
    tuples = st.lists(inner, min_size=1, max_size=3).map(
        lambda items: {"type": "array", "prefixItems": items, "items": False, "minItems": len(items)}
    )
    return plain | tuples


schemas = st.recursive(
    leaves,
    lambda inner: st.one_of(
        objects(inner), arrays(inner), st.lists(inner, min_size=1, max_size=3).map(lambda found: {"anyOf": found})
    ),
    max_leaves=6,
)
NODE = {
    "type": "object",
    "properties": {"value": {"type": "integer"}, "next": {"$ref": "#/$defs/node"}},
    "required": ["value"],
    "additionalProperties": False,
}


def validated(schema: Any, answer: bytes) -> Any:
    value = json.loads(answer.decode())
    jsonschema.Draft202012Validator(schema).validate(value)
    return value


@pytest.mark.slow
def test_every_finished_answer_validates(compiler: ConstraintCompiler) -> None:
    num_finished = num_refused = num_run = 0

    @given(schema=schemas, seed=st.integers(0, 2**32 - 1))
    @settings(max_examples=NUM_SCHEMAS, deadline=None, suppress_health_check=list(HealthCheck), database=None)
    def run(schema: Any, seed: int) -> None:
        nonlocal num_finished, num_refused, num_run
        num_run += 1
        schema = schema if isinstance(schema, dict) else {}
        schema = {**schema, "$defs": {"node": NODE}}
        try:
            matcher = compiled(compiler, ConstraintKind.JSON_SCHEMA, schema)
        except ConstraintError:
            num_refused += 1
            return
        answer = Sampler(seed, BIAS).answer(matcher, max_tokens=MAX_TOKENS)
        if answer is not None:
            num_finished += 1
            validated(schema, answer)

    run()
    assert num_run >= 200
    assert num_refused < num_run * 0.15
    assert num_finished > num_run * 0.6


@pytest.mark.parametrize(
    "keyword",
    [
        {"not": {"type": "null"}},
        {"if": {"type": "string"}, "then": {"minLength": 1}},
        {"then": {"minLength": 1}},
        {"dependentRequired": {"a": ["b"]}},
        {"dependentSchemas": {"a": {"required": ["b"]}}},
        {"dependencies": {"a": ["b"]}},
        {"type": "array", "contains": {"type": "null"}},
        {"type": "array", "minContains": 1},
        {"type": "array", "uniqueItems": True},
        {"propertyNames": {"maxLength": 3}},
        {"unevaluatedProperties": False},
        {"unevaluatedItems": False},
        {"$dynamicRef": "#node"},
        {"$recursiveRef": "#"},
        {"x-guidance": {"lenient": True}},
        {"type": "object", "minProperties": 2},
        {"type": "string", "pattern": "(?=a)a"},
        {"type": "string", "pattern": "(?<!a)b"},
        {"oneOf": [{"type": "integer"}, {"minimum": 2}]},
        {"type": "array", "items": [{"type": "null"}]},
        {"type": "integer", "minimum": 1, "exclusiveMinimum": True},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "other.json#/a"},
        {"$ref": "#/$defs/none"},
        {"$ref": "#"},
        {"properties": {"a": {"$id": "https://example.com/a"}}},
    ],
    ids=lambda schema: list(schema)[-1],
)
@pytest.mark.parametrize("draft", [None, DRAFT_07])
def test_what_cannot_be_kept_is_refused(compile_: Compile, keyword: dict[str, Any], draft: str | None) -> None:
    """The same under an old draft, whose readers would ignore some of them."""
    schema = {"type": "object", "properties": {"a": keyword}, "required": ["a"]}
    if draft is not None:
        schema["$schema"] = draft
        if isinstance(keyword.get("items"), list):
            return  # that is what tuples look like there
    if keyword == {"$ref": "#"}:
        schema = keyword
    with pytest.raises(ConstraintError) as caught:
        compile_(ConstraintKind.JSON_SCHEMA, schema)
    assert caught.value.param == "response_format"
    assert str(caught.value).startswith("response_format")


@pytest.mark.parametrize(
    ("schema", "answers", "others"),
    [
        ({"type": "array", "uniqueItems": False}, ["[1, 1]"], ["{}"]),
        (
            {
                "oneOf": [{"$ref": "#/$defs/cat"}, {"$ref": "#/$defs/dog"}],
                "$defs": {
                    "cat": {"type": "object", "properties": {"kind": {"const": "cat"}}, "required": ["kind"]},
                    "dog": {"type": "object", "properties": {"kind": {"enum": ["dog", "wolf"]}}, "required": ["kind"]},
                },
            },
            ['{"kind": "cat"}', '{"kind":"wolf"}'],
            ['{"kind": "cow"}', "{}"],
        ),
        (
            {"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}},
            ["[]", "[[], [[]]]"],
            ["[1]", "{}"],
        ),
        (
            {"type": "array", "items": [{"type": "null"}], "additionalItems": False, "$schema": DRAFT_07},
            ["[null]", "[]"],
            ["[null, 1]"],
        ),
        ({"type": "object", "minProperties": 1}, ['{"a": 1}'], ["{}"]),
        ({"type": "object", "required": ["a"], "minProperties": 2}, ['{"a": 1, "b": 2}'], ['{"a": 1}']),
        ({"patternProperties": {"^x": {"type": "null"}}, "type": "object"}, ['{"x1": null}'], ['{"x1": 1}']),
        ({"type": "integer"}, ["-12", "999999999999999999"], ["1" * 20, "1.5", "1e3"]),
        ({"type": "number"}, ["6.02e23", "-0.5"], ["01", "1.", ".5", "NaN"]),
        ({"allOf": [{"type": "string", "minLength": 2}, {"pattern": "^a"}]}, ['"ab"'], ['"a"', '"bb"']),
        ({"type": "string", "minLength": 2, "maxLength": 2}, ['"é🙂"', '"\\n\\n"'], ['"é"', '"abc"']),
        (True, ["1", "[]"], [""]),
    ],
)
def test_what_can_be_kept_is_kept(
    compile_: Compile, schema: dict[str, Any], answers: list[str], others: list[str]
) -> None:
    matcher = compile_(ConstraintKind.JSON_SCHEMA, json.dumps(schema))
    assert [answer for answer in answers if not matches(matcher, answer)] == []
    assert [other for other in others if matches(matcher, other)] == []


def test_blanks_are_bounded(compile_: Compile) -> None:
    matcher = compile_(ConstraintKind.JSON_OBJECT)
    assert matches(matcher, '{\n  "a": [\n\t\t1,\r\n 2\n]\n}')
    assert not matches(matcher, '{"a":  1}')
    assert not matches(matcher, "{\n\n}")
    assert not matches(matcher, "{\n" + " " * 33 + "}")
    assert not matches(matcher, " {}")
    assert not matches(matcher, "{} ")
