"""What fits: the slots and KV cells of one engine, and who has claimed them. Pure accounting.

A live sequence with a slot claims a cell for each of its tokens, computed or not; cells that several hold are claimed
once. Retired sequences have slots too, but no cells: the engine keeps their caches beside them.
"""

from backends.base import BatchLimits
from backends.batching.beginnings import Beginning
from backends.batching.cells import SharedCells
from backends.batching.retained import RetainedCaches
from backends.batching.roster import Member, Roster

GROWTH_TOKENS = 8
"""Cells left free for each running sequence when another one is admitted, so that it is not evicted at once again."""


class Capacity:
    """The books of slots and cells.

    Args:
        shared: Which cells the live ones have in common.
    """

    def __init__(self, limits: BatchLimits, roster: Roster, retained: RetainedCaches, shared: SharedCells) -> None:
        assert limits.num_slots >= limits.max_sequences >= 1, "an engine has a slot for everybody who computes"
        self._limits = limits
        self._roster = roster
        self._retained = retained
        self._shared = shared

    @property
    def has_free_slot(self) -> bool:
        """Whether one more sequence can have a slot without anybody giving one up."""
        return len(self._roster.residents) + len(self._retained) < self._limits.num_slots

    @property
    def num_free(self) -> int:
        """Cells that no live sequence has claimed; negative when the running ones have grown beyond them."""
        claimed = sum(len(member.sequence.token_ids) for member in self._roster.residents)
        return self._limits.num_cells - claimed + self._shared.num_saved

    def num_free_beside(self, members: list[Member]) -> int:
        """Return the cells that would be free if only these sequences had any."""
        claimed = sum(len(member.sequence.token_ids) for member in members)
        num_saved = self._shared.num_saved_among(member.sequence.sequence_id for member in members)
        return self._limits.num_cells - claimed + num_saved

    def has_room(self, member: Member, beginning: Beginning, others: list[Member]) -> bool:
        """Tell whether a waiting sequence fits beside these live ones; retired ones give it their slot."""
        if len(others) >= self._limits.num_slots:
            return False
        num_tokens = len(member.sequence.token_ids)
        if self._limits.forks_share_cells and beginning.source_id is not None:
            other_ids = {other.sequence.sequence_id for other in others}
            num_tokens -= self._shared.num_held_by(other_ids, beginning.source_id, beginning.num_tokens)
        num_growing = sum(not other.is_paused for other in others)
        return num_tokens + GROWTH_TOKENS * num_growing <= self.num_free_beside(others)
