"""Batches of rows of hidden states in the place of tokens, which the library takes in calls of their own.

Source: llama.cpp, src/llama-batch.cpp: "all entries in the batch must have the same content types"; for M-RoPE, `pos`
has four sections one after the other: time, height, width, and one that is not used. `llama_batch_init` makes room for
one section only, so that the arrays are numpy's.
"""

import ctypes
from collections.abc import Iterable, Iterator
from typing import Any

import llama_cpp
import numpy as np

from backends.images.geometry import mrope_positions
from backends.llamacpp.positions import Positions
from backends.step import Chunk

_NUM_SECTIONS = 4


class RowBatch:
    """Owns the arrays of one batch at a time.

    Args:
        capacity: Rows of a batch at most.
        width: Values of a row, as the model's first layer takes them.
        uses_mrope: Whether a row has a position in time, height and width.
    """

    def __init__(self, capacity: int, width: int, *, uses_mrope: bool) -> None:
        self._capacity = capacity
        self._num_sections = _NUM_SECTIONS if uses_mrope else 1
        self._rows = np.zeros((capacity, width), np.float32)
        self._positions = np.zeros(self._num_sections * capacity, np.int32)
        self._slots = np.zeros(capacity, np.int32)
        self._ones = np.ones(capacity, np.int32)
        self._no_logits = np.zeros(capacity, np.int8)
        # One address a row, of its slot.
        places = self._slots.ctypes.data + self._slots.itemsize * np.arange(capacity)
        self._slot_pointers = places.astype(np.uintp)
        self._batch = llama_cpp.llama_batch(
            0,
            None,
            _pointer(self._rows, ctypes.c_float),
            _pointer(self._positions, ctypes.c_int32),
            _pointer(self._ones, ctypes.c_int32),
            _pointer(self._slot_pointers, ctypes.POINTER(ctypes.c_int32)),
            _pointer(self._no_logits, ctypes.c_int8),
        )

    def groups(self, chunks: Iterable[Chunk]) -> Iterator[list[Chunk]]:
        """Divide chunks of rows so that each group can be one batch: within the capacity, and all whole or none."""
        group: list[Chunk] = []
        num_rows = 0
        for chunk in sorted(chunks, key=is_whole):
            if group and (num_rows + chunk.num_tokens > self._capacity or is_whole(group[0]) != is_whole(chunk)):
                yield group
                group, num_rows = [], 0
            group.append(chunk)
            num_rows += chunk.num_tokens
        if group:
            yield group

    def filled(self, group: list[Chunk], slots: list[int], positions: Positions) -> Any:
        """Return the `llama_batch` of a group, valid until the next one.

        Args:
            slots: Each chunk's sequence's.
        """
        num_rows = sum(chunk.num_tokens for chunk in group)
        at = self._positions[: self._num_sections * num_rows].reshape(self._num_sections, num_rows)
        start = 0
        for chunk, slot in zip(group, slots, strict=True):
            end = start + chunk.num_tokens
            self._rows[start:end] = chunk.rows
            self._slots[start:end] = slot
            at[:, start:end] = self._positions_of(chunk, positions)
            start = end
        self._batch.n_tokens = num_rows
        return self._batch

    def _positions_of(self, chunk: Chunk, positions: Positions) -> np.ndarray[Any, Any]:
        """Return the chunk's positions, shape (sections, rows)."""
        span = chunk.span
        assert span is not None, "it has rows"
        first, end = chunk.start - span.start, chunk.end - span.start
        begin = positions.before(chunk.sequence.spans, span.start)
        if self._num_sections == 1:
            return np.arange(begin + first, begin + end, dtype=np.int32)[None]
        inside = mrope_positions(span.tile.grid)[first:end]
        return np.pad(inside.T + np.int32(begin), ((0, 1), (0, 0)))


def is_whole(chunk: Chunk) -> bool:
    """Tell whether a chunk's rows see each other."""
    return chunk.span is not None and chunk.span.is_whole


def _pointer(array: np.ndarray[Any, Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))
