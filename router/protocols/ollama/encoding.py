"""Events to the lines of Ollama's streams, without I/O. Whole bodies are in `answer`."""

import msgspec

from backends.wire.output import Output
from router.http.streaming import NDJSON
from router.protocols.ollama.answer import AnswerHead, CallParts
from router.requests.generation import Generation, GenerationEvent, OutputEvent, SequenceEnd

_encode = msgspec.json.Encoder().encode


class StreamEncoder:
    """Turns the events of one request into lines of JSON."""

    media_type = NDJSON

    def __init__(self, head: AnswerHead, generation: Generation) -> None:
        self._head = head
        self._generation = generation
        self._calls = CallParts()

    @property
    def keep_alive(self) -> bytes:
        """A line with an empty part of the answer: it changes nothing for whoever adds the parts up."""
        return _encode(self._head.line()) + b"\n"

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the lines for one batch of events, ready for one write; b"" when there is nothing to say."""
        return b"".join([self._lines(event) for event in events if type(event) is OutputEvent])

    def tail(self) -> bytes:
        """Return what comes after the last event: nothing."""
        return b""

    def _lines(self, event: OutputEvent) -> bytes:
        lines = self._parts(event.output)
        return lines if event.end is None else lines + self._ending(event.end)

    def _parts(self, output: Output) -> bytes:
        """Return the lines of an output in the order in which models write: thinking, text, calls."""
        calls = self._calls.add(output.tool_calls)
        parts = [("", output.reasoning)] if output.reasoning else []
        if output.text or (output.logprobs and not parts):
            parts.append((output.text, ""))
        lines = []
        logprobs = output.logprobs
        for text, thinking in parts:
            lines.append(self._head.line(text, thinking, (), logprobs))
            logprobs = ()  # the tokens are told once
        if calls:
            lines.append(self._head.line(calls=calls))
        return b"".join([_encode(line) + b"\n" for line in lines])

    def _ending(self, end: SequenceEnd) -> bytes:
        calls, cut = self._calls.flush()
        last = b""
        if calls or cut:
            last = _encode(self._head.line(cut, calls=calls)) + b"\n"
        return last + _encode(self._head.last_line(self._head.line(), end, self._generation)) + b"\n"
