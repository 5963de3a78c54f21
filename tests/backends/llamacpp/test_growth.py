"""How many cells a context begins with and grows to: the decisions alone."""

import pytest

from backends.llamacpp.growth import ANSWER_TOKENS, first_size, larger_sizes, num_expected, num_rows, relieved
from backends.sequence import Sequence
from backends.step import Chunk, StepPlan
from backends.wire.request import SamplingParams


def sequence_of(num_tokens: int, *, num_computed: int = 0, max_output_tokens: int = 10) -> Sequence:
    greedy = SamplingParams(temperature=0)
    return Sequence(1, [40] * num_tokens, num_tokens, max_output_tokens, greedy, num_computed=num_computed)


@pytest.mark.parametrize(
    ("num_promised", "num_first", "least", "expected"),
    [
        (65_536, None, (), 65_536),
        (65_536, 8192, (), 8192),
        (4096, 8192, (), 4096),
        (65_536, 8192, (16_385,), 16_640),
        (65_536, 1, (), 256),
    ],
)
def test_what_a_context_begins_with(
    num_promised: int, num_first: int | None, least: tuple[int, ...], expected: int
) -> None:
    assert first_size(num_promised, num_first, least) == expected


@pytest.mark.parametrize(
    ("num_cells", "num_needed", "num_wanted", "expected"),
    [
        (8192, 8193, 0, [16_384, 8448]),
        (8192, 20_000, 21_000, [21_248, 20_224]),
        (8192, 8193, 60_000, [65_536, 8448]),
        (32_768, 32_800, 0, [65_536, 33_024]),
        (8192, 90_000, 0, [65_536]),
        (65_536, 65_537, 0, []),
    ],
    ids=["doubled", "as far as is known", "nearly all is all", "the last time", "no more than all", "all"],
)
def test_what_a_context_grows_to(num_cells: int, num_needed: int, num_wanted: int, expected: list[int]) -> None:
    sizes = larger_sizes(num_cells, 65_536, num_needed=num_needed, num_wanted=num_wanted)
    assert sizes == expected, "the best one, and the least"


def test_answers_are_expected_to_be_as_long_as_they_may_but_not_endless() -> None:
    short, endless = sequence_of(100, max_output_tokens=20), sequence_of(50, num_computed=40, max_output_tokens=60_000)
    plan = StepPlan((Chunk(short, 0, 30), Chunk(endless, 40, 10, draft=(1, 2))))
    assert num_expected(plan) == 100 + 20 + 10 + ANSWER_TOKENS
    assert num_rows(plan) == 30 + 10 + 2


def test_drafts_go_before_a_sequence_does_and_then_the_longest_of_the_last() -> None:
    running, long, last = sequence_of(10, num_computed=9), sequence_of(50), sequence_of(50)
    plan = StepPlan((Chunk(running, 9, 1, draft=(7,)), Chunk(long, 0, 30), Chunk(last, 0, 30)))
    without_drafts, nobody = relieved(plan)
    assert nobody is None
    assert num_rows(without_drafts) == num_rows(plan) - 1
    rest, ended = relieved(without_drafts)
    assert ended is last
    assert [chunk.sequence for chunk in rest.chunks] == [running, long]
