"""What every engine promises of sequences that go, rest, lack cells or are given up; fake, llamacpp and mlx."""

from collections.abc import Callable

import pytest

from backends.step import StepPlan
from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams
from tests.backends.conftest import EngineUnderTest
from tests.backends.contract.test_engine import LONG_PROMPT, PROMPTS, SAMPLINGS, never
from tests.support.engine_driver import EngineDriver

pytestmark = pytest.mark.slow


class TestRemoval:
    @pytest.mark.parametrize("num_tokens", [0, 1, 5])
    @SAMPLINGS
    def test_cancel_frees_cells_at_once_and_leaves_the_others_text(
        self, driver: EngineDriver, sampling: SamplingParams, num_tokens: int
    ) -> None:
        """With 0 tokens the victim is in its prefill."""
        alone = driver.answer(PROMPTS[0], sampling, max_tokens=40).token_ids
        other = driver.submit(PROMPTS[0], sampling, max_tokens=40)
        driver.step_until(lambda: driver.num_output_tokens(other) >= 1)
        victim = driver.submit(LONG_PROMPT, sampling, max_tokens=40)
        driver.step()
        driver.step_until(lambda: driver.num_output_tokens(victim) >= num_tokens)
        before = driver.num_free_cells
        driver.cancel(victim)
        assert driver.num_free_cells >= before + 200
        assert driver.answers[victim].terminals
        driver.run()
        assert driver.answers[other].token_ids == alone

    def test_removed_sequences_really_leave_the_engine(self, driver: EngineDriver) -> None:
        """Many times more tokens than there are cells go through, each cancelled in the middle."""
        alone = driver.answer("abc").text
        for _ in range(30):
            sequence_ids = [driver.submit(LONG_PROMPT) for _ in range(4)]
            for _ in range(3):
                driver.step()
            for sequence_id in sequence_ids:
                driver.cancel(sequence_id)
        assert driver.answer("abc").text == alone

    def test_unknown_ids_are_ignored(self, driver: EngineDriver) -> None:
        driver.engine.remove(987_654)
        driver.cancel(987_654)
        driver.pause(987_654)
        driver.resume(987_654)
        assert driver.answer("abc", max_tokens=3).end.usage.num_output_tokens == 3

    def test_an_empty_plan_is_harmless(self, driver: EngineDriver) -> None:
        alone = driver.answer("abc").text
        sequence_id = driver.submit("abc")
        driver.step()
        result = driver.engine.step(StepPlan(), never)
        driver.batcher.on_step(result)
        assert result.tokens == {}
        driver.run()
        assert driver.answers[sequence_id].text == alone


class TestPause:
    @pytest.mark.parametrize("num_tokens", [0, 1, 2, 9])
    @SAMPLINGS
    def test_pause_and_resume_give_the_undisturbed_text(
        self, driver: EngineDriver, sampling: SamplingParams, num_tokens: int
    ) -> None:
        alone = driver.answer(LONG_PROMPT, sampling, max_tokens=30).token_ids
        other_alone = driver.answer("abc", sampling, max_tokens=40).token_ids
        other = driver.submit("abc", sampling, max_tokens=40)
        sequence_id = driver.submit(LONG_PROMPT, sampling, max_tokens=30)
        driver.step()
        driver.step_until(lambda: driver.num_output_tokens(sequence_id) >= num_tokens)
        before = driver.num_output_tokens(sequence_id)
        driver.pause(sequence_id)
        driver.step()
        driver.step()
        assert driver.num_output_tokens(sequence_id) == before
        driver.resume(sequence_id)
        driver.run()
        assert driver.answers[sequence_id].token_ids == alone
        assert driver.answers[other].token_ids == other_alone

    @SAMPLINGS
    def test_pausing_after_every_token_changes_nothing(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        alone = driver.answer("abc", sampling, max_tokens=12).token_ids
        sequence_id = driver.submit("abc", sampling, max_tokens=12)
        while not driver.answers[sequence_id].terminals:
            driver.pause(sequence_id)
            driver.pause(sequence_id)
            assert not driver.has_work
            driver.resume(sequence_id)
            driver.resume(sequence_id)
            num_tokens = driver.num_output_tokens(sequence_id)
            driver.step_until(lambda before=num_tokens: driver.num_output_tokens(sequence_id) > before)  # type: ignore[misc]
        assert driver.answers[sequence_id].token_ids == alone

    def test_a_paused_waiting_sequence_lets_the_next_one_go_first(self, driver: EngineDriver) -> None:
        first, second = driver.submit("abc"), driver.submit("abd")
        driver.pause(first)
        driver.run()
        assert driver.answers[second].terminals
        assert not driver.answers[first].terminals
        driver.resume(first)
        driver.run()
        assert driver.answers[first].reason == "length"

    def test_a_paused_sequence_can_be_cancelled(self, driver: EngineDriver) -> None:
        sequence_id = driver.submit("abc")
        driver.step()
        driver.pause(sequence_id)
        driver.cancel(sequence_id)
        assert driver.answers[sequence_id].terminals
        assert driver.num_free_cells == driver.model.kv_cells


class TestCellShortage:
    @SAMPLINGS
    def test_eviction_gives_the_same_text(self, tight_driver: EngineDriver, sampling: SamplingParams) -> None:
        driver = tight_driver
        prompts = ["a" * 10, "b" * 10, "c" * 10, "d" * 10]
        alone = [driver.answer(prompt, sampling, max_tokens=30).token_ids for prompt in prompts]
        assert not driver.batcher.evicted
        sequence_ids = [driver.submit(prompt, sampling, max_tokens=30) for prompt in prompts]
        driver.run()
        assert driver.batcher.evicted
        assert [driver.answers[i].token_ids for i in sequence_ids] == alone

    def test_paused_sequences_give_way(self, tight_driver: EngineDriver) -> None:
        """A paused sequence that holds most cells must not keep a waiting one from being served."""
        driver = tight_driver
        alone = driver.answer("a" * 40, max_tokens=20).token_ids
        paused = driver.submit("a" * 40, max_tokens=20)
        driver.step_until(lambda: driver.num_output_tokens(paused) >= 3)
        driver.pause(paused)
        waiting = driver.submit("b" * 50, max_tokens=10)
        driver.run()
        assert driver.answers[waiting].reason == "length"
        driver.resume(paused)
        driver.run()
        assert driver.answers[paused].token_ids == alone

    def test_paused_sequences_give_their_places(self, driver: EngineDriver) -> None:
        paused = [driver.submit("abc") for _ in range(driver.model.max_sequences)]
        driver.step()
        for sequence_id in paused:
            driver.pause(sequence_id)
        waiting = driver.submit("abc")
        driver.run()
        assert driver.answers[waiting].reason == "length"
        for sequence_id in paused:
            driver.resume(sequence_id)
        driver.run()
        assert {driver.answers[i].text for i in [*paused, waiting]} == {driver.answers[waiting].text}


class TestAbort:
    @pytest.mark.parametrize("name", ["fake", "llamacpp"])
    def test_an_aborted_prefill_leaves_the_engine_sound(
        self, name: str, loaded_engines: Callable[[str], EngineUnderTest]
    ) -> None:
        loaded = loaded_engines(name)
        driver = EngineDriver(loaded.engine)
        if name == "fake":
            from backends.fake.engine import FakeEngine, FakeOptions

            engine = FakeEngine(FakeOptions(prefill_s_per_token=0.0001))
            driver = EngineDriver(engine.load(LoadSpec(model_path="", step_tokens=64), lambda _fraction: None))
        alone = driver.answer(LONG_PROMPT).token_ids
        sequence_id = driver.submit(LONG_PROMPT)
        driver.step()
        plan = driver.batcher.plan(0.0)
        result = driver.engine.step(plan, lambda: True)
        assert result.was_aborted
        assert not result.tokens
        driver.batcher.on_step(result)
        driver.run()
        assert driver.answers[sequence_id].token_ids == alone
        assert driver.answer(LONG_PROMPT).token_ids == alone
