"""What becomes of a good request that cannot be answered: queues, models, engines, memory, the server's end."""

import math

from router.errors.base import RouterError


class QueueFullError(RouterError, code="queue_full"):
    """The queue is at its limit; the request was not accepted.

    Args:
        retry_after_s: Seconds after which the queue will probably have room.
    """

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(f"The queue is full. Retry in {math.ceil(retry_after_s)} s.", retry_after_s=retry_after_s)


class RequestNotFoundError(RouterError, code="request_not_found"):
    """No request of that id runs or waits: it has ended, or there never was one."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"No request {request_id!r:.80} runs or waits; GET /v1/mlxr/requests lists those that do.", param="id"
        )


class RequestCancelledError(RouterError, code="request_cancelled"):
    """Somebody cancelled the request by its id; its client is told so."""

    def __init__(self, message: str = "The request was cancelled on the server.") -> None:
        super().__init__(message)


class InternalError(RouterError, code="internal_error"):
    """A defect of the gateway. The message never carries the cause; the log does."""

    def __init__(self) -> None:
        super().__init__("Internal error of the server; its log has the cause.")


class ModelLoadFailedError(RouterError, code="model_load_failed"):
    """The engine refused the model; the message carries the engine's own words."""


class ModelInUseError(RouterError, code="model_in_use"):
    """The model is loaded and must not go."""

    def __init__(self, model: str, engine: str, drafts_for: str | None = None) -> None:
        loaded, user = (f"is loaded on {engine}", model) if drafts_for is None else ("is loaded", drafts_for)
        why = "" if drafts_for is None else f" to draft for '{drafts_for}'"
        super().__init__(
            f"The model '{model}' {loaded}{why}; unload it first: POST /v1/mlxr/models/stop, or `mlxr stop {user}`.",
            param="model",
        )


class EngineCrashedError(RouterError, code="engine_crashed"):
    """The worker process ended while it served this request."""


class EngineTimeoutError(RouterError, code="engine_timeout"):
    """The worker did not answer within its deadline and was stopped."""


class DeadlineExceededError(EngineTimeoutError, code="deadline_exceeded"):
    """The request took longer than its own limits allow; the engine goes on with the others."""


class UnavailableError(RouterError, code="unavailable"):
    """The server cannot take this request now; a later one may do."""


class InsufficientMemoryError(UnavailableError, code="insufficient_memory"):
    """The model does not fit in the memory that is free, or nothing is loaded while memory is short.

    Args:
        needed_bytes: None = it is not about this model's size.
        message: Replaces the default message, when the caller knows more.
    """

    def __init__(
        self,
        *,
        needed_bytes: int | None = None,
        available_bytes: int | None = None,
        message: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        need, have = (needed_bytes or 0) / 2**20, (available_bytes or 0) / 2**20
        words = message or f"The model needs {need:.0f} MiB, but {have:.0f} MiB are free for models."
        super().__init__(words, retry_after_s=retry_after_s)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes


class ShuttingDownError(UnavailableError, code="shutting_down"):
    """The server is draining; it takes no new requests. The connection is closed with the answer."""

    def __init__(self, message: str = "The server is shutting down.") -> None:
        super().__init__(message)


class StoreUnavailableError(UnavailableError, code="store_unavailable"):
    """What users stored cannot be read or written now; answers that need nothing stored are given all the same."""


class TooManyConnectionsError(UnavailableError, code="too_many_connections"):
    """The cap on open connections is reached. The connection is closed with the answer."""
