"""The parts of answers that streams and whole bodies share, and whole bodies. No I/O.

Source: OpenAI API reference, "The chat completion object" and "The completion object"; for `timings`, llama.cpp's
tools/server (server-task.cpp, `result_timings::to_json`).
"""

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from backends.wire.output import Output, PositionLogprobs
from router.errors import EngineCrashedError
from router.protocols.openai.logprobs import CompletionLogprobs, chat_logprobs
from router.requests.generation import Generation, GenerationEvent, OutputEvent, SequenceEnd


class AnswerHead(msgspec.Struct, frozen=True, kw_only=True):
    """What all chunks of one answer share.

    Attributes:
        answer_id: `chatcmpl-…` or `cmpl-…`.
        created: Seconds since 1970.
        service_tier: By which it was scheduled; None = the client did not ask.
    """

    answer_id: str
    created: int
    model: str
    is_chat: bool
    service_tier: str | None = None

    @classmethod
    def new(cls, model: str, *, is_chat: bool, service_tier: str | None = None) -> "AnswerHead":
        """Return a head with a fresh id and the current time."""
        prefix = "chatcmpl-" if is_chat else "cmpl-"
        return cls(
            answer_id=prefix + secrets.token_hex(12),
            created=int(time.time()),
            model=model,
            is_chat=is_chat,
            service_tier=service_tier,
        )

    def body(self, kind: str) -> dict[str, Any]:
        """Return the fields that every object of the answer begins with."""
        tier = {} if self.service_tier is None else {"service_tier": self.service_tier}
        return {"id": self.answer_id, "object": kind, "created": self.created, "model": self.model, **tier}


class ChoiceParts:
    """The output of one sequence, collected.

    Attributes:
        end: How it ended, once it has.
    """

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._reasoning: list[str] = []
        self._calls: dict[int, tuple[str | None, str | None, list[str]]] = {}
        self._logprobs: list[PositionLogprobs] = []
        self.end: SequenceEnd | None = None

    def add(self, output: Output) -> None:
        """Take over what is new."""
        self._texts.append(output.text)
        self._reasoning.append(output.reasoning)
        self._logprobs += output.logprobs
        for call in output.tool_calls:
            if call.index not in self._calls:
                self._calls[call.index] = (call.call_id, call.name, [])
            self._calls[call.index][2].append(call.arguments)

    def choice(self, index: int, reason: str, *, is_chat: bool, has_logprobs: bool, echo: str = "") -> dict[str, Any]:
        """Return the choice object.

        Args:
            is_chat: In which shape.
            echo: What stands before the text of a text completion.
        """
        logprobs: dict[str, Any] | None = None
        if has_logprobs:
            logprobs = chat_logprobs(self._logprobs) if is_chat else CompletionLogprobs().shape(self._logprobs)
        content: dict[str, Any] = {"message": self._message()} if is_chat else {"text": echo + "".join(self._texts)}
        return {"index": index, **content, "logprobs": logprobs, "finish_reason": reason}

    def _message(self) -> dict[str, Any]:
        text = "".join(self._texts)
        message: dict[str, Any] = {
            "role": "assistant",
            "content": None if self._calls and not text else text,
            "refusal": None,
        }
        if reasoning := "".join(self._reasoning):
            message["reasoning_content"] = reasoning
        if self._calls:
            message["tool_calls"] = [
                {"id": call_id, "type": "function", "function": {"name": name, "arguments": "".join(arguments)}}
                for _, (call_id, name, arguments) in sorted(self._calls.items())
            ]
        return message


class WholeAnswer:
    """Collects the events of one request; its tail is the whole body.

    Args:
        generation: For its request, and its queue and load times at the end.
        echoes: Per prompt, what stands before each of its answers; () = nothing.
    """

    media_type = None
    keep_alive = None

    def __init__(self, head: AnswerHead, generation: Generation, echoes: tuple[str, ...] = ()) -> None:
        self._head = head
        self._generation = generation
        self._echoes = echoes
        self._parts = [ChoiceParts() for _ in range(generation.request.num_sequences)]

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Take the events over; there is nothing to send yet."""
        for event in events:
            if isinstance(event, OutputEvent):
                part = self._parts[event.index]
                part.add(event.output)
                part.end = event.end
        return b""

    def tail(self) -> bytes:
        """Return the body.

        Raises:
            EngineCrashedError: Some answer has no end.
        """
        ends = [part.end for part in self._parts if part.end is not None]
        if len(ends) < len(self._parts):
            raise EngineCrashedError("the engine ended the request without an answer")
        return full_answer(self._head, self._generation, self._parts, ends, echoes=self._echoes)


def full_answer(
    head: AnswerHead,
    generation: Generation,
    parts: Sequence[ChoiceParts],
    ends: Sequence[SequenceEnd],
    *,
    echoes: Sequence[str] = (),
) -> bytes:
    """Return the body of an answer that is not streamed.

    Args:
        generation: For the request, and its queue and load times.
        parts: Per sequence, its output.
        ends: Per sequence, how it ended.
        echoes: Per prompt, what stands before each of its answers; () = nothing.
    """
    request = generation.request
    has_logprobs = request.spec.sampling.num_logprobs is not None
    choices = [
        part.choice(
            index,
            end.reason,
            is_chat=head.is_chat,
            has_logprobs=has_logprobs,
            echo=echoes[index // request.num_choices] if echoes else "",
        )
        for index, (part, end) in enumerate(zip(parts, ends, strict=True))
    ]
    kind = "chat.completion" if head.is_chat else "text_completion"
    usage = usage_of(ends, request.num_choices)
    timings = timings_of(ends, generation, request.num_choices)
    return msgspec.json.encode({**head.body(kind), "choices": choices, "usage": usage, "timings": timings})


def usage_of(ends: Sequence[SequenceEnd], num_choices: int = 1) -> dict[str, Any]:
    """Return OpenAI's usage object: every answer counts, every prompt counts once.

    Args:
        ends: Of all sequences, in the order of their indices.
        num_choices: Sequences per prompt.
    """
    firsts = ends[::num_choices]
    prompt = sum(end.usage.num_prompt_tokens for end in firsts)
    output = sum(end.usage.num_output_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": sum(end.usage.num_cached_tokens for end in firsts)},
        "completion_tokens_details": {"reasoning_tokens": sum(end.usage.num_reasoning_tokens for end in ends)},
    }


def timings_of(ends: Sequence[SequenceEnd], generation: Generation, num_choices: int = 1) -> dict[str, Any]:
    """Return llama-server's timings object with mlxr's fields; sequences add up, a prompt counts once."""
    firsts = ends[::num_choices]
    cached = sum(end.usage.num_cached_tokens for end in firsts)
    predicted_n = sum(end.usage.num_output_tokens for end in ends)
    return timings_object(
        generation,
        num_cached=cached,
        num_prefilled=sum(end.usage.num_prompt_tokens for end in firsts) - cached,
        prompt_ms=sum(end.timings.prefill_ms for end in firsts),
        num_predicted=predicted_n,
        # The first token belongs to the prefill: decode time covers the ones after it.
        num_decoded=predicted_n - len(ends),
        predicted_ms=sum(end.timings.decode_ms for end in ends),
        queue_ms=max((end.timings.queue_ms for end in ends), default=0.0),
    )


def timings_object(
    generation: Generation,
    *,
    num_cached: int,
    num_prefilled: int,
    prompt_ms: float,
    num_predicted: int,
    num_decoded: int,
    predicted_ms: float,
    queue_ms: float,
) -> dict[str, Any]:
    """Return the timings object; a rate is absent (null) where no time was measured.

    Args:
        generation: For the engine, and the queue and load times.
        num_cached: Prompt tokens that were not computed.
        num_prefilled: Prompt tokens that were.
        num_predicted: Tokens of the answer.
    """
    choice = generation.choice
    return {
        "cache_n": num_cached,
        "prompt_n": num_prefilled,
        "prompt_ms": round(prompt_ms, 3),
        "prompt_per_token_ms": _ratio(prompt_ms, num_prefilled),
        "prompt_per_second": _ratio(num_prefilled * 1000, prompt_ms),
        "predicted_n": num_predicted,
        "predicted_ms": round(predicted_ms, 3),
        "predicted_per_token_ms": _ratio(predicted_ms, num_decoded),
        "predicted_per_second": _ratio(num_decoded * 1000, predicted_ms),
        "engine": None if choice is None else choice.target.engine,
        "engine_reason": None if choice is None else choice.reason.value,
        "load_ms": round(generation.load_ms, 3),
        "queue_ms": round(generation.queue_ms + queue_ms, 3),
    }


def _ratio(numerator: float, denominator: float) -> float | None:
    return round(numerator / denominator, 3) if denominator > 0 else None
