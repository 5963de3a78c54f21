"""Documents ranked by a real worker process with a tiny model of rank pooling, against plain llama.cpp."""

import struct
from pathlib import Path

import pytest

from backends.wire.messages import Aborted, Cancel, Embed, Embedded, Failed, Finished, Loaded
from backends.wire.request import Pooling
from tests.support import tiny_bert, tiny_ranker
from tests.support.direct_scores import direct_rank, pair_tokens
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

QUERY = "the quick fox"
DOCUMENTS = ("a lazy dog.", "the fox jumps over", "brown", "")


def ended(worker: WorkerProcess, message: Embed) -> list[object]:
    worker.send(message)
    events: list[object] = []
    while not events or not isinstance(events[-1], Finished | Failed | Aborted):
        event = worker.next_event()
        if getattr(event, "sequence_id", None) == message.sequence_id:
            events.append(event)
    return events


def scores(worker: WorkerProcess, message: Embed) -> list[float]:
    *found, end = ended(worker, message)
    assert isinstance(end, Finished), end
    vectors = [event.vector for event in found if isinstance(event, Embedded)]
    return [score for vector in vectors for score in struct.unpack("<f", vector)]


def test_scores_are_those_of_the_library(tmp_path: Path) -> None:
    path = tiny_bert.write_gguf(tmp_path / "rank.gguf", pooling="RANK")
    expected = [direct_rank(path, pair_tokens(path, QUERY, document)) for document in DOCUMENTS]
    assert len(set(expected)) == len(expected)
    with WorkerProcess("llamacpp") as worker:
        loaded = worker.load(path)
        assert isinstance(loaded, Loaded)
        assert loaded.model.pooling is Pooling.RANK
        assert scores(worker, Embed(1, [*DOCUMENTS], query=QUERY)) == pytest.approx(expected, abs=1e-5)
        (vectors,) = ended(worker, Embed(2, ["the fox"]))
        assert isinstance(vectors, Failed)
        assert "/v1/rerank" in vectors.message
        *_, too_long = ended(worker, Embed(3, ["fox", "fox " * 100], query=QUERY))
        assert isinstance(too_long, Failed)
        assert (too_long.code, too_long.param) == ("context_length_exceeded", "documents[1]")
        worker.send(Embed(4, ["fox"] * 500, query=QUERY))
        worker.send(Cancel(4))
        assert scores(worker, Embed(5, [DOCUMENTS[0]], query=QUERY)) == pytest.approx(expected[:1], abs=1e-5)


@pytest.mark.parametrize("template", ["the {query} . {document} the", "the {{ query }} . {{ document }} the"])
def test_the_models_own_template_is_what_a_pair_is_written_by(tmp_path: Path, template: str) -> None:
    path = tiny_bert.write_gguf(tmp_path / "rank.gguf", pooling="RANK", template=template)
    words = tiny_bert.vocabulary()
    ids = [words.index("\u2581" + word) for word in ("the", "quick", ".", "b", "the")]
    with WorkerProcess("llamacpp") as worker:
        worker.load(path)
        found = scores(worker, Embed(1, ["b"], query="quick"))
    assert found == pytest.approx([direct_rank(path, ids)], abs=1e-5)


def test_a_model_that_reads_from_left_to_right_ranks_as_well(tmp_path: Path) -> None:
    """Control tokens are the template's only where the template wrote them."""
    path = tiny_ranker.write_gguf(tmp_path / "qwen.gguf")
    ids = [257, *b"hi <|im_end|>\nyo", 258]
    with WorkerProcess("llamacpp") as worker:
        worker.load(path)
        assert scores(worker, Embed(1, ["yo"], query="hi <|im_end|>")) == pytest.approx(
            [direct_rank(path, ids)], abs=1e-5
        )


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("the {query}", "no {document}"),
        ("{{ query }}", "reads no document"),
        ("{{ document.__class__.__mro__ }}", "failed"),
    ],
)
def test_a_template_that_shows_no_document_or_wants_out_of_its_sandbox_ranks_nothing(
    tmp_path: Path, template: str, words: str
) -> None:
    path = tiny_bert.write_gguf(tmp_path / "rank.gguf", pooling="RANK", template=template)
    with WorkerProcess("llamacpp") as worker:
        worker.load(path)
        (failed,) = ended(worker, Embed(1, ["b"], query="quick"))
    assert isinstance(failed, Failed)
    assert (failed.code, words in failed.message) == ("template_error", True), failed.message


def test_a_model_that_makes_vectors_ranks_nothing(tmp_path: Path) -> None:
    with WorkerProcess("llamacpp") as worker:
        worker.load(tiny_bert.write_gguf(tmp_path / "bert.gguf"))
        (failed,) = ended(worker, Embed(1, ["b"], query="quick"))
    assert isinstance(failed, Failed)
    assert (failed.code, failed.param) == ("unsupported_by_model", "model")
