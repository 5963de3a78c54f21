"""What is loaded of a model, as the choice of an engine needs it: a look at the workers and at the queue."""

from typing import TYPE_CHECKING, Final

from router.models.auto.learning import Resident
from router.placement.lifecycle import WorkerState

if TYPE_CHECKING:
    from router.workers.supervisor import Supervisor

_HAS_MODEL: Final = frozenset({WorkerState.LOADING, WorkerState.READY, WorkerState.DRAINING})


def resident_of(supervisor: "Supervisor", model: str) -> Resident:
    """Return what is loaded of a model now."""
    workers = [
        worker
        for worker in supervisor.workers
        if worker.target is not None and worker.target.model == model and worker.state in _HAS_MODEL
    ]
    if not workers:
        return Resident()
    # A worker that drains goes, unless it is the only one.
    newest = max(workers, key=lambda worker: worker.state is not WorkerState.DRAINING)
    assert newest.target is not None
    is_busy = any(worker.use.num_running for worker in workers) or bool(supervisor.waiting)
    return Resident(newest.target.engine.kind, is_busy)
