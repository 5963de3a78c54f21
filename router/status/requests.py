"""What a running gateway tells of its requests: the bodies of `/v1/mlxr/requests`."""

import msgspec

from router.status import WorkerRef
from router.status.contexts import ContextFill


class RequestStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One request that runs or waits; token counts are null before its prompt was tokenized.

    Attributes:
        id: The answer's id, also in the header X-Request-Id.
        state: queued, loading (its model), winding (its conversation), prefill or decode.
        session: Its conversation, by X-Session-Id or prompt_cache_key.
        is_client_gone: Whether it only waits for the same request to come again.
        started_at: Seconds since 1970.
        age_s: Seconds since then.
        prompt_tokens_cached: Those that had not to be computed.
        output_tokens: Of each of its sequences so far.
        worker: That serves it, or did last; null = none has yet.
        context: How full its context is; null = its conversation is not wound where that is full, or not known yet.
    """

    id: str
    protocol: str
    model: str
    engine: str | None
    state: str
    priority: str
    session: str | None
    client: str
    is_client_gone: bool
    started_at: float
    age_s: float
    prompt_tokens: int | None
    prompt_tokens_done: int | None
    prompt_tokens_cached: int | None
    output_tokens: list[int]
    worker: WorkerRef | None = None
    context: ContextFill | None = None


class RequestList(msgspec.Struct, frozen=True):
    """Body of GET /v1/mlxr/requests, in the order of arrival."""

    requests: list[RequestStatus]


class CancelResponse(msgspec.Struct, frozen=True):
    """What was cancelled, as it stood then."""

    cancelled: RequestStatus
