"""How often each token occurs among the last ones of a growing list, ready to index logits with."""

from collections import deque
from collections.abc import Iterable
from typing import Any

import numpy as np

Integers = np.ndarray[Any, np.dtype[np.int64]]

_INITIAL_CAPACITY = 64


class TokenCounts:
    """Counts of the tokens in a window; every `push` takes the same short time, however long the list.

    Args:
        window: How many of the last tokens count, >= 1; None = all.
    """

    def __init__(self, window: int | None, token_ids: Iterable[int] = ()) -> None:
        self._window = window
        self._recent: deque[int] = deque()
        self._places: dict[int, int] = {}
        self._ids: Integers = np.zeros(_INITIAL_CAPACITY, np.int64)
        self._counts: Integers = np.zeros(_INITIAL_CAPACITY, np.int64)
        for token_id in token_ids:
            self.push(token_id)

    def push(self, token_id: int) -> None:
        """Append a token; the oldest one of a full window drops out."""
        if self._window is not None:
            if len(self._recent) == self._window:
                self._drop(self._recent.popleft())
            self._recent.append(token_id)
        place = self._places.get(token_id)
        if place is None:
            place = self._places[token_id] = len(self._places)
            if place == len(self._ids):
                self._ids = np.concatenate([self._ids, np.zeros_like(self._ids)])
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._ids[place] = token_id
            self._counts[place] = 0
        self._counts[place] += 1

    def within(self, vocab_size: int) -> tuple[Integers, Integers]:
        """Return the different tokens below `vocab_size`, in any order, and how often each occurs; both int64, (n,)."""
        num_ids = len(self._places)
        ids, counts = self._ids[:num_ids], self._counts[:num_ids]
        if num_ids and int(ids.max()) >= vocab_size:
            is_inside = ids < vocab_size
            return ids[is_inside], counts[is_inside]
        return ids, counts

    def _drop(self, token_id: int) -> None:
        place = self._places[token_id]
        self._counts[place] -= 1
        if self._counts[place] == 0:
            del self._places[token_id]
            last = len(self._places)
            if place != last:
                self._ids[place], self._counts[place] = self._ids[last], self._counts[last]
                self._places[int(self._ids[place])] = place
