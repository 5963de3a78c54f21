"""What becomes of each field of a request: said once, beside the field, in the same notation for all protocols.

    verbosity: Annotated[str | None, neutral_only()] = None
    repeat_penalty: Annotated[RepetitionPenalty | None, honoured("the same as repetition_penalty")] = None

A field that says nothing is honoured, in the range of its type. Validation asks what is not honoured (`not_honoured`),
errors and the report of capabilities say what a field may be (`fields_of`). Not here: the checks of types and ranges
themselves, which are the decoder's.
"""

import enum
import functools
import re
import types
import typing
from collections.abc import Iterator
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from registry.engines import EngineKind
from router.errors import InvalidJSONError, InvalidRequestError, UnknownFieldError, UnsupportedFieldError
from router.http.body import decode_json
from router.http.ignored import leave_out
from router.protocols.fields.words import words_of

BodyT = TypeVar("BodyT", bound=msgspec.Struct)

_INDEX: Final = re.compile(r"\[[^\]]*\]")
_TRAILING: Final = re.compile(r"(\[\])+\Z")


class Support(enum.StrEnum):
    """What becomes of a field."""

    HONOURED = "honoured"
    LABEL = "label"  # accepted; by its own definition it does not change the answer
    WITHOUT_EFFECT = "without effect"  # changes no answer, but promises what is not kept: left out and named
    NEUTRAL_ONLY = "neutral only"  # only a value that asks for nothing is accepted
    REFUSED = "refused"  # null and what is empty are accepted, anything else never will be


_NOT_ALLOWED: Final = frozenset({Support.NEUTRAL_ONLY, Support.REFUSED})
_NOT_HONOURED: Final = _NOT_ALLOWED | {Support.WITHOUT_EFFECT}


class Field(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """What the type of a field does not say; stands in its annotation, which wants it hashable: two are never equal.

    Attributes:
        note: Of the values it may have.
        neutral: Values that ask for nothing, accepted whatever the support; null always does.
        hint: What to do instead, where it is not honoured.
        engines: What is otherwise on one engine.
    """

    support: Support = Support.HONOURED
    note: str = ""
    neutral: tuple[Any, ...] = ()
    hint: str = ""
    engines: dict[EngineKind, "Field"] = {}

    def on(self, engine: EngineKind | None) -> "Field":
        """Return what becomes of the field on one engine; None = on those that have nothing special."""
        return self if engine is None else self.engines.get(engine, self)

    def is_neutral(self, value: object) -> bool:
        """Tell whether a value asks for nothing; 0.0 is as good as 0, but no boolean is a number."""
        if value is None:
            return True
        is_bool = isinstance(value, bool)
        return any(isinstance(ok, bool) == is_bool and value == ok for ok in self.neutral)


LABEL: Final = Field(support=Support.LABEL)
_PLAIN: Final = Field()


def honoured(note: str, engines: dict[EngineKind, Field] | None = None) -> Field:
    """Return what is said of a field that is honoured, but on some engines."""
    return Field(note=note, engines=engines or {})


def neutral_only(*neutral: Any) -> Field:
    """Return what is said of a field that only has to be there."""
    return Field(support=Support.NEUTRAL_ONLY, neutral=neutral)


def without_effect(*neutral: Any) -> Field:
    """Return what is said of a field that is left out, and named where its value asks for something."""
    return Field(support=Support.WITHOUT_EFFECT, neutral=neutral)


def refused(hint: str, *neutral: Any, engines: dict[EngineKind, Field] | None = None) -> Field:
    """Return what is said of a field that is refused, with the way out."""
    return Field(support=Support.REFUSED, neutral=neutral, hint=hint, engines=engines or {})


class RequestField(msgspec.Struct, frozen=True):
    """A field of a body, or of an object in it.

    Attributes:
        path: `messages[].x` is the field x of every message.
        literals: Those of its type, in their order.
    """

    path: str
    type: inspect.Type
    field: Field
    literals: tuple[Any, ...] = ()

    @property
    def allowed(self) -> str:
        """The values it may have, for people; "" where it is not honoured."""
        if self.field.support in _NOT_ALLOWED:
            return ""
        return "; ".join(filter(None, (words_of(self.type, self.literals), self.field.note)))


@functools.cache
def fields_of(body: type[msgspec.Struct]) -> dict[str, RequestField]:
    """Return the fields of a body by their paths, those of its objects with them where something is said of these."""
    info = inspect.type_info(body)
    assert isinstance(info, inspect.StructType)
    return {field.path: field for field in _fields(info, "")}


def not_honoured(part: msgspec.Struct, engine: EngineKind | None = None) -> Iterator[tuple[str, Field]]:
    """Yield what a body, or an object of a list in it, asks for in vain: the path from there, and the field."""
    for path, names, field in _unsupported(type(part), engine):
        value: Any = part
        for name in names:
            value = getattr(value, name, None)
        if value is not None and not field.is_neutral(value):
            yield path, field


def refuse_with_hint(part: msgspec.Struct, where: str = "") -> None:
    """Refuse what a body, or an object in it at a path, asks for in vain, with nothing but what to do instead."""
    for name, field in not_honoured(part):
        raise UnsupportedFieldError(f"{where}{name}: {field.hint}", f"{where}{name}")


def refuse_unsupported(body: msgspec.Struct, engine: EngineKind) -> None:
    """Refuse a body that asks for something in vain, in the words of OpenAI's protocols; name what has no effect."""
    for path, field in not_honoured(body, engine):
        values = ", ".join(msgspec.json.encode(value).decode() for value in field.neutral)
        way_out = field.hint or ("leave it out" + (f", or send {values}" if values else ""))
        refusal = UnsupportedFieldError(f"{path} is not supported by this version of mlxr; {way_out}", path)
        if field.support is not Support.WITHOUT_EFFECT:
            raise refusal
        leave_out(path, refusal)


def decode_body(raw: bytes, body: type[BodyT]) -> BodyT:
    """Read a body; what is wrong in it is an `InvalidRequestError` that names the field and what it may be."""
    try:
        return decode_json(raw, body)
    except InvalidRequestError as exc:
        raise with_allowed_values(exc, body) from exc


def with_allowed_values(error: InvalidRequestError, body: type[msgspec.Struct]) -> InvalidRequestError:
    """Return a decoder's error that says what the field may be, or the object that it lies in."""
    if isinstance(error, UnknownFieldError | InvalidJSONError):
        return error
    fields = fields_of(body)
    path = _INDEX.sub("[]", error.param or "")
    while path:
        found = fields.get(_TRAILING.sub("", path))
        if found is not None and found.allowed:
            return type(error)(f"{str(error).removesuffix('.')}; allowed: {found.allowed}.", error.param)
        path = path.rpartition(".")[0]
    return error


@functools.cache
def _unsupported(body: type[msgspec.Struct], engine: EngineKind | None) -> tuple[tuple[str, list[str], Field], ...]:
    found = ((path, field.field.on(engine)) for path, field in fields_of(body).items() if "[]" not in path)
    return tuple((path, path.split("."), field) for path, field in found if field.support in _NOT_HONOURED)


def _fields(info: inspect.StructType, prefix: str) -> Iterator[RequestField]:
    hints = typing.get_type_hints(info.cls, include_extras=True)
    for each in info.fields:
        path, hint = prefix + each.encode_name, hints[each.name]
        objects = [(struct, ending) for struct, ending in _objects(each.type) if _is_described(struct.cls)]
        if all(ending == "[]." for _, ending in objects):
            yield RequestField(path, each.type, _said_in(hint) or _PLAIN, tuple(_literals(hint)))
        for struct, ending in objects:
            yield from _fields(struct, path + ending)


def _is_described(struct: type) -> bool:
    return any(map(_said_in, typing.get_type_hints(struct, include_extras=True).values()))


def _said_in(hint: Any) -> Field | None:
    said = [item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Field)]
    if not said and typing.get_origin(hint) in {typing.Union, types.UnionType}:
        return next(filter(None, map(_said_in, typing.get_args(hint))), None)
    return said[0] if said else None


def _literals(hint: Any) -> Iterator[Any]:
    for each in typing.get_args(hint):
        if typing.get_origin(hint) is typing.Literal:
            yield each
        else:
            yield from _literals(each)


def _objects(type_: inspect.Type, ending: str = ".") -> Iterator[tuple[inspect.StructType, str]]:
    """Yield the objects that a field may be, or that a list in it may have, with what their fields' paths go on by."""
    match type_:
        case inspect.StructType():
            yield type_, ending
        case inspect.UnionType(types=types):
            for each in types:
                yield from _objects(each, ending)
        case inspect.ListType(item_type=item) if ending == ".":
            yield from _objects(item, "[].")
