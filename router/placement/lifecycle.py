"""The states of a worker, and the only ways from one to the next."""

import enum


class WorkerState(enum.StrEnum):
    """Where a worker process stands.

    STARTING: the process exists, its libraries are being imported.
    STANDBY: libraries imported, no model.
    LOADING: it has been told to load a model.
    READY: the model is resident; requests are served.
    DRAINING: it takes no new requests; those it has may finish. READY again when the reason for it goes away.
    STOPPING: told to end; its exit and its memory are awaited.
    GONE: the process has been reaped.
    """

    STARTING = "starting"
    STANDBY = "standby"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    STOPPING = "stopping"
    GONE = "gone"

    @property
    def is_resident(self) -> bool:
        """Whether its model is loaded."""
        return self in {WorkerState.READY, WorkerState.DRAINING}

    @property
    def is_getting_ready(self) -> bool:
        """Whether its model is to be loaded, or is being loaded."""
        return self in {WorkerState.STARTING, WorkerState.LOADING}


_S = WorkerState
TRANSITIONS: dict[WorkerState, frozenset[WorkerState]] = {
    _S.STARTING: frozenset({_S.STANDBY, _S.STOPPING, _S.GONE}),
    _S.STANDBY: frozenset({_S.LOADING, _S.STOPPING, _S.GONE}),
    _S.LOADING: frozenset({_S.READY, _S.STOPPING, _S.GONE}),
    _S.READY: frozenset({_S.DRAINING, _S.STOPPING, _S.GONE}),
    _S.DRAINING: frozenset({_S.READY, _S.STOPPING, _S.GONE}),
    _S.STOPPING: frozenset({_S.GONE}),
    _S.GONE: frozenset(),
}


def check_transition(old: WorkerState, new: WorkerState) -> WorkerState:
    """Return `new`.

    Raises:
        AssertionError: The table does not list this step: a defect of the caller.
    """
    assert new in TRANSITIONS[old], f"a worker cannot go from {old} to {new}"
    return new
