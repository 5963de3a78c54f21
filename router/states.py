"""The one list of words for where a model or a worker stands: API, events, `mlxr ps` and documentation have these.

Not here: what a worker process goes through (`router.placement.lifecycle`), and which word follows from it
(`router.workers.model_states`).
"""

import enum


class ModelState(enum.StrEnum):
    """Where a model stands, on one engine.

    IDLE: it is not loaded; the next request loads it.
    LOADING: it is being loaded, by a share that is told with it.
    READY: it is loaded, and no answer runs.
    GENERATING: it is loaded, and answers run.
    DRAINING: it takes no new requests: its running answers end, or its memory is being given back.
    ERROR: its last load failed, or its worker died; the reason and the way out are told with it.
    """

    IDLE = "idle"
    LOADING = "loading"
    READY = "ready"
    GENERATING = "generating"
    DRAINING = "draining"
    ERROR = "error"


class ShownWorkerState(enum.StrEnum):
    """Where a worker stands: its model's words while it serves one, and two that only workers have.

    STANDBY: its libraries are imported, and it has no model.
    STOPPING: it has been told to end; its exit and its memory are awaited.
    """

    LOADING = "loading"
    READY = "ready"
    GENERATING = "generating"
    DRAINING = "draining"
    STANDBY = "standby"
    STOPPING = "stopping"
