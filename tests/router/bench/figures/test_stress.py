"""What a stress run comes to."""

import math
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.bench.figures.stress import StressRound, Verdict, growth_per_round, is_hopeless, verdicts
from router.config.tiers import Tier
from router.status import Swap

MB = 1_000_000


def rounds_of(*own_mb: float, **fields: Any) -> list[StressRound]:
    plain = {"first_token_s": 0.2, "num_tokens": 90, "tokens_per_s": 40.0, "available_bytes": 1, "pressure": "normal"}
    return [
        StressRound(
            number=number,
            at_s=number,
            own_bytes=int(size * MB),
            peak_bytes=int(size * MB),
            **plain | fields,  # type: ignore[arg-type]
        )
        for number, size in enumerate(own_mb, 1)
    ]


def judged(rounds: list[StressRound], *swaps: Swap, tier: Tier = Tier.STANDARD, **facts: Any) -> dict[str, Verdict]:
    known: dict[str, Any] = {"pause_s": 2.0, "keep_alive_s": 300.0, "budget_bytes": None} | facts
    return {verdict.name: verdict for verdict in verdicts(rounds, swaps, tier, **known)}


def unload(reason: str) -> Swap:
    return Swap(at=1.0, event="unload", model="m", engine="mlx", reason=reason)


def test_a_good_run_is_good_in_all_respects() -> None:
    found = judged(rounds_of(*[300, 400, 450, *[460] * 9]))
    assert {name: verdict.is_good for name, verdict in found.items()} == dict.fromkeys(found, True)
    assert set(found) == {"answers", "growth", "peak", "rate", "next answer", "unloads"}


@pytest.mark.parametrize(
    ("name", "run", "facts"),
    [
        ("answers", rounds_of(*[400] * 6, error="out of luck"), {}),
        ("answers", [], {}),
        ("growth", rounds_of(*[400 * 1.02**number for number in range(12)]), {}),
        ("peak", rounds_of(*[2600] * 6), {}),
        ("peak", rounds_of(*[600] * 6), {"tier": Tier.DESKTOP, "budget_bytes": 500 * MB}),
        ("rate", rounds_of(*[400] * 6, tokens_per_s=14.9), {}),
        ("next answer", rounds_of(*[400] * 6, first_token_s=2.1), {}),
    ],
)
def test_what_is_wrong_is_named(name: str, run: list[StressRound], facts: dict[str, Any]) -> None:
    assert judged(run, **facts)[name].is_good is False


@pytest.mark.parametrize(
    ("reason", "is_good"), [("idle", False), ("died", False), ("memory pressure (critical): 90%", True)]
)
def test_an_unload_needs_a_reason(reason: str, *, is_good: bool) -> None:
    assert judged(rounds_of(400), unload(reason))["unloads"].is_good is is_good


def test_what_a_tier_does_not_promise_is_not_judged() -> None:
    found = judged(rounds_of(400), unload("idle"), tier=Tier.DESKTOP, keep_alive_s=1.0)
    assert {name for name, verdict in found.items() if verdict.is_good is None} == {
        "growth",
        "peak",
        "next answer",
        "unloads",
    }


def test_the_first_answer_may_load_and_one_in_twenty_may_be_late() -> None:
    late = rounds_of(400, first_token_s=9.0) + rounds_of(*[400] * 20) + rounds_of(400, first_token_s=3.0)
    assert judged(late)["next answer"].is_good


def test_rounds_without_answers_tell_nothing_of_memory_and_end_a_run_that_begins_with_them() -> None:
    failed = rounds_of(*[400] * 3, error="no such model")
    assert judged(failed * 4)["growth"].is_good is None
    assert is_hopeless(failed)
    assert not is_hopeless(failed[:2])
    assert not is_hopeless([*failed[:2], *rounds_of(400)])
    assert not is_hopeless([*rounds_of(400), *failed])


def test_growth_is_no_fault_while_what_is_kept_of_answers_fills_up() -> None:
    run = rounds_of(*[400 * 1.02**number for number in range(12)])

    def growth(kept: Sequence[int | None]) -> Verdict:
        pairs = zip(run, kept, strict=True)
        return judged([msgspec.structs.replace(each, num_kept_tokens=num) for each, num in pairs])["growth"]

    assert growth([100 * number for number in range(12)]).is_good is None
    assert "1100 tokens" in growth([100 * number for number in range(12)]).words
    assert growth([*(100 * number for number in range(8)), 690, 690, 700, 680]).is_good is False
    assert growth([None] * 12).is_good is False


@given(st.lists(st.floats(1, 1e6), min_size=6, max_size=60), st.floats(0.5, 2))
def test_growth_is_a_share_whatever_the_size(sizes: list[float], factor: float) -> None:
    one, other = growth_per_round(rounds_of(*sizes)), growth_per_round(rounds_of(*[size * factor for size in sizes]))
    assert one is not None
    assert other is not None
    assert math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-3)
