"""POST /v1/responses/input_tokens: how many tokens a request would put in, without generating anything.

Source: OpenAI API reference, "Get input token counts".
"""

from typing import Annotated, Any

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ASGIApp
from msgspec import Meta

from backends.wire.questions import CountTokens, TokenCount
from router.http.asgi import json_reply
from router.http.streaming import until_disconnect
from router.models.targets import Purpose
from router.protocols.choice import chosen_model, model_request_or_default
from router.protocols.fields.support import decode_body
from router.protocols.openai.answer_schemas import InputTokens
from router.protocols.responses.api import RESPONSES_API
from router.protocols.responses.conversation import request_items
from router.protocols.responses.request import generation_for
from router.protocols.responses.schemas import ResponseRequest
from router.protocols.serving import arrive
from router.requests.asking import ask
from router.services import Services


class CountedRequest(ResponseRequest, kw_only=True, forbid_unknown_fields=True):
    """A request that is not to be answered: its model may be left out where only one can be meant."""

    model: Annotated[str, Meta(min_length=1, max_length=256)] | None = None  # type: ignore[assignment]


@RESPONSES_API.post("/v1/responses/input_tokens", InputTokens, body=CountedRequest, use="generate")
async def count_response_tokens(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Count a response's input tokens."""
    arrival = await arrive(request, services)
    body = decode_body(arrival.raw, CountedRequest)
    model_request = model_request_or_default(
        services, body.model, arrival.engine, Purpose.GENERATE, arrival.headers.load
    )
    model = chosen_model(services, model_request)
    wanted = generation_for(body, await request_items(services, body), model, arrival.headers)
    services.models.note_use(model_request.model)
    work = ask(
        services.supervisor,
        model_request,
        CountTokens(wanted.prompts[0]),
        timeout_s=services.config.limits.stall_timeout_s,
        prompt_param=wanted.prompt_param,
    )
    count = (await until_disconnect(request.receive, work)).answer
    assert isinstance(count, TokenCount)
    return json_reply(InputTokens(count.num_tokens))
