"""One generation inside a worker: its tokens, how far they are computed, how the next one is drawn."""

import dataclasses
import enum

import msgspec

GREEDY_BELOW = 1e-5
"""Temperatures below this are greedy: dividing by them overflows float32 long before they change a draw."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How tokens are drawn, the same meaning on every engine.

    The logits are changed in this order: logit_bias, repetition, frequency and presence penalty, the constraint's mask.
    Then filters apply in this order: top_k, typical_p, top_p, min_p, temperature; then one draw with the sequence's own
    generator.

    Attributes:
        temperature: >= 0; below GREEDY_BELOW, above all at 0, it is greedy and makes the filters irrelevant.
        top_k: Keep the k most likely tokens, >= 1; None = all.
        typical_p: Keep the tokens whose information is nearest to the expected one, up to this probability,
            0 < typical_p <= 1; 1 = all.
        top_p: Keep the smallest set whose probability reaches top_p, 0 < top_p <= 1.
        min_p: Drop tokens less likely than min_p times the most likely, 0..1.
        seed: Start of the sequence's own random generator, 0..2**32-1; None = a fresh one.
        repetition_penalty: > 0; logits of tokens in the window are divided by it where positive, multiplied where
            negative; 1 = off.
        repetition_window: How many of the last tokens, prompt included, count for it, >= 1; None = all.
        frequency_penalty: -2..2, subtracted once per occurrence in the answer so far; 0 = off.
        presence_penalty: -2..2, subtracted once from every token that occurs in the answer so far; 0 = off.
        penalty_window: How many of the answer's last tokens count for these two, >= 1; None = all.
        logit_bias: Pairs of token id and a number, -100..100, added to its logit.
        num_logprobs: How many of the likeliest tokens to report with each drawn one, 0..20; None = no report.
    """

    temperature: float = 1.0
    top_k: int | None = None
    typical_p: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    seed: int | None = None
    repetition_penalty: float = 1.0
    repetition_window: int | None = 64
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    penalty_window: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    num_logprobs: int | None = None

    @property
    def is_greedy(self) -> bool:
        """Whether the most likely token is taken, always."""
        return self.temperature < GREEDY_BELOW


class Priority(enum.Enum):
    """Who goes first where not everybody can: at the queue, for a place in the batch, and in it."""

    INTERACTIVE = "interactive"
    BACKGROUND = "background"


class SequenceState(enum.Enum):
    """Where a sequence stands in the batch."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"


@dataclasses.dataclass(slots=True)
class Sequence:
    """A growing list of tokens; owned and mutated by the batcher only.

    Attributes:
        num_prompt_tokens: How many of `token_ids` are the prompt.
        num_computed: How many of `token_ids` the engine's cache holds; the rest is pending.
        max_output_tokens: Upper bound of the answer, >= 1.
        sampling: How tokens are drawn.
        priority: Background sequences hold still while interactive ones compute.
        session_id: Conversation whose cache is kept for its next turn, or None.
        num_cached_tokens: Tokens of the prompt that were not computed for it, but taken from another one's cache.
    """

    sequence_id: int
    token_ids: list[int]
    num_prompt_tokens: int
    max_output_tokens: int
    sampling: SamplingParams
    priority: Priority = Priority.INTERACTIVE
    session_id: str | None = None
    num_computed: int = 0
    state: SequenceState = SequenceState.WAITING
    num_cached_tokens: int = 0

    @property
    def num_output_tokens(self) -> int:
        """Tokens of the answer so far."""
        return len(self.token_ids) - self.num_prompt_tokens

    @property
    def num_pending(self) -> int:
        """Tokens that the engine's cache does not hold yet; 1 in plain decode."""
        return len(self.token_ids) - self.num_computed

    @property
    def is_decoding(self) -> bool:
        """Whether only its newest token is pending."""
        return self.num_pending == 1 and self.num_output_tokens > 0
