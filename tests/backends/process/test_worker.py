"""The worker as a process: a real one, over a real socketpair, mostly on the fake engine."""

import random
import signal
import struct
from pathlib import Path

import gguf
import pytest

from backends.wire.frames import MAX_FRAME_BYTES
from backends.wire.load import LoadSpec
from backends.wire.messages import (
    Aborted,
    Accepted,
    Cancel,
    Command,
    Delta,
    Failed,
    Finished,
    Generate,
    Heartbeat,
    Hello,
    Load,
    Loaded,
    LoadFailed,
    LoadProgress,
    Pause,
    PrefillProgress,
    Resume,
    Shutdown,
)
from backends.wire.prompts import TextPrompt
from backends.wire.request import SamplingParams, SequenceSpec
from tests.support.engine_driver import GREEDY
from tests.support.worker_process import WorkerProcess

pytestmark = pytest.mark.slow


def generate(
    sequence_id: int, text: str = "abc", *, max_tokens: int | None = 8, sampling: SamplingParams = GREEDY
) -> Generate:
    return Generate(sequence_id, TextPrompt(text), SequenceSpec(sampling, max_tokens=max_tokens))


class TestStart:
    @pytest.mark.parametrize("engine", ["fake", "llamacpp", "mlx"])
    def test_says_hello_with_versions_and_features(self, engine: str, tmp_path: Path) -> None:
        with WorkerProcess(engine, cwd=tmp_path) as worker:
            hello = worker.next_event()
            assert isinstance(hello, Hello)
            assert hello.engine == engine
            assert hello.versions
            assert hello.features
            assert hello.import_ms >= 0
            worker.send(Shutdown())
            assert worker.wait_for_exit() == 0

    def test_an_unknown_engine_is_a_load_failure(self) -> None:
        with WorkerProcess("nonesuch") as worker:
            failed = worker.next_event()
            assert isinstance(failed, LoadFailed)
            assert failed.code == "engine_unavailable"
            assert "nonesuch" in failed.message
            assert worker.wait_for_exit() == 1

    def test_without_a_model_every_request_fails(self) -> None:
        with WorkerProcess("fake") as worker:
            worker.send(generate(1))
            worker.wait_for_ends([1])
            assert worker.answer(1).failed.code == "model_load_failed"


class TestLoad:
    def test_progress_comes_before_loaded_and_rises(self) -> None:
        with WorkerProcess("fake") as worker:
            loaded = worker.load()
            assert isinstance(loaded, Loaded)
            fractions = [event.fraction for event in worker.events if isinstance(event, LoadProgress)]
            assert fractions == sorted(set(fractions))
            assert fractions[-1] == 1

    def test_the_engines_words_come_back_and_the_worker_ends(self) -> None:
        with WorkerProcess("fake", load_error="tensor 'x' has wrong shape") as worker:
            failed = worker.load()
            assert isinstance(failed, LoadFailed)
            assert failed.message == "tensor 'x' has wrong shape"
            assert worker.wait_for_exit() == 0

    @pytest.mark.parametrize("engine", ["llamacpp", "mlx"])
    def test_a_real_engines_refusal(self, engine: str, tmp_path: Path) -> None:
        path = tmp_path / "model.gguf"
        path.write_bytes(b"not a model")
        with WorkerProcess(engine) as worker:
            failed = worker.load(path)
            assert isinstance(failed, LoadFailed)
            assert failed.code == "model_load_failed"
            assert str(path) in failed.message
            assert worker.wait_for_exit() == 0

    def test_a_file_that_makes_the_library_abort_ends_the_worker_with_its_words(self, tmp_path: Path) -> None:
        """More layers than llama.cpp's LLAMA_MAX_LAYERS of 512 is an assertion there, not an error."""
        path = tmp_path / "layers.gguf"
        writer = gguf.GGUFWriter(str(path), "llama")
        writer.add_context_length(64)
        writer.add_embedding_length(64)
        writer.add_block_count(513)
        writer.add_head_count(4)
        writer.add_feed_forward_length(64)
        writer.add_layer_norm_rms_eps(1e-5)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        with WorkerProcess("llamacpp") as worker:
            try:
                failed = worker.load(path)
            except EOFError:
                assert worker.wait_for_exit() == -signal.SIGABRT
                assert "ASSERT" in worker.stderr_text()
            else:
                assert isinstance(failed, LoadFailed)
                assert str(path) in failed.message

    def test_a_second_load_ends_the_worker_with_a_line(self) -> None:
        with WorkerProcess("fake") as worker:
            worker.load()
            worker.send(Load(LoadSpec(model_path="another")))
            assert worker.wait_for_exit() == 1
            assert "a worker loads one model in its life" in worker.stderr_text()

    def test_what_comes_with_the_load_is_served_after_it(self) -> None:
        with WorkerProcess("fake") as worker:
            worker.send(Load(LoadSpec(model_path="x")), generate(1))
            worker.wait_for_ends([1])
            assert len(worker.answer(1).text) == 8

    def test_a_crash_in_the_load_closes_the_channel(self) -> None:
        with WorkerProcess("fake", crash_at_load=True) as worker:
            with pytest.raises(EOFError):
                worker.load()
            assert worker.wait_for_exit() == -signal.SIGABRT


class TestAnswers:
    def test_accepted_then_deltas_then_finished(self) -> None:
        with WorkerProcess("fake") as worker:
            worker.load()
            worker.send(generate(1), generate(2, "x" * 3000, max_tokens=4))
            worker.wait_for_ends([1, 2])
            kinds = [type(event) for event in worker.events if getattr(event, "sequence_id", None) == 1]
            assert kinds[0] is Accepted
            assert kinds[-1] is Finished
            assert set(kinds[1:-1]) == {PrefillProgress, Delta}
            assert worker.answer(1).num_prompt_tokens == 3
            assert len(worker.answer(1).text) == 8
            assert len(worker.answer(2).text) == 4

    def test_a_refused_prompt_has_one_terminal_and_no_accepted(self) -> None:
        with WorkerProcess("fake") as worker:
            worker.load()
            worker.send(generate(1, "x" * 9000))
            worker.wait_for_ends([1])
            assert worker.answer(1).failed.details == {"n_prompt_tokens": 9000, "n_ctx": 8192}
            assert worker.answer(1).num_prompt_tokens is None

    def test_a_failed_step_fails_its_sequences_and_the_worker_goes_on(self) -> None:
        with WorkerProcess("fake", fail_at_token=5) as worker:
            worker.load()
            worker.send(generate(1), generate(2))
            worker.wait_for_ends([1, 2])
            for sequence_id in (1, 2):
                assert worker.answer(sequence_id).failed.code == "engine_error"
                assert "before token 5" in worker.answer(sequence_id).failed.message
            worker.send(generate(3, max_tokens=5))
            worker.wait_for_ends([3])
            assert worker.answer(3).reason == "length"

    def test_a_killed_worker_closes_the_channel(self) -> None:
        with WorkerProcess("fake", crash_at_token=3) as worker:
            worker.load()
            worker.send(generate(1))
            with pytest.raises(EOFError):
                worker.wait_for_ends([1])
            assert worker.wait_for_exit() == -signal.SIGKILL

    @pytest.mark.parametrize("seed", range(3))
    def test_exactly_one_terminal_each_whatever_is_interleaved(self, seed: int) -> None:
        """`Answer.take` fails on an event after the terminal one."""
        rng = random.Random(seed)
        with WorkerProcess("fake", decode_s=0.0005, prefill_s_per_token=0.00002, answer_tokens=30) as worker:
            worker.load(context_length=256, kv_cells=400, max_sequences=3)
            sequence_ids = list(range(1, 41))
            for sequence_id in sequence_ids:
                batch: list[Command] = [generate(sequence_id, "x" * rng.randint(1, 200), max_tokens=rng.randint(1, 40))]
                for _ in range(rng.randint(0, 4)):
                    target = rng.randint(1, sequence_id + 1)
                    choices: list[Command] = [Cancel(target), Pause(target), Resume(target), Resume(target)]
                    batch.append(rng.choice(choices))
                worker.send(*batch)
                if rng.random() < 0.5:
                    worker.next_event()
            worker.send(*[Resume(sequence_id) for sequence_id in sequence_ids])
            worker.wait_for_ends(sequence_ids)
            worker.send(*[Cancel(sequence_id) for sequence_id in sequence_ids], generate(99, max_tokens=1))
            worker.wait_for_ends([99])
            assert {len(worker.answer(i).terminals) for i in sequence_ids} == {1}
            assert sum(isinstance(worker.answer(i).terminals[0], Failed) for i in sequence_ids) == 0


class TestCancel:
    def cancel(self, worker: WorkerProcess, *sequence_ids: int) -> None:
        worker.send(*map(Cancel, sequence_ids))
        worker.wait_for_ends([*sequence_ids])
        assert all(isinstance(worker.answer(each).terminals[0], Aborted) for each in sequence_ids)

    def test_acts_in_queue_prefill_and_decode_within_a_step_that_does_not_end(self, tmp_path: Path) -> None:
        decode, prefill = tmp_path / "decode", tmp_path / "prefill"
        decode.touch()
        with WorkerProcess("fake", gates=str(tmp_path)) as worker:
            worker.load(max_sequences=1)
            worker.send(generate(1, "a", max_tokens=None), generate(2, "b" * 500))
            worker.wait_until(lambda: worker.answer(1).num_deltas > 0)
            self.cancel(worker, 2, 1)
            decode.rename(prefill)
            worker.send(generate(3, "c" * 500))
            worker.wait_until(lambda: worker.answer(3).num_prompt_tokens is not None)
            self.cancel(worker, 3)
            prefill.unlink()
            worker.send(generate(4, max_tokens=2))
            worker.wait_for_ends([4])
            assert worker.answer(4).reason == "length"

    @pytest.mark.real_model
    def test_acts_in_the_middle_of_a_real_prefill_and_the_next_answer_is_sound(self, bundled_gguf: Path) -> None:
        with WorkerProcess("llamacpp") as worker:
            worker.load(bundled_gguf, context_length=8192, step_tokens=2048)
            question = "The capital of France is"
            worker.send(generate(1, question))
            worker.wait_for_ends([1])
            worker.send(generate(2, "word " * 4000))
            worker.wait_until(lambda: worker.answer(2).num_prompt_tokens is not None)
            self.cancel(worker, 2)
            assert all(each.num_done < 2048 for each in worker.answer(2).progress), "the first step did not end"
            worker.send(generate(3, question))
            worker.wait_for_ends([3])
            assert worker.answer(3).text == worker.answer(1).text


class TestEnd:
    def test_shutdown_aborts_all_and_ends_in_order(self) -> None:
        with WorkerProcess("fake", decode_s=0.01) as worker:
            worker.load(max_sequences=2)
            sequence_ids = [1, 2, 3, 4]
            worker.send(*[generate(i, max_tokens=None) for i in sequence_ids])
            worker.wait_until(lambda: worker.answer(1).num_deltas > 0)
            worker.send(Shutdown())
            worker.wait_for_ends(sequence_ids)
            assert all(isinstance(worker.answer(i).terminals[0], Aborted) for i in sequence_ids)
            assert worker.wait_for_exit() == 0

    @pytest.mark.parametrize("is_busy", [False, True])
    def test_a_closed_channel_ends_the_process(self, is_busy: bool, tmp_path: Path) -> None:  # noqa: FBT001 - a case
        (tmp_path / "prefill").touch()
        with WorkerProcess("fake", gates=str(tmp_path)) as worker:
            worker.load()
            if is_busy:
                worker.send(generate(1))
                worker.wait_for(Accepted)
            worker.close_socket()
            assert worker.wait_for_exit() == 0
            assert worker.stderr_text() == ""

    @pytest.mark.parametrize(
        "garbage",
        [
            struct.pack(">I", 5) + b"hello",
            struct.pack(">I", MAX_FRAME_BYTES + 1),
            b"GET / HTTP/1.1\r\n\r\n",
            struct.pack(">I", 8) + b"\x91\x92\xa6Nobody",
        ],
        ids=["text", "oversize", "http", "unknown-tag"],
    )
    def test_garbage_on_the_channel_ends_it_with_a_line(self, garbage: bytes) -> None:
        with WorkerProcess("fake") as worker:
            worker.wait_for(Hello)
            worker.send_bytes(garbage)
            self.expect_bad_frame(worker)

    def test_garbage_in_the_middle_of_a_step_does_so_too(self, tmp_path: Path) -> None:
        (tmp_path / "prefill").touch()
        with WorkerProcess("fake", gates=str(tmp_path)) as worker:
            worker.load()
            worker.send(generate(1))
            worker.wait_for(Accepted)
            worker.send_bytes(struct.pack(">I", MAX_FRAME_BYTES + 1))
            self.expect_bad_frame(worker)

    def expect_bad_frame(self, worker: WorkerProcess) -> None:
        assert worker.wait_for_exit() == 1
        assert worker.stderr_text().startswith("worker: a frame")

    def test_an_interrupt_is_ignored(self) -> None:
        with WorkerProcess("fake", decode_s=0.002) as worker:
            worker.load()
            worker.send(generate(1, max_tokens=40))
            worker.wait_until(lambda: worker.answer(1).num_deltas > 0)
            worker.interrupt()
            worker.wait_for_ends([1])
            assert worker.answer(1).reason == "length"

    def test_a_long_step_is_accompanied_by_heartbeats(self, tmp_path: Path) -> None:
        (tmp_path / "prefill").touch()
        with WorkerProcess("fake", gates=str(tmp_path)) as worker:
            worker.load()
            worker.send(generate(1))
            assert [worker.wait_for(Heartbeat).num_running for _ in range(2)] == [1, 1]

    def test_what_comes_in_a_step_that_ends_all_other_work_is_served(self, tmp_path: Path) -> None:
        (tmp_path / "prefill").touch()
        with WorkerProcess("fake", gates=str(tmp_path)) as worker:
            worker.load()
            worker.send(generate(1, max_tokens=1))
            worker.wait_for(Accepted)
            worker.send(generate(2))
            worker.wait_for(Heartbeat)  # the look for cancels from inside the step has read it
            (tmp_path / "prefill").unlink()
            worker.wait_for_ends([1, 2])
            assert worker.answer(2).reason == "length"
