from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from router.protocols.fields.words import words_of


class Plain(msgspec.Struct):
    x: int


class First(msgspec.Struct, tag_field="type", tag="first"):
    x: int


class Second(msgspec.Struct, tag_field="type", tag="second"):
    x: int


WORDS: list[tuple[Any, str]] = [
    (bool, "true or false"),
    (int, "a whole number"),
    (Annotated[int, Meta(ge=-1, le=8)], "a whole number from -1 to 8"),
    (Annotated[int, Meta(ge=1)], "a whole number from 1"),
    (Annotated[float, Meta(gt=0, le=0.5)], "a number above 0, up to 0.5"),
    (Annotated[float, Meta(gt=0)], "a number above 0"),
    (Annotated[float, Meta(le=3)], "a number up to 3"),
    (str, "a text"),
    (Annotated[str, Meta(min_length=1, max_length=9)], "a text of 1 to 9 characters"),
    (Annotated[str, Meta(max_length=9)], "a text of up to 9 characters"),
    (Annotated[str, Meta(min_length=1)], "a text of 1 or more characters"),
    (Literal["a", "b", "c"], "a, b or c"),
    (list[str], "a list of texts"),
    (Annotated[list[Plain], Meta(min_length=1, max_length=4)], "a list of 1 to 4 objects"),
    (list[First | Second], "a list of objects of type first or second"),
    (list[int | list[float]], "a list of whole numbers or lists of numbers"),
    (dict[str, str], "an object of texts"),
    (dict[str, Any], "an object"),
    (First | Second | None, "an object of type first or second"),
    (Annotated[float, Meta(ge=0)] | list[str] | Plain | None, "a number from 0, a list of texts or an object"),
    (Annotated[Any, Meta(title="T")], "any JSON value"),
]


@pytest.mark.parametrize(("type_", "words"), WORDS, ids=[words for _, words in WORDS])
def test_a_type_in_words(type_: Any, words: str) -> None:
    assert words_of(msgspec.inspect.type_info(type_)) == words


def test_literals_are_told_in_their_order() -> None:
    type_ = msgspec.inspect.type_info(Literal["low", "high"] | None)
    assert words_of(type_, ("low", "high")) == "low or high"
