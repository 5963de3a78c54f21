import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from router.lifecycle import WorkerState
from router.placement import (
    Dispatch,
    DrainWorker,
    Effect,
    KeepWorker,
    PlacedWorker,
    PlacementLimits,
    StartWorker,
    StopWorker,
    WaitingRequest,
    decide,
    next_deadline,
)
from router.targets import Target
from tests.support.fake_placement import SimulatedFleet

LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0)
MLX = Target("m", "mlx", 1, "/m")
GGUF = Target("m", "llamacpp", 2, "/m.gguf")
OTHER = Target("other", "llamacpp", 3, "/o.gguf")
TARGETS = (MLX, GGUF, OTHER)
MAX_SERVICE_S = 8.0


def request(ticket_id: int, target: Target = MLX, *, at: float = 0.0, num_sequences: int = 1) -> WaitingRequest:
    return WaitingRequest(ticket_id, target, num_sequences, at)


def worker(
    state: WorkerState,
    target: Target = MLX,
    *,
    num_running: int = 0,
    since: float = 0.0,
    max_sequences: int = 4,
    is_unwanted: bool = False,
) -> PlacedWorker:
    return PlacedWorker(7, target, state, num_running, max_sequences, since, is_unwanted)


def decided(waiting: list[WaitingRequest], placed: PlacedWorker | None, now: float = 1.0) -> list[Effect]:
    return decide(waiting, [] if placed is None else [placed], LIMITS, now)


# ---- the numbered rules ---------------------------------------------------------------------------------------------


def test_rule_1_a_stopping_worker_is_waited_for_although_others_wait() -> None:
    assert decided([request(1, GGUF)], worker(WorkerState.STOPPING), now=1000) == []


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.LOADING])
@pytest.mark.parametrize("target", [MLX, GGUF])
def test_rule_2_a_load_is_waited_for_and_joined(state: WorkerState, target: Target) -> None:
    assert decided([request(1, target), request(2, target)], worker(state), now=1000) == []


def test_rule_3a_a_drain_that_nobody_waits_for_any_more_is_taken_back() -> None:
    assert decided([], worker(WorkerState.DRAINING, num_running=1)) == [KeepWorker(7)]
    assert decided([request(1, MLX)], worker(WorkerState.DRAINING, num_running=1)) == [KeepWorker(7)]


def test_rule_3a_does_not_hold_when_a_command_wants_the_worker_gone() -> None:
    assert decided([], worker(WorkerState.DRAINING, num_running=1, is_unwanted=True)) == []
    assert decided([], worker(WorkerState.DRAINING, is_unwanted=True)) == [StopWorker(7)]


def test_rule_3b_a_draining_worker_is_stopped_when_idle() -> None:
    waiting = [request(1, GGUF)]
    assert decided(waiting, worker(WorkerState.DRAINING, num_running=1)) == []
    assert decided(waiting, worker(WorkerState.DRAINING)) == [StopWorker(7)]


def test_rule_3b_a_drain_has_a_limit() -> None:
    waiting = [request(1, GGUF)]
    draining = worker(WorkerState.DRAINING, num_running=1, since=5)
    assert decided(waiting, draining, now=34.9) == []
    assert decided(waiting, draining, now=35) == [StopWorker(7)]
    assert next_deadline(waiting, [draining], LIMITS, 5) == 35


def test_rule_4a_a_command_outweighs_the_queue() -> None:
    waiting = [request(1, MLX)]
    assert decided(waiting, worker(WorkerState.READY, is_unwanted=True)) == [StopWorker(7)]
    assert decided(waiting, worker(WorkerState.READY, is_unwanted=True, num_running=1)) == [DrainWorker(7)]


def test_rule_4b_the_resident_model_is_served_in_order_as_far_as_the_batch_has_room() -> None:
    waiting = [request(1), request(2, GGUF, at=0.5), request(3), request(4)]
    assert decided(waiting, worker(WorkerState.READY, num_running=2)) == [Dispatch(1, 7), Dispatch(3, 7)]


def test_rule_4b_a_request_larger_than_the_batch_is_served_alone_and_blocks_those_behind_it() -> None:
    waiting = [request(1, num_sequences=9), request(2)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1)) == []
    assert decided(waiting, worker(WorkerState.READY)) == [Dispatch(1, 7)]


def test_rule_4b_a_worker_that_has_just_loaded_serves_although_others_waited_through_the_load() -> None:
    """The load took longer than the maximum wait: draining now would load for ever and serve nobody."""
    waiting = [request(1, MLX, at=0), request(2, GGUF, at=0.5), request(3, MLX, at=20)]
    ready = worker(WorkerState.READY, since=20)
    assert decided(waiting, ready, now=20) == [Dispatch(1, 7), Dispatch(3, 7)]
    assert next_deadline(waiting, [ready], LIMITS, 20) == 30


def test_rule_4c_when_its_time_is_up_it_drains() -> None:
    waiting = [request(1, GGUF, at=3), request(2, MLX, at=12)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1), now=12.9) == [Dispatch(2, 7)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1), now=13) == [DrainWorker(7)]
    assert decided(waiting, worker(WorkerState.READY), now=13) == [StopWorker(7)]


def test_rule_4c_those_that_came_before_every_other_are_served_first() -> None:
    waiting = [request(1, MLX, at=1), request(2, GGUF, at=2), request(3, MLX, at=3)]
    assert decided(waiting, worker(WorkerState.READY, since=20), now=1000) == [Dispatch(1, 7)]


def test_rule_4d_an_idle_worker_goes_when_only_others_wait() -> None:
    waiting = [request(1, GGUF)]
    assert decided(waiting, worker(WorkerState.READY)) == [StopWorker(7)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1)) == []


def test_a_model_that_nobody_wants_stays_until_somebody_wants_another() -> None:
    assert decided([], worker(WorkerState.READY), now=1e6) == []
    assert next_deadline([], [worker(WorkerState.READY)], LIMITS, 0) is None


def test_rule_5_the_one_that_has_waited_longest_decides_what_is_loaded() -> None:
    assert decided([request(1, GGUF), request(2, MLX)], None) == [StartWorker(GGUF)]
    assert decided([], None) == []


def test_no_deadline_lies_in_the_past() -> None:
    """A deadline that has passed and changed nothing must not be waited for again without a pause."""
    waiting = [request(1, MLX, at=0), request(2, GGUF, at=1)]
    full = worker(WorkerState.READY, num_running=4)
    assert decided(waiting, full, now=50) == []
    assert next_deadline(waiting, [full], LIMITS, 50) is None


# ---- in time --------------------------------------------------------------------------------------------------------


def test_targets_that_flip_back_and_forth_are_served_in_batches() -> None:
    fleet = SimulatedFleet(limits=LIMITS)
    for number in range(400):
        fleet.submit(MLX if number % 2 else GGUF, service_s=0.3)
        fleet.advance(0.25)
    fleet.run_out()
    assert {request.fate for request in fleet.requests} == {"served"}
    assert len(fleet.loads) <= 400 / 10, "a swap per ten requests at most, where every request wants a swap"


@pytest.mark.parametrize("swap_max_wait_s", [0.0, 1.0, 10.0])
def test_loads_longer_than_the_maximum_wait_still_serve_everybody(swap_max_wait_s: float) -> None:
    fleet = SimulatedFleet(limits=PlacementLimits(swap_max_wait_s, 30.0), load_s=20.0)
    for target in (MLX, GGUF, OTHER, MLX, GGUF):
        fleet.submit(target)
        fleet.advance(0.5)
    fleet.run_out()
    assert {request.fate for request in fleet.requests} == {"served"}
    assert len(fleet.loads) <= 5


def test_a_queued_request_that_goes_away_costs_no_swap() -> None:
    fleet = SimulatedFleet(limits=LIMITS)
    fleet.submit(MLX, service_s=100.0)
    fleet.advance(5)
    gone = fleet.submit(GGUF)
    fleet.advance(15)
    assert fleet.worker is not None
    assert fleet.worker.state is WorkerState.DRAINING
    fleet.withdraw(gone)
    fleet.run_out()
    assert fleet.loads == [MLX]


class FleetMachine(RuleBasedStateMachine):
    """Any order of arrivals, departures, crashes and commands."""

    @initialize(
        max_wait_s=st.sampled_from([0.0, 1.0, 5.0]), load_s=st.sampled_from([0.0, 0.5, 9.0]), room=st.integers(1, 5)
    )
    def start(self, max_wait_s: float, load_s: float, room: int) -> None:
        self.fleet = SimulatedFleet(limits=PlacementLimits(max_wait_s, 30.0), load_s=load_s, max_sequences=room)

    @rule(
        wanted=st.sampled_from(TARGETS),
        num_sequences=st.sampled_from([1, 1, 1, 2, 3, 9]),
        service_s=st.floats(0.1, MAX_SERVICE_S),
    )
    def submit(self, wanted: Target, num_sequences: int, service_s: float) -> None:
        self.fleet.submit(wanted, num_sequences=num_sequences, service_s=service_s)

    @rule(duration_s=st.floats(0.01, 12.0))
    def advance(self, duration_s: float) -> None:
        self.fleet.advance(duration_s)

    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        if self.fleet.requests:
            self.fleet.withdraw(data.draw(st.sampled_from(self.fleet.requests)))

    @rule()
    def crash(self) -> None:
        self.fleet.crash()

    @rule()
    def stop_command(self) -> None:
        self.fleet.want_gone()

    @invariant()
    def nobody_is_idle_while_somebody_waits(self) -> None:
        """Whoever waits has a reason: something loads, ends, runs, or will change at a known time."""
        fleet = getattr(self, "fleet", None)
        if fleet is not None and fleet.waiting:
            assert fleet._next_moment() is not None

    def teardown(self) -> None:
        fleet = getattr(self, "fleet", None)
        if fleet is None:
            return
        fleet.run_out()
        cycle_s = fleet.load_s + fleet.unload_s + fleet.limits.swap_max_wait_s + 2 * MAX_SERVICE_S
        for request in fleet.requests:
            assert request.fate is not None, "lost"
            assert request.fate != "cut", "no request here runs into the drain limit"
            ended_waiting_at = request.ended_at if request.dispatched_at is None else request.dispatched_at
            assert ended_waiting_at is not None
            # Each load serves at least one of those ahead, or was in vain because a client left or a worker crashed.
            num_cycles = request.num_ahead + 2 + fleet.num_lost_loads
            assert ended_waiting_at - request.arrived_at <= num_cycles * cycle_s
        # A load serves somebody, or was in vain for one of the reasons counted.
        assert len(fleet.loads) <= len(fleet.requests) + fleet.num_lost_loads


FleetMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
test_any_history = FleetMachine.TestCase
