"""Embeddings with mlx: the hidden states of a decoder, after its last norm, in pieces over a cache of their own."""

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

from backends.embedding import Encoder, Floats
from backends.errors import EngineError, UnsupportedByModelError
from backends.mlx.library import mlx_errors
from backends.mlx.prefill_size import PrefillSize
from backends.mlx.vision.model import VisionLanguageModel
from backends.wire.request import Pooling


def closing_ids(wrapper: Any) -> tuple[int, ...]:
    """Return the tokens that a tokenizer puts after a text by its own rule, e.g. EOS or a separator."""
    hf = getattr(wrapper, "_tokenizer", wrapper)
    plain: list[int] = hf.encode("a", add_special_tokens=False)
    special: list[int] = hf.encode("a", add_special_tokens=True)
    for start in range(len(special) - len(plain) + 1):
        if special[start : start + len(plain)] == plain:
            return tuple(special[start + len(plain) :])
    return ()


class MLXEncoder(Encoder):
    """See the module.

    Args:
        step_tokens: Most tokens of one piece.

    Attributes:
        size: How many it may have now.

    Raises:
        UnsupportedByModelError: The model's code has no part that returns hidden states.
    """

    def __init__(self, model: Any, pooling: Pooling, step_tokens: int) -> None:
        self._model = model
        self._decoder = _decoder_of(model)
        super().__init__(pooling)
        self.size = PrefillSize(step_tokens)
        self._cache: list[Any] = []

    def start(self, token_ids: list[int]) -> None:
        """Begin with an input."""
        super().start(token_ids)
        with mlx_errors(EngineError, "make a cache for the input"):
            self._cache = list(make_prompt_cache(self._model))

    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Evaluate the next piece."""
        del should_abort  # nothing to be done inside a piece; pieces are kept short instead
        piece = self._next_piece(min(max_tokens, self.size.num_tokens))
        started_at = time.monotonic()
        with mlx_errors(EngineError, "embed the input"):
            states = self._states(piece)
        self.size.adapt(len(piece), time.monotonic() - started_at)
        return self._take(states)

    def close(self) -> None:
        """Drop the cache."""
        self._cache = []

    def _states(self, piece: list[int]) -> Floats:
        """Return the hidden states of a piece, shape (tokens, width), float32."""
        states = self._decoder(mx.array([piece]), cache=self._cache)[0].astype(mx.float32)
        mx.eval(states, [entry.state for entry in self._cache])
        array: Floats = np.array(states)
        return array


def _decoder_of(model: Any) -> Any:
    """Return the part of a model that ends with the last norm, before the output projection.

    Source: mlx-lm's model files: `Model.model` is the decoder, `Model.language_model` the text part of larger models.
    """
    if isinstance(model, VisionLanguageModel):
        return model.decoder
    text_model = getattr(model, "language_model", model)
    decoder = getattr(text_model, "model", None)
    if not callable(decoder):
        raise UnsupportedByModelError(
            "model: mlx-lm's code for this architecture gives no hidden states; use its GGUF on llamacpp", param="model"
        )
    return decoder
