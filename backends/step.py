"""What one step of an engine is to do, and what it did: the Structs between whoever plans and the engines."""

import dataclasses
import itertools
from collections.abc import Callable, Iterable
from typing import NamedTuple

import msgspec

from backends.embedding import Floats
from backends.errors import BackendError
from backends.logits import Likelihoods, LogitsEditor, TokenScore
from backends.sequence import EmbeddingSpan, Sequence


class Chunk(NamedTuple):
    """Consecutive pending places of one sequence to be evaluated in one step: all tokens, or all of one span's rows.

    The batcher counts a row as a token, for budgets and for cells. An engine that evaluates rows gives them to the
    library in the place of token ids; nothing is drawn after them, because a prompt does not end with a span.

    Attributes:
        sequence: Whose tokens; the engine reads it and never changes it.
        start: Index of the first token, equal to `sequence.num_computed`.
        num_tokens: How many, >= 1.
        draft: Tokens that may follow, of a chunk that draws, from an engine that takes drafts. They are evaluated with
            it, so that one step draws as long as what is drawn is what was drafted, and once more.
    """

    sequence: Sequence
    start: int
    num_tokens: int
    draft: tuple[int, ...] = ()

    @property
    def end(self) -> int:
        """Index after the last token."""
        return self.start + self.num_tokens

    @property
    def span(self) -> EmbeddingSpan | None:
        """The span whose rows it has; None for tokens."""
        return self.sequence.span_at(self.start)

    @property
    def rows(self) -> Floats | None:
        """The rows to evaluate, shape (num_tokens, model width); None for tokens."""
        span = self.span
        if span is None:
            return None
        assert span.tile.rows is not None, "its tile comes before its chunks"
        return span.tile.rows[self.start - span.start : self.end - span.start]

    @property
    def scored(self) -> range:
        """Indices of the prompt's tokens that the logits after the chunk's tokens judge: each by what is before it."""
        if not self.sequence.is_scored:
            return range(0)
        return range(self.start + 1, min(self.end + 1, self.sequence.num_prompt_tokens))

    @property
    def samples(self) -> bool:
        """Whether the chunk reaches the sequence's end, so that a token is drawn after it."""
        return self.end == len(self.sequence.token_ids)


class StepPlan(msgspec.Struct, frozen=True):
    """What one step is to do.

    Attributes:
        chunks: Decode chunks first, then prefill chunks, at most one per sequence.
        evicted: Sequences whose cache goes before the step (their cells or slots are needed): live ones will be
            computed anew, retired ones are gone.
    """

    chunks: tuple[Chunk, ...] = ()
    evicted: tuple[int, ...] = ()


class PromptScores(NamedTuple):
    """What a step tells of a prompt's tokens.

    Attributes:
        start: Index of the first of them, >= 1: nothing judges a prompt's first token.
    """

    start: int
    scores: list[TokenScore]


@dataclasses.dataclass(slots=True)
class StepResult:
    """What one step did.

    Attributes:
        num_computed: Per sequence id, how many of its tokens the cache holds now. An engine that batches by its own
            rules may have done less or more than the plan, and may name held sequences, whose cache it has cut by what
            it had drawn ahead; a sequence that is missing did not move. Where only a part of a span is left that has
            to be whole, the sequence is computed anew.
        tokens: Per sequence id, what was drawn, one token or, after a draft, up to one more than it has; `num_computed`
            counts all of them but the last.
        likelihoods: Per sequence id, what goes with each of them where its editor reports it.
        prompt_scores: Per sequence id, what is told of its prompt; a sequence that is computed anew tells it again.
        errors: Per sequence id, why a sequence cannot go on although the step did, after what it has drawn.
        was_aborted: The step was given up; `num_computed` tells what is left.
    """

    num_computed: dict[int, int] = dataclasses.field(default_factory=dict)
    tokens: dict[int, list[int]] = dataclasses.field(default_factory=dict)
    likelihoods: dict[int, list[Likelihoods]] = dataclasses.field(default_factory=dict)
    prompt_scores: dict[int, PromptScores] = dataclasses.field(default_factory=dict)
    errors: dict[int, BackendError] = dataclasses.field(default_factory=dict)
    was_aborted: bool = False

    def add(self, sequence_id: int, token_id: int, likelihoods: Likelihoods | None) -> None:
        """Note a drawn token, the next of its sequence."""
        self.tokens.setdefault(sequence_id, []).append(token_id)
        if likelihoods is not None:
            self.likelihoods.setdefault(sequence_id, []).append(likelihoods)

    def draw_along(self, chunk: Chunk, editor: LogitsEditor | None, draw: Callable[[int], bool]) -> int:
        """Draw after a chunk and, as long as what is drawn is what its draft has, after the draft's tokens.

        Args:
            editor: Of the chunk's sequence; nothing is drawn after an answer that it calls complete.
            draw: Draws after the chunk and so many tokens of its draft, and adds that here; returns whether it could.

        Returns:
            How many tokens of the draft were drawn.
        """
        num_right = 0
        while draw(num_right) and num_right < len(chunk.draft):
            drawn_id = self.tokens[chunk.sequence.sequence_id][-1]
            if drawn_id != chunk.draft[num_right] or (editor is not None and editor.is_complete):
                break
            num_right += 1
        return num_right

    def drawn(self, sequence_id: int) -> Iterable[tuple[int, Likelihoods | None]]:
        """Return a sequence's tokens with what goes with each."""
        tokens = self.tokens.get(sequence_id, [])
        return zip(tokens, self.likelihoods.get(sequence_id) or itertools.repeat(None), strict=False)
