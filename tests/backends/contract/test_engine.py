"""What every engine promises, whatever computes underneath: one suite over fake, llamacpp and mlx.

The two real engines run the same tiny float32 model, so that greedy answers must be the same tokens.
"""

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from backends.errors import LoadError
from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams
from tests.backends.conftest import CONTEXT_LENGTH, EngineUnderTest
from tests.support.bare_engine import load
from tests.support.engine_driver import GREEDY, Answer, EngineDriver, user_says

pytestmark = pytest.mark.slow

PROMPTS = ("The quick brown fox", "a", "Übermut tut selten gut: 日本語 🙂", "x" * 90)
SEEDED = SamplingParams(temperature=0.9, top_p=0.95, min_p=0.01, seed=7)
SAMPLINGS = pytest.mark.parametrize("sampling", [GREEDY, SEEDED], ids=["greedy", "seeded"])
LONG_PROMPT = "abcdefgh" * 25  # 200 tokens, more than three steps of 64


def never() -> bool:
    return False


class TestLoad:
    def test_reports_progress_up_to_all(self, loaded: EngineUnderTest) -> None:
        assert loaded.progress == sorted(loaded.progress)
        assert loaded.progress[-1] == 1.0
        assert all(0 <= fraction <= 1 for fraction in loaded.progress)

    def test_tells_the_limits_of_what_it_loaded(self, loaded: EngineUnderTest) -> None:
        model = loaded.model
        assert model.context_length == CONTEXT_LENGTH
        assert model.max_sequences == 4
        assert model.kv_cells >= 4 * CONTEXT_LENGTH
        assert model.vocab_size == loaded.engine.tokenizer.vocab_size
        assert loaded.engine.tokenizer.chat_template is not None
        assert model.devices

    def test_lowers_the_context_to_what_the_model_was_trained_for(
        self, tiny_mlx: Path, tiny_gguf: Path, loaded_engines: Callable[[str], EngineUnderTest]
    ) -> None:
        del tiny_gguf, loaded_engines
        engine = load("mlx", LoadSpec(model_path=str(tiny_mlx), context_length=100_000))
        assert engine.model.context_length == 512
        engine.close()

    @pytest.mark.parametrize("cache_slots", [0, 24, 300])
    @pytest.mark.parametrize("context_length", [16, 31, 32])
    def test_the_shortest_contexts_load_and_answer_beside_many_kept_sequences(
        self, loaded: EngineUnderTest, context_length: int, cache_slots: int
    ) -> None:
        """Fewer tokens than slots made llama.cpp abort the process."""
        spec = LoadSpec(
            model_path=str(loaded.path),
            context_length=context_length,
            max_sequences=8,
            cache_slots=cache_slots,
            num_threads=1,
        )
        engine = load(loaded.name, spec)
        assert engine.model.context_length == context_length
        driver = EngineDriver(engine)
        assert driver.answer("hello", GREEDY).end.usage.num_output_tokens > 0
        driver.close()
        engine.close()

    @pytest.mark.parametrize("name", ["llamacpp", "mlx"])
    def test_missing_path_is_a_load_error_with_words(
        self, name: str, loaded_engines: Callable[[str], EngineUnderTest], tmp_path: Path
    ) -> None:
        del loaded_engines
        with pytest.raises(LoadError, match="nowhere") as caught:
            load(name, LoadSpec(model_path=str(tmp_path / "nowhere")))
        assert len(str(caught.value)) > len(str(tmp_path)) + 20

    @pytest.mark.parametrize("name", ["llamacpp", "mlx"])
    def test_garbage_is_a_load_error_with_words(
        self, name: str, loaded_engines: Callable[[str], EngineUnderTest], tmp_path: Path
    ) -> None:
        del loaded_engines
        if name == "mlx":
            (tmp_path / "config.json").write_text('{"model_type": "no_such_model"}')
            (tmp_path / "model.safetensors").write_bytes(b"garbage")
            path = tmp_path
        else:
            path = tmp_path / "garbage.gguf"
            path.write_bytes(b"GGUF garbage")
        with pytest.raises(LoadError, match="could not load"):
            load(name, LoadSpec(model_path=str(path)))


class TestAnswers:
    @SAMPLINGS
    def test_same_request_gives_same_text(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        first, second = (driver.answer(PROMPTS[0], sampling, max_tokens=24) for _ in range(2))
        assert first.token_ids == second.token_ids
        assert first.text == second.text
        assert len(first.token_ids) == 24

    def test_different_seeds_give_different_texts(self, driver: EngineDriver) -> None:
        texts = {
            driver.answer("abc", SamplingParams(temperature=1, seed=seed), max_tokens=32).text for seed in range(4)
        }
        assert len(texts) == 4

    def test_without_a_seed_texts_differ(self, driver: EngineDriver) -> None:
        answers = [driver.answer("abc", SamplingParams(temperature=1), max_tokens=32) for _ in range(2)]
        assert answers[0].token_ids != answers[1].token_ids

    @pytest.mark.parametrize("seed", [0, 1, 2**31, 2**32 - 1])
    def test_every_seed_is_reproducible(self, driver: EngineDriver, seed: int) -> None:
        first, second = (
            driver.answer("abc", SamplingParams(temperature=1, seed=seed), max_tokens=32).token_ids for _ in range(2)
        )
        assert first == second

    @SAMPLINGS
    def test_batched_sequences_equal_each_alone(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        alone = [driver.answer(prompt, sampling, max_tokens=20).token_ids for prompt in PROMPTS]
        sequence_ids = [driver.submit(prompt, sampling, max_tokens=20) for prompt in PROMPTS]
        driver.run()
        assert [driver.answers[i].token_ids for i in sequence_ids] == alone

    @SAMPLINGS
    def test_sequences_that_come_later_change_nothing(self, driver: EngineDriver, sampling: SamplingParams) -> None:
        alone = [driver.answer(prompt, sampling, max_tokens=20).token_ids for prompt in PROMPTS]
        sequence_ids = []
        for prompt in PROMPTS:
            sequence_ids.append(driver.submit(prompt, sampling, max_tokens=20))
            for _ in range(3):
                driver.step()
        driver.run()
        assert [driver.answers[i].token_ids for i in sequence_ids] == alone

    def test_more_sequences_than_places_all_finish_in_order_of_arrival(self, driver: EngineDriver) -> None:
        alone = driver.answer("abc", max_tokens=8).text
        sequence_ids = [driver.submit("abc", max_tokens=8) for _ in range(11)]
        ends: list[int] = []
        while driver.has_work:
            driver.step()
            ends += [i for i in sequence_ids if driver.answers[i].terminals and i not in ends]
        assert [driver.answers[i].text for i in sequence_ids] == [alone] * 11
        assert ends == sequence_ids

    def test_chat_and_text_of_the_same_tokens_give_the_same_answer(self, driver: EngineDriver) -> None:
        chat = driver.answer(user_says("Hello"))
        text = driver.answer("<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n")
        assert chat.num_prompt_tokens == text.num_prompt_tokens
        assert chat.text == text.text

    def test_prefill_progress_rises_to_the_prompts_length(self, driver: EngineDriver) -> None:
        sequence_id = driver.submit(LONG_PROMPT, max_tokens=1)
        driver.run()
        done = [event.num_done for event in driver.answers[sequence_id].progress]
        assert len(done) >= 3
        assert done == sorted(done)
        assert done[-1] <= 200
        assert {event.num_total for event in driver.answers[sequence_id].progress} == {200}


class TestEnds:
    @pytest.mark.parametrize("max_tokens", [1, 2, 17])
    def test_max_tokens_ends_with_length_and_exact_counts(self, driver: EngineDriver, max_tokens: int) -> None:
        answer = driver.answer("abc", max_tokens=max_tokens)
        assert answer.reason == "length"
        assert len(answer.token_ids) == max_tokens
        usage = answer.end.usage
        assert (usage.num_prompt_tokens, usage.num_output_tokens) == (3, max_tokens)

    def test_without_max_tokens_the_context_is_the_end(self, driver: EngineDriver) -> None:
        answer = driver.answer("x" * 250, max_tokens=None)
        assert answer.reason == "length"
        assert len(answer.token_ids) == CONTEXT_LENGTH - 250

    def test_a_prompt_that_leaves_one_token_is_answered(self, driver: EngineDriver) -> None:
        assert len(driver.answer("x" * 255, max_tokens=9).token_ids) == 1

    def test_timings_are_not_negative(self, driver: EngineDriver) -> None:
        timings = driver.answer("abc").end.timings
        assert min(timings.queue_ms, timings.prefill_ms, timings.decode_ms) >= 0
        assert timings.prefill_ms + timings.decode_ms > 0

    @pytest.mark.parametrize("num_chars", [1, 2, 5])
    def test_a_stop_string_ends_the_text_and_is_not_in_it(self, driver: EngineDriver, num_chars: int) -> None:
        whole = driver.answer("abc", max_tokens=40).text
        start = 7
        stop = whole[start : start + num_chars]
        answer = driver.answer("abc", max_tokens=40, stop=(stop, "\0never\0"))
        assert answer.reason == "stop"
        assert answer.text == whole[: whole.index(stop)]
        assert answer.end.usage.num_output_tokens < 40

    def test_text_held_for_a_stop_string_comes_at_the_end(self, driver: EngineDriver) -> None:
        whole = driver.answer("abc", max_tokens=12).text
        answer = driver.answer("abc", max_tokens=12, stop=(whole[-3:] + "\0",))
        assert (answer.text, answer.reason) == (whole, "length")

    def test_an_end_token_ends_with_stop_and_adds_no_text(self, real_driver: EngineDriver) -> None:
        """The random model draws its end token sooner or later at a high temperature."""
        for seed in range(40):
            answer = real_driver.answer("abc", SamplingParams(temperature=8, seed=seed), max_tokens=60)
            if answer.reason == "stop":
                break
        assert answer.reason == "stop"
        assert real_driver.engine.tokenizer.is_end(answer.token_ids[-1])
        assert not any(real_driver.engine.tokenizer.is_end(token_id) for token_id in answer.token_ids[:-1])
        assert "<|im_end|>" not in answer.text
        assert answer.end.usage.num_output_tokens == len(answer.token_ids)


class TestRefusals:
    def test_a_prompt_longer_than_the_context(self, driver: EngineDriver) -> None:
        answer = driver.answer("x" * CONTEXT_LENGTH)
        assert answer.failed.code == "context_length_exceeded"
        assert answer.failed.details == {
            "n_prompt_tokens": CONTEXT_LENGTH,
            "n_ctx": CONTEXT_LENGTH,
        }
        assert str(CONTEXT_LENGTH) in answer.failed.message

    def test_megabytes_are_refused_with_a_lower_bound(self, driver: EngineDriver) -> None:
        answer = driver.answer("x" * 4_000_000)
        assert answer.failed.code == "context_length_exceeded"
        assert CONTEXT_LENGTH < answer.failed.details["n_prompt_tokens"] <= 4_000_000

    @pytest.mark.parametrize("offset", [0, 1, 10**9])
    def test_ids_outside_the_vocabulary(self, driver: EngineDriver, offset: int) -> None:
        answer = driver.answer([1, driver.model.vocab_size + offset])
        assert answer.failed.code == "invalid_prompt"
        assert str(driver.model.vocab_size + offset) in answer.failed.message

    def test_negative_ids(self, driver: EngineDriver) -> None:
        assert driver.answer([1, -1]).failed.code == "invalid_prompt"

    @pytest.mark.parametrize("prompt", ["", []])
    def test_an_empty_prompt(self, driver: EngineDriver, prompt: str | list[int]) -> None:
        failed = driver.answer(prompt).failed
        assert (failed.code, failed.param) == ("invalid_prompt", "prompt")

    def test_a_refused_prompt_leaves_the_others_alone(self, driver: EngineDriver) -> None:
        alone = driver.answer("abc").text
        first = driver.submit("abc")
        driver.step()
        driver.submit([])
        driver.run()
        assert driver.answers[first].text == alone


class TestSampling:
    def test_top_k_of_one_is_greedy(self, real_driver: EngineDriver) -> None:
        greedy = real_driver.answer("abc", max_tokens=24).token_ids
        drawn = real_driver.answer("abc", SamplingParams(temperature=2, top_k=1, seed=1), max_tokens=24).token_ids
        assert drawn == greedy

    def test_a_temperature_close_to_zero_is_greedy(self, real_driver: EngineDriver) -> None:
        greedy = real_driver.answer("abc", max_tokens=24).token_ids
        for temperature in (1e-4, 1e-30, 5e-324):
            sampling = SamplingParams(temperature=temperature, seed=1)
            assert real_driver.answer("abc", sampling, max_tokens=24).token_ids == greedy

    @pytest.mark.parametrize(
        "sampling",
        [
            SamplingParams(temperature=5, top_p=1e-9, seed=1),
            SamplingParams(temperature=5, min_p=1, seed=1),
        ],
        ids=["top_p", "min_p"],
    )
    def test_filters_come_before_the_temperature(self, real_driver: EngineDriver, sampling: SamplingParams) -> None:
        greedy = real_driver.answer("abc", max_tokens=24).token_ids
        assert real_driver.answer("abc", sampling, max_tokens=24).token_ids == greedy

    def test_filters_restrict_the_first_token(self, real_driver: EngineDriver) -> None:
        """At a temperature that makes all tokens nearly equal, 200 draws show about what the filter left."""

        def first_tokens(num: int, **filters: float) -> set[int]:
            drawn = set()
            for seed in range(num):
                sampling = SamplingParams(temperature=1e6, seed=seed, **filters)  # type: ignore[arg-type]
                drawn.add(real_driver.answer("abc", sampling, max_tokens=1).token_ids[0])
            return drawn

        assert len(first_tokens(60)) > 30
        few = first_tokens(60, top_k=3)
        assert len(few) == 3
        assert len(first_tokens(40, top_p=0.1)) < 30
        assert len(first_tokens(40, min_p=0.9)) < 30

    @pytest.mark.parametrize(
        "sampling",
        [
            SamplingParams(temperature=1e6, top_k=10**12),
            SamplingParams(temperature=1e6, top_k=2**31),
            SamplingParams(temperature=1e6, top_k=259),
            SamplingParams(temperature=1e6, min_p=1e-30),
        ],
    )
    def test_filters_that_keep_everything_leave_every_token_possible(
        self, real_driver: EngineDriver, sampling: SamplingParams
    ) -> None:
        """Nearly even draws from 259 tokens; an end token may cut a few of the answers short."""
        drawn: set[int] = set()
        for seed in range(10):
            seeded = msgspec.structs.replace(sampling, seed=seed)
            drawn.update(real_driver.answer("abc", seeded, max_tokens=20).token_ids)
        assert len(drawn) > 20

    @pytest.mark.parametrize(
        "sampling",
        [
            SamplingParams(temperature=1e30, seed=1),
            SamplingParams(temperature=1, top_k=1, top_p=1e-30, min_p=1, seed=1),
            SamplingParams(temperature=0, top_k=1, top_p=0.1, min_p=1, seed=1),
        ],
    )
    def test_extreme_values_still_give_tokens_of_the_vocabulary(
        self, driver: EngineDriver, sampling: SamplingParams
    ) -> None:
        answer = driver.answer("abc", sampling, max_tokens=8)
        assert answer.token_ids
        assert all(0 <= token_id < driver.model.vocab_size for token_id in answer.token_ids)


class TestTwoEnginesOneModel:
    @pytest.mark.parametrize("prompt", [*PROMPTS, "<|im_start|>user\nHello<|im_end|>\n", LONG_PROMPT])
    def test_greedy_tokens_are_identical(self, loaded_engines: Callable[[str], EngineUnderTest], prompt: str) -> None:
        answers: list[Answer] = []
        for name in ("llamacpp", "mlx"):
            loaded = loaded_engines(name)
            answers.append(EngineDriver(loaded.engine).answer(prompt, max_tokens=32))
        assert answers[0].num_prompt_tokens == answers[1].num_prompt_tokens
        assert answers[0].token_ids == answers[1].token_ids
        assert answers[0].text == answers[1].text
        assert answers[0].reason == answers[1].reason
