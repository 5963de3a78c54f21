"""The fake engine's embeddings: the same text always gives the same vector, other texts give others."""

import random
import struct
import time
from collections.abc import Callable

from backends.embedding import Encoder, EncoderSpec

WIDTH = 8
"""Numbers in a vector."""
_SLICE_S = 0.005


class FakeEncoder(Encoder):
    """Takes the set time per token.

    Args:
        s_per_token: Time to evaluate one token, seconds.
    """

    def __init__(self, spec: EncoderSpec, s_per_token: float) -> None:
        self._spec = spec
        self._s_per_token = s_per_token
        self._token_ids: list[int] = []
        self._num_done = 0

    def start(self, token_ids: list[int]) -> None:
        """Begin with an input."""
        self._token_ids = token_ids
        self._num_done = 0

    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Take the time of the next tokens."""
        num_tokens = min(max_tokens, len(self._token_ids) - self._num_done)
        end = time.monotonic() + num_tokens * self._s_per_token
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(_SLICE_S, left))
            if should_abort():
                return None
        self._num_done += num_tokens
        return self._vector() if self._num_done == len(self._token_ids) else None

    def close(self) -> None:
        """Nothing is held."""

    def _vector(self) -> bytes:
        generator = random.Random(f"{self._spec.pooling} {self._token_ids}")  # noqa: S311 - not cryptography
        numbers = [generator.gauss(0.0, 1.0) for _ in range(WIDTH)]
        norm = sum(number * number for number in numbers) ** 0.5
        return struct.pack(f"<{WIDTH}f", *(number / norm for number in numbers))
