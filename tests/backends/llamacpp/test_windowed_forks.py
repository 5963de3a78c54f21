"""Forks on a model some of whose layers see a window only: their memory may have dropped what a fork would need."""

from collections.abc import Iterator
from pathlib import Path

import llama_cpp
import pytest

from backends.llamacpp.caches import num_slots_for
from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.wire.load import LoadSpec
from backends.wire.prompts import ForkPrompt
from backends.wire.request import SamplingParams
from tests.support import tiny_windowed
from tests.support.bare_engine import BareEngine, load, text_ids
from tests.support.engine_driver import EngineDriver
from tests.support.tiny_windowed import WINDOW

SAMPLINGS = [SamplingParams(temperature=0.9, seed=seed) for seed in range(3)]


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[EngineDriver]:
    path = tiny_windowed.write_gguf(tmp_path / "windowed.gguf")
    spec = LoadSpec(
        model_path=str(path), context_length=256, max_sequences=3, kv_cells=512, step_tokens=64, num_threads=1
    )
    engine = load("llamacpp", spec)
    assert isinstance(engine, LoadedLlamaCpp)
    assert llama_cpp.llama_model_n_swa(engine._model) == WINDOW
    yield EngineDriver(engine)
    engine.close()


@pytest.mark.parametrize("num_prompt", [WINDOW - 6, 60, 200])
@pytest.mark.parametrize("num_answered", [0, 3, WINDOW * 2])
def test_forks_are_what_their_seeds_give_alone(driver: EngineDriver, num_prompt: int, num_answered: int) -> None:
    """Again and again, so that cells which have left the window are used anew."""
    prompt = ("abcdefgh" * 30)[:num_prompt]
    expected = [driver.answer(prompt, sampling, max_tokens=40, ignore_eos=True).token_ids for sampling in SAMPLINGS]
    for _ in range(3):
        source = driver.submit(prompt, SAMPLINGS[0], max_tokens=40, ignore_eos=True)
        driver.step_until(lambda: driver.num_output_tokens(source) >= num_answered)  # noqa: B023 - used at once
        forks = [
            driver.submit(ForkPrompt(source), sampling, max_tokens=40, ignore_eos=True) for sampling in SAMPLINGS[1:]
        ]
        driver.run()
        assert [driver.answers[i].token_ids for i in [source, *forks]] == expected


def test_a_source_whose_first_cells_are_gone_is_not_forked(
    driver: EngineDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what the window of token 60 holds; the tokens before that may be gone."""
    source, target = driver.submit("abcdefgh" * 8, max_tokens=8), driver.submit("abcdefgh" * 8, max_tokens=8)
    driver.step_until(lambda: driver.num_output_tokens(source) >= 2)
    driver.engine.remove(target)
    monkeypatch.setattr(llama_cpp, "llama_memory_seq_pos_min", lambda _memory, _slot: 60 - WINDOW + 1)
    assert not driver.engine.fork(source, target, 60)


@pytest.mark.parametrize("num_prompt", [WINDOW - 6, 60, 200])
@pytest.mark.parametrize("num_left_out", [0, 3, WINDOW, 50])
def test_forks_of_retired_sequences_are_right_or_refused(
    driver: EngineDriver, num_prompt: int, num_left_out: int
) -> None:
    bare = BareEngine(driver.engine)
    other = text_ids(20, seed=1)
    source = bare.insert(text_ids(num_prompt))
    bare.run(source, num_tokens=40)
    num_tokens = bare.retire(source) - num_left_out
    assert num_tokens == len(source.token_ids) - 1 - num_left_out
    if num_tokens < 1:
        return
    text = source.token_ids[:num_tokens] + other
    fork = bare.fork(source, num_tokens, text)
    assert fork is not None or num_left_out > 0, "as a whole it can always be used"
    if fork is not None:
        answers = bare.run(fork, num_tokens=20)
        bare.remove(fork)  # both together are too much for the cells
        assert answers == [bare.fresh_answer(text, 20)]
    bare.close()


@pytest.mark.parametrize(("has_full_windows", "num_slots"), [(True, 27), (False, 3)])
def test_slots_are_added_where_they_take_no_memory(
    driver: EngineDriver, num_slots: int, *, has_full_windows: bool
) -> None:
    assert isinstance(driver.engine, LoadedLlamaCpp)
    spec = LoadSpec(model_path="", max_sequences=3)
    assert num_slots_for(driver.engine._model, spec, has_full_windows=has_full_windows) == num_slots


@pytest.mark.parametrize("num_prompt", [WINDOW - 6, 60, 200])
@pytest.mark.parametrize("draft", [3, 15])
def test_wrong_drafts_leave_what_the_window_sees(driver: EngineDriver, num_prompt: int, draft: int) -> None:
    bare = BareEngine(driver.engine)
    prompt = text_ids(num_prompt)
    right = bare.fresh_answer(prompt, 40)
    for spoilt_every in (1, 3, 8):
        sequence = bare.insert(prompt)
        assert bare.run_drafted(sequence, right, draft=draft, spoilt_every=spoilt_every) == right
        bare.remove(sequence)
