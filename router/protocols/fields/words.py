"""What a field may be, in words for people: read from its type, as the decoder checks it. Pure.

Ranges are inclusive unless they say otherwise.
"""

from collections.abc import Sequence
from typing import Any, Final

from msgspec import inspect

_NOUNS: Final[dict[type, tuple[str, str]]] = {
    inspect.BoolType: ("true or false", "booleans"),
    inspect.IntType: ("a whole number", "whole numbers"),
    inspect.FloatType: ("a number", "numbers"),
    inspect.StrType: ("a text", "texts"),
    inspect.ListType: ("a list", "lists"),
    inspect.DictType: ("an object", "objects"),
    inspect.AnyType: ("any JSON value", "JSON values"),
}
"""One of a type, and several."""


def words_of(type_: inspect.Type, literals: Sequence[Any] = ()) -> str:
    """Return what a value of a type may be; null is left out, because every field that may be absent may be null.

    Args:
        literals: Of the type, in the order in which they are to be told.
    """
    match type_:
        case inspect.LiteralType() | inspect.UnionType(types=(inspect.LiteralType(), inspect.NoneType())) if literals:
            return _either([str(value) for value in literals])
    return _words(type_, is_plural=False)


def _words(type_: Any, *, is_plural: bool) -> str:
    match type_:
        case inspect.Metadata(type=inner):
            return _words(inner, is_plural=is_plural)
        case inspect.LiteralType(values=values):
            return _either([str(value) for value in values])
        case inspect.StructType():
            return _object([type_], is_plural=is_plural)
        case inspect.UnionType(types=types):
            objects = [each for each in types if isinstance(each, inspect.StructType)]
            others = [each for each in types if not isinstance(each, inspect.StructType | inspect.NoneType)]
            parts = [_words(each, is_plural=is_plural) for each in others]
            return _either([*parts, _object(objects, is_plural=is_plural)] if objects else parts)
    return f"{_NOUNS[type(type_)][is_plural]}{_bounds(type_)}"


def _object(structs: Sequence[inspect.StructType], *, is_plural: bool) -> str:
    tags = [str(each.tag) for each in structs if each.tag is not None]
    return _NOUNS[inspect.DictType][is_plural] + (f" of type {_either(tags)}" if tags else "")


def _bounds(type_: Any) -> str:
    match type_:
        case inspect.IntType() | inspect.FloatType():
            return _range(type_)
        case inspect.StrType(min_length=least, max_length=most) if least or most:
            return f" of {_count(least, most)} characters"
        case inspect.ListType(item_type=item, min_length=least, max_length=most):
            count = f"{_count(least, most)} " if least or most else ""
            return f" of {count}{_words(item, is_plural=True)}"
        case inspect.DictType(value_type=inspect.StrType()):
            return " of texts"
    return ""


def _range(number: inspect.IntType | inspect.FloatType) -> str:
    if number.gt is not None:
        return f" above {number.gt}" + (f", up to {number.le}" if number.le is not None else "")
    if number.ge is not None:
        return f" from {number.ge}" + (f" to {number.le}" if number.le is not None else "")
    return f" up to {number.le}" if number.le is not None else ""


def _count(least: int | None, most: int | None) -> str:
    if most is None:
        return f"{least} or more"
    return f"{least} to {most}" if least else f"up to {most}"


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
