"""Events to the stream chunks of the OpenAI API, without I/O. Whole bodies are in `answer`.

Source: OpenAI API reference, "The chat completion chunk object" and "The completion object"; for `timings` and
`prompt_progress`, llama.cpp's tools/server (server-task.cpp).
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec

from backends.wire.output import Output, ToolCallDelta
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.openai.answer import AnswerHead, timings_object, timings_of, usage_of
from router.protocols.openai.logprobs import CompletionLogprobs, chat_logprobs
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent, SequenceEnd

DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class StreamWishes(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream carries beside the answers.

    Attributes:
        includes_usage: Whether a chunk with usage is to come last.
        has_progress: Whether chunks with `prompt_progress` are to come while prompts are evaluated.
        has_timings: Whether every chunk is to have `timings`.
        echoes: Per prompt, what stands before each of its answers; () = nothing.
    """

    includes_usage: bool = False
    has_progress: bool = False
    has_timings: bool = False
    echoes: tuple[str, ...] = ()


class _Clocked:
    """What is known of one sequence while it runs, by the gateway's clock, for `timings` and `prompt_progress`."""

    def __init__(self, now: float) -> None:
        self.accepted_at = now
        self.first_at: float | None = None
        self.progress = ProgressEvent(0, 0, 0, 0)
        self.num_tokens = 0


class StreamEncoder:
    """Turns the events of one request into SSE chunks.

    The text of a token is the hot path: everything around it is encoded once per stream.

    Args:
        generation: For its request, and its queue and load times at the end.
        clock: Monotonic seconds.
    """

    media_type = SSE
    keep_alive = SSE_KEEP_ALIVE

    def __init__(
        self,
        head: AnswerHead,
        generation: Generation,
        wishes: StreamWishes,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        request = generation.request
        self._generation = generation
        self._is_chat = head.is_chat
        self._wishes = wishes
        self._clock = clock
        self._num_choices = request.num_choices
        self._has_logprobs = request.spec.sampling.num_logprobs is not None
        self._is_plain = not self._has_logprobs and not wishes.has_timings
        self._calls_tools = request.spec.output is not None and request.spec.output.tools is not None
        self._ends: dict[int, SequenceEnd] = {}
        self._started: set[int] = set()
        self._has_role: set[int] = set()
        self._clocked: dict[int, _Clocked] = {}
        self._offsets: dict[int, CompletionLogprobs] = {}
        self._prefix = (
            b"data: " + _encode(head.body("chat.completion.chunk" if head.is_chat else "text_completion"))[:-1]
        )
        usage = b',"usage":null' if wishes.includes_usage else b""
        self._suffix = (b"}" if head.is_chat else b"") + b',"logprobs":null,"finish_reason":null}]' + usage + b"}\n\n"
        self._openings: dict[int, bytes] = {}

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the chunks for one batch of events, ready for one write; b"" when there is nothing to say."""
        return b"".join([self._chunk(event) for event in events])

    def tail(self) -> bytes:
        """Return what comes after the last event: usage when asked for, then [DONE]."""
        if not self._wishes.includes_usage:
            return DONE
        ends = [end for _, end in sorted(self._ends.items())]
        return self._prefix + b',"choices":[],"usage":' + _encode(usage_of(ends, self._num_choices)) + b"}\n\n" + DONE

    def _chunk(self, event: GenerationEvent) -> bytes:
        if type(event) is ProgressEvent:
            return self._on_progress(event)
        assert type(event) is OutputEvent
        index, output = event.index, event.output
        start = b"" if index in self._started else self._start(index)
        if self._is_plain and not output.reasoning and not output.tool_calls:
            text = self._opening(index) + _encode(output.text) + self._suffix if output.text else b""
        else:
            text = self._rich_chunks(event)
        end = b"" if event.end is None else self._end_chunk(index, event.end)
        return start + text + end

    def _opening(self, index: int) -> bytes:
        opening = self._openings.get(index)
        if opening is None:
            field = b'"delta":{"content":' if self._is_chat else b'"text":'
            opening = self._prefix + b',"choices":[{"index":' + str(index).encode() + b"," + field
            self._openings[index] = opening
        return opening

    def _start(self, index: int) -> bytes:
        """Return what comes before the first output of a sequence."""
        self._started.add(index)
        chunks = b""
        clocked = self._clocked.get(index)
        if clocked is not None:
            clocked.first_at = self._clock()
            if clocked.progress.num_done < clocked.progress.num_total:
                done = msgspec.structs.replace(clocked.progress, num_done=clocked.progress.num_total)
                chunks = self._on_progress(done)
        if self._is_chat and index not in self._has_role:
            # No content at all beside tool calls, as in an answer that is not streamed.
            chunks += self._choice_chunk(
                index, {"delta": {"role": "assistant", "content": None if self._calls_tools else ""}}
            )
        if self._wishes.echoes and (echo := self._wishes.echoes[index // self._num_choices]):
            chunks += self._choice_chunk(index, {"text": echo})
        return chunks

    def _rich_chunks(self, event: OutputEvent) -> bytes:
        """Return the chunks of an output that is more than text, or that has something beside it."""
        index, output = event.index, event.output
        contents = _chat_contents(output) if self._is_chat else [{"text": output.text}] if output.text else []
        if not contents and output.logprobs:
            contents = [{"delta": {"content": ""}} if self._is_chat else {"text": ""}]
        extras: dict[str, Any] = {}
        if self._wishes.has_timings:
            extras["timings"] = self._live_timings(event)
        logprobs = self._logprobs(index, output) if contents else None
        chunks = []
        for content in contents:
            chunks.append(self._choice_chunk(index, content, logprobs=logprobs, extras=extras))
            logprobs = None  # the tokens are told once
        return b"".join(chunks)

    def _logprobs(self, index: int, output: Output) -> dict[str, Any] | None:
        if not self._has_logprobs or not output.logprobs:
            return None
        if self._is_chat:
            return chat_logprobs(output.logprobs)
        return self._offsets.setdefault(index, CompletionLogprobs()).shape(output.logprobs)

    def _choice_chunk(
        self,
        index: int,
        content: dict[str, Any],
        *,
        logprobs: dict[str, Any] | None = None,
        reason: str | None = None,
        extras: dict[str, Any] | None = None,
    ) -> bytes:
        choice = {"index": index, **content, "logprobs": logprobs, "finish_reason": reason}
        usage = {"usage": None} if self._wishes.includes_usage else {}
        return self._prefix + b"," + _encode({"choices": [choice], **usage, **(extras or {})})[1:] + b"\n\n"

    def _end_chunk(self, index: int, end: SequenceEnd) -> bytes:
        self._ends[index] = end
        content: dict[str, Any] = {"delta": {}} if self._is_chat else {"text": ""}
        timings = timings_of([end], self._generation)
        return self._choice_chunk(index, content, reason=end.reason, extras={"timings": timings})

    def _on_progress(self, event: ProgressEvent) -> bytes:
        """Remember how far a prompt is; return llama-server's chunk where it is wanted."""
        index = event.index
        clocked = self._clocked.setdefault(index, _Clocked(self._clock()))
        clocked.progress = event
        if not self._wishes.has_progress or index % self._num_choices:
            return b""
        self._has_role.add(index)
        content: dict[str, Any] = {"delta": {"role": "assistant", "content": None}} if self._is_chat else {"text": ""}
        progress = {
            "total": event.num_total,
            "cache": event.num_cached,
            "processed": event.num_done,
            "time_ms": round((self._clock() - clocked.accepted_at) * 1000),
        }
        return self._choice_chunk(index, content, extras={"prompt_progress": progress})

    def _live_timings(self, event: OutputEvent) -> dict[str, Any]:
        """Return the timings so far, by the gateway's own clock; the last chunk has the worker's."""
        now = self._clock()
        clocked = self._clocked.setdefault(event.index, _Clocked(now))
        clocked.num_tokens += event.num_tokens
        first_at = now if clocked.first_at is None else clocked.first_at
        return timings_object(
            self._generation,
            num_cached=clocked.progress.num_cached,
            num_prefilled=clocked.progress.num_total - clocked.progress.num_cached,
            prompt_ms=(first_at - clocked.accepted_at) * 1000,
            num_predicted=clocked.num_tokens,
            num_decoded=max(0, clocked.num_tokens - 1),
            predicted_ms=(now - first_at) * 1000,
            queue_ms=0.0,
        )


def _chat_contents(output: Output) -> list[dict[str, Any]]:
    """Return the deltas of an output in the order in which models write: thinking, text, calls."""
    deltas: list[dict[str, Any]] = []
    if output.reasoning:
        deltas.append({"reasoning_content": output.reasoning})
    if output.text:
        deltas.append({"content": output.text})
    deltas += [{"tool_calls": [_call_fragment(call)]} for call in output.tool_calls]
    return [{"delta": delta} for delta in deltas]


def _call_fragment(call: ToolCallDelta) -> dict[str, Any]:
    if call.name is None:
        return {"index": call.index, "function": {"arguments": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.index, "id": call.call_id, "type": "function", "function": function}
