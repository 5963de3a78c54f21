"""One generation inside a worker: its tokens, how far they are computed, how the next one is drawn."""

import dataclasses
import enum

from backends.wire.request import Priority, SamplingParams


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
