"""What is looked up, against a search through all of the tokens."""

import random
from collections.abc import Iterator
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from backends.row_ids import row_ids
from backends.speculation.lookup import KEY_TOKENS, TokenLookup


def drafted(token_ids: list[int], max_tokens: int = 8, *, in_pieces: int | None = None) -> tuple[int, ...]:
    lookup = TokenLookup()
    for num in range(1, len(token_ids), in_pieces or len(token_ids)):
        lookup.follow(token_ids[:num])
    return lookup.draft(token_ids, max_tokens)


def last_end_before(token_ids: list[int]) -> int | None:
    """Return where the newest key stood last, by looking everywhere."""
    key = token_ids[-KEY_TOKENS:]
    ends = range(len(token_ids) - 1, KEY_TOKENS - 1, -1)
    return next((end for end in ends if token_ids[end - KEY_TOKENS : end] == key), None)


def test_what_followed_the_newest_tokens_is_drafted() -> None:
    text = list(range(100, 140))
    assert drafted([*text, 1, 2, *text[10:16]]) == tuple(text[16:24])


def test_fewer_tokens_than_a_key_are_not_looked_up() -> None:
    text = list(range(100, 140))
    assert drafted([*text, 1, 2, *text[10 : 10 + KEY_TOKENS - 1]]) == ()


def test_a_repetition_is_drafted_beyond_what_is_there() -> None:
    period = [5, 6, 7, 8, 9, 10, 11]
    assert drafted(period * 2 + period[:2], max_tokens=16) == tuple((period * 4)[2:18])


def test_it_stays_where_it_is_behind_a_token_that_differs() -> None:
    text = list(range(100, 160))
    changed = [*text, 1, *text[:20], 7, *text[21:24]]
    assert drafted(changed, in_pieces=1) == tuple(text[24:32])
    assert drafted(changed[:-1], in_pieces=1) == (), "two that agree are not enough"


def test_a_draft_ends_before_a_picture() -> None:
    rows = row_ids(b"x" * 32, (2, 2))
    text = list(range(100, 120))
    assert drafted([*text, *rows, 1, *text[:18]]) == (118, 119)
    assert drafted([*text, *rows, 1, *text]) == ()


def test_acceptance_follows_what_was_right_whether_it_was_drafted_or_not() -> None:
    text = list(range(100, 200))
    lookup = TokenLookup()
    lookup.follow([*text, 1, *text[:8]])
    before = lookup.acceptance
    lookup.follow([*text, 1, *text[:40]])
    assert lookup.acceptance > before
    at_best = lookup.acceptance
    lookup.follow([*text, 1, *text[:40], 3, 4, 5])
    assert lookup.acceptance < at_best


@given(st.lists(st.integers(0, 2), min_size=1, max_size=200), st.integers(1, 100))
def test_the_index_is_the_same_however_tokens_come(token_ids: list[int], piece: int) -> None:
    one_by_one, in_pieces = TokenLookup(), TokenLookup()
    for num in range(1, len(token_ids) + 1):
        one_by_one.follow(token_ids[:num])
    for num in [*range(piece, len(token_ids), piece), len(token_ids)]:
        in_pieces.follow(token_ids[:num])
    assert one_by_one._ends == in_pieces._ends
    assert one_by_one._key == in_pieces._key or len(token_ids) < KEY_TOKENS


@given(st.lists(st.integers(0, 3), min_size=70, max_size=300))
def test_a_prompt_is_looked_up_as_by_a_search_through_all_of_it(token_ids: list[int]) -> None:
    end = last_end_before(token_ids)
    draft = drafted(token_ids)
    assert (end is not None) == bool(draft)
    if end is not None:
        found = token_ids[end : end + 8]
        assert list(draft[: len(found)]) == found


class Counted(list[int]):
    """Tokens that count how many of them were read."""

    num_reads = 0

    def __getitem__(self, place: Any) -> Any:
        self.num_reads += len(range(*place.indices(len(self)))) if isinstance(place, slice) else 1
        return super().__getitem__(place)

    def __iter__(self) -> Iterator[int]:
        self.num_reads += len(self)
        return super().__iter__()


def test_each_token_costs_the_same_however_many_there_are() -> None:
    rng = random.Random(1)
    token_ids = Counted(rng.randrange(1000) for _ in range(20_000))
    lookup = TokenLookup()
    lookup.follow(token_ids)
    for token_id in (1, *token_ids[100 : 100 + KEY_TOKENS + 2]):
        token_ids.append(token_id)
        token_ids.num_reads = 0
        lookup.follow(token_ids)
        assert 1 <= token_ids.num_reads <= 3, (
            "the token, that at the place it is compared with, the one that leaves the key"
        )
        assert len(lookup._ends) <= len(token_ids)
