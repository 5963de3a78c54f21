"""What a sequence may draw next, by what followed when its newest tokens stood in it before: an index without a model.

It follows one earlier place at a time. As long as what is drawn is what stands there, it stays with it; a token that
differs (a name that was changed, a number that counts up) leaves it for the next few, in which it either agrees again
or is given up. Otherwise the last place is taken where the newest KEY_TOKENS stood.
"""

from typing import Final

import numpy as np

from backends.row_ids import is_row

KEY_TOKENS: Final = 6
"""By fewer a text is found again that goes on otherwise, and a draft that is wrong costs more than none."""
_AGREED_AGAIN: Final = 3
"""So many tokens after one that differed let it be trusted again."""
_MOST_DIFFERING: Final = 4
"""It is given up when so many differ before that."""
_FIRST_ACCEPTANCE: Final = 0.8
_WEIGHT: Final = 0.125
_FACTOR: Final = 0x9E3779B97F4A7C15
_MASK: Final = (1 << 64) - 1
_LEAVING: Final = pow(_FACTOR, KEY_TOKENS, 1 << 64)
_BULK: Final = 64
"""As many new tokens are taken up at once; fewer one by one."""


class TokenLookup:
    """The index of one sequence, which follows its tokens; each of them costs the same, however many there are.

    Attributes:
        acceptance: Share of the last tokens that stood where they were looked for, whether they were drafted or not.
    """

    def __init__(self) -> None:
        self.acceptance = _FIRST_ACCEPTANCE
        self._num_known = 0
        self._key = 0
        self._ends: dict[int, int] = {}
        self._place: int | None = None
        self._num_agreed = self._num_differing = 0

    def draft(self, token_ids: list[int], max_tokens: int) -> tuple[int, ...]:
        """Take up the tokens that are new, and return what may follow; () where nothing is expected.

        Args:
            token_ids: All of the sequence; it only grows.
            max_tokens: >= 0; a repetition that is not over yet goes on for so long.
        """
        self.follow(token_ids)
        place = self._place
        if place is None or self._num_agreed < _AGREED_AGAIN or max_tokens <= 0:
            return ()
        found = token_ids[place : place + max_tokens]
        if not found:
            return ()
        while len(found) < max_tokens:
            found += found[: max_tokens - len(found)]
        # Rows of a picture are no tokens, and nothing behind one is known to follow what stands before it.
        num_tokens = next((index for index, token_id in enumerate(found) if is_row(token_id)), len(found))
        return tuple(found[:num_tokens])

    def follow(self, token_ids: list[int]) -> None:
        """Take up the tokens that are new."""
        if len(token_ids) - self._num_known > _BULK:
            self._take_up_many(token_ids)
        for index in range(self._num_known, len(token_ids)):
            self._take_up(token_ids, index)
        self._num_known = len(token_ids)

    def _take_up(self, token_ids: list[int], index: int) -> None:
        token_id = token_ids[index]
        if self._place is not None:
            self._compare(token_id, token_ids[self._place])
        self._key = (self._key * _FACTOR + token_id + 1) & _MASK
        if index >= KEY_TOKENS:
            self._key = (self._key - (token_ids[index - KEY_TOKENS] + 1) * _LEAVING) & _MASK
        if index < KEY_TOKENS - 1:
            return
        if self._num_agreed < KEY_TOKENS:
            self._find()
        self._ends[self._key] = index + 1

    def _compare(self, token_id: int, expected_id: int) -> None:
        """Go on at the place that is followed, by whether it has what was drawn."""
        assert self._place is not None
        is_right = token_id == expected_id
        if self._num_agreed >= _AGREED_AGAIN:
            self.acceptance += (is_right - self.acceptance) * _WEIGHT
        self._place += 1
        if is_right:
            self._num_agreed += 1
            return
        self._num_differing = 1 if self._num_agreed >= _AGREED_AGAIN else self._num_differing + 1
        self._num_agreed = 0
        if self._num_differing > _MOST_DIFFERING:
            self._place = None

    def _find(self) -> None:
        place = self._ends.get(self._key)
        if place is not None:
            self._place, self._num_agreed, self._num_differing = place, KEY_TOKENS, 0

    def _take_up_many(self, token_ids: list[int]) -> None:
        """Index many tokens at once, mostly a prompt's, and look where its end stood before."""
        first = max(0, self._num_known - KEY_TOKENS + 1)
        values = np.array(token_ids[first:], np.uint64) + np.uint64(1)
        num_keys = len(values) - KEY_TOKENS + 1
        keys = np.zeros(num_keys, np.uint64)
        for offset in range(KEY_TOKENS):
            keys = keys * np.uint64(_FACTOR) + values[offset : offset + num_keys]
        *before, self._key = keys.tolist()
        place = first + KEY_TOKENS
        self._ends.update(zip(before, range(place, place + len(before)), strict=True))
        self._place, self._num_agreed, self._num_differing = None, 0, 0
        self._find()
        self._ends[self._key] = len(token_ids)
        self._num_known = len(token_ids)
