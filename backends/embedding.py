"""Embeddings behind one interface: how a text becomes one vector, whatever the engine.

Plain data and the interface only, no arithmetic (`pooling`) and no queue (`embedding_queue`), so that the gateway may
import it.
"""

import abc
import enum
from collections.abc import Callable

import msgspec


class Pooling(enum.StrEnum):
    """How the hidden states of a text's tokens become one vector."""

    MEAN = "mean"
    CLS = "cls"
    LAST = "last"
    RANK = "rank"


class EncoderSpec(msgspec.Struct, frozen=True):
    """What an encoder is made for.

    Attributes:
        pooling: How it pools; never RANK.
        max_tokens: Tokens of the longest input that it will get, >= 1.
    """

    pooling: Pooling
    max_tokens: int


class Encoder(abc.ABC):
    """Turns inputs into vectors, one after the other, in bounded pieces of work. Belongs to the engine's thread."""

    @abc.abstractmethod
    def start(self, token_ids: list[int]) -> None:
        """Begin with an input; whatever was begun before is forgotten.

        Args:
            token_ids: 1 to `EncoderSpec.max_tokens` valid ids.
        """

    @abc.abstractmethod
    def step(self, max_tokens: int, should_abort: Callable[[], bool]) -> bytes | None:
        """Evaluate the next piece of the input.

        Args:
            max_tokens: Most tokens to evaluate, >= 1; models that see a text as a whole evaluate it at once.
            should_abort: To be asked now and then in a long step; True gives the input up.

        Returns:
            After the last piece the vector: little-endian float32, of length 1 by its L2 norm. None before.

        Raises:
            EngineError: The engine failed.
        """

    @abc.abstractmethod
    def close(self) -> None:
        """Free what was made for it."""
