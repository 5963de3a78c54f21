"""Having a model loaded by several processes, and seeing that they are. Not here: what they are asked."""

import time
from collections.abc import Sequence
from typing import Final

from examples.stage.needs import MissingError
from examples.stage.server import Server
from router.status import WorkerRef, WorkerStatus

PATIENCE_S: Final = 90.0
"""For the next process; loading takes seconds, and more on a busy machine."""

POLL_S: Final = 0.1
_CAN_SERVE: Final = frozenset({"ready", "generating"})


def workers_of(server: Server, worker_id: int) -> list[WorkerRef]:
    """Return the processes that have what one of them has, loaded alike, and can serve; the oldest first."""
    workers = server.client.status().workers
    own = next((each for each in workers if each.id == worker_id), None)
    if own is None:
        return []
    alike = [each for each in workers if _target(each) == _target(own) and each.state in _CAN_SERVE]
    return [WorkerRef(each.id, each.pid) for each in sorted(alike, key=lambda each: each.id)]


def _target(worker: WorkerStatus) -> tuple[object, ...]:
    return worker.model, worker.adapter, worker.engine, sorted(worker.load.items())


def started_workers(server: Server, num_workers: int, *, patience_s: float = PATIENCE_S) -> list[WorkerRef]:
    """Have the model loaded and wait for its processes.

    Args:
        num_workers: That are wanted; the server starts them one after another, once the first can serve.
        patience_s: For each next one. Where the first one has gone meanwhile, the model is asked for once more.

    Raises:
        MissingError: They do not come; the text says how many did.
        ClientError: The model cannot be loaded.
    """
    first = server.ask("Hi", max_tokens=1).worker
    found: Sequence[WorkerRef] = ()
    since_s = time.monotonic()
    while True:
        now = workers_of(server, first.id)
        if len(now) >= num_workers:
            return now
        if len(now) != len(found):
            found, since_s = now, time.monotonic()
        is_late = time.monotonic() - since_s > patience_s
        if not now and not is_late and all(each.id != first.id for each in server.client.status().workers):
            first = server.ask("Hi", max_tokens=1).worker
        if is_late:
            raise MissingError(
                f"{num_workers} workers of {server.model} are needed, and {len(now)} came within {patience_s:g} s; "
                "`mlxr ps` shows them, `mlxr logs` says why the others did not come, e.g. for want of memory."
            )
        time.sleep(POLL_S)
