"""Draws on the host: the nucleus against a sort of everything, frequencies against probabilities."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.draw import Draw, is_drawn_here, nucleus
from backends.wire.request import SamplingParams

NUM_DRAWS = 20_000


def row_of(vocab_size: int, seed: int, spread: float = 3.0) -> np.ndarray[Any, np.dtype[np.float32]]:
    return (np.random.default_rng(seed).standard_normal(vocab_size) * spread).astype(np.float32)


def probabilities(row: np.ndarray[Any, Any], params: SamplingParams) -> np.ndarray[Any, Any]:
    """Compute what is to be drawn from, by sorting everything in float64."""
    weights = np.exp(row.astype(np.float64) - row.max())
    if params.top_p < 1:
        order = np.argsort(-weights, kind="stable")
        num = int((weights[order].cumsum() / weights.sum()).searchsorted(params.top_p)) + 1
        weights[order[num:]] = 0
    weights[weights < params.min_p * weights.max()] = 0
    weights = weights ** (1 / params.temperature)
    return np.asarray(weights / weights.sum())


@pytest.mark.parametrize(
    "params",
    [
        SamplingParams(temperature=1.0, seed=3),
        SamplingParams(temperature=0.7, seed=3),
        SamplingParams(temperature=0.7, top_p=0.95, seed=3),
        SamplingParams(temperature=1.3, top_p=0.8, seed=4),
        SamplingParams(temperature=0.9, top_p=0.95, min_p=0.1, seed=5),
    ],
)
@pytest.mark.parametrize("vocab_size", [10, 256, 1000])
def test_frequencies_are_the_probabilities(params: SamplingParams, vocab_size: int) -> None:
    row = row_of(vocab_size, 1)
    draw = Draw(params, vocab_size)
    counts = np.bincount([draw.draw(row) for _ in range(NUM_DRAWS)], minlength=vocab_size)
    expected = probabilities(row, params) * NUM_DRAWS
    assert not counts[expected == 0].any(), "what a filter drops is never drawn"
    common = expected >= 20
    chi_square = float((((counts - expected) ** 2)[common] / expected[common]).sum())
    degrees = max(1, int(common.sum()))
    assert chi_square < degrees + 5 * (2 * degrees) ** 0.5  # one in a million, and the seed is fixed


@given(
    st.lists(st.floats(-40, 40, width=32), min_size=1, max_size=600),
    st.floats(0.01, 0.999),
)
def test_the_nucleus_is_the_smallest_set_that_reaches_top_p(logits: list[float], top_p: float) -> None:
    row = np.array(logits, np.float32)
    weights = np.exp(row - row.max())
    found = nucleus(weights, top_p)
    total = weights.sum(dtype=np.float64)
    assert weights[found].sum(dtype=np.float64) >= top_p * total * (1 - 1e-9)
    assert weights[found[:-1]].sum(dtype=np.float64) < top_p * total * (1 + 1e-9)
    assert len(found) == len(set(found.tolist()))
    rest = np.delete(weights, found)
    assert not len(rest) or rest.max() <= weights[found].min()


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 2), st.floats(0.05, 1), st.integers(1, 700))
def test_masked_tokens_are_never_drawn(seed: int, temperature: float, top_p: float, vocab_size: int) -> None:
    row = row_of(vocab_size, seed % 1000, 10.0)
    allowed = np.random.default_rng(seed).integers(0, vocab_size, 3)
    masked = np.full(vocab_size, -np.inf, np.float32)
    masked[allowed] = row[allowed]
    draw = Draw(SamplingParams(temperature=temperature, top_p=top_p, seed=seed), vocab_size)
    assert all(draw.draw(masked) in allowed for _ in range(5))


@pytest.mark.parametrize("top_p", [0.9, 1.0])
def test_a_seed_says_what_is_drawn(top_p: float) -> None:
    params, row = SamplingParams(seed=9, top_p=top_p), row_of(500, 2)
    one, other = Draw(params, 500), Draw(params, 500)
    assert [one.draw(row) for _ in range(50)] == [other.draw(row) for _ in range(50)]
    fresh = [Draw(SamplingParams(top_p=top_p), 500).draw(row) for _ in range(50)]
    assert len(set(fresh)) > 1


@pytest.mark.parametrize("value", [np.nan, -np.inf, np.inf])
def test_a_broken_row_gives_a_token_and_no_error(value: float) -> None:
    row = np.full(300, value, np.float32)
    assert 0 <= Draw(SamplingParams(top_p=0.9), 300).draw(row) < 300


def test_filters_that_leave_few_are_a_chains() -> None:
    assert is_drawn_here(SamplingParams())
    assert is_drawn_here(SamplingParams(top_p=0.9, min_p=0.1))
    for other in ({"temperature": 0.0}, {"top_k": 40, "top_p": 0.9}, {"typical_p": 0.9}, {"min_p": 0.05}):
        assert not is_drawn_here(SamplingParams(**other))  # type: ignore[arg-type]
