import pytest
from msgspec.structs import replace

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.models.targets import LocalArtifact, Target
from router.placement.decision import (
    DrainWorker,
    Effect,
    KeepWorker,
    StartWorker,
    StopWorker,
    decide,
    next_deadline,
    next_target,
)
from router.placement.dispatching import Dispatch
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest, WorkerUse
from tests.support.fake_placement import SimulatedFleet

LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0)
MLX = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m"))
GGUF = Target("m", Engine(EngineKind.LLAMACPP), LocalArtifact(2, "/m.gguf"))
OTHER = Target("other", Engine(EngineKind.LLAMACPP), LocalArtifact(3, "/o.gguf"))


def request(ticket_id: int, target: Target = MLX, *, at: float = 0.0, num_sequences: int = 1) -> WaitingRequest:
    return WaitingRequest(ticket_id, target, num_sequences, at)


def background(ticket_id: int, target: Target = MLX, *, at: float = 0.0) -> WaitingRequest:
    return replace(request(ticket_id, target, at=at), priority=Priority.BACKGROUND)


def worker(
    state: WorkerState,
    target: Target = MLX,
    *,
    num_running: int = 0,
    since: float = 0.0,
    max_sequences: int = 4,
    is_unwanted: bool = False,
) -> PlacedWorker:
    return PlacedWorker(7, target, state, since, max_sequences, WorkerUse(num_running), is_unwanted)


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


def test_the_next_target_is_what_somebody_urgent_waits_for_while_another_is_there_and_memory_is_not_short() -> None:
    ready = [worker(WorkerState.READY, num_running=1)]
    assert next_target([request(1, GGUF)], ready, LIMITS, 0) == GGUF
    assert next_target([request(1, GGUF)], [worker(WorkerState.STOPPING)], LIMITS, 0) == GGUF
    assert next_target([request(1)], ready, LIMITS, 0) is None
    assert next_target([], ready, LIMITS, 0) is None
    assert next_target([request(1, GGUF)], [], LIMITS, 0) is None, "it is started with its model"
    assert next_target([background(1, GGUF)], ready, LIMITS, 0) is None
    for short in ({"is_emergency": True}, {"unload_idle_from": 0.0}, {"holds_all": True}):
        assert next_target([request(1, GGUF)], ready, replace(LIMITS, **short), 0) is None


# ---- background work and swaps --------------------------------------------------------------------------------------


def test_rule_4b_background_work_of_the_resident_model_waits_while_something_urgent_waits_for_another() -> None:
    waiting = [background(1, at=0), request(2, GGUF, at=1), request(3, at=2)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1), now=3) == [Dispatch(3, 7)]
    assert decided([waiting[0]], worker(WorkerState.READY, num_running=1), now=3) == [Dispatch(1, 7)]
    assert decided(waiting[:2], worker(WorkerState.READY), now=3) == [StopWorker(7)]


def test_rule_4b_background_work_for_another_model_waits_for_a_pause_in_the_conversation() -> None:
    waiting = [background(1, GGUF, at=0)]
    in_use = worker(WorkerState.READY, num_running=1)
    assert decided(waiting, in_use, now=50) == []
    just_left = replace(worker(WorkerState.READY), use=WorkerUse(interactive_at=50.0))
    assert decided(waiting, just_left, now=50.1) == []
    assert next_deadline(waiting, [just_left], LIMITS, 50.1) == 60
    assert next_deadline([background(1, GGUF, at=55)], [just_left], LIMITS, 55.1) == 60
    assert decided(waiting, just_left, now=60) == [StopWorker(7)]


def test_rule_4b_background_work_that_has_aged_is_waited_for_no_longer_than_an_interactive_request() -> None:
    waiting = [background(1, GGUF, at=0), request(2, MLX, at=59.5)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1), now=59.9) == [Dispatch(2, 7)]
    assert decided(waiting, worker(WorkerState.READY, num_running=1), now=60) == [DrainWorker(7)]
    assert next_deadline(waiting, [worker(WorkerState.READY, num_running=1)], LIMITS, 59.9) == 60


def test_rule_4d_a_worker_that_never_had_an_interactive_request_goes_at_once_when_idle() -> None:
    assert decided([background(1, GGUF)], worker(WorkerState.READY), now=1) == [StopWorker(7)]


def test_rule_5_an_interactive_request_overtakes_waiting_background_work() -> None:
    waiting = [background(1, GGUF, at=0), request(2, MLX, at=5)]
    assert decided(waiting, None, now=6) == [StartWorker(MLX)]
    assert decided(waiting, None, now=60) == [StartWorker(GGUF)]


# ---- several workers of one target ----------------------------------------------------------------------------------

TWO = replace(LIMITS, num_workers=2)


def replica(worker_id: int, state: WorkerState, *, num_running: int = 0) -> PlacedWorker:
    return replace(worker(state, num_running=num_running), worker_id=worker_id)


def test_rule_4e_further_workers_are_started_one_at_a_time_when_the_first_is_ready() -> None:
    three = replace(LIMITS, num_workers=3)
    ready, second = replica(1, WorkerState.READY), replica(2, WorkerState.LOADING)
    assert decide([], [replica(1, WorkerState.LOADING)], three, 1.0) == []
    assert decide([], [ready], three, 1.0) == [StartWorker(MLX)]
    assert decide([request(1)], [ready, second], three, 1.0) == [Dispatch(1, 1)]
    assert decide([], [ready, replica(2, WorkerState.READY)], three, 1.0) == [StartWorker(MLX)]
    assert decide([], [ready, replica(2, WorkerState.READY), replica(3, WorkerState.READY)], three, 1.0) == []


def test_rule_4e_a_worker_that_ends_is_replaced_when_it_is_gone_and_not_before() -> None:
    ready = replica(1, WorkerState.READY)
    assert decide([], [ready, replica(2, WorkerState.STOPPING)], TWO, 1.0) == []
    assert decide([], [ready], TWO, 1.0) == [StartWorker(MLX)]
    assert decide([request(1, GGUF)], [replace(ready, use=WorkerUse(num_interactive=1))], TWO, 1.0) == []


def test_rule_4a_an_unwanted_worker_drains_while_the_others_serve() -> None:
    unwanted = replace(replica(1, WorkerState.READY, num_running=1), is_unwanted=True)
    workers = [unwanted, replica(2, WorkerState.READY, num_running=2)]
    assert decide([request(1)], workers, TWO, 1.0) == [DrainWorker(1), Dispatch(1, 2)]


def test_rules_4c_and_4d_a_swap_ends_all_workers_and_the_loads_of_further_ones() -> None:
    waiting = [request(1, GGUF)]
    busy, idle = replica(1, WorkerState.READY, num_running=1), replica(2, WorkerState.READY)
    loading = replica(3, WorkerState.LOADING)
    assert decide(waiting, [busy, idle, loading], TWO, 9.0) == []
    assert decide(waiting, [busy, idle, loading], TWO, 10.0) == [DrainWorker(1), StopWorker(2), StopWorker(3)]
    assert decide(waiting, [idle, loading], TWO, 1.0) == [StopWorker(2), StopWorker(3)]
    assert decide(waiting, [replica(1, WorkerState.STOPPING), replica(2, WorkerState.STOPPING)], TWO, 99.0) == []


def test_rule_3a_takes_every_drain_back() -> None:
    draining = [replica(number, WorkerState.DRAINING, num_running=1) for number in (1, 2)]
    assert decide([], draining, TWO, 1.0) == [KeepWorker(1), KeepWorker(2)]


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
    assert [worker.state for worker in fleet.workers] == [WorkerState.DRAINING]
    fleet.withdraw(gone)
    fleet.run_out()
    assert fleet.loads == [MLX]
