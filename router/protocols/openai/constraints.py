"""What a request wants its answer to match: at most one of response_format, grammar and regex. Pure.

Whether it compiles is seen in the worker, which answers `invalid_grammar`.
"""

import msgspec

from backends.wire.request import Constraint, ConstraintKind
from router.errors import InvalidRequestError
from router.protocols.fields.constraints import checked_constraint
from router.protocols.openai.schemas import ChatRequest, CompletionRequest, JsonObjectFormat, JsonSchemaFormat


def request_constraint(request: ChatRequest | CompletionRequest) -> Constraint | None:
    """Return the constraint of a request.

    Raises:
        InvalidRequestError: There are several, or one is too long.
    """
    found = [constraint for constraint in (_format(request), *_texts(request)) if constraint is not None]
    if not found:
        return None
    first = found[0]
    if len(found) > 1:
        names = " and ".join(constraint.param for constraint in found)
        raise InvalidRequestError(f"{names} constrain the same answer; send one of them", found[1].param)
    return checked_constraint(first)


def _format(request: ChatRequest | CompletionRequest) -> Constraint | None:
    wanted = request.response_format
    if isinstance(wanted, JsonObjectFormat):
        return Constraint(ConstraintKind.JSON_OBJECT, "", "response_format")
    if isinstance(wanted, JsonSchemaFormat):
        schema = msgspec.json.encode(wanted.json_schema.schema).decode()
        return Constraint(ConstraintKind.JSON_SCHEMA, schema, "response_format")
    return None


def _texts(request: ChatRequest | CompletionRequest) -> tuple[Constraint | None, Constraint | None]:
    grammar = None if request.grammar is None else Constraint(ConstraintKind.GBNF, request.grammar, "grammar")
    regex = None if request.regex is None else Constraint(ConstraintKind.REGEX, request.regex, "regex")
    return grammar, regex
