"""The native chain of filters: what is left of a row of logits, against plain arithmetic."""

import ctypes
import math

import llama_cpp
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.llamacpp.sampler import samplers_of
from backends.wire.request import SamplingParams
from tests.support.typical_p import kept_by_typical_p

LOGITS = [math.log(p) for p in (0.4, 0.3, 0.15, 0.1, 0.05)]


def kept(logits: list[float], **params: float) -> set[int]:
    """Apply all filters, and not the draw, to one row."""
    chain = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
    *filters, draw = samplers_of(SamplingParams(seed=1, **params))  # type: ignore[arg-type]
    for sampler in filters:
        llama_cpp.llama_sampler_chain_add(chain, sampler)
    llama_cpp.llama_sampler_free(draw)
    data = (llama_cpp.llama_token_data * len(logits))()
    for token_id, logit in enumerate(logits):
        data[token_id].id, data[token_id].logit, data[token_id].p = token_id, logit, 0.0
    row = llama_cpp.llama_token_data_array(data=data, size=len(logits), selected=-1, sorted=False)
    llama_cpp.llama_sampler_apply(chain, ctypes.byref(row))
    ids = {row.data[i].id for i in range(row.size) if row.data[i].logit > -math.inf}
    llama_cpp.llama_sampler_free(chain)
    return ids


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({}, {0, 1, 2, 3, 4}),
        ({"top_k": 3}, {0, 1, 2}),
        ({"top_p": 0.6}, {0, 1}),
        ({"min_p": 0.3}, {0, 1, 2}),
        ({"typical_p": 1.0}, {0, 1, 2, 3, 4}),
        ({"typical_p": 0.2}, {1}),  # its information is nearest to the entropy, 1.39
        ({"typical_p": 0.4}, {0, 1}),
        ({"top_k": 2, "typical_p": 0.1}, {0}),  # typical_p sees what top_k left: of two, 4/7 is the nearer
        ({"typical_p": 0.2, "top_p": 1e-9}, {1}),  # top_p sees what typical_p left
    ],
)
def test_filters_keep_what_they_should_in_their_order(params: dict[str, float], expected: set[int]) -> None:
    assert kept(LOGITS, **params) == expected


@given(
    logits=st.lists(st.one_of(st.floats(-12, 12, width=32), st.just(-math.inf)), min_size=1, max_size=24),
    typical_p=st.floats(0.01, 0.99),
)
@settings(max_examples=150, deadline=None)
def test_typical_p_is_what_the_paper_says_also_with_masked_tokens(logits: list[float], typical_p: float) -> None:
    assume(max(logits) > -math.inf)
    expected, margin = kept_by_typical_p(logits, typical_p)
    assume(margin > 1e-4)
    assert kept(logits, typical_p=typical_p) == expected
