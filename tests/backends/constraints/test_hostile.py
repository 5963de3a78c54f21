"""Grammars, schemas and expressions made to crash, hang or confuse: each is refused or followed.

What that takes is bounded by the library's counts of steps; `tests/bench/bench_hostile_constraints.py` shows the time.
"""

import json
from typing import Any

import numpy as np
import pytest

from backends.constraints.compiler import ConstraintCompiler
from backends.errors import ConstraintError
from backends.wire.request import ConstraintKind
from tests.backends.constraints.conftest import Compile, compiled, matches

NUM_TOKENS = 40
BAD = "(a|b)*a(a|b){25}"


def nested(depth: int, value: Any = None) -> Any:
    for _ in range(depth):
        value = [value]
    return value


def chain(length: int, link: str, last: str) -> str:
    rules = "".join(f"a{i} ::= {link.format(i + 1)}\n" for i in range(length))
    return f"root ::= a0\n{rules}a{length} ::= {last}"


def refs(length: int, make: Any, last: Any) -> dict[str, Any]:
    definitions = {f"d{i}": make({"$ref": f"#/$defs/d{i + 1}"}) for i in range(length)}
    return {"$ref": "#/$defs/d0", "$defs": {**definitions, f"d{length}": last}}


REFUSED_GRAMMARS = {
    "nothing": "",
    "no root": 'a ::= "x"',
    "unclosed group": "root ::= (",
    "unopened group": 'root ::= "a")',
    "unclosed literal": 'root ::= "a',
    "unclosed class": "root ::= [a",
    "empty class": "root ::= []",
    "undefined rule": "root ::= missing",
    "rule twice": 'root ::= "a"\nroot ::= "b"',
    "no rule": "just words",
    "range backwards": "root ::= [z-a]",
    "repetition backwards": 'root ::= "a"{5,2}',
    "huge repetition": 'root ::= "a"{1000000}',
    "astronomic repetition": 'root ::= "a"{' + "9" * 20 + "}",
    "repeats nothing": "root ::= *",
    "bad escape": r'root ::= "\q"',
    "no character": r'root ::= "\U00110000"',
    "half a surrogate": r'root ::= "\ud800"',
    "half a surrogate as it is": 'root ::= "\ud800"',
    "deep parentheses": "root ::= " + "(" * 30_000 + '"a"' + ")" * 30_000,
    "many stars": 'root ::= "a"' + "*" * 60_000,
    "too long": "root ::= " + '"a" ' * 20_000,
    "only itself": "root ::= root",
    "NUL": 'root ::= \0"a"',
    "doubling": chain(60, "a{0} a{0}", '[a-z]+ | "b"'),
}
FOLLOWED_GRAMMARS = {
    "left recursion": 'root ::= root "a" | "b"',
    "hidden left recursion": 'root ::= n root "a" | "b"\nn ::= "" | n',
    "ambiguous": 'root ::= root root root | "a" | ""',
    "more ambiguous": "root ::= e\ne ::= e e | e e e | [a-z]* | e*",
    "never ends": 'root ::= "a" root',
    "empty loop": 'root ::= (""*)* "a"',
    "loops of loops": 'root ::= ((("a"*)*)*)* x\nx ::= x? | "b" x',
    "199 parentheses": "root ::= " + "(" * 199 + '"a"' + ")" * 199,
    "100 starred groups": 'root ::= root "x" | ' + "(" * 99 + '"a"' + ")*" * 99,
    "long chain": chain(2000, 'a{} "x"', '"y"'),
    "doubling with choices": chain(40, 'a{0} "x" a{0} | a{0}?', '[a-z]+ | "b"'),
    "many alternatives": "root ::= " + " | ".join(f'"a{i}"' for i in range(6000)),
    "many recursive alternatives": "root ::= " + " | ".join(f'"a{i}" root' for i in range(3000)) + ' | "x"',
    "nested repetition": "root ::= (([a-z]{2000}){2000}){2000}",
    "nested recursive repetition": 'root ::= ((("a" root?){2000}){2000}){2000}',
    "exponential automaton": 'root ::= [ab]* "a" [ab]{25}',
    "huge class": "root ::= [" + "".join(chr(0x4E00 + 2 * i) for i in range(8000)) + "]+",
}
REFUSED_EXPRESSIONS = {
    "nothing": "",
    "unclosed": "(a",
    "lone backslash": "a\\",
    "class backwards": "[z-a]",
    "look-ahead": "(?=a)a",
    "look-behind": "(?<!a)b",
    "back reference": r"(a)\1",
    "word border": r"\bab",
    "matches nothing": r"[^\s\S]",
    "deep": "(" * 201 + "a" + ")" * 201,
    "repetition": "a{2001}",
    "huge repetition": "a{" + "9" * 5000 + "}",
    "too long": "a" * 70_000,
    "half a surrogate": "\ud800",
}
FOLLOWED_EXPRESSIONS = {
    "stars in stars": "(" * 10 + "a" + "*)" * 10 + "*b",
    "exponential automaton": BAD,
    "late decision": ".*a.{2000}",
    "nested repetition": "((a{2000}){2000}){2000}",
    "nested optional repetition": "(((a|b)?){2000}){2000}c",
    "large classes": r"(\p{L}\p{N}?){2000}",
    "words": r"(\w{1,2000}-){1,2000}",
    "alternatives": "|".join(f"a{i}" for i in range(9000)),
    "alternatives of anything": "|".join(f".*{i}.*" for i in range(3000)),
    "anything between": ".*".join("abcdefghij" * 100),
    "case folding": "(?i)" + "ß" * 3000,
}
REFUSED_SCHEMAS: dict[str, Any] = {
    "no JSON": "{",
    "list": "[]",
    "text": '"x"',
    "NaN": '{"minimum": NaN}',
    "infinite": '{"type": "number", "minimum": 1e999}',
    "huge number": '{"const": ' + "9" * 5000 + "}",
    "inexact number": {"const": 2**60},
    "half a surrogate": '{"const": "\\ud800"}',
    "deep JSON": '{"a":' * 12_000,
    "deep brackets": "[" * 60_000,
    "deep constant": {"const": nested(500)},
    "deep schema": {"type": "array", "items": json.loads('{"items":' * 100 + "{}" + "}" * 100)},
    "too long": {"description": "x" * 70_000},
    "false": "false",
    "unknown type": {"type": "strin"},
    "type is a number": {"type": 5},
    "properties is a list": {"properties": []},
    "required is a number": {"required": [1]},
    "minLength": {"type": "string", "minLength": 10**9},
    "maxItems": {"type": "array", "maxItems": 10**6},
    "negative": {"type": "string", "minLength": -1},
    "enum too long": {"enum": list(range(5000))},
    "enum empty": {"enum": []},
    "anyOf empty": {"anyOf": []},
    "pattern broken": {"type": "string", "pattern": "("},
    "remote": {"$ref": "http://127.0.0.1:1/x"},
    "file": {"$ref": "file:///etc/passwd"},
    "loop": {"$ref": "#"},
    "loop of two": {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    "loop in anyOf": {"anyOf": [{"$ref": "#"}, {"type": "null"}]},
    "impossible": {"type": "integer", "minimum": 3, "maximum": 2},
    "sixty patterns at once": {"allOf": [{"type": "string", "pattern": f".*a.{{{i}}}b.*"} for i in range(60)]},
    "choices multiplied": {"allOf": [{"anyOf": [{"maxLength": i}, {"maxItems": i}]} for i in range(100)]},
    "1800 properties": {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(1800)}},
    "doubling": refs(60, lambda ref: {"properties": {"l": ref, "r": ref}, "allOf": [ref]}, {"type": "object"}),
    "overlapping names": {"type": "object", "patternProperties": {".*a": {}, "b.*": {}}},
}
FOLLOWED_SCHEMAS: dict[str, Any] = {
    "chain": refs(800, lambda ref: ref, {"type": "string"}),
    "chain of properties": refs(600, lambda ref: {"type": "object", "properties": {"x": ref}}, {}),
    "doubling allOf": refs(40, lambda ref: {"allOf": [ref, ref]}, {"type": "object"}),
    "wide references": refs(200, lambda ref: {"anyOf": [ref, {"type": "array", "items": ref}]}, {"type": "null"}),
    "arrays of arrays": {"type": "array", "minItems": 2000, "items": {"type": "array", "minItems": 2000}},
    "long strings": {"type": "array", "minItems": 2000, "items": {"type": "string", "minLength": 65_536}},
    "long constant": {"const": "x" * 60_000},
    "exponential pattern": {"type": "string", "pattern": BAD + "$", "minLength": 3},
    "name with NUL": {"type": "object", "properties": {"a\0b": {"type": "null"}}, "required": ["a\0b"]},
    "700 properties": {"type": "object", "properties": {f"p{i}": {"type": "null"} for i in range(700)}},
    "1000 values": {"enum": [f"value {i}" * 3 for i in range(1000)]},
    "never ends": {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
}
REFUSED_LARK = {
    "nothing": "",
    "unclosed": "start: (",
    "deep": "start: " + "(" * 200_000 + '"a"' + ")" * 200_000,
    "inner schema": 'start: %json {"type": "strin"}',
    "too long": "start: " + '"a" ' * 300_000,
}
REFUSED = [
    (kind, text)
    for kind, cases in (
        (ConstraintKind.GBNF, REFUSED_GRAMMARS),
        (ConstraintKind.REGEX, REFUSED_EXPRESSIONS),
        (ConstraintKind.JSON_SCHEMA, REFUSED_SCHEMAS),
        (ConstraintKind.LARK, REFUSED_LARK),
    )
    for text in cases.values()
]
FOLLOWED = [
    (kind, text)
    for kind, cases in (
        (ConstraintKind.GBNF, FOLLOWED_GRAMMARS),
        (ConstraintKind.REGEX, FOLLOWED_EXPRESSIONS),
        (ConstraintKind.JSON_SCHEMA, FOLLOWED_SCHEMAS),
    )
    for text in cases.values()
]


def names(*groups: dict[str, Any]) -> list[str]:
    return [name for cases in groups for name in cases]


@pytest.mark.parametrize(
    ("kind", "text"),
    REFUSED,
    ids=names(REFUSED_GRAMMARS, REFUSED_EXPRESSIONS, REFUSED_SCHEMAS, REFUSED_LARK),
)
def test_refused_by_a_short_message(
    compiler: ConstraintCompiler, compile_: Compile, kind: ConstraintKind, text: str
) -> None:
    with pytest.raises(ConstraintError) as caught:
        compile_(kind, text)
    assert "did not compile" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert caught.value.param == "response_format"
    assert matches(compiled(compiler, ConstraintKind.REGEX, "a"), "a")  # the thread goes on


@pytest.mark.parametrize(
    ("kind", "text"), FOLLOWED, ids=names(FOLLOWED_GRAMMARS, FOLLOWED_EXPRESSIONS, FOLLOWED_SCHEMAS)
)
def test_followed_token_by_token(compile_: Compile, kind: ConstraintKind, text: str) -> None:
    """Or given up on the way with an error, where only the answer shows how complex it is."""
    matcher = compile_(kind, text)
    random = np.random.default_rng(0)
    for _ in range(NUM_TOKENS):
        logits = random.normal(0, 3, 259).astype(np.float32)
        try:
            matcher.mask(logits)
        except ConstraintError:
            break
        token_id = int(logits.argmax())
        assert np.isfinite(logits[token_id])
        matcher.accept(token_id)
        if matcher.is_complete:
            break
