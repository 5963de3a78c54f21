"""Embeddings and questions through a real worker process."""

from pathlib import Path

import llama_cpp
import numpy as np
import pytest

from backends.wire.messages import (
    Aborted,
    Answered,
    Ask,
    Cancel,
    Delta,
    Embed,
    Embedded,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Loaded,
    Shutdown,
)
from backends.wire.prompts import ChatPrompt, TextPrompt, TokenPrompt
from backends.wire.questions import (
    MAX_TEXT_BYTES,
    ApplyTemplate,
    CountTexts,
    CountTokens,
    Describe,
    Description,
    Detokenize,
    Question,
    Text,
    TextCounts,
    TokenCount,
    Tokenize,
    Tokens,
)
from backends.wire.request import Pooling, SequenceSpec
from tests.support import tiny_bert
from tests.support.engine_driver import GREEDY
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow

FOX = "the quick brown fox jumps over the lazy dog."
SLOW_S = 0.01


def read_until_end(worker: WorkerProcess, sequence_id: int) -> list[object]:
    """Return the events of one request, up to its terminal message."""
    events: list[object] = []
    while True:
        event = worker.next_event()
        if getattr(event, "sequence_id", None) == sequence_id:
            events.append(event)
            if isinstance(event, Finished | Failed | Aborted | Answered):
                return events


def vectors(worker: WorkerProcess, message: Embed) -> list[np.ndarray]:
    worker.send(message)
    *embedded, finished = read_until_end(worker, message.sequence_id)
    assert isinstance(finished, Finished), finished
    return [np.frombuffer(event.vector, "<f4") for event in embedded if isinstance(event, Embedded)]


def failure(worker: WorkerProcess, message: Embed | Ask | Generate) -> Failed:
    worker.send(message)
    (event,) = read_until_end(worker, message.sequence_id)
    assert isinstance(event, Failed), event
    return event


class TestEncoder:
    """A BERT: bidirectional, pooled by the library."""

    @pytest.mark.parametrize("pooling", ["MEAN", "CLS"])
    def test_gives_what_the_library_gives(self, tmp_path: Path, pooling: str) -> None:
        path = tiny_bert.write_gguf(tmp_path / "bert.gguf", pooling=pooling)
        oracle = llama_cpp.Llama(str(path), embedding=True, n_ctx=tiny_bert.CONTEXT_LENGTH, verbose=False)
        texts = [FOX, "a fox", "jumping foxes", "the unknown zzz"]
        expected = [np.array(oracle.embed(text, normalize=True), np.float32) for text in texts]
        num_tokens = len(oracle.tokenize(FOX.encode()))
        oracle.close()
        with WorkerProcess("llamacpp") as worker:
            loaded = worker.load(path)
            assert isinstance(loaded, Loaded)
            assert (loaded.model.can_generate, loaded.model.pooling) == (False, Pooling(pooling.lower()))
            assert loaded.model.context_length == tiny_bert.CONTEXT_LENGTH
            for vector, oracles in zip(vectors(worker, Embed(1, list(texts))), expected, strict=True):
                assert np.abs(vector - oracles).max() < 1e-5
            worker.send(Embed(2, [FOX]))
            first, _ = read_until_end(worker, 2)
            assert isinstance(first, Embedded)
            assert first.num_tokens == num_tokens, "CLS and SEP stand around a text"

    def test_one_that_names_no_pooling_is_pooled_as_asked(self, tmp_path: Path) -> None:
        silent = tiny_bert.write_gguf(tmp_path / "silent.gguf", pooling=None)
        with WorkerProcess("llamacpp") as worker:
            loaded = worker.load(silent)
            assert isinstance(loaded, Loaded)
            assert loaded.model.pooling is None
            (default,), (mean,), (last,) = (
                vectors(worker, Embed(number, [FOX], pooling))
                for number, pooling in enumerate([None, Pooling.MEAN, Pooling.LAST], 1)
            )
            assert np.array_equal(default, mean)
            assert not np.allclose(mean, last)

    def test_refuses_what_it_cannot_do_and_goes_on(self, tmp_path: Path) -> None:
        with WorkerProcess("llamacpp") as worker:
            worker.load(tiny_bert.write_gguf(tmp_path / "bert.gguf"))
            too_long = failure(worker, Embed(1, ["a", "a " * 200]))
            assert (too_long.code, too_long.param) == ("context_length_exceeded", "input[1]")
            assert failure(worker, Embed(2, ["a"], Pooling.LAST)).param == "pooling"
            text = failure(worker, Generate(3, TextPrompt("the fox"), SequenceSpec(GREEDY)))
            assert (text.code, text.param) == ("unsupported_by_model", "model")
            chat = failure(worker, Ask(4, ApplyTemplate(ChatPrompt([{"role": "user", "content": "a"}]))))
            assert (chat.code, chat.param) == ("unsupported_by_model", "messages")
            assert len(vectors(worker, Embed(5, ["a"]))) == 1

    def test_an_input_may_fill_the_context(self, tmp_path: Path) -> None:
        with WorkerProcess("llamacpp") as worker:
            worker.load(tiny_bert.write_gguf(tmp_path / "bert.gguf"), step_tokens=16)
            assert len(vectors(worker, Embed(1, [[9] * tiny_bert.CONTEXT_LENGTH]))) == 1

    def test_one_that_is_too_long_loses_its_end_where_that_is_wanted(self, tmp_path: Path) -> None:
        with WorkerProcess("llamacpp") as worker:
            worker.load(tiny_bert.write_gguf(tmp_path / "bert.gguf"))
            text = "a " * (2 * tiny_bert.CONTEXT_LENGTH)
            (cut,) = vectors(worker, Embed(1, [text], truncates=True))
            (longer,) = vectors(worker, Embed(2, [text * 20_000], truncates=True))
            (short,) = vectors(worker, Embed(3, ["a"], truncates=True))
            assert np.array_equal(cut, longer)
            assert not np.array_equal(cut, short)

    def test_a_reranker_has_no_embeddings(self, tmp_path: Path) -> None:
        with WorkerProcess("llamacpp") as worker:
            worker.load(tiny_bert.write_gguf(tmp_path / "rank.gguf", pooling="RANK"))
            assert failure(worker, Embed(1, ["a"])).code == "unsupported_by_model"


class TestTurns:
    """On the fake engine, whose speed is set."""

    def test_a_cancel_acts_at_once(self) -> None:
        with WorkerProcess("fake", prefill_s_per_token=1000.0) as worker:
            worker.load(step_tokens=4096)
            worker.send(Embed(1, ["a" * 2000]), Embed(2, ["b" * 2000]))
            worker.wait_for(Heartbeat)
            worker.send(Cancel(1), Cancel(2))
            assert [type(event) for event in read_until_end(worker, 1)] == [Aborted]
            assert [type(event) for event in read_until_end(worker, 2)] == [Aborted]

    def test_streams_keep_pace_beside_a_long_request(self) -> None:
        with WorkerProcess("fake", prefill_s_per_token=0.001, decode_s=0.01) as worker:
            worker.load()
            worker.send(
                Embed(1, ["a" * 4000] * 20), Generate(2, TextPrompt("abc"), SequenceSpec(GREEDY, max_tokens=20))
            )
            events = read_until_end(worker, 2)
            assert sum(isinstance(event, Delta) for event in events) >= 15
            assert not worker.answer(1).terminals
            worker.send(Cancel(1))
            read_until_end(worker, 1)

    def test_nothing_is_sent_twice_when_a_long_piece_sends_a_heartbeat(self) -> None:
        with WorkerProcess("fake", prefill_s_per_token=0.15) as worker:
            worker.load()
            worker.send(Embed(1, ["a" * 16]), Generate(2, TextPrompt("a"), SequenceSpec(GREEDY, max_tokens=3)))
            events = read_until_end(worker, 1)
            assert [type(event) for event in events] == [Embedded, Finished]
            answer = worker.answer(2)
            assert len(answer.text) == answer.end.usage.num_output_tokens == 3
            assert any(isinstance(event, Heartbeat) for event in worker.events)

    def test_a_question_is_answered_in_the_middle_of_a_long_request(self) -> None:
        with WorkerProcess("fake", prefill_s_per_token=SLOW_S) as worker:
            worker.load(step_tokens=64)
            worker.send(Embed(1, ["a" * 2000]), Ask(2, Tokenize("ab")))
            (event,) = read_until_end(worker, 2)
            assert event == Answered(2, Tokens([97, 98]))
            assert not worker.answer(1).terminals

    def test_shutdown_ends_what_runs(self) -> None:
        with WorkerProcess("fake", prefill_s_per_token=SLOW_S) as worker:
            worker.load()
            worker.send(Embed(1, ["a" * 2000]))
            worker.wait_for(Heartbeat)
            worker.send(Shutdown())
            assert [type(event) for event in read_until_end(worker, 1)] == [Aborted]
            assert worker.wait_for_exit() == 0

    def test_nothing_is_answered_before_a_load(self) -> None:
        with WorkerProcess("fake") as worker:
            worker.wait_for(Hello)
            assert failure(worker, Ask(1, Describe())).code == "model_load_failed"
            assert failure(worker, Embed(2, ["a"])).code == "model_load_failed"


def ask(worker: WorkerProcess, sequence_id: int, question: Question) -> object:
    worker.send(Ask(sequence_id, question))
    (event,) = read_until_end(worker, sequence_id)
    assert isinstance(event, Answered), event
    return event.answer


@pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
def test_questions_have_the_same_answers_on_both_engines(engine: str, tiny_gguf: Path, tiny_mlx: Path) -> None:
    with WorkerProcess(engine) as worker:
        assert isinstance(worker.load(tiny_gguf if engine == "llamacpp" else tiny_mlx), Loaded)
        text = "a té<|im_end|>\0"
        token_ids = [97, 256, 0xC3, 0xA9, 258, 0]
        pieces = [b"a", b" t", b"\xc3", b"\xa9", b"<|im_end|>", b"\0"]
        assert ask(worker, 1, Tokenize(text, with_pieces=True)) == Tokens(token_ids, pieces)
        assert ask(worker, 2, Detokenize(token_ids)) == Text(text)
        assert ask(worker, 3, Detokenize([0xC3])) == Text("\ufffd")
        plain = ask(worker, 4, Tokenize("<|im_end|>", parse_special=False))
        assert isinstance(plain, Tokens)
        assert 258 not in plain.token_ids
        chat = ChatPrompt([{"role": "user", "content": "hi"}])
        prompt = ask(worker, 5, ApplyTemplate(chat))
        assert isinstance(prompt, Text)
        assert prompt.text.startswith("<|im_start|>user\nhi<|im_end|>")
        counted, tokens = ask(worker, 6, CountTokens(chat)), ask(worker, 7, Tokenize(prompt.text))
        assert isinstance(tokens, Tokens)
        assert counted == TokenCount(len(tokens.token_ids))
        assert ask(worker, 8, CountTokens(TokenPrompt([1, 2, 3]))) == TokenCount(3)
        assert ask(worker, 13, CountTexts(["ab", "", "<|im_end|>"])) == TextCounts([2, 0, len(plain.token_ids)])
        description = ask(worker, 9, Describe())
        assert isinstance(description, Description)
        assert (description.bos_text, description.eos_text) == ("<|im_start|>", "<|im_end|>")
        assert failure(worker, Ask(10, Detokenize([259]))).param == "tokens"
        assert failure(worker, Ask(11, Tokenize("a" * (MAX_TEXT_BYTES + 1)))).param == "content"
        assert failure(worker, Ask(14, CountTexts(["a" * MAX_TEXT_BYTES, "a"]))).param == "content"
        assert isinstance(ask(worker, 12, Tokenize("a" * MAX_TEXT_BYTES)), Tokens)
