"""Puts an answer's grammar into the form that llguidance takes."""

import json
from typing import Any, assert_never

from llguidance import LLMatcher

from backends.constraints.gbnf import lark_from_gbnf
from backends.constraints.grammar import MAX_LARK_BYTES, AnswerGrammar, GrammarKind, GrammarSource, check_regex
from backends.constraints.limits import check_size
from backends.constraints.schema import prepared_schema

_TEXT = "text"
_CALLS = "calls"
_OBJECT_SCHEMA = '{"type": "object"}'
_OPTIONS = '%llguidance {"no_forcing": true}\n'
"""Leave it to the model how a text that must come is cut into tokens.

Otherwise llguidance would work out all of that text again for every token and have it tokenized: 14 ms for a constant
of 60 kB, and hundreds for what a nested repetition forces.
"""


def assembled(grammar: AnswerGrammar) -> str:
    """Return the JSON text of a list of grammars, llguidance's own form.

    Args:
        grammar: What the answer must match.

    Raises:
        ConstraintError: A source breaks a cap, or cannot be kept.
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
    """Return a JSON schema as an expression for use in a rule (not a terminal) of a Lark grammar.

    Raises:
        ConstraintError: It breaks a cap, or cannot be kept.
    """
    prepared = prepared_schema(schema, param=param)
    return f"%json {json.dumps(prepared)}"


def _body(source: GrammarSource) -> dict[str, Any]:
    match source.kind:
        case GrammarKind.JSON_OBJECT:
            return {"json_schema": prepared_schema(_OBJECT_SCHEMA, param=source.param)}
        case GrammarKind.JSON_SCHEMA:
            return {"json_schema": prepared_schema(source.text, param=source.param)}
        case GrammarKind.GBNF:
            return {"lark_grammar": lark_from_gbnf(source.text, param=source.param)}
        case GrammarKind.REGEX:
            check_regex(source.text, param=source.param)
            grammar: dict[str, Any] = json.loads(LLMatcher.grammar_from_regex(source.text))["grammars"][0]
            return {"lark_grammar": grammar["lark_grammar"]}
        case GrammarKind.LARK:
            check_size(source.text, max_bytes=MAX_LARK_BYTES, param=source.param)
            return {"lark_grammar": source.text}
        case _:
            assert_never(source.kind)
