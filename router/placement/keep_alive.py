"""When an idle model is unloaded: so many seconds after its last request. Pure: `now` is the caller's business.

The time is the last request's own, else the model's setting, else the config's; infinite = until the model must go for
another one. Idle means that no request holds a lease, not even one that takes no place in the batch.
"""

import math
from collections.abc import Sequence

from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, PlacementLimits


def expires_at(workers: Sequence[PlacedWorker], limits: PlacementLimits) -> float | None:
    """Return when the resident model has been idle for long enough.

    Returns:
        Monotonic seconds; None while it is used, is not ready, or is kept forever.
    """
    ready = [worker for worker in workers if worker.state is WorkerState.READY]
    if not ready or any(worker.use.num_running or worker.use.num_leases for worker in workers):
        return None
    last = max(ready, key=lambda worker: worker.use.used_at)
    keep_alive_s = limits.keep_alive_s if last.use.keep_alive_s is None else last.use.keep_alive_s
    if keep_alive_s is None or math.isinf(keep_alive_s):
        return None
    # A model that was loaded for a client who left has never been used.
    return max(last.use.used_at, min(worker.state_since for worker in ready)) + keep_alive_s
