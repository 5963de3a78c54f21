"""What ends an answer beside end tokens and its bound: tokens of the request's own, and none of them too early."""

import pytest

from backends.wire.request import SamplingParams
from tests.support.engine_driver import GREEDY, EngineDriver


class TestStopTokens:
    def test_a_stop_token_ends_the_answer_and_adds_no_text(self, driver: EngineDriver) -> None:
        whole = driver.answer("abc", max_tokens=24)
        stop_id = whole.token_ids[5]
        num_tokens = whole.token_ids.index(stop_id) + 1
        answer = driver.answer("abc", max_tokens=24, stop_token_ids=(stop_id,), ignore_eos=True)
        assert answer.reason == "stop"
        assert answer.token_ids == whole.token_ids[:num_tokens]
        assert answer.text == driver.answer("abc", max_tokens=num_tokens - 1).text

    @pytest.mark.parametrize("token_id", [-1, 10**6])
    def test_one_that_is_no_token_is_refused(self, driver: EngineDriver, token_id: int) -> None:
        failed = driver.answer("abc", stop_token_ids=(token_id,)).failed
        assert (failed.code, failed.param) == ("invalid_prompt", "stop_token_ids")


class TestLeastTokens:
    @pytest.mark.parametrize("sampling", [GREEDY, SamplingParams(temperature=1, seed=3)], ids=["greedy", "seeded"])
    def test_a_stop_token_is_not_drawn_too_early(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        stop_ids = tuple(driver.answer("abc", sampling, max_tokens=3).token_ids)
        answer = driver.answer("abc", sampling, max_tokens=40, stop_token_ids=stop_ids, min_tokens=5)
        assert not set(answer.token_ids[:5]) & set(stop_ids)
        assert len(answer.token_ids) > 5

    def test_a_stop_string_is_text_before_and_an_end_afterwards(self, driver: EngineDriver) -> None:
        whole = driver.answer("abc", max_tokens=30).text
        stop = whole[2]
        answer = driver.answer("abc", max_tokens=30, stop=(stop,), min_tokens=10)
        assert answer.text.startswith(whole[:3])
        assert answer.end.usage.num_output_tokens > 10

    def test_end_tokens_are_held_back(self, real_driver: EngineDriver) -> None:
        """A bias makes the end the likeliest token at once."""
        end_id = min(real_driver.engine.tokenizer.end_ids)
        eager = SamplingParams(temperature=0, logit_bias=((end_id, 100.0),))
        assert real_driver.answer("abc", eager).token_ids == [end_id]
        answer = real_driver.answer("abc", eager, min_tokens=4)
        assert (len(answer.token_ids), answer.token_ids[-1], answer.reason) == (5, end_id, "stop")

    def test_log_probabilities_are_the_models_own(self, driver: EngineDriver) -> None:
        sampling = SamplingParams(temperature=0, num_logprobs=2)
        held = driver.answer("abc", sampling, max_tokens=6, min_tokens=6)
        assert held.likelihoods == driver.answer("abc", sampling, max_tokens=6).likelihoods
