"""How likely the tokens of prompts are: prompts evaluated beside mlx-lm's generator, which drops the logits of prompts.

A sequence's cache goes to the generator afterwards, as that of a fork does.
"""

import time
from typing import Any

import mlx.core as mx
import numpy as np
from mlx_lm.models.cache import make_prompt_cache

from backends.errors import EngineError
from backends.logits import score
from backends.mlx.caches import KeptCache
from backends.mlx.library import mlx_errors
from backends.mlx.prefill_size import PrefillSize
from backends.step import Chunk, PromptScores


class PromptScorer:
    """Evaluates pieces of prompts one after the other.

    Args:
        model: From mlx-lm.
        step_tokens: Most tokens of one step.

    Attributes:
        size: How many it may have now.
    """

    def __init__(self, model: Any, step_tokens: int) -> None:
        self._model = model
        self.size = PrefillSize(step_tokens)
        self._room = 0

    def begin_step(self) -> None:
        """Let a step's pieces together take about as long as a step may."""
        self._room = self.size.num_tokens

    def score(self, chunk: Chunk, cache: KeptCache | None) -> tuple[KeptCache, PromptScores] | None:
        """Evaluate as much of a chunk as the step allows, without the prompt's last token.

        Args:
            cache: Of the tokens before the chunk, to be used no more; None = there are none.

        Returns:
            The cache with these tokens, and what is said of those after each; None where the step has no room left.

        Raises:
            EngineError: The model, or its memory.
        """
        num_tokens = min(len(chunk.scored), self._room)
        if num_tokens < 1:
            return None
        self._room -= num_tokens
        token_ids, start = chunk.sequence.token_ids, chunk.start
        started_at = time.monotonic()
        with mlx_errors(EngineError, "compute the prompt's likelihoods"):
            layers = make_prompt_cache(self._model) if cache is None else cache.layers
            logits = self._model(mx.array([token_ids[start : start + num_tokens]]), cache=layers)[0]
            logits = logits.astype(mx.float32)
            mx.eval(logits, [layer.state for layer in layers])
            rows = np.asarray(logits)  # no copy, which would take longer than the scores
        num_top = chunk.sequence.sampling.num_prompt_logprobs or 0
        scores = [score(row, token_ids[start + 1 + index], num_top) for index, row in enumerate(rows)]
        self.size.adapt(num_tokens, time.monotonic() - started_at)
        return KeptCache(layers, start + num_tokens), PromptScores(start + 1, scores)
