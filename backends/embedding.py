"""Embeddings behind one interface: how a text becomes one vector, and the arithmetic that both engines share.

Not the queue of requests (`process.embedding_queue`).
"""

import abc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from backends.errors import EngineError
from backends.wire.request import Pooling

Floats = np.ndarray[Any, np.dtype[np.float32]]


class PairForm(NamedTuple):
    """What a model that ranks wants around a query and a document.

    Attributes:
        template: Its own, in which both have a place; None = it has none, and the tokens below count.
        between: Tokens behind the query.
        closing: Tokens behind the document.
    """

    template: str | None
    between: tuple[int, ...]
    closing: tuple[int, ...]


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


class Encoder(abc.ABC):
    """Turns inputs into vectors, one after the other, in bounded pieces of work. Belongs to the engine's thread.

    Args:
        pooling: How it pools; RANK = into a pair's score.
    """

    def __init__(self, pooling: Pooling) -> None:
        self._pooling = pooling
        self._token_ids: list[int] = []
        self._num_done = 0
        self._pooler = Pooler(pooling)

    def start(self, token_ids: list[int]) -> None:
        """Begin with an input; whatever was begun before is forgotten.

        Args:
            token_ids: Valid ids, at least one and no more than it was made for.
        """
        self._token_ids = token_ids
        self._num_done = 0
        self._pooler = Pooler(self._pooling)

    @abc.abstractmethod
    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Evaluate the next piece of the input.

        Args:
            max_tokens: Most tokens to evaluate, >= 1; models that see a text as a whole evaluate it at once.
            should_abort: To be asked now and then in a long step; True gives the input up.

        Returns:
            After the last piece the vector: little-endian float32, of length 1 by its L2 norm; of RANK the score alone.
            None before.

        Raises:
            EngineError: The engine failed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Free what was made for it."""

    def _next_piece(self, num_tokens: int) -> list[int]:
        """Return the tokens to evaluate now, at most so many."""
        return self._token_ids[self._num_done : self._num_done + num_tokens]

    def _take(self, states: Floats) -> bytes | None:
        """Take a piece's hidden states, shape (tokens, width); return the vector after the last piece."""
        self._pooler.add(states)
        self._num_done += len(states)
        return self._pooler.vector() if self._num_done == len(self._token_ids) else None


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


def score_of(outputs: Floats) -> bytes:
    """Return the first of a ranking model's outputs, shape (outputs,), as little-endian float32.

    Raises:
        EngineError: It is not finite.
    """
    if not np.isfinite(outputs[0]):
        raise EngineError("the model gave a score that is not finite for this document")
    return outputs[:1].astype("<f4").tobytes()
