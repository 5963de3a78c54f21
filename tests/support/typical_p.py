"""Locally typical sampling in plain numpy, as both engines must do it.

Source: Meister et al., Locally Typical Sampling (2023), section 4. For the border, llama.cpp's
`llama_sampler_init_typical`: the token that takes the sum above the limit is kept.
"""

import numpy as np


def kept_by_typical_p(logits: list[float], typical_p: float) -> tuple[set[int], float]:
    """Return the ids that are kept, and how far the nearest decision was from falling the other way."""
    values = np.array(logits, np.float64)
    logprobs = values - values.max() - np.log(np.exp(values - values.max()).sum())
    possible = np.flatnonzero(np.isfinite(logprobs))
    probs = np.exp(logprobs[possible])
    entropy = -(probs * logprobs[possible]).sum()
    distances = np.abs(-logprobs[possible] - entropy)
    order = np.argsort(distances, kind="stable")
    sums = np.cumsum(probs[order])
    num_kept = min(int((sums <= typical_p).sum()) + 1, len(order))
    margins = [*np.abs(sums - typical_p), *np.diff(distances[order])]
    return {int(token_id) for token_id in possible[order[:num_kept]]}, float(min(margins))
