"""Stepping over many length-prefixed strings at once: where the time of a header goes.

The bundled model has 98,000 of them. First by a regular expression, which walks 512 strings in one call and takes half
the time of the next way; then, where that does not match, eight at a time. Both only step over what they have seen to
lie in the window whole; the rest is left to the caller, who checks each string. Not here: windows and limits
(`cursor.py`).
"""

import re
import struct
from collections.abc import Callable
from typing import Final

Unpack = Callable[[bytes, int], tuple[int, ...]]

_NUM_AT_ONCE: Final = 512
_MAX_BYTES: Final = 255
_TYPICAL_BYTES: Final = 7
"""Alternatives are tried in their order; most tokens have about that many bytes."""


def _strings_pattern(order: str) -> bytes:
    """Write "512 strings of at most 255 bytes": each length followed by as many bytes.

    Possessive repetitions, because there is nothing to go back to: of each length exactly one alternative fits.
    """
    zeros = rb"\x00" * 7
    lengths = sorted(range(_MAX_BYTES + 1), key=lambda length: abs(length - _TYPICAL_BYTES))
    prefixes = ((length, rb"\x%02x" % length) for length in lengths)
    one = b"|".join(
        (low + zeros if order == "<" else zeros + low) + (b".{%d}+" % length if length else b"")
        for length, low in prefixes
    )
    return b"(?s:%b){%d}+" % (one, _NUM_AT_ONCE)


_STRINGS: Final = {order: _strings_pattern(order) for order in "<>"}
"""Their text; `re` keeps what it compiled, which takes 15 ms and is done with the first vocabulary."""


def skip_strings_in_bulk(
    order: str, unpack: Unpack, window: bytes, index: int, count: int, last_start: int
) -> tuple[int, int]:
    """Step over as many strings as can be seen to lie before `last_start`.

    Args:
        order: `<` or `>`.
        unpack: Reads the uint64 at an index, in that order.
        last_start: The last index at which a string may start.

    Returns:
        Where the next string starts, at most the window's length, and how many are left.
    """
    left = count
    if left >= _NUM_AT_ONCE:
        match = re.compile(_STRINGS[order]).match
        while left >= _NUM_AT_ONCE:
            found = match(window, index)
            if found is not None:
                index = found.end()
                left -= _NUM_AT_ONCE
                continue
            # A longer string is among them, or the window ends.
            index, num_undone = _skip_in_eights(unpack, window, index, _NUM_AT_ONCE, last_start)
            left -= _NUM_AT_ONCE - num_undone
            if num_undone:
                return index, left
    return _skip_in_eights(unpack, window, index, left, last_start)


def _skip_in_eights(unpack: Unpack, window: bytes, index: int, count: int, last_start: int) -> tuple[int, int]:
    """Step over eight at a time; arguments and result as of `skip_strings_in_bulk`."""
    left = count
    try:
        for left in range(count, 7, -8):
            at = index
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            at += 8 + unpack(window, at)[0]
            if at > last_start:
                return index, left
            index = at
    except (struct.error, OverflowError):
        return index, left
    return index, count % 8
