"""Events to the answers of the Anthropic API, streamed or whole, without I/O.

Source: Anthropic API reference, "Messages": "Total input tokens in a request is the summation of `input_tokens`,
`cache_creation_input_tokens`, and `cache_read_input_tokens`"; "Streaming Messages": message_start; per block
content_block_start, content_block_delta and content_block_stop; message_delta; message_stop; ping at any time. Its
clients skip a ping before message_start.
"""

import secrets
from collections.abc import Iterable
from typing import Final, get_args

import msgspec
from msgspec import UNSET, UnsetType

from backends.wire.messages import SequenceEnd, Usage
from router.errors import EngineCrashedError
from router.http.streaming import SSE
from router.protocols.answers import sse_event
from router.protocols.anthropic import answer_schemas as answers
from router.protocols.anthropic.blocks import BlockWriter, blocks_of
from router.protocols.fields.carried import carried_as_sent, carried_of
from router.protocols.fields.context import shown_context, told_without_timings
from router.protocols.images.seen import seen_images
from router.requests.collected import CollectedOutput
from router.requests.context import ContextEvent, ContextFacts
from router.requests.generation import Generation, GenerationEvent, OutputEvent, ProgressEvent

_NAMES: Final = {kind: str(kind.__struct_config__.tag) for kind in get_args(answers.StreamEvent)}
_NOTHING: Final = Usage(0, 0, 0)


class AnthropicHead(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an answer before it begins.

    Attributes:
        answer_id: `msg_…`.
        hides_thinking: Whether thinking is not to be shown.
        applied: What of the conversation was cleared; UNSET = the client did not ask for such.
        tells_compaction: Whether the client wants a block that stands for what was said before.
        is_compaction: Whether it wants nothing else.
    """

    answer_id: str
    model: str
    max_tokens: int
    stop_sequences: tuple[str, ...] = ()
    hides_thinking: bool = False
    applied: answers.AppliedEdits | UnsetType = UNSET
    tells_compaction: bool = False
    is_compaction: bool = False

    @staticmethod
    def new_id() -> str:
        """Return a fresh id."""
        return f"msg_{secrets.token_hex(12)}"

    def message(
        self, content: list[answers.AnswerBlock], usage: Usage, stop: answers.Stop | None = None
    ) -> answers.AnswerMessage:
        """Return the message, with its end if it has one."""
        return answers.AnswerMessage(
            id=self.answer_id,
            type="message",
            role="assistant",
            model=self.model,
            content=content,
            stop_reason=None if stop is None else stop.stop_reason,
            stop_sequence=None if stop is None else stop.stop_sequence,
            usage=_usage(usage),
        )

    def stop(self, end: SequenceEnd) -> answers.Stop:
        """Return why an answer ended, in Anthropic's words."""
        if self.is_compaction:
            return answers.Stop("compaction", None)
        if end.reason == "tool_calls":
            return answers.Stop("tool_use", None)
        if end.reason == "length":
            # The worker also ends an answer where the context is full.
            is_asked = end.usage.num_output_tokens >= self.max_tokens
            return answers.Stop("max_tokens" if is_asked else "model_context_window_exceeded", None)
        if end.stopped_by in self.stop_sequences:
            return answers.Stop("stop_sequence", end.stopped_by)
        return answers.Stop("end_turn", None)

    def usage(self, end: SequenceEnd, generation: Generation) -> Usage:
        """Return the tokens of an answer; of a compaction, those of the conversation and of what was told of it."""
        kept = generation.kept
        wound = None if kept is None else kept.wound
        if not self.is_compaction or wound is None:
            return end.usage
        return Usage(wound.tokens_before, 0, wound.narrative_tokens)

    def compaction(self, generation: Generation) -> list[answers.AnswerCompaction]:
        """Return the block that the content begins with, if it begins with one."""
        carried = carried_of(generation) if self.tells_compaction or self.is_compaction else None
        if carried is None and self.is_compaction:
            carried = carried_as_sent(generation)
        if carried is None:
            return []
        return [answers.AnswerCompaction(content=carried.narrative, encrypted_content=carried.encoded())]


def message_of(head: AnthropicHead, output: CollectedOutput, generation: Generation) -> answers.AnswerMessage:
    """Return an answer that is not streamed.

    Raises:
        EngineCrashedError: It has no end.
    """
    end = output.end
    content: list[answers.AnswerBlock] = [*head.compaction(generation)]
    if not head.is_compaction:
        content += blocks_of(output, hides_thinking=head.hides_thinking)
    return msgspec.structs.replace(
        head.message(content, head.usage(end, generation), head.stop(end)),
        context_management=head.applied,
        mlxr=told_without_timings(seen_images([end]), generation),
    )


class AnthropicStream:
    """Turns the events of one request into Anthropic's.

    The message begins when it is known how much of the prompt is cached: with its evaluation, not with its arrival.
    """

    media_type = SSE

    def __init__(self, head: AnthropicHead, generation: Generation) -> None:
        self._head = head
        self._generation = generation
        self._wound: ContextFacts | None = None
        self._writer = BlockWriter(hides_thinking=head.hides_thinking)
        self._end: SequenceEnd | None = None
        self._is_accepted = False
        self._is_started = False

    @property
    def keep_alive(self) -> bytes:
        """A ping."""
        return _framed([answers.Ping()])

    def encode(self, events: list[GenerationEvent]) -> bytes:
        """Return the events for one batch, ready for one write; b"" when there is nothing to say."""
        return _framed([part for event in events for part in self._parts(event)])

    def tail(self) -> bytes:
        """Return what comes after the last event.

        Raises:
            EngineCrashedError: The answer has no end.
        """
        end = self._end
        if end is None:
            raise EngineCrashedError("the engine ended the request without an answer")
        delta = answers.MessageDelta(
            self._head.stop(end),
            _usage(self._head.usage(end, self._generation)),
            context_management=self._head.applied,
            mlxr=told_without_timings(seen_images([end]), self._generation),
        )
        return _framed([*self._writer.finish(), delta, answers.MessageStop()])

    def _parts(self, event: GenerationEvent) -> list[answers.StreamEvent]:
        if isinstance(event, ProgressEvent):
            return self._on_progress(event)
        if isinstance(event, ContextEvent):
            self._wound = event.facts  # clients take nothing but a ping before the message begins
        if not isinstance(event, OutputEvent):
            return []
        start = [] if self._is_started else self._start(_NOTHING if event.end is None else event.end.usage)
        self._end = event.end
        return start if self._head.is_compaction else [*start, *self._writer.write(event.output)]

    def _on_progress(self, event: ProgressEvent) -> list[answers.StreamEvent]:
        """Begin the message with the second event: the first only says how long the prompt is."""
        if self._is_started:
            return []
        if not self._is_accepted:
            self._is_accepted = True
            return []
        return self._start(Usage(event.num_total, event.num_cached, 0))

    def _start(self, usage: Usage) -> list[answers.StreamEvent]:
        self._is_started = True
        shown = Usage(usage.num_prompt_tokens, usage.num_cached_tokens, 0)
        start = answers.MessageStart(self._head.message([], shown))
        told = [] if self._wound is None else [answers.ContextWound(shown_context(self._wound))]
        blocks = [self._writer.write_compaction(block) for block in self._head.compaction(self._generation)]
        return [start, *told, *(event for events in blocks for event in events)]


def _usage(usage: Usage) -> answers.Usage:
    """Return Anthropic's usage object. Every prompt is kept, so none is told to be written to a cache."""
    return answers.Usage(
        input_tokens=usage.num_prompt_tokens - usage.num_cached_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=usage.num_cached_tokens,
        output_tokens=usage.num_output_tokens,
        output_tokens_details=answers.OutputTokensDetails(usage.num_reasoning_tokens),
        service_tier="standard",
    )


def _framed(events: Iterable[answers.StreamEvent]) -> bytes:
    """Write events as a stream of them carries them."""
    return b"".join([sse_event(event, _NAMES[type(event)]) for event in events])
