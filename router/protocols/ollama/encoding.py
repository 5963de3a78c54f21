"""Events to Ollama's answers, as lines of a stream or as one whole body, without I/O.

Source: Ollama, api/types.go (`ChatResponse`, `GenerateResponse`, `Metrics`) and docs/api.md.
"""

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
from msgspec import UNSET

from backends.wire.messages import SequenceEnd
from backends.wire.output import Output, PositionLogprobs, ToolCallDelta
from router.http.streaming import NDJSON
from router.protocols.fields.context import shown_context, told_without_timings
from router.protocols.fields.logprobs import position_logprobs
from router.protocols.images.seen import seen_images
from router.protocols.ollama.answer_schemas import (
    AnswerFunction,
    AnswerLine,
    AnswerMessage,
    AnswerToolCall,
    ChatLine,
    GenerateLine,
)
from router.protocols.ollama.durations import nanoseconds, timestamp
from router.requests.collected import CollectedOutput
from router.requests.context import ContextEvent
from router.requests.generation import Generation, GenerationEvent, OutputEvent

_encode = msgspec.json.Encoder().encode


class OllamaHead(msgspec.Struct, frozen=True, kw_only=True):
    """What all lines of one answer share.

    Attributes:
        answer_id: By which the request is listed and can be cancelled.
        is_chat: Whether it was asked by `/api/chat`.
        started_at: Monotonic seconds.
        clock: Nanoseconds since 1970.
        monotonic: Seconds that never jump.
    """

    model: str
    is_chat: bool
    answer_id: str = msgspec.field(default_factory=lambda: "ollama-" + secrets.token_hex(12))
    started_at: float = msgspec.field(default_factory=time.monotonic)
    clock: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic

    def line(
        self,
        text: str = "",
        thinking: str = "",
        calls: Sequence[AnswerToolCall] = (),
        logprobs: Sequence[PositionLogprobs] = (),
    ) -> AnswerLine:
        """Return a part of the answer."""
        created_at = timestamp(self.clock())
        shown = position_logprobs(logprobs) if logprobs else UNSET
        if not self.is_chat:
            return GenerateLine(
                model=self.model,
                created_at=created_at,
                response=text,
                thinking=thinking or UNSET,
                tool_calls=list(calls) or UNSET,
                done=False,
                logprobs=shown,
            )
        message = AnswerMessage(
            role="assistant", content=text, thinking=thinking or UNSET, tool_calls=list(calls) or UNSET
        )
        return ChatLine(model=self.model, created_at=created_at, message=message, done=False, logprobs=shown)

    def ended(self, line: AnswerLine, end: SequenceEnd, generation: Generation) -> AnswerLine:
        """Return the line that ends the answer: a last part of it with counts, and times in nanoseconds.

        The prompt's count is of all of it, as Ollama's. What of it was in the cache and what was computed,
        of which its time speaks, stand in fields of our own. The time of the load is that until the model was ready;
        above 0, because Ollama's clients take 0 for missing. Ollama does not tell an answer that calls tools from one
        that does not.
        """
        usage, timings = end.usage, end.timings
        context = {} if end.token_ids is None else {"context": end.token_ids}
        return msgspec.structs.replace(
            line,
            done=True,
            done_reason="length" if end.reason == "length" else "stop",
            total_duration=nanoseconds((self.monotonic() - self.started_at) * 1000),
            load_duration=max(1, nanoseconds(generation.queue_ms + generation.load_ms)),
            prompt_eval_count=usage.num_prompt_tokens,
            prompt_cached_count=usage.num_cached_tokens,
            prompt_computed_count=usage.num_prompt_tokens - usage.num_cached_tokens,
            prompt_eval_duration=nanoseconds(timings.prefill_ms),
            eval_count=usage.num_output_tokens,
            eval_duration=nanoseconds(timings.decode_ms),
            mlxr=told_without_timings(seen_images([end]), generation),
            **context,
        )


def whole_line(head: OllamaHead, generation: Generation, output: CollectedOutput) -> AnswerLine:
    """Return an answer that is not streamed.

    Raises:
        EngineCrashedError: It has no end.
    """
    written = [_call_or_text(call.index, call.call_id, call.name, call.text) for call in output.calls.values()]
    calls = [call for call in written if not isinstance(call, str)]
    cut = written[-1] if written and isinstance(written[-1], str) else ""
    line = head.line(output.text + cut, output.reasoning, calls, output.logprobs)
    return head.ended(line, output.end, generation)


class OllamaStream:
    """Turns the events of one request into lines of JSON; a call comes when it is whole."""

    media_type = NDJSON

    def __init__(self, head: OllamaHead, generation: Generation) -> None:
        self._head = head
        self._generation = generation
        self._call: ToolCallDelta | None = None
        self._arguments: list[str] = []

    @property
    def keep_alive(self) -> bytes:
        """A line with an empty part of the answer: it changes nothing for whoever adds the parts up."""
        return _written(self._head.line())

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the lines for one batch of events, ready for one write; b"" when there is nothing to say."""
        lines: list[AnswerLine] = []
        for event in events:
            if type(event) is ContextEvent:
                lines.append(msgspec.structs.replace(self._head.line(), context_wound=shown_context(event.facts)))
            elif type(event) is OutputEvent:
                lines += self._parts(event.output)
                if event.end is not None:
                    lines += self._ending(event.end)
        return b"".join([_written(line) for line in lines])

    def tail(self) -> bytes:
        """Return what comes after the last event: nothing."""
        return b""

    def _parts(self, output: Output) -> list[AnswerLine]:
        """Return the lines of an output in the order in which models write: thinking, text, calls."""
        calls = self._ended_calls(output.tool_calls)
        parts = [("", output.reasoning)] if output.reasoning else []
        if output.text or (output.logprobs and not parts):
            parts.append((output.text, ""))
        lines = []
        logprobs = output.logprobs
        for text, thinking in parts:
            lines.append(self._head.line(text, thinking, (), logprobs))
            logprobs = ()  # the tokens are told once
        return [*lines, self._head.line(calls=calls)] if calls else lines

    def _ending(self, end: SequenceEnd) -> list[AnswerLine]:
        lines = []
        match self._open_call():
            case AnswerToolCall() as call:
                lines.append(self._head.line(calls=[call]))
            case str() as cut:
                lines.append(self._head.line(cut))
        return [*lines, self._head.ended(self._head.line(), end, self._generation)]

    def _ended_calls(self, fragments: Iterable[ToolCallDelta]) -> list[AnswerToolCall]:
        """Take over fragments of calls; return the calls that another one has ended."""
        ended = []
        for fragment in fragments:
            if fragment.name is not None:
                ended.append(self._open_call())
                self._call, self._arguments = fragment, []
            self._arguments.append(fragment.arguments)
        return [call for call in ended if isinstance(call, AnswerToolCall)]

    def _open_call(self) -> AnswerToolCall | str | None:
        call = self._call
        if call is None:
            return None
        return _call_or_text(call.index, call.call_id or "", call.name or "", "".join(self._arguments))


def _call_or_text(index: int, call_id: str, name: str, arguments: str) -> AnswerToolCall | str:
    """Return a call, or its text where the answer's end has cut it. Ollama's have their arguments as an object."""
    try:
        read = msgspec.json.decode(arguments or "{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return f'{{"name": {_encode(name).decode()}, "arguments": {arguments}'
    return AnswerToolCall(id=call_id or UNSET, function=AnswerFunction(index=index, name=name, arguments=read))


def _written(line: AnswerLine) -> bytes:
    return _encode(line) + b"\n"
