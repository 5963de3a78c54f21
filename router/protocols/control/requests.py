"""The requests that run and wait, as data: looks at the register, at the queue and at what loads."""

import time
from collections.abc import Sequence

from msgspec.structs import replace

from backends.wire.request import Priority
from router.models.model_request import ModelRequest
from router.models.targets import Choice, Target
from router.protocols.serving import RequestService
from router.requests.embedding import RunningEmbedding
from router.requests.generation import Generation
from router.requests.register import RunningRequest
from router.status import RequestStatus


def request_status(serving: RequestService, running: RunningRequest | RunningEmbedding) -> RequestStatus:
    """Return what is known of a request now."""
    if isinstance(running, RunningEmbedding):
        state = "prefill" if running.is_embedding else _waiting_state(serving, running.waits_for)
        status = _status(running, running.wanted.model_request, running.choice, state, running.wanted.priority)
        return replace(status, prompt_tokens_done=running.num_tokens_done if running.is_embedding else None)
    generation = running.generation
    request = generation.request
    prompts = generation.progress[:: request.num_choices]
    return replace(
        _status(running, request.model_request, generation.choice, _state(serving, generation), request.spec.priority),
        session=request.spec.session_id,
        is_client_gone=not running.has_reader,
        prompt_tokens=_sum([progress.num_prompt_tokens for progress in prompts]),
        prompt_tokens_done=_sum([progress.num_evaluated for progress in prompts]),
        prompt_tokens_cached=_sum([progress.num_cached for progress in prompts]),
        output_tokens=[progress.num_output_tokens for progress in generation.progress],
    )


def _status(
    running: RunningRequest | RunningEmbedding,
    model_request: ModelRequest,
    choice: Choice | None,
    state: str,
    priority: Priority,
) -> RequestStatus:
    """Return what requests of all kinds have; of the others nothing is known."""
    return RequestStatus(
        id=running.facts.request_id,
        protocol=running.facts.protocol,
        model=model_request.label,
        engine=None if choice is None else str(choice.target.engine),
        state=state,
        priority=priority.value,
        session=None,
        client=running.facts.client,
        is_client_gone=False,
        started_at=round(running.started_at, 3),
        age_s=round(time.monotonic() - running.arrived_at, 3),
        prompt_tokens=None,
        prompt_tokens_done=None,
        prompt_tokens_cached=None,
        output_tokens=[],
    )


def _state(serving: RequestService, generation: Generation) -> str:
    if generation.progress:
        has_output = any(progress.num_output_tokens for progress in generation.progress)
        return "decode" if has_output else "prefill"
    return _waiting_state(serving, generation.waits_for)


def _waiting_state(serving: RequestService, target: Target | None) -> str:
    is_loading = any(worker.target == target and not worker.state.is_resident for worker in serving.supervisor.workers)
    return "loading" if target is not None and is_loading else "queued"


def _sum(counts: Sequence[int | None]) -> int | None:
    """Add up what is known; None where nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
