"""The output of a request put together again, for answers that are one JSON body.

Not here: what the bodies look like (the protocols).
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from backends.wire.messages import SequenceEnd
from backends.wire.output import PositionLogprobs, PromptToken, ToolCallDelta
from router.errors import EngineCrashedError
from router.requests.generation import GenerationEvent, OutputEvent, PromptEvent


class OutputPart(msgspec.Struct):
    """A stretch of an answer that is all thinking, all text, or one call.

    Attributes:
        pieces: Of its text; of a call, of its arguments' JSON text.
    """

    kind: Literal["reasoning", "text", "call"]
    pieces: list[str]

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)


class CallPart(OutputPart):
    """A call, as far as it was written."""

    index: int
    call_id: str
    name: str


class CollectedOutput:
    """What one sequence has put out.

    Attributes:
        parts: In the order in which the model wrote them.
        calls: Those of them that are calls, by their index in the answer.
        echo: The prompt's text, where it is wanted; likewise `prompt`, its tokens.
    """

    def __init__(self) -> None:
        self.parts: list[OutputPart] = []
        self.calls: dict[int, CallPart] = {}
        self.logprobs: list[PositionLogprobs] = []
        self.echo = ""
        self.prompt: list[PromptToken] = []
        self._end: SequenceEnd | None = None

    @property
    def end(self) -> SequenceEnd:
        """How it ended.

        Raises:
            EngineCrashedError: It did not.
        """
        if self._end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        return self._end

    @property
    def text(self) -> str:
        """All of its text, without thinking and calls."""
        return self._joined("text")

    @property
    def reasoning(self) -> str:
        """All of its thinking."""
        return self._joined("reasoning")

    def add(self, event: OutputEvent) -> None:
        """Take over what is new; in one output, the rest of a call that is known comes before what is behind it."""
        output = event.output
        new_calls = [call for call in output.tool_calls if not self._goes_on(call)]
        if output.reasoning:
            self._write("reasoning", output.reasoning)
        if output.text:
            self._write("text", output.text)
        for call in new_calls:
            if not self._goes_on(call):
                part = CallPart("call", [call.arguments], call.index, call.call_id or "", call.name or "")
                self.calls[call.index] = part
                self.parts.append(part)
        self.logprobs += output.logprobs
        self._end = event.end or self._end

    def add_prompt(self, event: PromptEvent) -> None:
        """Take over what is told of the prompt."""
        self.echo = event.text or self.echo
        self.prompt[event.start :] = event.tokens

    def _goes_on(self, call: ToolCallDelta) -> bool:
        """Take a fragment over if its call is known; tell whether it is."""
        part = self.calls.get(call.index)
        if part is not None:
            part.pieces.append(call.arguments)
        return part is not None

    def _write(self, kind: Literal["reasoning", "text"], text: str) -> None:
        if not self.parts or self.parts[-1].kind != kind:
            self.parts.append(OutputPart(kind, []))
        self.parts[-1].pieces.append(text)

    def _joined(self, kind: Literal["reasoning", "text"]) -> str:
        return "".join([part.text for part in self.parts if part.kind == kind])


class WholeAnswer:
    """An encoder that collects the events of a request; its tail is the whole body.

    Args:
        write: Makes the body, of the output of each sequence; called once, at the end.
    """

    media_type = None
    keep_alive = None

    def __init__(self, num_sequences: int, write: Callable[[list[CollectedOutput]], Any]) -> None:
        self._num_sequences = num_sequences
        self._write = write
        self.forget()

    def forget(self) -> None:
        """Drop all events so far: they begin anew."""
        self._outputs = [CollectedOutput() for _ in range(self._num_sequences)]

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Take the events over; there is nothing to send yet."""
        for event in events:
            match event:
                case OutputEvent():
                    self._outputs[event.index].add(event)
                case PromptEvent():
                    self._outputs[event.index].add_prompt(event)
        return b""

    def tail(self) -> bytes:
        """Return the body.

        Raises:
            EngineCrashedError: A sequence has no end.
        """
        return msgspec.json.encode(self._write(self._outputs))
