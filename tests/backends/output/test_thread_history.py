"""What an answer tells of the threads that it was computed with."""

from backends.output.thread_history import MAX_KEPT, ThreadHistory
from backends.wire.threads import ThreadsReason, ThreadsSince, ThreadsUsed

FREE, BUSY = ThreadsUsed(2, ThreadsReason.CORES_FREE), ThreadsUsed(1, ThreadsReason.CORES_BUSY)


def test_each_change_is_told_with_its_time() -> None:
    history = ThreadHistory()
    for at, used in [(10.0, FREE), (10.5, FREE), (11.0, BUSY), (11.5, None), (12.0, BUSY)]:
        history.on_step(at, used)
    assert history.since(9.0) == (
        ThreadsSince(1000.0, 2, ThreadsReason.CORES_FREE),
        ThreadsSince(2000.0, 1, ThreadsReason.CORES_BUSY),
    )


def test_an_engine_that_tells_nothing_leaves_nothing() -> None:
    history = ThreadHistory()
    history.on_step(1.0, None)
    assert history.since(0.0) == ()


def test_of_many_changes_the_first_and_the_last_are_kept() -> None:
    history = ThreadHistory()
    for number in range(100):
        history.on_step(float(number), BUSY if number % 2 else FREE)
    found = history.since(0.0)
    assert len(found) == MAX_KEPT
    assert (found[0].at_ms, found[1].at_ms, found[-1].at_ms) == (0.0, 85_000.0, 99_000.0)
