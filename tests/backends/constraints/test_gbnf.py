import re

import pytest

from backends.constraints.gbnf import lark_from_gbnf
from backends.errors import ConstraintError
from backends.wire.request import ConstraintKind
from tests.backends.constraints.conftest import Compile, Sampler, matches

LIST = r"[0-9]{1,3}(?:,[0-9]{1,3})*"
JSON_GRAMMAR = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws   # a comment
array  ::=
  "[" ws (
    value
    ("," ws value)*
  )? "]" ws
string ::= "\"" ( [^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""


@pytest.mark.parametrize(
    ("grammar", "answers", "others"),
    [
        (JSON_GRAMMAR, ["{}", '{"a": [1, 2.5e3, "x\\n"]}', '{"a": 1 }\n   '], ['{"a":}', "[]", "{"]),
        ('root ::= [a-z]* "end"', ["end", "abcend"], ["en", "endx"]),
        ('root ::= a "x"\na ::= a "b" | "c"', ["cx", "cbbx"], ["x", "cb"]),
        ("root ::= . .", ["ab", "\n\n", "é!"], ["a", "abc"]),
        (r"root ::= [^a-c\]]{2}", ["zz", "z-"], ["z]", "ad"]),
        (r"root ::= [-a^]+ [\n/]", ["-^a/", "a\n"], ["b/", "a"]),
        (
            'root ::= foo-bar fooBar foo_bar\nfoo-bar ::= "1"\nfooBar ::= "2"\nfoo_bar ::= "3"',
            ["123"],
            ["12", "321"],
        ),
        (r'root ::= "é\u00e9\x41\U0001F642"', ["ééA🙂"], ["é"]),
        ('root ::= "a" |', ["a", ""], ["aa"]),
        ('root ::= "a"{2} "b"{1,} "c"{0,2}', ["aab", "aabbcc"], ["ab", "aac", "aabccc"]),
        ('root ::= ("a" | "b" ("c" | "d")+)?', ["", "a", "bcd"], ["b", "ac"]),
    ],
)
def test_a_grammar_means_what_it_means_to_llama_cpp(
    compile_: Compile, grammar: str, answers: list[str], others: list[str]
) -> None:
    matcher = compile_(ConstraintKind.GBNF, grammar)
    assert [answer for answer in answers if not matches(matcher, answer)] == []
    assert [other for other in others if matches(matcher, other)] == []


@pytest.mark.parametrize("seed", range(20))
def test_random_answers_match_a_grammar(compile_: Compile, seed: int) -> None:
    grammar = 'root ::= item ("," item)*\nitem ::= [0-9]{1,3} | "(" root ")"'
    matcher = compile_(ConstraintKind.GBNF, grammar)
    answer = Sampler(seed, {")": 6, "(": -4}).answer(matcher, max_tokens=300)
    assert answer is not None
    text, before = answer.decode(), ""
    while text != before:  # a list in parentheses is as good as a number
        text, before = re.sub(rf"\({LIST}\)", "0", text), text
    assert re.fullmatch(LIST, text)


def test_an_error_names_the_line_and_the_field() -> None:
    with pytest.raises(ConstraintError, match=r"^grammar, line 3: rule 'b' is not defined") as caught:
        lark_from_gbnf('root ::= a\n# nothing\na ::= "x" b\n', param="grammar")
    assert caught.value.param == "grammar"
