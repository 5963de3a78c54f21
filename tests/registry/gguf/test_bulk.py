"""Walking strings in bulk gives what walking them one by one gives, whatever lengths and windows there are."""

import random
import struct
from collections.abc import Callable

import pytest

from registry.errors import GGUFError
from registry.gguf.bulk import skip_strings_in_bulk
from registry.gguf.cursor import Cursor, Layout

LENGTHS: dict[str, Callable[[random.Random], int]] = {
    "typical": lambda rng: max(0, round(rng.gauss(7, 4))),
    "empty": lambda _: 0,
    "up to the longest in bulk": lambda rng: rng.choice((0, 1, 7, 254, 255)),
    "a long one now and then": lambda rng: 300 if rng.random() < 0.001 else 5,
    "longer than a window now and then": lambda rng: 9000 if rng.random() < 0.002 else 12,
    "all long": lambda rng: rng.randrange(256, 400),
}


def strings(order: str, lengths: list[int], rng: random.Random) -> bytes:
    """Strings of any bytes, zeros among them, so that their insides look like lengths."""
    prefix = struct.Struct(order + "Q")
    return b"".join(prefix.pack(size) + bytes(rng.choice(b"\0\0\0a\7") for _ in range(size)) for size in lengths)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", LENGTHS)
@pytest.mark.parametrize("window_bytes", [64, 4096, 1 << 20])
def test_it_ends_where_the_strings_end(order: str, kind: str, window_bytes: int) -> None:
    rng = random.Random(kind + order)
    lengths = [LENGTHS[kind](rng) for _ in range(rng.randrange(1500, 3000))]
    data = strings(order, lengths, rng)
    # What follows looks like more strings: the count alone tells where they end.
    data += data
    for count in (len(lengths), len(lengths) - 1, 513, 512, 511, 1):
        end = sum(lengths[:count]) + 8 * count
        cursor = Cursor(
            lambda offset, size: data[offset : offset + size],
            len(data),
            Layout(order),
            position=0,
            window_bytes=window_bytes,
        )
        assert cursor.skip_strings(count, is_searching_byte_tokens=False) is False
        assert cursor.position == end


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_string_that_is_cut_is_told_at_its_place(order: str) -> None:
    rng = random.Random(4)
    lengths = [rng.randrange(12) for _ in range(1100)]
    data = strings(order, lengths, rng)
    starts = [sum(lengths[:index]) + 8 * index for index in range(len(lengths))]
    for size in rng.sample(range(len(data)), 200):
        cut = data[:size]
        cursor = Cursor(lambda offset, count, cut=cut: cut[offset : offset + count], size, Layout(order), position=0)  # type: ignore[misc]
        with pytest.raises(GGUFError) as caught:
            cursor.skip_strings(len(lengths), is_searching_byte_tokens=False)
        assert caught.value.code == "truncated"
        at = max(start for start in starts if start <= size)
        assert at <= caught.value.offset <= at + 8


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_length_with_a_high_byte_is_no_short_length(order: str) -> None:
    for byte in range(1, 8):
        size = 5 | 1 << 8 * byte
        data = struct.pack(order + "Q", 5) + b"abcde" * 3
        data = data[:13] * 600 + struct.pack(order + "Q", size) + b"abcde" + data[:13] * 600
        unpack = struct.Struct(order + "Q").unpack_from
        index, left = skip_strings_in_bulk(order, unpack, data, 0, 1201, len(data) - 8)
        assert index <= 600 * 13
        assert index == (1201 - left) * 13
