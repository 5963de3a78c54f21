"""How a model sees: its tower, and how rows of pictures are evaluated."""

from collections.abc import Callable

import llama_cpp

from backends.errors import LoadError
from backends.images.decoding import Size
from backends.images.families import family_of
from backends.images.preparing import num_whole_rows, planned
from backends.images.processor import tower_of
from backends.images.tower import Tower
from backends.llamacpp.library import DECODE_OK, LibraryLog
from backends.llamacpp.positions import MropePositions, Positions
from backends.llamacpp.vision.rows import RowBatch, is_whole
from backends.llamacpp.vision.tower import VisionTower
from backends.sequence import Grid, Tile
from backends.step import Chunk
from backends.wire.load import VisionSpec


class Vision:
    """Belongs to one loaded model.

    Attributes:
        num_whole_rows: Rows that one batch has to take at least, because they see each other; 0 = any number will do.
        positions: Where the memory has the places of its sequences.
    """

    def __init__(self, spec: VisionSpec, model: object) -> None:
        if spec.projector_path is None:
            raise LoadError("llama.cpp sees with a projector in a file of its own; pull one, or set vision: off")
        self._path = spec.projector_path
        self._model = model
        self._spec = tower_of(spec, "")
        self._uses_mrope = family_of(spec.family).uses_mrope
        self._tower: VisionTower | None = None
        self._batch: RowBatch | None = None
        self.num_whole_rows = num_whole_rows(self._spec)
        self.positions: Positions = MropePositions() if self._uses_mrope else Positions()

    def prepare(self, log: LibraryLog, *, capacity: int, num_threads: int, flash_attention: int) -> None:
        """Take what a context was made with; nothing is loaded yet.

        Args:
            capacity: Rows of one batch at most.
        """
        width = llama_cpp.llama_model_n_embd_inp(self._model)
        self._batch = RowBatch(capacity, width, uses_mrope=self._uses_mrope)
        self._tower = VisionTower(
            self._model, self._path, self._spec, log, num_threads=num_threads, flash_attention=flash_attention
        )

    @property
    def tower(self) -> VisionTower:
        """What makes the rows."""
        assert self._tower is not None
        return self._tower

    def load_tower(self) -> None:
        """Load the tower before its first tile.

        Raises:
            EngineError: It cannot be used.
        """
        side = self._spec.image_size or self._spec.step
        self.tower.load(_grid_of(self._spec, side))

    def encode(self, tile: Tile, should_abort: Callable[[], bool]) -> bool:
        """Set a tile's rows; False = it was given up."""
        rows = self.tower.encode(tile, should_abort)
        if rows is not None:
            tile.rows = rows
        return rows is not None

    def evaluate(self, context: object, chunks: list[Chunk], slot_of: Callable[[int], int]) -> int:
        """Evaluate chunks of rows, of several sequences at once; return the status of `llama_decode`.

        Args:
            chunks: Those that are evaluated are taken out.
        """
        assert self._batch is not None
        for group in list(self._batch.groups(chunks)):
            slots = [slot_of(chunk.sequence.sequence_id) for chunk in group]
            batch = self._batch.filled(group, slots, self.positions)
            is_causal = not is_whole(group[0])
            if not is_causal:
                llama_cpp.llama_set_causal_attn(context, False)
            try:
                status: int = llama_cpp.llama_decode(context, batch)
            finally:
                if not is_causal:
                    llama_cpp.llama_set_causal_attn(context, True)
            if status != DECODE_OK:
                return status
            for chunk in group:
                chunks.remove(chunk)
        return DECODE_OK

    def close(self) -> None:
        """Give the tower's memory back."""
        if self._tower is not None:
            self._tower.close()


def _grid_of(tower: Tower, side: int) -> Grid:
    return planned(Size(side, side), tower).tile_grid
