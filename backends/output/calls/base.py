"""What the readers of all tool call formats have in common."""

import abc
import re
from collections.abc import Mapping
from typing import Any

from backends.output.literals import JSON, Transcoder
from backends.output.sink import Sink
from backends.output.source import MalformedError, Reading, Source

MAX_NAME_CHARS = 128
"""A longer function name is no call; the interface allows 64."""

NAME_RUN = re.compile(r"[\w.-]+")


class CallReader(abc.ABC):
    """Reads tool calls of one format, from behind what opened them.

    A reader consumes with the source's record on: what it consumed and has not put out as a call comes out as content
    when it raises MalformedError. When a call is open then, it is ended so that its arguments are JSON.

    Args:
        tools: Name to JSON schema of the arguments.

    Attributes:
        openers: Tags that open calls, anywhere in the content.
        bare_opener: The character that opens calls without a tag where an answer begins with it; "" = none does.
    """

    openers: tuple[str, ...] = ()
    bare_opener: str = ""

    def __init__(self, source: Source, sink: Sink, tools: Mapping[str, Mapping[str, Any]]) -> None:
        self._source = source
        self._sink = sink
        self._tools = tools

    @abc.abstractmethod
    def read(self) -> Reading[None]:
        """Read what follows one of `openers`, or, at the answer's beginning, what begins with `bare_opener`."""

    def _name(self) -> Reading[str]:
        """Consume and return a function name."""
        name = yield from self._source.word(NAME_RUN, MAX_NAME_CHARS)
        self._sink.check_name(name)
        return name

    def _json_arguments(self, name: str, *, model_id: str | None = None) -> Reading[None]:
        """Read a JSON object as the arguments of a call to `name`, which begins where its brace is seen."""
        if (yield from self._source.spaces()) != "{":
            raise MalformedError
        transcoder = Transcoder(self._source, self._sink.put_arguments, JSON)
        self._source.take_record()
        self._sink.begin_call(name, transcoder.closing, model_id=model_id)
        yield from transcoder.value()
        self._sink.end_call()
