"""Embeddings as the protocols' answers have them."""

import array
import asyncio
import math
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

_VECTORS_PER_TURN: Final = 16
"""After this many vectors are encoded, other requests get their turn."""


async def encoded(vectors: Sequence[bytes], shown: Callable[[int, bytes], Any]) -> list[Any]:
    """Encode many vectors, giving way to other requests now and then.

    Args:
        shown: What stands for a vector of some number in the answer.

    Returns:
        JSON that is ready, in the place of what was shown.
    """
    parts = []
    for number, vector in enumerate(vectors, 1):
        parts.append(msgspec.Raw(msgspec.json.encode(shown(number - 1, vector))))
        if number % _VECTORS_PER_TURN == 0:
            await asyncio.sleep(0)
    return parts


def numbers_of(vector: bytes) -> list[float]:
    """Return a vector as numbers.

    Args:
        vector: Little-endian float32.
    """
    numbers = array.array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()


def shortened(numbers: list[float], num_dimensions: int) -> list[float]:
    """Return the beginning of a vector, brought to the length 1 again.

    Args:
        num_dimensions: How many of its numbers stay, >= 1; a vector that has no more stays as it is.
    """
    if num_dimensions >= len(numbers):
        return numbers
    kept = numbers[:num_dimensions]
    length = math.sqrt(math.fsum(number * number for number in kept))
    return [number / length for number in kept] if length else kept
