"""Answers in OpenAI's harmony format: messages on channels, some of them addressed to a function.

Analysis is reasoning, other messages are content, and what is addressed to one of the tools is a call of it. A message
that is addressed to something else comes out as content together with its header.

Source: https://cookbook.openai.com/articles/openai-harmony, "Receiving tool calls": "the recipient may be defined in
the role or channel section of the header".
"""

import re
from collections.abc import Callable

import msgspec

from backends.output.calls.base import read_json_call, read_or_show
from backends.output.sink import Sink
from backends.output.source import EndOfTextError, Reading, Source, Tags

_RECIPIENT = re.compile(r"\bto=(?:functions\.)?([\w.-]+)")
_REASONING_CHANNEL = "analysis"


class HarmonySyntax(msgspec.Struct, frozen=True):
    """OpenAI's harmony: an answer is a series of messages on channels, some of which are addressed to functions.

    `<|call|>` and `<|return|>` end the whole answer, as end tokens; the former is read where it comes as text.
    """

    start: str = "<|start|>"
    channel: str = "<|channel|>"
    constrain: str = "<|constrain|>"
    message: str = "<|message|>"
    end: str = "<|end|>"
    call: str = "<|call|>"

    @property
    def tags(self) -> tuple[str, ...]:
        """All texts of the format that are control tokens and no end of the answer."""
        return (self.start, self.channel, self.constrain, self.message, self.end)


class HarmonyReader:
    """Reads whole answers.

    Args:
        splits_reasoning: Whether analysis is put out apart; otherwise it is content together with its header.
        has_tools: Whether messages to functions are calls; otherwise they are content together with their header.
    """

    def __init__(
        self, source: Source, sink: Sink, syntax: HarmonySyntax, *, splits_reasoning: bool, has_tools: bool
    ) -> None:
        self._source = source
        self._sink = sink
        self._splits_reasoning = splits_reasoning
        self._has_tools = has_tools
        self._channel = re.compile(re.escape(syntax.channel) + r"\s*(\w+)")
        self._header_openers = Tags(syntax.start, syntax.channel, "to=")
        self._header_end = Tags(syntax.message)
        self._body_end = Tags(syntax.end, syntax.call, syntax.start, syntax.channel)
        self._closers = (syntax.end, syntax.call)

    def read(self) -> Reading[None]:
        """Read message after message; the prompt ended behind the role, so that the first has no beginning."""
        opener = ""
        while True:
            header = yield from self._header(opener)
            if header:
                opener = yield from self._message(header)
            else:
                opener = yield from self._body(self._sink.put_text)

    def _header(self, opener: str) -> Reading[str]:
        """Return what stands before a message, up to its mark; "" = text without a header comes."""
        self._source.start_record()
        try:
            if not opener:
                yield from self._source.spaces()
                if (yield from self._source.accept(self._header_openers)) is None:
                    self._sink.put_text(self._source.take_record())
                    return ""
            yield from self._source.until(self._header_end, lambda _: None)
            return opener + self._source.take_record()
        except EndOfTextError:
            self._sink.put_text(opener + self._source.take_record() + self._source.take_rest())
            raise
        finally:
            self._source.stop_record()

    def _message(self, header: str) -> Reading[str]:
        """Read a message behind its header; return the tag that opens the next one, "" for none."""
        channel = self._channel.search(header)
        if _RECIPIENT.search(header):
            if self._has_tools:
                return (yield from self._call(header))
        elif channel is None or channel[1] != _REASONING_CHANNEL:
            return (yield from self._body(self._sink.put_text))
        elif self._splits_reasoning:
            return (yield from self._body(self._sink.put_reasoning))
        self._sink.put_text(header)
        return (yield from self._body(self._sink.put_text, shows_end=True))

    def _body(self, put: Callable[[str], None], *, shows_end: bool = False) -> Reading[str]:
        tag = yield from self._source.until(self._body_end, put)
        if tag not in self._closers:
            return tag
        if shows_end:
            put(tag)
        return ""

    def _call(self, header: str) -> Reading[str]:
        call = self._arguments(header)
        yield from read_or_show(self._source, self._sink, header, call, is_syntax=lambda _: True)
        return (yield from self._body(self._sink.put_text))

    def _arguments(self, header: str) -> Reading[None]:
        recipient = _RECIPIENT.search(header)
        assert recipient is not None
        self._sink.check_name(recipient[1])
        yield from read_json_call(self._source, self._sink, recipient[1])
        yield from self._source.spaces()
