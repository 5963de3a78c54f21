"""The logits' editor against plain loops over plain numbers, and its reports against exact arithmetic."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.errors import ConstraintError
from backends.logits import (
    LOWEST_LOGPROB,
    Candidate,
    HeldEnds,
    Likelihoods,
    Logits,
    LogitsEditor,
    Matcher,
    create_editor,
    label_likelihoods,
    likelihoods,
    score,
)
from backends.wire.request import SamplingParams

VOCAB_SIZE = 24
LOGIT = st.floats(-40, 40, width=32)
ROW = st.lists(st.one_of(LOGIT, st.just(-math.inf)), min_size=VOCAB_SIZE, max_size=VOCAB_SIZE)
TOKENS = st.lists(st.integers(0, VOCAB_SIZE + 3), max_size=40)
WINDOW = st.one_of(st.none(), st.integers(1, 45))
SAMPLING = st.builds(
    SamplingParams,
    repetition_penalty=st.one_of(st.just(1.0), st.floats(0.1, 4)),
    repetition_window=WINDOW,
    frequency_penalty=st.one_of(st.just(0.0), st.floats(-2, 2)),
    presence_penalty=st.one_of(st.just(0.0), st.floats(-2, 2)),
    penalty_window=WINDOW,
    logit_bias=st.lists(st.tuples(st.integers(-2, VOCAB_SIZE + 3), st.floats(-100, 100)), max_size=6).map(tuple),
    num_logprobs=st.one_of(st.none(), st.integers(0, 20)),
)


class OddMatcher(Matcher):
    """Allows tokens with the parity of the number of tokens so far."""

    def __init__(self, num_tokens: int = 0) -> None:
        self.num_tokens = num_tokens
        self.accepted: list[int] = []

    def mask(self, logits: Logits) -> None:
        logits[(self.num_tokens + 1) % 2 :: 2] = -np.inf

    def accept(self, token_id: int) -> None:
        self.num_tokens += 1
        self.accepted.append(token_id)

    @property
    def is_complete(self) -> bool:
        return False


def row_of(values: list[float]) -> Logits:
    return np.array(values, np.float32)


def reference(values: list[float], sampling: SamplingParams, prompt: list[int], answer: list[int]) -> list[float]:
    """Return what `edit` without a matcher is to make of a row, in the order that SamplingParams documents."""
    edited = list(values)
    for token_id, bias in sampling.logit_bias:
        if 0 <= token_id < len(edited):
            edited[token_id] += bias
    seen = prompt + answer
    if sampling.repetition_window is not None:
        seen = seen[-sampling.repetition_window :]
    counted = answer if sampling.penalty_window is None else answer[-sampling.penalty_window :]
    counts = Counter(counted)
    for token_id in range(len(edited)):
        if token_id in seen and edited[token_id] > 0:
            edited[token_id] /= sampling.repetition_penalty
        elif token_id in seen:
            edited[token_id] *= sampling.repetition_penalty
        if token_id in counts:
            edited[token_id] -= counts[token_id] * sampling.frequency_penalty + sampling.presence_penalty
    return edited


class TestEdit:
    @given(rows=st.lists(ROW, min_size=1, max_size=4), sampling=SAMPLING, prompt=TOKENS, tokens=TOKENS)
    @settings(deadline=None)
    def test_is_what_plain_loops_give(
        self, rows: list[list[float]], sampling: SamplingParams, prompt: list[int], tokens: list[int]
    ) -> None:
        editor = LogitsEditor(sampling, None, prompt)
        for token_id in tokens:
            editor.accept(token_id)
        answer = list(tokens)
        for number, values in enumerate(rows):
            row = row_of(values)
            editor.edit(row)
            assert row == pytest.approx(reference(values, sampling, prompt, answer), rel=1e-5, abs=1e-4)
            editor.accept(number)
            answer.append(number)

    @given(values=ROW, sampling=SAMPLING, prompt=TOKENS, tokens=TOKENS)
    @settings(deadline=None)
    def test_the_mask_comes_last_and_is_followed(
        self, values: list[float], sampling: SamplingParams, prompt: list[int], tokens: list[int]
    ) -> None:
        matcher = OddMatcher()
        masked, plain = LogitsEditor(sampling, matcher, prompt), LogitsEditor(sampling, None, prompt)
        for token_id in tokens:
            masked.accept(token_id)
            plain.accept(token_id)
        assert matcher.accepted == tokens, "the prompt is none of the matcher's business"
        row, expected = row_of(values), row_of(values)
        masked.edit(row)
        plain.edit(expected)
        expected[(len(tokens) + 1) % 2 :: 2] = -np.inf
        assert row.tolist() == expected.tolist()

    @given(values=ROW, sampling=SAMPLING, tokens=TOKENS)
    @settings(deadline=None)
    def test_editing_again_without_a_draw_gives_the_same(
        self, values: list[float], sampling: SamplingParams, tokens: list[int]
    ) -> None:
        editor = LogitsEditor(sampling, OddMatcher(), tokens)
        first, second = row_of(values), row_of(values)
        editor.edit(first)
        editor.edit(second)
        assert first.tolist() == second.tolist()

    @pytest.mark.parametrize("penalty", [5e-324, 1e-30, 1e30, 1.7e308])
    def test_extreme_penalties_give_numbers_in_their_order(self, penalty: float) -> None:
        editor = LogitsEditor(SamplingParams(repetition_penalty=penalty), None, [0, 1, 2, 3, 4])
        row = row_of([3.0, -3.0, 0.0, -math.inf, 1e30, 1.0])
        editor.edit(row)
        assert not np.isnan(row).any()
        assert not np.isposinf(row).any()
        assert row[3] == -math.inf
        assert row[5] == 1
        assert row[0] >= row[2] >= row[1]

    def test_nothing_wanted_changes_nothing(self) -> None:
        row = row_of([1.0, 2.0, 3.0])
        editor = LogitsEditor(SamplingParams(), None, [0, 1])
        editor.edit(row)
        assert row.tolist() == [1, 2, 3]
        assert editor.accept(2) is None

    def test_biases_of_one_token_add_up(self) -> None:
        row = row_of([1.0, 2.0])
        LogitsEditor(SamplingParams(logit_bias=((1, 3.0), (1, -1.0))), None, []).edit(row)
        assert row.tolist() == [1, 4]

    def test_the_prompt_counts_for_repetition_and_not_for_the_other_penalties(self) -> None:
        row = row_of([4.0, 4.0, 4.0])
        sampling = SamplingParams(repetition_penalty=2, frequency_penalty=1, presence_penalty=0.5)
        editor = LogitsEditor(sampling, None, [0, 0])
        editor.accept(1)
        editor.accept(1)
        editor.edit(row)
        assert row.tolist() == [2, 2 - 2.5, 4]

    def test_a_matchers_error_passes(self) -> None:
        class FailingMatcher(OddMatcher):
            def mask(self, logits: Logits) -> None:
                del logits
                raise ConstraintError("too complex", param="grammar")

        editor = LogitsEditor(SamplingParams(), FailingMatcher(), [])
        with pytest.raises(ConstraintError, match="too complex"):
            editor.edit(row_of([1.0]))


class TestAccept:
    @given(values=ROW, sampling=SAMPLING, prompt=TOKENS, drawn=st.integers(0, VOCAB_SIZE - 1))
    @settings(deadline=None)
    def test_reports_what_the_model_thought_before_any_edit(
        self, values: list[float], sampling: SamplingParams, prompt: list[int], drawn: int
    ) -> None:
        editor = LogitsEditor(sampling, OddMatcher(), prompt)
        editor.edit(row_of(values))
        report = editor.accept(drawn)
        if sampling.num_logprobs is None:
            assert report is None
        else:
            assert report == likelihoods(row_of(values), drawn, sampling.num_logprobs)

    @pytest.mark.parametrize("bias", [(), ((0, 5.0),)])
    def test_a_dropped_draw_leaves_no_report(self, bias: tuple[tuple[int, float], ...]) -> None:
        """The second row counts, as after a pause; and every report is given once."""
        editor = LogitsEditor(SamplingParams(num_logprobs=1, logit_bias=bias), None, [])
        editor.edit(row_of([5.0, 1.0]))
        editor.edit(row_of([0.0, 0.0]))
        report = editor.accept(1)
        assert report is not None
        assert report.drawn.logprob == pytest.approx(math.log(0.5))
        assert editor.accept(1) is None


def exact(values: list[float], drawn: int, num_top: int) -> Likelihoods:
    """The same report by sorting everything in double precision."""
    from backends.logits import Candidate

    numbers = [float(value) for value in row_of(values)]
    best = max(numbers)
    normalizer = best + math.log(math.fsum(math.exp(value - best) for value in numbers))

    def candidate(token_id: int) -> Candidate:
        return Candidate(token_id, max(numbers[token_id] - normalizer, LOWEST_LOGPROB))

    order = sorted((i for i in range(len(numbers)) if numbers[i] > -math.inf), key=lambda i: (-numbers[i], i))
    return Likelihoods(candidate(drawn), tuple(candidate(token_id) for token_id in order[:num_top]))


def assert_equal(report: Likelihoods, expected: Likelihoods) -> None:
    assert [c.token_id for c in report.top] == [c.token_id for c in expected.top]
    assert [c.logprob for c in report.top] == pytest.approx([c.logprob for c in expected.top], abs=1e-4)
    assert report.drawn.token_id == expected.drawn.token_id
    assert report.drawn.logprob == pytest.approx(expected.drawn.logprob, abs=1e-4)


class TestLikelihoods:
    @given(
        values=st.lists(st.one_of(LOGIT, st.just(-math.inf), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60),
        num_top=st.integers(0, 20),
        data=st.data(),
    )
    @settings(deadline=None)
    def test_are_exact(self, values: list[float], num_top: int, data: st.DataObject) -> None:
        if max(values) == -math.inf:
            values[0] = 0.0
        drawn = data.draw(st.integers(0, len(values) - 1))
        assert_equal(likelihoods(row_of(values), drawn, num_top), exact(values, drawn, num_top))

    @pytest.mark.parametrize("vocab_size", [127, 128, 129, 2559, 2560, 2561, 49_152])
    @pytest.mark.parametrize("num_top", [0, 1, 5, 20])
    @pytest.mark.parametrize("num_levels", [1, 3, 100, 10**9])
    def test_are_exact_in_large_vocabularies_with_ties(self, vocab_size: int, num_top: int, num_levels: int) -> None:
        """Few levels make ties across blocks; of equal tokens the lower ids count."""
        rng = np.random.default_rng(vocab_size + num_top)
        values = (rng.integers(0, num_levels, vocab_size) * (12 / num_levels)).tolist()
        assert_equal(likelihoods(row_of(values), 7, num_top), exact(values, 7, num_top))

    def test_sum_to_one_over_the_whole_vocabulary(self) -> None:
        report = likelihoods(row_of([0.5, -1.0, 3.0]), 0, 20)
        assert sum(math.exp(c.logprob) for c in report.top) == pytest.approx(1)

    @pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
    def test_of_a_broken_row_are_still_numbers(self, value: float) -> None:
        report = likelihoods(row_of([value] * 300), 3, 5)
        assert report == Likelihoods(report.drawn, ())
        assert report.drawn.logprob == LOWEST_LOGPROB

    def test_of_a_token_without_a_chance_are_a_number(self) -> None:
        report = likelihoods(row_of([0.0, -math.inf, -3e38]), 1, 5)
        assert report.drawn.logprob == LOWEST_LOGPROB
        assert [(c.token_id, c.logprob) for c in report.top] == [(0, 0.0), (2, LOWEST_LOGPROB)]


@pytest.mark.parametrize(
    ("sampling", "is_constrained", "expected"),
    [
        (SamplingParams(), False, False),
        (SamplingParams(temperature=0.3, top_k=4, typical_p=0.5, top_p=0.5, min_p=0.1, seed=1), False, False),
        (SamplingParams(repetition_window=3, penalty_window=5), False, False),
        (SamplingParams(), True, True),
        (SamplingParams(logit_bias=((1, 0.0),)), False, True),
        (SamplingParams(num_logprobs=0), False, True),
        (SamplingParams(repetition_penalty=0.9), False, True),
        (SamplingParams(frequency_penalty=-1), False, True),
        (SamplingParams(presence_penalty=0.1), False, True),
    ],
)
def test_only_what_needs_the_logits_has_an_editor(
    *,
    sampling: SamplingParams,
    is_constrained: bool,
    expected: bool,
) -> None:
    editor = create_editor(sampling, OddMatcher() if is_constrained else None, [])
    assert (editor is not None) == expected


class TestHeldEnds:
    def test_ends_are_forbidden_until_the_answer_has_its_tokens(self) -> None:
        editor = LogitsEditor(SamplingParams(), None, [], HeldEnds((1, 99), 2))
        for is_held in (True, True, False):
            row = np.zeros(4, np.float32)
            editor.edit(row)
            assert np.isneginf(row).tolist() == [False, is_held, False, False]
            editor.accept(0)

    def test_a_draw_that_was_dropped_does_not_count(self) -> None:
        editor = LogitsEditor(SamplingParams(), None, [], HeldEnds((1,), 1))
        for _ in range(3):
            row = np.zeros(2, np.float32)
            editor.edit(row)
            assert np.isneginf(row[1])

    def test_an_end_that_is_all_a_constraint_leaves_may_come_and_no_other_one(self) -> None:
        class OnlyOneEnd(OddMatcher):
            def mask(self, logits: Logits) -> None:
                logits[[0, 2]] = -np.inf

        row = np.array([3, 2, 4], np.float32)
        LogitsEditor(SamplingParams(), OnlyOneEnd(), [], HeldEnds((1, 2), 5)).edit(row)
        assert row.tolist() == [-np.inf, 2, -np.inf]


def test_a_score_counts_who_is_at_least_as_likely() -> None:
    row = np.array([1, 3, 2, 2, 0], np.float32)
    assert [score(row, token_id, 0).rank for token_id in range(5)] == [4, 1, 3, 3, 5]
    assert score(row, 2, 2).likelihoods == likelihoods(row, 2, 2)
    assert row.tolist() == [1, 3, 2, 2, 0]


def test_a_token_that_the_last_layer_does_not_know_is_the_least_likely_one() -> None:
    scored = score(np.array([1, 2], np.float32), 2, 1)
    assert (scored.rank, scored.likelihoods.drawn) == (2, Candidate(2, LOWEST_LOGPROB))
    assert [top.token_id for top in scored.likelihoods.top] == [1]


class TestLabels:
    @given(row=ROW, label_ids=st.permutations(range(VOCAB_SIZE)).map(lambda ids: ((ids[0],), tuple(ids[1:4]))))
    def test_a_label_has_the_probability_of_all_tokens_that_write_it(
        self, row: list[float], label_ids: tuple[tuple[int, ...], ...]
    ) -> None:
        logits = np.array(row, np.float32)
        told = label_likelihoods(logits, 0, label_ids)
        if not np.isfinite(logits.max()):
            assert told.top == ()
            return
        total = math.fsum(math.exp(each - max(row)) for each in row)
        for candidate, ids in zip(told.top, label_ids, strict=True):
            share = math.fsum(math.exp(row[each] - max(row)) for each in ids) / total
            expected = math.log(share) if share > 0 else LOWEST_LOGPROB
            assert candidate.token_id == ids[0]
            assert candidate.logprob == pytest.approx(expected, abs=1e-4)

    def test_the_first_token_is_one_of_them_and_the_report_is_of_the_logits_before_that(self) -> None:
        sampling = SamplingParams(temperature=0, label_ids=((3,), (5, VOCAB_SIZE + 1)))
        editor = create_editor(sampling, None, [])
        assert editor is not None
        row = np.arange(VOCAB_SIZE, dtype=np.float32)
        token_id, told = editor.draw(row, lambda: int(row.argmax()))
        assert (token_id, told) == (5, label_likelihoods(np.arange(VOCAB_SIZE, dtype=np.float32), 5, ((3,), (5,))))
        assert np.flatnonzero(np.isfinite(row)).tolist() == [3, 5]
        row = np.arange(VOCAB_SIZE, dtype=np.float32)
        assert editor.draw(row, lambda: int(row.argmax())) == (VOCAB_SIZE - 1, None)
