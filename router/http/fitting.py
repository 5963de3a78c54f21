"""Brings a decoded body nearer to its type where only its writing differs. Pure, but that it changes what it is given.

Three things are done: a field that the type does not have goes, a whole number written as a float (`8192.0`) becomes an
integer where only an integer fits (JSON Schema 2020-12, 4.2.2: "a number with a zero fractional part" is one), and a
null of a field that may be absent goes where null is no value of it. Everything else is the decoder's to refuse.

It is asked for bodies that the decoder has refused, so that those which it takes pay nothing for it.
"""

from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final

from msgspec import inspect

_MAX_INTEGER: Final = 2**64 - 1

Step = Callable[[Any, str, "Fitting"], Any]


class Fitting:
    """What was changed in one body.

    Attributes:
        unknown: Paths of the fields that went, as in `messages[].x`, in the order of the body.
        has_changed: Whether anything was.
    """

    def __init__(self) -> None:
        self.unknown: dict[str, None] = {}
        self.has_changed = False


def fit(value: Any, type_: Any, where: str = "", *, drops_unknown: bool = True) -> tuple[Any, Fitting]:
    """Return a value nearer to a type, and what was changed; objects and lists are changed in place.

    Args:
        where: The value's own path.
        drops_unknown: Whether fields that the type does not have go.
    """
    fitting = Fitting()
    step = _step_of_type(type_, drops_unknown)
    return (value if step is None else step(value, where, fitting)), fitting


@cache
def _step_of_type(type_: Any, drops_unknown: bool) -> Step | None:  # noqa: FBT001 - a key of the cache
    return _Steps(drops_unknown).of(inspect.type_info(type_))


class _Steps:
    """Makes of a type what walks values of it; None where there is nothing to do in any of them."""

    def __init__(self, drops_unknown: bool) -> None:  # noqa: FBT001 - see above
        self._drops_unknown = drops_unknown
        self._of_struct: dict[type, Step | None] = {}

    def of(self, type_: Any) -> Step | None:
        step: Step | None = None
        match type_:
            case inspect.Metadata(type=inner):
                step = self.of(inner)
            case inspect.IntType():
                step = _to_integer
            case inspect.StructType(cls=cls):
                if cls not in self._of_struct:
                    self._of_struct[cls] = None  # a Struct may hold itself
                    self._of_struct[cls] = self._struct(type_)
                step = partial(self._fit_struct, cls)
            case inspect.ListType(item_type=item):
                step = _each_item(self.of(item))
            case inspect.DictType(value_type=item):
                step = _each_value(self.of(item))
            case inspect.UnionType(types=types):
                step = self._union(types)
        return step

    def _fit_struct(self, struct: type, value: Any, where: str, fitting: Fitting) -> Any:
        step = self._of_struct[struct]
        assert step is not None
        return step(value, where, fitting)

    def _struct(self, struct: inspect.StructType) -> Step:
        fields = {field.encode_name: self.of(field.type) for field in struct.fields}
        nullable = {field.encode_name for field in struct.fields if field.required or _takes_null(field.type)}
        known = {*fields, *([] if struct.tag_field is None else [struct.tag_field])}
        drops_unknown = self._drops_unknown and struct.forbid_unknown_fields

        def fit_fields(value: Any, where: str, fitting: Fitting) -> Any:
            if not isinstance(value, dict):
                return value
            for name in list(value):
                path = f"{where}.{name}" if where else name
                if name not in known:
                    if drops_unknown:
                        del value[name]
                        fitting.unknown[path] = None
                        fitting.has_changed = True
                elif value[name] is None and name in fields and name not in nullable:
                    del value[name]
                    fitting.has_changed = True
                elif (step := fields.get(name)) is not None:
                    value[name] = step(value[name], path, fitting)
            return value

        return fit_fields

    def _union(self, types: tuple[Any, ...]) -> Step | None:
        plain = [each.type if isinstance(each, inspect.Metadata) else each for each in types]
        structs = [each for each in plain if isinstance(each, inspect.StructType)]
        objects = _by_tag(structs, {each.cls: self.of(each) for each in structs})
        dicts = [self.of(each) for each in plain if isinstance(each, inspect.DictType)]
        if dicts:  # beside Structs nobody can say which of them is meant
            objects = dicts[0] if len(dicts) == 1 and not structs else None
        lists = [self.of(each) for each in plain if isinstance(each, inspect.ListType)]
        of_list = lists[0] if len(lists) == 1 else None
        is_whole = any(isinstance(each, inspect.IntType) for each in plain)
        is_whole = is_whole and not any(isinstance(each, inspect.FloatType) for each in plain)
        if objects is None and of_list is None and not is_whole:
            return None

        def fit_any(value: Any, where: str, fitting: Fitting) -> Any:
            if isinstance(value, dict):
                return value if objects is None else objects(value, where, fitting)
            if isinstance(value, list):
                return value if of_list is None else of_list(value, where, fitting)
            return _to_integer(value, where, fitting) if is_whole else value

        return fit_any


def _by_tag(structs: list[inspect.StructType], steps: dict[type, Step | None]) -> Step | None:
    """Return what fits an object of the one of some Structs that its tag names."""
    if not structs:
        return None
    if len(structs) == 1:
        return steps[structs[0].cls]
    tag_field = structs[0].tag_field
    by_tag = {struct.tag: steps[struct.cls] for struct in structs}

    def fit_tagged(value: dict[str, Any], where: str, fitting: Fitting) -> Any:
        tag = value.get(tag_field) if tag_field is not None else None
        step = by_tag.get(tag) if isinstance(tag, str | int) else None
        return value if step is None else step(value, where, fitting)

    return fit_tagged


def _takes_null(type_: Any) -> bool:
    match type_:
        case inspect.Metadata(type=inner):
            return _takes_null(inner)
        case inspect.UnionType(types=types):
            return any(map(_takes_null, types))
    return isinstance(type_, inspect.NoneType | inspect.AnyType | inspect.RawType)


def _each_item(step: Step | None) -> Step | None:
    if step is None:
        return None

    def fit_items(value: Any, where: str, fitting: Fitting) -> Any:
        if isinstance(value, list):
            path = f"{where}[]"
            value[:] = [step(item, path, fitting) for item in value]
        return value

    return fit_items


def _each_value(step: Step | None) -> Step | None:
    if step is None:
        return None

    def fit_values(value: Any, where: str, fitting: Fitting) -> Any:
        if isinstance(value, dict):
            for name, item in value.items():
                value[name] = step(item, f"{where}.{name}", fitting)
        return value

    return fit_values


def _to_integer(value: Any, _where: str, fitting: Fitting) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= _MAX_INTEGER:
        fitting.has_changed = True
        return int(value)
    return value
