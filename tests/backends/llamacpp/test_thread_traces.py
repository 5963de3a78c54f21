"""The thread count on what steps took on a real machine, recorded beside busy processes.

`recorded/thread_traces.json`: the bundled model on two cores, beside so many processes that only compute (`b` = in
bursts) and beside whatever else ran there, with one and with two threads. Each step has the time of its end, its wall
time, the CPU time of the process, the run delay of all its threads (/proc/self/task/*/schedstat) and the idle time of
the cores so far; all in seconds.
"""

import itertools
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llamacpp.threads import LOOK_S, MAX_PATIENCE_S, WINDOW_S, ThreadCount
from backends.wire.threads import ThreadsReason, ThreadsUsed


class Step(NamedTuple):
    """One step; its fields are the module's."""

    at: float
    wall_s: float
    cpu_s: float
    run_delay_s: float
    idle_s: float


class Trace(msgspec.Struct):
    """Steps with one number of threads."""

    beside: str
    num_threads: int
    kind: str
    others_cores: float
    steps: list[Step]

    @property
    def name(self) -> str:
        """For the tests' ids."""
        return f"{self.kind}-{self.num_threads}-beside-{self.beside}"


TRACES = msgspec.json.decode((Path(__file__).parent / "recorded" / "thread_traces.json").read_bytes(), type=list[Trace])
ONE, TWO = ([trace for trace in TRACES if trace.num_threads == number] for number in (1, 2))


def waited(trace: Trace) -> tuple[float, float]:
    """Return how many threads waited to run, on average: by CPU and wall time, and by run delay."""
    wall_s = sum(step.wall_s for step in trace.steps)
    cpu_s, delay_s = (sum(getattr(step, name) for step in trace.steps) for name in ("cpu_s", "run_delay_s"))
    return trace.num_threads - cpu_s / wall_s, delay_s / wall_s


@pytest.mark.parametrize("trace", TWO, ids=lambda trace: trace.name)
def test_the_first_steps_are_enough_to_fall(trace: Trace) -> None:
    threads = ThreadCount(2)
    for step in trace.steps:
        threads.on_step(step.at, step.wall_s, step.cpu_s)
        if step.at >= WINDOW_S:
            break
    assert threads.used == ThreadsUsed(1, ThreadsReason.CORES_BUSY)


@pytest.mark.parametrize("trace", TWO, ids=lambda trace: trace.name)
def test_a_step_is_given_up_when_it_has_lasted_as_long_as_says_something(trace: Trace) -> None:
    """The step that took seconds would have been ended: what it lost is spread over all of it."""
    threads = ThreadCount(2)
    longest = max(trace.steps, key=lambda step: step.wall_s)
    share = 1.01 * WINDOW_S / longest.wall_s
    assert threads.is_crowded(longest.wall_s * share, longest.cpu_s * share)


@pytest.mark.parametrize("trace", TWO, ids=lambda trace: trace.name)
def test_run_delay_says_the_same_as_cpu_time_against_wall_time(trace: Trace) -> None:
    by_cpu, by_delay = waited(trace)
    assert by_delay == pytest.approx(by_cpu, abs=0.25)


def replayed(threads: ThreadCount, one: list[Trace], two: list[Trace], duration_s: float) -> list[tuple[float, int]]:
    """Have the count decide which trace goes on, step by step; return its changes, with their times."""
    steps = {
        number: itertools.cycle([step for trace in of for step in trace.steps])
        for number, of in {1: one, 2: two}.items()
    }
    now = own_s = idle_s = 0.0
    changes: list[tuple[float, int]] = []
    last: dict[int, Step] = {}
    while now < duration_s:
        if threads.wants_look(now):
            threads.look(now, idle_s, own_s)
        number = threads.num
        step, before = next(steps[number]), last.get(number)
        last[number] = step
        now, own_s = now + step.wall_s, own_s + step.cpu_s
        idle_s += max(0.0, step.idle_s - before.idle_s) if before is not None and step.at > before.at else 0.0
        threads.on_step(now, step.wall_s, step.cpu_s)
        if threads.num != number:
            changes.append((now, threads.num))
    return changes


@given(st.permutations(range(len(ONE))), st.permutations(range(len(TWO))))
def test_on_a_machine_that_stays_busy_it_comes_down_once_and_tries_seldom(ones: list[int], twos: list[int]) -> None:
    threads = ThreadCount(2)
    duration_s = 60.0
    changes = replayed(threads, [ONE[index] for index in ones], [TWO[index] for index in twos], duration_s)
    assert changes[0][1] == 1
    tries = [at for at, number in changes if number == 2]
    assert len(tries) <= duration_s / MAX_PATIENCE_S + MAX_PATIENCE_S / LOOK_S
    assert threads.num_changes == len(changes)


@given(st.lists(st.integers(0, len(TRACES) - 1), min_size=1, max_size=30))
def test_whatever_comes_it_stays_between_one_and_all(order: list[int]) -> None:
    threads = ThreadCount(2)
    now = 0.0
    for index in order:
        for step in TRACES[index].steps:
            now += step.wall_s
            threads.on_step(now, step.wall_s, step.cpu_s)
            assert 1 <= threads.num <= 2
            assert (threads.used.reason is ThreadsReason.CORES_BUSY) == (threads.num == 1)
