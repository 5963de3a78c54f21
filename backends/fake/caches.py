"""The fake engine's caches: no numbers in them, but the tokens, so that a wrong fork, chunk or count is noticed."""

import itertools
from pathlib import Path
from typing import NamedTuple

from backends.cache_files import ExportedCache, read_cache
from backends.errors import EngineError
from backends.fake.tower import check_rows
from backends.step import Chunk

FINGERPRINT = "fake 1|"
_PAYLOAD = b"nothing"


class _Cache(NamedTuple):
    """The tokens that a sequence has computed, and a number for the cell of each."""

    token_ids: list[int]
    cells: list[int]


class FakeCaches:
    """Live sequences hold cells, forks of live ones the same; retired ones hold none.

    Args:
        num_cells: Tokens that all live ones may hold, shared ones counted once.
    """

    def __init__(self, num_slots: int, num_cells: int) -> None:
        self._num_slots = num_slots
        self._num_cells = num_cells
        self._caches: dict[int, _Cache] = {}
        self._retired: dict[int, list[int]] = {}
        self._numbers = itertools.count()
        self._num_holders: dict[int, int] = {}

    @property
    def num_cells_held(self) -> int:
        """Cells that live sequences hold, shared ones counted once."""
        return len(self._num_holders)

    def remove(self, sequence_id: int) -> None:
        """Free whatever a sequence has; unknown ids are ignored."""
        self._retired.pop(sequence_id, None)
        self._release(sequence_id)

    def fork(self, source_id: int, target_id: int, num_tokens: int) -> bool:
        """Let the target begin with the source's first tokens; not where it has not got them."""
        source = self._caches.get(source_id)
        token_ids = source.token_ids if source is not None else self._retired.get(source_id, [])
        is_full = len(self._caches) + len(self._retired) >= self._num_slots
        if target_id in self._caches or not 1 <= num_tokens <= len(token_ids) or is_full:
            return False
        cells = source.cells[:num_tokens] if source is not None else self._new_cells(num_tokens)
        self._hold(cells)
        self._caches[target_id] = _Cache(token_ids[:num_tokens], cells)
        return True

    def retire(self, sequence_id: int) -> int:
        """Give the cells back and keep the tokens; return how many."""
        cache = self._release(sequence_id)
        if cache is None or not cache.token_ids:
            return 0
        self._retired[sequence_id] = cache.token_ids
        return len(cache.token_ids)

    def evaluate(self, chunk: Chunk) -> None:
        """Take over a chunk's tokens, and its draft's.

        Raises:
            EngineError: It does not follow what the cache holds, its rows are wrong, or there is no room for it.
        """
        check_rows(chunk)
        sequence_id = chunk.sequence.sequence_id
        cache = self._caches.setdefault(sequence_id, _Cache([], []))
        if cache.token_ids != chunk.sequence.token_ids[: chunk.start]:
            raise EngineError(f"fake: the cache of sequence {sequence_id} does not hold what comes before its chunk")
        cache.token_ids.extend(chunk.sequence.token_ids[chunk.start : chunk.end])
        cache.token_ids.extend(chunk.draft)
        cells = self._new_cells(chunk.num_tokens + len(chunk.draft))
        self._hold(cells)
        cache.cells.extend(cells)
        if len(self._caches) + len(self._retired) > self._num_slots or self.num_cells_held > self._num_cells:
            raise EngineError("fake: no free KV cells or slots")

    def cut(self, sequence_id: int, num_tokens: int) -> None:
        """Drop all but a live sequence's first tokens."""
        cache = self._caches.get(sequence_id)
        if cache is not None:
            self._release(sequence_id)
            kept = _Cache(cache.token_ids[:num_tokens], cache.cells[:num_tokens])
            self._hold(kept.cells)
            self._caches[sequence_id] = kept

    def export(self, sequence_id: int) -> ExportedCache | None:
        """Return what is to be written of a sequence."""
        cache = self._caches.get(sequence_id)
        token_ids = cache.token_ids if cache is not None else self._retired.get(sequence_id, [])
        parts = iter([memoryview(_PAYLOAD)])
        return ExportedCache(list(token_ids), len(_PAYLOAD), parts) if token_ids else None

    def load(self, path: Path, sequence_id: int, token_ids: list[int]) -> int:
        """Read them back into a retired sequence; return how many."""
        saved = read_cache(path, FINGERPRINT, token_ids)
        if saved is None:
            return 0
        self._retired[sequence_id] = token_ids[: saved.num_tokens]
        return saved.num_tokens

    def _new_cells(self, num: int) -> list[int]:
        return list(itertools.islice(self._numbers, num))

    def _hold(self, cells: list[int]) -> None:
        for cell in cells:
            self._num_holders[cell] = self._num_holders.get(cell, 0) + 1

    def _release(self, sequence_id: int) -> _Cache | None:
        cache = self._caches.pop(sequence_id, None)
        for cell in cache.cells if cache is not None else ():
            self._num_holders[cell] -= 1
            if not self._num_holders[cell]:
                del self._num_holders[cell]
        return cache
