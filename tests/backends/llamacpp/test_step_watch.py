"""Steps of single tokens that are given up by a thread beside them."""

import threading
from pathlib import Path

import pytest

from backends.llamacpp.step_watch import StepWatch
from backends.llamacpp.threads import ThreadCount
from tests.backends.llamacpp.test_giving_way import answer_of, loaded
from tests.support.waiting import WITHIN_S


class Impatient(StepWatch):
    """Gives each step up that has more than one thread, before its first node."""

    def __init__(self, is_crowded: object) -> None:
        super().__init__(lambda _wall_s, _cpu_s: False)
        self.num_given_up = 0
        self._is_wanted = is_crowded

    def begin(self, wall_s: float, cpu_s: float) -> None:
        super().begin(wall_s, cpu_s)
        if callable(self._is_wanted) and self._is_wanted():
            with self._lock:
                self._was_given_up = True
                self._text[0] = b"x"
                self.num_given_up += 1


class Calm(ThreadCount):
    """Sees no machine: it moves where a step is given up, and only there."""

    def wants_look(self, now: float) -> bool:
        del now
        return False

    def is_crowded(self, wall_s: float, cpu_s: float) -> bool:
        del wall_s, cpu_s
        return False

    def on_step(self, now: float, wall_s: float, cpu_s: float, *, was_given_up: bool = False) -> None:
        del wall_s, cpu_s
        super().on_step(now, 1.0, float(self.num), was_given_up=was_given_up)


def test_a_step_that_lasts_and_is_crowded_is_told_to_end() -> None:
    has_looked = threading.Event()

    def is_crowded(_wall_s: float, _cpu_s: float) -> bool:
        has_looked.set()
        return True

    watch = StepWatch(is_crowded)
    watch.begin(0.0, 0.0)
    assert has_looked.wait(WITHIN_S)
    with watch._lock:  # until it has told the library, too
        assert watch.callback(watch.data)
    assert watch.end()
    assert not watch.callback(watch.data)
    watch.begin(0.0, 0.0)
    assert not watch.callback(watch.data)
    watch.close()


def test_nobody_looks_while_there_are_no_steps() -> None:
    watch = StepWatch(lambda _wall_s, _cpu_s: True)
    watch.begin(0.0, 0.0)
    watch.end()
    assert not watch._look()
    watch.close()


def test_the_answer_is_that_of_undisturbed_steps(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calm = loaded(tiny_gguf, num_threads=1)
    expected = answer_of(calm)
    calm.close()
    engine = loaded(tiny_gguf)
    threads = Calm(2)
    monkeypatch.setattr(engine, "_threads", threads)
    watch = Impatient(lambda: threads.num > 1)
    monkeypatch.setattr(engine, "_watch", watch)
    assert answer_of(engine) == expected
    assert (watch.num_given_up, threads.num) == (1, 1)
    engine.close()


def test_a_count_that_is_set_is_not_watched(tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = loaded(tiny_gguf, num_threads=1)
    watch = Impatient(lambda: True)
    monkeypatch.setattr(engine, "_watch", watch)
    assert answer_of(engine)
    assert watch.num_given_up == 0
    engine.close()
