"""How long what an answer must match may be, in every protocol. Pure.

Whether it compiles is seen in the worker, which answers `invalid_grammar`.
"""

from typing import Any, Final

import msgspec

from backends.wire.request import Constraint, ConstraintKind
from router.errors import InvalidRequestError

MAX_CONSTRAINT_BYTES: Final = 65_536
"""Longest schema, grammar or expression, UTF-8."""


def checked_constraint(kind: ConstraintKind, text: str, param: str) -> Constraint:
    """Return a constraint that is not too long."""
    num_bytes = len(text.encode())
    if num_bytes > MAX_CONSTRAINT_BYTES:
        raise InvalidRequestError(f"{param}: at most {MAX_CONSTRAINT_BYTES} bytes, got {num_bytes}", param)
    return Constraint(kind, text, param)


def schema_constraint(schema: dict[str, Any], param: str) -> Constraint:
    """Return the constraint that a JSON schema is; errors as in `checked_constraint`."""
    return checked_constraint(ConstraintKind.JSON_SCHEMA, msgspec.json.encode(schema).decode(), param)


def object_constraint(param: str) -> Constraint:
    """Return the constraint that any JSON object fulfils."""
    return Constraint(ConstraintKind.JSON_OBJECT, "", param)
