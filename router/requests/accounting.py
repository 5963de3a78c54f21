"""What serving a model to a request took, by its records: at its end, or until now. Pure looks."""

import time

from backends.wire.prompts import ChatPrompt
from router.http.exchange import Account
from router.models.targets import Choice
from router.requests.embedding import RunningEmbedding
from router.requests.generation import Generation
from router.requests.register import RunningRequest
from router.workers.streams import SequenceProgress


def account_of(running: RunningRequest | RunningEmbedding) -> Account:
    """Return the account of a request that runs, or has ended."""
    ended_at = time.monotonic() if running.ended_at is None else running.ended_at
    whole_s = max(0.0, ended_at - running.arrived_at)
    if isinstance(running, RunningEmbedding):
        return _account_of_embedding(running, whole_s)
    return _account_of_generation(running, running.generation, whole_s)


def _account_of_embedding(running: RunningEmbedding, whole_s: float) -> Account:
    return Account(
        protocol=running.facts.protocol,
        model=running.wanted.model_request.model,
        engine=_engine(running.choice),
        operation="embeddings" if running.wanted.query is None else "rerank",
        priority=running.wanted.priority.value,
        num_prompt_tokens=running.num_tokens_done,
        queue_s=running.queue_s,
        load_s=running.load_s,
        whole_s=whole_s,
    )


def _account_of_generation(running: RunningRequest, generation: Generation, whole_s: float) -> Account:
    request, progress, first_at = generation.request, generation.progress, generation.first_output_at
    prompts = progress[:: request.num_choices]
    timings = [each.timings for each in progress if each.timings is not None]
    has_lease = generation.choice is not None
    return Account(
        protocol=running.facts.protocol,
        model=request.model_request.model,
        engine=_engine(generation.choice),
        operation="chat" if any(isinstance(prompt, ChatPrompt) for prompt in request.prompts) else "text_completion",
        priority=request.spec.priority.value,
        num_prompt_tokens=_prompt_tokens(prompts),
        num_cached_tokens=sum(each.num_cached or 0 for each in prompts) if prompts else None,
        num_output_tokens=sum(each.num_output_tokens for each in progress),
        queue_s=generation.queue_ms / 1000 if has_lease else None,
        load_s=generation.load_ms / 1000 if has_lease else None,
        first_token_s=None if first_at is None else max(0.0, first_at - running.arrived_at),
        whole_s=whole_s,
        prefill_s=max((each.prefill_ms / 1000 for each in timings), default=None),
        decode_s=max((each.decode_ms / 1000 for each in timings), default=None),
        longest_gap_s=generation.longest_gap_s if first_at is not None else None,
    )


def _prompt_tokens(prompts: tuple[SequenceProgress, ...]) -> int | None:
    """Add up what is known of the prompts' lengths; None where nothing is."""
    known = [each.num_prompt_tokens for each in prompts if each.num_prompt_tokens is not None]
    return sum(known) if known else None


def _engine(choice: Choice | None) -> str | None:
    return None if choice is None else str(choice.target.engine)
