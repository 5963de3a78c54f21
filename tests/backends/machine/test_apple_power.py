"""The notices of macOS' sleep, played by an object in the place of IOKit; not run on a Mac."""

import contextlib
import threading
from collections.abc import Callable, Iterator

import pytest

from backends.machine.apple_power import (
    CAN_SYSTEM_SLEEP,
    SYSTEM_HAS_POWERED_ON,
    SYSTEM_WILL_NOT_SLEEP,
    SYSTEM_WILL_SLEEP,
    PowerNotices,
)
from tests.support.fake_iokit import CONNECTION, MODE, PORT, RUN_LOOP, SOURCE, FakePower
from tests.support.waiting import WITHIN_S


@contextlib.contextmanager
def read(
    fake: FakePower,
    on_will_sleep: Callable[[threading.Event], object] = threading.Event.set,
    on_awake: Callable[[], object] = lambda: None,
    answer_within_s: float = 60.0,
) -> Iterator[PowerNotices]:
    notices = PowerNotices(on_will_sleep, on_awake, fake.libraries, answer_within_s=answer_within_s)
    thread = threading.Thread(target=notices.run)
    thread.start()
    try:
        yield notices
    finally:
        notices.stop()
        thread.join(WITHIN_S)
        assert not thread.is_alive()


def test_a_sleep_is_allowed_when_what_is_done_before_it_is_done() -> None:
    fake, told = FakePower(), list[threading.Event]()
    is_told = threading.Event()

    def on_will_sleep(may_sleep: threading.Event) -> None:
        told.append(may_sleep)
        is_told.set()

    with read(fake, on_will_sleep):
        fake.play(SYSTEM_WILL_SLEEP, 1234)
        assert is_told.wait(WITHIN_S)
        assert fake.allowed == []
        told[0].set()
        fake.wait_allowed(1)
    assert fake.allowed == [(CONNECTION, 1234)]
    assert fake.sources == [(RUN_LOOP, SOURCE, MODE)]
    assert fake.ended == ["notifier", f"connection {CONNECTION}", f"port {PORT:#x}"]


def test_an_idle_sleep_is_allowed_at_once_and_told_to_nobody() -> None:
    fake, told = FakePower(), list[object]()
    with read(fake, told.append):
        fake.play(CAN_SYSTEM_SLEEP, 7)
        fake.wait_allowed(1)
    assert (fake.allowed, told) == ([(CONNECTION, 7)], [])


@pytest.mark.parametrize("message", [SYSTEM_WILL_NOT_SLEEP, SYSTEM_HAS_POWERED_ON])
def test_a_wake_and_a_sleep_that_is_taken_back_are_told_and_not_answered(message: int) -> None:
    fake, is_awake = FakePower(), threading.Event()
    with read(fake, on_awake=is_awake.set):
        fake.play(0xE0000320)  # kIOMessageSystemWillPowerOn says nothing to us
        fake.play(message)
        assert is_awake.wait(WITHIN_S)
    assert fake.allowed == []


def test_the_system_is_answered_also_where_nobody_gets_done_or_all_fails(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a defect")

    late, failing = FakePower(), FakePower()
    with read(late, lambda _may_sleep: None, answer_within_s=0.01):
        late.play(SYSTEM_WILL_SLEEP, 1)
        late.wait_allowed(1)
    assert "took longer than the system waits" in caplog.text
    with read(failing, fail, fail):
        failing.play(SYSTEM_HAS_POWERED_ON)
        failing.play(SYSTEM_WILL_SLEEP, 2)
        failing.wait_allowed(1)
    assert "has failed" in caplog.text


def test_who_was_stopped_holds_nobody_up() -> None:
    fake, told = FakePower(), list[object]()
    notices = PowerNotices(told.append, lambda: None, fake.libraries)
    notices.stop()
    notices.run()
    assert fake.ended, "it has not waited for any notice"
    with read(fake, told.append) as late:
        fake.play(CAN_SYSTEM_SLEEP, 2)
        fake.wait_allowed(1)  # so it reads
        late._is_stopped.set()
        fake.play(SYSTEM_WILL_SLEEP, 3)
        fake.wait_allowed(2)
    assert (fake.allowed, told) == ([(CONNECTION, 2), (CONNECTION, 3)], [])


@pytest.mark.parametrize("fake", [FakePower(is_refusing=True), FakePower(has_source=False)])
def test_a_system_that_tells_nothing_is_an_os_error(fake: FakePower) -> None:
    notices = PowerNotices(lambda _: None, lambda: None, fake.libraries)
    with pytest.raises(OSError, match=r"failed|nothing"):
        notices.run()
    notices.stop()
    assert fake.stopped == [], "its run loop went with the thread"
