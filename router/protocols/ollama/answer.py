"""The parts of Ollama's answers that streams and whole bodies share, and whole bodies. No I/O.

Source: Ollama, api/types.go (`ChatResponse`, `GenerateResponse`, `Metrics`) and docs/api.md.
"""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from backends.wire.output import Output, PositionLogprobs, ToolCallDelta
from router.errors import EngineCrashedError
from router.protocols.fields.logprobs import position_logprobs
from router.protocols.ollama.durations import nanoseconds, timestamp
from router.requests.generation import Generation, GenerationEvent, OutputEvent, SequenceEnd

_DONE_REASONS: Final = {"length": "length"}
"""Others are `stop`: Ollama does not tell an answer that calls tools from one that does not."""


class AnswerHead(msgspec.Struct, frozen=True, kw_only=True):
    """What all lines of one answer share.

    Attributes:
        answer_id: By which the request is listed and can be cancelled.
        is_chat: Whether it was asked by `/api/chat`.
        started_at: Monotonic seconds.
        clock: Nanoseconds since 1970.
        monotonic: Seconds that never jump.
    """

    answer_id: str
    model: str
    is_chat: bool
    started_at: float
    clock: Callable[[], int] = time.time_ns
    monotonic: Callable[[], float] = time.monotonic

    @classmethod
    def new(cls, model: str, *, is_chat: bool) -> "AnswerHead":
        """Return a head with a fresh id."""
        return cls(
            answer_id="ollama-" + secrets.token_hex(12), model=model, is_chat=is_chat, started_at=time.monotonic()
        )

    def line(
        self,
        text: str = "",
        thinking: str = "",
        calls: Sequence[dict[str, Any]] = (),
        logprobs: Sequence[PositionLogprobs] = (),
    ) -> dict[str, Any]:
        """Return an object with a part of the answer."""
        more: dict[str, Any] = {} if not thinking else {"thinking": thinking}
        if calls:
            more["tool_calls"] = list(calls)
        content: dict[str, Any]
        if self.is_chat:
            content = {"message": {"role": "assistant", "content": text, **more}}
        else:
            content = {"response": text, **more}
        line = {"model": self.model, "created_at": timestamp(self.clock()), **content, "done": False}
        if logprobs:
            line["logprobs"] = position_logprobs(logprobs)
        return line

    def last_line(self, line: dict[str, Any], end: SequenceEnd, generation: Generation) -> dict[str, Any]:
        """Return the object that ends the answer.

        Args:
            line: What it says of the answer itself.
        """
        ending = {"done": True, "done_reason": _DONE_REASONS.get(end.reason, "stop")}
        context = {} if end.token_ids is None else {"context": end.token_ids}
        total_ms = (self.monotonic() - self.started_at) * 1000
        return line | ending | context | metrics(end, total_ms=total_ms, load_ms=generation.load_ms)


def metrics(end: SequenceEnd, *, total_ms: float, load_ms: float) -> dict[str, int]:
    """Return counts and times in nanoseconds.

    Unlike Ollama's own, count and time of the prompt speak of the same tokens: those that were computed. Those that
    were in the cache are counted apart, in a field of our own.
    """
    usage, timings = end.usage, end.timings
    return {
        "total_duration": nanoseconds(total_ms),
        "load_duration": nanoseconds(load_ms),
        "prompt_eval_count": usage.num_prompt_tokens - usage.num_cached_tokens,
        "prompt_cached_count": usage.num_cached_tokens,
        "prompt_eval_duration": nanoseconds(timings.prefill_ms),
        "eval_count": usage.num_output_tokens,
        "eval_duration": nanoseconds(timings.decode_ms),
    }


class CallParts:
    """Makes whole calls of their fragments: Ollama's have their arguments as an object."""

    def __init__(self) -> None:
        self._index = 0
        self._id: str | None = None
        self._name: str | None = None
        self._arguments: list[str] = []

    def add(self, calls: Sequence[ToolCallDelta]) -> list[dict[str, Any]]:
        """Take over fragments; return the calls that are whole by them."""
        whole = []
        for call in calls:
            if call.name is not None:
                whole += self.flush()[0]
                self._index, self._id, self._name = call.index, call.call_id, call.name
            self._arguments.append(call.arguments)
        return whole

    def flush(self) -> tuple[list[dict[str, Any]], str]:
        """Return the call that is under way, or its text where the answer's end has cut it."""
        name, text = self._name, "".join(self._arguments)
        self._name, self._arguments = None, []
        if name is None:
            return [], ""
        try:
            arguments = msgspec.json.decode(text or "{}", type=dict[str, Any])
        except msgspec.DecodeError:
            return [], f'{{"name": {msgspec.json.encode(name).decode()}, "arguments": {text}'
        call_id = {} if self._id is None else {"id": self._id}
        return [{**call_id, "function": {"index": self._index, "name": name, "arguments": arguments}}], ""


class WholeAnswer:
    """Collects the events of one request; its tail is the whole body."""

    media_type = None
    keep_alive = None

    def __init__(self, head: AnswerHead, generation: Generation) -> None:
        self._head = head
        self._generation = generation
        self._texts: list[str] = []
        self._thinking: list[str] = []
        self._logprobs: list[PositionLogprobs] = []
        self._parts = CallParts()
        self._calls: list[dict[str, Any]] = []
        self._end: SequenceEnd | None = None

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Take the events over; there is nothing to send yet."""
        for event in events:
            if isinstance(event, OutputEvent):
                self._add(event.output)
                self._end = event.end or self._end
        return b""

    def tail(self) -> bytes:
        """Return the body.

        Raises:
            EngineCrashedError: The answer has no end.
        """
        if self._end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        calls, cut = self._parts.flush()
        text = "".join(self._texts) + cut
        line = self._head.line(text, "".join(self._thinking), [*self._calls, *calls], self._logprobs)
        return msgspec.json.encode(self._head.last_line(line, self._end, self._generation))

    def _add(self, output: Output) -> None:
        self._texts.append(output.text)
        self._thinking.append(output.reasoning)
        self._logprobs += output.logprobs
        self._calls += self._parts.add(output.tool_calls)
