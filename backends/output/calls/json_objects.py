"""Calls that are JSON objects with a name and arguments: Hermes, Qwen, Llama 3, Mistral's older form, Cohere, Phi."""

import json

import msgspec

from backends.output.calls.base import CallReader, read_json_call, read_json_text
from backends.output.sink import Sink
from backends.output.source import MalformedError, Reading, Source
from backends.output.values import json_type

_NAME_KEYS = frozenset(("name", "tool_name"))
_ARGUMENT_KEYS = frozenset(("arguments", "parameters"))
_ID_KEYS = frozenset(("id",))
_WRAPPER_KEY = "function"


class JsonSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """A format whose calls are JSON objects; what is read is wider than what is written.

    Attributes:
        openers: Tags that open one object or a list of them; empty = an object at the answer's beginning.
        closer: Tag that closes; "" = none.
        name_key: Key of the function's name, where calls are written.
        separator: What stands between two calls that are written, outside of lists.
        has_newlines: Whether an object is written on a line of its own between the tags.
        can_be_bare: Whether an answer may begin with a call without a tag.
    """

    openers: tuple[str, ...]
    closer: str = ""
    name_key: str = "name"
    arguments_key: str = "arguments"
    is_list: bool = False
    separator: str = "\n"
    has_newlines: bool = False
    can_be_bare: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that may be control tokens."""
        return (*self.openers, self.closer) if self.closer else self.openers


class JsonCallReader(CallReader[JsonSyntax]):
    """Reads calls of a `JsonSyntax`.

    Objects may stand one behind the other (also with `;` between them, Llama's way) or in a list; the keys may come in
    any order, further keys are passed over. Arguments that come before the name are held back until it is known.
    """

    def __init__(self, source: Source, sink: Sink, syntax: JsonSyntax) -> None:
        super().__init__(source, sink, syntax)
        self.openers = syntax.openers
        self.bare_opener = "{" if syntax.can_be_bare else ""

    def read(self) -> Reading[None]:
        """Read the objects behind an opener."""
        char = yield from self._source.spaces()
        if char == "[":
            self._source.skip(1)
            yield from self._list()
        else:
            yield from self._objects()
        yield from self._accept_closer(self._syntax.closer)

    def _list(self) -> Reading[None]:
        while True:
            yield from self._source.spaces()
            yield from _Object(self._source, self._sink).read()
            char = yield from self._source.spaces()
            if char not in ",]":
                raise MalformedError
            self._source.skip(1)
            if char == "]":
                return

    def _objects(self) -> Reading[None]:
        yield from _Object(self._source, self._sink).read()
        while True:
            char = yield from self._source.spaces()
            if char == ";":
                self._source.skip(1)
                char = yield from self._source.spaces()
            if char != "{":
                return
            yield from _Object(self._source, self._sink).read()


class _Object:
    """One call while it is read."""

    def __init__(self, source: Source, sink: Sink) -> None:
        self._source = source
        self._sink = sink
        self._name: str | None = None
        self._id: str | None = None
        self._arguments: str | None = None
        self._is_out = False

    def read(self, *, is_wrapped: bool = False) -> Reading[None]:
        """Read the object."""
        if (yield from self._source.peek()) != "{":
            raise MalformedError
        self._source.skip(1)
        while (yield from self._source.spaces()) != "}":
            yield from self._pair(is_wrapped=is_wrapped)
            if (yield from self._source.spaces()) == ",":
                self._source.skip(1)
            elif (yield from self._source.peek()) != "}":
                raise MalformedError
        self._source.skip(1)
        if is_wrapped:
            return
        if self._name is None:
            raise MalformedError
        self._source.take_record()
        if not self._is_out:
            self._sink.begin_call(self._name, lambda: "", model_id=self._id)
            self._sink.put_arguments(self._arguments or "{}")
            self._sink.end_call()

    def _pair(self, *, is_wrapped: bool) -> Reading[None]:
        key = _string((yield from read_json_text(self._source)))
        if (yield from self._source.spaces()) != ":":
            raise MalformedError
        self._source.skip(1)
        char = yield from self._source.spaces()
        if key == _WRAPPER_KEY and char == "{" and not is_wrapped:
            yield from self.read(is_wrapped=True)
        elif key in _ARGUMENT_KEYS and not self._is_out:
            yield from self._take_arguments(char)
        else:
            value = yield from read_json_text(self._source)
            if key in _NAME_KEYS and self._name is None:
                self._name = _string(value)
                self._sink.check_name(self._name)
            elif key in _ID_KEYS and value.startswith('"'):
                self._id = _string(value)

    def _take_arguments(self, char: str) -> Reading[None]:
        if char != "{" or self._name is None:
            self._arguments = _object_text((yield from read_json_text(self._source)))
            return
        self._is_out = True
        yield from read_json_call(self._source, self._sink, self._name, self._id)


def _string(text: str) -> str:
    value = json.loads(text) if text.startswith('"') else None
    if not isinstance(value, str):
        raise MalformedError
    return value


def _object_text(text: str) -> str:
    """Return the arguments' text: itself if it is an object, what a JSON string holds, `{}` for null."""
    if text == "null":
        return "{}"
    if text.startswith('"'):
        text = _string(text).strip() or "{}"
    if json_type(text) != "object":
        raise MalformedError
    return text
