"""Which sequences compute what in the next step: pure decisions over sequences, slots and KV cells.

No engine, clock, I/O or log in here: events and `now` in, effects out. One round of the caller:

    for action in batcher.admit(now): let the engine do it; tell `on_fork` how forks ended
    plan = batcher.plan(now); let the engine do it; tell `on_step`, `on_token`

How it decides:
    1. Order: urgent sequences first, each class first come, first served (`live`). `max_sequences` of them compute.
    2. A waiting sequence is admitted when it would compute, there is a slot, and all its tokens fit into the cells. It
       begins with the longest beginning that a cache holds (`prefix_reuse`), or waits for a longer one that is on its
       way and lets those behind it go first. Who does not fit holds up those behind it.
    3. Retired sequences (ended ones whose cache the engine keeps beside the cells) give their slots to live ones and to
       each other, by least recent use, those of a session last.
    4. If the growth of the running ones does not fit, live ones are evicted until it does: the newest background
       sequences, then the newest paused, then the newest running ones; never the first one in order. An evicted
       sequence waits again, at its old place, and is computed anew from what caches still hold of it.
    5. An urgent sequence that does not fit beside background ones evicts those, the newest first. Where nobody could
       compute, because only paused sequences have cells, these are evicted for whoever waits. Both only where it helps.
    6. In the step, decode comes first; the prefill budget is what `prefill_budget` allows beside it, more for short
       prompts than for long ones (`chunks`). Who is left out is held: it keeps slot and cells.
    7. A sequence that has come to a span whose tile has no rows waits for them in its slot and takes no other's place
       in the step; which tile is next is said by `needed_tiles`. No cache begins or ends inside a span.

Every sequence ends: the first in order always computes or, alone in the end, fits; and every background sequence is
first sooner or later.
"""

import math
from collections.abc import Mapping
from types import MappingProxyType

from backends.batch_limits import BatchLimits
from backends.batching.actions import Drop, Fork
from backends.batching.capacity import Capacity, SharedCells
from backends.batching.checkpoints.keeping import Checkpoints
from backends.batching.chunks import step_chunks
from backends.batching.counts import BatchCounts
from backends.batching.eviction import Evictions
from backends.batching.live import LiveSequence, LiveSequences
from backends.batching.needed_tiles import is_needed, next_tile
from backends.batching.needless import needless_ids
from backends.batching.prefill_budget import PrefillBudget
from backends.batching.prefix_index import PrefixIndex
from backends.batching.prefix_reuse import CachedPrefix, PrefixReuse
from backends.batching.repeats import RepeatedBeginnings
from backends.batching.retired import RetiredCache, RetiredCaches
from backends.sequence import Sequence, Tile
from backends.step import StepPlan, StepResult


class Batcher:
    """Owns the sequences of one worker and decides what each step does.

    Attributes:
        prefill_budget: Sizes prefill beside decode; the caller lets it observe the steps.
        counts: What was done so far.
        repeats: Long beginnings that came more than once.
        checkpoints: Which there are.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self.prefill_budget = PrefillBudget()
        self.counts = BatchCounts()
        self._limits = limits
        self._live = LiveSequences()
        self._retired = RetiredCaches()
        self._index = PrefixIndex()
        self._shared = SharedCells()
        self._capacity = Capacity(limits, self._live, self._retired, self._shared)
        self.checkpoints = Checkpoints(limits, self._live, self._retired, self.counts)
        self.repeats = RepeatedBeginnings(limits, self._index, self._retired, self.checkpoints.book)
        self._reuse = PrefixReuse(limits, self._index, self._live, self._retired, self.checkpoints.book)
        self._evictions = Evictions(self._live, self._capacity, self.counts, self._evict)
        self._forks: dict[int, Fork] = {}
        self._superseded: list[int] = []
        # The first waiting sequence that did not fit, and what it would begin with.
        self._blocked: tuple[LiveSequence, CachedPrefix] | None = None
        self._now = 0.0

    @property
    def num_running(self) -> int:
        """Live sequences with a slot, held and paused ones included."""
        return len(self._live.residents)

    @property
    def num_waiting(self) -> int:
        """Live sequences without one."""
        return len(self._live.waiting)

    @property
    def retired_ids(self) -> list[int]:
        """Ended sequences whose cache is kept, the least recently used first."""
        return self._retired.sequence_ids

    @property
    def num_kept_tokens(self) -> int:
        """Tokens of all of them."""
        return self._retired.num_tokens

    def num_kept(self, sequence_id: int) -> int:
        """Return how many tokens the kept cache of an ended sequence holds; 0 without one."""
        retired = self._retired.get(sequence_id)
        return 0 if retired is None else retired.num_tokens

    def owner_of(self, sequence_id: int) -> str | None:
        """Return whose the kept cache of an ended sequence is, as `Sequence` has it."""
        retired = self._retired.get(sequence_id)
        return None if retired is None else retired.owner

    @property
    def num_free_cells(self) -> int:
        """Cells that no live sequence has claimed."""
        return self._capacity.num_free

    @property
    def has_work(self) -> bool:
        """Whether there is a live sequence that is not paused."""
        return self._live.has_work

    def add(self, sequence: Sequence, now: float) -> None:
        """Queue a sequence; its prompt and answer together must fit the cells."""
        assert sequence.num_prompt_tokens + sequence.max_output_tokens <= self._limits.num_cells, "checked at intake"
        self._live.add(sequence, now)
        self.repeats.note(sequence)
        self._index.insert(sequence.sequence_id, sequence.token_ids, sequence.owner)

    def remove(self, sequence_id: int) -> None:
        """Forget a sequence, live or retired; unknown ids are ignored."""
        self._live.remove(sequence_id)
        self._retired.remove(sequence_id)
        self._shared.release(sequence_id)
        self._index.remove(sequence_id)
        self.checkpoints.book.remove(sequence_id)

    def can_retire(self, sequence_id: int) -> bool:
        """Tell whether a live sequence that ends has a cache that is to be kept."""
        member = self._live.get(sequence_id)
        return (
            self._limits.num_retired_tokens > 0
            and member is not None
            and member.is_resident
            and member.sequence.num_computed > 0
        )

    def retire(self, sequence_id: int, num_tokens: int, now: float) -> tuple[int, ...]:
        """End a sequence whose cache the engine keeps.

        Args:
            num_tokens: First tokens that the engine kept; 0 = none.
            now: Seconds of a monotonic clock.

        Returns:
            Retired sequences that are needless now or too many, perhaps this one; the engine is to remove them.
        """
        self._now = now
        member = self._live.get(sequence_id)
        if member is None or num_tokens == 0:
            self.remove(sequence_id)
            return ()
        self._live.remove(sequence_id)
        self._shared.release(sequence_id)
        self.checkpoints.book.truncate(sequence_id, num_tokens)
        sequence = member.sequence
        is_pinned = sequence.session_id is not None
        return self.adopt(sequence_id, sequence.token_ids[:num_tokens], now, sequence.owner, is_pinned=is_pinned)

    def num_ready(self, sequence: Sequence) -> int:
        """Return how many first tokens of a new sequence's prompt would not have to be computed."""
        return self._reuse.num_ready(sequence)

    def free_slot(self, now: float) -> tuple[int, ...] | None:
        """Make room for a retired sequence from elsewhere, to be told by `adopt`.

        Returns:
            Retired sequences that the engine is to remove for it; None = there is no slot for it.
        """
        self._now = now
        num_live = len(self._live.residents) + len(self._superseded)
        if self._limits.num_retired_tokens == 0 or num_live >= self._limits.num_slots:
            return None
        return () if self._capacity.has_free_slot else (self._drop_one(),)

    def adopt(
        self,
        sequence_id: int,
        token_ids: list[int],
        now: float,
        owner: str | None = None,
        *,
        is_pinned: bool = False,
        checkpoints: Mapping[int, int] = MappingProxyType({}),
    ) -> tuple[int, ...]:
        """Take up a retired sequence that the engine has got from elsewhere, after `free_slot`.

        Args:
            token_ids: What its cache holds, >= 1.
            now: Seconds of a monotonic clock.
            is_pinned: Whether it is kept as one of a session is.
            checkpoints: That have come with it: tokens -> bytes.

        Returns:
            Retired sequences that are needless now or too many, perhaps this one; the engine is to remove them.
        """
        self._now = now
        self._index.insert(sequence_id, token_ids, owner)
        for place, num_bytes in checkpoints.items():
            self.checkpoints.book.add(sequence_id, place, num_bytes)
        pinned_until = now + self._limits.session_ttl_s if is_pinned else None
        self._retired.add(RetiredCache(sequence_id, len(token_ids), pinned_until, owner))
        matches = self._index.lookup(token_ids, owner)
        dropped = needless_ids(sequence_id, matches, self._retired, self._limits, self.checkpoints)
        for needless_id in dropped:
            self.remove(needless_id)
        while self._retired.num_tokens > self._limits.num_retired_tokens or self.checkpoints.has_too_many_ends:
            dropped.append(self._drop_one())
        return tuple(dropped)

    def drop_retired(self, share: float, now: float) -> tuple[int, ...]:
        """Forget a share of the retired sequences, 0..1 and rounded up, by least recent use, those of sessions last.

        Returns:
            Who they are; the engine is to remove them.
        """
        self._now = now
        return tuple(self._drop_one() for _ in range(math.ceil(share * len(self._retired))))

    def pause(self, sequence_id: int) -> None:
        """Hold a sequence until `resume`; unknown ids are ignored."""
        self._live.pause(sequence_id)

    def resume(self, sequence_id: int, now: float) -> None:
        """Let a paused sequence go on; ignored when it is not paused."""
        self._live.resume(sequence_id, now)

    def admit(self, now: float) -> list[Fork | Drop]:
        """Admit waiting sequences; return what the engine has to do for it, in this order, before the next plan."""
        assert not self._superseded, "the plan that takes them out comes first"
        self._now = now
        self._blocked = None
        self._live.grant_slices(now, self._limits.background_max_wait_s, self._limits.max_sequences)
        actions: list[Fork | Drop] = []
        if not self._live.waiting:
            return actions
        ahead_ids: set[int] = set()
        for member in self._live.queue():
            if not self._has_place(member):
                break
            beginning = self._reuse.best_for(member, ahead_ids)
            if beginning.is_coming:
                ahead_ids.add(member.sequence.sequence_id)
                continue
            if not self._capacity.has_room(member, beginning, self._live.residents):
                self._blocked = member, beginning
                break
            self._begin(member, beginning, actions)
        return actions

    def on_fork(self, target_id: int, *, is_done: bool, is_fallback: bool = False) -> Sequence:
        """Note whether a fork could be done, perhaps as its fallback; its target is computed from its first token else.

        Args:
            is_fallback: The target begins with so many tokens only.

        Returns:
            The target.
        """
        fork = self._forks.pop(target_id)
        member = self._live.get(target_id)
        assert member is not None, "forks are answered at once"
        retired = self._retired.get(fork.source_id)
        if not is_done or is_fallback:
            member.refused_ids.add(fork.source_id)
            self._shorten(member.sequence, fork.fallback if is_done else 0)
        self.checkpoints.plan(member.sequence, member.sequence.num_computed, member.matches)
        if not is_done:
            return member.sequence
        self.counts.num_forks += 1
        self.counts.num_checkpoint_forks += self.checkpoints.book.has(target_id, member.sequence.num_computed)
        if retired is not None and retired.num_tokens == fork.num_tokens and self._stands_for(member, retired):
            self.remove(fork.source_id)
            self._superseded.append(fork.source_id)
        return member.sequence

    def plan(self, now: float) -> StepPlan:
        """Return the next step; mutates only the states of sequences that are evicted."""
        self._now = now
        evicted, self._superseded = self._superseded, []
        evicted += [self._evict(member) for member in list(self._live.residents) if member.sequence.is_torn]
        evicted += self._evicted_for_growth()
        evicted += self._evictions.for_blocked(*self._blocked) if self._blocked else []
        members = [member for member in self._live.runnable() if not member.sequence.awaits_rows]
        del members[self._limits.max_sequences :]
        for member in members:
            member.held_since = now
        sequences = [member.sequence for member in members]
        return StepPlan(tuple(step_chunks(sequences, self._limits, self.prefill_budget)), tuple(evicted))

    def next_tile(self) -> Tile | None:
        """Return the tile whose rows are to be made next, if any are."""
        return next_tile(member.sequence for member in self._live.runnable())

    def awaiting_ids(self, tile: Tile) -> set[int]:
        """Return the live sequences that cannot end without a tile's rows, as far as is known now."""
        return {member.sequence.sequence_id for member in self._live if is_needed(tile, member.sequence)}

    def on_encoded(self, tile: Tile, encode_ms: float) -> None:
        """Note that a tile has got its rows, for those who have waited for it."""
        for member in self._live.residents:
            if is_needed(tile, member.sequence):
                member.sequence.encode_ms[tile.digest] = encode_ms

    def on_step(self, result: StepResult) -> None:
        """Take over what the engine did, but for the tokens that it drew: each of them may be the last that counts."""
        self.counts.num_steps += 1
        self.counts.num_step_sequences += len(result.num_computed)
        for sequence_id, num_computed in result.num_computed.items():
            member = self._live.get(sequence_id)
            if member is None or not member.is_resident:
                continue
            sequence = member.sequence
            if num_computed < sequence.num_computed:
                self._shorten(sequence, num_computed)
            sequence.num_computed = num_computed

    def on_token(self, sequence_id: int, token_id: int) -> None:
        """Take over a token that the last step drew, the next of its sequence; ignored when that has ended."""
        member = self._live.get(sequence_id)
        if member is not None:
            member.sequence.token_ids.append(token_id)
            member.num_slice_tokens = max(0, member.num_slice_tokens - 1)

    # ---- admission ---------------------------------------------------------------------------------------------------

    def _has_place(self, member: LiveSequence) -> bool:
        """Tell whether it would compute, if it were admitted."""
        unpaused = [m for m in self._live.residents if not m.is_paused and not m.sequence.awaits_rows]
        if member.is_urgent:
            return sum(other.is_urgent for other in unpaused) < self._limits.max_sequences
        return len(unpaused) < self._limits.max_sequences

    def _begin(self, member: LiveSequence, beginning: CachedPrefix, actions: list[Fork | Drop]) -> None:
        """Admit a sequence that fits, taking its slot from a retired one where needed."""
        sequence, source_id, num_tokens = member.sequence, beginning.source_id, beginning.num_tokens
        while not self._capacity.has_free_slot:
            dropped_id = self._drop_one(spared_id=source_id)
            actions.append(Drop(dropped_id))
            if dropped_id == source_id:
                source_id, num_tokens = None, 0
        self._live.admit(member)
        if source_id is None:
            self.checkpoints.plan(sequence, 0, member.matches)
        else:
            book = self.checkpoints.book
            fork = Fork(source_id, sequence.sequence_id, num_tokens, book.best(source_id, num_tokens - 1))
            book.share(source_id, sequence.sequence_id, num_tokens)
            self._forks[sequence.sequence_id] = fork
            actions.append(fork)
            sequence.num_computed = num_tokens
            sequence.num_cached_tokens = min(num_tokens, sequence.num_prompt_tokens)
            if source_id in self._retired:
                self._retired.touch(source_id)
            elif self._limits.forks_share_cells:
                self._shared.share(source_id, sequence.sequence_id, num_tokens)

    # ---- eviction ----------------------------------------------------------------------------------------------------

    def _evicted_for_growth(self) -> list[int]:
        evicted = self._evictions.for_growth()
        if evicted:
            self._blocked = None  # who is evicted now must not be evicted for
        return evicted

    def _evict(self, victim: LiveSequence) -> int:
        sequence_id = victim.sequence.sequence_id
        self._live.send_back(victim)
        self._shared.release(sequence_id)
        self.checkpoints.book.truncate(sequence_id, 0)
        return sequence_id

    def _shorten(self, sequence: Sequence, num_tokens: int) -> None:
        """Note that a live sequence's cache holds its first tokens only."""
        sequence.num_computed = num_tokens
        sequence.num_cached_tokens = min(sequence.num_cached_tokens, num_tokens)
        self._shared.truncate(sequence.sequence_id, num_tokens)
        self.checkpoints.book.truncate(sequence.sequence_id, num_tokens)

    def _stands_for(self, member: LiveSequence, retired: RetiredCache) -> bool:
        """Tell whether a sequence that has all of a retired one's tokens will be as good a beginning for others."""
        is_pinned = retired.is_pinned(self._now) and member.sequence.session_id is None
        return self._limits.can_cut_all and not is_pinned

    def _drop_one(self, spared_id: int | None = None) -> int:
        """Forget the retired sequence whose turn it is."""
        sequence_id = self._retired.victim(self._now, spared_id)
        assert sequence_id is not None, "live sequences alone are never too many"
        self.remove(sequence_id)
        self.counts.num_dropped += 1
        return sequence_id
