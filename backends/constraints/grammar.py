"""What can constrain an answer, and the caps that a request's constraint must keep before anything compiles it.

Pure: no llguidance in here, so the gateway may check a request's caps as well.
"""

import enum
import re
from collections.abc import Iterator

import msgspec

from backends.constraints.limits import MAX_PAREN_DEPTH, MAX_REPETITION, check_size
from backends.errors import ConstraintError
from backends.wire.request import Constraint

MAX_LARK_BYTES = 1 << 20
"""Grammars for tool calls are written by mlxr around the schemas of up to a few hundred tools."""

_REGEX_PART = re.compile(r"\\.|\[\^?\]?|[\]()]|\{ *([0-9]*) *,? *([0-9]*) *\}", re.DOTALL)
_MAX_DIGITS = 20


class GrammarKind(enum.StrEnum):
    """How the text of a source is to be read."""

    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    GBNF = "gbnf"
    REGEX = "regex"
    LARK = "lark"


class GrammarSource(msgspec.Struct, frozen=True):
    """One grammar, not compiled yet.

    Attributes:
        kind: How `text` is to be read.
        text: The JSON schema as JSON, the GBNF, the regular expression, or the Lark grammar with a rule `start`; ""
            for json_object.
        param: The request's field that it comes from, for errors.
    """

    kind: GrammarKind
    text: str
    param: str


class AnswerGrammar(msgspec.Struct, frozen=True):
    """What a whole answer must match: one of the two sources, after the opening.

    Attributes:
        text: What its text must match; None = it must call tools.
        calls: What its calls must match (Lark); None = there are none.
        opening: Lark rules `opening` and `head`: what comes before either, and then before text; None = nothing.
    """

    text: GrammarSource | None
    calls: GrammarSource | None = None
    opening: str | None = None

    @property
    def param(self) -> str:
        """The request's field that it comes from, for errors."""
        source = self.text or self.calls
        assert source is not None, "one of them is there"
        return source.param


def source_of(constraint: Constraint) -> GrammarSource:
    """Return the source that a request's constraint stands for."""
    return GrammarSource(GrammarKind(constraint.kind.value), constraint.text, constraint.param)


def check_regex(text: str, *, param: str) -> None:
    """Refuse a regular expression that is empty, too long, too deep or repeats too often.

    Whether it is well-formed is seen when it is compiled.

    Raises:
        ConstraintError: It is one of these.
    """
    if not text:
        raise ConstraintError(f"{param} must not be an empty regular expression", param=param)
    check_size(text, param=param)
    if (len(text) - len(text.rstrip("\\"))) % 2:
        raise ConstraintError(f"{param} ends with a lone backslash", param=param)
    depth = 0
    for match in _parts(text):
        part = match.group()
        if part == "(":
            depth += 1
            if depth > MAX_PAREN_DEPTH:
                raise ConstraintError(
                    f"{param} nests parentheses too deep; at most {MAX_PAREN_DEPTH} levels are allowed", param=param
                )
        elif part == ")":
            depth -= 1
        for count in match.groups():
            if count and (len(count) > _MAX_DIGITS or int(count) > MAX_REPETITION):
                raise ConstraintError(
                    f"{param} repeats something {count[:_MAX_DIGITS]} times; 0 to {MAX_REPETITION} are allowed",
                    param=param,
                )


def _parts(text: str) -> Iterator[re.Match[str]]:
    """Yield the parentheses and counts of a regular expression that stand outside of its classes."""
    is_in_class = False
    for match in _REGEX_PART.finditer(text):
        part = match.group()
        if is_in_class:
            is_in_class = part != "]"
        elif part.startswith("["):
            is_in_class = True
        else:
            yield match
