"""Calls with arguments in a language's literals: Python's (Llama 3.2 and 4, LFM2) and Gemma's own."""

from collections.abc import Mapping
from typing import Any

import msgspec

from backends.output.calls.base import CallReader
from backends.output.literals import PYTHON, Transcoder, bare_dialect
from backends.output.sink import Sink
from backends.output.source import MalformedError, Reading, Source, Tags

_CALL = Tags("call:")


class PythonicSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """`[name(key=value, ...), ...]`.

    Attributes:
        opener: Tag before the list; "" = an answer begins with the list.
        closer: Tag behind it; "" = none.
    """

    opener: str = ""
    closer: str = ""

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that may be control tokens."""
        return tuple(text for text in (self.opener, self.closer) if text)


class PythonicCallReader(CallReader):
    """Reads calls of a `PythonicSyntax`."""

    def __init__(
        self, source: Source, sink: Sink, tools: Mapping[str, Mapping[str, Any]], syntax: PythonicSyntax
    ) -> None:
        super().__init__(source, sink, tools)
        self.openers = (syntax.opener,) if syntax.opener else ()
        self.bare_opener = "" if syntax.opener else "["
        self._closer = Tags(syntax.closer) if syntax.closer else None

    def read(self) -> Reading[None]:
        """Read the list."""
        if (yield from self._source.spaces()) != "[":
            raise MalformedError
        self._source.skip(1)
        while True:
            yield from self._call()
            char = yield from self._source.spaces()
            if char not in ",]":
                raise MalformedError
            self._source.skip(1)
            self._source.take_record()
            if char == "]":
                break
        if self._closer is not None:
            yield from self._source.spaces()
            yield from self._source.accept(self._closer)

    def _call(self) -> Reading[None]:
        yield from self._source.spaces()
        name = yield from self._name()
        if (yield from self._source.spaces()) != "(":
            raise MalformedError
        self._source.skip(1)
        transcoder = Transcoder(self._source, self._sink.put_arguments, PYTHON)
        self._sink.begin_call(name, transcoder.closing)
        yield from transcoder.body(")", "=")
        self._sink.end_call()


class GemmaSyntax(msgspec.Struct, frozen=True, kw_only=True):
    """`call:name{key:value,...}` between two tags.

    Attributes:
        mark: What strings stand between; nothing is escaped in them.
    """

    opener: str
    closer: str
    mark: str

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that may be control tokens."""
        return (self.opener, self.closer, self.mark)


class GemmaCallReader(CallReader):
    """Reads calls of a `GemmaSyntax`."""

    def __init__(self, source: Source, sink: Sink, tools: Mapping[str, Mapping[str, Any]], syntax: GemmaSyntax) -> None:
        super().__init__(source, sink, tools)
        self.openers = (syntax.opener,)
        self._closer = Tags(syntax.closer)
        self._dialect = bare_dialect(syntax.mark)

    def read(self) -> Reading[None]:
        """Read one call."""
        yield from self._source.spaces()
        yield from self._source.expect(_CALL)
        name = yield from self._name()
        if (yield from self._source.spaces()) != "{":
            raise MalformedError
        self._source.skip(1)
        transcoder = Transcoder(self._source, self._sink.put_arguments, self._dialect)
        self._sink.begin_call(name, transcoder.closing)
        yield from transcoder.body("}", ":")
        self._sink.end_call()
        yield from self._source.spaces()
        yield from self._source.accept(self._closer)
