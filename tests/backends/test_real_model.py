"""The bundled SmolLM2 through a real worker: sense, determinism, a batch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.wire.messages import Generate, Loaded
from backends.wire.request import SequenceSpec
from tests.support.engine_driver import GREEDY, user_says
from tests.support.worker_process import WorkerProcess

pytestmark = [pytest.mark.real_model, pytest.mark.slow]


@pytest.fixture(scope="module")
def worker(bundled_gguf: Path) -> Iterator[WorkerProcess]:
    with WorkerProcess("llamacpp") as worker:
        loaded = worker.load(bundled_gguf, context_length=1024, max_sequences=4, kv_cells=2048)
        assert isinstance(loaded, Loaded)
        assert all(device.startswith("CPU") for device in loaded.model.devices)
        yield worker


def ask(worker: WorkerProcess, first_id: int, questions: list[str]) -> list[str]:
    sequence_ids = list(range(first_id, first_id + len(questions)))
    messages = [
        Generate(sequence_id, user_says(question), SequenceSpec(GREEDY, max_tokens=16))
        for sequence_id, question in zip(sequence_ids, questions, strict=True)
    ]
    worker.send(*messages)
    worker.wait_for_ends(sequence_ids)
    return [worker.answer(sequence_id).text for sequence_id in sequence_ids]


def test_answers_sensibly_and_the_same_twice(worker: WorkerProcess) -> None:
    question = "What is the capital of France? Answer in one short sentence."
    first, second = (ask(worker, first_id, [question])[0] for first_id in (100, 200))
    assert "Paris" in first
    assert first == second


def test_a_batch_of_four_answers_each_question(worker: WorkerProcess) -> None:
    questions = [
        f"What is the capital of {country}? Answer in one short sentence."
        for country in ("France", "Italy", "Japan", "Germany")
    ]
    answers = ask(worker, 300, questions)
    capitals = ["Paris", "Rome", "Tokyo", "Berlin"]
    assert sum(capital in answer for capital, answer in zip(capitals, answers, strict=True)) >= 3
