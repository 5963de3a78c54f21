"""In which order waiting requests are served, and which worker each of them gets. Pure.

Serving order: what is urgent before what is not; within each, first come first served. Urgent is what is interactive,
and what is background and has waited for `background_max_wait_s`; it keeps its time of arrival, so it goes before
younger interactive requests.

Places: a worker holds background sequences back while interactive ones have work, so those that run in the background
take no interactive request's place.
    - interactive: while fewer than max_sequences interactive sequences run;
    - background: while fewer than max_sequences sequences run, of whatever class;
    - background that has aged: while fewer than max_sequences background sequences run. Else a worker that interactive
      requests keep full would never let it in;
    - a request that takes no place: always;
    - a request larger than the batch: when none of those that it would count run.
A request that does not fit blocks those of its class behind it, so that it cannot starve.

A request that names its worker waits for that one, and keeps it from those of its class behind it; the other workers
go on taking them.

Worker: the one that is named; else the one that served the request's session last, if it has room; else the one with
the fewest sequences, and among these the one with the lowest id.
"""

from collections.abc import Mapping, Sequence

import msgspec

from backends.wire.request import Priority
from router.placement.situation import PlacedWorker, PlacementLimits, WaitingRequest


class Dispatch(msgspec.Struct, frozen=True):
    """Hand the request to the worker."""

    ticket_id: int
    worker_id: int


def serving_order(waiting: Sequence[WaitingRequest], limits: PlacementLimits, now: float) -> list[WaitingRequest]:
    """Return the requests in the order in which they are to be served."""
    return sorted(
        waiting, key=lambda request: (not request.is_urgent(limits, now), request.arrived_at, request.ticket_id)
    )


def dispatches_for(
    requests: Sequence[WaitingRequest],
    workers: Sequence[PlacedWorker],
    limits: PlacementLimits,
    now: float,
    affinity: Mapping[str, int],
) -> list[Dispatch]:
    """Return who is served now, and by whom.

    Args:
        requests: In serving order, all for the workers' target.
        now: Monotonic seconds.
        affinity: Session id to the id of the worker that served it last.
    """
    loads = [_Load(worker) for worker in workers]
    new_affinity: dict[str, int] = {}
    blocked: set[Priority] = set()
    kept: set[tuple[Priority, int]] = set()
    dispatches = []
    for request in requests:
        if request.priority in blocked and request.num_sequences > 0:
            continue
        has_aged = request.priority is Priority.BACKGROUND and request.is_urgent(limits, now)
        session_id = request.session_id
        last_id = None if session_id is None else new_affinity.get(session_id, affinity.get(session_id))
        candidates = [load for load in loads if request.worker_id in {None, load.worker_id}]
        if request.num_sequences > 0:
            candidates = [load for load in candidates if (request.priority, load.worker_id) not in kept]
        load = _choice([load for load in candidates if load.has_room(request, has_aged=has_aged)], last_id)
        if load is None:
            if request.worker_id is None:
                blocked.add(request.priority)
            else:
                kept.add((request.priority, request.worker_id))
            continue
        load.add(request)
        if session_id is not None:
            new_affinity[session_id] = load.worker_id
        dispatches.append(Dispatch(request.ticket_id, load.worker_id))
    return dispatches


def has_free_place(priority: Priority, num_ahead: int, workers: Sequence[PlacedWorker]) -> bool:
    """Tell whether one more request of one sequence fits after `num_ahead` sequences that wait for the same target."""
    if priority is Priority.INTERACTIVE:
        num_free = sum(max(0, worker.max_sequences - worker.use.num_interactive) for worker in workers)
    else:
        num_free = sum(max(0, worker.max_sequences - worker.use.num_running) for worker in workers)
    return num_ahead < num_free


class _Load:
    """What a worker serves, with what has just been given to it."""

    def __init__(self, worker: PlacedWorker) -> None:
        self.worker_id = worker.worker_id
        self._max_sequences = worker.max_sequences
        self._num_running = {
            Priority.INTERACTIVE: worker.use.num_interactive,
            Priority.BACKGROUND: worker.use.num_background,
        }

    @property
    def rank(self) -> tuple[int, int]:
        return sum(self._num_running.values()), self.worker_id

    def has_room(self, request: WaitingRequest, *, has_aged: bool) -> bool:
        counts_all = request.priority is Priority.BACKGROUND and not has_aged
        num_counted = sum(self._num_running.values()) if counts_all else self._num_running[request.priority]
        return (
            request.num_sequences == 0 or num_counted == 0 or num_counted + request.num_sequences <= self._max_sequences
        )

    def add(self, request: WaitingRequest) -> None:
        self._num_running[request.priority] += request.num_sequences


def _choice(candidates: Sequence[_Load], last_id: int | None) -> _Load | None:
    for load in candidates:
        if load.worker_id == last_id:
            return load
    return min(candidates, key=lambda load: load.rank, default=None)
