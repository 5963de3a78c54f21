"""What a worker saves between its requests, and what the next one finds: long beginnings that came more than once."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.batching.repeats import MIN_TOKENS
from backends.saved_caches.folder import SUFFIX
from backends.wire.messages import CacheDiscarded, Delta, Generate, Pause
from backends.wire.prompts import TokenPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from backends.wire.stats import Stats
from tests.support import tiny_model
from tests.support.bare_engine import text_ids
from tests.support.engine_driver import Answer
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

SYSTEM = text_ids(MIN_TOKENS + 100)
CONTEXT_LENGTH = 8192


@pytest.fixture(scope="session")
def long_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("long")
    return {
        "fake": folder,
        "llamacpp": tiny_model.write_gguf(folder / "tiny.gguf", context_length=CONTEXT_LENGTH),
        "mlx": tiny_model.write_mlx(folder / "tiny", context_length=CONTEXT_LENGTH),
    }


@pytest.fixture(params=["fake", "llamacpp", "mlx"])
def start(
    request: pytest.FixtureRequest, long_models: dict[str, Path], tmp_path: Path
) -> Iterator[Callable[[], WorkerProcess]]:
    """Starts workers with the same folder of saved caches."""
    workers: list[WorkerProcess] = []

    def start_worker() -> WorkerProcess:
        worker = WorkerProcess(request.param)
        workers.append(worker)
        load: dict[str, Any] = {"context_length": CONTEXT_LENGTH, "saved_caches_dir": str(tmp_path / "model")}
        worker.load(long_models[request.param], kv_cells=4 * CONTEXT_LENGTH, **load)
        return worker

    yield start_worker
    for worker in workers:
        worker.__exit__(None, None, None)


def ask(worker: WorkerProcess, token_ids: list[int], owner: str | None = None, max_tokens: int = 6) -> Answer:
    sequence_id = len(worker.answers) + 1
    spec = SequenceSpec(SamplingParams(temperature=0), max_tokens, owner=owner)
    worker.send(Generate(sequence_id, TokenPrompt(token_ids), spec))
    worker.wait_for_ends([sequence_id])
    return worker.answer(sequence_id)


def cached(answer: Answer) -> int:
    return answer.end.usage.num_cached_tokens


def wait_for_files(worker: WorkerProcess, number: int = 1) -> Stats:
    told: list[Stats] = []

    def is_written() -> bool:
        told.extend(event for event in worker.events if isinstance(event, Stats))
        return bool(told) and told[-1].num_written_caches >= number

    worker.wait_until(is_written)
    return told[-1]


def files(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "model").glob(f"*{SUFFIX}"))


def test_what_came_twice_is_found_by_the_next_worker(start: Callable[[], WorkerProcess], tmp_path: Path) -> None:
    """By one that was killed as well, by all conversations that begin so, and by no other key's."""
    worker = start()
    first = ask(worker, [*SYSTEM, *text_ids(20, seed=1)], "key")
    assert files(tmp_path) == []
    assert cached(ask(worker, [*SYSTEM, *text_ids(20, seed=2)], "key")) == len(SYSTEM)
    assert wait_for_files(worker).written_cache_bytes == sum(path.stat().st_size for path in files(tmp_path))
    worker.process.kill()
    worker = start()
    assert cached(ask(worker, [*SYSTEM, *text_ids(20, seed=3)])) == 0, "it is nobody else's"
    third = ask(worker, [*SYSTEM, *text_ids(20, seed=4)], "key")
    assert cached(third) == len(SYSTEM)
    again = ask(worker, [*SYSTEM, *text_ids(20, seed=1)], "key")
    assert (cached(again), again.text) == (len(SYSTEM), first.text)
    stats = wait_for_stats(worker)
    assert (stats.num_loaded_caches, stats.num_discarded_caches) == (1, 0)
    assert stats.loaded_cache_tokens >= len(SYSTEM)
    assert stats.loaded_cache_bytes > 0


def wait_for_stats(worker: WorkerProcess) -> Stats:
    worker.wait_until(lambda: any(isinstance(event, Stats) and event.num_loaded_caches for event in worker.events))
    return next(event for event in reversed(worker.events) if isinstance(event, Stats))


def test_the_next_turn_is_a_repetition_and_a_grown_conversation_replaces_its_file(
    start: Callable[[], WorkerProcess], tmp_path: Path
) -> None:
    worker, turns = start(), list(SYSTEM)
    for number in range(4):
        turns += text_ids(700, seed=number)
        ask(worker, turns)
    wait_for_files(worker, 2)
    assert len(files(tmp_path)) == 1
    worker.process.kill()
    # The first save has two turns, the second at least three; the fourth turn's may be still to come.
    assert cached(ask(start(), turns)) >= len(turns) - 2 * 700


def test_a_damaged_file_is_told_of_and_thrown_away(start: Callable[[], WorkerProcess], tmp_path: Path) -> None:
    worker = start()
    expected = [ask(worker, [*SYSTEM, number]).text for number in (33, 34)][1]
    wait_for_files(worker)
    (path,) = files(tmp_path)
    data = bytearray(path.read_bytes())
    data[-1000] ^= 1
    path.write_bytes(data)
    worker = start()
    again = ask(worker, [*SYSTEM, 34])
    assert (cached(again), again.text) == (0, expected)
    told = [event for event in worker.events if isinstance(event, CacheDiscarded)]
    assert told == [CacheDiscarded(str(path), "it is damaged")]
    assert files(tmp_path) == []


def test_nothing_is_written_while_somebody_is_answered(start: Callable[[], WorkerProcess], tmp_path: Path) -> None:
    worker = start()
    spec = SequenceSpec(SamplingParams(temperature=0), None, ignore_eos=True)
    worker.send(Generate(900, TokenPrompt(text_ids(40, seed=8)), spec))
    worker.wait_for(Delta)
    worker.send(Pause(900))
    for number in (33, 34, 35):
        ask(worker, [*SYSTEM, number])
    assert not (tmp_path / "model").exists()
