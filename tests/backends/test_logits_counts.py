"""Counts in a sliding window against a count of the window itself."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from backends.logits import TokenCounts


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


def test_nothing_seen_is_nothing_returned() -> None:
    ids, numbers = TokenCounts(5).within(8)
    assert len(ids) == len(numbers) == 0
