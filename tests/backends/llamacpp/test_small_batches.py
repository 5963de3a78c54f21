"""Steps that are smaller than the number of slots: the library aborts where its batch is."""

from pathlib import Path

import pytest

from backends.wire.messages import Finished, Generate, Loaded
from backends.wire.prompts import TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from tests.support.worker_process import WorkerProcess


@pytest.mark.parametrize("step_tokens", [1, 16, 31])
def test_any_step_size_loads_and_answers(tiny_gguf: Path, step_tokens: int) -> None:
    with WorkerProcess("llamacpp") as worker:
        loaded = worker.load(tiny_gguf, context_length=256, step_tokens=step_tokens, max_sequences=4)
        assert isinstance(loaded, Loaded)
        prompts = [TextPrompt(f"{index} the quick brown fox jumps over it") for index in range(3)]
        for sequence_id, prompt in enumerate(prompts, start=1):
            worker.send(Generate(sequence_id, prompt, SequenceSpec(SamplingParams(temperature=0), max_tokens=5)))
        for _ in prompts:
            assert worker.wait_for(Finished).end.usage.num_output_tokens <= 5
