"""OpenMP's threads told to sleep soon, and to spin again."""

import threading
from pathlib import Path

import pytest

from backends.llamacpp.spinning import Spinning
from backends.llamacpp.threads import ThreadCount
from tests.backends.llamacpp.test_giving_way import answer_of, loaded


def test_it_can_be_changed_and_changed_back() -> None:
    spinning = Spinning()
    if not spinning.can_change:
        pytest.skip("this build does without libgomp")
    before = threading.active_count()
    for is_short in (True, True, False, False, True, False):
        spinning.set(is_short=is_short)
        assert spinning.is_short == is_short
        assert threading.active_count() == before + is_short


def test_without_the_library_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.llamacpp.spinning._loaded_library", lambda: None)
    spinning = Spinning()
    spinning.set(is_short=True)
    assert (spinning.can_change, spinning.is_short) == (False, False)


def test_the_answer_is_the_same_with_threads_that_sleep(tiny_gguf: Path) -> None:
    calm = loaded(tiny_gguf, num_threads=1)
    expected = answer_of(calm)
    calm.close()
    engine = loaded(tiny_gguf, num_threads=2)
    engine._spinning.set(is_short=True)
    engine._threads = ThreadCount(2, can_sleep=True)
    engine._threads.on_step(1.0, 1.0, 1.0)
    engine._threads.on_step(2.0, 1.0, 0.1)
    assert engine._threads.sleeps
    assert answer_of(engine) == expected
    engine.close()
    assert not engine._spinning.is_short
