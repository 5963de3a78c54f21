"""The object that the arguments of a cut call hold so far."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from router.protocols.fields.call_arguments import complete_part

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=4), VALUES, max_size=4)


def is_part(part: Any, whole: Any, *, may_be_cut: bool = True) -> bool:
    """Whether `part` is `whole` up to some place: everything but its last value is the same."""
    if isinstance(part, dict) and isinstance(whole, dict):
        items, all_items = list(part.items()), list(whole.items())
        if [key for key, _ in items] != [key for key, _ in all_items[: len(items)]]:
            return False
        pairs = [(value, whole[key]) for key, value in items]
    elif isinstance(part, list) and isinstance(whole, list):
        pairs = list(zip(part, whole, strict=False))
        if len(part) > len(whole):
            return False
    else:
        is_number = isinstance(part, int) and isinstance(whole, int) and may_be_cut
        return part == whole or (is_number and str(whole).startswith(str(part)))
    last = len(pairs) - 1
    return all(is_part(a, b, may_be_cut=may_be_cut and index == last) for index, (a, b) in enumerate(pairs))


@given(value=OBJECTS, indent=st.sampled_from([None, 2]))
def test_all_of_it_is_all_of_it(value: dict[str, Any], indent: int | None) -> None:
    assert complete_part(json.dumps(value, indent=indent)) == value


@given(value=OBJECTS, share=st.floats(0, 1), is_ascii=st.booleans())
def test_any_beginning_holds_what_was_complete(value: dict[str, Any], share: float, *, is_ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=is_ascii)
    part = complete_part(text[: int(share * len(text))])
    assert is_part(part, msgspec.json.decode(text))


def test_examples() -> None:
    assert complete_part("") == complete_part("{") == complete_part('{"a') == complete_part('{"a":') == {}
    assert complete_part('{"a": "x", "b": "unfini') == {"a": "x"}
    assert complete_part('{"a": {"b": [1, tr') == {"a": {"b": [1]}}
    assert complete_part('{"a": "\\"", "b": "\\') == {"a": '"'}
    assert complete_part("no JSON") == {}
