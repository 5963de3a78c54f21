"""The running answer to one `Generate`: from drawn tokens to text, reasoning and tool calls, usage and timings.

No engine step and no channel in here: the worker's loop calls in, events come out.
"""

import codecs
import dataclasses
from collections.abc import Collection

from backends.logits import Candidate, HeldEnds, Likelihoods, LogitsEditor
from backends.output.parser import OutputParser
from backends.output.prompt_report import PromptReport
from backends.output.thread_history import ThreadHistory
from backends.sequence import Sequence
from backends.step import PromptScores
from backends.tokenizer import Tokenizer
from backends.wire.messages import (
    Delta,
    Event,
    Finished,
    Generate,
    PrefillProgress,
    SeenImage,
    SequenceEnd,
    SequenceTimings,
    Usage,
)
from backends.wire.output import FinishReason, Output, PositionLogprobs, TokenLogprob
from backends.wire.threads import ThreadsUsed


class Detokenizer:
    """Turn the byte pieces of one sequence into text deltas; both engines use this one.

    Knows nothing of tokenizers: bytes in, text out, whole UTF-8 characters only, and nothing of a stop string.
    Bytes of an unfinished character are held until it is whole; bytes that can never become a character turn into
    U+FFFD. Text that may be the beginning of a stop string is held until it is known whether it is.

    Args:
        stop: Strings that end the text; none of them is empty.

    Attributes:
        stopped_by: The stop string that ended it, or None.
    """

    def __init__(self, stop: tuple[str, ...] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._stop = stop
        self._held = ""
        self.stopped_by: str | None = None

    @property
    def is_stopped(self) -> bool:
        """Whether a stop string was found."""
        return self.stopped_by is not None

    def push(self, piece: bytes, *, can_stop: bool = True) -> str:
        """Add a token's bytes and return the text that is certain now; "" once a stop string was found.

        Args:
            can_stop: Whether a stop string may be in it; otherwise none is looked for up to here.
        """
        text = self._decoder.decode(piece)
        if can_stop:
            return self._emit(text)
        held, self._held = self._held, ""
        return held + text

    def flush(self) -> str:
        """Return what was held back; the sequence is over."""
        text = self._emit(self._decoder.decode(b"", final=True))
        held, self._held = self._held, ""
        return text + held

    def _emit(self, new: str) -> str:
        if self.is_stopped:
            return ""
        if not self._stop:
            return new
        text = self._held + new
        # The one that is complete first counts, so that the answer does not depend on how tokens cut the text.
        found = [(at + len(stop), at, stop) for stop in self._stop if (at := text.find(stop)) >= 0]
        if found:
            self._held = ""
            _, start, self.stopped_by = min(found)
            return text[:start]
        num_held = self._num_to_hold(text)
        cut = len(text) - num_held
        self._held = text[cut:]
        return text[:cut]

    def _num_to_hold(self, text: str) -> int:
        """Return the length of the longest end of `text` that a stop string begins with."""
        longest = min(len(text), max(len(stop) for stop in self._stop) - 1)
        for length in range(longest, 0, -1):
            tail = text[-length:]
            if any(stop.startswith(tail) for stop in self._stop):
                return length
        return 0


@dataclasses.dataclass(slots=True)
class _Held:
    """What tokens brought that no event has carried yet."""

    num_tokens: int = 0
    logprobs: tuple[PositionLogprobs, ...] = ()


class RunningAnswer:
    """The running answer.

    Args:
        parser: Takes the text apart; None = all of it is content.
        received_at: When the request came, seconds of a monotonic clock, as all times here.
        visible_ids: Control tokens whose text is to be seen, because the parser knows them.
        report: Tells of the prompt, where that is wanted.

    Attributes:
        editor: For the engine, once the constraint is compiled; None = the logits are drawn from as they are.
        is_paused: Whether its client was told to wait before it could start.
    """

    def __init__(
        self,
        message: Generate,
        sequence: Sequence,
        tokenizer: Tokenizer,
        parser: OutputParser | None,
        received_at: float,
        visible_ids: Collection[int] = (),
        report: PromptReport | None = None,
    ) -> None:
        self.sequence = sequence
        self._report = report
        self._is_prompt_only = message.spec.max_tokens == 0
        self.editor: LogitsEditor | None = None
        self.is_paused = False
        self._wants_token_ids = message.spec.wants_token_ids
        self._ignore_eos = message.spec.ignore_eos
        self._min_tokens = message.spec.min_tokens
        self._stop_ids = frozenset(message.spec.stop_token_ids)
        self._tokenizer = tokenizer
        self._visible_ids = visible_ids
        self._parser = parser
        self._detokenizer = Detokenizer(message.spec.stop)
        self._received_at = received_at
        self._prefill_at: float | None = None
        self._first_token_at: float | None = None
        self._threads = ThreadHistory()
        self._num_reasoning_tokens = 0
        self._held = _Held()

    @property
    def held_ends(self) -> HeldEnds | None:
        """The tokens that would end the answer too early, for its editor; None = none would."""
        ends = self._stop_ids if self._ignore_eos else self._tokenizer.end_ids | self._stop_ids
        return HeldEnds(ends, self._min_tokens) if ends and self._min_tokens else None

    @property
    def usage(self) -> Usage:
        """Token counts so far."""
        sequence = self.sequence
        return Usage(
            sequence.num_prompt_tokens,
            sequence.num_cached_tokens,
            0 if self._is_prompt_only else sequence.num_output_tokens,
            self._num_reasoning_tokens,
            sum(span.tile.size for span in sequence.spans),
            sequence.num_drafted,
            sequence.num_accepted,
            sequence.num_drafted_by_model,
            sequence.num_accepted_by_model,
        )

    def on_scheduled(self, now: float) -> list[Event]:
        """Note that a step takes the sequence up; return the first progress event when it is the first step."""
        if self._prefill_at is not None:
            return []
        self._prefill_at = now
        return self._progress()

    def on_step(self, begun_at: float, threads: ThreadsUsed | None) -> None:
        """Note what a step that it was in was computed with."""
        self._threads.on_step(begun_at, threads)

    def on_progress(self) -> list[Event]:
        """Return the progress event after a step that drew no token for this sequence."""
        return [] if self._first_token_at is not None else self._progress()

    def on_prompt_scores(self, scores: PromptScores) -> list[Event]:
        """Return what is to be told of the prompt after a step that judged some of its tokens."""
        return [] if self._report is None else [*self._report.on_scores(scores)]

    def on_token(self, token_id: int, likelihoods: Likelihoods | None, now: float) -> list[Event]:
        """Take over a drawn token (already in the sequence); return its events, the last of them perhaps the end."""
        events: list[Event] = []
        if self._first_token_at is None:
            self._first_token_at = now
            events = self._progress()
            if self._report is not None:
                events += self._report.finish()
        if self._is_prompt_only:  # an engine ends a prompt by a draw, which nobody wants here
            return [*events, self._finished("length", Output(), now)]
        if token_id in self._stop_ids or (not self._ignore_eos and self._tokenizer.is_end(token_id)):
            return [*events, self._finished("stop", self._flushed(""), now)]
        if likelihoods is not None:
            self._held.logprobs += (self._logprobs(likelihoods),)
        is_visible = token_id in self._visible_ids
        piece = self._tokenizer.shown_bytes(token_id) if is_visible else self._tokenizer.token_bytes(token_id)
        text = self._detokenizer.push(piece, can_stop=self.sequence.num_output_tokens > self._min_tokens)
        if self._detokenizer.is_stopped:
            return [*events, self._finished("stop", self._flushed(text), now)]
        output = self._parsed(text)
        if self._is_complete:
            return [*events, self._finished("stop", _joined(output, self._flushed("")), now)]
        if self.sequence.num_output_tokens >= self.sequence.max_output_tokens:
            return [*events, self._finished("length", _joined(output, self._flushed("")), now)]
        self._held.num_tokens += 1
        if output.num_chars or output.tool_calls:
            held, self._held = self._held, _Held()
            events.append(Delta(self.sequence.sequence_id, _with_logprobs(output, held.logprobs), held.num_tokens))
        return events

    @property
    def _is_complete(self) -> bool:
        """Whether nothing can follow any more, so that there is no need to wait for an end token."""
        editor, num_tokens = self.editor, self.sequence.num_output_tokens
        # An editor that is ahead, in a step that draws several tokens, tells of a later one.
        is_matched = editor is not None and editor.num_accepted <= num_tokens and editor.is_complete
        return is_matched or (self._parser is not None and self._parser.is_done)

    def _parsed(self, text: str) -> Output:
        if self._parser is None:
            return Output(text)
        output = self._parser.push(text) if text else Output()
        if output.reasoning and not output.text and not output.tool_calls:
            self._num_reasoning_tokens += self._held.num_tokens + 1
        return output

    def _flushed(self, text: str) -> Output:
        """Return what the last text and everything held back come to."""
        text += self._detokenizer.flush() if not self._detokenizer.is_stopped else ""
        if self._parser is None:
            return Output(text)
        return _joined(self._parsed(text), self._parser.flush())

    def _finished(self, reason: FinishReason, output: Output, now: float) -> Finished:
        prefill_at = self._received_at if self._prefill_at is None else self._prefill_at
        first_token_at = now if self._first_token_at is None else self._first_token_at
        timings = SequenceTimings(
            queue_ms=(prefill_at - self._received_at) * 1000,
            prefill_ms=(first_token_at - prefill_at) * 1000,
            decode_ms=(now - first_token_at) * 1000,
            threads=self._threads.since(self._received_at),
            cache_growth_ms=self.sequence.cache_growth_ms,
        )
        if reason == "stop" and self._parser is not None and self._parser.has_tool_calls:
            reason = "tool_calls"
        output = _with_logprobs(output, self._held.logprobs)
        stopped_by = self._detokenizer.stopped_by
        num_tokens = len(self.sequence.token_ids) - self._is_prompt_only
        token_ids = self.sequence.token_ids[:num_tokens] if self._wants_token_ids else None
        end = SequenceEnd(reason, self.usage, timings, stopped_by, token_ids, _seen_images(self.sequence))
        return Finished(self.sequence.sequence_id, output, end)

    def _progress(self) -> list[Event]:
        sequence = self.sequence
        total = sequence.num_prompt_tokens
        is_done = self._first_token_at is not None
        num_done = total if is_done else min(sequence.num_computed, total)
        return [PrefillProgress(sequence.sequence_id, num_done, total, sequence.num_cached_tokens)]

    def _logprobs(self, likelihoods: Likelihoods) -> PositionLogprobs:
        return PositionLogprobs(self._logprob(likelihoods.drawn), tuple(map(self._logprob, likelihoods.top)))

    def _logprob(self, candidate: Candidate) -> TokenLogprob:
        return TokenLogprob(candidate.token_id, self._tokenizer.shown_bytes(candidate.token_id), candidate.logprob)


def _seen_images(sequence: Sequence) -> tuple[SeenImage, ...]:
    """Return what became of a prompt's pictures; of equal ones the first tells how long the tower took."""
    encode_ms = dict(sequence.encode_ms)
    seen = []
    for image in sequence.images:
        taken = [encode_ms.pop(tile.digest) for tile in image.tiles if tile.digest in encode_ms]
        seen.append(SeenImage(image.original, image.seen, image.num_rows, not taken, sum(taken)))
    return tuple(seen)


def _with_logprobs(output: Output, logprobs: tuple[PositionLogprobs, ...]) -> Output:
    return Output(output.text, output.reasoning, output.tool_calls, logprobs) if logprobs else output


def _joined(first: Output, second: Output) -> Output:
    return Output(first.text + second.text, first.reasoning + second.reasoning, first.tool_calls + second.tool_calls)
