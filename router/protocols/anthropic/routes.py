"""Routes of the Anthropic API: messages, and the count of their tokens.

The headers `anthropic-version` and `anthropic-beta` are labels: there is one version here, and a body says by its own
fields what it wants. Keys (`x-api-key`, `Authorization`) are accepted and not looked at, like everywhere.
"""

from typing import Final

from litestar.types import ASGIApp

from router.http.asgi import json_reply
from router.http.streaming import SSE, until_disconnect
from router.protocols.anthropic.answer_schemas import AnswerMessage, InputTokens, OriginalTokens, StreamEvent
from router.protocols.anthropic.api import ANTHROPIC_API, ANTHROPIC_ERRORS
from router.protocols.anthropic.clearing import Clearing
from router.protocols.anthropic.request import SESSION_HEADER, anthropic_answering, edits_of, images_of, prompt_for
from router.protocols.anthropic.schemas import CountRequest, MessagesRequest
from router.protocols.endpoint import Parameter, Stream
from router.protocols.fields.support import decode_body
from router.protocols.parts import AnyRequest, ServingPart

REQUEST_ID_HEADER: Final = b"request-id"
"""Where Anthropic's clients look for the request's id."""
_REQUEST_ID: Final = Parameter(name=REQUEST_ID_HEADER.decode(), type=str, what="The same as x-request-id.")
_AGENT_SESSION: Final = Parameter(
    name=SESSION_HEADER, type=str, what="The conversation that it belongs to, where X-Session-Id does not say."
)


@ANTHROPIC_API.inference(
    "/v1/messages",
    AnswerMessage,
    body=MessagesRequest,
    stream=Stream(SSE, (StreamEvent,)),
    headers=(_AGENT_SESSION,),
    answer_headers=(_REQUEST_ID,),
)
async def create_message(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Answer a conversation."""
    arrival = await serving.arrive(request)
    running = await serving.start_or_rejoin(arrival, lambda: anthropic_answering(serving, arrival))
    own = ((REQUEST_ID_HEADER, running.facts.request_id.encode()),)
    return await serving.reply(arrival, running, dialect=ANTHROPIC_ERRORS, headers=own)


@ANTHROPIC_API.inference("/v1/messages/count_tokens", InputTokens, body=CountRequest)
async def count_message_tokens(request: AnyRequest, serving: ServingPart) -> ASGIApp:
    """Count a conversation's tokens."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, CountRequest)
    model_request = serving.models.model_request(body.model, arrival.headers.engine, load=arrival.headers.load)
    reading = images_of(serving, body, model_request, arrival.headers)
    model_request, images = await until_disconnect(request.receive, reading)
    serving.models.resolve(model_request)
    prompt = prompt_for(body, serving.models.defaults_for(model_request.model), images=images)
    if not edits_of(body):
        return json_reply(InputTokens(await serving.count_tokens(request, model_request, prompt)))
    clearing = Clearing(serving, model_request)
    original = OriginalTokens(await until_disconnect(request.receive, clearing.count(prompt)))
    left = await until_disconnect(request.receive, clearing.apply(prompt, edits_of(body)))
    return json_reply(InputTokens(await serving.count_tokens(request, model_request, left), original))


ROUTES: Final = (create_message, count_message_tokens)
