"""Ended sequences whose cache stays as a beginning for others: which of them goes next.

Pure bookkeeping; the tokens themselves stand in the prefix index, the cache in the engine.
"""

import dataclasses


@dataclasses.dataclass(slots=True)
class RetiredCache:
    """An ended sequence.

    Attributes:
        num_tokens: First tokens that its cache holds, >= 1.
        owner: As in `Sequence`.
        pinned_until: Until then it goes only when nothing else can, seconds of a monotonic clock; None = not pinned.
    """

    sequence_id: int
    num_tokens: int
    pinned_until: float | None = None
    owner: str | None = None

    def is_pinned(self, now: float) -> bool:
        """Tell whether its session's time is not up yet."""
        return self.pinned_until is not None and now < self.pinned_until


class RetiredCaches:
    """Owns the retired sequences of one worker, from the least to the most recently used.

    Attributes:
        num_tokens: What their caches hold, all together, shared cells counted as often as they are held.
    """

    def __init__(self) -> None:
        self._retired: dict[int, RetiredCache] = {}
        self.num_tokens = 0

    def __len__(self) -> int:
        return len(self._retired)

    def __contains__(self, sequence_id: int) -> bool:
        return sequence_id in self._retired

    @property
    def sequence_ids(self) -> list[int]:
        """Their ids, the least recently used first."""
        return list(self._retired)

    def get(self, sequence_id: int) -> RetiredCache | None:
        """Return a retired sequence, None for others."""
        return self._retired.get(sequence_id)

    def add(self, retired: RetiredCache) -> None:
        """Keep one, as the most recently used."""
        assert retired.sequence_id not in self._retired, "a sequence ends only once"
        assert retired.num_tokens >= 1, "nothing is not kept"
        self._retired[retired.sequence_id] = retired
        self.num_tokens += retired.num_tokens

    def touch(self, sequence_id: int) -> None:
        """Note that one was used."""
        self._retired[sequence_id] = self._retired.pop(sequence_id)

    def supersede(self, sequence_id: int) -> None:
        """Let one go before all others."""
        retired = self._retired.pop(sequence_id)
        retired.pinned_until = None
        self._retired = {sequence_id: retired, **self._retired}

    def remove(self, sequence_id: int) -> None:
        """Forget one; unknown ids are ignored."""
        retired = self._retired.pop(sequence_id, None)
        if retired is not None:
            self.num_tokens -= retired.num_tokens

    def victim(self, now: float, spared_id: int | None = None) -> int | None:
        """Return who goes next: by least recent use, pinned ones last; None without any.

        Args:
            now: Seconds of a monotonic clock.
            spared_id: Goes after all others, because it is about to be used.
        """
        if not self._retired:
            return None
        # min() returns the first of equals, which is the least recently used.
        first = min(self._retired.values(), key=lambda r: (r.sequence_id == spared_id, r.is_pinned(now)))
        return first.sequence_id
