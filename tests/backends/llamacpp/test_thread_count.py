"""The thread count on machines that are computed: fair shares of cores, steps that wait for the slowest thread."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.llamacpp.threads import LOOK_S, MAX_PATIENCE_S, WINDOW_S, ThreadCount, too_much_waiting
from backends.wire.threads import ThreadsReason

STEP_S = 0.02


class Machine:
    """Cores that are shared fairly between this process's threads and what others want of them."""

    def __init__(self, num_cores: int) -> None:
        self.num_cores = num_cores
        self.now = 100.0
        self.idle_s = 5000.0
        self.own_s = 7.0

    def run(self, threads: ThreadCount, seconds: float, others: float) -> None:
        """Compute steps one after the other while others want so many cores."""
        end = self.now + seconds
        while self.now < end:
            if threads.wants_look(self.now):
                threads.look(self.now, self.idle_s, self.own_s)
            wanted = threads.num + others
            got = threads.num * min(1.0, self.num_cores / wanted)
            self.pass_time(STEP_S, got, others)
            threads.on_step(self.now, STEP_S, got * STEP_S)

    def pause(self, seconds: float, others: float) -> None:
        self.pass_time(seconds, 0.0, others)

    def pass_time(self, seconds: float, own: float, others: float) -> None:
        self.now += seconds
        self.own_s += own * seconds
        self.idle_s += max(0.0, self.num_cores - own - others) * seconds


@pytest.mark.parametrize("num_cores", [1, 2, 4, 8, 16])
def test_on_an_idle_machine_it_never_moves(num_cores: int) -> None:
    threads, machine = ThreadCount(num_cores), Machine(num_cores)
    for _ in range(20):
        machine.run(threads, 1.0, 0.0)
        machine.pause(0.7, 0.0)
    assert (threads.num, threads.num_changes) == (num_cores, 0)


@pytest.mark.parametrize("num_cores", [2, 4, 8])
@pytest.mark.parametrize("others", [1, 2, 4])
def test_beside_busy_processes_it_leaves_them_their_cores_and_stays_there(num_cores: int, others: int) -> None:
    threads, machine = ThreadCount(num_cores), Machine(num_cores)
    machine.run(threads, 1.0, others)
    left = max(1, num_cores - others)
    assert threads.num <= left + 1  # fair shares give a little more than what is left
    before = threads.num_changes
    machine.run(threads, 30.0, others)
    assert threads.num_changes - before <= 2 * (30.0 / MAX_PATIENCE_S + 6)


def test_one_bad_window_is_enough_to_fall() -> None:
    threads = ThreadCount(2)
    threads.on_step(1.0, WINDOW_S, WINDOW_S)
    assert threads.num == 1


def test_good_steps_before_a_long_bad_one_do_not_hide_it() -> None:
    threads = ThreadCount(2)
    threads.on_step(1.0, WINDOW_S * 0.9, WINDOW_S * 1.8)
    threads.on_step(1.1, WINDOW_S, WINDOW_S)
    assert threads.num == 1


def test_a_step_that_was_given_up_makes_it_fall_whatever_came_since() -> None:
    threads = ThreadCount(2)
    threads.on_step(1.0, 1.0, 2.0, was_given_up=True)
    assert threads.num == 1


def test_it_rises_when_the_others_have_gone() -> None:
    threads, machine = ThreadCount(2), Machine(2)
    machine.run(threads, 1.0, 2)
    assert threads.num == 1
    machine.run(threads, 3 * LOOK_S, 0)
    assert threads.num == 2


def test_what_came_in_a_pause_is_seen_before_the_first_step() -> None:
    threads, machine = ThreadCount(4), Machine(4)
    machine.run(threads, 1.0, 0)
    machine.pause(5.0, 3)
    assert threads.wants_look(machine.now)
    threads.look(machine.now, machine.idle_s, machine.own_s)
    assert threads.num == 1


def test_what_came_while_the_model_was_loaded_is_seen_before_the_first_step() -> None:
    threads, machine = ThreadCount(4), Machine(4)
    threads.look(machine.now, machine.idle_s, machine.own_s)
    machine.pass_time(1.0, own=1.0, others=3.0)
    assert threads.wants_look(machine.now)
    threads.look(machine.now, machine.idle_s, machine.own_s)
    assert threads.num == 1


@pytest.mark.parametrize("num_cores", [2, 4, 8])
def test_on_a_full_machine_all_threads_come_back_and_sleep(num_cores: int) -> None:
    threads, machine = ThreadCount(num_cores, can_sleep=True), Machine(num_cores)
    machine.run(threads, 3.0, 3 * num_cores)
    assert (threads.num, threads.sleeps, threads.used.reason) == (num_cores, True, ThreadsReason.CORES_BUSY)
    assert not threads.is_crowded(1.0, 0.1)
    before = threads.num_changes
    machine.run(threads, 20.0, 3 * num_cores)
    assert threads.num_changes == before
    machine.pause(2 * LOOK_S, 0)
    machine.run(threads, 3 * LOOK_S, 0)
    assert (threads.num, threads.sleeps, threads.used.reason) == (num_cores, False, ThreadsReason.CORES_FREE)


def test_beside_one_busy_process_threads_go_and_none_sleeps() -> None:
    threads, machine = ThreadCount(2, can_sleep=True), Machine(2)
    machine.run(threads, 10.0, 1)
    assert (threads.num, threads.sleeps) == (1, False)


def test_tries_that_fail_become_rare() -> None:
    threads, machine = ThreadCount(2), Machine(2)
    # Others that always wait for a moment in which a core seems idle.
    for _ in range(200):
        machine.run(threads, 0.1, 2 if threads.num == 2 else 0)
    assert threads.num_changes < 20
    before = threads.num_changes
    for _ in range(100):
        machine.run(threads, 0.1, 2 if threads.num == 2 else 0)
    assert threads.num_changes - before <= 4


def test_a_fixed_count_stays() -> None:
    threads, machine = ThreadCount(2, follows=False), Machine(2)
    machine.run(threads, 1.0, 4)
    assert not threads.wants_look(machine.now)
    assert not threads.is_crowded(1.0, 0.1)
    assert (threads.num, threads.num_changes) == (2, 0)


def test_a_step_is_given_up_only_where_fewer_threads_would_do_more() -> None:
    threads = ThreadCount(2)
    assert not threads.is_crowded(WINDOW_S / 2, 0.0)  # too short to tell
    assert not threads.is_crowded(1.0, 2.0 - 0.9 * too_much_waiting(2))
    assert threads.is_crowded(1.0, 1.0)
    threads.on_step(1.0, 1.0, 1.0)
    assert not threads.is_crowded(1.0, 0.1)  # one is the fewest


@given(
    num_cores=st.integers(1, 16),
    loads=st.lists(st.tuples(st.floats(0.0, 20.0), st.floats(0.05, 3.0), st.booleans()), max_size=25),
)
def test_whatever_others_do(num_cores: int, loads: list[tuple[float, float, bool]]) -> None:
    threads, machine = ThreadCount(num_cores), Machine(num_cores)
    for others, seconds, has_pause in loads:
        machine.run(threads, seconds, others)
        assert 1 <= threads.num <= num_cores
        if has_pause:
            machine.pause(seconds, others)
    before = threads.num_changes
    machine.run(threads, 2 * MAX_PATIENCE_S + 1, 0.0)
    assert threads.num == num_cores
    machine.run(threads, 5.0, 0.0)
    assert threads.num_changes - before <= 2 * num_cores
