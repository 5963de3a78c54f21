"""Between batcher and engine: places of a prompt that are rows and not tokens."""

import dataclasses

import pytest

from backends.base import LoadedEngine
from backends.batching.batcher import Batcher
from backends.batching.runner import BatchRunner
from backends.fake.engine import FakeEngine
from backends.fake.tower import rows_of
from backends.sequence import Sequence
from backends.wire.load import LoadSpec, VisionSpec
from backends.wire.request import SamplingParams
from tests.backends.conftest import EngineUnderTest
from tests.support.tiles import spliced, tile_of

NUM_ROWS = 20


def with_span(sequence_id: int) -> Sequence:
    """Ten tokens, twenty rows, ten tokens."""
    tile = tile_of((250, 0, 0), 4, 5)
    tile.rows = rows_of(tile)
    token_ids, spans = spliced([97] * 10, tile, [98] * 10)
    return Sequence(sequence_id, token_ids, len(token_ids), 2, SamplingParams(temperature=0), spans=spans)


def fake() -> LoadedEngine:
    return FakeEngine().load(LoadSpec(model_path="", vision=VisionSpec(family="llava")), lambda _share: None)


def runner_of(engine: LoadedEngine) -> BatchRunner:
    return BatchRunner(engine, Batcher(dataclasses.replace(engine.limits, step_tokens=16)))


def chunks_of(runner: BatchRunner, sequence: Sequence) -> list[tuple[int, int, bool]]:
    """Run a sequence to the end of its prompt; return where its chunks begin and end, and whether they are rows."""
    chunks = []
    while sequence.num_output_tokens == 0:
        plan = runner.plan(0.0)
        chunks += [(chunk.start, chunk.end, chunk.rows is not None) for chunk in plan.chunks]
        assert all(chunk.rows is None or len(chunk.rows) == chunk.num_tokens for chunk in plan.chunks)
        for sequence_id, token_ids in runner.step(plan, lambda: False).tokens.items():
            for token_id in token_ids:
                runner.batcher.on_token(sequence_id, token_id)
    return chunks


def num_rows_of(chunks: list[tuple[int, int, bool]]) -> int:
    return sum(end - start for start, end, is_rows in chunks if is_rows)


def test_a_chunk_is_all_tokens_or_all_rows() -> None:
    runner, first, second = runner_of(fake()), with_span(1), with_span(2)
    runner.start(first, None)
    assert chunks_of(runner, first) == [(0, 10, False), (10, 26, True), (26, 30, True), (30, 40, False)]
    runner.remove(1)
    runner.start(second, None)
    assert num_rows_of(chunks_of(runner, second)) == NUM_ROWS


def test_rows_are_shared_as_tokens_are() -> None:
    runner, first, second = runner_of(fake()), with_span(1), with_span(2)
    runner.start(first, None)
    assert num_rows_of(chunks_of(runner, first)) == NUM_ROWS
    runner.start(second, None)
    chunks = chunks_of(runner, second)
    assert chunks[-1] == (39, 40, False)
    assert num_rows_of(chunks) == 0


def test_an_engine_that_evaluates_no_rows_gets_none(loaded_real: EngineUnderTest) -> None:
    with pytest.raises(AssertionError, match="cannot evaluate"):
        runner_of(loaded_real.engine).start(with_span(1), None)
