"""How likely the tokens of a prompt are: every engine tells it, however the prompt is cut, batched, cached or held."""

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.step import StepPlan, StepResult
from backends.wire.output import PromptToken
from backends.wire.request import SamplingParams
from tests.backends.conftest import EngineUnderTest
from tests.support.bare_engine import text_ids
from tests.support.direct_scores import direct_logprobs
from tests.support.engine_driver import GREEDY, EngineDriver

SCORED = SamplingParams(temperature=0, num_prompt_logprobs=3)
LONG = text_ids(200)
"""More than three steps of 64 tokens."""
CLOSE = 1e-4


def logprobs(tokens: list[PromptToken]) -> list[float]:
    """Return the likelihoods of all tokens but the first, which has none."""
    assert tokens[0].logprob is None
    return [token.logprob for token in tokens[1:] if token.logprob is not None]


class TestScores:
    @pytest.mark.parametrize("num_tokens", [1, 2, 63, 64, 65, 66, 128, 200])
    def test_each_token_of_the_prompt_is_told_once(self, driver: EngineDriver, num_tokens: int) -> None:
        answer = driver.answer(LONG[:num_tokens], SCORED, max_tokens=2)
        assert [token.token_id for token in answer.prompt] == LONG[:num_tokens]
        assert len(logprobs(answer.prompt)) == num_tokens - 1
        assert [(token.rank, token.top) for token in answer.prompt[:1]] == [(None, ())]
        assert all(token.logprob is not None and token.logprob < 0 for token in answer.prompt[1:])
        assert len(answer.token_ids) == 2

    def test_they_are_those_of_a_direct_computation(self, real_driver: EngineDriver, tiny_mlx: Path) -> None:
        scores = logprobs(real_driver.answer(LONG, SCORED, max_tokens=1).prompt)
        expected = direct_logprobs(tiny_mlx, LONG)
        assert sum(scores) == pytest.approx(sum(expected), abs=CLOSE)
        assert scores == pytest.approx(expected, abs=CLOSE)

    def test_they_are_those_that_a_drawn_token_is_told_with(self, driver: EngineDriver) -> None:
        drawn = driver.answer("abc", SamplingParams(temperature=0, num_logprobs=3), max_tokens=24)
        prompt = [*b"abc", *drawn.token_ids]
        scored = driver.answer(prompt, SCORED, max_tokens=1)
        told = scored.prompt[3:]
        assert [token.logprob for token in told] == pytest.approx(
            [likelihoods.drawn.logprob for likelihoods in drawn.likelihoods], abs=CLOSE
        )
        assert [token.top[0].token_id for token in told] == drawn.token_ids
        assert {token.rank for token in told} == {1}

    def test_the_rank_counts_who_is_at_least_as_likely(self, driver: EngineDriver) -> None:
        sampling = SamplingParams(temperature=0, num_prompt_logprobs=20)
        for token in driver.answer(LONG, sampling, max_tokens=1).prompt[1:]:
            assert token.rank is not None
            assert token.logprob is not None
            assert [top.logprob for top in token.top] == sorted((top.logprob for top in token.top), reverse=True)
            is_among = token.token_id in [top.token_id for top in token.top]
            assert not is_among or token.rank <= 20 or token.top[-1].logprob == token.logprob
            assert sum(top.logprob > token.logprob for top in token.top) < token.rank

    def test_no_scores_without_the_wish(self, driver: EngineDriver) -> None:
        assert driver.answer(LONG, max_tokens=1).prompt == []


class TestBesideOthers:
    def test_batched_prompts_have_the_scores_of_each_alone(self, driver: EngineDriver) -> None:
        prompts = [LONG, text_ids(90, 1), text_ids(3, 2)]
        alone = [logprobs(driver.answer(prompt, SCORED, max_tokens=1).prompt) for prompt in prompts]
        plain = driver.answer("abc", max_tokens=40).token_ids
        other = driver.submit("abc", max_tokens=40)
        driver.step()
        scored = [driver.submit(prompt, SCORED, max_tokens=1) for prompt in prompts]
        driver.run()
        assert driver.answers[other].token_ids == plain
        for sequence_id, expected in zip(scored, alone, strict=True):
            assert logprobs(driver.answers[sequence_id].prompt) == pytest.approx(expected, abs=CLOSE)

    def test_the_answer_is_the_one_that_an_unscored_prompt_has(self, driver: EngineDriver) -> None:
        assert driver.answer(LONG, SCORED).token_ids == driver.answer(LONG).token_ids

    def test_a_cached_beginning_is_computed_again(self, loaded: EngineUnderTest) -> None:
        driver = EngineDriver(loaded.engine, keeps_ended=True)
        first = driver.answer(LONG, SCORED, max_tokens=1)
        driver.answer(LONG, max_tokens=1)
        again = driver.answer(LONG, SCORED, max_tokens=1)
        assert again.end.usage.num_cached_tokens == 0
        assert logprobs(again.prompt) == pytest.approx(logprobs(first.prompt), abs=CLOSE)
        driver.close()

    def test_its_own_cache_serves_others(self, loaded: EngineUnderTest) -> None:
        driver = EngineDriver(loaded.engine, keeps_ended=True)
        driver.answer(LONG, SCORED, max_tokens=0)
        assert driver.answer(LONG, max_tokens=1).end.usage.num_cached_tokens == len(LONG) - 1
        driver.close()

    def test_an_evicted_prompt_is_told_once(self, tight_driver: EngineDriver) -> None:
        alone = logprobs(tight_driver.answer(LONG[:30], SCORED, max_tokens=1).prompt)
        first = tight_driver.submit("abcdef", max_tokens=40)
        second = tight_driver.submit(LONG[:30], SCORED, max_tokens=30)
        tight_driver.run()
        assert second in tight_driver.batcher.evicted
        assert len(tight_driver.answers[first].token_ids) == 40
        assert logprobs(tight_driver.answers[second].prompt) == pytest.approx(alone, abs=CLOSE)

    def test_a_paused_prompt_goes_on(self, driver: EngineDriver) -> None:
        alone = logprobs(driver.answer(LONG, SCORED, max_tokens=4).prompt)
        paused = driver.submit(LONG, SCORED, max_tokens=4)
        driver.step()
        driver.pause(paused)
        driver.answer("abc", max_tokens=4)
        driver.resume(paused)
        driver.run()
        assert logprobs(driver.answers[paused].prompt) == pytest.approx(alone, abs=CLOSE)

    def test_a_cancelled_prompt_leaves_nothing(self, driver: EngineDriver) -> None:
        num_free = driver.num_free_cells
        sequence_id = driver.submit(LONG, SCORED)
        driver.step()
        driver.cancel(sequence_id)
        assert len(driver.answers[sequence_id].prompt) < len(LONG)
        assert driver.num_free_cells == num_free
        assert driver.answer("abc", max_tokens=4).reason == "length"


class TestPromptOnly:
    def test_nothing_is_put_out_and_nothing_counted(self, driver: EngineDriver) -> None:
        answer = driver.answer("abcd", SCORED, max_tokens=0)
        usage = answer.end.usage
        assert (answer.text, answer.reason) == ("", "length")
        assert (usage.num_prompt_tokens, usage.num_output_tokens) == (4, 0)
        assert len(answer.prompt) == 4

    def test_a_prompt_alone_fills_the_cache(self, loaded: EngineUnderTest) -> None:
        driver = EngineDriver(loaded.engine, keeps_ended=True)
        driver.answer(LONG, max_tokens=0)
        assert driver.answer(LONG, max_tokens=1).end.usage.num_cached_tokens == len(LONG) - 1
        driver.close()


class TestEcho:
    @pytest.mark.parametrize("sampling", [GREEDY, SCORED], ids=["plain", "scored"])
    @pytest.mark.parametrize("prompt", ["a", "abc dé 🙂", [*"abc dé 🙂".encode()]])
    def test_the_text_is_told_before_the_answer(
        self, driver: EngineDriver, prompt: str | list[int], sampling: SamplingParams
    ) -> None:
        answer = driver.answer(prompt, sampling, max_tokens=3, echoes=True)
        assert answer.echo == (prompt if isinstance(prompt, str) else bytes(prompt).decode())
        assert answer.text == driver.answer(prompt, max_tokens=3).text
        assert len(answer.prompt) == (answer.num_prompt_tokens if sampling is SCORED else 0)


class TestMemory:
    def test_a_step_holds_the_logits_of_few_tokens(self, driver: EngineDriver, monkeypatch: pytest.MonkeyPatch) -> None:
        most: list[int] = []
        step = driver.engine.step

        def noted(plan: StepPlan, should_abort: Callable[[], bool]) -> StepResult:
            most.append(sum(len(chunk.scored) for chunk in plan.chunks))
            return step(plan, should_abort)

        monkeypatch.setattr(driver.engine, "step", noted)
        limit = 7
        object.__setattr__(driver.batcher._limits, "scored_tokens", limit)
        ids = [driver.submit(LONG, SCORED, max_tokens=1) for _ in range(2)]
        driver.run()
        assert max(most) == limit
        assert all(len(driver.answers[sequence_id].prompt) == len(LONG) for sequence_id in ids)
