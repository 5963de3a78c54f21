"""What mlx-lm's generator is given of a sequence: ids, in pieces that no prefill step goes over, and positions.

The generator merges, splits, filters and copies the caches of sequences by its own rules; what stands among them goes
along. So where in time, height and width the places of sequences are (M-RoPE) is carried like a cache, and a call of
the model knows which sequences its lines are.
"""

from collections.abc import Iterable
from itertools import pairwise
from typing import Any, NamedTuple, Self

import mlx.core as mx
import numpy as np

from backends.sequence import Sequence
from backends.step import Chunk

Positions = np.ndarray[Any, np.dtype[np.int32]]


class PromptPositions(NamedTuple):
    """The positions of one sequence.

    Attributes:
        known: Of the places up to the end of its last picture, shape (3, places).
        delta: What a later place's index differs by from its position.
    """

    known: Positions
    delta: int


TEXT_POSITIONS = PromptPositions(np.zeros((3, 0), np.int32), 0)


class PositionLayer:
    """The positions of a batch's sequences, or of one, in the place of one more layer's cache.

    Source: mlx-lm, generate.py, `PromptProcessingBatch` and `GenerationBatch`: what they ask of a cache.
    """

    nbytes = 0

    def __init__(self, lines: list[PromptPositions]) -> None:
        self.lines = lines
        self._arrays: tuple[mx.array, mx.array, mx.array] | None = None

    @classmethod
    def merge(cls, layers: list[Self]) -> Self:
        """Return one batch of all."""
        return cls([line for layer in layers for line in layer.lines])

    def extend(self, other: Self) -> None:
        """Put another batch behind this one."""
        self._set(self.lines + other.lines)

    def filter(self, keep: list[int]) -> None:
        """Keep these lines only, in this order."""
        self._set([self.lines[index] for index in keep])

    def extract(self, index: int) -> Self:
        """Return one line alone."""
        return type(self)([self.lines[index]])

    def prepare(self, **_padding: Any) -> None:
        """Do nothing: padding is behind what is known."""

    def finalize(self) -> None:
        """Do nothing, as in `prepare`."""

    @property
    def state(self) -> tuple[mx.array, ...]:
        """Nothing that would have to be computed."""
        return ()

    def __deepcopy__(self, _memo: dict[int, Any]) -> Self:
        return type(self)(list(self.lines))

    def at(self, index: mx.array) -> mx.array:
        """Return the positions of places.

        Args:
            index: In its sequence, of each place, int32, shape (lines, places).

        Returns:
            Int32, shape (3, lines, places).
        """
        if all(line is TEXT_POSITIONS for line in self.lines):
            return text_positions(index)
        known, lengths, deltas = self._arrays or self._stacked()
        inside = mx.take_along_axis(known, mx.minimum(index, known.shape[2] - 1)[None], axis=2)
        return mx.where(index < lengths, inside, index + deltas)

    def _set(self, lines: list[PromptPositions]) -> None:
        self.lines, self._arrays = lines, None

    def _stacked(self) -> tuple[mx.array, mx.array, mx.array]:
        lengths = [line.known.shape[1] for line in self.lines]
        known = np.zeros((3, len(self.lines), max(lengths)), np.int32)
        for number, line in enumerate(self.lines):
            known[:, number, : lengths[number]] = line.known
        deltas = [line.delta for line in self.lines]
        self._arrays = (mx.array(known), mx.array(lengths)[:, None], mx.array(deltas)[:, None])
        return self._arrays


def text_positions(index: mx.array) -> mx.array:
    """Return the positions of places that no picture is before; shapes as in `PositionLayer.at`."""
    return mx.broadcast_to(index[None], (3, *index.shape))


class GeneratorInput(NamedTuple):
    """A sequence in the generator's terms.

    Attributes:
        segments: The ids to be evaluated; no prefill step goes over a segment's end.
        done_ids: As many ids as the cache covers; nobody reads which.
        positions: Goes behind the layers' caches; None where a place's index is its position.
    """

    segments: list[list[int]]
    done_ids: list[int]
    positions: PositionLayer | None = None


def cut_at(segments: list[list[int]], num_done: int, places: Iterable[int]) -> list[list[int]]:
    """Return segments that end at some places too.

    Args:
        num_done: Ids before the first segment.
        places: Numbers of first ids, ascending; those behind the last one are ignored.
    """
    pieces: list[list[int]] = []
    start = num_done
    for segment in segments:
        end = start + len(segment)
        borders = [start, *(place for place in places if start < place < end), end]
        pieces += [segment[one - start : other - start] for one, other in pairwise(borders)]
        start = end
    return pieces


class SequenceInputs:
    """Gives texts to the generator, as they are."""

    def begin(self, sequence: Sequence, num_done: int) -> GeneratorInput:
        """Return what is pending of a sequence that is about to come into the generator.

        Args:
            num_done: Places that its cache covers.
        """
        return GeneratorInput([sequence.token_ids[num_done:]], sequence.token_ids[:num_done])

    def end(self, sequence: Sequence) -> None:
        """Forget a sequence that is in the generator no more."""

    def before_step(self, chunks: list[Chunk]) -> int:
        """Make ready what a step needs; return how many places of a sequence it must be able to evaluate at once."""
        del chunks
        return 1

    def on_computed(self, sequence: Sequence, num_computed: int) -> None:
        """Note how many of a sequence's places its cache holds now."""
