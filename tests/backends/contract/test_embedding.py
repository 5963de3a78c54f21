"""Embeddings on every engine: the same vectors from the same weights, whatever the pieces."""

import itertools
from collections.abc import Callable
from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from backends.process.embedding_queue import EmbeddingQueue
from backends.prompting.intake import Intake
from backends.wire.messages import Aborted, Embed, Embedded, Event, Failed, Finished
from backends.wire.request import Pooling
from tests.backends.conftest import CONTEXT_LENGTH, EngineUnderTest

pytestmark = pytest.mark.slow

TEXT = "the quick brown fox jumps over one lazy dog, and back again; so it goes on"
IDS = list(TEXT.encode())
TOLERANCE = 1e-3

EnginesUnderTest = Callable[[str], EngineUnderTest]


def vector_of(loaded: EngineUnderTest, token_ids: list[int], pooling: Pooling, piece_tokens: int = 512) -> np.ndarray:
    encoder = loaded.engine.create_encoder(pooling, len(token_ids))
    try:
        encoder.start(token_ids)
        for _ in range(len(token_ids)):
            vector = encoder.step(piece_tokens, lambda: False)
            if vector is not None:
                return np.frombuffer(vector, "<f4")
        raise AssertionError("no vector after as many steps as tokens")
    finally:
        encoder.close()


def queue_of(loaded: EngineUnderTest) -> EmbeddingQueue:
    ticks = itertools.count()
    intake = Intake(loaded.engine.tokenizer, loaded.model)
    return EmbeddingQueue(loaded.engine, loaded.model, intake, lambda: next(ticks))


def events_of(loaded: EngineUnderTest, message: Embed) -> list[Event]:
    work = queue_of(loaded)
    work.add(message)
    events: list[Event] = []
    while work.has_work:
        events += work.step(lambda _: False, is_alone=True)
    return events


def failure_of(loaded: EngineUnderTest, message: Embed) -> Failed:
    (event,) = events_of(loaded, message)
    assert isinstance(event, Failed), event
    return event


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.LAST])
def test_both_engines_give_the_same_vector(loaded_engines: EnginesUnderTest, pooling: Pooling) -> None:
    first, second = (vector_of(loaded_engines(name), IDS, pooling) for name in ("llamacpp", "mlx"))
    assert first.shape == second.shape == (64,)
    assert np.abs(first - second).max() < TOLERANCE


@pytest.mark.parametrize(
    ("pooling", "number"),
    [(Pooling.MEAN, llama_cpp.LLAMA_POOLING_TYPE_MEAN), (Pooling.LAST, llama_cpp.LLAMA_POOLING_TYPE_LAST)],
)
def test_llamacpp_gives_what_the_library_itself_pools(
    loaded_engines: EnginesUnderTest, tiny_gguf: Path, pooling: Pooling, number: int
) -> None:
    loaded = loaded_engines("llamacpp")
    oracle = llama_cpp.Llama(
        str(tiny_gguf), embedding=True, pooling_type=number, n_ctx=256, type_k=0, type_v=0, verbose=False
    )
    expected = np.array(oracle.embed(TEXT, normalize=True), np.float32)
    oracle.close()
    assert np.abs(vector_of(loaded, IDS, pooling) - expected).max() < 1e-5


@pytest.mark.parametrize("pooling", [Pooling.MEAN, Pooling.LAST, Pooling.CLS])
def test_the_size_of_the_pieces_does_not_matter(loaded: EngineUnderTest, pooling: Pooling) -> None:
    whole = vector_of(loaded, IDS, pooling)
    assert np.linalg.norm(whole) == pytest.approx(1, abs=1e-6)
    for piece_tokens in (1, 7, len(IDS) - 1):
        assert np.abs(vector_of(loaded, IDS, pooling, piece_tokens) - whole).max() < TOLERANCE


def test_inputs_do_not_see_each_other(loaded: EngineUnderTest) -> None:
    events = events_of(loaded, Embed(5, [TEXT, "x", TEXT[:9], IDS]))
    *embedded, finished = events
    assert isinstance(finished, Finished)
    vectors = []
    for index, event in enumerate(embedded):
        assert isinstance(event, Embedded)
        assert (event.sequence_id, event.index) == (5, index)
        vectors.append(np.frombuffer(event.vector, "<f4"))
    assert [event.num_tokens for event in embedded if isinstance(event, Embedded)] == [len(IDS), 1, 9, len(IDS)]
    assert finished.end.usage.num_prompt_tokens == 2 * len(IDS) + 10
    for vector, token_ids in zip(vectors, (IDS, [ord("x")], IDS[:9], IDS), strict=True):
        assert np.abs(vector - vector_of(loaded, token_ids, Pooling.MEAN)).max() < TOLERANCE


def test_an_input_may_fill_the_context_and_not_more(loaded: EngineUnderTest) -> None:
    events = events_of(loaded, Embed(1, [IDS[:3], [65] * CONTEXT_LENGTH]))
    assert isinstance(events[-1], Finished)
    failed = failure_of(loaded, Embed(1, [IDS[:3], [65] * (CONTEXT_LENGTH + 1)]))
    assert (failed.code, failed.param) == ("context_length_exceeded", "input[1]")
    assert failed.details == {"n_prompt_tokens": CONTEXT_LENGTH + 1, "n_ctx": CONTEXT_LENGTH}


def test_megabytes_are_refused_without_being_tokenized(loaded: EngineUnderTest) -> None:
    failed = failure_of(loaded, Embed(1, ["a" * 3_000_000]))
    assert (failed.code, failed.param) == ("context_length_exceeded", "input")
    assert "at least" in failed.message


@pytest.mark.parametrize("token_id", [-1, 10**8])
def test_ids_outside_the_vocabulary_are_refused_by_input(loaded: EngineUnderTest, token_id: int) -> None:
    assert failure_of(loaded, Embed(1, ["a", [65, token_id]])).param == "input[1]"


def test_a_cancel_ends_a_request_wherever_it_is(loaded: EngineUnderTest) -> None:
    for num_steps in range(12):
        work = queue_of(loaded)
        work.add(Embed(1, [IDS, IDS]))
        work.add(Embed(2, ["x"]))
        events: list[Event] = []
        for _ in range(num_steps):
            events += work.step(lambda _: False, is_alone=False)
        if any(isinstance(event, Finished) for event in events):
            break
        (aborted,) = work.cancel(1)
        assert isinstance(aborted, Aborted)
        assert work.cancel(1) == []
        assert work.sequence_ids == [2]
        rest: list[Event] = []
        while work.has_work:
            rest += work.step(lambda _: False, is_alone=True)
        assert [type(event) for event in rest] == [Embedded, Finished]


def test_generation_is_not_disturbed(loaded_real: EngineUnderTest) -> None:
    from tests.support.engine_driver import EngineDriver

    driver = EngineDriver(loaded_real.engine)
    alone = driver.answer("the fox", max_tokens=12).text
    sequence_id = driver.submit("the fox", max_tokens=12)
    work = queue_of(loaded_real)
    work.add(Embed(99, [IDS, IDS]))
    events: list[Event] = []
    while work.has_work or driver.has_work:
        if driver.has_work:
            driver.step()
        if work.has_work:
            events += work.step(lambda _: False, is_alone=False)
    driver.close()
    assert driver.answers[sequence_id].text == alone
    first, second, _ = events
    assert isinstance(first, Embedded)
    assert isinstance(second, Embedded)
    expected = vector_of(loaded_real, IDS, Pooling.MEAN)
    for event in (first, second):
        assert np.abs(np.frombuffer(event.vector, "<f4") - expected).max() < TOLERANCE
