"""What a batcher wants to have done for sequences that it admits, before the next step."""

from typing import NamedTuple


class Fork(NamedTuple):
    """An admitted sequence is to begin with another one's cache; to be answered by `on_fork`.

    Attributes:
        source_id: Its cache holds at least `num_tokens`.
        num_tokens: How many of its first tokens are the source's; at least one is left to be computed.
        fallback: With how many, at a checkpoint, where the engine refuses that; 0 = with none.
    """

    source_id: int
    target_id: int
    num_tokens: int
    fallback: int = 0


class Drop(NamedTuple):
    """A retired sequence is to be removed from the engine."""

    sequence_id: int
