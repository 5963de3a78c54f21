"""What a whole answer must match, and the form of it that llguidance takes."""

import json
import re
from collections.abc import Iterator
from typing import Any, assert_never

import msgspec
from llguidance import LLMatcher

from backends.constraints.gbnf import lark_from_gbnf
from backends.constraints.limits import MAX_PAREN_DEPTH, MAX_REPETITION, check_size
from backends.constraints.schema import prepared_schema
from backends.errors import ConstraintError
from backends.wire.request import Constraint, ConstraintKind

MAX_LARK_BYTES = 1 << 20
"""Grammars for tool calls are written by mlxr around the schemas of up to a few hundred tools."""

_REGEX_PART = re.compile(r"\\.|\[\^?\]?|[\]()]|\{ *([0-9]*) *,? *([0-9]*) *\}", re.DOTALL)
_MAX_DIGITS = 20
_TEXT = "text"
_CALLS = "calls"
_OBJECT_SCHEMA = '{"type": "object"}'
_OPTIONS = '%llguidance {"no_forcing": true}\n'
"""Leave it to the model how a text that must come is cut into tokens.

Otherwise llguidance would work out all of that text again for every token and have it tokenized: 14 ms for a constant
of 60 kB, and hundreds for what a nested repetition forces.
"""


class AnswerGrammar(msgspec.Struct, frozen=True):
    """What a whole answer must match: one of the two sources, after the opening.

    Attributes:
        text: What its text must match; None = it must call tools.
        calls: What its calls must match (Lark); None = there are none.
        opening: Lark rules `opening` and `head`: what comes before either, and then before text; None = nothing.
    """

    text: Constraint | None
    calls: Constraint | None = None
    opening: str | None = None

    @property
    def param(self) -> str:
        """The request's field that it comes from, for errors."""
        source = self.text or self.calls
        assert source is not None, "one of them is there"
        return source.param


def assembled(grammar: AnswerGrammar) -> str:
    """Return the JSON text of a list of grammars, llguidance's own form.

    Args:
        grammar: What the answer must match.
    """
    bodies, choices = [], []
    for name, source, head in ((_TEXT, grammar.text, "head "), (_CALLS, grammar.calls, "")):
        if source is not None:
            bodies.append({"name": name, **_body(source)})
            choices.append(f"{head if grammar.opening else ''}@{name}")
    opening = "opening " if grammar.opening else ""
    start = f"start: {opening}({' | '.join(choices)})\n{grammar.opening or ''}"
    return json.dumps({"grammars": [{"lark_grammar": _OPTIONS + start}, *bodies]})


def inline_schema(schema: dict[str, Any], *, param: str) -> str:
    """Return a JSON schema as an expression for use in a rule (not a terminal) of a Lark grammar."""
    prepared = prepared_schema(schema, param=param)
    return f"%json {json.dumps(prepared)}"


def _body(source: Constraint) -> dict[str, Any]:
    match source.kind:
        case ConstraintKind.JSON_OBJECT:
            return {"json_schema": prepared_schema(_OBJECT_SCHEMA, param=source.param)}
        case ConstraintKind.JSON_SCHEMA:
            return {"json_schema": prepared_schema(source.text, param=source.param)}
        case ConstraintKind.GBNF:
            return {"lark_grammar": lark_from_gbnf(source.text, param=source.param)}
        case ConstraintKind.REGEX:
            _check_regex(source.text, param=source.param)
            grammar: dict[str, Any] = json.loads(LLMatcher.grammar_from_regex(source.text))["grammars"][0]
            return {"lark_grammar": grammar["lark_grammar"]}
        case ConstraintKind.LARK:
            check_size(source.text, max_bytes=MAX_LARK_BYTES, param=source.param)
            return {"lark_grammar": source.text}
        case _:
            assert_never(source.kind)


def _check_regex(text: str, *, param: str) -> None:
    """Refuse a regular expression that is empty, too long, too deep or repeats too often.

    Whether it is well-formed is seen when it is compiled.
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
