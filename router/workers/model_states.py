"""From the lifecycle of workers to the states of models, in the words that everybody uses.

`model_state` is pure. `ModelStates` remembers what was said last, so that changes can be told. Part of the supervisor's
task. Not here: what goes wrong with workers (`faults`), and who is told (`router.events`).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from msgspec.structs import replace

from router.models.targets import Target
from router.observers import Observers
from router.placement.lifecycle import WorkerState
from router.placement.situation import PlacedWorker
from router.states import ModelState, ShownWorkerState
from router.status import ModelStatus

FRACTION_STEP: Final = 0.05
"""Least step of a load that is told as a change."""
MAX_MODELS: Final = 256
"""Models that are remembered; the one that changed longest ago goes first."""
LOADED_AGAIN: Final = "The next request for it on {engine} loads it again."
"""With its engine: a model that went because the other engine was chosen is not what any next request loads."""

_Key = tuple[str, str]


class Fault(msgspec.Struct, frozen=True):
    """Why a model is in error, and the way out; sentences or parts of them."""

    reason: str
    way_out: str


class SeenWorker(msgspec.Struct, frozen=True):
    """A worker that has a model, as this module needs it.

    Attributes:
        load_fraction: Of a running load, 0..1; None = not begun, or done.
    """

    placed: PlacedWorker
    load_fraction: float | None = None


def worker_state(state: WorkerState, *, has_target: bool, num_running: int) -> ShownWorkerState:
    """Return the word for a worker: a starting one with a target is loading, a ready one at work generating."""
    match state:
        case WorkerState.STARTING | WorkerState.STANDBY:
            return ShownWorkerState.LOADING if has_target else ShownWorkerState.STANDBY
        case WorkerState.READY:
            return ShownWorkerState.GENERATING if num_running else ShownWorkerState.READY
        case WorkerState.LOADING | WorkerState.DRAINING | WorkerState.STOPPING:
            return ShownWorkerState(state.value)
        case WorkerState.GONE:
            return ShownWorkerState.STOPPING


def model_state(workers: Sequence[PlacedWorker], *, is_failed: bool = False) -> ModelState:
    """Return the state of the model that all of the workers have, get or give up.

    The decision, in order: one that is ready serves it; one that gets ready soon will; those that are left give it up;
    none has it.

    Args:
        is_failed: Its last load failed, or its last worker died.
    """
    states = {worker.state for worker in workers} - {WorkerState.GONE}
    if WorkerState.READY in states:
        is_used = any(worker.use.num_running for worker in workers)
        return ModelState.GENERATING if is_used else ModelState.READY
    if states & {WorkerState.STARTING, WorkerState.STANDBY, WorkerState.LOADING}:
        return ModelState.LOADING
    if states:
        return ModelState.DRAINING
    return ModelState.ERROR if is_failed else ModelState.IDLE


class ModelStates:
    """Knows the states of all models that were asked for since the start, by name and engine.

    Args:
        fault_of: What is wrong with a target, None = nothing.
        unload_reason_of: Why a model was unloaded last, by its name and engine; None = not known.

    Attributes:
        changed: Told of every change, after it.
    """

    def __init__(
        self,
        *,
        fault_of: Callable[[Target], Fault | None],
        unload_reason_of: Callable[[str, str], str | None],
    ) -> None:
        self._fault_of = fault_of
        self._unload_reason_of = unload_reason_of
        self._targets: dict[_Key, Target] = {}
        self._known: dict[_Key, ModelStatus] = {}
        self.changed: Observers[ModelStatus] = Observers()

    @property
    def known(self) -> list[ModelStatus]:
        """All of them, the one that changed last at the end."""
        return list(self._known.values())

    def look(self, workers: Iterable[SeenWorker]) -> None:
        """Compare with what was said last, and tell what has changed."""
        found: dict[_Key, list[SeenWorker]] = {}
        for worker in workers:
            target = worker.placed.target
            key = (target.label, str(target.engine))
            self._targets[key] = target
            found.setdefault(key, []).append(worker)
        for key in {**self._targets, **found}:
            before = self._known.get(key)
            if before is not None and before.state == ModelState.IDLE and key not in found:
                continue  # nothing happens to a model that no worker has; this runs after every message
            now = self._status(key, found.get(key, ()))
            if before is None or not _is_same(before, now):
                self._known.pop(key, None)
                self._known[key] = now
                self.changed.tell(now)
        self._forget()

    def _status(self, key: _Key, workers: Sequence[SeenWorker]) -> ModelStatus:
        model, engine = key
        placed = [worker.placed for worker in workers]
        fault = None if workers else self._fault_of(self._targets[key])
        state = model_state(placed, is_failed=fault is not None)
        status = ModelStatus(
            at=round(time.time(), 3),
            model=model,
            engine=engine,
            state=state.value,
            num_running=sum(worker.use.num_running for worker in placed),
        )
        match state:
            case ModelState.LOADING:
                return replace(status, load_fraction=_fraction(workers))
            case ModelState.IDLE:
                reason = self._unload_reason_of(model, engine)
                return replace(
                    status, reason=reason, way_out=None if reason is None else LOADED_AGAIN.format(engine=status.engine)
                )
            case ModelState.ERROR if fault is not None:
                return replace(status, reason=fault.reason, way_out=fault.way_out)
            case _:
                return status

    def _forget(self) -> None:
        unused = [key for key, status in self._known.items() if status.state in {ModelState.IDLE, ModelState.ERROR}]
        for key in unused[: max(0, len(self._known) - MAX_MODELS)]:
            del self._known[key], self._targets[key]


def _fraction(workers: Sequence[SeenWorker]) -> float:
    """Return the share of the load that is furthest, in steps."""
    furthest = max(worker.load_fraction or 0.0 for worker in workers)
    return round(int(furthest / FRACTION_STEP + 1e-6) * FRACTION_STEP, 2)


def _is_same(before: ModelStatus, now: ModelStatus) -> bool:
    return replace(before, at=now.at, num_running=now.num_running) == now
