"""Draws on the host have the distribution of llama.cpp's chain, also from rows that penalties and constraints edit."""

from typing import Any

import numpy as np
import pytest

from backends.draw import Draw
from backends.logits import LogitsEditor
from backends.wire.request import SamplingParams
from tests.backends.test_logits import OddMatcher
from tests.support.sampler_chain import SamplerChain

NUM_DRAWS = 4_000
VOCAB_SIZE = 150
PROMPT = [1, 2, 3, 3, 7, 11, 120]

WAYS: dict[str, dict[str, Any]] = {
    "temperature": {"temperature": 0.8},
    "top_p": {"temperature": 0.8, "top_p": 0.95},
    "top_p after a flat temperature": {"temperature": 1.4, "top_p": 0.7},
    "top_p and min_p": {"temperature": 1.0, "top_p": 0.9, "min_p": 0.02},
}
EDITS: dict[str, dict[str, Any]] = {
    "as they are": {},
    "edited": {
        "repetition_penalty": 1.3,
        "frequency_penalty": 0.4,
        "presence_penalty": 0.6,
        "logit_bias": ((5, 4.0), (9, -100.0)),
    },
}


def edited_row(sampling: SamplingParams, *, is_constrained: bool) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a row after some tokens of an answer."""
    rng = np.random.default_rng(3)
    editor = LogitsEditor(sampling, OddMatcher() if is_constrained else None, PROMPT)
    for token_id in (11, 13, 13):
        editor.edit(rng.standard_normal(VOCAB_SIZE).astype(np.float32))
        editor.accept(token_id)
    row = (rng.standard_normal(VOCAB_SIZE) * 2.5).astype(np.float32)
    editor.edit(row)
    return row


@pytest.mark.parametrize("is_constrained", [False, True], ids=["free", "constrained"])
@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("way", WAYS)
def test_frequencies_are_alike(way: str, edit: str, is_constrained: bool) -> None:  # noqa: FBT001
    sampling = SamplingParams(seed=11, **WAYS[way], **EDITS[edit])
    row = edited_row(sampling, is_constrained=is_constrained)
    host, chain = Draw(sampling, VOCAB_SIZE), SamplerChain(sampling, VOCAB_SIZE)
    ours = np.bincount([host.draw(row) for _ in range(NUM_DRAWS)], minlength=VOCAB_SIZE)
    theirs = np.bincount([chain.draw(row) for _ in range(NUM_DRAWS)], minlength=VOCAB_SIZE)
    chain.close()
    both = (ours + theirs).astype(np.float64)
    common = both >= 20
    chi_square = float(((ours - theirs)[common] ** 2 / both[common]).sum())
    degrees = max(1, int(common.sum()) - 1)
    assert chi_square < degrees + 5 * (2 * degrees) ** 0.5  # one in a million, and the seeds are fixed
    assert not ours[~np.isfinite(row)].any(), "what a constraint forbids is never drawn"
    # The chain's running sum in float32 may end the nucleus a token earlier, so nothing is said of rare ones.
    assert ours[both == both.max()].all()
