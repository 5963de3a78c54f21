"""Events to the stream chunks of the OpenAI API, without I/O. Whole bodies are in `answer`.

Source: OpenAI API reference, "The chat completion chunk object" and "The completion object"; for `timings` and
`prompt_progress`, llama.cpp's tools/server (server-task.cpp).
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import UNSET

from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import FinishReason, Output, ToolCallDelta
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.answers import TEXT_PLACE, EncodedAhead, sse_event
from router.protocols.fields.context import CONTEXT_WOUND, shown_context
from router.protocols.images.seen import seen_images
from router.protocols.openai import answer_schemas as answers
from router.protocols.openai.answer import (
    CompletionHead,
    TextLogprobsWriter,
    chat_logprobs,
    timings_of,
    token_ids,
    usage_of,
)
from router.protocols.openai.answer_schemas import Delta
from router.requests.context import ContextEvent
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent, PromptEvent

DONE = b"data: [DONE]\n\n"
_NO_TIMES = SequenceTimings(0.0, 0.0, 0.0)


class StreamOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What a stream carries beside the answers.

    Attributes:
        includes_usage: Whether a chunk with usage is to come last.
        has_progress: Whether chunks with `prompt_progress` are to come while prompts are evaluated.
        has_timings: Whether every chunk is to have `timings`.
        has_running_usage: Whether every chunk is to have the usage so far.
        has_token_ids: Whether the last chunk of a choice is to have the ids of prompt and answer.
    """

    includes_usage: bool = False
    has_progress: bool = False
    has_timings: bool = False
    has_running_usage: bool = False
    has_token_ids: bool = False


class _Choice:
    """One answer of a request while it runs; times by the gateway's clock, monotonic seconds.

    Attributes:
        first_at: When its first output came, or None.
        num_cached: Of the prompt's tokens as its first progress told them; None = before that.
        num_shown: Of the prompt's tokens as its last progress told them.
        num_tokens: Of its output so far.
        text: What is sent with a text, once there was one; `thought` likewise.
        end: How it ended, once it has.
    """

    def __init__(self, index: int, now: float, num_top: int) -> None:
        self.index = index
        self.accepted_at = now
        self.first_at: float | None = None
        self.progress = ProgressEvent(index, 0, 0, 0)
        self.is_accepted = False
        self.num_cached: int | None = None
        self.num_shown = -1
        self.num_tokens = 0
        self.has_role = False
        self.text: EncodedAhead | None = None
        self.thought: EncodedAhead | None = None
        self.logprobs = TextLogprobsWriter(num_top)
        self.end: SequenceEnd | None = None

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        return Usage(self.progress.num_total, self.progress.num_cached, self.num_tokens)


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
        spec = generation.request.spec
        self._generation = generation
        self._is_chat = head.is_chat
        self._options = options
        self._clock = clock
        self._num_choices = generation.request.num_choices
        self._num_top = spec.sampling.num_logprobs or 0
        self._has_logprobs = spec.sampling.num_logprobs is not None
        self._is_plain = not (self._has_logprobs or options.has_timings or options.has_running_usage)
        self._calls_tools = spec.output is not None and spec.output.tools is not None
        self._choices: dict[int, _Choice] = {}
        fields = head.fields | {"choices": [], "usage": None if options.includes_usage else UNSET}
        self._empty: answers.ChatChunk | answers.TextChunk
        if head.is_chat:
            self._empty = answers.ChatChunk(object="chat.completion.chunk", **fields)
        else:
            self._empty = answers.TextChunk(object="text_completion", **fields)

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the chunks for one batch of events, ready for one write; b"" when there is nothing to say."""
        return b"".join([self._event(event) for event in events])

    def tail(self) -> bytes:
        """Return what comes after the last event: usage when asked for, then [DONE]."""
        if not self._options.includes_usage:
            return DONE
        ends = [choice.end for _, choice in sorted(self._choices.items()) if choice.end is not None]
        sums = {
            "usage": usage_of(ends, self._num_choices),
            "timings": timings_of(ends, self._generation, self._num_choices),
        }
        return sse_event(msgspec.structs.replace(self._empty, **sums)) + DONE

    def _event(self, event: GenerationEvent) -> bytes:
        choice = self._choices.get(event.index)
        if choice is None:
            choice = self._choices[event.index] = _Choice(event.index, self._clock(), self._num_top)
        if type(event) is ProgressEvent:
            return self._on_progress(choice, event)
        if type(event) is PromptEvent:
            logprobs = choice.logprobs.write((), event.tokens) if self._has_logprobs else None
            return self._chunk(choice, event.text, logprobs=logprobs)
        if type(event) is ContextEvent:
            return self._on_wound(choice, event)
        assert type(event) is OutputEvent
        output = event.output
        start = self._start(choice) if choice.first_at is None else b""
        if output.tool_calls or not self._is_plain:
            chunks = self._rich(choice, event)
        else:
            chunks = self._thought(choice, output.reasoning) if output.reasoning and self._is_chat else b""
            if output.text:
                chunks += (choice.text or self._text_ahead(choice)).with_text(output.text)
        end = b"" if event.end is None else self._end(choice, event.end)
        return start + chunks + end

    def _start(self, choice: _Choice) -> bytes:
        """Return what comes before the first output of a sequence."""
        choice.first_at = self._clock()
        chunks = b""
        if choice.progress.num_done < choice.progress.num_total:
            chunks = self._on_progress(
                choice, msgspec.structs.replace(choice.progress, num_done=choice.progress.num_total)
            )
        if self._is_chat and not choice.has_role:
            # No content at all beside tool calls, as in an answer that is not streamed.
            chunks += self._chunk(choice, Delta(role="assistant", content=None if self._calls_tools else ""))
        return chunks

    def _text_ahead(self, choice: _Choice) -> EncodedAhead:
        content = Delta(content=TEXT_PLACE) if self._is_chat else TEXT_PLACE
        choice.text = EncodedAhead(self._chunk(choice, content))
        return choice.text

    def _thought(self, choice: _Choice, text: str) -> bytes:
        if choice.thought is None:
            choice.thought = EncodedAhead(self._chunk(choice, Delta(reasoning_content=TEXT_PLACE)))
        return choice.thought.with_text(text)

    def _rich(self, choice: _Choice, event: OutputEvent) -> bytes:
        """Return the chunks of any output, with what is wanted beside it."""
        output = event.output
        contents = _deltas(output) if self._is_chat else [output.text] if output.text else []
        if not contents and output.logprobs:
            contents = [Delta(content="") if self._is_chat else ""]
        choice.num_tokens += event.num_tokens
        extras: dict[str, Any] = {}
        if self._options.has_timings:
            extras["timings"] = self._live_timings(choice)
        if self._options.has_running_usage:
            extras["usage"] = usage_of([event.end or SequenceEnd("stop", choice.usage, _NO_TIMES)])
        logprobs: answers.ChatLogprobs | answers.TextLogprobs | None = None
        if contents and self._has_logprobs and output.logprobs:
            logprobs = chat_logprobs(output.logprobs) if self._is_chat else choice.logprobs.write(output.logprobs)
        chunks = b""
        for content in contents:
            chunks += self._chunk(choice, content, logprobs=logprobs, **extras)
            logprobs = None  # the tokens are told once
        return chunks

    def _chunk(
        self,
        choice: _Choice,
        content: Delta | str,
        *,
        logprobs: answers.ChatLogprobs | answers.TextLogprobs | None = None,
        reason: FinishReason | None = None,
        own: dict[str, Any] | None = None,
        **extras: Any,
    ) -> bytes:
        """Return a chunk of one choice.

        Args:
            content: A chat's delta, or a text.
            own: Further fields of the choice.
            **extras: Fields of the chunk beside its choice.
        """
        fields: dict[str, Any] = {"logprobs": logprobs, "finish_reason": reason} | (own or {})
        return sse_event(msgspec.structs.replace(self._with_choice(choice, content, **fields), **extras))

    def _with_choice(
        self, choice: _Choice, content: Delta | str, **fields: Any
    ) -> answers.ChatChunk | answers.TextChunk:
        fields = {"index": choice.index, "logprobs": None, "finish_reason": None} | fields
        shown: answers.ChatChunkChoice | answers.TextChunkChoice
        if isinstance(content, Delta):
            shown = answers.ChatChunkChoice(delta=content, **fields)
        else:
            shown = answers.TextChunkChoice(text=content, **fields)
        return msgspec.structs.replace(self._empty, choices=[shown])

    def _end(self, choice: _Choice, end: SequenceEnd) -> bytes:
        choice.end = end
        content = Delta() if self._is_chat else ""
        extras: dict[str, Any] = {"timings": timings_of([end], self._generation)}
        if choice.index % self._num_choices == 0:
            extras["mlxr"] = seen_images([end])
        own: dict[str, Any] = {}
        if self._options.has_running_usage:
            extras["usage"] = usage_of([end])
        if self._options.has_token_ids:
            prompt_ids, own["token_ids"] = token_ids(end)
            (extras if self._is_chat else own)["prompt_token_ids"] = prompt_ids
        return self._chunk(choice, content, reason=end.reason, own=own, **extras)

    def _on_wound(self, choice: _Choice, event: ContextEvent) -> bytes:
        """Return an event by its own name, which is a chunk without text for those who do not look at names."""
        choice.has_role = True
        chunk = self._with_choice(choice, Delta(role="assistant", content=None) if self._is_chat else "")
        return sse_event(msgspec.structs.replace(chunk, context_wound=shown_context(event.facts)), CONTEXT_WOUND)

    def _on_progress(self, choice: _Choice, event: ProgressEvent) -> bytes:
        """Remember how far a prompt is; return llama-server's chunks where they are wanted.

        What was in the cache is told first and stays, and each chunk has more of the prompt than the one before.
        """
        is_first, choice.is_accepted = not choice.is_accepted, True
        choice.progress = event
        if not self._options.has_progress or choice.index % self._num_choices:
            return b""
        if is_first and not event.num_done:
            return b""  # that it was accepted: what is in the cache is known with the next
        if choice.num_cached is not None:
            return self._progress_chunk(choice, event.num_done)
        choice.num_cached = event.num_cached
        return self._progress_chunk(choice, event.num_cached) + self._progress_chunk(choice, event.num_done)

    def _progress_chunk(self, choice: _Choice, num_done: int) -> bytes:
        if num_done <= choice.num_shown:
            return b""
        choice.num_shown = num_done
        progress = answers.PromptProgress(
            total=choice.progress.num_total,
            cache=choice.num_cached or 0,
            processed=num_done,
            time_ms=round((self._clock() - choice.accepted_at) * 1000),
        )
        choice.has_role = True
        content = Delta(role="assistant", content=None) if self._is_chat else ""
        return self._chunk(choice, content, prompt_progress=progress)

    def _live_timings(self, choice: _Choice) -> answers.Timings:
        """Return the timings so far, by the gateway's own clock; the last chunk has the worker's."""
        now = self._clock()
        first_at = now if choice.first_at is None else choice.first_at
        times = SequenceTimings(0.0, (first_at - choice.accepted_at) * 1000, (now - first_at) * 1000)
        return timings_of([SequenceEnd("stop", choice.usage, times)], self._generation)


def _deltas(output: Output) -> list[Delta | str]:
    """Return the deltas of an output in the order in which models write: thinking, text, calls."""
    deltas: list[Delta | str] = []
    if output.reasoning:
        deltas.append(Delta(reasoning_content=output.reasoning))
    if output.text:
        deltas.append(Delta(content=output.text))
    return [*deltas, *(Delta(tool_calls=[_call_fragment(call)]) for call in output.tool_calls)]


def _call_fragment(call: ToolCallDelta) -> answers.ToolCallFragment:
    if call.name is None:
        return answers.ToolCallFragment(index=call.index, function=answers.FunctionFragment(arguments=call.arguments))
    return answers.ToolCallFragment(
        index=call.index,
        id=call.call_id or "",
        type="function",
        function=answers.FunctionFragment(name=call.name, arguments=call.arguments),
    )
