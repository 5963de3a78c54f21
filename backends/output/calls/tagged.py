"""Calls whose parameters stand between tags as plain text: Qwen3-Coder, Seed, MiniMax, GLM."""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from backends.output.calls.base import MAX_NAME_CHARS, CallReader, read_json_text
from backends.output.literals import json_escaped
from backends.output.sink import Sink
from backends.output.source import SPACES, EndOfTextError, MalformedError, Reading, Source, Tags
from backends.output.values import json_of, properties_of, types_of

_MAX_KEY_CHARS = 1024
_JSON_OPENERS = "{["
_STRING = frozenset(("string",))


class TaggedSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """A format of tags around plain text.

    Attributes:
        call_open: Stands before a call's name; "" = the name follows `block_open`.
        name_end: Stands behind the name; "" = a new line or the first parameter's tag does.
        call_close: Closes a call; "" = `block_close` does.
        value_open: Stands before the value; "" = `param_name_end` does.
        has_newlines: Whether values stand on lines of their own, whose breaks are not theirs.
        separator: What is written between the parts of a call.
    """

    block_open: str
    block_close: str
    call_open: str = ""
    name_end: str = ""
    call_close: str = ""
    param_open: str
    param_name_end: str
    value_open: str = ""
    value_close: str
    has_newlines: bool = False
    separator: str = "\n"

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that may be control tokens."""
        texts = (
            self.block_open,
            self.block_close,
            self.call_open,
            self.call_close,
            self.param_open,
            self.param_name_end,
            self.value_open,
            self.value_close,
        )
        return tuple(text for text in texts if text)


class TaggedCallReader(CallReader[TaggedSyntax]):
    """Reads calls of a `TaggedSyntax`.

    Strings go out as they come, other values when they are whole: read as JSON where the tool's schema allows it.
    """

    def __init__(self, source: Source, sink: Sink, syntax: TaggedSyntax) -> None:
        super().__init__(source, sink, syntax)
        self.openers = (syntax.block_open, syntax.call_open) if syntax.call_open else (syntax.block_open,)
        self._call_open = Tags(syntax.call_open)
        self._param_or_end = Tags(syntax.param_open, syntax.call_close or syntax.block_close)
        self._block_close = Tags(syntax.block_close)
        self._name_end = Tags(syntax.name_end)
        self._key_end = Tags(syntax.param_name_end)
        self._value_open = Tags(syntax.value_open)
        self._value_close = Tags(syntax.value_close)
        self._name_run = _run_without((syntax.name_end or "<")[0] + SPACES)
        self._key_run = _run_without(syntax.param_name_end[0] + "\r\n")
        self._separator = ""

    def read(self) -> Reading[None]:
        """Read calls up to the block's end; with `call_open` as the opener the block's own tags are missing."""
        yield from self._source.spaces()
        yield from self._source.accept(self._call_open)
        while True:
            yield from self._call()
            if not self._syntax.call_close:
                return
            yield from self._source.spaces()
            if (yield from self._source.accept(self._call_open)) is None:
                yield from self._source.accept(self._block_close)
                return

    def _call(self) -> Reading[None]:
        name = (yield from self._source.word(self._name_run, MAX_NAME_CHARS)).strip()
        if self._syntax.name_end:
            yield from self._source.expect(self._name_end)
        self._sink.check_name(name)
        self._source.take_record()
        self._sink.begin_call(name, lambda: "}")
        self._sink.put_arguments("{")
        self._separator = ""
        try:
            yield from self._parameters(self._sink.tools[name])
        except EndOfTextError:
            # What is left is the beginning of a tag: syntax. Values have gone out.
            self._source.take_rest()
            self._source.take_record()
            raise
        self._sink.put_arguments("}")
        self._source.take_record()
        self._sink.end_call()

    def _parameters(self, schema: Mapping[str, Any]) -> Reading[None]:
        properties = properties_of(schema)
        while True:
            yield from self._source.spaces()
            if (yield from self._source.expect(self._param_or_end)) != self._syntax.param_open:
                return
            key = yield from self._key()
            yield from self._value(types_of(properties.get(key), schema))

    def _key(self) -> Reading[str]:
        key = yield from self._source.word(self._key_run, _MAX_KEY_CHARS)
        yield from self._source.expect(self._key_end)
        if self._syntax.value_open:
            yield from self._source.spaces()
            yield from self._source.expect(self._value_open)
        key = key.strip()
        if not key:
            raise MalformedError
        self._source.take_record()
        self._sink.put_arguments(f'{self._separator}"{json_escaped(key)}": ')
        self._separator = ", "
        return key

    def _value(self, types: frozenset[str] | None) -> Reading[None]:
        trimmed = "\n" if self._syntax.has_newlines else ""
        if trimmed and (yield from self._source.peek()) == "\n":
            self._source.skip(1)
            self._source.take_record()
        close = self._value_close
        if types == _STRING:
            self._sink.put_arguments('"')
            yield from self._source.until(close, self._put_string, trimmed=trimmed, max_trimmed=1)
            self._sink.put_arguments('"')
        else:
            can_be_string = types is None or "string" in types
            text = yield from self._plain_value(close, trimmed, can_be_string=can_be_string)
            self._sink.put_arguments(json_of(text, types))
        self._source.take_record()

    def _plain_value(self, close: Tags, trimmed: str, *, can_be_string: bool) -> Reading[str]:
        """Return the text of a value that is perhaps no string, up to its close tag, which is consumed.

        Where it can only be a JSON list or object, a close tag inside of its strings does not close it.
        """
        try:
            if not can_be_string and (yield from self._source.spaces()) in _JSON_OPENERS:
                text = yield from self._json_value(close)
                if text is not None:
                    return text
            parts = [self._source.take_record()]
            yield from self._source.until(close, parts.append, trimmed=trimmed, max_trimmed=1)
        except EndOfTextError:
            self._sink.put_arguments(self._source.take_record() + self._source.take_rest())
            raise
        return "".join(parts)

    def _json_value(self, close: Tags) -> Reading[str | None]:
        """Return the JSON that comes before the close tag; None = something else does, which the record has."""
        try:
            text = yield from read_json_text(self._source)
        except MalformedError:
            return None
        yield from self._source.spaces()
        return text if (yield from self._source.accept(close)) else None

    def _put_string(self, text: str) -> None:
        self._source.take_record()
        self._sink.put_arguments(json_escaped(text))


def _run_without(characters: str) -> re.Pattern[str]:
    return re.compile(f"[^{re.escape(characters)}]+")
