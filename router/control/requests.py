"""The requests that run and wait, as data: looks at the register, at the queue and at what loads."""

import time
from collections.abc import Sequence

from router.control.schemas import RequestStatus
from router.lifecycle import WorkerState
from router.requests import RunningRequest
from router.services import Services

_SERVING = frozenset({WorkerState.READY, WorkerState.DRAINING})


def request_status(services: Services, running: RunningRequest) -> RequestStatus:
    """Return what is known of a request now."""
    facts, generation = running.facts, running.generation
    request = generation.request
    prompts = generation.progress[:: request.num_choices]
    return RequestStatus(
        id=facts.request_id,
        protocol=facts.protocol,
        model=request.wish.model,
        engine=None if generation.choice is None else generation.choice.target.engine,
        state=_state(services, running),
        priority=request.priority.value,
        session=request.session_id,
        client=facts.client,
        is_client_gone=not running.has_reader,
        started_at=round(running.started_at, 3),
        age_s=round(time.monotonic() - running.arrived_at, 3),
        prompt_tokens=_sum([progress.num_prompt_tokens for progress in prompts]),
        prompt_tokens_done=_sum([progress.num_evaluated for progress in prompts]),
        prompt_tokens_cached=_sum([progress.num_cached for progress in prompts]),
        output_tokens=[progress.num_output_tokens for progress in generation.progress],
    )


def _state(services: Services, running: RunningRequest) -> str:
    generation = running.generation
    if generation.progress:
        has_output = any(progress.num_output_tokens for progress in generation.progress)
        return "decode" if has_output else "prefill"
    target = generation.waits_for
    is_loading = any(worker.target == target and worker.state not in _SERVING for worker in services.supervisor.workers)
    return "loading" if target is not None and is_loading else "queued"


def _sum(counts: Sequence[int | None]) -> int | None:
    """Add up what is known; None where nothing is."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
