"""What every engine promises of edited draws: bias, penalties, constraints and log-probabilities, on all alike."""

import math
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from backends.errors import ConstraintError
from backends.logits import Likelihoods, Logits, Matcher
from backends.wire.request import SamplingParams
from tests.backends.conftest import EngineUnderTest
from tests.support.engine_driver import GREEDY, Answer, EngineDriver

pytestmark = pytest.mark.slow

DIGIT_IDS = tuple(b"0123456789")
"""Every vocabulary here has one token per byte, its id the byte's number."""
SEEDED = SamplingParams(temperature=0.9, top_p=0.95, min_p=0.01, seed=7)
PENALTIES = SamplingParams(
    temperature=0,
    repetition_penalty=1.3,
    repetition_window=8,
    frequency_penalty=0.7,
    presence_penalty=0.3,
    penalty_window=12,
)
EDITED = msgspec.structs.replace(
    SEEDED, repetition_penalty=1.2, frequency_penalty=0.4, num_logprobs=3, logit_bias=((97, 1.5), (32, -2.0))
)
SAMPLINGS = pytest.mark.parametrize("sampling", [PENALTIES, EDITED], ids=["greedy", "seeded"])
PROMPTS = ("The quick brown fox", "a", "x" * 90, "Übermut")
LONG_PROMPT = "abcdefgh" * 25


class DigitMatcher(Matcher):
    """Allows a number of digits, then end tokens only.

    Args:
        end_ids: The model's end tokens.
        num_digits: After which the answer is complete.
        fails_after: Raise instead of the mask that follows that many tokens; None = never.
    """

    def __init__(self, end_ids: frozenset[int], num_digits: int, fails_after: int | None = None) -> None:
        self.end_ids = end_ids
        self.num_digits = num_digits
        self.fails_after = fails_after
        self.accepted: list[int] = []

    def mask(self, logits: Logits) -> None:
        if len(self.accepted) == self.fails_after:
            raise ConstraintError("the grammar is too complex to go on", param="grammar")
        is_whole = len(self.accepted) >= self.num_digits
        allowed = np.array(sorted(self.end_ids) if is_whole else DIGIT_IDS)
        kept = logits[allowed]
        logits[:] = -np.inf
        logits[allowed] = kept

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)

    @property
    def is_complete(self) -> bool:
        return False  # it waits for an end token, as a grammar does that could go on


def digits(driver: EngineDriver, num_digits: int = 6, fails_after: int | None = None) -> DigitMatcher:
    return DigitMatcher(driver.engine.tokenizer.end_ids, num_digits, fails_after)


def assert_complete(answer: Answer, num_top: int) -> None:
    """Every token has its report, of the token itself and of the likeliest ones in their order."""
    assert [report.drawn.token_id for report in answer.likelihoods] == answer.token_ids
    for report in answer.likelihoods:
        logprobs = [candidate.logprob for candidate in report.top]
        assert len(logprobs) == len({candidate.token_id for candidate in report.top}) == num_top
        assert logprobs == sorted(logprobs, reverse=True)
        assert all(logprob <= 1e-5 for logprob in [report.drawn.logprob, *logprobs])


def top_ids(report: Likelihoods) -> list[int]:
    return [candidate.token_id for candidate in report.top]


class TestBias:
    @pytest.mark.parametrize("base", [GREEDY, SEEDED], ids=["greedy", "seeded"])
    def test_100_forces_a_token(self, driver: EngineDriver, base: SamplingParams) -> None:
        sampling = msgspec.structs.replace(base, logit_bias=((65, 100.0),))
        assert driver.answer("abc", sampling, max_tokens=9).text == "A" * 9

    @pytest.mark.parametrize("base", [GREEDY, SEEDED], ids=["greedy", "seeded"])
    def test_minus_100_forbids_tokens(self, driver: EngineDriver, base: SamplingParams) -> None:
        plain = driver.answer("abc", base, max_tokens=24).token_ids
        forbidden = set(plain[::2])
        sampling = msgspec.structs.replace(base, logit_bias=tuple((token_id, -100.0) for token_id in forbidden))
        assert not forbidden & set(driver.answer("abc", sampling, max_tokens=24).token_ids)

    def test_of_0_changes_nothing(self, driver: EngineDriver) -> None:
        sampling = msgspec.structs.replace(SEEDED, logit_bias=((65, 0.0),))
        plain = driver.answer("abc", SEEDED, max_tokens=24).token_ids
        assert driver.answer("abc", sampling, max_tokens=24).token_ids == plain


class TestPenalties:
    def test_keep_an_answer_from_repeating_itself(self, driver: EngineDriver) -> None:
        """Forced to one letter, a strong penalty on what has occurred makes the draws go on to others."""
        bias = tuple((token_id, 50.0) for token_id in b"ABCD")
        forced = msgspec.structs.replace(GREEDY, logit_bias=bias)
        penalized = msgspec.structs.replace(forced, repetition_penalty=1e6)
        answer = driver.answer("abc", penalized, max_tokens=4)
        assert sorted(answer.text) == list("ABCD")

    def test_windows_let_old_tokens_come_again(self, driver: EngineDriver) -> None:
        bias = tuple((token_id, 50.0) for token_id in b"AB")
        sampling = msgspec.structs.replace(GREEDY, logit_bias=bias, frequency_penalty=40.0, penalty_window=1)
        text = driver.answer("abc", sampling, max_tokens=6).text
        assert text in ("ABABAB", "BABABA")

    def test_change_the_answer_in_the_same_way_on_both_engines(
        self, loaded_engines: Callable[[str], EngineUnderTest]
    ) -> None:
        for prompt in PROMPTS:
            token_ids = []
            for name in ("llamacpp", "mlx"):
                loaded = loaded_engines(name)
                driver = EngineDriver(loaded.engine)
                plain = driver.answer(prompt, max_tokens=32, ignore_eos=True).token_ids
                penalized = driver.answer(prompt, PENALTIES, max_tokens=32, ignore_eos=True).token_ids
                assert penalized != plain
                token_ids.append(penalized)
            assert token_ids[0] == token_ids[1]


class TestConstraints:
    @pytest.mark.parametrize("temperature", [0, 1, 1e6])
    def test_are_followed_to_the_end_token(self, driver: EngineDriver, temperature: float) -> None:
        matcher = digits(driver)
        answer = driver.answer("abc", SamplingParams(temperature=temperature, seed=3), matcher=matcher)
        assert answer.reason == "stop"
        assert len(answer.text) == 6
        assert set(answer.text) <= set("0123456789")
        assert driver.engine.tokenizer.is_end(answer.token_ids[-1])

    @pytest.mark.parametrize("params", [{"typical_p": 0.5}, {"top_k": 40, "top_p": 0.5}, {"min_p": 0.5}])
    def test_hold_under_every_filter(self, driver: EngineDriver, params: dict[str, float]) -> None:
        for seed in range(5):
            sampling = SamplingParams(temperature=2, seed=seed, **params)  # type: ignore[arg-type]
            answer = driver.answer("abc", sampling, matcher=digits(driver))
            assert len(answer.text) == 6
            assert set(answer.text) <= set("0123456789")

    def test_are_told_every_token_of_the_answer_in_order(self, driver: EngineDriver) -> None:
        matcher = digits(driver, num_digits=20)
        answer = driver.answer("abc", SEEDED, max_tokens=9, matcher=matcher)
        assert answer.reason == "length"
        assert matcher.accepted == answer.token_ids

    def test_leave_the_others_of_a_batch_alone(self, driver: EngineDriver) -> None:
        alone = driver.answer("abc", SEEDED, max_tokens=20).token_ids
        constrained_alone = driver.answer("abc", SEEDED, matcher=digits(driver)).token_ids
        free = driver.submit("abc", SEEDED, max_tokens=20)
        constrained = driver.submit("abc", SEEDED, matcher=digits(driver))
        driver.run()
        assert driver.answers[free].token_ids == alone
        assert driver.answers[constrained].token_ids == constrained_alone

    @pytest.mark.parametrize("num_tokens", [0, 1, 5])
    def test_that_cannot_be_followed_end_their_sequence_only(self, driver: EngineDriver, num_tokens: int) -> None:
        alone = driver.answer("abc", SEEDED, max_tokens=20).token_ids
        free = driver.submit("abc", SEEDED, max_tokens=20)
        failing = driver.submit("abc", SEEDED, matcher=digits(driver, fails_after=num_tokens))
        driver.step_until(lambda: bool(driver.answers[failing].terminals))
        failed = driver.answers[failing].failed
        assert (failed.code, failed.param) == ("invalid_grammar", "grammar")
        assert "too complex" in failed.message
        assert driver.num_output_tokens(failing) == num_tokens
        driver.run()
        assert driver.answers[free].token_ids == alone
        assert driver.num_free_cells == driver.model.kv_cells

    @pytest.mark.parametrize("num_tokens", [1, 2, 5])
    def test_after_a_pause_go_on_from_the_sequences_tokens(self, driver: EngineDriver, num_tokens: int) -> None:
        alone = driver.answer("abc", EDITED, max_tokens=12, matcher=digits(driver, 20)).token_ids
        matcher = digits(driver, 20)
        sequence_id = driver.submit("abc", EDITED, max_tokens=12, matcher=matcher)
        driver.step_until(lambda: driver.num_output_tokens(sequence_id) >= num_tokens)
        driver.pause(sequence_id)
        assert matcher.accepted == alone[: driver.num_output_tokens(sequence_id)], "what was drawn ahead is not known"
        driver.resume(sequence_id)
        driver.run()
        assert driver.answers[sequence_id].token_ids == matcher.accepted == alone

    def test_after_an_eviction_go_on_from_the_sequences_tokens(self, tight_driver: EngineDriver) -> None:
        driver = tight_driver
        prompts = ["a" * 10, "b" * 10, "c" * 10, "d" * 10]
        alone = [driver.answer(p, EDITED, max_tokens=30, matcher=digits(driver, 40)).token_ids for p in prompts]
        matchers = [digits(driver, 40) for _ in prompts]
        pairs = zip(prompts, matchers, strict=True)
        sequence_ids = [driver.submit(p, EDITED, max_tokens=30, matcher=matcher) for p, matcher in pairs]
        driver.run()
        assert driver.batcher.evicted
        assert [matcher.accepted for matcher in matchers] == alone
        for sequence_id, token_ids in zip(sequence_ids, alone, strict=True):
            assert driver.answers[sequence_id].token_ids == token_ids
            assert_complete(driver.answers[sequence_id], 3)


class TestSameText:
    @SAMPLINGS
    def test_alone_and_batched(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        alone = [driver.answer(prompt, sampling, max_tokens=20) for prompt in PROMPTS]
        sequence_ids = [driver.submit(prompt, sampling, max_tokens=20) for prompt in PROMPTS]
        driver.run()
        for sequence_id, before in zip(sequence_ids, alone, strict=True):
            assert driver.answers[sequence_id].token_ids == before.token_ids
            now, then = driver.answers[sequence_id].likelihoods, before.likelihoods
            assert [r.drawn.logprob for r in now] == pytest.approx([r.drawn.logprob for r in then], abs=1e-4)

    @SAMPLINGS
    def test_with_pauses_after_every_token(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        alone = driver.answer("abc", sampling, max_tokens=12).token_ids
        sequence_id = driver.submit("abc", sampling, max_tokens=12)
        while not driver.answers[sequence_id].terminals:
            driver.pause(sequence_id)
            driver.resume(sequence_id)
            num_tokens = driver.num_output_tokens(sequence_id)
            driver.step_until(lambda before=num_tokens: driver.num_output_tokens(sequence_id) > before)  # type: ignore[misc]
        assert driver.answers[sequence_id].token_ids == alone

    @pytest.mark.parametrize("base", [GREEDY, SEEDED], ids=["greedy", "seeded"])
    def test_with_and_without_log_probabilities(self, driver: EngineDriver, base: SamplingParams) -> None:
        plain = driver.answer("abc", base, max_tokens=24)
        told = driver.answer("abc", msgspec.structs.replace(base, num_logprobs=5), max_tokens=24)
        assert told.token_ids == plain.token_ids
        assert not plain.likelihoods
        assert_complete(told, 5)

    def test_beside_a_sequence_that_leaves_in_the_middle(self, driver: EngineDriver) -> None:
        alone = driver.answer("abc", EDITED, max_tokens=24).token_ids
        first = driver.submit("xyz", EDITED, max_tokens=24)
        second = driver.submit("abc", EDITED, max_tokens=24)
        driver.step_until(lambda: driver.num_output_tokens(second) >= 4)
        driver.cancel(first)
        driver.run()
        assert driver.answers[second].token_ids == alone


class TestLogprobs:
    @pytest.mark.parametrize("num_top", [0, 1, 20])
    def test_come_with_every_token(self, driver: EngineDriver, num_top: int) -> None:
        sampling = msgspec.structs.replace(SEEDED, num_logprobs=num_top)
        sequence_ids = [driver.submit(prompt, sampling, max_tokens=12) for prompt in PROMPTS]
        driver.run()
        for sequence_id in sequence_ids:
            assert_complete(driver.answers[sequence_id], num_top)

    def test_greedy_draws_the_likeliest(self, driver: EngineDriver) -> None:
        sampling = msgspec.structs.replace(GREEDY, num_logprobs=2)
        for report in driver.answer("abc", sampling, max_tokens=24).likelihoods:
            assert report.drawn == report.top[0]

    def test_are_those_of_the_model_and_not_of_the_edits(self, driver: EngineDriver) -> None:
        """A forced token is reported as unlikely as it was."""
        plain = driver.answer("abc", msgspec.structs.replace(GREEDY, num_logprobs=5), max_tokens=1).likelihoods[0]
        forced = msgspec.structs.replace(GREEDY, num_logprobs=5, logit_bias=((65, 100.0),))
        report = driver.answer("abc", forced, max_tokens=1).likelihoods[0]
        assert report.drawn.token_id == 65
        assert report.drawn.logprob < plain.top[0].logprob
        assert top_ids(report) == top_ids(plain)
        assert [c.logprob for c in report.top] == pytest.approx([c.logprob for c in plain.top], abs=1e-4)

    def test_are_equal_on_both_engines(self, loaded_engines: Callable[[str], EngineUnderTest]) -> None:
        sampling = msgspec.structs.replace(GREEDY, num_logprobs=20)
        for prompt in (*PROMPTS, LONG_PROMPT):
            answers = []
            for name in ("llamacpp", "mlx"):
                loaded = loaded_engines(name)
                driver = EngineDriver(loaded.engine)
                answers.append(driver.answer(prompt, sampling, max_tokens=24, ignore_eos=True))
            ours, theirs = answers
            assert ours.token_ids == theirs.token_ids
            for our, their in zip(ours.likelihoods, theirs.likelihoods, strict=True):
                assert our.drawn.logprob == pytest.approx(their.drawn.logprob, abs=1e-3)
                assert [c.logprob for c in our.top] == pytest.approx([c.logprob for c in their.top], abs=1e-3)
                assert_same_order(our, their)

    def test_sum_up_to_the_frequencies_of_draws(self, real_driver: EngineDriver) -> None:
        """400 draws at temperature 1: the likeliest token comes within six standard deviations, always."""
        sampling = SamplingParams(temperature=1, num_logprobs=1, top_p=1, min_p=0)
        report = real_driver.answer("abc", msgspec.structs.replace(sampling, seed=0), max_tokens=1).likelihoods[0]
        share = math.exp(report.top[0].logprob)
        num_drawn = 0
        for seed in range(400):
            seeded = msgspec.structs.replace(sampling, seed=seed, num_logprobs=None)
            num_drawn += real_driver.answer("abc", seeded, max_tokens=1).token_ids[0] == report.top[0].token_id
        assert abs(num_drawn - 400 * share) < 6 * math.sqrt(400 * share * (1 - share))


def assert_same_order(ours: Likelihoods, theirs: Likelihoods) -> None:
    """The same tokens, but for those that are as likely as the last one; equally likely ones may change places."""
    last = min(ours.top[-1].logprob, theirs.top[-1].logprob) + 2e-3
    certain = {c.token_id for c in ours.top if c.logprob > last}
    assert certain == {c.token_id for c in theirs.top if c.logprob > last}


class TestTypicalP:
    def test_restricts_what_is_drawn(self, real_driver: EngineDriver) -> None:
        def first_tokens(**params: float) -> set[int]:
            draws = (SamplingParams(temperature=1e6, seed=seed, **params) for seed in range(60))  # type: ignore[arg-type]
            return {real_driver.answer("abc", sampling, max_tokens=1).token_ids[0] for sampling in draws}

        everything = first_tokens()
        few = first_tokens(typical_p=0.2)
        assert 1 <= len(few) < len(everything) / 1.5

    def test_of_1_changes_nothing(self, real_driver: EngineDriver) -> None:
        plain = real_driver.answer("abc", SEEDED, max_tokens=24).token_ids
        sampling = msgspec.structs.replace(SEEDED, typical_p=1.0)
        assert real_driver.answer("abc", sampling, max_tokens=24).token_ids == plain
