"""Scripts of models are parsed and linted; whatever they are, nothing of them runs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from examples.review.scripts import CLAUSES, code_in, lint
from examples.script_review_adversarial import intersection

GOOD = '''def largest(numbers: list[int]) -> int:
    """Return the largest."""
    return max(numbers)
'''


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sure!\n```python\nx = 1\n```\nThere.", "x = 1"),
        ("```\nx = 1\n```", "x = 1"),
        ("```py\nx = 1", "x = 1"),
        ("x = 1", "x = 1"),
        ("```python\na\n```\n```python\nb\n```", "a"),
        ("", ""),
    ],
)
def test_the_script_is_found_in_an_answer(text: str, code: str) -> None:
    assert code_in(text) == code


def test_a_script_that_keeps_every_clause_has_no_findings() -> None:
    assert lint(GOOD, CLAUSES) == []


@pytest.mark.parametrize(
    ("source", "clause", "line", "words"),
    [
        ("def f(:", "parses", 1, "it is no Python"),
        ("def f():\n  return 1\x00", "parses", 0, "null bytes"),
        ("(" * 5000, "parses", 1, "too many nested"),
        ("x = 1", "function", 0, "no function is defined"),
        (GOOD + "eval('1')\n", "no_eval", 4, "eval()"),
        (GOOD + "import os\nos.system('true')\n", "no_eval", 5, "system()"),
        (GOOD + "import os\n", "no_imports", 4, "imported"),
        (GOOD + "print(1)\n", "no_print", 4, "printed"),
        ("def f(a, b: int):\n    '''F.'''\n    return a\n", "annotations", 1, "f: a, return"),
        ("def f() -> int:\n    return 1\n", "docstring", 1, "f has no docstring"),
        ("def f() -> None:\n    '''F.'''\n", "returns", 1, "f returns nothing"),
        (GOOD + "try:\n    pass\nexcept:\n    pass\n", "no_bare_except", 6, "KeyboardInterrupt"),
    ],
)
def test_what_breaks_a_clause_is_found_with_its_line(source: str, clause: str, line: int, words: str) -> None:
    found = [finding for finding in lint(source, CLAUSES) if finding.clause == clause]
    assert [(finding.line, words in finding.message) for finding in found] == [(line, True)]


def test_some_clauses_hold_for_any_script() -> None:
    assert [finding.clause for finding in lint("exec(input())\n")] == ["function", "no_eval"]


def test_a_script_is_never_executed(capsys: pytest.CaptureFixture[str]) -> None:
    lint("print('ran')\nraise SystemExit(3)\n", CLAUSES)
    assert capsys.readouterr().out == ""


@given(st.text(max_size=200))
def test_no_text_is_too_odd_to_be_linted(text: str) -> None:
    lint(code_in(text), CLAUSES)


def test_a_contract_is_what_all_demand() -> None:
    strict = '{"rules": ["docstring", "annotations", "docstring", "unknown"]}'
    lenient = '{"rules": ["no_print", "docstring", "unknown"]}'
    assert intersection({"a": strict, "b": lenient}) == {"docstring"}
    assert intersection({"a": strict, "b": '{"rules": ["docstring"'}) == frozenset()
    assert intersection({}) == frozenset()
