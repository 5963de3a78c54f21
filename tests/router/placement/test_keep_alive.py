"""An idle model is unloaded after its time: the decision, and a real supervisor that acts on it."""

import asyncio
import math
import time
from typing import Any

import msgspec
import pytest

from backends.fake.engine import FakeOptions
from registry.engines import Engine, EngineKind
from registry.settings import ModelSettings
from router.models.model_request import ModelRequest
from router.models.targets import FOREVER_S, LocalArtifact, Target, keep_alive_seconds
from router.placement.decision import Effect, StopWorker, decide, next_deadline
from router.placement.keep_alive import expires_at
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest, WorkerUse
from tests.support.fake_fleet import FakeFleet, make_config, with_fleet, worker_processes
from tests.support.fake_placement import SimulatedFleet

TARGET = Target("m", Engine(EngineKind.MLX), LocalArtifact(1, "/m"))
OTHER = Target("other", Engine(EngineKind.MLX), LocalArtifact(2, "/o"))
LIMITS = PlacementLimits(swap_max_wait_s=10.0, swap_drain_timeout_s=30.0, keep_alive_s=60.0)
READY = PlacedWorker(7, TARGET, WorkerState.READY, 100.0, 4, WorkerUse(used_at=110.0))


def used(**use: Any) -> PlacedWorker:
    return msgspec.structs.replace(READY, use=msgspec.structs.replace(READY.use, **use))


def decided(*workers: PlacedWorker, now: float, waiting: tuple[WaitingRequest, ...] = ()) -> list[Effect]:
    return decide(waiting, workers, LIMITS, now)


# ---- the decision ---------------------------------------------------------------------------------------------------


def test_an_idle_model_goes_when_its_time_is_up_and_not_before() -> None:
    assert decided(READY, now=169.9) == []
    assert next_deadline([], [READY], LIMITS, 120.0) == 170.0
    assert decided(READY, now=170.0) == [StopWorker(7, "idle")]


@pytest.mark.parametrize(
    "used",
    [
        used(num_interactive=1),
        used(num_background=1),
        used(num_leases=1),
    ],
)
def test_a_model_that_is_used_stays_even_by_a_request_without_sequences(used: PlacedWorker) -> None:
    assert expires_at([used], LIMITS) is None
    assert decided(used, now=1e9) == []


def test_a_model_that_was_loaded_for_nobody_has_its_time_from_the_load() -> None:
    assert expires_at([used(used_at=0.0)], LIMITS) == 160.0


@pytest.mark.parametrize(
    ("of_config", "own", "expected"),
    [(None, None, None), (60.0, None, 170.0), (60.0, 5.0, 115.0), (None, 5.0, 115.0), (60.0, FOREVER_S, None)],
)
def test_the_last_requests_own_time_goes_before_the_config(
    of_config: float | None, own: float | None, expected: float | None
) -> None:
    limits = msgspec.structs.replace(LIMITS, keep_alive_s=of_config)
    assert expires_at([used(keep_alive_s=own)], limits) == expected


def test_of_several_workers_the_one_used_last_tells_the_time_and_all_go() -> None:
    older = msgspec.structs.replace(used(used_at=105.0, keep_alive_s=1.0), worker_id=8)
    loading = msgspec.structs.replace(used(used_at=0.0), worker_id=9, state=WorkerState.LOADING)
    assert expires_at([READY, older], LIMITS) == 170.0
    assert decided(READY, older, loading, now=170.0) == [StopWorker(number, "idle") for number in (7, 8, 9)]


def test_whoever_waits_keeps_it_or_swaps_it_as_ever() -> None:
    own, other = WaitingRequest(1, TARGET, 1, 170.0), WaitingRequest(2, OTHER, 1, 170.0)
    assert all(not isinstance(effect, StopWorker) for effect in decided(READY, now=170.0, waiting=(own,)))
    assert decided(READY, now=170.0, waiting=(other,)) == [StopWorker(7)]


def test_every_pause_longer_than_its_time_unloads_the_model_once() -> None:
    fleet = SimulatedFleet(limits=msgspec.structs.replace(LIMITS, num_workers=2))
    for pause_s in (50.0, 70.0, 10.0, 500.0):
        fleet.submit(TARGET, service_s=5.0)
        fleet.advance(5.0 + pause_s)
    fleet.run_out()
    assert fleet.workers == []
    assert fleet.loads == [TARGET, TARGET]
    assert {request.fate for request in fleet.requests} == {"served"}


@pytest.mark.parametrize(("setting", "seconds"), [(None, None), (0.0, 0.0), (90.0, 90.0), ("forever", math.inf)])
def test_a_models_setting_is_seconds_or_forever(setting: object, seconds: float | None) -> None:
    assert keep_alive_seconds(ModelSettings(keep_alive_s=setting).keep_alive_s) == seconds  # type: ignore[arg-type]


# ---- the supervisor -------------------------------------------------------------------------------------------------


@with_fleet(make_config(keep_alive_s=0.2), llamacpp=FakeOptions(decode_s=0.01))
async def test_an_idle_model_is_unloaded_and_loaded_again_for_the_next_request(fleet: FakeFleet) -> None:
    assert len(await fleet.answer(max_tokens=40)) == 40, "it runs for longer than it would be kept"
    await fleet.until(lambda: fleet.expires_at is not None, "its time runs")
    await fleet.until(lambda: worker_processes() == [], "it is unloaded")
    await fleet.until(lambda: len(fleet.supervisor.swaps) == 2, "that is noted")
    assert [(swap.event, swap.reason) for swap in fleet.supervisor.swaps] == [("load", None), ("unload", "idle")]
    assert await fleet.answer()
    assert fleet.num_launches["llamacpp"] == 2


@with_fleet(make_config(keep_alive_s=0.0))
async def test_a_request_may_keep_the_model_for_longer_than_the_config(fleet: FakeFleet) -> None:
    kept = await fleet.supervisor.lease(ModelRequest("m", keep_alive_s=FOREVER_S))
    kept.release()
    await fleet.until(lambda: fleet.holder is not None and fleet.holder.use.num_leases == 0, "it is given back")
    assert fleet.expires_at is None
    assert fleet.state == "ready"
    last = await fleet.supervisor.lease(ModelRequest("m", keep_alive_s=0.0), 0)
    assert fleet.state == "ready", "a request without sequences uses it too"
    assert fleet.expires_at is None
    last.release()
    await fleet.until(lambda: worker_processes() == [], "it is unloaded")
    assert fleet.num_launches["llamacpp"] == 1


@with_fleet(make_config(keep_alive_s=0.0, workers=2), llamacpp=FakeOptions(load_s=0.1))
async def test_requests_are_served_although_nothing_is_kept(fleet: FakeFleet) -> None:
    answers = await asyncio.gather(*(fleet.answer() for _ in range(6)))
    assert [len(answer) for answer in answers] == [8] * 6
    await fleet.until(lambda: worker_processes() == [], "all are unloaded")


@with_fleet(make_config(keep_alive_s=0.5))
async def test_a_time_that_comes_between_decision_and_wait_is_not_missed(
    fleet: FakeFleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is so busy that the time is up before the supervisor looks how long it may wait."""
    supervisor, lost_s, was_running = fleet.supervisor, 0.0, False

    def lose_time() -> None:
        nonlocal lost_s, was_running
        is_running = any(worker.use.num_running for worker in supervisor.workers)
        if was_running and not is_running:
            lost_s = 1.0
        was_running = is_running

    monkeypatch.setattr(supervisor, "_clock", lambda: time.monotonic() + lost_s)
    monkeypatch.setattr(supervisor._placing, "ensure_standby", lose_time)
    await fleet.answer()
    await fleet.until(lambda: not supervisor.workers, "it is unloaded")
    assert supervisor.swaps[-1].reason == "idle"
