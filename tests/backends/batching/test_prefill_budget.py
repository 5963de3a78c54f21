"""The pace on simulated machines: how long the steps become that it allows."""

import random
import statistics
from collections.abc import Callable

import pytest

from backends.batching.prefill_budget import (
    MAX_SLOWDOWN,
    MIN_TOKENS,
    PROBE_INTERVAL,
    SAFE_TOKENS,
    SHORT_PREFILL_TOKENS,
    PrefillBudget,
)

Machine = Callable[[int, int], float]
"""Seconds that a step takes, by the tokens it decodes and those it prefills."""


def cpu(num_decode: int, num_prefill: int) -> float:
    """A small model on two cores."""
    return 0.006 + 0.0035 * num_decode + 0.0043 * num_prefill


def gpu(num_decode: int, num_prefill: int) -> float:
    """Prefill is a launch of its own, and cheap by the token."""
    return 0.008 + 0.0002 * num_decode + (0.006 + 0.0001 * num_prefill if num_prefill else 0.0)


def deep(num_decode: int, num_prefill: int) -> float:
    """A large model on a slow machine."""
    return 0.3 + 0.01 * num_decode + 0.08 * num_prefill


MACHINES = pytest.mark.parametrize("machine", [cpu, gpu, deep], ids=lambda machine: machine.__name__)


def allowed_s(machine: Machine, num_decode: int) -> float:
    """Return how long a step beside that many streams may take."""
    return 1.01 * max(MAX_SLOWDOWN * machine(num_decode, 0), machine(num_decode, MIN_TOKENS))


def mixed_steps(pace: PrefillBudget, machine: Machine, num_decode: int, num: int) -> tuple[list[int], list[float]]:
    """Do steps of both kinds of work; return their prefill tokens and durations."""
    budgets, durations = [], []
    for _ in range(num):
        budgets.append(pace.budget(num_decode, 512))
        durations.append(machine(num_decode, budgets[-1]))
        pace.observe(num_decode, budgets[-1], durations[-1])
    return budgets, durations


@MACHINES
@pytest.mark.parametrize("num_decode", [1, 4, 8])
def test_steps_with_prefill_stay_within_the_promise_once_the_machine_is_known(
    machine: Machine, num_decode: int
) -> None:
    pace = PrefillBudget()
    pace.observe(0, 300, machine(0, 300))
    for _ in range(10):
        pace.observe(num_decode, 0, machine(num_decode, 0))
    budgets, durations = mixed_steps(pace, machine, num_decode, 400)
    alone_s = machine(num_decode, 0)
    assert max(durations) <= 3 * alone_s
    assert durations[-2] <= allowed_s(machine, num_decode)
    assert durations[-2] > 1.5 * alone_s, "what is allowed is used"
    assert budgets.count(0) == 400 // (PROBE_INTERVAL + 1)


def test_the_first_step_with_prefill_uses_what_prefill_alone_cost() -> None:
    pace = PrefillBudget()
    pace.observe(0, 512, cpu(0, 512))
    pace.observe(1, 0, cpu(1, 0))
    assert cpu(1, pace.budget(1, 512)) <= allowed_s(cpu, 1)


def test_an_unknown_machine_gets_a_safe_budget() -> None:
    assert PrefillBudget().budget(1, 512) == SAFE_TOKENS
    assert PrefillBudget().budget(1, 5) == 5


def test_prefill_never_starves_and_never_exceeds_the_step() -> None:
    slow, fast = PrefillBudget(), PrefillBudget()
    for pace in (slow, fast):
        pace.observe(1, 0, 0.01)
    for _ in range(20):
        slow.observe(1, 1, 5.0)
        fast.observe(1, fast.budget(1, 40), 0.01)
    assert slow.budget(1, 512) == MIN_TOKENS
    assert slow.budget(1, 2) == 2
    assert fast.budget(1, 40) == 40


@pytest.mark.parametrize("seed", range(5))
def test_hiccups_of_the_machine_change_nothing(seed: int) -> None:
    """One step in ten takes ten times as long, all others vary by a tenth."""
    rng = random.Random(seed)

    def noisy(num_decode: int, num_prefill: int) -> float:
        return cpu(num_decode, num_prefill) * (10 if rng.random() < 0.1 else rng.uniform(0.9, 1.1))

    pace = PrefillBudget()
    for _ in range(10):
        pace.observe(4, 0, noisy(4, 0))
    budgets, _ = mixed_steps(pace, noisy, 4, 300)
    quiet = [cpu(4, budget) for budget in budgets[20:]]
    assert statistics.quantiles(quiet, n=20)[-1] <= 3 * cpu(4, 0)
    assert statistics.median(quiet) >= 1.5 * cpu(4, 0)


def test_it_follows_a_machine_that_becomes_slower_in_prefill() -> None:
    pace = PrefillBudget()
    pace.observe(4, 0, cpu(4, 0))
    before, _ = mixed_steps(pace, cpu, 4, 40)

    def slower(num_decode: int, num_prefill: int) -> float:
        return cpu(num_decode, 3 * num_prefill)

    after, durations = mixed_steps(pace, slower, 4, 40)
    assert after[-1] < before[-1]
    assert durations[-1] <= allowed_s(slower, 4)


def test_it_follows_a_machine_that_others_use_as_well_now() -> None:
    """All takes ten times as long; the budget must not shrink, as if only prefill had become slower."""
    pace = PrefillBudget()
    for _ in range(10):
        pace.observe(1, 0, cpu(1, 0))
    before, _ = mixed_steps(pace, cpu, 1, 20)
    after, _ = mixed_steps(pace, lambda d, p: 10 * cpu(d, p), 1, 200)
    assert after[-1] == before[-1]


def test_more_streams_have_longer_steps_and_take_more_prefill() -> None:
    pace = PrefillBudget()
    pace.observe(0, 512, cpu(0, 512))
    for num_decode in (1, 8):
        pace.observe(num_decode, 0, cpu(num_decode, 0))
    assert pace.budget(8, 512) > 2 * pace.budget(1, 512)
    assert pace.budget(16, 512) == pace.budget(8, 512), "the next fewer that is known"


def test_short_prompts_get_what_half_a_second_takes() -> None:
    pace = PrefillBudget()
    assert 1 <= pace.short_budget(512) <= SHORT_PREFILL_TOKENS, "nothing is known yet"
    pace.observe(0, 100, 100 * 0.004)
    assert pace.short_budget(512) == 125
    assert pace.short_budget(50) == 50
    pace = PrefillBudget()
    pace.observe(0, 2, 4.0)
    assert pace.short_budget(512) == 1
