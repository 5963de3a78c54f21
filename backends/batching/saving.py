"""Between a batch and its saved caches: which of them are read for a new prompt, and which kept ones are written.

Read before a sequence begins, written between requests, a piece at a time.
"""

import time
from collections.abc import Callable, Iterable
from typing import Final

from backends.base import LoadedEngine
from backends.batching.adopting import adopt
from backends.batching.batcher import Batcher
from backends.saved_caches.caches import SavedCaches
from backends.sequence import Sequence

_MIN_GROWTH_TOKENS: Final = 512
_MIN_GROWTH: Final = 1 / 8
"""What a file has is written again, with what came after it, when this is so much, and this share of it."""
MAX_SAVED_CHECKPOINTS: Final = 8
"""Of one cache; each may take as much as thousands of tokens."""
SAVE_DEADLINE_S: Final = 3.0
"""What saving may take when the worker ends; the gateway kills it after `limits.stop_timeout_s`."""


class Saving:
    """Has the saved caches of one batch read and written.

    Args:
        saves_all: Whether all kept caches are written at the end, and not only what came more than once.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        engine: LoadedEngine,
        batcher: Batcher,
        saved: SavedCaches,
        *,
        saves_all: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.saved = saved
        self._engine = engine
        self._batcher = batcher
        self.saves_all = saves_all
        self._clock = clock

    def restore(self, sequence: Sequence) -> None:
        """Read the saved cache that a new prompt could begin with, where it is worth it and there is a slot."""
        num_ready = self._batcher.num_ready(sequence)
        if not self.saved.could_help(sequence.token_ids, num_ready, sequence.owner):
            return
        now = self._clock()
        needless_ids = self._batcher.free_slot(now)
        if needless_ids is None:
            return
        self._remove_all(needless_ids)
        sequence_id = self.saved.next_id()
        num_ready = self._batcher.num_ready(sequence)
        held = self.saved.restore(sequence_id, sequence.token_ids, num_ready, sequence.owner)
        if held:
            adopt(self._engine, self._batcher, sequence_id, held, now, sequence.owner)

    @property
    def has_work(self) -> bool:
        """Whether there is something to be written, or to be looked at for it."""
        return self.saved.is_writing or len(self._batcher.repeats) > 0

    def do_piece(self) -> None:
        """Write a little, or begin with the next cache that is worth a file."""
        if self.saved.is_writing:
            self.saved.write_piece()
        else:
            self._begin_next()

    def finish(self, sequence_ids: Iterable[int]) -> None:
        """Write what is left, and all of these retired sequences where that is wanted, until the time is up."""
        ends_at = self._clock() + SAVE_DEADLINE_S
        while self.has_work and self._clock() < ends_at:
            self.do_piece()
        for sequence_id in sequence_ids if self.saves_all else ():
            if self._clock() < ends_at and self._begin(sequence_id, self._batcher.owner_of(sequence_id)):
                self._write_until(ends_at)
        self.saved.give_up()

    def _write_until(self, ends_at: float) -> None:
        while self.saved.is_writing and self._clock() < ends_at:
            self.saved.write_piece()

    def _begin_next(self) -> None:
        repeat = self._batcher.repeats.take()
        keeper = None if repeat is None else self._batcher.repeats.keeper_of(repeat)
        if repeat is None or keeper is None:
            return
        num_covered = self.saved.num_covered(repeat.token_ids, repeat.owner)
        if keeper.num_tokens - num_covered >= max(_MIN_GROWTH_TOKENS, _MIN_GROWTH * num_covered):
            self._begin(keeper.sequence_id, repeat.owner)

    def _begin(self, sequence_id: int, owner: str | None) -> bool:
        places = self._batcher.checkpoints.worth_saving(sequence_id, MAX_SAVED_CHECKPOINTS)
        return self.saved.begin(sequence_id, owner, places)

    def _remove_all(self, sequence_ids: tuple[int, ...]) -> None:
        for sequence_id in sequence_ids:
            self._engine.remove(sequence_id)
