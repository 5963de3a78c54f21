"""Deadlines over clocks that stand still while a machine sleeps, and commands that keep it awake: real processes."""

import asyncio
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from router.sleep.awake import AwakeTimer, awake_timeout, keep_awake
from tests.support.processes import running_children
from tests.support.waiting import until

HOLDING = [sys.executable, "-c", "import signal; signal.pause()"]
TICK_S = 0.005


def clock(*readings: float) -> Iterator[float]:
    """What a clock says at each look; the last reading stays."""
    yield from readings
    while True:
        yield readings[-1]


async def test_a_timer_that_fires_at_the_wake_waits_for_the_time_awake_that_is_left() -> None:
    fired = asyncio.Event()
    awake = clock(100.0, 100.001, 100.002, 100.1)  # at the first two looks the machine has just woken up
    looks: list[float] = []

    def look() -> float:
        looks.append(next(awake))
        return looks[-1]

    AwakeTimer(TICK_S, fired.set, clock=look)
    await fired.wait()
    assert looks == [100.0, 100.001, 100.002, 100.1]


async def test_a_timer_that_is_cancelled_calls_nothing_also_after_a_wake() -> None:
    awake = clock(100.0, 100.0)
    timer = AwakeTimer(TICK_S, lambda: pytest.fail("it was cancelled"), clock=lambda: next(awake))
    looked = asyncio.Event()
    asyncio.get_running_loop().call_later(3 * TICK_S, looked.set)
    await looked.wait()
    timer.cancel()
    asyncio.get_running_loop().call_later(3 * TICK_S, looked.set)
    looked.clear()
    await looked.wait()


async def test_a_wait_ends_by_its_time_or_by_what_it_waits_for() -> None:
    with pytest.raises(TimeoutError):
        async with awake_timeout(TICK_S):
            await asyncio.Event().wait()
    async with awake_timeout(60):
        await asyncio.sleep(0)


class Work:
    is_there = False

    def __call__(self) -> bool:
        return self.is_there


def holding() -> list[psutil.Process]:
    return running_children(HOLDING[-1])


async def test_the_machine_is_held_awake_while_there_is_work_and_only_then() -> None:
    work = Work()
    task = asyncio.create_task(keep_awake(work, HOLDING, interval_s=TICK_S))
    for _ in range(2):
        work.is_there = True
        await until(lambda: len(holding()) == 1, "it is held awake")
        work.is_there = False
        await until(lambda: not holding(), "it may sleep")
    work.is_there = True
    await until(lambda: len(holding()) == 1, "it is held awake")
    (first,) = holding()
    first.send_signal(signal.SIGKILL)  # somebody ends it
    await until(lambda: len(holding()) == 1 and first not in holding(), "there is another one")
    task.cancel()
    await asyncio.wait([task])
    await until(lambda: not holding(), "it may sleep")


async def test_a_command_that_cannot_be_started_is_said_once_and_nothing_else_happens(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await keep_awake(lambda: True, [str(tmp_path / "caffeinate")], interval_s=TICK_S)
    assert "may fall asleep while there is work" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has a command")
async def test_linux_needs_nothing() -> None:
    before = running_children()
    await keep_awake(lambda: True)
    assert running_children() == before
