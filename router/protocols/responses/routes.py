"""Routes of the Responses API: create a response, count its input. The other ones are in `lookup`."""

from collections.abc import AsyncGenerator
from typing import Final

from litestar.types import ASGIApp

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import RouterError
from router.http.asgi import json_reply
from router.http.streaming import SSE
from router.models.targets import Purpose
from router.protocols.choice import chosen_model, model_request_or_default
from router.protocols.endpoint import Stream
from router.protocols.fields.ranges import ModelReference
from router.protocols.fields.support import decode_body
from router.protocols.openai.answer_schemas import InputTokens
from router.protocols.parts import AnyRequest, ConversationsPart, JobsPart, ServingPart
from router.protocols.responses.answer_schemas import Response, StreamEvent
from router.protocols.responses.answering import (
    encoder_of,
    read_request,
    response_answering,
    start_in_background,
)
from router.protocols.responses.api import RESPONSES_API
from router.protocols.responses.conversation import request_items
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.lookup import (
    cancel_response,
    delete_response,
    event_stream,
    get_response,
    list_input_items,
)
from router.protocols.responses.request import generation_for
from router.protocols.responses.schemas import ResponseRequest
from router.protocols.serving import Answering
from router.requests.register import RunningRequest


@RESPONSES_API.inference("/v1/responses", Response, body=ResponseRequest, stream=Stream(SSE, (StreamEvent,)))
async def create_response(
    request: AnyRequest, serving: ServingPart, conversations: ConversationsPart, jobs: JobsPart
) -> ASGIApp:
    """Answer, and keep the conversation to go on from."""
    arrival = await serving.arrive(request)
    head: ResponseHead | None = None
    if serving.requests.attachable(arrival.fingerprint) is None:
        head = await read_request(serving, conversations, arrival.raw, arrival.headers, receive=request.receive)
        if head.request.background:
            response = start_in_background(serving, conversations, jobs, arrival, head)
            return event_stream(serving, response, -1) if response.is_stream else json_reply(response.live_body)

    def answering() -> Answering:
        assert head is not None, "nothing was awaited since the register had none to rejoin"
        return response_answering(conversations, head)

    running = serving.start_or_rejoin(arrival, answering)
    return await serving.reply(arrival, running, chunks=_chunks)


class CountedRequest(ResponseRequest, kw_only=True, forbid_unknown_fields=True):
    """A request that is not to be answered: its model may be left out where only one can be meant."""

    model: ModelReference | None = None  # type: ignore[assignment]


@RESPONSES_API.post("/v1/responses/input_tokens", InputTokens, body=CountedRequest, use="generate")
async def count_response_tokens(request: AnyRequest, serving: ServingPart, conversations: ConversationsPart) -> ASGIApp:
    """Count a response's input tokens."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, CountedRequest)
    model_request = model_request_or_default(
        serving, body.model, arrival.headers.engine, Purpose.GENERATE, arrival.headers.load
    )
    model = chosen_model(serving, model_request)
    wanted = generation_for(body, await request_items(conversations, body), model, arrival.headers)
    (prompt,) = wanted.prompts
    num_tokens = await serving.count_tokens(request, model_request, prompt, prompt_param=wanted.prompt_param)
    return json_reply(InputTokens(num_tokens))


async def _chunks(running: RunningRequest) -> AsyncGenerator[bytes, None]:
    """Yield a stream whose errors, once it has begun, are events of this API."""
    reading, encoder = running.follow(), encoder_of(running)
    try:
        async for chunk in reading:
            yield chunk
    except (RouterError, BackendError, RegistryError) as exc:
        if not encoder.has_begun:
            raise
        yield encoder.failed(exc)
    finally:
        await reading.aclose()


ROUTES: Final = (
    create_response,
    count_response_tokens,
    get_response,
    delete_response,
    cancel_response,
    list_input_items,
)
