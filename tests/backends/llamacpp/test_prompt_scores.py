"""Scores of prompts where memory is no plain cache: a model with states, and one whose layers see a window."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.wire.load import LoadSpec
from backends.wire.request import SamplingParams
from tests.support import tiny_recurrent, tiny_windowed
from tests.support.bare_engine import load, text_ids
from tests.support.engine_driver import EngineDriver

SCORED = SamplingParams(temperature=0, num_prompt_logprobs=1)
TOLD = SamplingParams(temperature=0, num_logprobs=1)


@pytest.fixture(params=[tiny_recurrent.write_gguf, tiny_windowed.write_gguf], ids=["states", "window"])
def driver(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EngineDriver]:
    write: Callable[[Path], Path] = request.param
    path = write(tmp_path / "model.gguf")
    engine = load(
        "llamacpp",
        LoadSpec(
            model_path=str(path), context_length=256, max_sequences=3, kv_cells=768, step_tokens=64, num_threads=1
        ),
    )
    yield EngineDriver(engine)
    engine.close()


def test_prompts_of_unlike_lengths_at_once_have_the_scores_of_their_draws(driver: EngineDriver) -> None:
    prompts = [text_ids(num, seed=num) for num in (5, 40, 100)]
    drawn = [driver.answer(prompt, TOLD, max_tokens=30, ignore_eos=True) for prompt in prompts]
    texts = [prompt + answer.token_ids for prompt, answer in zip(prompts, drawn, strict=True)]
    sequence_ids = [driver.submit(text, SCORED, max_tokens=1) for text in texts]
    driver.run()
    for sequence_id, prompt, answer in zip(sequence_ids, prompts, drawn, strict=True):
        told = driver.answers[sequence_id].prompt
        assert [token.token_id for token in told] == prompt + answer.token_ids
        assert [token.logprob for token in told[len(prompt) :]] == pytest.approx(
            [likelihoods.drawn.logprob for likelihoods in answer.likelihoods], abs=1e-4
        )
