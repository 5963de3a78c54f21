"""When an idle model is unloaded: so many seconds after its last request. Pure: `now` is the caller's business.

The time is the last request's own, else the model's setting, else the config's; infinite = until the model must go for
another one. Where memory is short it goes as soon as it is idle, but not before it was there for SHORT_STAY_S, so that
there are at most two such unloads in a minute. Idle means that no request holds a lease, not even one that takes no
place in the batch. What is pinned stays, whatever its time is.
"""

import math
from collections.abc import Sequence
from typing import Final

from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker, PlacementLimits

SHORT_STAY_S: Final = 30.0


def expires_at(workers: Sequence[PlacedWorker], limits: PlacementLimits) -> float | None:
    """Return when the resident model goes because nobody uses it.

    Returns:
        Monotonic seconds; None while it is used, is not ready, or is kept forever.
    """
    kept_until, from_then = kept_until_of(workers, limits), limits.unload_idle_from
    ready = _idle(workers)
    if from_then is None or not ready:
        return kept_until
    stays_until = min(worker.state_since for worker in ready) + SHORT_STAY_S
    goes_at = max(from_then, stays_until, *(worker.use.used_at for worker in ready))
    return goes_at if kept_until is None else min(goes_at, kept_until)


def kept_until_of(workers: Sequence[PlacedWorker], limits: PlacementLimits) -> float | None:
    """Return when the resident model has been idle for as long as it is to be kept; as `expires_at`."""
    ready = _idle(workers)
    if not ready:
        return None
    last = max(ready, key=lambda worker: worker.use.used_at)
    keep_alive_s = limits.keep_alive_s if last.use.keep_alive_s is None else last.use.keep_alive_s
    if keep_alive_s is None or math.isinf(keep_alive_s):
        return None
    # A model that was loaded for a client who left has never been used.
    return max(last.use.used_at, min(worker.state_since for worker in ready)) + keep_alive_s


def _idle(workers: Sequence[PlacedWorker]) -> list[PlacedWorker]:
    """Return those that are ready; none while any worker is used."""
    if not all(worker.use.is_idle for worker in workers) or any(worker.is_pinned for worker in workers):
        return []
    return [worker for worker in workers if worker.state is WorkerState.READY]
