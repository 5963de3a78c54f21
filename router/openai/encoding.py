"""Events to the bodies and stream chunks of the OpenAI API, without I/O.

Source: OpenAI API reference, "The chat completion object", "The chat completion chunk object", "The completion object";
for `timings`, llama.cpp's tools/server (server-task.cpp, `result_timings::to_json`).
"""

import secrets
import time
from typing import Any

import msgspec

from router.generation import Generation, SequenceEnd, TextEvent

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class AnswerHead(msgspec.Struct, frozen=True, kw_only=True):
    """What all chunks of one answer share.

    Attributes:
        answer_id: `chatcmpl-…` or `cmpl-…`.
        created: Seconds since 1970.
        model: As the client named it.
        is_chat: Chat or text completion.
    """

    answer_id: str
    created: int
    model: str
    is_chat: bool

    @classmethod
    def new(cls, model: str, *, is_chat: bool) -> "AnswerHead":
        """Return a head with a fresh id and the current time."""
        prefix = "chatcmpl-" if is_chat else "cmpl-"
        return cls(answer_id=prefix + secrets.token_hex(12), created=int(time.time()), model=model, is_chat=is_chat)

    def body(self, kind: str) -> dict[str, Any]:
        """Return the fields that every object of the answer begins with."""
        return {"id": self.answer_id, "object": kind, "created": self.created, "model": self.model}


class StreamEncoder:
    """Turns the events of one request into SSE chunks.

    The text of a token is the hot path: everything around it is encoded once per stream.

    Args:
        head: Of the answer.
        generation: For its queue and load times at the end.
        includes_usage: Whether a chunk with usage is to come last.
    """

    def __init__(self, head: AnswerHead, generation: Generation, *, includes_usage: bool) -> None:
        self._head = head
        self._generation = generation
        self._includes_usage = includes_usage
        self._ends: list[SequenceEnd] = []
        self._started: set[int] = set()
        self._prefix = (
            b"data: " + _encode(head.body("chat.completion.chunk" if head.is_chat else "text_completion"))[:-1]
        )
        usage = b',"usage":null' if includes_usage else b""
        self._suffix = b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._openings: dict[int, bytes] = {}

    def encode(self, events: list[TextEvent]) -> bytes:
        """Return the chunks for one batch of events, ready for one write."""
        return b"".join([self._chunk(event) for event in events])

    def tail(self) -> bytes:
        """Return what comes after the last event: usage when asked for, then [DONE]."""
        if not self._includes_usage:
            return DONE
        return self._prefix + b',"choices":[],"usage":' + _encode(usage_of(self._ends)) + b"}\n\n" + DONE

    def _chunk(self, event: TextEvent) -> bytes:
        role = b"" if event.index in self._started or not self._head.is_chat else self._role_chunk(event.index)
        text = b""
        if event.text:
            closing = b"}" if self._head.is_chat else b""
            text = self._opening(event.index) + _encode(event.text) + closing + self._suffix
        end = b"" if event.end is None else self._end_chunk(event.index, event.end)
        return role + text + end

    def _opening(self, index: int) -> bytes:
        opening = self._openings.get(index)
        if opening is None:
            field = b'"delta":{"content":' if self._head.is_chat else b'"text":'
            opening = self._prefix + b',"choices":[{"index":' + str(index).encode() + b"," + field
            self._openings[index] = opening
        return opening

    def _role_chunk(self, index: int) -> bytes:
        self._started.add(index)
        delta = b'"delta":{"role":"assistant","content":""}'
        return self._prefix + b',"choices":[{"index":' + str(index).encode() + b"," + delta + self._suffix

    def _end_chunk(self, index: int, end: SequenceEnd) -> bytes:
        self._ends.append(end)
        content: dict[str, Any] = {"delta": {}} if self._head.is_chat else {"text": ""}
        choice = {"index": index, **content, "logprobs": None, "finish_reason": end.reason}
        usage = {"usage": None} if self._includes_usage else {}
        rest = {"choices": [choice], **usage, "timings": timings_of([end], self._generation)}
        return self._prefix + b"," + _encode(rest)[1:] + b"\n\n"


def full_answer(head: AnswerHead, generation: Generation, texts: list[str], ends: list[SequenceEnd]) -> bytes:
    """Return the body of an answer that is not streamed.

    Args:
        head: Of the answer.
        generation: For its queue and load times.
        texts: Per sequence, the whole text.
        ends: Per sequence, how it ended.
    """
    choices = [_choice(head, index, text, end) for index, (text, end) in enumerate(zip(texts, ends, strict=True))]
    kind = "chat.completion" if head.is_chat else "text_completion"
    body = {**head.body(kind), "choices": choices, "usage": usage_of(ends), "timings": timings_of(ends, generation)}
    return _encode(body)


def usage_of(ends: list[SequenceEnd]) -> dict[str, Any]:
    """Return OpenAI's usage object, summed over the sequences."""
    prompt = sum(end.usage.num_prompt_tokens for end in ends)
    output = sum(end.usage.num_output_tokens for end in ends)
    cached = sum(end.usage.num_cached_tokens for end in ends)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "total_tokens": prompt + output,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def timings_of(ends: list[SequenceEnd], generation: Generation) -> dict[str, Any]:
    """Return llama-server's timings object with mlxr's fields; several sequences add up.

    Rates are absent (null) where no time was measured.
    """
    cached = sum(end.usage.num_cached_tokens for end in ends)
    prompt_n = sum(end.usage.num_prompt_tokens for end in ends) - cached
    predicted_n = sum(end.usage.num_output_tokens for end in ends)
    prompt_ms = sum(end.timings.prefill_ms for end in ends)
    predicted_ms = sum(end.timings.decode_ms for end in ends)
    # The first token belongs to the prefill: decode time covers the ones after it.
    decoded_n = predicted_n - len(ends)
    choice = generation.choice
    return {
        "cache_n": cached,
        "prompt_n": prompt_n,
        "prompt_ms": round(prompt_ms, 3),
        "prompt_per_token_ms": _ratio(prompt_ms, prompt_n),
        "prompt_per_second": _ratio(prompt_n * 1000, prompt_ms),
        "predicted_n": predicted_n,
        "predicted_ms": round(predicted_ms, 3),
        "predicted_per_token_ms": _ratio(predicted_ms, decoded_n),
        "predicted_per_second": _ratio(decoded_n * 1000, predicted_ms),
        "engine": None if choice is None else choice.target.engine,
        "engine_reason": None if choice is None else choice.reason.value,
        "load_ms": round(generation.load_ms, 3),
        "queue_ms": round(generation.queue_ms + max((end.timings.queue_ms for end in ends), default=0.0), 3),
    }


def _ratio(numerator: float, denominator: float) -> float | None:
    return round(numerator / denominator, 3) if denominator > 0 else None


def _choice(head: AnswerHead, index: int, text: str, end: SequenceEnd) -> dict[str, Any]:
    content: dict[str, Any] = (
        {"message": {"role": "assistant", "content": text, "refusal": None}} if head.is_chat else {"text": text}
    )
    return {"index": index, **content, "logprobs": None, "finish_reason": end.reason}
