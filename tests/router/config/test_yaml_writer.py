from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from router.config.yaml_text import parse
from router.config.yaml_writer import dump

TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.text("ab :#-|>\"'\\\n\t {}[]%&*!@`\r", max_size=40),
    st.lists(st.text("ab :#- ", max_size=8), max_size=6).map("\n".join),
)
SCALARS = st.one_of(TEXTS, st.integers(), st.booleans(), st.none(), st.floats(allow_nan=False, allow_infinity=False))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(SCALARS, max_size=4), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=8,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, max_size=4))
@example({"a": "one\ntwo"})
@example({"a": "one\ntwo\n"})
@example({"a": "one\ntwo\n\n\n", "b": 1})
@example({"a": {"b": "  indented first\n\nrest"}})
@example({"a": "\n\n"})
@example({"a": "\nx"})
@example({"a": "--- \n...\n# no comment\n"})
@example({"a": "x\n  \n", "b": "tab\tand\nline"})
@example({"a": "😀\nsecond"})
@example({"a": 1e300, "b": 5e-324, "c": 1e16, "d": -0.0})
@pytest.mark.slow
def test_what_is_written_is_read_back_unchanged(value: dict[str, Any]) -> None:
    assert parse(dump(value)).value == value


@pytest.mark.parametrize("word", ["true", "null", "yes", "on", "1", "1.5", "0x10", "~", "", "a: b", "# a"])
def test_words_that_mean_something_stay_words(word: str) -> None:
    assert parse(dump({word: word, "list": [word]})).value == {word: word, "list": [word]}


def test_a_text_of_several_lines_can_be_read() -> None:
    assert dump({"m": {"system": "You are kind.\nBe brief.\n"}}) == (
        "m:\n  system: |\n    You are kind.\n    Be brief.\n"
    )
