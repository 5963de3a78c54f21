"""Which live sequences lose their cells to others: those that run have to grow, or one that waits goes before them."""

from collections.abc import Callable

from backends.batching.capacity import Capacity
from backends.batching.counts import BatchCounts
from backends.batching.live import LiveSequence, LiveSequences
from backends.batching.prefix_reuse import CachedPrefix


class Evictions:
    """Chooses, and has it done.

    Args:
        evict: Sends a resident sequence back to those that wait; returns its id.
    """

    def __init__(
        self, live: LiveSequences, capacity: Capacity, counts: BatchCounts, evict: Callable[[LiveSequence], int]
    ) -> None:
        self._live = live
        self._capacity = capacity
        self._counts = counts
        self._evict = evict

    def for_growth(self) -> list[int]:
        """Make room for the newest token of every sequence; return who was evicted."""
        if self._capacity.num_free >= 0:
            return []
        first = next(iter(self._live.runnable()), None)
        victims = [member for member in self._live.residents if member is not first]
        victims.sort(key=lambda member: (not member.is_urgent, member.is_paused, member.arrival))
        evicted: list[int] = []
        while self._capacity.num_free < 0 and victims:
            evicted.append(self._evict(victims.pop()))
        self._counts.num_evictions += len(evicted)
        return evicted

    def for_blocked(self, member: LiveSequence, beginning: CachedPrefix) -> list[int]:
        """Make room for the first waiting sequence among those that are held for it or paused, if that is enough."""
        residents = self._live.residents
        victims = [other for other in residents if not other.is_urgent] if member.is_urgent else []
        if all(other in victims for other in self._live.runnable()):  # only paused ones would be left
            victims = [other for other in residents if other not in victims] + victims
        remaining = [other for other in residents if other not in victims]
        if not self._capacity.has_room(member, beginning, remaining):
            return []
        evicted: list[int] = []
        # Without its source the beginning is lost; those that are left and share it begin the member in the next round.
        while victims and not self._capacity.has_room(member, beginning, residents):
            evicted.append(self._evict(victims.pop()))
        self._counts.num_preemptions += len(evicted)
        return evicted
