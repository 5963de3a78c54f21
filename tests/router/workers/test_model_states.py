"""From the lifecycle of workers to the states of models."""

import asyncio
import itertools

import pytest

from backends.fake.engine import FakeOptions
from registry.engines import Engine, EngineKind
from router.errors import ModelLoadFailedError
from router.models.targets import LocalArtifact, Target
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, WorkerUse
from router.states import ModelState, ShownWorkerState
from router.status import ModelStatus
from router.workers.model_states import Fault, ModelStates, SeenWorker, model_state, worker_state
from tests.support.fake_fleet import FakeFleet, with_fleet
from tests.support.waiting import WITHIN_S

A = Target("a", Engine(EngineKind.MLX), LocalArtifact(1, "/a"))
SERVING = {ModelState.READY, ModelState.GENERATING}


def placed(state: WorkerState, num_running: int = 0, worker_id: int = 1) -> PlacedWorker:
    return PlacedWorker(worker_id, A, state, 0.0, 4, WorkerUse(num_interactive=num_running))


@pytest.mark.parametrize(
    ("state", "num_running", "expected"),
    [
        (WorkerState.STARTING, 0, "loading"),
        (WorkerState.STANDBY, 0, "loading"),
        (WorkerState.LOADING, 0, "loading"),
        (WorkerState.READY, 0, "ready"),
        (WorkerState.READY, 2, "generating"),
        (WorkerState.DRAINING, 2, "draining"),
        (WorkerState.STOPPING, 0, "draining"),
        (WorkerState.GONE, 0, "idle"),
    ],
)
def test_one_worker_decides_where_its_model_stands(state: WorkerState, num_running: int, expected: str) -> None:
    assert model_state([placed(state, num_running)]) == expected


def test_without_a_worker_a_model_is_idle_or_in_error() -> None:
    assert model_state([]) is ModelState.IDLE
    assert model_state([], is_failed=True) is ModelState.ERROR


def test_any_worker_that_serves_makes_the_model_serve() -> None:
    for first, second in itertools.product(WorkerState, repeat=2):
        state = model_state([placed(first), placed(second, worker_id=2)])
        assert (state in SERVING) == (WorkerState.READY in {first, second})


def test_a_failure_before_counts_no_more_while_there_is_a_worker() -> None:
    for state in set(WorkerState) - {WorkerState.GONE}:
        assert model_state([placed(state)], is_failed=True) is not ModelState.ERROR


def test_every_worker_has_a_word_and_only_two_words_are_of_workers_alone() -> None:
    words = {
        worker_state(state, has_target=has_target, num_running=number)
        for state in WorkerState
        for has_target in (True, False)
        for number in (0, 1)
    }
    assert words == set(ShownWorkerState)
    assert {word.value for word in words} - {word.value for word in ModelState} == {"standby", "stopping"}


def test_only_changes_are_told_and_loads_by_steps() -> None:
    told: list[ModelStatus] = []
    states = ModelStates(fault_of=lambda _: None, unload_reason_of=lambda _model, _engine: "idle")
    states.changed.add(told.append)
    for fraction in (0.0, 0.01, 0.3, 0.31):
        states.look([SeenWorker(placed(WorkerState.LOADING), fraction)])
    for number in (0, 0, 1, 2):
        states.look([SeenWorker(placed(WorkerState.READY, number))])
    states.look([])
    states.look([])
    assert [(each.state, each.load_fraction) for each in told] == [
        ("loading", 0.0),
        ("loading", 0.3),
        ("ready", None),
        ("generating", None),
        ("idle", None),
    ]
    assert (told[-1].reason, told[-1].way_out) == (
        "idle",
        f"The next request for it on {told[-1].engine} loads it again.",
    )
    assert states.known == [told[-1]]


def test_an_error_has_its_reason_and_the_way_out() -> None:
    states = ModelStates(fault_of=lambda _: Fault("it broke", "mend it"), unload_reason_of=lambda _model, _engine: None)
    states.look([SeenWorker(placed(WorkerState.LOADING))])
    states.look([])
    assert [(each.state, each.reason, each.way_out) for each in states.known] == [("error", "it broke", "mend it")]


def states_told(fleet: FakeFleet) -> list[tuple[str, str]]:
    told: list[tuple[str, str]] = []
    fleet.supervisor.models.changed.add(lambda each: told.append((f"{each.model}@{each.engine}", each.state)))
    return told


@with_fleet()
async def test_a_model_is_told_through_its_life_and_the_swap_to_another_engine(fleet: FakeFleet) -> None:
    told = states_told(fleet)
    swaps: list[tuple[str, bool]] = []
    fleet.supervisor.swapped.add(lambda swap: swaps.append((swap.event, swap.freed_bytes is not None)))
    await fleet.answer()
    await fleet.answer("m@mlx")
    await fleet.supervisor.stop_model("m")
    await fleet.until(lambda: told[-1][1] == "idle", "it is idle")
    seen = [key for key, _ in itertools.groupby(told)]
    assert [state for name, state in seen if name == "m@llamacpp"] == [
        *("loading", "ready", "generating", "ready", "draining", "idle"),
    ] or [state for name, state in seen if name == "m@llamacpp"] == [
        *("loading", "generating", "ready", "draining", "idle"),
    ]
    assert seen.index(("m@llamacpp", "idle")) < seen.index(("m@mlx", "loading"))
    assert swaps == [("load", False), ("unload", True), ("load", False), ("unload", True)]
    (mlx,) = (each for each in fleet.supervisor.models.known if each.engine == "mlx")
    assert (mlx.state, mlx.reason) == ("idle", "stopped by command")


@with_fleet(llamacpp=[FakeOptions(load_error="a bad file"), FakeOptions()])
async def test_a_load_that_fails_is_an_error_until_one_succeeds(fleet: FakeFleet) -> None:
    told = states_told(fleet)
    assert isinstance((await fleet.outcome())[1], ModelLoadFailedError)
    await fleet.until(lambda: bool(told) and told[-1][1] == "error", "the error is told")
    (status,) = fleet.supervisor.models.known
    assert status.reason
    assert status.way_out == "The next request tries to load it again."
    await fleet.answer()
    assert fleet.supervisor.models.known[0].reason is None


@with_fleet()
async def test_a_worker_that_dies_leaves_an_error_with_the_reason(fleet: FakeFleet) -> None:
    told = states_told(fleet)
    await fleet.answer()
    assert fleet.holder is not None
    assert fleet.holder.client is not None
    fleet.holder.client.kill()
    await fleet.until(lambda: told[-1][1] == "error", "the error is told")
    (status,) = fleet.supervisor.models.known
    assert status.reason is not None
    assert "died" in status.reason
    await asyncio.wait_for(fleet.answer(), WITHIN_S)
