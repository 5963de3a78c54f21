"""What the answer to a chat or text completion must match: llama-server's, OpenAI's and vLLM's ways to say it. Pure."""

from typing import Any

import msgspec

from backends.wire.request import Constraint, ConstraintKind
from router.errors import InvalidRequestError, MissingFieldError
from router.protocols.fields.constraints import checked_constraint, object_constraint, schema_constraint
from router.protocols.openai.schemas import (
    ChatRequest,
    CompletionRequest,
    JsonObjectFormat,
    JsonSchemaFormat,
    StructuredOutputs,
    TextFormat,
)


def constraint_of(request: ChatRequest | CompletionRequest) -> Constraint | None:
    """Return what the answer must match: at most one of the fields that say so."""
    found = {
        name: constraint
        for name, constraint in (
            ("response_format", _format_constraint(request.response_format)),
            ("json_schema", _plain_schema(request.json_schema)),
            ("grammar", _text_constraint(ConstraintKind.GBNF, request.grammar, "grammar")),
            ("regex", _text_constraint(ConstraintKind.REGEX, request.regex, "regex")),
            ("structured_outputs", _structured(request.structured_outputs)),
        )
        if constraint is not None
    }
    if len(found) > 1:
        names = list(found)
        raise InvalidRequestError(f"{' and '.join(names)} constrain the same answer; send one of them", names[1])
    return next(iter(found.values()), None)


def _format_constraint(wanted: TextFormat | JsonObjectFormat | JsonSchemaFormat | None) -> Constraint | None:
    if wanted is None or isinstance(wanted, TextFormat):
        return None
    schema = wanted.schema
    if isinstance(wanted, JsonSchemaFormat):
        if wanted.json_schema is not None:
            schema = wanted.json_schema.schema
        if schema is None:
            param = "response_format.json_schema"
            raise MissingFieldError(f"The field '{param}' is required.", param)
    return object_constraint("response_format") if schema is None else schema_constraint(schema, "response_format")


def _plain_schema(schema: dict[str, Any] | None) -> Constraint | None:
    return None if schema is None else schema_constraint(schema, "json_schema")


def _text_constraint(kind: ConstraintKind, text: str | None, param: str) -> Constraint | None:
    return checked_constraint(kind, text, param) if text else None


def _structured(wanted: StructuredOutputs | None) -> Constraint | None:
    """Return what vLLM's object asks for."""
    param = "structured_outputs"
    if wanted is None:
        return None
    found = {
        "json": wanted.json,
        "regex": wanted.regex,
        "choice": wanted.choice,
        "grammar": wanted.grammar,
        "json_object": wanted.json_object or None,
    }
    names = [name for name, value in found.items() if value is not None]
    if len(names) != 1:
        problem = f"{param}: send just one of {', '.join(found)}" + (f", got {' and '.join(names)}" if names else "")
        raise InvalidRequestError(problem, param)
    (name,) = names
    match name:
        case "json":
            return schema_constraint(_schema(wanted.json, f"{param}.json"), f"{param}.json")
        case "choice":
            return checked_constraint(ConstraintKind.GBNF, _any_of(wanted.choice or []), f"{param}.choice")
        case "json_object":
            return object_constraint(f"{param}.json_object")
    kind = ConstraintKind.GBNF if name == "grammar" else ConstraintKind.REGEX
    return _text_constraint(kind, wanted.grammar or wanted.regex, f"{param}.{name}")


def _schema(schema: dict[str, Any] | str | None, param: str) -> dict[str, Any]:
    if isinstance(schema, dict):
        return schema
    try:
        return msgspec.json.decode(schema or "", type=dict[str, Any])
    except msgspec.MsgspecError as exc:
        raise InvalidRequestError(f"{param}: no JSON schema: {exc}", param) from exc


def _any_of(texts: list[str]) -> str:
    """Return the grammar of one text of several."""
    literals = (text.replace("\\", "\\\\").replace('"', '\\"') for text in texts)
    return "root ::= " + " | ".join(f'"{literal}"' for literal in literals)
