"""From Ollama's chats and texts to what the router answers."""

from collections.abc import Callable

import msgspec

from router.protocols.ollama.asked import AskedModel
from router.protocols.ollama.encoding import OllamaHead, OllamaStream, whole_line
from router.protocols.ollama.schemas import ChatRequest, GenerateRequest
from router.protocols.ollama.validation import chat_generation, text_generation
from router.protocols.serving import Answering, Arrival
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation, GenerationRequest
from router.requests.register import AnswerEncoder


def ollama_answering(
    body: ChatRequest | GenerateRequest, asked: AskedModel, arrival: Arrival, head: OllamaHead
) -> Answering:
    """Return what a request asks for.

    Args:
        body: The request; its prompt is not empty.

    Raises:
        InvalidRequestError: It is not valid.
    """
    wanted = _wanted(body, asked)
    session_id = arrival.wishes.session_id or wanted.spec.session_id
    spec = msgspec.structs.replace(wanted.spec, priority=asked.priority, session_id=session_id)
    wanted = msgspec.structs.replace(wanted, spec=spec)
    return Answering(answer_id=head.answer_id, protocol="ollama", wanted=wanted, encoder=_encoder(body, head))


def _wanted(body: ChatRequest | GenerateRequest, asked: AskedModel) -> GenerationRequest:
    if isinstance(body, ChatRequest):
        return chat_generation(body, asked.wish, asked.defaults, asked.template)
    return text_generation(body, asked.wish, asked.defaults, asked.template)


def _encoder(body: ChatRequest | GenerateRequest, head: OllamaHead) -> Callable[[Generation], AnswerEncoder]:
    # Source: docs/api.md: "stream: if false the response will be returned as a single response object".
    if body.stream is False:
        return lambda generation: WholeAnswer(1, lambda outputs: whole_line(head, generation, outputs[0]))
    return lambda generation: OllamaStream(head, generation)
