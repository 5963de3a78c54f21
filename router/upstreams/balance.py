"""Which of several upstreams of one model is asked: one decision, pure but for the memory of who had what.

First that holds wins:
    1. The one that has the conversation's session: its cache may still be there.
    2. The one that had the longest beginning of the prompt, where that is a good part of it.
    3. The one with the least to do for its weight; of equal ones that which was given least.

One that has failed last goes after all that have not. 1 and 2 give way where the one they mean has no place, or far
more to do than the idlest: a cache is not worth a queue.

Source: vLLM router, `cache_aware` (match above 0.3; out of balance above 1.5 times the least load and some more).
"""

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Final

import msgspec

from router.models.size import RequestSize

MIN_SHARE: Final = 0.3
"""Of a prompt that a known beginning is to have."""
MAX_RATIO: Final = 1.5
MAX_AHEAD: Final = 8
"""How much more than the idlest one may have to do that is kept for its cache: that many times as much, and so many."""
MAX_REMEMBERED: Final = 8192


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream that could be asked.

    Attributes:
        outstanding: Sequences that it has, or that wait for it.
        parallel: Those that it may have at a time.
        weight: Its share beside the others', above 0.
        has_failed: Whether its last request failed.
        num_given: Requests that it was given in all.
    """

    name: str
    outstanding: int = 0
    parallel: int = 16
    weight: float = 1.0
    has_failed: bool = False
    num_given: int = 0

    @property
    def load(self) -> float:
        """What it has to do for its weight."""
        return self.outstanding / self.weight


class Homes:
    """Who had which session and which beginnings of prompts last; the longest unused are forgotten."""

    def __init__(self) -> None:
        self._homes: OrderedDict[Hashable, str] = OrderedDict()

    def settle(self, model: str, session_id: str | None, size: RequestSize | None, name: str) -> None:
        """Note that an upstream gets a request."""
        keys: list[Hashable] = [] if session_id is None else [(model, session_id)]
        keys += [(model, digest) for digest, _ in (() if size is None else size.beginnings)]
        for key in keys:
            self._homes[key] = name
            self._homes.move_to_end(key)
        while len(self._homes) > MAX_REMEMBERED:
            self._homes.popitem(last=False)

    def of_session(self, model: str, session_id: str | None) -> str | None:
        """Return who had a session last."""
        return None if session_id is None else self._homes.get((model, session_id))

    def of_beginning(self, model: str, size: RequestSize | None) -> str | None:
        """Return who had the longest known beginning of a prompt, where that is a good part of it."""
        beginnings = () if size is None else size.beginnings
        total = max((num_tokens for _, num_tokens in beginnings), default=0)
        for digest, num_tokens in reversed(beginnings):
            if num_tokens < MIN_SHARE * total:
                return None
            home = self._homes.get((model, digest))
            if home is not None:
                return home
        return None


def pick(candidates: Sequence[Candidate], session_home: str | None, beginning_home: str | None) -> str:
    """Return the name of the one that is asked.

    Args:
        candidates: At least one, in the config's order.
        session_home: Who has the session; None = nobody.
        beginning_home: Who had the prompt's beginning; None = nobody.
    """
    sound = [each for each in candidates if not each.has_failed] or list(candidates)
    least = min(each.load for each in sound)
    by_name = {each.name: each for each in sound}
    for home in (session_home, beginning_home):
        candidate = None if home is None else by_name.get(home)
        if candidate is not None and _is_worth_it(candidate, least):
            return candidate.name
    return min(sound, key=lambda each: (each.load, each.num_given / each.weight)).name


def _is_worth_it(candidate: Candidate, least: float) -> bool:
    has_place = candidate.outstanding < candidate.parallel
    return has_place and candidate.load <= MAX_RATIO * least + MAX_AHEAD / candidate.weight
