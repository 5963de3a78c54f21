"""Who is resident, who waits, who goes: pure decisions about models over workers.

No I/O, clock or log in here: the supervisor asks with what it knows and performs the answer. Residency is exclusive: at
most one worker has a model (loading, resident, draining or stopping); standby workers do not count.

The decision, in order; the numbers stand in the code:
    1. A worker is stopping: wait until it is gone and its memory back.
    2. A worker is starting or loading: wait (whoever wants its model joins the load).
    3. A worker is draining:
       3a. for a swap that nobody waits for any more: take it back;
       3b. stop it when it is idle, or when it has drained for too long.
    4. A worker is ready:
       4a. a command wants it gone: drain it, or stop it when it is idle;
       4b. its time is not up: it takes the waiting requests for its target, in order, as far as its batch has room.
           Its time is up when others wait and the swap's maximum wait has passed since the first of them came, or since
           it became ready if that was later: a load that takes longer than the maximum wait must not be in vain;
       4c. its time is up: it still takes those that came before every other, so that each load serves at least one;
           then drain it, or stop it when it is idle;
       4d. nobody waits for it, others do, and it is idle: stop it.
    5. No worker has a model: start one for the request that has waited longest.
"""

import dataclasses
import itertools
from collections.abc import Sequence

from router.lifecycle import WorkerState
from router.targets import Target


@dataclasses.dataclass(frozen=True, slots=True)
class WaitingRequest:
    """One request in the queue.

    Attributes:
        ticket_id: The supervisor's id.
        target: What it needs resident.
        num_sequences: Places in the batch it takes, >= 1.
        arrived_at: Monotonic seconds.
    """

    ticket_id: int
    target: Target
    num_sequences: int
    arrived_at: float


@dataclasses.dataclass(frozen=True, slots=True)
class PlacedWorker:
    """One worker that has, or is to have, a model.

    Attributes:
        worker_id: The supervisor's id.
        target: Its artifact.
        state: Any but STANDBY and GONE.
        num_running: Sequences it serves.
        max_sequences: Places in its batch.
        state_since: Monotonic seconds.
        is_unwanted: A command wants it gone, whoever waits.
    """

    worker_id: int
    target: Target
    state: WorkerState
    num_running: int
    max_sequences: int
    state_since: float
    is_unwanted: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class PlacementLimits:
    """Seconds; see the config's `limits`."""

    swap_max_wait_s: float
    swap_drain_timeout_s: float


@dataclasses.dataclass(frozen=True, slots=True)
class Dispatch:
    """Hand the request to the worker."""

    ticket_id: int
    worker_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class StartWorker:
    """Load the target, on a standby worker if there is one."""

    target: Target


@dataclasses.dataclass(frozen=True, slots=True)
class DrainWorker:
    """Give the worker no new requests."""

    worker_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class KeepWorker:
    """Take a drain back: the worker is ready again."""

    worker_id: int


@dataclasses.dataclass(frozen=True, slots=True)
class StopWorker:
    """End the worker; its running requests, if any, are cut."""

    worker_id: int


Effect = Dispatch | StartWorker | DrainWorker | KeepWorker | StopWorker


def decide(
    waiting: Sequence[WaitingRequest], workers: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> list[Effect]:
    """Return what is to be done now; to be asked again whenever anything changes or `next_deadline` has come.

    Args:
        waiting: In the order in which they are to be served.
        workers: Those that have a model; at most one.
        limits: From the config.
        now: Monotonic seconds.
    """
    assert len(workers) <= 1, "exclusive residency"
    if not workers:
        return [StartWorker(waiting[0].target)] if waiting else []  # 5
    worker = workers[0]
    match worker.state:
        case WorkerState.DRAINING:
            return _decide_draining(waiting, worker, limits, now)  # 3
        case WorkerState.READY:
            return _decide_ready(waiting, worker, limits, now)  # 4
        case _:
            return []  # 1, 2


def next_deadline(
    waiting: Sequence[WaitingRequest], workers: Sequence[PlacedWorker], limits: PlacementLimits, now: float
) -> float | None:
    """Return the next monotonic time after `now` at which `decide` may answer differently although nothing happened.

    None when only an event can change the answer.
    """
    for worker in workers:
        if worker.state is WorkerState.DRAINING:
            deadline = worker.state_since + limits.swap_drain_timeout_s
        elif worker.state is WorkerState.READY and (others := _others(waiting, worker)):
            deadline = _time_is_up_at(others, worker, limits)
        else:
            continue
        return deadline if deadline > now else None
    return None


def _decide_draining(
    waiting: Sequence[WaitingRequest], worker: PlacedWorker, limits: PlacementLimits, now: float
) -> list[Effect]:
    if not worker.is_unwanted and not _others(waiting, worker):
        return [KeepWorker(worker.worker_id)]  # 3a
    is_overdue = now >= worker.state_since + limits.swap_drain_timeout_s
    return [StopWorker(worker.worker_id)] if worker.num_running == 0 or is_overdue else []  # 3b


def _decide_ready(
    waiting: Sequence[WaitingRequest], worker: PlacedWorker, limits: PlacementLimits, now: float
) -> list[Effect]:
    if worker.is_unwanted:
        return [_drain_or_stop(worker)]  # 4a
    own = [request for request in waiting if request.target == worker.target]
    others = _others(waiting, worker)
    is_time_up = bool(others) and now >= _time_is_up_at(others, worker, limits)
    if is_time_up:
        own = list(itertools.takewhile(lambda request: request.target == worker.target, waiting))
    if own:
        return _dispatches(own, worker)  # 4b, 4c
    if is_time_up:
        return [_drain_or_stop(worker)]  # 4c
    if others and worker.num_running == 0:
        return [StopWorker(worker.worker_id)]  # 4d
    return []


def _others(waiting: Sequence[WaitingRequest], worker: PlacedWorker) -> list[WaitingRequest]:
    return [request for request in waiting if request.target != worker.target]


def _time_is_up_at(others: Sequence[WaitingRequest], worker: PlacedWorker, limits: PlacementLimits) -> float:
    return max(others[0].arrived_at, worker.state_since) + limits.swap_max_wait_s


def _drain_or_stop(worker: PlacedWorker) -> Effect:
    return StopWorker(worker.worker_id) if worker.num_running == 0 else DrainWorker(worker.worker_id)


def _dispatches(own: Sequence[WaitingRequest], worker: PlacedWorker) -> list[Effect]:
    """First come first served: a request that does not fit blocks those behind it, so that it cannot starve."""
    effects: list[Effect] = []
    num_running = worker.num_running
    for request in own:
        fits = num_running + request.num_sequences <= worker.max_sequences
        if not fits and num_running > 0:
            break
        effects.append(Dispatch(request.ticket_id, worker.worker_id))
        num_running += request.num_sequences
    return effects
