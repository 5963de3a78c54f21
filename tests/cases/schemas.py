"""JSON schemas as generators write them: of answers (c08) and of tools (c09), on both engines."""

import functools
import json
from typing import Any, Final

import jsonschema  # type: ignore[import-untyped]

from tests.cases.case import CHAT, COMPLETIONS, FAKE, LLAMACPP, OLLAMA_CHAT, REAL, Body, Case, Reply, Server, ask

_ENGINES: Final = (*FAKE, *LLAMACPP)
"""A compiler of constraints serves all engines; the vocabulary is the library's or the fake's."""


def _object(**properties: Any) -> Body:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


_NODE: Final[Body] = {
    "type": "object",
    "properties": {"v": {"type": "integer"}, "next": {"anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}]}},
    "required": ["v", "next"],
}
_ANSWERS: Final[dict[str, Body]] = {
    # ggml-org/llama.cpp#24097, #11988, #7149
    "$ref into $defs": {"$defs": {"A": _object(x={"type": "integer"})}, **_object(a={"$ref": "#/$defs/A"})},
    "$ref into definitions": {
        "definitions": {"A": _object(x={"type": "integer"})},
        **_object(a={"$ref": "#/definitions/A"}),
    },
    "a recursive $ref": {"$defs": {"N": _NODE}, "$ref": "#/$defs/N"},
    "a $ref to the root": {"type": "object", "properties": {"child": {"$ref": "#"}}},
    "anyOf with null": _object(a={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None, "title": "A"}),
    "a list of types": _object(a={"type": ["string", "null"]}),
    "nullable": _object(a={"type": "string", "nullable": True}),
    "enum": _object(a={"enum": ["x", "y", None, 1]}),
    "const": _object(a={"const": "x"}),
    "allOf": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "string"}}},
            {"type": "object", "properties": {"b": {"type": "string"}}},
        ]
    },
    "oneOf": _object(a={"oneOf": [_object(k={"const": "x"}), _object(k={"const": "y"})]}),
    "pattern": _object(a={"type": "string", "pattern": "^\\d{4}-\\d{2}-\\d{2}$"}),
    "bounds of a string": _object(a={"type": "string", "minLength": 2, "maxLength": 5}),
    "bounds of an integer": _object(a={"type": "integer", "minimum": 0, "maximum": 100}),
    "bounds of a number": _object(a={"type": "number", "minimum": 0, "maximum": 1}),
    "bounds of a list": _object(a={"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 3}),
    "prefixItems": _object(
        a={"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "items": False}
    ),
    "keys of other scripts": _object(名前={"type": "string"}, é={"type": "integer"}),
    "a key with a quote": _object(**{'a"b\n': {"type": "string"}}),
    "600 values": _object(a={"enum": [f"value_{number}" for number in range(600)]}),
    "30 levels": functools.reduce(lambda inner, _: _object(a=inner), range(30), {"type": "string"}),
    "annotations": {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "T",
        "$comment": "c",
        **_object(a={"type": "string", "examples": ["x"], "default": "y", "deprecated": True, "readOnly": True}),
    },
    "a list at the root": {"type": "array", "items": {"type": "string"}},
    "nothing": {},
}
_FORMATS: Final = ("binary", "byte", "password", "uri-reference", "regex", "decimal", "json-pointer")
_HELD_FORMATS: Final = ("date", "date-time", "time", "email", "uuid", "uri", "ipv4", "hostname")

_TOOLS: Final[dict[str, Body]] = {
    # Piebald-AI/splitrail#113, 1jehuang/jcode#446
    "uint32": {"type": "object", "properties": {"n": {"type": "integer", "format": "uint32", "minimum": 0}}},
    "int32": {"type": "object", "properties": {"n": {"type": "integer", "format": "int32"}}},
    "double": {"type": "object", "properties": {"n": {"type": "number", "format": "double"}}},
    "uniqueItems": {
        "type": "object",
        "properties": {"n": {"type": "array", "items": {"type": "string"}, "uniqueItems": True}},
    },
    "not": {"type": "object", "properties": {"n": {"not": {}}}},
    "if and then": {
        "type": "object",
        "properties": {"n": {"type": "string"}},
        "if": {"properties": {"n": {"const": "x"}}},
        "then": {"required": ["n"]},
    },
    "draft 4": {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "exclusiveMinimum": True}}},
    "draft 3": {"type": "object", "properties": {"n": {"type": "string", "required": True}}},
    "$ref": {"$defs": {"N": {"type": "integer"}}, "type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}},
    "a lookahead": {"type": "object", "properties": {"n": {"type": "string", "pattern": "^(?!-).*$"}}},
}


def _format(schema: Body, **fields: Any) -> Body:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, **fields}}}


def _holds(schema: Body, content: str = "choices.0.message.content") -> Any:
    def check(reply: Reply) -> None:
        assert reply.at("choices.0.finish_reason") == "stop", reply.text
        jsonschema.validate(json.loads(reply.at(content)), schema)

    return check


def _run(row: str, name: str, schema: Body, body: Body, **rest: Any) -> Case:
    """Return the case of an answer that is run to its end and held to the schema."""
    return ask(row, name, CHAT, {"max_tokens": 400, **body}, check=_holds(schema), **rest)


def _tool(parameters: Body, **fields: Any) -> Body:
    return {"tools": [{"type": "function", "function": {"name": "t", "parameters": parameters, **fields}}]}


_SHORT: Final[Body] = _object(a={"type": "integer", "minimum": 0, "maximum": 9})
_URI_REFERENCE: Final[Body] = _object(n={"type": "string", "format": "uri-reference"})


def _call(server: Server) -> None:
    """Force a call whose schema has Zod's record and an annotation; its arguments hold."""
    parameters = _object(m={"type": "object", "propertyNames": {"type": "string"}}, n=_URI_REFERENCE)
    reply = server.ask(CHAT, {**_tool(parameters), "tool_choice": "required"})
    assert reply.status == 200, reply.text


CASES: Final[list[Case]] = [
    *(
        ask("held", f"a schema with {name}", CHAT, {**_format(schema), "max_tokens": 1}, engines=_ENGINES)
        for name, schema in _ANSWERS.items()
    ),
    *(
        ask("held", f"the format {name}", CHAT, _format(_object(a={"type": "string", "format": name})))
        for name in _HELD_FORMATS
    ),
    # 1jehuang/jcode#543: an annotation (JSON Schema 2020-12, 7.2.1)
    *(
        ask("F11", f"the format {name}", CHAT, _format(_object(a={"type": "string", "format": name})), engines=_ENGINES)
        for name in _FORMATS
    ),
    ask(
        "F11",
        "propertyNames of strings",
        CHAT,
        _format({"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {"type": "integer"}}),
        engines=_ENGINES,
    ),
    Case(row="F11", name="a forced call with annotations", run=_call, engines=REAL),
    *(
        ask("held", f"a tool with {name}, {kind}", CHAT, _tool(parameters, **fields), engines=FAKE)
        for name, parameters in _TOOLS.items()
        for kind, fields in {"auto": {}, "strict": {"strict": True}}.items()
    ),
    ask(
        "held",
        "what no grammar holds is refused by name",
        CHAT,
        {**_tool(_TOOLS["if and then"]), "tool_choice": "required"},
        status=400,
        says=("tools",),
    ),
    # abetlen/llama-cpp-python#1122 and #1677, ggml-org/llama.cpp#28697, #10732: llama-server's forms
    _run("held", "a schema", _SHORT, _format(_SHORT), engines=REAL),
    _run(
        "M6",
        "a schema beside json_object",
        _SHORT,
        {"response_format": {"type": "json_object", "schema": _SHORT}},
        engines=REAL,
    ),
    _run(
        "M6", "a flat json_schema", _SHORT, {"response_format": {"type": "json_schema", "schema": _SHORT}}, engines=REAL
    ),
    _run(
        "M6",
        "a schema without a name",
        _SHORT,
        {"response_format": {"type": "json_schema", "json_schema": {"schema": _SHORT}}},
        engines=REAL,
    ),
    _run("M6", "a name with a blank", _SHORT, _format(_SHORT, name="calendar event"), engines=REAL),
    _run("M6", "json_schema as a field", _SHORT, {"json_schema": _SHORT}, engines=REAL),
    ask(
        "M6",
        "json_schema as a field",
        COMPLETIONS,
        {"json_schema": _SHORT, "max_tokens": 60},
        check=_holds(_SHORT, "choices.0.text"),
    ),
    ask(
        "held",
        "a format by schema",
        OLLAMA_CHAT,
        {"format": _SHORT, "options": {"num_predict": 200}},
        engines=REAL,
        check=lambda reply: jsonschema.validate(json.loads(reply.at("message.content")), _SHORT),
    ),
]
