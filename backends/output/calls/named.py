"""Calls that are a name and a JSON object behind it: Mistral's newer form, DeepSeek, Kimi K2."""

import re

import msgspec

from backends.output.calls.base import MAX_NAME_CHARS, NAME_RUN, CallReader, read_json_call
from backends.output.calls.json_objects import JsonCallReader, JsonSyntax
from backends.output.sink import Sink
from backends.output.source import Reading, Source, Tags

_ID_RUN = re.compile(r"[A-Za-z0-9]+")
_INDEX_RUN = re.compile(r"[0-9]+")
_MAX_ID_CHARS = 64
_COLON = Tags(":")
_BLOCK_OPEN = Tags("```json")
_BLOCK_CLOSE = Tags("```")


class MistralSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """`[TOOL_CALLS]name[ARGS]{...}`, one opener per call, with `[CALL_ID]...` behind the name in some versions."""

    opener: str = "[TOOL_CALLS]"
    id_mark: str = "[CALL_ID]"
    arguments_mark: str = "[ARGS]"

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that may be control tokens."""
        return (self.opener, self.id_mark, self.arguments_mark)


class MistralCallReader(CallReader[MistralSyntax]):
    """Reads both of Mistral's forms: the name before the arguments, or a list of objects behind one opener."""

    def __init__(self, source: Source, sink: Sink, syntax: MistralSyntax) -> None:
        super().__init__(source, sink, syntax)
        self.openers = (syntax.opener,)
        self._objects = JsonCallReader(source, sink, JsonSyntax(openers=self.openers))

    def read(self) -> Reading[None]:
        """Read one call, or a list of them."""
        if (yield from self._source.spaces()) in "[{":
            yield from self._objects.read()
            return
        name = yield from self._name()
        call_id = None
        id_mark, arguments_mark = self._syntax.id_mark, self._syntax.arguments_mark
        if (yield from self._source.expect(Tags(id_mark, arguments_mark))) == id_mark:
            call_id = yield from self._source.word(_ID_RUN, _MAX_ID_CHARS)
            yield from self._source.expect(Tags(arguments_mark))
        yield from read_json_call(self._source, self._sink, name, call_id)


class SectionSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """Calls between their own tags inside of a section of calls.

    Attributes:
        has_type: Whether `function` and a mark stand before the name, and a code block holds the arguments.
        has_index: Whether `:` and the call's number stand behind the name.
    """

    section_open: str
    section_close: str
    call_open: str
    call_close: str
    arguments_mark: str
    name_prefix: str = ""
    has_type: bool = False
    has_index: bool = False

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that may be control tokens."""
        return (self.section_open, self.section_close, self.call_open, self.call_close, self.arguments_mark)


class SectionCallReader(CallReader[SectionSyntax]):
    """Reads calls of a `SectionSyntax`; the section's own tags may be missing."""

    def __init__(self, source: Source, sink: Sink, syntax: SectionSyntax) -> None:
        super().__init__(source, sink, syntax)
        self.openers = (syntax.section_open, syntax.call_open)

    def read(self) -> Reading[None]:
        """Read calls up to the section's end."""
        yield from self._source.spaces()
        yield from self._source.accept(Tags(self._syntax.call_open))
        next_or_end = Tags(self._syntax.call_open, self._syntax.section_close)
        while True:
            yield from self._call(self._syntax)
            yield from self._source.spaces()
            if (yield from self._source.accept(next_or_end)) != self._syntax.call_open:
                return

    def _call(self, syntax: SectionSyntax) -> Reading[None]:
        yield from self._source.spaces()
        if syntax.name_prefix:
            yield from self._source.accept(Tags(syntax.name_prefix))
        name = yield from self._source.word(NAME_RUN, MAX_NAME_CHARS)
        if syntax.has_index and (yield from self._source.accept(_COLON)):
            yield from self._source.word(_INDEX_RUN, _MAX_ID_CHARS)
        yield from self._source.spaces()
        yield from self._source.expect(Tags(syntax.arguments_mark))
        if (yield from self._source.spaces()) != "{":
            # The word before the mark was the call's type: DeepSeek's V3 writes `function<mark>NAME` and a code block.
            name = yield from self._source.word(NAME_RUN, MAX_NAME_CHARS)
        self._sink.check_name(name)
        yield from self._source.spaces()
        yield from self._source.accept(_BLOCK_OPEN)
        yield from read_json_call(self._source, self._sink, name)
        yield from self._source.spaces()
        yield from self._source.accept(_BLOCK_CLOSE)
        yield from self._source.spaces()
        yield from self._source.expect(Tags(syntax.call_close))
        self._source.take_record()
