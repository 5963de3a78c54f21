"""From OpenAI chats and text completions to what the router answers, by whatever way they came."""

from backends.wire.prompts import TextPrompt
from router.protocols.choice import chosen_model
from router.protocols.openai.answer import CompletionHead, completion_of
from router.protocols.openai.encoding import CompletionStream, StreamOptions
from router.protocols.openai.progress import PrefillWatch, WatchedEncoder
from router.protocols.openai.request import generation_for, tier_used
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.serving import Answering, RequestService
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation, GenerationRequest
from router.requests.headers import RequestHeaders
from router.requests.register import AnswerEncoder


def openai_answering(
    serving: RequestService,
    body: ChatRequest | CompletionRequest,
    headers: RequestHeaders,
    *,
    has_events: bool = False,
) -> Answering:
    """Return what a request asks for.

    Args:
        has_events: Whether named events of the prefill's progress are wanted.
    """
    model = chosen_model(serving, serving.models.model_request(body.model, headers.engine, load=headers.load))
    wanted = generation_for(body, model, headers, has_events=has_events)
    tier = tier_used(body.service_tier, wanted.spec.priority)
    head = CompletionHead.new(body.model, is_chat=isinstance(body, ChatRequest), service_tier=tier)
    return Answering(
        answer_id=head.answer_id,
        protocol="openai",
        wanted=wanted,
        encoder=lambda generation: _encoder(serving, body, head, generation, has_events=has_events),
    )


def _encoder(
    serving: RequestService,
    body: ChatRequest | CompletionRequest,
    head: CompletionHead,
    generation: Generation,
    *,
    has_events: bool,
) -> AnswerEncoder:
    echoes = _echoes(body, generation.request)
    if not body.stream:
        return WholeAnswer(
            generation.request.num_sequences,
            lambda outputs: completion_of(head, generation, outputs, echoes=echoes),
        )
    options = StreamOptions(
        includes_usage=body.stream_options is not None and body.stream_options.include_usage,
        has_progress=bool(body.return_progress),
        has_timings=bool(body.timings_per_token),
        echoes=echoes,
    )
    encoder = CompletionStream(head, generation, options)
    return WatchedEncoder(encoder, PrefillWatch(serving.supervisor, generation.request)) if has_events else encoder


def _echoes(body: ChatRequest | CompletionRequest, request: GenerationRequest) -> tuple[str, ...]:
    if isinstance(body, ChatRequest) or not body.echo:
        return ()
    return tuple(prompt.text for prompt in request.prompts if isinstance(prompt, TextPrompt))
