"""Where in a prompt the state of a cache that cannot be cut is kept: pure arithmetic over indices.

A place is a number of first tokens. A later prompt begins from the last place within what it shares with this one, so
what counts is how much lies between the end of what is shared and the place before it.
"""

from collections.abc import Iterable, Sequence
from typing import Final

GAP_TOKENS: Final = 256
"""Fewer tokens between two places are computed in no time, and each place is the end of a step's chunk."""
BORDER_GAP_TOKENS: Final = 512
SPACING_TOKENS: Final = 2048
"""The most tokens without a place."""
HEAD_TOKENS: Final = 16
"""More than templates write to begin an answer."""
NEAR_TAIL_TOKENS: Final = 32
"""A place where others part may be nearer to the last one, which is of no use to them."""


def checkpoint_places(
    begin: int,
    num_prompt_tokens: int,
    *,
    borders: Sequence[int] = (),
    shared: Iterable[int] = (),
    num_affordable: int | None = None,
) -> tuple[int, ...]:
    """Return after which of a prompt's tokens its state is to be kept, ascending; none in a short one that came once.

    One where the answer's turn begins, or before the last token: there begins who has the same prompt, or this one as
    history, whatever became of the answer and of what the template writes before it. One where the last message begins,
    for those who end with another one. Others where prompts are known to part, then at borders of messages, then in
    long stretches without any.

    Args:
        begin: First tokens that are cached already; all places are behind them.
        borders: Where messages begin, ascending.
        shared: How much the prompt has in common with others that are known.
        num_affordable: How many at most, >= 1; None = as many as are of use.
    """
    tail, shared = _answer_head(num_prompt_tokens, borders), sorted(shared)
    if num_prompt_tokens < GAP_TOKENS and not (shared and shared[-1] >= tail >= NEAR_TAIL_TOKENS):
        return ()
    if tail <= begin:
        return ()
    chosen = [begin, tail]
    for place in shared:
        _insert(chosen, place, NEAR_TAIL_TOKENS)
    last_border = max((border for border in borders if border < tail), default=0)
    _insert(chosen, last_border, 1)
    most = None if num_affordable is None else max(1, num_affordable)
    _fill(chosen, borders, BORDER_GAP_TOKENS if most is None else max(BORDER_GAP_TOKENS, (tail - begin) // most))
    places = chosen[1:]
    while most is not None and len(places) > most:
        places.remove(_least_missed(begin, places))
    return tuple(places)


def _answer_head(num_prompt_tokens: int, borders: Sequence[int]) -> int:
    """Return where what the template writes before an answer begins; the last token is always left out."""
    least = num_prompt_tokens - HEAD_TOKENS
    return next((border for border in borders if least <= border < num_prompt_tokens), num_prompt_tokens - 1)


def _fill(chosen: list[int], borders: Sequence[int], gap: int) -> None:
    """Add borders that are `gap` apart, and other places where there are none for long."""
    last, spacing = chosen[0], max(SPACING_TOKENS, gap)
    for border in [*borders, chosen[-1]]:
        while border - last > spacing:
            last += spacing
            _insert(chosen, last)
        if border - last >= (GAP_TOKENS if last == chosen[0] else gap) and _insert(chosen, border):
            last = border


def _insert(chosen: list[int], place: int, tail_gap: int | None = None) -> bool:
    """Add a place that is far enough from all others; the first and the last one are given.

    Args:
        tail_gap: How far from the last one; None = as far as from others.
    """
    is_inside = chosen[0] < place <= chosen[-1] - (GAP_TOKENS if tail_gap is None else tail_gap)
    if not is_inside or any(abs(place - other) < GAP_TOKENS for other in chosen[:-1]):
        return False
    chosen.append(place)
    chosen.sort()
    return True


def _least_missed(begin: int, places: list[int]) -> int:
    """Return the place, but for the last, whose neighbours are the nearest to each other."""
    if len(places) == 1:
        return places[0]
    before = [begin, *places[:-2]]
    return min(zip(before, places, places[1:], strict=False), key=lambda three: three[2] - three[0])[1]
