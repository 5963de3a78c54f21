"""Counts in a sliding window against a count of the window itself."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from backends.logits import LogitsEditor, TokenCounts
from backends.row_ids import row_ids
from backends.wire.request import SamplingParams


@given(
    window=st.one_of(st.none(), st.integers(1, 12), st.just(10**12)),
    first=st.lists(st.integers(0, 9), max_size=30),
    rest=st.lists(st.integers(0, 200), max_size=200),
)
def test_counts_are_those_of_the_window(window: int | None, first: list[int], rest: list[int]) -> None:
    counts = TokenCounts(window, first)
    seen = list(first)
    for token_id in rest:
        counts.push(token_id)
        seen.append(token_id)
        inside = seen if window is None else seen[-window:]
        ids, numbers = counts.within(10_000)
        assert dict(zip(ids.tolist(), numbers.tolist(), strict=True)) == Counter(inside)


def test_ids_beyond_the_vocabulary_are_left_out() -> None:
    ids, numbers = TokenCounts(None, [3, 7, 7, 9]).within(8)
    assert dict(zip(ids.tolist(), numbers.tolist(), strict=True)) == {3: 1, 7: 2}


def test_rows_of_pictures_take_no_place_in_a_window() -> None:
    """What was said before a picture is penalized behind it as if the picture were not there."""
    rows = row_ids(b"p" * 32, (4, 4))
    editor = LogitsEditor(SamplingParams(repetition_penalty=2.0, repetition_window=2), None, [1, 2, *rows, 3])
    logits = np.ones(8, np.float32)
    editor.edit(logits)
    assert logits.tolist() == [1, 1, 0.5, 0.5, 1, 1, 1, 1]


def test_nothing_seen_is_nothing_returned() -> None:
    ids, numbers = TokenCounts(5).within(8)
    assert len(ids) == len(numbers) == 0
