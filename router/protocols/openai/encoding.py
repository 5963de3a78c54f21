"""Events to the stream chunks of the OpenAI API, without I/O. Whole bodies are in `answer`.

Source: OpenAI API reference, "The chat completion chunk object" and "The completion object"; for `timings` and
`prompt_progress`, llama.cpp's tools/server (server-task.cpp).
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from backends.wire.messages import SequenceEnd
from backends.wire.output import FinishReason, Output, ToolCallDelta
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.answers import TEXT_PLACE, EncodedAhead, sse_event
from router.protocols.openai.answer import (
    CompletionHead,
    TextLogprobsWriter,
    chat_logprobs,
    timings_object,
    timings_of,
    usage_of,
)
from router.protocols.openai.answer_schemas import (
    ChatChunk,
    ChatChunkChoice,
    ChatLogprobs,
    Delta,
    FunctionFragment,
    PromptProgress,
    TextChunk,
    TextChunkChoice,
    TextLogprobs,
    Timings,
    ToolCallFragment,
)
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent

DONE = b"data: [DONE]\n\n"


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
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


class CompletionStream:
    """Turns the events of one request into SSE chunks.

    A token that brings text, or thinking, is the hot path: everything around it is encoded once per sequence.

    Args:
        generation: For its request, and its queue and load times at the end.
        clock: Monotonic seconds.
    """

    media_type = SSE
    keep_alive = SSE_KEEP_ALIVE

    def __init__(
        self,
        head: CompletionHead,
        generation: Generation,
        options: StreamOptions,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        request = generation.request
        self._generation = generation
        self._is_chat = head.is_chat
        self._options = options
        self._clock = clock
        self._num_choices = request.num_choices
        self._has_logprobs = request.spec.sampling.num_logprobs is not None
        self._is_plain = not self._has_logprobs and not options.has_timings
        self._calls_tools = request.spec.output is not None and request.spec.output.tools is not None
        self._ends: dict[int, SequenceEnd] = {}
        self._started: set[int] = set()
        self._has_role: set[int] = set()
        self._clocked: dict[int, _Clocked] = {}
        self._logprobs: dict[int, TextLogprobsWriter] = {}
        self._texts: dict[int, EncodedAhead] = {}
        self._thoughts: dict[int, EncodedAhead] = {}
        fields = head.fields | {"choices": [], "usage": None if options.includes_usage else UNSET}
        self._empty: ChatChunk | TextChunk
        if head.is_chat:
            self._empty = ChatChunk(object="chat.completion.chunk", **fields)
        else:
            self._empty = TextChunk(object="text_completion", **fields)

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the chunks for one batch of events, ready for one write; b"" when there is nothing to say."""
        return b"".join([self._event(event) for event in events])

    def tail(self) -> bytes:
        """Return what comes after the last event: usage when asked for, then [DONE]."""
        if not self._options.includes_usage:
            return DONE
        ends = [end for _, end in sorted(self._ends.items())]
        return sse_event(msgspec.structs.replace(self._empty, usage=usage_of(ends, self._num_choices))) + DONE

    def _event(self, event: GenerationEvent) -> bytes:
        if type(event) is ProgressEvent:
            return self._on_progress(event)
        assert type(event) is OutputEvent
        index, output = event.index, event.output
        start = b"" if index in self._started else self._start(index)
        if output.tool_calls or not self._is_plain:
            chunks = self._rich(event)
        else:
            chunks = self._thought(index, output.reasoning) if output.reasoning else b""
            if output.text:
                ahead = self._texts.get(index) or self._text_ahead(index)
                chunks += ahead.with_text(output.text)
        end = b"" if event.end is None else self._end(index, event.end)
        return start + chunks + end

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
            chunks += self._chunk(index, Delta(role="assistant", content=None if self._calls_tools else ""))
        if self._options.echoes and (echo := self._options.echoes[index // self._num_choices]):
            chunks += self._chunk(index, echo)
        return chunks

    def _text_ahead(self, index: int) -> EncodedAhead:
        content = Delta(content=TEXT_PLACE) if self._is_chat else TEXT_PLACE
        ahead = self._texts[index] = EncodedAhead(self._chunk(index, content))
        return ahead

    def _thought(self, index: int, text: str) -> bytes:
        if not self._is_chat:
            return b""
        ahead = self._thoughts.get(index)
        if ahead is None:
            ahead = EncodedAhead(self._chunk(index, Delta(reasoning_content=TEXT_PLACE)))
            self._thoughts[index] = ahead
        return ahead.with_text(text)

    def _rich(self, event: OutputEvent) -> bytes:
        """Return the chunks of any output, with what is wanted beside it."""
        index, output = event.index, event.output
        contents = _deltas(output) if self._is_chat else [output.text] if output.text else []
        if not contents and output.logprobs:
            contents = [Delta(content="") if self._is_chat else ""]
        timings = self._live_timings(event) if self._options.has_timings else UNSET
        logprobs = self._shown_logprobs(index, output) if contents else None
        chunks = b""
        for content in contents:
            chunks += self._chunk(index, content, logprobs=logprobs, timings=timings)
            logprobs = None  # the tokens are told once
        return chunks

    def _shown_logprobs(self, index: int, output: Output) -> ChatLogprobs | TextLogprobs | None:
        if not self._has_logprobs or not output.logprobs:
            return None
        if self._is_chat:
            return chat_logprobs(output.logprobs)
        return self._logprobs.setdefault(index, TextLogprobsWriter()).write(output.logprobs)

    def _chunk(
        self,
        index: int,
        content: Delta | str,
        *,
        logprobs: ChatLogprobs | TextLogprobs | None = None,
        reason: FinishReason | None = None,
        **extras: Any,
    ) -> bytes:
        """Return a chunk of one choice.

        Args:
            content: A chat's delta, or a text.
            **extras: Fields of the chunk beside its choice.
        """
        shared: dict[str, Any] = {"index": index, "logprobs": logprobs, "finish_reason": reason}
        choice: ChatChunkChoice | TextChunkChoice
        if isinstance(content, Delta):
            choice = ChatChunkChoice(delta=content, **shared)
        else:
            choice = TextChunkChoice(text=content, **shared)
        return sse_event(msgspec.structs.replace(self._empty, choices=[choice], **extras))

    def _end(self, index: int, end: SequenceEnd) -> bytes:
        self._ends[index] = end
        content = Delta() if self._is_chat else ""
        return self._chunk(index, content, reason=end.reason, timings=timings_of([end], self._generation))

    def _on_progress(self, event: ProgressEvent) -> bytes:
        """Remember how far a prompt is; return llama-server's chunk where it is wanted."""
        index = event.index
        clocked = self._clocked.setdefault(index, _Clocked(self._clock()))
        clocked.progress = event
        if not self._options.has_progress or index % self._num_choices:
            return b""
        self._has_role.add(index)
        progress = PromptProgress(
            total=event.num_total,
            cache=event.num_cached,
            processed=event.num_done,
            time_ms=round((self._clock() - clocked.accepted_at) * 1000),
        )
        content = Delta(role="assistant", content=None) if self._is_chat else ""
        return self._chunk(index, content, prompt_progress=progress)

    def _live_timings(self, event: OutputEvent) -> Timings:
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


def _deltas(output: Output) -> list[Delta | str]:
    """Return the deltas of an output in the order in which models write: thinking, text, calls."""
    deltas: list[Delta | str] = []
    if output.reasoning:
        deltas.append(Delta(reasoning_content=output.reasoning))
    if output.text:
        deltas.append(Delta(content=output.text))
    return [*deltas, *(Delta(tool_calls=[_call_fragment(call)]) for call in output.tool_calls)]


def _call_fragment(call: ToolCallDelta) -> ToolCallFragment:
    if call.name is None:
        return ToolCallFragment(index=call.index, function=FunctionFragment(arguments=call.arguments))
    return ToolCallFragment(
        index=call.index,
        id=call.call_id or "",
        type="function",
        function=FunctionFragment(name=call.name, arguments=call.arguments),
    )
