"""What every engine promises of forks: several choices of one prompt share its prefill and are otherwise their own."""

from collections.abc import Callable

import msgspec
import pytest

from backends.wire.messages import PrefillProgress
from backends.wire.prompts import ForkPrompt
from backends.wire.request import SamplingParams
from tests.backends.conftest import MAX_SEQUENCES, EngineUnderTest
from tests.support.engine_driver import GREEDY, EngineDriver

pytestmark = pytest.mark.slow

SEEDED = SamplingParams(temperature=0.9, top_p=0.95, min_p=0.01)
EDITED = msgspec.structs.replace(SEEDED, repetition_penalty=1.2, num_logprobs=2)
LONG_PROMPT = "abcdefgh" * 25  # 200 tokens, more than three steps of 64
NUM_TOKENS = 200


def seeded(seed: int, base: SamplingParams = SEEDED) -> SamplingParams:
    return msgspec.structs.replace(base, seed=seed)


def submit_choices(driver: EngineDriver, prompt: str, samplings: list[SamplingParams], max_tokens: int) -> list[int]:
    """Submit a sequence and its forks; return their ids."""
    source = driver.submit(prompt, samplings[0], max_tokens=max_tokens, ignore_eos=True)
    forks = [
        driver.submit(ForkPrompt(source), sampling, max_tokens=max_tokens, ignore_eos=True)
        for sampling in samplings[1:]
    ]
    return [source, *forks]


def num_cached(driver: EngineDriver, sequence_id: int) -> int:
    return driver.answers[sequence_id].end.usage.num_cached_tokens


def alone(driver: EngineDriver, prompt: str, sampling: SamplingParams, max_tokens: int) -> list[int]:
    return driver.answer(prompt, sampling, max_tokens=max_tokens, ignore_eos=True).token_ids


@pytest.mark.parametrize("base", [SEEDED, EDITED], ids=["plain", "edited"])
@pytest.mark.parametrize("prompt", ["ab", "The quick brown fox", LONG_PROMPT], ids=len)
def test_each_choice_is_what_its_seed_gives_alone(driver: EngineDriver, prompt: str, base: SamplingParams) -> None:
    samplings = [seeded(seed, base) for seed in range(4)]
    expected = [alone(driver, prompt, sampling, 20) for sampling in samplings]
    sequence_ids = submit_choices(driver, prompt, samplings, 20)
    driver.run()
    assert driver.batcher.forked == sequence_ids[1:]
    assert [driver.answers[i].token_ids for i in sequence_ids] == expected
    assert len({driver.answers[i].text for i in sequence_ids}) == 4
    assert [num_cached(driver, i) for i in sequence_ids] == [0, *[len(prompt) - 1] * 3]


def test_greedy_choices_are_all_the_same(driver: EngineDriver) -> None:
    sequence_ids = submit_choices(driver, LONG_PROMPT, [GREEDY] * 4, 20)
    driver.run()
    assert len({tuple(driver.answers[i].token_ids) for i in sequence_ids}) == 1
    assert driver.batcher.forked == sequence_ids[1:]


def test_only_one_of_the_choices_evaluates_the_prompt(driver: EngineDriver) -> None:
    """Counted in the plans: the prompt once, and its last token once more for every fork."""
    num_prefilled = 0
    sequence_ids = submit_choices(driver, LONG_PROMPT, [seeded(seed) for seed in range(4)], 3)
    while not all(driver.num_output_tokens(i) for i in sequence_ids):
        before = {i: driver.worker._answers[i].sequence.num_computed for i in sequence_ids}
        cached = {i: driver.worker._answers[i].sequence.num_cached_tokens for i in sequence_ids}
        driver.step()
        for i in sequence_ids:
            sequence = driver.worker._answers[i].sequence
            just_cached = sequence.num_cached_tokens - cached[i]
            num_prefilled += min(sequence.num_computed, NUM_TOKENS) - min(before[i], NUM_TOKENS) - just_cached
    assert num_prefilled == NUM_TOKENS + 3


def test_forks_tell_what_was_cached_in_their_progress(driver: EngineDriver) -> None:
    source = driver.submit(LONG_PROMPT, GREEDY, max_tokens=4)
    fork = driver.submit(ForkPrompt(source), GREEDY, max_tokens=4)
    driver.run()
    events = driver.answers[fork].progress
    assert events
    assert all(isinstance(event, PrefillProgress) and event.num_cached == NUM_TOKENS - 1 for event in events)


def test_forks_of_a_running_answer_begin_at_its_prompt(driver: EngineDriver) -> None:
    expected = alone(driver, LONG_PROMPT, seeded(1), 20)
    source = driver.submit(LONG_PROMPT, seeded(0), max_tokens=30, ignore_eos=True)
    driver.step_until(lambda: driver.num_output_tokens(source) >= 9)
    fork = driver.submit(ForkPrompt(source), seeded(1), max_tokens=20, ignore_eos=True)
    driver.run()
    assert driver.batcher.forked == [fork]
    assert driver.answers[fork].token_ids == expected
    assert driver.answers[source].token_ids == alone(driver, LONG_PROMPT, seeded(0), 30)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 8])
def test_the_end_of_the_source_leaves_its_forks_alone(driver: EngineDriver, num_steps: int) -> None:
    """In its prefill, just when the forks begin, and later."""
    expected = [alone(driver, LONG_PROMPT, seeded(seed), 12) for seed in (1, 2)]
    source, *forks = submit_choices(driver, LONG_PROMPT, [seeded(seed) for seed in range(3)], 12)
    for _ in range(num_steps):
        driver.step()
    driver.cancel(source)
    others = [driver.submit("x" * 100, GREEDY, max_tokens=8) for _ in range(2)]
    driver.run()
    assert [driver.answers[i].token_ids for i in forks] == expected
    assert len({driver.answers[i].text for i in others}) == 1
    assert driver.num_free_cells == driver.model.kv_cells


@pytest.mark.parametrize("num_tokens", [0, 1, 6])
def test_pauses_of_source_and_forks_change_nothing(driver: EngineDriver, num_tokens: int) -> None:
    expected = [alone(driver, LONG_PROMPT, seeded(seed), 12) for seed in range(3)]
    sequence_ids = submit_choices(driver, LONG_PROMPT, [seeded(seed) for seed in range(3)], 12)
    for sequence_id in sequence_ids:
        driver.step()
        driver.step_until(lambda: driver.num_output_tokens(sequence_ids[0]) >= num_tokens)
        driver.pause(sequence_id)
        driver.step()
        driver.resume(sequence_id)
    driver.run()
    assert [driver.answers[i].token_ids for i in sequence_ids] == expected


def test_a_source_that_stays_paused_does_not_hold_its_forks(driver: EngineDriver) -> None:
    source, fork = submit_choices(driver, LONG_PROMPT, [GREEDY, GREEDY], 8)
    driver.step()
    driver.pause(source)
    driver.run()
    assert driver.answers[fork].reason == "length"
    driver.resume(source)
    driver.run()
    assert driver.answers[source].token_ids == driver.answers[fork].token_ids


def test_more_choices_than_places_all_end_as_each_alone(driver: EngineDriver) -> None:
    num = 2 * MAX_SEQUENCES
    expected = [alone(driver, "The quick", seeded(seed), 6 + seed) for seed in range(num)]
    source = driver.submit("The quick", seeded(0), max_tokens=6, ignore_eos=True)
    forks = [
        driver.submit(ForkPrompt(source), seeded(seed), max_tokens=6 + seed, ignore_eos=True) for seed in range(1, num)
    ]
    driver.run()
    assert [driver.answers[i].token_ids for i in [source, *forks]] == expected


def test_cell_pressure_evicts_forks_and_gives_the_same_text(tight_driver: EngineDriver) -> None:
    """64 cells: four answers of 30 tokens to one prompt of 20 do not fit, however much they share."""
    driver = tight_driver
    prompt = "abcdefghijklmnopqrst"
    expected = [alone(driver, prompt, seeded(seed, EDITED), 30) for seed in range(4)]
    sequence_ids = submit_choices(driver, prompt, [seeded(seed, EDITED) for seed in range(4)], 30)
    driver.run()
    assert driver.batcher.evicted
    assert [driver.answers[i].token_ids for i in sequence_ids] == expected
    assert all(len(driver.answers[i].likelihoods) == 30 for i in sequence_ids)
    assert driver.num_free_cells == 64


def test_shared_cells_really_are_shared(loaded_engines: Callable[[str], EngineUnderTest]) -> None:
    """The engine has 1,024 cells: two prompts of 480 tokens fit in, four copies of one do not."""
    loaded = loaded_engines("llamacpp")
    driver = EngineDriver(loaded.engine, context_length=500)
    assert loaded.model.kv_cells == 1024
    for letter in "xyz":
        sequence_ids = submit_choices(driver, letter * 480, [seeded(seed) for seed in range(4)], 5)
        driver.run()
        assert driver.batcher.forked[-3:] == sequence_ids[1:]
    assert not driver.batcher.evicted
    assert all(answer.reason == "length" for answer in driver.answers.values())
    assert driver.num_free_cells == driver.model.kv_cells


@pytest.mark.parametrize("name", ["llamacpp", "mlx"])
def test_a_fork_of_what_is_not_in_the_cache_is_refused(
    name: str, loaded_engines: Callable[[str], EngineUnderTest]
) -> None:
    loaded = loaded_engines(name)
    driver = EngineDriver(loaded.engine)
    source, target = driver.submit(LONG_PROMPT, GREEDY), driver.submit("x", GREEDY)
    assert not driver.engine.fork(987_654, target, 5)
    assert not driver.engine.fork(source, target, 5), "nothing is computed yet"
    driver.step()
    assert not driver.engine.fork(source, 987_654, NUM_TOKENS + 100)
    driver.run()
    driver.engine.remove(987_654)
