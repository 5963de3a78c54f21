"""From Ollama's requests to the model that is to serve them, and to what the router answers."""

from collections.abc import Callable
from typing import Final

import msgspec

from backends.sequence import Priority
from registry.facts import ChatTemplateFacts
from router.models.load_settings import load_settings_of, overlaid
from router.models.targets import Purpose
from router.protocols.ollama.durations import keep_alive_seconds
from router.protocols.ollama.encoding import OllamaHead, OllamaStream, whole_line
from router.protocols.ollama.names import model_request_for
from router.protocols.ollama.options import check_options, requested_load
from router.protocols.ollama.request import RequestedModel, generation_for
from router.protocols.ollama.schemas import ChatRequest, EmbeddingsRequest, EmbedRequest, GenerateRequest, Options
from router.protocols.serving import Answering, Arrival
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation
from router.requests.register import AnswerEncoder
from router.services import Services

_AnyBody = ChatRequest | GenerateRequest | EmbedRequest | EmbeddingsRequest
_NO_OPTIONS: Final = Options()


def requested_model(services: Services, arrival: Arrival, body: _AnyBody, purpose: Purpose) -> RequestedModel:
    """Return what a request asks for.

    Raises:
        RouterError: The model cannot be served, or an option cannot be honoured.
        RegistryError: There is no such model, or the registry cannot be read.
    """
    by_header = arrival.headers.load
    model_request = model_request_for(services.models, body.model, arrival.engine, purpose, by_header)
    target = services.models.resolve(model_request).target
    model = services.models.get(model_request.model)
    options = body.options or _NO_OPTIONS
    check_options(options, services.config, target.engine.kind)
    artifact = services.models.artifact_of(target)
    by_options = requested_load(options, services.config, load_settings_of(model.settings), artifact)
    model_request = msgspec.structs.replace(
        model_request, load=overlaid(by_options, by_header), keep_alive_s=keep_alive_seconds(body.keep_alive)
    )
    own = model.settings.template
    of_artifact = None if artifact is None else artifact.facts.chat_template
    return RequestedModel(
        model_request=model_request,
        defaults=services.defaults_for(model_request.model),
        template=of_artifact if own is None else ChatTemplateFacts.from_text(own),
        priority=arrival.headers.priority or Priority.INTERACTIVE,
    )


def ollama_answering(
    body: ChatRequest | GenerateRequest, model: RequestedModel, arrival: Arrival, head: OllamaHead
) -> Answering:
    """Return what a request asks for.

    Args:
        body: The request; its prompt is not empty.

    Raises:
        InvalidRequestError: It is not valid.
    """
    wanted = generation_for(body, model, arrival.headers.session_id)
    return Answering(answer_id=head.answer_id, protocol="ollama", wanted=wanted, encoder=_encoder(body, head))


def _encoder(body: ChatRequest | GenerateRequest, head: OllamaHead) -> Callable[[Generation], AnswerEncoder]:
    # Source: docs/api.md: "stream: if false the response will be returned as a single response object".
    if body.stream is False:
        return lambda generation: WholeAnswer(1, lambda outputs: whole_line(head, generation, outputs[0]))
    return lambda generation: OllamaStream(head, generation)
