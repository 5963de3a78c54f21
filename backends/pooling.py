"""The arithmetic that both engines share: hidden states in, one normalised vector out."""

from typing import Any

import numpy as np

from backends.embedding import Pooling
from backends.errors import EngineError

Floats = np.ndarray[Any, np.dtype[np.float32]]


class Pooler:
    """Collects the hidden states of one input, piece by piece.

    Args:
        pooling: MEAN, CLS (the first token) or LAST.
    """

    def __init__(self, pooling: Pooling) -> None:
        self._pooling = pooling
        self._sum: np.ndarray[Any, np.dtype[np.float64]] | None = None
        self._num_tokens = 0
        self._one: Floats | None = None

    def add(self, states: Floats) -> None:
        """Take the next tokens' hidden states.

        Args:
            states: Shape (tokens, width), float32; copied where kept.
        """
        match self._pooling:
            case Pooling.MEAN:
                # In double precision, so that pieces of any size give the same mean.
                total = states.sum(axis=0, dtype=np.float64)
                self._sum = total if self._sum is None else self._sum + total
                self._num_tokens += len(states)
            case Pooling.CLS:
                if self._one is None:
                    self._one = states[0].copy()
            case _:
                self._one = states[-1].copy()

    def vector(self) -> bytes:
        """Return the input's vector, as `Encoder.step` does.

        Raises:
            EngineError: The hidden states have no direction: all zero, or not finite.
        """
        if self._sum is not None:
            return normalised((self._sum / self._num_tokens).astype(np.float32))
        assert self._one is not None, "an input has at least one token"
        return normalised(self._one)


def normalised(vector: Floats) -> bytes:
    """Return a vector scaled to L2 length 1, as little-endian float32.

    Args:
        vector: Shape (width,), float32.

    Raises:
        EngineError: It is zero, or not finite.
    """
    wide = vector.astype(np.float64)
    norm = float(np.sqrt(np.dot(wide, wide)))
    if not np.isfinite(norm) or norm == 0:
        raise EngineError("the model gave a vector without a direction (zero or not finite) for this input")
    return (wide / norm).astype("<f4").tobytes()
