"""Placement where memory is short: what goes, who waits, and that nothing thrashes."""

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.models.targets import LocalArtifact, Target
from router.placement.decision import DrainWorker, Effect, StartWorker, StopWorker, decide, next_deadline
from router.placement.dispatching import Dispatch
from router.placement.keep_alive import SHORT_STAY_S, expires_at
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest, WorkerUse

TARGET = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m"))
OTHER = Target("other", Engine(EngineKind.MLX), LocalArtifact(2, "/o"))
LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0, num_workers=2)
WORDS = "memory pressure (critical): 90% of the memory is in use"
SHORT = replace(LIMITS, unload_idle_from=150.0, holds_background=True, shortage=WORDS)
EMERGENCY = replace(SHORT, is_emergency=True)
READY = PlacedWorker(7, TARGET, WorkerState.READY, 100.0, 4, WorkerUse(used_at=110.0, keep_alive_s=float("inf")))


def worker(state: WorkerState = WorkerState.READY, /, **use: Any) -> PlacedWorker:
    return replace(READY, state=state, use=replace(READY.use, **use))


def request(ticket_id: int = 1, target: Target = TARGET, **fields: Any) -> WaitingRequest:
    return WaitingRequest(ticket_id, target, 1, 140.0, **fields)


def test_an_idle_model_goes_when_memory_is_short_however_long_it_was_to_stay() -> None:
    assert decide([], [READY], LIMITS, 149.0) == [StartWorker(TARGET)], "a second worker, while there is room"
    assert decide([], [READY], SHORT, 150.0) == [StopWorker(7, WORDS)]
    assert expires_at([READY], SHORT) == 150.0


@pytest.mark.parametrize("use", [{"num_interactive": 1}, {"num_background": 1}, {"num_leases": 1}])
@pytest.mark.parametrize("limits", [SHORT, EMERGENCY])
def test_a_model_that_is_used_stays_until_it_is_not(use: dict[str, Any], limits: PlacementLimits) -> None:
    assert decide([], [worker(**use)], limits, 1e6) == []
    assert decide([request()], [worker(WorkerState.READY, num_leases=1)], EMERGENCY, 1e6) == []


def test_a_model_that_has_just_been_loaded_stays_for_a_while() -> None:
    loaded = replace(READY, state_since=200.0)
    assert decide([], [loaded], SHORT, 200.0 + SHORT_STAY_S - 0.1) == []
    assert next_deadline([], [loaded], SHORT, 201.0) == 200.0 + SHORT_STAY_S
    assert decide([], [loaded], SHORT, 200.0 + SHORT_STAY_S) == [StopWorker(7, WORDS)]


def test_what_is_asked_for_is_loaded_and_served_where_memory_is_short_and_not_in_an_emergency() -> None:
    assert decide([request()], [], SHORT, 160.0) == [StartWorker(TARGET)]
    assert decide([request()], [READY], SHORT, 160.0) == [Dispatch(1, 7)], "and no second worker"
    assert decide([request()], [], EMERGENCY, 160.0) == []
    assert decide([request()], [READY], EMERGENCY, 160.0) == [StopWorker(7, WORDS)]
    assert decide([request(target=OTHER)], [worker(num_interactive=1)], EMERGENCY, 160.0) == []


@pytest.mark.parametrize("state", [WorkerState.STARTING, WorkerState.LOADING])
def test_a_load_is_given_up_in_an_emergency(state: WorkerState) -> None:
    assert decide([request()], [worker(state)], EMERGENCY, 160.0) == [StopWorker(7, WORDS)]


def test_a_drain_keeps_its_own_limit_in_an_emergency() -> None:
    draining = replace(worker(WorkerState.DRAINING, num_interactive=1), state_since=150.0)
    assert decide([], [draining], EMERGENCY, 160.0) == []
    assert decide([], [draining], EMERGENCY, 180.0) == [StopWorker(7)]


def test_background_requests_wait_whatever_their_age() -> None:
    waiting = [request(priority=Priority.BACKGROUND), request(2, OTHER, priority=Priority.BACKGROUND)]
    held = replace(LIMITS, holds_background=True, num_workers=1)
    assert decide(waiting, [READY], held, 1e6) == []
    assert decide(waiting, [], held, 1e6) == []
    assert next_deadline(waiting, [READY], held, 160.0) is None
    assert decide([*waiting, request(3)], [READY], held, 1e6) == [Dispatch(3, 7)]


STATES = st.sampled_from([WorkerState.READY, WorkerState.DRAINING, WorkerState.LOADING, WorkerState.STOPPING])


@given(
    states=st.lists(STATES, max_size=3),
    uses=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.booleans()), min_size=3, max_size=3),
    waiting=st.lists(st.tuples(st.booleans(), st.booleans()), max_size=4),
    now=st.floats(150, 400),
)
def test_an_emergency_serves_and_loads_nothing_and_cuts_no_answer(
    states: list[WorkerState],
    uses: list[tuple[int, int, bool]],
    waiting: list[tuple[bool, bool]],
    now: float,
) -> None:
    workers = [
        PlacedWorker(number, TARGET, state, now, 4, WorkerUse(one, other, one + other, is_unwanted and None))
        for number, (state, (one, other, is_unwanted)) in enumerate(zip(states, uses, strict=False))
    ]
    requests = [
        request(number, OTHER if is_other else TARGET, priority=list(Priority)[is_background])
        for number, (is_other, is_background) in enumerate(waiting)
    ]
    effects: list[Effect] = decide(requests, workers, EMERGENCY, now)
    by_id = {worker.worker_id: worker for worker in workers}
    for effect in effects:
        assert isinstance(effect, StopWorker)
        assert by_id[effect.worker_id].use.is_idle or by_id[effect.worker_id].state is WorkerState.LOADING
        assert not isinstance(effect, DrainWorker | StartWorker | Dispatch)


@given(gaps=st.lists(st.floats(0.01, 20), min_size=1, max_size=80))
def test_requests_that_come_again_and_again_make_two_unloads_a_minute_at_most(gaps: list[float]) -> None:
    """Each request loads the model where it is not there, takes no time, and leaves it idle."""
    ready_at: float | None = None
    used_at = 0.0
    unloads: list[float] = []
    for now in itertools.accumulate(gaps, initial=150.0):
        if ready_at is not None:
            idle = replace(READY, state_since=ready_at, use=WorkerUse(used_at=used_at))
            goes_at = expires_at([idle], SHORT)
            assert goes_at is not None
            if goes_at <= now:
                unloads.append(goes_at)
                ready_at = None
        if ready_at is None:
            ready_at = now
        used_at = now
    assert all(later - earlier >= SHORT_STAY_S for earlier, later in itertools.pairwise(unloads))


@pytest.mark.parametrize("placed", [[], [READY], [worker(num_interactive=1)], [worker(WorkerState.LOADING)]])
@pytest.mark.parametrize("limits", [LIMITS, SHORT])
def test_where_all_are_held_nothing_is_begun(placed: list[PlacedWorker], limits: PlacementLimits) -> None:
    held = replace(limits, holds_all=True)
    effects = decide([request(), request(2, OTHER), request(3, priority=Priority.BACKGROUND)], placed, held, 145.0)
    assert not [each for each in effects if isinstance(each, StartWorker | Dispatch | DrainWorker)]
