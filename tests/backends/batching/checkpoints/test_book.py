"""The books of checkpoints: bytes are counted once, holders keep them, the least missed go first."""

from hypothesis import given
from hypothesis import strategies as st

from backends.batching.checkpoints.book import CheckpointBook, Worth


def book_of(**held: list[int]) -> CheckpointBook:
    """Return a book of sequences s1, s2... with checkpoints of a byte after so many tokens."""
    book = CheckpointBook()
    for name, places in held.items():
        for place in places:
            book.add(int(name[1:]), place, 1)
    return book


def drop_all(book: CheckpointBook, num_tokens: int = 1100) -> list[int]:
    return [book.drop_least(lambda _: Worth(num_tokens, 1.0)).num_tokens for _ in range(len(book))]


def test_the_last_that_is_not_too_long_is_the_best() -> None:
    book = book_of(s1=[10, 20, 30])
    assert [book.best(1, limit) for limit in (9, 10, 25, 99)] == [0, 10, 20, 30]
    assert book.best(2, 99) == 0


def test_who_begins_with_a_beginning_holds_its_checkpoints() -> None:
    book = book_of(s1=[10, 20, 30])
    book.share(1, 2, 20)
    assert book.places(2) == [10, 20]
    assert (len(book), book.num_bytes) == (3, 3), "counted once"
    book.remove(1)
    assert (len(book), book.num_bytes, book.best(2, 99)) == (2, 2, 20)
    book.truncate(2, 10)
    assert book.places(2) == [10]
    book.remove(2)
    assert (len(book), book.num_bytes, book.mean_bytes) == (0, 0, None)


def test_what_is_dropped_is_gone_for_all_holders() -> None:
    book = book_of(s1=[10])
    book.share(1, 2, 10)
    dropped = book.drop_least(lambda _: Worth(100, 1.0))
    assert dropped.holder_ids == (1, 2)
    assert (book.best(1, 99), book.best(2, 99), len(book)) == (0, 0, 0)


def test_of_equal_distances_the_one_far_from_the_end_goes_first() -> None:
    assert drop_all(book_of(s1=[250, 500, 750, 1000]))[0] == 250


def test_a_crowd_is_thinned_before_a_lonely_one_goes() -> None:
    assert drop_all(book_of(s1=[400, 410, 420, 1000]))[:2] in ([410, 420], [420, 410], [410, 400], [420, 400])


def test_the_newest_sequence_keeps_its_own() -> None:
    book = book_of(s1=[900], s2=[900])
    dropped = book.drop_least(lambda sequence_id: Worth(1000, 1.0 if sequence_id == 2 else 0.5))
    assert dropped.holder_ids == (1,)


def test_what_was_a_beginning_is_kept_longer() -> None:
    book = book_of(s1=[300, 600, 900])
    for sequence_id in range(2, 12):
        book.share(1, sequence_id, 300)
        book.remove(sequence_id)
    assert drop_all(book)[-1] in (300, 900)
    assert drop_all(book_of(s1=[300, 600, 900]))[0] == 300


def test_of_two_alike_the_large_one_goes() -> None:
    book = CheckpointBook()
    book.add(1, 500, 10)
    book.add(2, 500, 1000)
    assert book.drop_least(lambda _: Worth(1000, 1.0)).holder_ids == (2,)


@given(
    st.lists(
        st.tuples(
            st.integers(1, 4), st.sampled_from(["add", "share", "truncate", "remove", "drop"]), st.integers(1, 9)
        ),
        max_size=60,
    )
)
def test_the_bytes_are_those_of_what_is_held(events: list[tuple[int, str, int]]) -> None:
    book = CheckpointBook()
    held: dict[int, dict[int, object]] = {}
    for sequence_id, event, number in events:
        match event:
            case "add" if not book.has(sequence_id, number):
                book.add(sequence_id, number, number)
                held.setdefault(sequence_id, {})[number] = object()
            case "share" if not held.get(sequence_id):
                source_id = sequence_id % 4 + 1
                book.share(source_id, sequence_id, number)
                held[sequence_id] = {p: each for p, each in held.get(source_id, {}).items() if p <= number}
            case "truncate":
                book.truncate(sequence_id, number)
                held[sequence_id] = {p: each for p, each in held.get(sequence_id, {}).items() if p <= number}
            case "remove":
                book.remove(sequence_id)
                held.pop(sequence_id, None)
            case "drop" if len(book):
                dropped = book.drop_least(lambda _: Worth(10, 1.0))
                for holder_id in dropped.holder_ids:
                    del held[holder_id][dropped.num_tokens]
        alive = {id(each): place for own in held.values() for place, each in own.items()}
        assert book.num_bytes == sum(alive.values())
        assert len(book) == len(alive)
        assert all(book.places(sequence_id) == sorted(own) for sequence_id, own in held.items())
