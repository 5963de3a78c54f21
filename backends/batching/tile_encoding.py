"""The tower at work: one tile at a time, between the engine's steps or on a thread of its own beside them.

Which tile is next, and who needs it, is the batcher's to say.
"""

import dataclasses
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from backends.base import LoadedEngine
from backends.batching.batcher import Batcher
from backends.errors import FOREIGN_ERRORS, BackendError, EngineError
from backends.sequence import Tile
from backends.tile_cache import TileCache


@dataclasses.dataclass(slots=True)
class _Job:
    """A tile that the tower is making rows of.

    Attributes:
        awaiting_ids: Sequences that need them; where none is left, the work is given up.
        encoded: What the tower's thread will return: the tile again with its rows, or None; None = not begun there.
    """

    tile: Tile
    awaiting_ids: set[int]
    started_at: float
    encoded: "Future[Tile | None] | None" = None

    @property
    def is_needless(self) -> bool:
        """Asked on the thread that the tower works on."""
        return not self.awaiting_ids


class TowerFailure(NamedTuple):
    """No rows can be made for some sequences."""

    sequence_ids: set[int]
    error: BackendError


class TileEncoding:
    """Owns what the tower does.

    Args:
        tiles: Told of every tile that has got its rows.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        engine: LoadedEngine,
        batcher: Batcher,
        tiles: TileCache,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._engine = engine
        self._batcher = batcher
        self._tiles = tiles
        self._clock = clock
        self._job: _Job | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def is_busy(self) -> bool:
        """Whether there is a tile to go on with."""
        return self._job is not None

    def begin(self) -> set[int]:
        """Take up the next tile, if the tower is free; return the sequences that need it."""
        if self._job is not None:
            return set()
        tile = self._batcher.next_tile()
        if tile is None:
            return set()
        self._job = _Job(tile, self._batcher.awaiting_ids(tile), self._clock())
        return set(self._job.awaiting_ids)

    def advance(self, should_abort: Callable[[], bool]) -> TowerFailure | None:
        """Let the tower go on with its tile: to the end, or for a moment where it works beside the steps.

        Args:
            should_abort: Asked now and then where the tower works on this thread, which may tell `forget` meanwhile.
        """
        job = self._job
        if job is None:
            return None
        if not self._engine.encodes_beside:
            return self._settled(job, lambda: self._encoded(job, job.tile, should_abort))
        if job.encoded is None:
            self._thread = self._thread or ThreadPoolExecutor(1, "tower")
            # A tile has its rows when the job has ended, and not in the middle of a step.
            job.encoded = self._thread.submit(self._encoded, job, dataclasses.replace(job.tile), lambda: False)
        job.awaiting_ids = self._batcher.awaiting_ids(job.tile)
        return self._settled(job, job.encoded.result) if job.encoded.done() else None

    def _encoded(self, job: _Job, tile: Tile, should_abort: Callable[[], bool]) -> Tile | None:
        try:
            has_rows = self._engine.encode(tile, lambda: should_abort() or job.is_needless)
        except FOREIGN_ERRORS as exc:  # exhausted memory above all; texts go on without the tower
            raise EngineError(f"the picture could not be encoded: {exc!r}") from exc
        return tile if has_rows else None

    def forget(self, sequence_id: int) -> None:
        """Note that a sequence needs no rows any more, before the batcher knows; from within a step or an encode."""
        if self._job is not None:
            self._job.awaiting_ids.discard(sequence_id)

    def close(self) -> None:
        """Give up what the tower does, and wait until it has let go of the engine."""
        if self._job is not None:
            self._job.awaiting_ids = set()
        if self._thread is not None:
            self._thread.shutdown()

    def _settled(self, job: _Job, encoded: Callable[[], Tile | None]) -> TowerFailure | None:
        """End a job: tell that its tile has rows, or who goes without; a tile that was given up may come again."""
        try:
            tile = encoded()
        except BackendError as exc:
            return TowerFailure(self._batcher.awaiting_ids(job.tile), exc)
        finally:
            self._job = None
        if tile is not None:
            job.tile.rows = tile.rows
            self._tiles.on_encoded(job.tile)
            self._batcher.on_encoded(job.tile, (self._clock() - job.started_at) * 1000)
        return None
