"""What a loaded engine can hold and do, as far as the batcher has to know."""

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """What a loaded engine can hold and should do in one step; decided by the library and the model's memory.

    A slot is taken by a sequence's first chunk, a fork or a loaded cache, kept while the sequence runs, is held or
    retired, and given back by `remove` or an eviction. Whoever plans sees to it that there is one, for a fork as well.

    Attributes:
        max_sequences: Sequences that compute in one step, >= 1.
        num_slots: Sequences whose cache it can hold at once, >= max_sequences.
        num_cells: Tokens that the caches of live sequences together may hold.
        step_tokens: Token budget of one step, not less than the largest span that has to be whole; such a span comes
            whole even where less is left of the budget.
        scored_tokens: Tokens of prompts whose likelihoods one step may tell, >= 1: all logits of each are in memory.
        num_retired_tokens: Tokens that the caches of retired sequences together may hold, beside the cells: cells that
            are only kept slow down the attention of all who compute. 0 = none are kept.
        can_cut_cache: The tail of a live sequence's cache can be removed (not so for recurrent memory), unless the
            engine refuses it. Where it cannot, a fork begins with a whole cache or at a checkpoint.
        num_cuttable_tokens: The most tokens of a cache, a retired one's too, that begins forks at any place; longer
            ones (of layers that see a window) do so as a whole or at a checkpoint. None = any where `can_cut_cache`.
        checkpoint_bytes: What checkpoints may take; 0 = the engine makes none.
        border_ids: Tokens that stand between the messages of a conversation.
        num_live: Sequences that can have a cache in the batch's memory at once, >= max_sequences; None = `num_slots`.
        max_drafted: Sequences of a step that has drafts, at most; None = any number.
        forks_share_cells: A fork of a live sequence holds its source's cells, and not a copy of them. A fork of a
            retired one always has cells of its own.
        background_max_wait_s: How long interactive sequences may hold a background one.
        session_ttl_s: How long the cache of a session's last answer is kept before others.
    """

    max_sequences: int
    num_slots: int
    num_cells: int
    step_tokens: int
    scored_tokens: int = 64
    num_retired_tokens: int = 0
    can_cut_cache: bool = True
    num_cuttable_tokens: int | None = None
    checkpoint_bytes: int = 0
    border_ids: frozenset[int] = frozenset()
    num_live: int | None = None
    max_drafted: int | None = None
    forks_share_cells: bool = True
    background_max_wait_s: float = 60.0
    session_ttl_s: float = 600.0

    def can_cut(self, num_tokens: int) -> bool:
        """Tell whether a kept cache of so many tokens can begin forks at any place."""
        return self.can_cut_cache if self.num_cuttable_tokens is None else num_tokens <= self.num_cuttable_tokens

    def can_cut_live(self, num_tokens: int) -> bool:
        """Tell whether a live sequence's cache of so many tokens can, as long as the engine does not refuse it."""
        return self.can_cut_cache or self.can_cut(num_tokens)

    @property
    def can_cut_all(self) -> bool:
        """Whether any cache can begin forks at any place."""
        return self.can_cut_cache and self.num_cuttable_tokens is None

    @property
    def keeps_checkpoints(self) -> bool:
        """Whether checkpoints are of use, and the engine makes them."""
        return self.checkpoint_bytes > 0 and not self.can_cut_all

    @property
    def num_live_slots(self) -> int:
        """Live sequences that can have a slot."""
        return self.num_slots if self.num_live is None else self.num_live
