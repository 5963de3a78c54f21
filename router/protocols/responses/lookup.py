"""Kept responses over HTTP: get one, or its events, list its input, cancel it, delete it.

Source: OpenAI API reference, "Get a model response", "Delete a model response", "Cancel a response", "List input
items".
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from litestar import Request, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.errors import InvalidRequestError, UnknownFieldError, UnsupportedFieldError
from router.http.asgi import json_reply
from router.http.error_response import Dialect
from router.http.streaming import SSE_KEEP_ALIVE, EventStream, error_chunk
from router.jobs.background import FOLLOWABLE_S, BackgroundResponse
from router.jobs.desk import ResponsesDesk
from router.protocols.responses.answer_schemas import DeletedResponse, InputItemList, KeptItem
from router.protocols.responses.conversation import chain_items
from router.protocols.responses.validation import check_include
from router.services import Services
from router.work_errors import ResponseNotFoundError

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
_MAX_DIGITS: Final = 10
_Parameters = dict[str, list[str]]


class _Kind(msgspec.Struct):
    """Of a response object, what tells how it ran."""

    background: bool


@get("/v1/responses/{response_id:str}")
async def get_response(
    request: Request[Any, Any, Any], response_id: FromPath[str], services: NamedDependency[Services]
) -> ASGIApp:
    """Return a response, or the events of one that runs in the background."""
    parameters = _parameters(request, ("include", "include[]", "include_obfuscation", "starting_after", "stream"))
    check_include([*parameters.get("include", []), *parameters.get("include[]", [])])
    if _flag(parameters, "include_obfuscation"):
        raise UnsupportedFieldError("include_obfuscation is not supported; leave it out", "include_obfuscation")
    desk = _desk(services, response_id)
    running = desk.background.get(response_id)
    after = _number(parameters, "starting_after")
    if _flag(parameters, "stream"):
        if running is None or not running.is_stream:
            # A response that is not kept is not there, whatever is wanted of it.
            await desk.conversations.get(response_id)
            raise InvalidRequestError(
                f"stream: {response_id} has no events to follow; only a response that was created with background: "
                f"true and stream: true has, until {FOLLOWABLE_S:.0f} s after its end. Get it without stream.",
                "stream",
            )
        return event_stream(services, running, -1 if after is None else after)
    if after is not None:
        raise InvalidRequestError("starting_after is only allowed together with stream=true", "starting_after")
    if running is not None and not running.has_ended:
        return json_reply(running.live_body)
    return json_reply((await desk.conversations.get(response_id)).body)


@delete("/v1/responses/{response_id:str}", status_code=200)
async def delete_response(response_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """Forget a response; one that runs is cancelled."""
    desk = _desk(services, response_id)
    running = desk.background.get(response_id)
    if running is not None:
        await running.cancel()
        desk.background.forget(response_id)
    await desk.conversations.delete(response_id)
    return json_reply(DeletedResponse(id=response_id, object="response", deleted=True))


@post("/v1/responses/{response_id:str}/cancel", status_code=200)
async def cancel_response(response_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """End a response that runs in the background; return it as it is then. One that has ended stays as it is."""
    desk = _desk(services, response_id)
    running = desk.background.get(response_id)
    if running is not None:
        await running.cancel()
    found = await desk.conversations.get(response_id)
    if not msgspec.json.decode(found.body, type=_Kind).background:
        raise InvalidRequestError(f"Cannot cancel a synchronous response: {response_id}.", "response_id")
    return json_reply(found.body)


@get("/v1/responses/{response_id:str}/input_items")
async def list_input_items(
    request: Request[Any, Any, Any], response_id: FromPath[str], services: NamedDependency[Services]
) -> ASGIApp:
    """List what a response was made from: the conversation before it, and its own input."""
    parameters = _parameters(request, ("after", "include", "include[]", "limit", "order"))
    check_include([*parameters.get("include", []), *parameters.get("include[]", [])])
    limit = _number(parameters, "limit")
    if limit is not None and not 1 <= limit <= MAX_LIMIT:
        raise InvalidRequestError(f"limit: a whole number from 1 to {MAX_LIMIT}, got {limit}", "limit")
    order = _one(parameters, "order") or "desc"
    if order not in {"asc", "desc"}:
        raise InvalidRequestError(f"order: {order!r:.40} is not known; send asc or desc", "order")
    chain = await _desk(services, response_id).conversations.history(response_id)
    items = msgspec.convert([*chain_items(chain[:-1]), *chain[-1].input_items], list[KeptItem])
    after = _one(parameters, "after")
    page = InputItemList.of(items if order == "asc" else items[::-1], after=after, limit=limit or DEFAULT_LIMIT)
    if page is None:
        raise InvalidRequestError(f"after: there is no item {after!r:.80} in this response's input", "after")
    return json_reply(page)


def event_stream(services: Services, running: BackgroundResponse, after: int) -> EventStream:
    """Return the events of a response that runs, those behind number `after`; whoever leaves ends nothing."""
    keepalive_s = services.config.server.keepalive_s
    chunks: AsyncIterator[bytes] = running.follow(after)
    return EventStream(
        chunks,
        encode_error=lambda error: error_chunk(error, Dialect.OPENAI),
        headers=[(b"x-request-id", running.response_id.encode())],
        keep_alive=SSE_KEEP_ALIVE,
        keep_alive_s=keepalive_s,
        commit_after_s=keepalive_s,
    )


def _desk(services: Services, response_id: str) -> ResponsesDesk:
    if services.responses is None:
        raise ResponseNotFoundError(response_id)
    return services.responses


def _parameters(request: Request[Any, Any, Any], known: tuple[str, ...]) -> _Parameters:
    parameters: _Parameters = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            raise UnknownFieldError(
                f"The parameter {name!r:.60} is not known here; there are {', '.join(known)}.", name
            )
        parameters.setdefault(name, []).append(str(value))
    return parameters


def _one(parameters: _Parameters, name: str) -> str | None:
    values = parameters.get(name)
    return None if values is None else values[-1]


def _flag(parameters: _Parameters, name: str) -> bool:
    text = (_one(parameters, name) or "false").lower()
    if text not in {"true", "false"}:
        raise InvalidRequestError(f"{name}: {text!r:.40} is neither true nor false", name)
    return text == "true"


def _number(parameters: _Parameters, name: str) -> int | None:
    text = _one(parameters, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise InvalidRequestError(f"{name}: {text!r:.40} is no whole number from 0 on", name)
    return int(text)
