"""Routes of the Responses API: create a response, count its input; get, cancel and delete those that are kept.

Source: OpenAI API reference, "Get a model response", "Delete a model response", "Cancel a response", "List input
items".
"""

from typing import Annotated, Final, Literal

import msgspec
from litestar.params import FromPath
from litestar.types import ASGIApp
from msgspec import Meta

from router.errors import InvalidRequestError, UnsupportedFieldError
from router.http.asgi import json_reply
from router.http.caller import Scope
from router.http.streaming import SSE, EventStream, until_disconnect
from router.jobs.background import FOLLOWABLE_S, BackgroundResponse, find_response
from router.models.targets import Purpose
from router.protocols.choice import chosen_model, model_request_or_default
from router.protocols.endpoint import Parameter, Stream
from router.protocols.fields.ranges import ModelReference
from router.protocols.fields.support import decode_body
from router.protocols.jobs import long_stream
from router.protocols.openai.answer_schemas import InputTokens
from router.protocols.openai.progress import (
    PREFILL_PROGRESS,
    PrefillProgress,
    wants_prefill_events,
)
from router.protocols.parts import AnyRequest, ConversationsPart, JobsPart, ServingPart
from router.protocols.queries import AFTER, ORDER, is_newest_first, known_parameters, limit_in, number_in, page_limit
from router.protocols.responses.answer_schemas import DeletedResponse, InputItemList, KeptItem, Response
from router.protocols.responses.answering import (
    chunks_of,
    images_of,
    note_left_out,
    read_own_files,
    read_request,
    response_answering,
    start_in_background,
)
from router.protocols.responses.api import RESPONSES_API
from router.protocols.responses.conversation import chain_items, request_items
from router.protocols.responses.event_schemas import StreamEvent
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.request import check_include, generation_for
from router.protocols.responses.schemas import ResponseRequest
from router.protocols.responses.tools import read_tools
from router.protocols.serving import Answering, RequestService

_ONE: Final = "/v1/responses/{response_id:str}"
_INCLUDE: Final = Parameter(
    name="include",
    type=Literal["message.output_text.logprobs", "reasoning.encrypted_content"],
    what="Without effect: what is kept is shown.",
)
_MAX_EVENT: Final = 10**10 - 1
_FOLLOWED: Final = (
    _INCLUDE,
    Parameter(name="stream", type=bool, what="The events of one that runs in the background."),
    Parameter(
        name="starting_after",
        type=Annotated[int, Meta(ge=0, le=_MAX_EVENT)],
        what="Number of the event that the stream begins behind.",
    ),
    Parameter(name="include_obfuscation", type=Literal["false"], what="Without effect."),
)


@RESPONSES_API.inference(
    "/v1/responses",
    Response,
    body=ResponseRequest,
    stream=Stream(SSE, (StreamEvent, PrefillProgress)),
    headers=(PREFILL_PROGRESS,),
)
async def create_response(
    request: AnyRequest, serving: ServingPart, conversations: ConversationsPart, jobs: JobsPart
) -> ASGIApp:
    """Answer, and keep the conversation to go on from."""
    arrival = await serving.arrive(request)
    head: ResponseHead | None = None
    if serving.requests.attachable(arrival.fingerprint) is None:
        head = await read_request(serving, conversations, arrival.raw, arrival.headers, receive=request.receive)
        if head.request.background:
            response = await start_in_background(serving, conversations, jobs, arrival, head)
            if response.is_stream:
                return _event_stream(serving, response, -1)
            return json_reply(response.live_body)

    async def answering() -> Answering:
        assert head is not None, "nothing was awaited since the register had none to rejoin"
        supervisor = serving.supervisor if wants_prefill_events(request.headers) else None
        return await response_answering(conversations, head, supervisor=supervisor)

    running = await serving.start_or_rejoin(arrival, answering)
    return await serving.reply(arrival, running, chunks=chunks_of)


class CountedRequest(ResponseRequest, kw_only=True, forbid_unknown_fields=True):
    """A request that is not to be answered: its model may be left out where only one can be meant."""

    model: ModelReference | None = None  # type: ignore[assignment]


@RESPONSES_API.post(
    "/v1/responses/input_tokens", InputTokens, body=CountedRequest, use="generate", scope=Scope.INFERENCE
)
async def count_response_tokens(request: AnyRequest, serving: ServingPart, conversations: ConversationsPart) -> ASGIApp:
    """Count a response's input tokens."""
    arrival = await serving.arrive(request)
    body = decode_body(arrival.raw, CountedRequest)
    model_request = model_request_or_default(
        serving, body.model, arrival.headers.engine, Purpose.GENERATE, arrival.headers.load
    )
    serving.models.resolve(model_request)
    items = await request_items(conversations, body)
    await until_disconnect(request.receive, read_own_files(serving, items, model_request))
    tools = read_tools(body.tools)
    note_left_out(tools, items)
    model_request, images = await images_of(serving, body, items, model_request, arrival.headers)
    model = chosen_model(serving, model_request)
    wanted = generation_for(body, items, tools, model, arrival.headers, images)
    (prompt,) = wanted.prompts
    num_tokens = await serving.count_tokens(request, model_request, prompt, prompt_param=wanted.prompt_param)
    return json_reply(InputTokens(num_tokens))


class _Kind(msgspec.Struct):
    """Of a response object, what tells how it ran."""

    background: bool


@RESPONSES_API.get(_ONE, Response, query=_FOLLOWED, stream=Stream(SSE, (StreamEvent,)), scope=Scope.INFERENCE)
async def get_response(
    request: AnyRequest,
    response_id: FromPath[str],
    serving: ServingPart,
    conversations: ConversationsPart,
    jobs: JobsPart,
) -> ASGIApp:
    """Return a response, or the events of one that runs in the background."""
    given = _given(request, "include", "include[]", "include_obfuscation", "starting_after", "stream")
    if _is_set(given, "include_obfuscation"):
        raise UnsupportedFieldError("include_obfuscation is not supported; leave it out", "include_obfuscation")
    running = find_response(jobs, response_id)
    text = given.get("starting_after", "")
    after = number_in(text, 0, _MAX_EVENT)
    if text and after is None:
        raise InvalidRequestError(f"starting_after: {text!r:.40} is no whole number from 0 on", "starting_after")
    if _is_set(given, "stream"):
        if running is None or not running.is_stream:
            # A response that is not kept is not there, whatever is wanted of it.
            await conversations.get(response_id)
            raise InvalidRequestError(
                f"stream: {response_id} has no events to follow; only a response that was created with background: "
                f"true and stream: true has, until {FOLLOWABLE_S:.0f} s after its end. Get it without stream.",
                "stream",
            )
        return _event_stream(serving, running, -1 if after is None else after)
    if after is not None:
        raise InvalidRequestError("starting_after is only allowed together with stream=true", "starting_after")
    if running is not None and not running.has_ended:
        return json_reply(running.live_body)
    return json_reply((await conversations.get(response_id)).body)


@RESPONSES_API.delete(_ONE, DeletedResponse, scope=Scope.INFERENCE)
async def delete_response(response_id: FromPath[str], conversations: ConversationsPart, jobs: JobsPart) -> ASGIApp:
    """Forget a response; one that runs is cancelled."""
    running = find_response(jobs, response_id)
    if running is not None:
        await running.cancel()
        running.forget()
    await conversations.delete(response_id)
    return json_reply(DeletedResponse(id=response_id, object="response", deleted=True))


@RESPONSES_API.post(f"{_ONE}/cancel", Response, scope=Scope.INFERENCE)
async def cancel_response(response_id: FromPath[str], conversations: ConversationsPart, jobs: JobsPart) -> ASGIApp:
    """End a response that runs in the background."""
    running = find_response(jobs, response_id)
    if running is not None:
        await running.cancel()
    found = await conversations.get(response_id)
    if not msgspec.json.decode(found.body, type=_Kind).background:
        raise InvalidRequestError(f"Cannot cancel a synchronous response: {response_id}.", "response_id")
    return json_reply(found.body)


@RESPONSES_API.get(
    f"{_ONE}/input_items", InputItemList, query=(AFTER, _INCLUDE, page_limit(100), ORDER), scope=Scope.INFERENCE
)
async def list_input_items(
    request: AnyRequest, response_id: FromPath[str], conversations: ConversationsPart
) -> ASGIApp:
    """List what a response was made from."""
    given = _given(request, "after", "include", "include[]", "limit", "order")
    newest_first, limit = is_newest_first(given), limit_in(given, most=100, default=20)
    chain = await conversations.history(response_id)
    items = msgspec.convert([*chain_items(chain[:-1]), *chain[-1].input_items], list[KeptItem])
    ordered, missing = items[::-1] if newest_first else items, "there is no item {} in this response's input"
    return json_reply(InputItemList.of(ordered, after=given.get("after"), limit=limit, missing=missing))


def _event_stream(serving: RequestService, running: BackgroundResponse, after: int) -> EventStream:
    """Return the events of a response that runs, those behind number `after`; whoever leaves ends nothing."""
    headers = [(b"x-request-id", running.response_id.encode())]
    return long_stream(running.follow(after), keepalive_s=serving.config.server.keepalive_s, headers=headers)


def _given(request: AnyRequest, *known: str) -> dict[str, str]:
    given = known_parameters(request, *known)
    check_include([*request.query_params.getall("include", []), *request.query_params.getall("include[]", [])])
    return given


def _is_set(given: dict[str, str], name: str) -> bool:
    text = (given.get(name) or "false").lower()
    if text not in {"true", "false"}:
        raise InvalidRequestError(f"{name}: {text!r:.40} is neither true nor false", name)
    return text == "true"


ROUTES: Final = (
    create_response,
    count_response_tokens,
    get_response,
    delete_response,
    cancel_response,
    list_input_items,
)
