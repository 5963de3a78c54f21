"""MLX's own sampler: filters against plain arithmetic, draws by seed and position only."""

import math

import mlx.core as mx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.mlx.sampler import SeededSampler, _filter, create_sampler, greedy
from backends.wire.request import SamplingParams
from tests.support.typical_p import kept_by_typical_p

LOGPROBS = [math.log(p) for p in (0.4, 0.3, 0.15, 0.1, 0.05)]


def kept(logprobs: list[float], **params: float) -> set[int]:
    filtered = _filter(mx.array([logprobs]), SamplingParams(**params))  # type: ignore[arg-type]
    return {index for index in range(len(logprobs)) if filtered[0, index].item() != -math.inf}


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 1}, {0}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"top_k": 99}, {0, 1, 2, 3, 4}),
        ({"top_p": 0.39}, {0}),
        ({"top_p": 0.6}, {0, 1}),
        ({"top_p": 0.72}, {0, 1, 2}),
        ({"top_p": 1e-9}, {0}),
        ({"min_p": 1.0}, {0}),
        ({"min_p": 0.3}, {0, 1, 2}),
        ({"min_p": 0.2}, {0, 1, 2, 3}),
        ({"top_k": 2, "top_p": 0.5}, {0}),  # top_p sees what top_k left, renormalised: 0.4 / 0.7 reaches it
        ({"top_k": 2, "top_p": 0.6}, {0, 1}),
        ({"typical_p": 0.2}, {1}),  # its information is nearest to the entropy, 1.39
        ({"typical_p": 0.4}, {0, 1}),
        ({"top_k": 2, "typical_p": 0.1}, {0}),  # typical_p sees what top_k left: of two, 4/7 is the nearer
        ({"typical_p": 0.2, "top_p": 1e-9}, {1}),  # top_p sees what typical_p left
    ],
)
def test_filters_keep_what_they_should(params: dict[str, float], expected: set[int]) -> None:
    assert kept(LOGPROBS, **params) == expected
    backwards = kept(LOGPROBS[::-1], **params)
    assert backwards == {len(LOGPROBS) - 1 - index for index in expected}


@given(
    weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=12, unique=True),
    top_p=st.floats(0.05, 0.95),
)
@settings(max_examples=50, deadline=None)
def test_top_p_keeps_the_smallest_set_that_reaches_it(weights: list[float], top_p: float) -> None:
    total = sum(weights)
    probs = [weight / total for weight in weights]
    ids = kept([math.log(p) for p in probs], top_p=top_p)
    mass = sum(probs[i] for i in ids)
    assert mass >= top_p - 1e-5
    assert mass - min(probs[i] for i in ids) < top_p + 1e-5
    least_kept = min(probs[i] for i in ids)
    most_dropped = max((probs[i] for i in range(len(probs)) if i not in ids), default=0)
    assert least_kept >= most_dropped - 1e-6  # the sampler sees float32


@given(
    logits=st.lists(st.one_of(st.floats(-12, 12, width=32), st.just(-math.inf)), min_size=1, max_size=24),
    typical_p=st.floats(0.01, 0.99),
)
@settings(max_examples=100, deadline=None)
def test_typical_p_is_what_the_paper_says_also_with_masked_tokens(logits: list[float], typical_p: float) -> None:
    assume(max(logits) > -math.inf)
    expected, margin = kept_by_typical_p(logits, typical_p)
    assume(margin > 1e-4)
    assert kept(logits, typical_p=typical_p) == expected


def test_half_precision_does_not_lose_the_many_unlikely_tokens() -> None:
    """1,000 equal tokens in bfloat16: half of the probability is half of the tokens, give or take rounding."""
    logprobs = mx.full((1, 1000), -math.log(1000)).astype(mx.bfloat16)
    drawn = set()
    for seed in range(300):
        drawn.add(SeededSampler(SamplingParams(temperature=1, top_p=0.5, seed=seed))(logprobs).item())
    assert 150 < len(drawn) < 500


def test_draws_depend_on_seed_and_position_only() -> None:
    logprobs = mx.zeros((1, 1000)) - math.log(1000)
    params = SamplingParams(temperature=1, seed=5)
    first, second = SeededSampler(params), SeededSampler(params)
    tokens = [first(logprobs).item() for _ in range(10)]
    second.position = 5
    assert [second(logprobs).item() for _ in range(5)] == tokens[5:]
    assert len(set(tokens)) > 5


def test_draws_follow_the_probabilities() -> None:
    """2,000 draws of a token with p = 0.4: the count is within six standard deviations, always for these seeds."""
    sampler = SeededSampler(SamplingParams(temperature=1, seed=11))
    logprobs = mx.array([LOGPROBS])
    num_drawn = sum(sampler(logprobs).item() == 0 for _ in range(2000))
    assert abs(num_drawn - 800) < 6 * math.sqrt(2000 * 0.4 * 0.6)


def test_greedy_is_one_shared_function() -> None:
    assert create_sampler(SamplingParams(temperature=0)) is greedy
    assert create_sampler(SamplingParams(temperature=1e-7, seed=3)) is greedy
    assert greedy(mx.array([LOGPROBS, LOGPROBS[::-1]])).tolist() == [0, 4]
