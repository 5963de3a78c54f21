"""Who is resident, who waits, who goes: pure decisions about models over workers.

No I/O, clock or log in here: the supervisor asks with what it knows and performs the answer. How many targets may have
workers at a time hangs on the config's `residency` (`sharing`): one (exclusive), as many as the memory holds (budget),
or those of a group. What is loaded, and what has to go for it, is said in `room`; here it is asked for each target that
has workers (loading, resident, draining or stopping) by itself, and **the others** below are the requests for which it
has to go: in exclusive residency all that wait for another target. Standby workers do not count. Who goes first among
those that wait, and to which worker, stands in `dispatching`; "first" below means in its serving order, and "urgent" is
what it says there: interactive, or background and aged.

The decision, in order; the numbers stand in the code:
    0. Memory is short:
       0a. background requests wait (`holds_background`), or all do (`holds_all`): what follows sees none of them;
       0b. an emergency: nothing is loaded, and nobody is served any more. Workers that are idle, or still loading, are
           stopped; the others when their running answers have ended.
    For each target that has workers:
    1. No worker serves, one is stopping: wait until it is gone and its memory back.
    2. No worker serves, one is starting or loading: wait (whoever wants its model joins the load).
    3. Workers are draining:
       3a. for a swap that nobody waits for any more: take it back;
       3b. stop each when it is idle, or when it has drained for too long.
    4. Workers are ready:
       4a. one is unwanted (a command, or too much memory): drain it, or stop it when it is idle. The others go on; so
           for all of a target that may not stay beside the others that are loaded;
       4b. their time is not up: they take the waiting requests for their target as far as their batches have room;
           but background ones that have not aged are left waiting while something urgent waits for another target.
           The time is up when the swap's maximum wait has passed
             - since the first of the others came, or since the target became ready if that was later: a load that
               takes longer than the maximum wait must not be in vain;
             - if the first of the others is not urgent: also since the target last had an interactive request, and
               none is running. Background work waits for a pause in a conversation, until it has aged;
       4c. their time is up: they still take those that came before every other, so that a load serves those it was for;
           then drain them, or stop those that are idle, and those that are still loading;
       4d. nobody whom they may take waits, others do, and all are idle: stop them. If the others are not urgent, only
           when the pause in 4b has passed; beside other targets only when they have rested (`room.rested_at`), so that
           two conversations with two models do not swap at each turn;
       4e. nobody waits for them or for their going, and the model has been idle for as long as it is kept
           (`keep_alive`), or memory is short: stop them all;
       4f. nobody waits for another target, there are fewer workers than wanted, nothing is held, memory is not short,
           and the memory has room: start one more, one at a time.
    5. For a target that has no worker: start one, where `room` says so.
    6. What is pinned leaves no room for a target: refuse those that wait for it.
Beside all that, `next_target` says whose process may be started, without its model, while the old one still answers.
What runs in the background delays an urgent swap like everything that runs: by the maximum wait and the drain's limit.
"""

import itertools
import types
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from backends.wire.request import Priority
from router.models.targets import Target
from router.placement.dispatching import Dispatch, dispatches_for, serving_order
from router.placement.keep_alive import expires_at, kept_until_of
from router.placement.lifecycle import WorkerState
from router.placement.room import Home, Refusal, rested_at, room_for
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest

_NO_AFFINITY: Mapping[str, int] = types.MappingProxyType({})


class StartWorker(msgspec.Struct, frozen=True):
    """Load the target, on a standby worker if there is one."""

    target: Target


class DrainWorker(msgspec.Struct, frozen=True):
    """Give the worker no new requests."""

    worker_id: int


class KeepWorker(msgspec.Struct, frozen=True):
    """Take a drain back: the worker is ready again."""

    worker_id: int


class StopWorker(msgspec.Struct, frozen=True):
    """End the worker; its running requests, if any, are cut.

    Attributes:
        reason: Why, for the log and the status.
    """

    worker_id: int
    reason: str = "swap"


class RefuseTarget(msgspec.Struct, frozen=True):
    """Turn away those that wait for a target, which has no room beside what is pinned."""

    refusal: Refusal


Effect = Dispatch | StartWorker | DrainWorker | KeepWorker | StopWorker | RefuseTarget


def decide(
    waiting: Sequence[WaitingRequest],
    workers: Sequence[PlacedWorker],
    limits: PlacementLimits,
    now: float,
    affinity: Mapping[str, int] = _NO_AFFINITY,
) -> list[Effect]:
    """Return what is to be done now; to be asked again whenever anything changes or `next_deadline` has come.

    Args:
        waiting: In any order.
        workers: Those that have a model.
        now: Monotonic seconds.
        affinity: Session id to the id of the worker that served it last.
    """
    queue = serving_order(_let_in(waiting, limits), limits, now)  # 0a
    if limits.is_emergency:
        return _decide_emergency(workers, limits, now)  # 0b
    room = room_for(queue, workers, limits, now)
    effects = [effect for home in room.homes for effect in _decide_home(home, limits, now, affinity)]
    if room.start is not None:
        effects.append(StartWorker(room.start))  # 5
    return [*effects, *map(RefuseTarget, room.refused)]  # 6


def _decide_home(home: Home, limits: PlacementLimits, now: float, affinity: Mapping[str, int]) -> list[Effect]:
    serving = [worker for worker in home.workers if worker.state.is_resident]  # none: 1, 2
    unwanted = [worker for worker in serving if worker.is_unwanted or home.has_to_go]
    effects: list[Effect] = [effect for worker in unwanted for effect in _end(worker, limits, now)]  # 3b, 4a
    wanted = [worker for worker in serving if not worker.is_unwanted]
    if home.has_to_go:
        return effects + [StopWorker(worker.worker_id) for worker in home.workers if worker.state.is_getting_ready]
    if any(worker.state is WorkerState.DRAINING for worker in wanted):
        return effects + _decide_draining(home.queue, wanted, limits, now)  # 3
    if wanted:
        return effects + _decide_ready(home, wanted, limits, now, affinity)  # 4
    return effects


def next_target(
    waiting: Sequence[WaitingRequest], workers: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> Target | None:
    """Return what somebody urgent waits for while others have to go for it; its process can start meanwhile.

    None also while memory is short: a process without a model has some, too.
    """
    if not workers or limits.is_emergency or limits.unload_idle_from is not None:
        return None
    urgent = [request for request in _let_in(waiting, limits) if request.is_urgent(limits, now)]
    queue = serving_order(urgent, limits, now)
    if not limits.residency.is_exclusive:
        return room_for(queue, workers, limits, now).awaited
    others = _others(queue, workers[0].target)
    return others[0].target if others else None


def next_deadline(
    waiting: Sequence[WaitingRequest], workers: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> float | None:
    """Return the next monotonic time after `now` at which `decide` may answer differently although nothing happened.

    None when only an event can change the answer.
    """
    let_in = serving_order(_let_in(waiting, limits), limits, now) if waiting else []
    draining = [worker for worker in workers if worker.state is WorkerState.DRAINING]
    deadlines = [worker.state_since + limits.swap_drain_timeout_s for worker in draining]
    deadlines += [request.urgent_at(limits) for request in let_in if not request.is_urgent(limits, now)]
    for home in room_for(let_in, workers, limits, now).homes:
        deadlines += _home_deadlines(home, limits, now)
    return min((deadline for deadline in deadlines if deadline > now), default=None)


def _home_deadlines(home: Home, limits: PlacementLimits, now: float) -> Iterator[float]:
    idle_until = None if home.queue else expires_at(home.workers, limits)
    if idle_until is not None:
        yield idle_until
    wanted = [worker for worker in home.workers if worker.state is WorkerState.READY and not worker.is_unwanted]
    others = _others(home.queue, home.target)
    if wanted and others:
        yield _quiet_at(wanted, limits)
        yield rested_at(wanted, limits)
        yield _time_is_up_at(others[0], wanted, limits, now)


def _let_in(waiting: Sequence[WaitingRequest], limits: PlacementLimits) -> list[WaitingRequest]:
    """Return those that may be served now."""
    if limits.holds_all:
        return []
    return [each for each in waiting if not limits.holds_background or each.priority is Priority.INTERACTIVE]


def _decide_emergency(workers: Sequence[PlacedWorker], limits: PlacementLimits, now: float) -> list[Effect]:
    effects: list[Effect] = []
    for worker in workers:
        is_free = worker.state.is_resident and worker.use.is_idle
        if is_free or worker.state.is_getting_ready:
            effects.append(StopWorker(worker.worker_id, limits.shortage))
        elif worker.state is WorkerState.DRAINING:
            effects += _end(worker, limits, now)  # of a swap or a command, whose limit stays what it is
    return effects


def _decide_draining(
    queue: Sequence[WaitingRequest], wanted: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> list[Effect]:
    draining = [worker for worker in wanted if worker.state is WorkerState.DRAINING]
    if not _others(queue, wanted[0].target):
        return [KeepWorker(worker.worker_id) for worker in draining]  # 3a
    return [effect for worker in wanted for effect in _end(worker, limits, now)]  # 3b


def _decide_ready(
    home: Home, wanted: Sequence[PlacedWorker], limits: PlacementLimits, now: float, affinity: Mapping[str, int]
) -> list[Effect]:
    queue, workers, target = home.queue, home.workers, home.target
    others = _others(queue, target)
    getting_ready = [worker for worker in workers if worker.state.is_getting_ready]
    if not others:
        idle_until = None if queue else expires_at(workers, limits)
        if idle_until is not None and now >= idle_until:
            kept_until = kept_until_of(workers, limits)
            reason = "idle" if kept_until is not None and now >= kept_until else limits.shortage
            return [StopWorker(worker.worker_id, reason) for worker in [*wanted, *getting_ready]]  # 4e
        dispatches = dispatches_for(queue, wanted, limits, now, affinity)  # 4b
        return [*dispatches, *_replicas(home, limits)]
    is_time_up = _is_time_up(others[0], wanted, limits, now)
    if is_time_up:
        own = list(itertools.takewhile(lambda request: request.target == target, queue))
    else:
        is_held_up = others[0].is_urgent(limits, now)
        own = [
            request
            for request in queue
            if request.target == target and (request.is_urgent(limits, now) or not is_held_up)
        ]
    if own:
        return [*dispatches_for(own, wanted, limits, now, affinity)]  # 4b, 4c
    is_idle = all(worker.use.num_running == 0 for worker in wanted)
    is_pause = others[0].is_urgent(limits, now) or now >= _quiet_at(wanted, limits)
    if is_time_up or (is_idle and is_pause and now >= rested_at(wanted, limits)):  # 4c, 4d
        return [
            *(effect for worker in wanted for effect in _end(worker, limits, now)),
            *(StopWorker(worker.worker_id) for worker in getting_ready),
        ]
    return []


def _replicas(home: Home, limits: PlacementLimits) -> list[Effect]:
    is_loading = any(worker.state.is_getting_ready for worker in home.workers)
    is_held = limits.holds_all or limits.unload_idle_from is not None or not home.may_grow
    num_wanted = limits.num_workers if not limits.num_workers_of else limits.num_workers_of.get(home.target, 1)
    return [] if is_loading or is_held or len(home.workers) >= num_wanted else [StartWorker(home.target)]  # 4f


def _others(queue: Sequence[WaitingRequest], target: Target) -> list[WaitingRequest]:
    return [request for request in queue if request.target != target]


def _is_time_up(
    first_other: WaitingRequest, wanted: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> bool:
    is_in_use = any(worker.use.num_interactive for worker in wanted) and not first_other.is_urgent(limits, now)
    return not is_in_use and now >= _time_is_up_at(first_other, wanted, limits, now)


def _time_is_up_at(
    first_other: WaitingRequest, wanted: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> float:
    ready_at = min(worker.state_since for worker in wanted)
    up_at = max(first_other.arrived_at, ready_at) + limits.swap_max_wait_s
    return up_at if first_other.is_urgent(limits, now) else max(up_at, _quiet_at(wanted, limits))


def _quiet_at(wanted: Sequence[PlacedWorker], limits: PlacementLimits) -> float:
    """Return when the pause after the last interactive request was or is long enough for background work to swap."""
    times = [worker.use.interactive_at for worker in wanted if worker.use.interactive_at is not None]
    return max(times) + limits.swap_max_wait_s if times else float("-inf")


def _end(worker: PlacedWorker, limits: PlacementLimits, now: float) -> list[Effect]:
    """Return the next step of ending a ready or draining worker, if it is time for one."""
    if worker.use.num_running == 0:
        return [StopWorker(worker.worker_id)]
    if worker.state is WorkerState.READY:
        return [DrainWorker(worker.worker_id)]
    is_overdue = now >= worker.state_since + limits.swap_drain_timeout_s
    return [StopWorker(worker.worker_id)] if is_overdue else []
