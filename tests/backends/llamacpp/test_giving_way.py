"""Steps that are given up because their threads wait for cores, and begin again with fewer."""

from pathlib import Path

import pytest

from backends.llamacpp.loaded import LoadedLlamaCpp
from backends.llamacpp.threads import ThreadCount
from backends.wire.load import LoadSpec
from tests.support.bare_engine import load
from tests.support.engine_driver import GREEDY, EngineDriver

PROMPT = "the quick brown fox jumps over the lazy dog " * 8


class Crowded(ThreadCount):
    """Finds in the middle of a step, as soon as it is asked for the third time, that its threads do not get cores."""

    def __init__(self) -> None:
        super().__init__(2)
        self.num_asked = 0

    def is_crowded(self, wall_s: float, cpu_s: float) -> bool:
        del wall_s, cpu_s
        self.num_asked += self.num > 1
        return self.num > 1 and self.num_asked >= 3

    def on_step(self, now: float, wall_s: float, cpu_s: float, *, was_given_up: bool = False) -> None:
        del wall_s, cpu_s
        super().on_step(now, 1.0, 2.0, was_given_up=was_given_up)


def loaded(path: Path, **changes: object) -> LoadedLlamaCpp:
    spec = LoadSpec(model_path=str(path), context_length=1024, max_sequences=2, step_tokens=256, **changes)  # type: ignore[arg-type]
    engine = load("llamacpp", spec)
    assert isinstance(engine, LoadedLlamaCpp)
    return engine


def answer_of(engine: LoadedLlamaCpp) -> str:
    driver = EngineDriver(engine)
    sequence_id = driver.submit(PROMPT, GREEDY, max_tokens=12)
    driver.run()
    return driver.answers[sequence_id].text


def test_the_answer_is_that_of_an_undisturbed_step(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = loaded(tiny_gguf, num_threads=1)
    expected = answer_of(calm)
    calm.close()
    engine, threads = loaded(tiny_gguf), Crowded()
    monkeypatch.setattr(engine, "_threads", threads)
    assert answer_of(engine) == expected
    assert (threads.num, threads.num_changes) == (1, 1)
    engine.close()


def test_a_count_that_was_set_does_not_move(tiny_gguf: Path) -> None:
    engine = loaded(tiny_gguf, num_threads=2)
    threads = engine._threads
    assert not threads.wants_look(0.0)
    threads.on_step(1.0, 10.0, 1.0)
    assert threads.num == 2
    engine.close()


def test_a_share_of_the_cores_is_the_most(tiny_gguf: Path) -> None:
    engine = loaded(tiny_gguf, max_threads=1)
    assert engine._threads.most == 1
    engine.close()
