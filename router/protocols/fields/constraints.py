"""How long what an answer must match may be, in every protocol. Pure.

Whether it compiles is seen in the worker, which answers `invalid_grammar`.
"""

from typing import Final

from backends.wire.request import Constraint
from router.errors import InvalidRequestError

MAX_CONSTRAINT_BYTES: Final = 65_536
"""Longest schema, grammar or expression, UTF-8."""


def checked_constraint(constraint: Constraint) -> Constraint:
    """Return a constraint that is not too long.

    Raises:
        InvalidRequestError: It is.
    """
    num_bytes = len(constraint.text.encode())
    if num_bytes > MAX_CONSTRAINT_BYTES:
        param = constraint.param
        raise InvalidRequestError(f"{param}: at most {MAX_CONSTRAINT_BYTES} bytes, got {num_bytes}", param)
    return constraint
