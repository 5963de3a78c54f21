"""What drafts bring and lose on answers of a real model, by costs that were measured.

`recorded_answers.json` has answers of SmolLM2-135M (Q4_0) to prompts as `tests/bench/bench_speculation.py` has them.
"""

import random
from pathlib import Path

import msgspec
import pytest

from backends.speculation.lookup import TokenLookup
from backends.speculation.worth import FIRST_CREDIT, SHARE, DraftWorth, Offer, credited
from tests.backends.speculation.test_worth import MACHINES, Machine, cost_of


class Recorded(msgspec.Struct, frozen=True):
    """An answer behind its prompt."""

    task: str
    temperature: float
    num_prompt_tokens: int
    token_ids: list[int]


RECORDED = msgspec.json.decode(Path(__file__).with_name("recorded_answers.json").read_bytes(), type=list[Recorded])


def gain_of(recorded: Recorded, machine: Machine, worth: DraftWorth) -> float:
    """Return how many times quicker an answer comes than without drafts."""
    token_ids, place = recorded.token_ids, recorded.num_prompt_tokens + 1
    num_tokens = len(token_ids) - place
    lookup, spent, credit = TokenLookup(), 0.0, FIRST_CREDIT
    while place < len(token_ids):
        draft = lookup.draft(token_ids[:place], min(15, len(token_ids) - place - 1))
        (length,) = worth.lengths([Offer(len(draft), lookup.acceptance, credit)], 512).tokens
        num_right = 0
        while num_right < length and draft[num_right] == token_ids[place + num_right]:
            num_right += 1
        cost = cost_of(machine, 1 + length)
        spent += cost
        told = worth.observe(1, length, num_right + 1, cost * 0.007)
        credit = credited(credit, num_right + 1 - told if length else SHARE)
        place += num_right + 1
    return num_tokens / spent


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
@pytest.mark.parametrize("seed", range(3))
def test_no_answer_takes_longer_by_more_than_what_it_may_lose(machine: Machine, seed: int) -> None:
    worth = DraftWorth()
    answers = RECORDED * 2
    random.Random(seed).shuffle(answers)
    for recorded in answers:
        num_tokens = len(recorded.token_ids) - recorded.num_prompt_tokens - 1
        assert 1 / gain_of(recorded, machine, worth) <= 1 + SHARE + (FIRST_CREDIT + 1) / num_tokens, recorded.task


@pytest.mark.parametrize(
    ("name", "least_copy", "least_mean"),
    [("Q4_1", 1.1, 1.0), ("Q4_0", 1.5, 1.04), ("Q8_0", 1.5, 1.05), ("bound by memory", 4.0, 1.3)],
)
def test_copies_come_quicker_and_all_together_do(name: str, least_copy: float, least_mean: float) -> None:
    worth = DraftWorth()
    gains = {(each.task, each.temperature): gain_of(each, MACHINES[name], worth) for each in RECORDED * 2}
    assert gains["code edit", 0.0] >= least_copy
    assert sum(gains.values()) / len(gains) >= least_mean
