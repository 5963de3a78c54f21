"""Drawing tokens on MLX arrays, with the same filters in the same order as the native chain of the other engine.

Every sequence has its own random key, derived from its seed and the position of the token, so neither other sequences
of a batch nor a pause changes what is drawn.
"""

import secrets
from collections.abc import Callable
from typing import Any, Protocol

import mlx.core as mx
import numpy as np

from backends.errors import BackendError
from backends.logits import Likelihoods, LogitsEditor
from backends.wire.request import SamplingParams

_POSITION_BITS = 24
"""More positions than any context has; seed and position together make a 64-bit key."""

Sampler = Callable[[mx.array], mx.array]
"""Log-probabilities, float, shape (n, vocab) -> token ids, uint32, shape (n,)."""


class SharedDrawing(Protocol):
    """How tokens are drawn with a model that is spread over processes (`ranks.group`).

    Attributes:
        stream: MLX's, on which all of it is computed.
    """

    stream: Any

    def shared(self, sampler: Sampler) -> Sampler:
        """Return what draws the same in all processes."""
        ...


def greedy(logprobs: mx.array) -> mx.array:
    """Return the most likely tokens; one shared function, so that a batch of greedy sequences is drawn in one call."""
    return mx.argmax(logprobs, axis=-1)


class SeededSampler:
    """Draws the tokens of one sequence.

    Attributes:
        position: Index of the next output token, 0-based; to be set back when a sequence is resumed, because the
            library draws one token ahead.
    """

    def __init__(self, params: SamplingParams) -> None:
        self._params = params
        self._seed = secrets.randbits(32) if params.seed is None else params.seed
        self.position = 0

    def __call__(self, logprobs: mx.array) -> mx.array:
        """Draw one token; `logprobs` has shape (1, vocab)."""
        # Sums of many small probabilities need more than the half precision that a model may give.
        filtered = _filter(logprobs.astype(mx.float32), self._params) / self._params.temperature
        key = mx.random.key((self._seed << _POSITION_BITS) + self.position)
        self.position += 1
        return mx.random.categorical(filtered, key=key)


def create_sampler(params: SamplingParams) -> Sampler:
    """Return the sampler for one sequence."""
    return greedy if params.is_greedy else SeededSampler(params)


class EditedDraws:
    """The edited draws of one sequence since it was last given to the generator: a logits processor of mlx-lm's.

    The generator calls when it is about to draw a token, and returns that token from its next step, in which it calls
    for the one after it. So a call learns which token the call before it has drawn, and that token is the one which
    the running step returns: the editor never knows a token that the sequence does not get, and a draw that is dropped
    (by a pause) was never accepted.

    Args:
        editor: Knows all tokens that the sequence has now.

    Attributes:
        likelihoods: Of the token that the running step returns; None where they are not wanted.
        error: Why that token cannot be used, and the sequence cannot go on.
    """

    def __init__(self, editor: LogitsEditor) -> None:
        self._editor = editor
        self._has_drawn = False
        self._next_error: BackendError | None = None
        self.likelihoods: Likelihoods | None = None
        self.error: BackendError | None = None

    def __call__(self, tokens: mx.array, logits: mx.array) -> mx.array:
        """Take over the newest token, then edit.

        Args:
            tokens: Of the sequence so far, int, shape (n,); the last one was drawn by the call before this one.
            logits: Shape (1, vocab), any float type.

        Returns:
            The edited logits, same shape and type; unchanged once the sequence has failed.
        """
        self.error = self.error or self._next_error
        if self.error is not None:
            return logits
        try:
            if self._has_drawn:
                self.likelihoods = self._editor.accept(int(np.array(tokens[-1])))
        except BackendError as exc:
            self.error = exc
            return logits
        self._has_drawn = True
        row = np.array(logits[0].astype(mx.float32))
        try:
            self._editor.edit(row)
        except BackendError as exc:  # raised in here it would end the step of the whole batch
            self._next_error = exc
            return logits
        return mx.array(row)[None].astype(logits.dtype)


def _filter(logprobs: mx.array, params: SamplingParams) -> mx.array:
    """Return `logprobs` with -inf for every token that top_k, typical_p, top_p or min_p drops."""
    if params.top_k is not None and params.top_k < logprobs.shape[-1]:
        kth = mx.min(mx.topk(logprobs, params.top_k, axis=-1), axis=-1, keepdims=True)
        logprobs = mx.where(logprobs < kth, -mx.inf, logprobs)
    if params.typical_p < 1:
        logprobs = _typical_p(logprobs, params.typical_p)
    if params.top_p < 1:
        logprobs = _top_p(logprobs, params.top_p)
    if params.min_p > 0:
        best = mx.max(logprobs, axis=-1, keepdims=True)
        logprobs = mx.where(logprobs < best + mx.log(mx.array(params.min_p)), -mx.inf, logprobs)
    return logprobs


def _typical_p(logprobs: mx.array, typical_p: float) -> mx.array:
    """Keep the tokens whose information is nearest to the entropy, until their probability exceeds the limit.

    Source: Meister et al., Locally Typical Sampling (2023), section 4.
    """
    normalized = logprobs - mx.logsumexp(logprobs, axis=-1, keepdims=True)
    probs = mx.exp(normalized)
    # A token without probability has no information; 0 times minus infinity is not a number.
    entropy = -mx.sum(mx.where(probs > 0, probs * normalized, 0), axis=-1, keepdims=True)
    order = mx.argsort(mx.abs(-normalized - entropy), axis=-1)
    sorted_probs = mx.take_along_axis(probs, order, axis=-1)
    before = mx.cumsum(sorted_probs, axis=-1) - sorted_probs
    kept = mx.where(before <= typical_p, mx.take_along_axis(logprobs, order, axis=-1), -mx.inf)
    return mx.put_along_axis(mx.full(logprobs.shape, -mx.inf), order, kept, axis=-1)


def _top_p(logprobs: mx.array, top_p: float) -> mx.array:
    probs = mx.softmax(logprobs, axis=-1)
    order = mx.argsort(-probs, axis=-1)
    sorted_probs = mx.take_along_axis(probs, order, axis=-1)
    before = mx.cumsum(sorted_probs, axis=-1) - sorted_probs
    kept = mx.where(before < top_p, mx.take_along_axis(logprobs, order, axis=-1), -mx.inf)
    return mx.put_along_axis(mx.full(logprobs.shape, -mx.inf), order, kept, axis=-1)
