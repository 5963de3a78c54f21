"""Which sequences of an engine hold which states, for both engines: a state is shared by all that hold it.

Not which are to be kept: the batcher says that.
"""

from typing import Generic, TypeVar

State = TypeVar("State")


class CheckpointStore(Generic[State]):
    """Owns the checkpoints of one engine's sequences."""

    def __init__(self) -> None:
        self._by_sequence: dict[int, dict[int, State]] = {}

    def add(self, sequence_id: int, num_tokens: int, state: State) -> None:
        """Let a sequence hold a state after its first tokens."""
        self._by_sequence.setdefault(sequence_id, {})[num_tokens] = state

    def get(self, sequence_id: int, num_tokens: int) -> State | None:
        """Return the state after so many tokens, or None."""
        return self._by_sequence.get(sequence_id, {}).get(num_tokens)

    def of(self, sequence_id: int) -> dict[int, State]:
        """Return all states of a sequence by their tokens, ascending."""
        return dict(sorted(self._by_sequence.get(sequence_id, {}).items()))

    def last(self, sequence_id: int, limit: int) -> int:
        """Return after how many tokens, at most `limit`, the last one is; 0 without any."""
        return max((place for place in self._by_sequence.get(sequence_id, ()) if place <= limit), default=0)

    def share(self, source_id: int, target_id: int, num_tokens: int) -> None:
        """Let a sequence hold those of another one's first tokens."""
        held = self._by_sequence.get(source_id, {})
        self._by_sequence[target_id] = {place: state for place, state in held.items() if place <= num_tokens}

    def drop(self, sequence_id: int, num_tokens: int) -> None:
        """Let a sequence hold one no more; unknown ones are ignored."""
        self._by_sequence.get(sequence_id, {}).pop(num_tokens, None)

    def truncate(self, sequence_id: int, num_tokens: int) -> None:
        """Drop those behind a sequence's first tokens."""
        for place in [place for place in self._by_sequence.get(sequence_id, ()) if place > num_tokens]:
            self.drop(sequence_id, place)

    def remove(self, sequence_id: int) -> None:
        """Drop all of a sequence; unknown ids are ignored."""
        self._by_sequence.pop(sequence_id, None)
