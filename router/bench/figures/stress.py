"""What a stress run comes to: verdicts on memory, speed and what was unloaded, by the machine's tier. Pure.

Growth is looked at near the end only: libraries fill their pools in the first rounds. Not here: asking (`cli.stress`).
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final

import msgspec

from router.config.tiers import Tier
from router.status import Swap

MAX_GROWTH: Final = 0.01
"""Of the memory, per round, near the end."""
LEAST_RATE: Final = 15.0
MAX_NEXT_ANSWER_S: Final = 2.0
LEAST_ROUNDS: Final = 6
"""Below that nothing is said of growth."""
MAX_UNANSWERED: Final = 3
"""So many rounds at the start without any answer end a run: there is nothing to be learned from it."""
_MB: Final = 1_000_000
PEAKS_BYTES: Final = {Tier.ULTRA_LOW: 1500 * _MB, Tier.LOW: 2000 * _MB, Tier.STANDARD: 2500 * _MB}
"""The most that mlxr's processes may have had together; larger machines have no such bound but the budget."""


class StressRound(msgspec.Struct, frozen=True, kw_only=True):
    """One round: a question, its answer, and memory after it.

    Attributes:
        number: From 1.
        at_s: When the question was sent, seconds since the run's start.
        first_token_s: Until the first text or thought, load included; None = there was none.
        tokens_per_s: Rate of the answer after its first token; None = too short to tell.
        own_bytes: What server and workers have, after the answer.
        peak_bytes: The most that each of them has had, together.
        available_bytes: Of the machine.
        num_kept_tokens: Of ended answers whose caches the workers keep; None = they do not tell.
        pressure: `normal`, `warning`, `critical` or `emergency`.
        error: Why there is no answer.
    """

    number: int
    at_s: float
    first_token_s: float | None
    num_tokens: int
    tokens_per_s: float | None
    own_bytes: int
    peak_bytes: int
    available_bytes: int
    pressure: str
    num_kept_tokens: int | None = None
    error: str | None = None


class Verdict(msgspec.Struct, frozen=True):
    """One judgement; `is_good` null = not judged here."""

    name: str
    is_good: bool | None
    words: str


def verdicts(
    rounds: Sequence[StressRound],
    swaps: Sequence[Swap],
    tier: Tier,
    *,
    pause_s: float,
    keep_alive_s: float,
    budget_bytes: int | None,
) -> list[Verdict]:
    """Judge a run.

    Args:
        swaps: Loads and unloads during the run.
        keep_alive_s: How long the model is to stay loaded without requests; infinite = for ever.
    """
    return [
        _answers(rounds),
        _growth([each for each in rounds if each.error is None]),
        _peak(rounds, tier, budget_bytes),
        _rate(rounds),
        _next_answer(rounds),
        _unloads(swaps, is_kept=keep_alive_s > pause_s),
    ]


def is_hopeless(rounds: Sequence[StressRound]) -> bool:
    """Tell whether a run is to be given up."""
    return len(rounds) == MAX_UNANSWERED and all(each.error is not None for each in rounds)


def growth_per_round(rounds: Sequence[StressRound]) -> float | None:
    """Return by what share memory grows from round to round near the end: the last third beside the one before."""
    if len(rounds) < LEAST_ROUNDS:
        return None
    third = len(rounds) // 3
    before = statistics.median(each.own_bytes for each in rounds[-2 * third : -third])
    last = statistics.median(each.own_bytes for each in rounds[-third:])
    return (last / before - 1) / third


def _answers(rounds: Sequence[StressRound]) -> Verdict:
    failed = [each for each in rounds if each.error is not None]
    words = f"{len(rounds) - len(failed)} of {len(rounds)} rounds were answered"
    return Verdict("answers", not failed and bool(rounds), words + (f"; {failed[0].error}" if failed else ""))


def _growth(rounds: Sequence[StressRound]) -> Verdict:
    growth = growth_per_round(rounds)
    if growth is None:
        return Verdict("growth", None, f"needs {LEAST_ROUNDS} answered rounds")
    words = f"memory changed by {growth:+.3%} a round near the end (bound {MAX_GROWTH:+.0%})"
    if growth >= MAX_GROWTH and _is_filling(rounds):
        kept = rounds[-1].num_kept_tokens
        return Verdict(
            "growth", None, f"{words}, while the cache of ended answers still fills ({kept} tokens): go on longer"
        )
    return Verdict("growth", growth < MAX_GROWTH, words)


def _is_filling(rounds: Sequence[StressRound]) -> bool:
    """Tell whether answers near the end were kept beside all before them: where one had to go, all is full."""
    told = [each.num_kept_tokens for each in rounds[-2 * (len(rounds) // 3) :]]
    kept = [num for num in told if num is not None]
    return len(kept) == len(told) and kept[0] < kept[-1] and kept == sorted(kept)


def _peak(rounds: Sequence[StressRound], tier: Tier, budget_bytes: int | None) -> Verdict:
    peak = max((each.peak_bytes for each in rounds), default=0)
    bounds = [bound for bound in (PEAKS_BYTES.get(tier), budget_bytes) if bound is not None]
    words = f"server and workers had {peak / 1e9:.2f} GB at most"
    if not bounds:
        return Verdict("peak", None, f"{words}; {tier} has no bound, and there is no memory.budget_bytes")
    return Verdict("peak", peak < min(bounds), f"{words} (bound {min(bounds) / 1e9:.2f} GB)")


def _rate(rounds: Sequence[StressRound]) -> Verdict:
    rates = [each.tokens_per_s for each in rounds if each.tokens_per_s is not None]
    if not rates:
        return Verdict("rate", None, "the answers are too short to tell")
    rate = statistics.median(rates)
    words = f"{rate:.1f} tokens/s in the median, {min(rates):.1f} at least (bound {LEAST_RATE:g})"
    return Verdict("rate", rate >= LEAST_RATE, words)


def _next_answer(rounds: Sequence[StressRound]) -> Verdict:
    """Judge what comes after the first answer; one in twenty may be late, for whatever else the machine does."""
    waits = sorted(each.first_token_s for each in rounds[1:] if each.first_token_s is not None)
    if not waits:
        return Verdict("next answer", None, "there was no second answer")
    late = waits[math.ceil(0.95 * len(waits)) - 1]
    words = f"began after {late:.2f} s in 95 of 100, {waits[-1]:.2f} s at most (bound {MAX_NEXT_ANSWER_S:g} s)"
    return Verdict("next answer", late < MAX_NEXT_ANSWER_S, words)


def _unloads(swaps: Sequence[Swap], *, is_kept: bool) -> Verdict:
    unloads = [swap for swap in swaps if swap.event == "unload"]
    needless = [swap for swap in unloads if not (swap.reason or "").startswith(("memory pressure", "stopped by"))]
    words = f"{len(unloads)} unloads, {len(needless)} without need"
    if not is_kept:
        return Verdict("unloads", None, f"{words}; the model is not to stay for as long as the pause")
    return Verdict("unloads", not needless, words + (f": {needless[0].reason}" if needless else ""))
