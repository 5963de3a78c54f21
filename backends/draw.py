"""Draws a token from a row of logits on the host, exactly, without sorting the vocabulary."""

import secrets
from typing import Any, Final

import numpy as np

from backends.logits import Logits
from backends.wire.request import SamplingParams

_BLOCK: Final = 256
"""Tokens whose sum is looked at first where one is searched among all."""

Weights = np.ndarray[Any, np.dtype[np.float32]]


def is_drawn_here(params: SamplingParams) -> bool:
    """Tell whether this is quicker than a chain of filters, as it is where those leave many tokens.

    Source: docs/performance.md.
    """
    has_top_p = params.top_p < 1
    return not params.is_greedy and params.top_k is None and params.typical_p >= 1 and (has_top_p or params.min_p <= 0)


class Draw:
    """Draws one sequence's tokens with its own generator, filters as `SamplingParams` has them.

    Args:
        params: Without top_k and typical_p.
        vocab_size: Length of the rows.
    """

    def __init__(self, params: SamplingParams, vocab_size: int) -> None:
        assert is_drawn_here(params)
        self._params = params
        self._generator = np.random.Generator(np.random.PCG64(_seed(params.seed)))
        self._padded = np.zeros(-(-vocab_size // _BLOCK) * _BLOCK, np.float32)
        self._weights = self._padded[:vocab_size]

    def draw(self, logits: Logits) -> int:
        """Return a token; of a row without any finite number the first."""
        best = logits.max()
        if not np.isfinite(best):
            return int(logits.argmax())
        np.subtract(logits, best, out=self._weights)
        if self._params.top_p >= 1:
            np.divide(self._weights, np.float32(self._params.temperature), out=self._weights)
            np.exp(self._weights, out=self._weights)
            return self._among_all()
        np.exp(self._weights, out=self._weights)
        return self._among(nucleus(self._weights, self._params.top_p))

    def _among_all(self) -> int:
        """Search the block first, then the token in it."""
        ends = self._padded.reshape(-1, _BLOCK).sum(axis=1, dtype=np.float64).cumsum()
        wanted = self._generator.random() * ends[-1]
        block = min(int(ends.searchsorted(wanted, "right")), len(ends) - 1)
        first = block * _BLOCK
        inside = self._padded[first : first + _BLOCK].cumsum(dtype=np.float64)
        place = int(inside.searchsorted(wanted - (ends[block - 1] if block else 0.0), "right"))
        if place >= _BLOCK or not self._padded[first + place]:  # rounding: the last that has any weight
            place = int(np.flatnonzero(self._padded[first : first + _BLOCK])[-1])
        return first + place

    def _among(self, token_ids: np.ndarray[Any, np.dtype[np.int64]]) -> int:
        """Draw from a nucleus, the likeliest first, after what is left of the filters."""
        weights = self._weights[token_ids].astype(np.float64)
        weights = weights[weights >= self._params.min_p * weights[0]]
        ends = (weights ** (1 / self._params.temperature)).cumsum()
        place = int(ends.searchsorted(self._generator.random() * ends[-1], "right"))
        return int(token_ids[min(place, len(weights) - 1)])


def nucleus(weights: Weights, top_p: float) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return the smallest set of tokens that has at least a share of the weight, the heaviest first.

    Tokens that weigh at most (1 - top_p) / n of all together weigh at most 1 - top_p of it: the set is among the
    others, which are few, and only these are sorted. Of equal ones the lower id comes first.

    Args:
        weights: float32, shape (n,), >= 0, not all 0.
        top_p: 0 < top_p < 1.
    """
    total = float(weights.sum(dtype=np.float64))
    heavy = np.flatnonzero(weights > np.float32((1 - top_p) * total / len(weights)))
    order = heavy[np.argsort(-weights[heavy], kind="stable")]
    num = int(weights[order].cumsum(dtype=np.float64).searchsorted(top_p * total)) + 1
    return order[:num]


def _seed(seed: int | None) -> int:
    return secrets.randbits(64) if seed is None else seed
