"""Routes of the Responses API: create a response. The other ones are in `lookup` and `counting`."""

from collections.abc import AsyncGenerator
from typing import Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import RouterError
from router.http.asgi import json_reply
from router.http.streaming import SSE
from router.protocols.endpoint import Stream
from router.protocols.responses.answer_schemas import Response, StreamEvent
from router.protocols.responses.answering import (
    AskedResponse,
    encoder_of,
    read_request,
    response_answering,
    start_in_background,
)
from router.protocols.responses.api import RESPONSES_API
from router.protocols.responses.counting import count_response_tokens
from router.protocols.responses.lookup import (
    cancel_response,
    delete_response,
    event_stream,
    get_response,
    list_input_items,
)
from router.protocols.responses.schemas import ResponseRequest
from router.protocols.serving import Answering, arrive, reply, start_or_rejoin
from router.requests.register import RunningRequest
from router.services import Services


@RESPONSES_API.post(
    "/v1/responses",
    Response,
    body=ResponseRequest,
    stream=Stream(SSE, (StreamEvent,)),
    has_request_headers=True,
    use="generate",
)
async def create_response(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Answer, and keep the conversation to go on from."""
    arrival = await arrive(request, services)
    asked: AskedResponse | None = None
    if services.requests.attachable(arrival.seal) is None:
        asked = await read_request(
            services, arrival.raw, engine=arrival.engine, headers=arrival.headers, receive=request.receive
        )
        if asked.head.request.background:
            response = start_in_background(services, arrival, asked)
            return event_stream(services, response, -1) if response.is_stream else json_reply(response.live_body)

    def answering() -> Answering:
        assert asked is not None, "nothing was awaited since the register had none to rejoin"
        return response_answering(services, asked)

    running = start_or_rejoin(services, arrival, answering)
    return await reply(services, arrival, running, chunks=_chunks)


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
