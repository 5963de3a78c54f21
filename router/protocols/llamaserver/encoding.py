"""Events of a generation to llama-server's completions: whole bodies, or the stream of its events. No I/O.

Source: llama.cpp, tools/server/server-task.cpp, `to_json_non_oaicompat`; a stream has no `[DONE]`.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from backends.wire import output as wire
from backends.wire.messages import SequenceEnd, SequenceTimings, Usage
from backends.wire.output import PositionLogprobs
from backends.wire.prompts import InfillPrompt, TextPrompt
from router.http.streaming import SSE, SSE_KEEP_ALIVE
from router.protocols.answers import sse_event
from router.protocols.fields.logprobs import number_of, token_text
from router.protocols.images.seen import seen_images
from router.protocols.llamaserver.answer_schemas import (
    NativeCompletion,
    NativeCompletionChunk,
    PositionProbability,
    TokenProbability,
)
from router.protocols.llamaserver.props import settings_of
from router.protocols.openai.answer import timings_of
from router.protocols.openai.answer_schemas import PromptProgress, Timings
from router.requests.collected import CollectedOutput
from router.requests.context import ContextEvent
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent


class CompletionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer carries, and how it is written.

    Attributes:
        model: By the name that the client used.
        has_progress: Whether events of the prompt's evaluation are wanted.
        has_timings: Whether each event has timings.
        is_dropped: Whether the text is left out: the prompt was only to be read in.
        num_indent: Blanks that each line must begin with, behind the first one.
        fields: Of the answer, `a/b` for b in a; () = all.
    """

    model: str
    has_progress: bool = False
    has_timings: bool = False
    has_probabilities: bool = False
    is_dropped: bool = False
    num_indent: int = 0
    fields: tuple[str, ...] = ()


def completions_of(
    generation: Generation, outputs: list[CollectedOutput], options: CompletionOptions
) -> msgspec.Raw | list[msgspec.Raw]:
    """Return whole bodies: one, or a list where there are several answers.

    Raises:
        EngineCrashedError: An answer has no end.
    """
    bodies = [_completion(generation, index, output, options) for index, output in enumerate(outputs)]
    encoded = [msgspec.Raw(msgspec.json.encode(_selected(body, options.fields))) for body in bodies]
    return encoded[0] if len(encoded) == 1 else encoded


def indented(text: str, num_indent: int) -> str:
    """Return a text up to the blanks of the first line, but the first one, that is indented less.

    Source: llama.cpp, tools/server, `n_indent`.
    """
    position = text.find("\n") + 1
    while num_indent and position:
        line = text[position:]
        num_blanks = len(line) - len(line.lstrip(" \t"))
        if num_blanks < min(num_indent, len(line)):
            return text[: position + num_blanks]
        position = text.find("\n", position) + 1
    return text


def _completion(
    generation: Generation, index: int, output: CollectedOutput, options: CompletionOptions
) -> NativeCompletion:
    text = "" if options.is_dropped else indented(output.text, options.num_indent)
    has_probabilities = options.has_probabilities and not options.is_dropped
    return _last(
        generation,
        index,
        output.end,
        options,
        content=text,
        has_new_line="\n" in output.text,
        probabilities=probabilities_of(output.logprobs) if has_probabilities else UNSET,
    )


def _last(
    generation: Generation,
    index: int,
    end: SequenceEnd,
    options: CompletionOptions,
    *,
    content: str,
    has_new_line: bool,
    is_stream: bool = False,
    probabilities: list[PositionProbability] | UnsetType = UNSET,
) -> NativeCompletion:
    request, usage = generation.request, end.usage
    num_predicted = 0 if options.is_dropped else usage.num_output_tokens
    prompt = request.prompts[index // request.num_choices]
    ids = (end.token_ids or [])[usage.num_prompt_tokens :][:num_predicted]
    return NativeCompletion(
        index=index,
        content=content,
        tokens=[] if is_stream else ids,
        id_slot=slot_of(generation, index),
        stop=True,
        model=options.model,
        tokens_predicted=num_predicted,
        tokens_evaluated=usage.num_prompt_tokens,
        generation_settings=settings_of(request.spec, is_stream=is_stream, has_timings=options.has_timings),
        prompt=prompt.text
        if isinstance(prompt, TextPrompt)
        else prompt.prefix
        if isinstance(prompt, InfillPrompt)
        else "",
        has_new_line=has_new_line,
        truncated=False,
        stop_type=_stop_type(end),
        stopping_word=end.stopped_by or "",
        tokens_cached=usage.num_tokens,
        timings=timings_of([end], generation),
        completion_probabilities=probabilities,
        mlxr=seen_images([end]),
    )


def _stop_type(end: SequenceEnd) -> Literal["none", "eos", "word", "limit"]:
    if end.stopped_by is not None:
        return "word"
    return "limit" if end.reason == "length" else "eos"


def slot_of(generation: Generation, index: int) -> int:
    """Return the place in the batch of one answer; -1 before it has one."""
    return generation.progress[index].slot if index < len(generation.progress) else -1


def probabilities_of(positions: Iterable[PositionLogprobs]) -> list[PositionProbability]:
    """Return an object per drawn token."""
    return [
        PositionProbability(
            *_token(position.drawn), top_logprobs=[TokenProbability(*_token(top)) for top in position.top]
        )
        for position in positions
    ]


def _token(token: wire.TokenLogprob) -> tuple[int, str, list[int], float]:
    return token.token_id, token_text(token.piece), list(token.piece), number_of(token)


def _selected(body: NativeCompletion, fields: tuple[str, ...]) -> Any:
    """Return the fields of an answer that are wanted; what is missing is left out, `a/b` is called so."""
    if not fields:
        return body
    tree = msgspec.to_builtins(body)
    found: dict[str, Any] = {}
    for field in fields:
        node: Any = tree
        for name in field.split("/"):
            node = node.get(name, UNSET) if isinstance(node, dict) else UNSET
        if node is not UNSET:
            found[field] = node
    return found


class _Running:
    """One answer while it runs; times by the gateway's clock, monotonic seconds."""

    def __init__(self, now: float) -> None:
        self.accepted_at = now
        self.first_at: float | None = None
        self.progress: ProgressEvent | None = None
        self.num_tokens = 0
        self.has_new_line = False


class NativeCompletionStream:
    """Turns the events of one request into llama-server's.

    Args:
        generation: For its request and its times.
        clock: Monotonic seconds.
    """

    media_type = SSE
    keep_alive = SSE_KEEP_ALIVE

    def __init__(
        self, generation: Generation, options: CompletionOptions, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._generation = generation
        self._options = options
        self._clock = clock
        self._running: dict[int, _Running] = {}

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the chunks for one batch of events; b"" when there is nothing to say."""
        return b"".join([self._event(event) for event in events])

    def tail(self) -> bytes:
        """Return nothing: the last event of each answer has said it."""
        return b""

    def _event(self, event: GenerationEvent) -> bytes:
        running = self._running.get(event.index)
        if running is None:
            running = self._running[event.index] = _Running(self._clock())
        if isinstance(event, ProgressEvent):
            return self._on_progress(running, event)
        if isinstance(event, ContextEvent):
            return b""
        assert isinstance(event, OutputEvent), "the prompt's own probabilities are not asked for"
        output = event.output
        running.first_at = running.first_at or self._clock()
        running.num_tokens += event.num_tokens
        if event.end is not None:
            running.num_tokens = event.end.usage.num_output_tokens
        running.has_new_line |= "\n" in output.text
        chunk = b""
        if (output.text or output.logprobs) and not self._options.is_dropped:
            chunk = self._chunk(event.index, running, output.text, output.logprobs)
        if event.end is None:
            return chunk
        last = _last(
            self._generation,
            event.index,
            event.end,
            self._options,
            content="",
            has_new_line=running.has_new_line,
            is_stream=True,
        )
        return chunk + sse_event(last)

    def _chunk(self, index: int, running: _Running, text: str, logprobs: tuple[PositionLogprobs, ...] = ()) -> bytes:
        options = self._options
        progress = self._generation.progress[index]
        chunk = NativeCompletionChunk(
            index=index,
            content=text,
            tokens=[position.drawn.token_id for position in logprobs],
            stop=False,
            id_slot=progress.slot,
            tokens_predicted=running.num_tokens,
            tokens_evaluated=progress.num_prompt_tokens or 0,
            timings=self._timings(running) if options.has_timings else UNSET,
            completion_probabilities=probabilities_of(logprobs) if options.has_probabilities and logprobs else UNSET,
        )
        return sse_event(chunk)

    def _on_progress(self, running: _Running, event: ProgressEvent) -> bytes:
        running.progress = event
        if not self._options.has_progress or event.index % self._generation.request.num_choices:
            return b""
        progress = PromptProgress(
            total=event.num_total,
            cache=event.num_cached,
            processed=event.num_done,
            time_ms=round((self._clock() - running.accepted_at) * 1000),
        )
        chunk = NativeCompletionChunk(
            index=event.index,
            content="",
            tokens=[],
            stop=False,
            id_slot=slot_of(self._generation, event.index),
            tokens_predicted=0,
            tokens_evaluated=event.num_total,
            prompt_progress=progress,
        )
        return sse_event(chunk)

    def _timings(self, running: _Running) -> Timings:
        """Return the timings so far, by the gateway's own clock; the last event has the worker's."""
        now, progress = self._clock(), running.progress
        first_at = running.first_at or now
        usage = Usage(progress.num_total if progress else 0, progress.num_cached if progress else 0, running.num_tokens)
        times = SequenceTimings(0.0, (first_at - running.accepted_at) * 1000, (now - first_at) * 1000)
        return timings_of([SequenceEnd("stop", usage, times)], self._generation)
