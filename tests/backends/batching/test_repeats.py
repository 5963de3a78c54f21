"""Which beginnings came more than once, and which kept cache has them."""

import dataclasses

from backends.batch_limits import BatchLimits
from backends.batching.checkpoints.book import CheckpointBook
from backends.batching.prefix_index import PrefixIndex
from backends.batching.repeats import MIN_TOKENS, Keeper, RepeatedBeginnings
from backends.batching.retired import RetiredCache, RetiredCaches
from backends.sequence import Sequence
from backends.wire.request import SamplingParams

SYSTEM = list(range(MIN_TOKENS))
LIMITS = BatchLimits(max_sequences=1, num_slots=4, num_cells=10**6, step_tokens=512, num_retired_tokens=10**6)


class Books:
    """An index, what is retired, and the notes."""

    def __init__(self, *, can_cut_cache: bool = True) -> None:
        self.index, self.retired = PrefixIndex(), RetiredCaches()
        limits = dataclasses.replace(LIMITS, can_cut_cache=can_cut_cache)
        self.repeats = RepeatedBeginnings(limits, self.index, self.retired, CheckpointBook())

    def ended(self, sequence_id: int, token_ids: list[int], owner: str | None = None) -> None:
        self.index.insert(sequence_id, token_ids, owner)
        self.retired.add(RetiredCache(sequence_id, len(token_ids), owner=owner))

    def comes(self, token_ids: list[int], owner: str | None = None) -> None:
        self.repeats.note(Sequence(99, token_ids, len(token_ids), 1, SamplingParams(), owner=owner))


def test_what_came_once_is_no_repetition() -> None:
    books = Books()
    books.comes(SYSTEM)
    books.ended(1, [*SYSTEM[:-1], -1])
    books.comes(SYSTEM)
    assert books.repeats.take() is None, "it has a token too little in common"


def test_the_common_beginning_is_noted_once_and_the_newest_comes_first() -> None:
    books = Books()
    books.ended(1, [*SYSTEM, 7, 8])
    books.comes([*SYSTEM, 7, 9])
    books.comes([*SYSTEM, 6])
    books.comes([*SYSTEM, 7, 10])
    assert len(books.repeats) == 2
    first, second = books.repeats.take(), books.repeats.take()
    assert first is not None
    assert second is not None
    assert (first.token_ids, second.token_ids) == ([*SYSTEM, 7], SYSTEM)
    assert books.repeats.take() is None


def test_others_beginnings_are_nobodys_business() -> None:
    books = Books()
    books.ended(1, SYSTEM, "key-1")
    books.comes(SYSTEM, "key-2")
    books.comes(SYSTEM)
    assert not len(books.repeats)
    books.comes(SYSTEM, "key-1")
    repeat = books.repeats.take()
    assert repeat is not None
    assert books.repeats.keeper_of(repeat) == Keeper(1, MIN_TOKENS)


def test_the_keeper_holds_most_of_it_and_the_least_beside_it() -> None:
    books = Books()
    books.ended(1, [*SYSTEM, *range(500)])
    books.ended(2, [*SYSTEM, 5])
    books.ended(3, SYSTEM[:-1])
    books.comes(SYSTEM)
    repeat = books.repeats.take()
    assert repeat is not None
    assert books.repeats.keeper_of(repeat) == Keeper(2, MIN_TOKENS)


def test_what_cannot_be_cut_is_kept_by_who_has_nothing_beside_it() -> None:
    books = Books(can_cut_cache=False)
    books.ended(1, [*SYSTEM, 5])
    books.comes([*SYSTEM, 5, 6])
    books.comes([*SYSTEM, 7])
    shorter, longer = books.repeats.take(), books.repeats.take()
    assert shorter is not None
    assert longer is not None
    assert books.repeats.keeper_of(shorter) is None
    assert books.repeats.keeper_of(longer) == Keeper(1, MIN_TOKENS + 1)
