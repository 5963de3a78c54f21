"""Embeddings as numbers, for the protocols' answers. Pure."""

import array
import math
import sys


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
