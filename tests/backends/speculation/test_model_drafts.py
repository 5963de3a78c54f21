"""When a second model drafts under `auto`, by what its drafts and the steps cost; on simulated machines."""

import random
from collections.abc import Callable
from collections.abc import Sequence as Many

import pytest

from backends.batch_limits import BatchLimits
from backends.sequence import Sequence
from backends.speculation.drafter import Drafter, Drafts, Wish
from backends.speculation.model_drafts import Candidate, ModelDrafts
from backends.speculation.speculation import Speculation
from backends.speculation.worth import MAX_CREDIT, SIZES, DraftWorth
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.request import SamplingParams, SpeculationMode
from tests.backends.speculation.test_worth import MEMORY_BOUND, Q4_0, Q4_1, Machine, cost_of

GREEDY = SamplingParams(temperature=0)
STEP_S = 0.01
AUTO, DRAFT, LOOKUP, OFF = SpeculationMode.AUTO, SpeculationMode.DRAFT, SpeculationMode.LOOKUP, SpeculationMode.OFF


class SimulatedDrafter(Drafter):
    """Is right with one probability, and costs as it is told.

    Args:
        share: Of a round, of a main step.
        row_share: Of a row that was missing, of a round.
    """

    def __init__(self, share: float, is_right: Callable[[int], bool], row_share: float = 0.3) -> None:
        self.share = share
        self._row_share = row_share
        self._is_right = is_right
        self._held: dict[int, int] = {}
        self.spent_s = 0.0
        self.num_calls = 0
        self.forgotten: list[int] = []

    def num_missing(self, sequence: Sequence) -> int | None:
        return len(sequence.token_ids) - min(self._held.get(sequence.sequence_id, 0), len(sequence.token_ids) - 1)

    def draft(self, wishes: Many[Wish], least_chance: float) -> Drafts:
        assert 0.1 <= least_chance <= 0.9
        self.num_calls += 1
        num_missing = sum(min(self.num_missing(wish.sequence) or 0, wish.max_missing) for wish in wishes)
        num_rounds = max(wish.num_tokens for wish in wishes)
        num_rows = num_missing + sum(wish.num_tokens - 1 for wish in wishes)
        for wish in wishes:
            self._held[wish.sequence.sequence_id] = len(wish.sequence.token_ids)
        extra = max(0, num_missing - 2 * len(wishes)) * self._row_share
        cpu_s = STEP_S * self.share * (num_rounds + extra)
        self.spent_s += cpu_s
        tokens = [
            tuple(self._token(len(wish.sequence.token_ids) + at) for at in range(wish.num_tokens)) for wish in wishes
        ]
        return Drafts(tokens, num_rounds, num_rows, cpu_s)

    def _token(self, place: int) -> int:
        return place if self._is_right(place) else place + 1_000_000

    def forget(self, sequence_id: int) -> None:
        self.forgotten.append(sequence_id)


def speculation_of(drafter: Drafter | None, mode: SpeculationMode = AUTO) -> Speculation:
    limits = BatchLimits(max_sequences=8, num_slots=8, num_cells=100_000, step_tokens=512)
    return Speculation(limits, mode, {-1}, drafter)


def sequence_of(num_prompt: int, sequence_id: int = 1, mode: SpeculationMode | None = None) -> Sequence:
    """Return a sequence whose token at each place is the place: nothing in it repeats itself."""
    sequence = Sequence(sequence_id, list(range(num_prompt)), num_prompt - 1, 100_000, GREEDY, speculation=mode)
    sequence.num_computed = num_prompt - 1
    return sequence


def run(
    machine: Machine, drafter: SimulatedDrafter, num_tokens: int, speculation: Speculation, sequence: Sequence
) -> float:
    """Return what an answer takes, in steps without drafts."""
    speculation.start(sequence, None)
    spent_s, drafting_before = 0.0, drafter.spent_s
    end = len(sequence.token_ids) + num_tokens
    while len(sequence.token_ids) < end:
        plan = StepPlan((Chunk(sequence, sequence.num_computed, sequence.num_pending),))
        plan = speculation.drafted(plan, 1000)
        (chunk,) = plan.chunks
        place = len(sequence.token_ids)
        num_right = 0
        while num_right < len(chunk.draft) and chunk.draft[num_right] == place + num_right:
            num_right += 1
        drawn = list(range(place, place + num_right + 1))
        cpu_s = STEP_S * cost_of(machine, 1 + len(chunk.draft))
        spent_s += cpu_s
        speculation.on_step(plan, StepResult({}, {sequence.sequence_id: drawn}), cpu_s, 1)
        sequence.token_ids += drawn
        sequence.num_computed = len(sequence.token_ids) - 1
    speculation.forget(sequence.sequence_id)
    return (spent_s + drafter.spent_s - drafting_before) / STEP_S


def rights(share: float, seed: int = 0) -> Callable[[int], bool]:
    return lambda place: random.Random(f"{seed} {place}").random() < share


@pytest.mark.slow
@pytest.mark.parametrize("machine", [Q4_1, Q4_0, MEMORY_BOUND], ids=["Q4_1", "Q4_0", "bound by memory"])
@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("acceptance", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("num_prompt", [50, 5000])
def test_auto_loses_next_to_nothing_whatever_comes(
    machine: Machine, share: float, acceptance: float, num_prompt: int
) -> None:
    drafter = SimulatedDrafter(share, rights(acceptance))
    speculation = speculation_of(drafter)
    spent = [run(machine, drafter, 300, speculation, sequence_of(num_prompt, number)) for number in range(1, 9)]
    assert sum(spent) <= 8 * 300 * 1.03
    assert max(spent) <= 300 * 1.05


@pytest.mark.parametrize(
    ("machine", "share", "acceptance", "least"), [(MEMORY_BOUND, 0.1, 0.8, 1.7), (Q4_0, 0.05, 0.95, 1.25)]
)
@pytest.mark.parametrize("num_prompt", [50, 2000])
def test_a_drafter_that_pays_is_used(
    machine: Machine, share: float, acceptance: float, least: float, num_prompt: int
) -> None:
    drafter = SimulatedDrafter(share, rights(acceptance))
    speculation = speculation_of(drafter)
    run(machine, drafter, 300, speculation, sequence_of(num_prompt))
    assert 300 / run(machine, drafter, 300, speculation, sequence_of(num_prompt, 2)) > least


def test_a_drafter_as_large_as_the_model_is_left_alone() -> None:
    drafter = SimulatedDrafter(1.0, rights(1.0))
    assert run(Q4_0, drafter, 500, speculation_of(drafter), sequence_of(50)) <= 500 * 1.03


@pytest.mark.parametrize("mode", [OFF, LOOKUP])
def test_nobody_is_asked_where_that_is_not_wanted(mode: SpeculationMode) -> None:
    drafter = SimulatedDrafter(0.01, rights(1.0))
    run(MEMORY_BOUND, drafter, 200, speculation_of(drafter, mode), sequence_of(50))
    run(MEMORY_BOUND, drafter, 200, speculation_of(drafter), sequence_of(50, 2, mode))
    assert drafter.num_calls == 0
    assert drafter.forgotten == [1, 2]


def test_a_draft_is_made_at_once_where_it_is_wanted_whatever_it_costs() -> None:
    drafter = SimulatedDrafter(1.0, rights(0.5))
    sequence = sequence_of(3000, mode=DRAFT)
    speculation = speculation_of(drafter)
    run(Q4_1, drafter, 100, speculation, sequence)
    assert sequence.num_drafted == sequence.num_drafted_by_model > 100
    assert 0 < sequence.num_accepted_by_model < sequence.num_drafted_by_model
    assert speculation.num_drafted_by_model == sequence.num_drafted_by_model


def test_what_one_wants_whatever_it_costs_is_not_invested_in_another() -> None:
    worth = DraftWorth()
    for _ in range(5):
        worth.observe(2, 0, 2, STEP_S)
        for size in SIZES:
            worth.observe(1, size - 1, size, STEP_S)
        worth.observe(1, 0, 1, STEP_S)
    drafter = SimulatedDrafter(0.01, rights(1.0))
    drafts = ModelDrafts(drafter, worth)
    drafts.start(1)
    for _ in range(10):
        drafts.on_step(1, 7, 7, 5.0)
    (wish,) = drafts.planned([Candidate(sequence_of(5000), 15, MAX_CREDIT)], 512).wishes
    assert wish is not None
    assert wish.is_investment
    other = Wish(sequence_of(5000, 2, DRAFT), 7, 5000)
    assert drafts.drafted([None, other], 0.3).cpu_s == drafter.spent_s > 10 * STEP_S, "all of it counts as its own"


def test_where_nothing_pays_nothing_is_asked_for_some_steps() -> None:
    drafts = ModelDrafts(SimulatedDrafter(1.0, rights(1.0)), DraftWorth())
    drafts.start(1)
    assert not drafts.rests()
    assert drafts.planned([Candidate(sequence_of(50), 15, MAX_CREDIT)], 512).wishes == [None]
    assert [drafts.rests() for _ in range(8)] == [True] * 7 + [False]


def test_without_a_drafter_that_mode_drafts_nothing() -> None:
    speculation = speculation_of(None, DRAFT)
    sequence = sequence_of(50)
    speculation.start(sequence, None)
    plan = StepPlan((Chunk(sequence, sequence.num_computed, 1),))
    assert speculation.drafted(plan, 100) == plan


@pytest.mark.parametrize("is_full", [True, False])
def test_the_drafter_rests_beside_prompts_and_in_a_full_batch(*, is_full: bool) -> None:
    drafter = SimulatedDrafter(0.01, rights(1.0))
    speculation = speculation_of(drafter, DRAFT)
    sequences = [sequence_of(50, number) for number in range(8 if is_full else 2)]
    if not is_full:
        sequences[-1].num_computed = 0
    for sequence in sequences:
        speculation.start(sequence, None)
    plan = StepPlan(tuple(Chunk(each, each.num_computed, each.num_pending) for each in sequences))
    assert speculation.drafted(plan, 1000) == plan
    assert drafter.num_calls == 0
