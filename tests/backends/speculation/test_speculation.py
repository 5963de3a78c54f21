"""Who gets a draft in a step, and how long it is at most."""

from collections.abc import Sequence as Tokens

from backends.batch_limits import BatchLimits
from backends.logits import Logits, LogitsEditor, Matcher
from backends.sequence import Sequence
from backends.speculation.speculation import Speculation
from backends.step import Chunk, StepPlan, StepResult
from backends.wire.request import SamplingParams, SpeculationMode

END_ID = 2
GREEDY = SamplingParams(temperature=0)
TEXT = list(range(100, 130))
REPEATED = [*TEXT, 1, *TEXT[:10]]
AUTO, LOOKUP, OFF = SpeculationMode.AUTO, SpeculationMode.LOOKUP, SpeculationMode.OFF


class Allowing(Matcher):
    """A constraint that allows so many of any tokens."""

    def __init__(self, num: int) -> None:
        self._num = num

    def mask(self, logits: Logits) -> None:
        raise AssertionError(f"nothing is drawn here: {len(logits)}")

    def accept(self, token_id: int) -> None:
        raise AssertionError(f"nothing is drawn here: {token_id}")

    def num_allowed(self, token_ids: Tokens[int]) -> int:
        return min(self._num, len(token_ids))

    @property
    def is_complete(self) -> bool:
        return False


def speculation_of(
    mode: SpeculationMode = LOOKUP, max_sequences: int = 4, step_tokens: int = 64, max_drafted: int | None = None
) -> Speculation:
    limits = BatchLimits(
        max_sequences=max_sequences,
        num_slots=max_sequences,
        num_cells=1000,
        step_tokens=step_tokens,
        max_drafted=max_drafted,
    )
    return Speculation(limits, mode, {END_ID})


def decoding(
    speculation: Speculation,
    token_ids: list[int] = REPEATED,
    *,
    sequence_id: int = 1,
    max_output_tokens: int = 100,
    mode: SpeculationMode | None = None,
    allowed: int | None = None,
) -> Sequence:
    """Return a sequence whose last token was drawn."""
    sequence = Sequence(sequence_id, list(token_ids), len(token_ids) - 1, max_output_tokens, GREEDY, speculation=mode)
    sequence.num_computed = len(token_ids) - 1
    editor = None if allowed is None else LogitsEditor(GREEDY, Allowing(allowed), ())
    speculation.start(sequence, editor)
    return sequence


def drafts(speculation: Speculation, *sequences: Sequence, num_free_cells: int = 500) -> list[tuple[int, ...]]:
    chunks = tuple(Chunk(sequence, sequence.num_computed, sequence.num_pending) for sequence in sequences)
    plan = StepPlan(chunks, (9,))
    drafted = speculation.drafted(plan, num_free_cells)
    assert drafted.evicted == plan.evicted
    assert [chunk._replace(draft=()) for chunk in drafted.chunks] == list(chunks)
    return [chunk.draft for chunk in drafted.chunks]


def test_an_engine_that_drafts_for_one_alone_is_given_no_drafts_of_two() -> None:
    speculation = speculation_of(max_drafted=1)
    first, second = (decoding(speculation, sequence_id=number) for number in (1, 2))
    assert drafts(speculation, first, second) == [(), ()]
    assert drafts(speculation, first) != [()]


def test_what_repeats_itself_is_drafted() -> None:
    speculation = speculation_of()
    assert drafts(speculation, decoding(speculation)) == [tuple(TEXT[10:17])]


def test_nothing_is_drafted_beside_a_prompt() -> None:
    speculation = speculation_of()
    prompt = Sequence(2, list(range(50)), 50, 10, GREEDY)
    speculation.start(prompt, None)
    assert drafts(speculation, decoding(speculation), prompt) == [(), ()]


def test_nothing_is_drafted_in_a_full_batch() -> None:
    speculation = speculation_of(max_sequences=2)
    first, second = decoding(speculation), decoding(speculation, sequence_id=2)
    assert drafts(speculation, first, second) == [(), ()]
    assert drafts(speculation, first) != [()]
    alone = speculation_of(max_sequences=1)
    assert drafts(alone, decoding(alone)) != [()], "where one is all, it is not full of others"


def test_a_draft_takes_only_cells_and_rows_that_are_free() -> None:
    speculation = speculation_of()
    sequence = decoding(speculation)
    assert [len(draft) for draft in drafts(speculation, sequence, num_free_cells=3)] == [3]
    assert drafts(speculation, sequence, num_free_cells=0) == [()]
    narrow = speculation_of(step_tokens=5)
    assert [len(draft) for draft in drafts(narrow, decoding(narrow))] == [4]
    shared = speculation_of()
    both = decoding(shared), decoding(shared, sequence_id=2)
    assert [len(draft) for draft in drafts(shared, *both, num_free_cells=5)] == [2, 2]


def test_a_draft_ends_before_the_answers_limit_and_before_an_end() -> None:
    speculation = speculation_of()
    assert [len(draft) for draft in drafts(speculation, decoding(speculation, max_output_tokens=5))] == [3]
    assert drafts(speculation, decoding(speculation, sequence_id=2, max_output_tokens=2)) == [()]
    ending = [*TEXT[:12], END_ID, *TEXT[12:], 1, *TEXT[:10]]
    assert drafts(speculation, decoding(speculation, ending, sequence_id=3)) == [(110, 111)]


def test_a_constraint_cuts_the_draft() -> None:
    speculation = speculation_of()
    assert drafts(speculation, decoding(speculation, allowed=2)) == [(110, 111)]
    assert drafts(speculation, decoding(speculation, sequence_id=2, allowed=0)) == [()]


def test_a_request_goes_before_the_load() -> None:
    speculation = speculation_of(OFF)
    assert drafts(speculation, decoding(speculation)) == [()]
    assert drafts(speculation, decoding(speculation, sequence_id=2, mode=LOOKUP)) != [()]
    speculation = speculation_of(LOOKUP)
    assert drafts(speculation, decoding(speculation, mode=OFF)) == [()]


def test_auto_waits_until_it_has_seen_what_steps_cost() -> None:
    speculation = speculation_of(AUTO)
    sequence = decoding(speculation)
    assert drafts(speculation, sequence) == [()]
    plan = StepPlan((Chunk(sequence, sequence.num_computed, 1),))
    for _ in range(30):
        speculation.on_step(plan, StepResult({1: 1}, {1: [5]}), 0.007, None)
    assert [len(draft) for draft in drafts(speculation, sequence)] == [3]


def test_what_was_drafted_and_right_is_counted() -> None:
    speculation = speculation_of()
    sequence = decoding(speculation)
    plan = speculation.drafted(StepPlan((Chunk(sequence, sequence.num_computed, 1),)), 100)
    speculation.on_step(plan, StepResult({1: 45}, {1: [110, 111, 7]}), 0.01, None)
    assert (sequence.num_drafted, sequence.num_accepted) == (7, 2)
    assert (speculation.num_drafted, speculation.num_accepted) == (7, 2)
    speculation.forget(1)
    speculation.forget(1)
    assert drafts(speculation, sequence) == [()]
