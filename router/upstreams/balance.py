"""Which of several upstreams of one model is asked: one decision, pure but for the memory of who had what.

First that holds wins:
    1. The one that has the conversation's session: its cache may still be there.
    2. Of those that had the longest beginning of the prompt, where that is a good part of it, the one with the least to
       do; then of those that had a shorter one.
    3. The one with the least to do for its weight; of equal ones that which was given least.

One that has failed last goes after all that have not. 1 and 2 give way where those they mean have no place, or more to
do beyond the idlest than what is in their cache is worth: `tests/bench/bench_upstream_choice.py` simulates it.

Source: vLLM router, `cache_aware` (match above 0.3; out of balance above 1.5 times the least load and some more); that
all who had a beginning count, and how far one may be ahead by what it saves, is ours.
"""

from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Final

import msgspec

from router.models.size import RequestSize

MIN_SHARE: Final = 0.3
"""Of a prompt that a known beginning is to have."""
MAX_RATIO: Final = 1.5
MAX_AHEAD: Final = 8
"""How much more than the idlest one may have to do that is kept for its cache: that many times as much, and so many."""
TOKENS_AHEAD: Final = 1000
"""Prompt tokens that are to be known for each request that one may have more than the idlest."""
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


class Favourite(msgspec.Struct, frozen=True):
    """Who may have the cache of a prompt's beginning.

    Attributes:
        names: Of upstreams, the one that had it last first.
        num_tokens: Prompt tokens that need not be computed there, about; None = not known.
    """

    names: tuple[str, ...]
    num_tokens: int | None = None


class Homes:
    """Who had which session last, and which beginnings of prompts at all; the longest unused are forgotten."""

    def __init__(self) -> None:
        self._homes: OrderedDict[Hashable, dict[str, None]] = OrderedDict()

    def settle(self, model: str, session_id: str | None, size: RequestSize | None, name: str) -> None:
        """Note that an upstream gets a request."""
        if session_id is not None:
            self._homes.pop((model, session_id), None)
            self._note((model, session_id), name)
        for digest, _ in () if size is None else size.beginnings:
            self._note((model, digest), name)
        while len(self._homes) > MAX_REMEMBERED:
            self._homes.popitem(last=False)

    def favourites(self, model: str, session_id: str | None, size: RequestSize | None) -> Iterator[Favourite]:
        """Yield who may have a prompt's cache, the most valuable first."""
        names = () if session_id is None else self._names((model, session_id))
        if names:
            yield Favourite(names, None if size is None else size.num_prompt_tokens)
        beginnings = () if size is None else size.beginnings
        total = max((num_tokens for _, num_tokens in beginnings), default=0)
        for digest, num_tokens in reversed(beginnings):
            if num_tokens < MIN_SHARE * total:
                return
            if names := self._names((model, digest)):
                yield Favourite(names, num_tokens)

    def _note(self, key: Hashable, name: str) -> None:
        names = self._homes.setdefault(key, {})
        names.pop(name, None)
        names[name] = None
        self._homes.move_to_end(key)

    def _names(self, key: Hashable) -> tuple[str, ...]:
        return tuple(reversed(self._homes.get(key, {})))


def pick(candidates: Sequence[Candidate], favourites: Iterable[Favourite] = ()) -> str:
    """Return the name of the one that is asked.

    Args:
        candidates: At least one, in the config's order.
        favourites: Who may have the prompt's cache, the most valuable first.
    """
    sound = [each for each in candidates if not each.has_failed] or list(candidates)
    least = min(each.load for each in sound)
    with_place = {each.name: each for each in sound if each.outstanding < each.parallel}
    for favourite in favourites:
        held = [with_place[name] for name in favourite.names if name in with_place]
        best = min(held, key=lambda each: each.load, default=None)
        if best is not None and best.load <= most_load(best, least, favourite.num_tokens):
            return best.name
    return min(sound, key=lambda each: (each.load, each.num_given / each.weight)).name


def most_load(candidate: Candidate, least: float, num_tokens: int | None) -> float:
    """Return how much a candidate may have to do and still be asked for its cache.

    Args:
        least: What the idlest has to do.
        num_tokens: That the cache saves; None = not known, so as many as may count.
    """
    bound = MAX_RATIO * least + MAX_AHEAD / candidate.weight
    return bound if num_tokens is None else min(bound, least + num_tokens / TOKENS_AHEAD / candidate.weight)
