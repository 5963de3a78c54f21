"""Calls with arguments in a language's literals: Python's (Llama 3.2 and 4, LFM2) and Gemma's own."""

import msgspec

from backends.output.calls.base import CallReader, SyntaxT
from backends.output.literals import PYTHON, PYTHON_WORDS, Dialect, Transcoder
from backends.output.sink import Sink
from backends.output.source import MalformedError, Reading, Source, Tags

_CALL = Tags("call:")


class _LiteralCallReader(CallReader[SyntaxT]):
    def _call(self, opener: str, closer: str, pair: str, dialect: Dialect) -> Reading[None]:
        """Read a name and, between brackets, keys and values with `pair` between them."""
        name = yield from self._name()
        if (yield from self._source.spaces()) != opener:
            raise MalformedError
        self._source.skip(1)
        transcoder = Transcoder(self._source, self._sink.put_arguments, dialect)
        self._sink.begin_call(name, transcoder.closing)
        yield from transcoder.body(closer, pair)
        self._sink.end_call()


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


class PythonicCallReader(_LiteralCallReader[PythonicSyntax]):
    """Reads calls of a `PythonicSyntax`."""

    def __init__(self, source: Source, sink: Sink, syntax: PythonicSyntax) -> None:
        super().__init__(source, sink, syntax)
        self.openers = (syntax.opener,) if syntax.opener else ()
        self.bare_opener = "" if syntax.opener else "["

    def read(self) -> Reading[None]:
        """Read the list."""
        if (yield from self._source.spaces()) != "[":
            raise MalformedError
        self._source.skip(1)
        while True:
            yield from self._source.spaces()
            yield from self._call("(", ")", "=", PYTHON)
            char = yield from self._source.spaces()
            if char not in ",]":
                raise MalformedError
            self._source.skip(1)
            self._source.take_record()
            if char == "]":
                break
        yield from self._accept_closer(self._syntax.closer)


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


class GemmaCallReader(_LiteralCallReader[GemmaSyntax]):
    """Reads calls of a `GemmaSyntax`."""

    def __init__(self, source: Source, sink: Sink, syntax: GemmaSyntax) -> None:
        super().__init__(source, sink, syntax)
        self.openers = (syntax.opener,)
        self._dialect = Dialect(syntax.mark, '"', words=PYTHON_WORDS, is_bare=True)

    def read(self) -> Reading[None]:
        """Read one call."""
        yield from self._source.spaces()
        yield from self._source.expect(_CALL)
        yield from self._call("{", "}", ":", self._dialect)
        yield from self._accept_closer(self._syntax.closer)
