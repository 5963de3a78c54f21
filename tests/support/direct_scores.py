"""How likely the tokens of a text are, by one call of the model that mlx-lm loads: what engines are compared with."""

from pathlib import Path

import mlx.core as mx
import mlx_lm
import numpy as np


def direct_logprobs(path: Path, token_ids: list[int]) -> list[float]:
    """Return the log-probability of every token but the first, in float32 weights and float64 sums."""
    model = mlx_lm.load(str(path))[0]
    model.set_dtype(mx.float32)
    logits = np.array(model(mx.array([token_ids]))[0], np.float64)
    highest = logits.max(axis=1, keepdims=True)
    logits -= highest + np.log(np.exp(logits - highest).sum(axis=1, keepdims=True))
    return [float(logits[place - 1, token_ids[place]]) for place in range(1, len(token_ids))]
