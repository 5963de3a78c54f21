"""What the readers of all tool call formats have in common."""

import abc
import re
from collections.abc import Callable
from typing import Generic, TypeVar

from backends.output.literals import JSON, Transcoder
from backends.output.sink import Sink
from backends.output.source import EndOfTextError, MalformedError, Reading, Source, Tags

MAX_NAME_CHARS = 128
"""A longer function name is no call; the interface allows no longer ones."""

NAME_RUN = re.compile(r"[\w.-]+")

SyntaxT = TypeVar("SyntaxT")


class CallReader(abc.ABC, Generic[SyntaxT]):
    """Reads tool calls of one format, from behind what opened them.

    A reader consumes with the source's record on: what it consumed and has not put out as a call comes out as content
    when it raises MalformedError. When a call is open then, it is ended so that its arguments are JSON.

    Attributes:
        openers: Tags that open calls, anywhere in the content.
        bare_opener: The character that opens calls without a tag where an answer begins with it; "" = none does.
    """

    openers: tuple[str, ...] = ()
    bare_opener: str = ""

    def __init__(self, source: Source, sink: Sink, syntax: SyntaxT) -> None:
        self._source = source
        self._sink = sink
        self._syntax = syntax

    @abc.abstractmethod
    def read(self) -> Reading[None]:
        """Read what follows one of `openers`, or, at the answer's beginning, what begins with `bare_opener`."""

    def _name(self) -> Reading[str]:
        """Consume and return a function name."""
        name = yield from self._source.word(NAME_RUN, MAX_NAME_CHARS)
        self._sink.check_name(name)
        return name

    def _accept_closer(self, closer: str) -> Reading[None]:
        """Consume the tag that closes calls if it comes next; "" = the format has none."""
        if closer:
            yield from self._source.spaces()
            yield from self._source.accept(Tags(closer))


def read_json_call(source: Source, sink: Sink, name: str, model_id: str | None = None) -> Reading[None]:
    """Read a JSON object as the arguments of a call to `name`, which begins where its brace is seen."""
    if (yield from source.spaces()) != "{":
        raise MalformedError
    transcoder = Transcoder(source, sink.put_arguments, JSON)
    source.take_record()
    sink.begin_call(name, transcoder.closing, model_id=model_id)
    yield from transcoder.value()
    sink.end_call()


def read_json_text(source: Source) -> Reading[str]:
    """Read any JSON value and return its text; the record in which it is called keeps it."""
    parts: list[str] = []
    source.start_record()
    try:
        yield from Transcoder(source, parts.append, JSON).value()
    finally:
        source.stop_record()
    return "".join(parts)


def read_or_show(
    source: Source, sink: Sink, head: str, calls: Reading[None], is_syntax: Callable[[str], bool]
) -> Reading[bool]:
    """Read calls behind `head`, which opened them; what turns out to be none comes out as content, as it stands.

    Args:
        is_syntax: Asked where an answer ends behind a complete call: whether this end of it is no content.

    Returns:
        Whether there was nothing but calls.
    """
    num_calls = sink.num_calls
    source.start_record()
    try:
        yield from calls
    except MalformedError:
        if sink.is_call_open:
            sink.break_call()
        rest = source.take_record()
        sink.put_text(rest if sink.num_calls > num_calls else head + rest)
        return False
    except EndOfTextError:
        rest = source.take_record() + source.take_rest()
        if sink.is_call_open:
            sink.put_arguments(rest)
        elif sink.num_calls == num_calls:
            sink.put_text(head + rest)
        elif not is_syntax(rest):
            sink.put_text(rest)
        raise
    finally:
        source.stop_record()
    return True
