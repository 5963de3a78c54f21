"""Requests that generate nothing: an empty prompt loads a model, and unloads it where it is not to be kept at all.

Source: Ollama, docs/api.md, "Load a model" and "Unload a model"; server/routes.go (`GenerateHandler`, `ChatHandler`).
"""

from collections.abc import AsyncGenerator

import msgspec
from litestar.types import ASGIApp

from router.http.asgi import json_reply
from router.http.headers import REQUEST_ID_HEADER
from router.http.streaming import NDJSON, EventStream, until_disconnect
from router.protocols.ollama.answer_schemas import DoneReason
from router.protocols.ollama.api import OLLAMA_ERRORS
from router.protocols.ollama.encoding import OllamaHead
from router.protocols.ollama.requested_model import RequestedModel
from router.protocols.serving import Arrival, RequestService


async def load_or_unload(serving: RequestService, model: RequestedModel) -> DoneReason:
    """Load a model for the time that the request says, or unload it when its running answers are done; return which."""
    if model.model_request.keep_alive_s == 0:
        await serving.supervisor.stop_model(model.model_request.model)
        return "unload"
    serving.models.note_use(model.model_request.model)
    # No place in the batch: nothing is to be computed.
    lease = await serving.supervisor.lease(model.model_request, 0, model.priority)
    lease.release()
    return "load"


async def reply_to_empty(
    serving: RequestService, arrival: Arrival, model: RequestedModel, head: OllamaHead, *, is_stream: bool
) -> ASGIApp:
    """Answer a request without a prompt; a stream is kept alive during the load."""
    headers = [(REQUEST_ID_HEADER, head.answer_id.encode())]
    if not is_stream:
        reason = await until_disconnect(arrival.request.receive, load_or_unload(serving, model))
        return json_reply(_body(head, reason), headers=headers)
    return EventStream(
        _lines(serving, model, head),
        dialect=OLLAMA_ERRORS,
        media_type=NDJSON,
        headers=headers,
        keep_alive=msgspec.json.encode(head.line()) + b"\n",
        keep_alive_s=serving.config.server.keepalive_s,
    )


async def _lines(serving: RequestService, model: RequestedModel, head: OllamaHead) -> AsyncGenerator[bytes, None]:
    yield _body(head, await load_or_unload(serving, model)) + b"\n"


def _body(head: OllamaHead, reason: DoneReason) -> bytes:
    return msgspec.json.encode(msgspec.structs.replace(head.line(), done=True, done_reason=reason))
