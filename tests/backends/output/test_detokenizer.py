"""Bytes to text: the same whatever the cuts, and never a piece of a stop string."""

import itertools

from hypothesis import example, given
from hypothesis import strategies as st

from backends.output.answer import Detokenizer


def text_of(pieces: list[bytes], stop: tuple[str, ...] = ()) -> tuple[str, bool]:
    detokenizer = Detokenizer(stop)
    parts = []
    for piece in pieces:
        parts.append(detokenizer.push(piece))
        if detokenizer.is_stopped:
            break
    parts.append(detokenizer.flush())
    return "".join(parts), detokenizer.is_stopped


def cut(data: bytes, borders: set[int]) -> list[bytes]:
    edges = [0, *sorted(border for border in borders if 0 < border < len(data)), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


BORDERS = st.sets(st.integers(1, 60))
STOPS = st.lists(st.text("abü", min_size=1, max_size=4), max_size=3).map(tuple)


@given(text=st.text(max_size=40), borders=BORDERS)
def test_any_cut_of_utf8_gives_the_same_text(text: str, borders: set[int]) -> None:
    assert text_of(cut(text.encode(), borders)) == (text, False)


@given(data=st.binary(max_size=40), borders=BORDERS)
def test_any_cut_of_any_bytes_gives_what_replacement_decoding_gives(data: bytes, borders: set[int]) -> None:
    assert text_of(cut(data, borders)) == (data.decode(errors="replace"), False)


@example(text="xabcd", stop=("abcd", "bc"), borders=set())
@example(text="xabc", stop=("bc", "abc"), borders={3})
@given(text=st.text("abü", max_size=40), stop=STOPS, borders=BORDERS)
def test_stop_strings_are_found_at_any_cut(text: str, stop: tuple[str, ...], borders: set[int]) -> None:
    """The reference looks at growing prefixes: the stop string that is complete first ends the text."""
    expected = text, False
    for length in range(len(text) + 1):
        starts = [length - len(s) for s in stop if text[:length].endswith(s)]
        if starts:
            expected = text[: min(starts)], True
            break
    assert text_of(cut(text.encode(), borders), stop) == expected
    assert text_of([bytes([byte]) for byte in text.encode()], stop) == expected


@given(text=st.text("abü", max_size=40), stop=STOPS, borders=BORDERS)
def test_nothing_of_a_stop_string_is_ever_emitted(text: str, stop: tuple[str, ...], borders: set[int]) -> None:
    detokenizer = Detokenizer(stop)
    emitted = ""
    for piece in cut(text.encode(), borders):
        emitted += detokenizer.push(piece)
        assert not any(s in emitted for s in stop)
        rest = text[len(emitted) :]
        assert text.startswith(emitted)
        if not detokenizer.is_stopped:
            # What is out must not begin a stop string that the rest may complete.
            ends = [emitted[-n:] for n in range(1, 4) if n <= len(emitted)]
            assert not any(s.startswith(end) and (end + rest).startswith(s) for s in stop for end in ends)


def test_only_what_may_become_a_stop_string_is_held() -> None:
    detokenizer = Detokenizer(("END",))
    assert detokenizer.push(b"some E") == "some "
    assert detokenizer.push(b"N") == ""
    assert detokenizer.push(b"T") == "ENT"
    assert detokenizer.push(b"xEN") == "x"
    assert detokenizer.flush() == "EN"


def test_an_unfinished_character_becomes_a_replacement_at_the_end() -> None:
    detokenizer = Detokenizer()
    assert detokenizer.push("ü".encode()[:1]) == ""
    assert detokenizer.flush() == "\ufffd"


def test_nothing_comes_after_a_stop() -> None:
    detokenizer = Detokenizer(("b",))
    assert detokenizer.push(b"abc") == "a"
    assert detokenizer.push(b"more") == ""
    assert detokenizer.flush() == ""


def test_held_text_stays_short_over_a_long_answer() -> None:
    """The work per token depends on the stop strings' length and not on the text's."""
    detokenizer = Detokenizer(("ab" * 50,))
    for _ in range(5_000):
        detokenizer.push(b"abab")
        if detokenizer.is_stopped:
            break
        detokenizer.push(b"x")
        assert len(detokenizer._held) < 100
    assert not detokenizer.is_stopped


def test_the_stop_text_that_ended_it_is_told() -> None:
    detokenizer = Detokenizer(("cd", "bcde", "x"))
    assert detokenizer.stopped_by is None
    assert detokenizer.push(b"abc") == "a"
    assert detokenizer.push(b"d") == "b"
    assert detokenizer.stopped_by == "cd"
