"""What mlx-lm's generator is given of sequences with pictures, and what is kept for them while they are in there."""

import itertools

import numpy as np

from backends.images.geometry import mrope_positions
from backends.mlx.inputs import (
    TEXT_POSITIONS,
    GeneratorInput,
    PositionLayer,
    Positions,
    PromptPositions,
    SequenceInputs,
)
from backends.mlx.vision.model import VisionLanguageModel
from backends.mlx.vision.rows import RowTable
from backends.sequence import EmbeddingSpan, Sequence
from backends.step import Chunk


class VisionInputs(SequenceInputs):
    """Owns which rows are in the table for whom.

    Args:
        uses_mrope: As in `VisionLanguageModel`.
    """

    def __init__(self, model: VisionLanguageModel, rows: RowTable, *, uses_mrope: bool) -> None:
        self._model = model
        self._rows = rows
        self._uses_mrope = uses_mrope
        self._pending: dict[int, list[EmbeddingSpan]] = {}

    def begin(self, sequence: Sequence, num_done: int) -> GeneratorInput:
        """Give the pending rows of a sequence their places; `end` takes them back."""
        spans = [span for span in sequence.spans if span.end > num_done]
        ids = sequence.token_ids.copy()
        for span in spans:
            ids[span.start : span.end] = self._rows.hold(span.tile)
        if spans:
            self._pending[sequence.sequence_id] = spans
        borders = sorted({num_done, len(ids), *(border for span in spans for border in (span.start, span.end))})
        inner = [border for border in borders if border >= num_done]
        segments = [ids[start:end] for start, end in itertools.pairwise(inner)]
        positions = PositionLayer([positions_of(sequence.spans)]) if self._uses_mrope else None
        return GeneratorInput(segments, [0] * num_done, positions)

    def before_step(self, chunks: list[Chunk]) -> int:
        """Put the rows of a step's chunks into the table."""
        spans = [span for chunk in chunks if (span := chunk.span) is not None]
        for span in spans:
            self._rows.write(span.tile)
        self._model.reads_rows = bool(spans)
        return max((span.tile.size for span in spans if span.is_whole), default=1)

    def on_computed(self, sequence: Sequence, num_computed: int) -> None:
        """Give back the places of rows that are in the sequence's cache now."""
        self._release(sequence.sequence_id, num_computed)

    def end(self, sequence: Sequence) -> None:
        """Give back all places of a sequence."""
        self._release(sequence.sequence_id, len(sequence.token_ids))

    def _release(self, sequence_id: int, num_computed: int) -> None:
        spans = self._pending.get(sequence_id)
        while spans and spans[0].end <= num_computed:
            self._rows.release(spans.pop(0).tile)
        if not spans:
            self._pending.pop(sequence_id, None)


def positions_of(spans: tuple[EmbeddingSpan, ...]) -> PromptPositions:
    """Return where the places of a sequence with pictures are, up to its last one's end, and how it goes on there."""
    if not spans:
        return TEXT_POSITIONS
    parts: list[Positions] = []
    end = position = 0
    for span in spans:
        text = np.arange(position, position + span.start - end, dtype=np.int32)
        position += len(text)
        parts += [np.broadcast_to(text, (3, len(text))), mrope_positions(span.tile.grid).T + np.int32(position)]
        position += span.tile.grid.mrope_extent
        end = span.end
    return PromptPositions(np.concatenate(parts, axis=1), position - end)
