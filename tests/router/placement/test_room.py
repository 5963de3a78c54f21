"""Several models at a time: who is loaded beside whom, and who goes so that another one has room."""

from typing import Any

import pytest
from msgspec.structs import replace

from backends.wire.request import Priority
from registry.engines import Engine, EngineKind
from router.models.targets import LocalArtifact, Target
from router.placement.decision import (
    DrainWorker,
    Effect,
    KeepWorker,
    RefuseTarget,
    StartWorker,
    StopWorker,
    decide,
    next_deadline,
    next_target,
)
from router.placement.dispatching import Dispatch
from router.placement.lifecycle import WorkerState
from router.placement.room import Home, Refusal, eviction_order
from router.placement.sharing import LoadNeed, Residency
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest, WorkerUse
from tests.support.fake_placement import sharing


def target(name: str, engine: EngineKind = EngineKind.LLAMACPP) -> Target:
    return Target(name, Engine(engine), LocalArtifact(1, f"/{name}"))


A, B, C, BIG = target("a"), target("b"), target("c"), target("big")
A_ON_MLX = target("a", EngineKind.MLX)
SIZES = {A: 4, B: 4, C: 4, BIG: 9, A_ON_MLX: 4}
NEEDS = {each: LoadNeed(size, size) for each, size in SIZES.items()}


def limits(residency: Residency) -> PlacementLimits:
    return PlacementLimits(10.0, 30.0, residency=replace(residency, needs=NEEDS))


BUDGET = limits(sharing("budget", 10))
EXCLUSIVE = limits(Residency())


def loaded(who: Target, worker_id: int, /, *, since: float = 0.0, load_s: float = 2.0, **fields: Any) -> PlacedWorker:
    state = fields.pop("state", WorkerState.READY)
    use = {"used_at": since} | fields.pop("use", {})
    return PlacedWorker(
        worker_id, who, state, since, 4, WorkerUse(**use), held_bytes=SIZES[who], load_s=load_s, **fields
    )


def request(ticket_id: int, who: Target, at: float = 100.0, **fields: Any) -> WaitingRequest:
    return WaitingRequest(ticket_id, who, 1, at, **fields)


def decided(
    waiting: list[WaitingRequest], workers: list[PlacedWorker], now: float = 100.0, of: PlacementLimits = BUDGET
) -> list[Effect]:
    return decide(waiting, workers, of, now)


BUSY = {"num_interactive": 1, "num_leases": 1, "interactive_at": 99.0}


# ---- budget ---------------------------------------------------------------------------------------------------------


def test_a_second_model_is_loaded_beside_the_first_while_that_answers() -> None:
    busy = loaded(A, 1, use=BUSY)
    assert decided([request(1, B)], [busy]) == [StartWorker(B)]
    assert decided([request(1, B), request(2, A)], [busy]) == [Dispatch(2, 1), StartWorker(B)]
    assert decided([request(1, B)], [busy], of=EXCLUSIVE) == [], "and exclusive residency waits"


def test_nothing_is_loaded_before_the_memory_was_read() -> None:
    unknown = limits(Residency(mode="budget"))
    assert decided([request(1, B)], [loaded(A, 1)], of=unknown) == []
    assert decided([request(1, A)], [loaded(A, 1)], of=unknown) == [Dispatch(1, 1)], "what is loaded serves on"


def test_one_load_at_a_time_so_that_the_reading_after_it_is_known_before_the_next() -> None:
    small = limits(sharing("budget", 12))
    assert decided([request(1, A), request(2, B)], [], of=small) == [StartWorker(A)]
    loading = loaded(A, 1, state=WorkerState.LOADING)
    assert decided([request(1, A), request(2, B)], [loading], of=small) == []
    ready = loaded(A, 1, since=100.0)
    assert decided([request(1, A), request(2, B)], [ready], of=small) == [Dispatch(1, 1), StartWorker(B)]


def test_the_idle_one_goes_that_nobody_has_wanted_for_longest() -> None:
    workers = [loaded(A, 1, since=90.0), loaded(B, 2, since=10.0)]
    assert decided([request(1, C)], workers) == [StopWorker(2)]


def test_of_those_idle_alike_the_one_goes_that_is_cheap_to_load() -> None:
    workers = [loaded(A, 1, since=10.0, load_s=1.0), loaded(B, 2, since=5.0, load_s=9.0)]
    assert decided([request(1, C)], workers) == [StopWorker(1)]


def test_a_model_of_background_work_goes_before_one_that_is_talked_to() -> None:
    workers = [loaded(A, 1, since=10.0, use={"interactive_at": 10.0}), loaded(B, 2, since=90.0)]
    assert decided([request(1, C)], workers) == [StopWorker(2)]


def test_the_idle_one_goes_and_never_a_busy_one_beside_it() -> None:
    workers = [loaded(A, 1, use=BUSY), loaded(B, 2, since=90.0)]
    assert decided([request(1, C)], workers) == [StopWorker(2)]


def test_where_all_are_busy_the_one_that_goes_answers_to_the_end_and_goes_on_for_the_maximum_wait() -> None:
    workers = [loaded(A, 1, use=BUSY), loaded(B, 2, use=BUSY)]
    waiting = [request(1, C, 100.0), request(2, A, 101.0), request(3, B, 101.0)]
    assert decided(waiting, workers, 109.0) == [Dispatch(2, 1), Dispatch(3, 2)]
    assert next_deadline(waiting, workers, BUDGET, 109.0) == 110.0
    drained = decided(waiting, workers, 110.0)
    assert drained == [DrainWorker(1), Dispatch(3, 2)]
    going = [replace(workers[0], state=WorkerState.DRAINING, state_since=110.0), workers[1]]
    assert decided(waiting, going, 111.0) == [Dispatch(3, 2)], "the same one is waited for"
    assert decided([request(3, B)], going, 111.0) == [KeepWorker(1), Dispatch(3, 2)], "and taken back"


def test_nobody_goes_without_need() -> None:
    """The smallest is the least valuable, and its going would not be enough: the larger one goes alone."""
    small = target("small")
    of = limits(sharing("budget", 10))
    workers = [replace(loaded(A, 1, since=1.0), target=small, held_bytes=1), loaded(B, 2, since=80.0)]
    workers[1] = replace(workers[1], held_bytes=8)
    assert decided([request(1, C)], workers, of=of) == [StopWorker(2)]


def test_what_is_being_ended_is_waited_for_before_another_one_goes() -> None:
    workers = [loaded(A, 1, state=WorkerState.STOPPING), loaded(B, 2)]
    assert decided([request(1, C)], workers) == []


def test_a_model_that_needs_all_of_it_is_loaded_alone() -> None:
    workers = [loaded(A, 1), loaded(B, 2)]
    assert decided([request(1, BIG)], workers) == [StopWorker(1), StopWorker(2)]
    assert decided([request(1, BIG)], []) == [StartWorker(BIG)]
    larger = limits(sharing("budget", 8))
    assert decided([request(1, BIG)], [], of=larger) == [StartWorker(BIG)], "it was asked before whether it fits"
    assert decided([request(1, BIG)], [loaded(A, 1)], of=larger) == [StopWorker(1)]


def test_a_small_one_does_not_take_the_room_that_a_large_one_waits_for() -> None:
    workers = [loaded(A, 1, use=BUSY)]
    assert decided([request(1, BIG, 99.0), request(2, B, 100.0)], workers) == []
    assert decided([request(2, B, 99.0), request(1, BIG, 100.0)], workers) == [StartWorker(B)]


def test_the_next_process_is_prepared_while_others_go_for_it() -> None:
    workers = [loaded(A, 1, use=BUSY), loaded(B, 2, use=BUSY)]
    assert next_target([request(1, C)], workers, BUDGET, 100.0) == C
    assert next_target([request(1, B)], [workers[0]], BUDGET, 100.0) is None, "it is loaded now"


def test_two_loads_of_one_model_are_together_only_where_a_group_says_so() -> None:
    workers = [loaded(A, 1, since=50.0)]
    assert decided([request(1, A_ON_MLX)], workers) == [StopWorker(1)]
    compared = limits(sharing("budget", 10, ("a@llamacpp", "a@mlx")))
    assert decided([request(1, A_ON_MLX)], workers, of=compared) == [StartWorker(A_ON_MLX)]
    by_name = limits(sharing("groups", 10, ("a", "b")))
    assert decided([request(1, A_ON_MLX)], workers, of=by_name) == [StopWorker(1)]


def test_metal_has_a_limit_of_its_own() -> None:
    one, other = target("one", EngineKind.MLX), target("other", EngineKind.MLX)
    rules = replace(sharing("budget", 100), wired_limit_bytes=7, needs={other: LoadNeed(4, 4), B: LoadNeed(4, 4)})
    of = PlacementLimits(10.0, 30.0, residency=rules)
    there = replace(loaded(A, 1, since=50.0), target=one)
    assert decided([request(1, other)], [there], of=of) == [StopWorker(1)]
    assert decided([request(1, B)], [there], of=of) == [StartWorker(B)]


def test_a_further_worker_is_started_only_where_there_is_room() -> None:
    two = replace(BUDGET, num_workers=2)
    assert decided([], [loaded(A, 1)], of=two) == [StartWorker(A)]
    assert decided([], [loaded(A, 1), loaded(B, 2)], of=two) == []
    assert decided([], [loaded(A, 1, state=WorkerState.LOADING), loaded(A, 2)], of=two) == []
    only_b = replace(BUDGET, num_workers_of={A: 1, B: 2})
    assert decided([], [loaded(A, 1)], of=only_b) == []
    assert decided([], [loaded(B, 1)], of=only_b) == [StartWorker(B)]


# ---- rest -----------------------------------------------------------------------------------------------------------


def test_an_idle_model_rests_for_as_long_as_its_load_took_before_it_goes() -> None:
    of = limits(sharing("budget", 6))
    worker = loaded(A, 1, since=90.0, load_s=4.0, use={"used_at": 100.0, "interactive_at": 100.0})
    waiting = [request(1, B, 99.0)]
    assert decided(waiting, [worker], 103.9, of) == []
    assert next_deadline(waiting, [worker], of, 101.0) == 104.0
    assert decided(waiting, [worker], 104.0, of) == [StopWorker(1)]
    assert decided(waiting, [worker], 101.0, EXCLUSIVE) == [StopWorker(1)], "and at once where one is loaded at a time"


def test_its_rest_ends_with_the_maximum_wait() -> None:
    of = limits(sharing("budget", 6))
    slow = loaded(A, 1, since=0.0, load_s=60.0, use={"used_at": 105.0})
    assert decided([request(1, B, 100.0)], [slow], 109.9, of) == []
    assert decided([request(1, B, 100.0)], [slow], 110.0, of) == [StopWorker(1)]


# ---- pins -----------------------------------------------------------------------------------------------------------


def test_what_is_pinned_stays_and_another_one_goes() -> None:
    workers = [loaded(A, 1, is_pinned=True), loaded(B, 2, since=99.0, load_s=0.5)]
    assert decided([request(1, C)], workers) == [StopWorker(2)]
    assert next_deadline([], workers, BUDGET, 100.0) is None


def test_who_has_no_room_beside_what_is_pinned_is_told_so() -> None:
    pinned = loaded(A, 1, is_pinned=True)
    refusal = Refusal(BIG, (A,), LoadNeed(9, 9), 10, 4)
    assert decided([request(1, BIG)], [pinned]) == [RefuseTarget(refusal)]
    grouped = limits(sharing("groups", 10, ("a", "b")))
    assert decided([request(1, C)], [pinned], of=grouped) == [RefuseTarget(Refusal(C, (A,)))]
    assert decided([request(1, B)], [pinned], of=grouped) == [StartWorker(B)]


def test_another_load_of_a_pinned_model_takes_its_place() -> None:
    pinned = loaded(A, 1, since=50.0, is_pinned=True)
    assert decided([request(1, A_ON_MLX)], [pinned]) == [StopWorker(1)]


def test_a_pinned_model_stays_however_long_nobody_uses_it_until_memory_is_very_short() -> None:
    pinned = loaded(A, 1, is_pinned=True)
    idle = replace(BUDGET, keep_alive_s=5.0)
    short = replace(idle, unload_idle_from=50.0, shortage="memory pressure (critical)")
    assert decided([], [loaded(A, 1)], of=idle) == [StopWorker(1, "idle")]
    assert decided([], [pinned], of=idle) == []
    assert decided([], [pinned], of=short) == []
    assert decided([], [pinned], of=replace(short, is_emergency=True)) == [StopWorker(1, short.shortage)]


# ---- groups ---------------------------------------------------------------------------------------------------------


def test_members_of_a_group_are_loaded_together_and_others_exclusively() -> None:
    of = limits(sharing("groups", 20, ("a", "b")))
    assert decided([request(1, B)], [loaded(A, 1)], of=of) == [StartWorker(B)]
    assert decided([request(1, C)], [loaded(A, 1), loaded(B, 2)], of=of) == [StopWorker(1), StopWorker(2)]
    stopping = [loaded(A, 1, state=WorkerState.STOPPING)]
    assert decided([request(1, C)], stopping, of=of) == [], "it is gone before the other one is loaded"
    assert decided([request(1, B)], stopping, of=of) == [StartWorker(B)]


def test_of_two_groups_the_one_counts_for_which_fewer_go() -> None:
    of = limits(sharing("groups", 20, ("a", "c"), ("b", "c")))
    ab = limits(sharing("groups", 20, ("a", "b"), ("a", "c"), ("b", "c")))
    assert decided([request(1, C)], [loaded(A, 1)], of=of) == [StartWorker(C)]
    workers = [loaded(A, 1, use=BUSY), loaded(B, 2)]
    assert decided([request(1, C)], workers, of=ab) == [StopWorker(2)]
    workers = [loaded(A, 1), loaded(B, 2, use=BUSY)]
    assert decided([request(1, C)], workers, of=ab) == [StopWorker(1)]


def test_groups_hold_no_more_than_the_memory_does() -> None:
    of = limits(sharing("groups", 10, ("a", "b", "c")))
    assert decided([request(1, C)], [loaded(A, 1, since=80.0), loaded(B, 2)], of=of) == [StopWorker(2)]


# ---- other modes and the monitor's word -----------------------------------------------------------------------------


@pytest.mark.parametrize("of", [EXCLUSIVE, limits(sharing("groups", 20, ("a", "c")))])
def test_when_the_config_changes_the_more_valuable_one_stays(of: PlacementLimits) -> None:
    workers = [loaded(A, 1, since=50.0), loaded(B, 2, use=BUSY)]
    assert decided([], workers, of=of) == [StopWorker(1)]
    workers = [loaded(A, 1, use=BUSY), loaded(B, 2, use=BUSY)]
    effects = decided([], workers, of=of)
    assert effects in ([DrainWorker(1)], [DrainWorker(2)])
    draining = {"state": WorkerState.DRAINING, "state_since": 100.0}
    going = [replace(each, **draining) if DrainWorker(each.worker_id) in effects else each for each in workers]
    assert decided([], going, 101.0, of) == [], "it answers to the end"


def test_after_a_change_to_exclusive_the_next_is_loaded_when_all_are_gone() -> None:
    workers = [loaded(A, 1, since=50.0), loaded(B, 2, since=60.0)]
    assert decided([request(1, C)], workers, of=EXCLUSIVE) == [StopWorker(1), StopWorker(2)]
    gone = [replace(worker, state=WorkerState.STOPPING) for worker in workers]
    assert decided([request(1, C)], gone, of=EXCLUSIVE) == []
    assert decided([request(1, C)], [], of=EXCLUSIVE) == [StartWorker(C)]


def test_in_an_emergency_all_go_and_none_is_loaded() -> None:
    of = replace(BUDGET, is_emergency=True, shortage="short")
    workers = [loaded(A, 1), loaded(B, 2, use=BUSY)]
    assert decided([request(1, C)], workers, of=of) == [StopWorker(1, "short")]


def test_where_memory_is_short_all_that_nobody_uses_go() -> None:
    of = replace(BUDGET, unload_idle_from=50.0, shortage="short")
    workers = [loaded(A, 1), loaded(B, 2, use=BUSY), loaded(C, 3)]
    assert decided([], workers, of=of) == [StopWorker(1, "short"), StopWorker(3, "short")]


def test_background_work_waits_for_a_pause_of_the_one_that_has_to_go() -> None:
    of = limits(sharing("budget", 6))
    talked_to = loaded(A, 1, since=50.0, use={"used_at": 95.0, "interactive_at": 95.0})
    waiting = [request(1, B, 90.0, priority=Priority.BACKGROUND)]
    assert decided(waiting, [talked_to], 104.0, of) == []
    assert decided(waiting, [talked_to], 105.0, of) == [StopWorker(1)]


def test_the_order_in_which_they_would_go_is_told() -> None:
    workers = [loaded(A, 1, since=90.0, use=BUSY), loaded(B, 2, since=10.0), loaded(C, 3, is_pinned=True)]
    homes = [Home(target=worker.target, workers=(worker,)) for worker in workers]
    assert [home.target for home in eviction_order(homes, BUDGET, 100.0)] == [B, A]
