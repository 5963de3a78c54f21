"""From Anthropic requests to what the router answers."""

from collections.abc import Mapping
from typing import Final

import msgspec

from router.protocols.anthropic.encoding import AnthropicHead, AnthropicStream, message_of
from router.protocols.anthropic.request import generation_for
from router.protocols.anthropic.schemas import MessagesRequest, ThinkingAdaptive, ThinkingEnabled
from router.protocols.choice import chosen_model
from router.protocols.fields.support import decode_body
from router.protocols.serving import Answering, Arrival
from router.requests.collected import WholeAnswer
from router.requests.generation import Generation
from router.requests.headers import MAX_SESSION_CHARS
from router.requests.register import AnswerEncoder
from router.services import Services

SESSION_HEADER: Final = "X-Claude-Code-Session-Id"
"""By which Claude Code names a conversation; X-Session-Id goes before it."""


def anthropic_answering(services: Services, arrival: Arrival) -> Answering:
    """Return what a request asks for.

    Raises:
        RouterError: It is not valid.
        RegistryError: There is no such model.
    """
    body = decode_body(arrival.raw, MessagesRequest)
    headers = arrival.headers
    if headers.session_id is None:
        headers = msgspec.structs.replace(headers, session_id=_agent_session(arrival.request.headers))
    model = chosen_model(services, services.models.model_request(body.model, arrival.engine, load=headers.load))
    head = AnthropicHead(
        answer_id=AnthropicHead.new_id(),
        model=body.model,
        max_tokens=body.max_tokens,
        stop_sequences=tuple(body.stop_sequences or ()),
        hides_thinking=_hides_thinking(body),
    )

    def encoder(_: Generation) -> AnswerEncoder:
        return AnthropicStream(head) if body.stream else WholeAnswer(1, lambda outputs: message_of(head, outputs[0]))

    return Answering(
        answer_id=head.answer_id,
        protocol="anthropic",
        wanted=generation_for(body, model, headers),
        encoder=encoder,
    )


def _agent_session(headers: Mapping[str, str]) -> str | None:
    name = headers.get(SESSION_HEADER, "").strip()
    return name if 0 < len(name) <= MAX_SESSION_CHARS else None


def _hides_thinking(body: MessagesRequest) -> bool:
    return isinstance(body.thinking, ThinkingEnabled | ThinkingAdaptive) and body.thinking.display == "omitted"
