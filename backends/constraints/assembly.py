"""Puts a grammar into the form that llguidance takes, with what may come before the constrained text."""

import json
from typing import Any, assert_never

from llguidance import LLMatcher

from backends.base import Tokenizer
from backends.constraints.gbnf import lark_from_gbnf
from backends.constraints.grammar import MAX_LARK_BYTES, GrammarKind, GrammarSource, check_regex
from backends.constraints.limits import check_size
from backends.constraints.schema import prepared_schema

_ANSWER = "answer"
_OBJECT_SCHEMA = '{"type": "object"}'
_OPTIONS = '%llguidance {"no_forcing": true}\n'
"""Leave it to the model how a text that must come is cut into tokens.

Otherwise llguidance would work out all of that text again for every token and have it tokenized: 14 ms for a constant
of 60 kB, and hundreds for what a nested repetition forces.
"""


def assembled(source: GrammarSource, *, reasoning_end: str | None, tokenizer: Tokenizer) -> str:
    """Return the JSON text of a list of grammars, llguidance's own form.

    Args:
        source: What the answer must match.
        reasoning_end: The tag that closes the reasoning that the prompt has opened; any text up to its first
            occurrence, the tag itself and some blanks then come before the answer. None = the answer stands alone.
        tokenizer: Tells whether the tag is a control token.

    Raises:
        ConstraintError: The source breaks a cap, or cannot be kept.
    """
    start = f"start: @{_ANSWER}\n" if reasoning_end is None else _after_reasoning(reasoning_end, tokenizer)
    return json.dumps({"grammars": [{"lark_grammar": _OPTIONS + start}, {"name": _ANSWER, **_body(source)}]})


def inline_schema(schema: dict[str, Any], *, param: str) -> str:
    """Return a JSON schema as an expression for use in a rule (not a terminal) of a Lark grammar.

    Args:
        schema: As a request brings it.
        param: The request's field that carries it.

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


def _after_reasoning(tag: str, tokenizer: Tokenizer) -> str:
    blanks = "BLANKS: /[ \\t\\r\\n]{1,8}/\n"
    token_id = tokenizer.control_ids.get(tag)
    if token_id is not None:
        return f"start: REASONING <[{token_id}]> BLANKS? @{_ANSWER}\nREASONING: /(?s:.)*/\n{blanks}"
    # Lazy: it ends with the first occurrence of the tag.
    return f"start: reasoning BLANKS? @{_ANSWER}\nreasoning[lazy]: /(?s:.)*/ {json.dumps(tag)}\n{blanks}"
