"""The two APIs, as their endpoints name them, and errors as clients of System One read them; OpenAI's are OpenAI's.

Source: llama.cpp, tools/server, which answers an invalid request with 422 and OpenAI's error object; TypeSafe's API, by
its clients, which lists what is wrong with a field as FastAPI does: `detail: [{loc, msg, type}]`.
"""

import re
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from router.http.dialect import Dialect, OpenAIErrorObject, ShownError, openai_error
from router.protocols.decisions.schemas import ITEM_TYPES, QUESTION_TYPES
from router.protocols.endpoint import Api

_PLACE: Final = re.compile(r"[^.\[\]]+")


class FieldProblem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is wrong with a field; `loc` is its path, which begins with `body`."""

    loc: list[str | int]
    msg: str
    type: str


class SystemOneError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error as clients of System One read it; `detail` where a field is at fault."""

    error: OpenAIErrorObject
    detail: list[FieldProblem] | UnsetType = UNSET


def systemone_error(shown: ShownError) -> SystemOneError:
    """Return an error's body."""
    error = openai_error(shown).error
    param: Any = error.param
    if param is None:
        return SystemOneError(error)
    places = [int(each) if each.isdigit() else each for each in _PLACE.findall(param)]
    return SystemOneError(error, [FieldProblem(["body", *places], error.message, error.code or error.type)])


SYSTEMONE_ERRORS: Final = Dialect("systemone", SystemOneError, systemone_error, statuses=((400, 422),))

SYSTEMONE_API: Final = Api(
    "systemone",
    "Decisions in the shape of System One, as decision models are asked.",
    dialect=SYSTEMONE_ERRORS,
    prefixes=("/v1/systemone",),
    read_by_type=tuple(QUESTION_TYPES.values()),
)

DECISIONS_API: Final = Api("decisions", "OpenAI's Decisions API.", read_by_type=tuple(ITEM_TYPES.values()))
