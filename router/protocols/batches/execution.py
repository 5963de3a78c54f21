"""One line of a batch to its result: the same way as a request by HTTP, as background work, tried again after crashes.

Not here: when a line may run (`progress`), and what is kept of its end (`store`).
"""

import asyncio
import time
from typing import Any, Final

import msgspec
from msgspec import UNSET

from backends.errors import BackendError
from backends.wire.messages import Usage
from backends.wire.request import Priority
from registry.errors import RegistryError
from router.errors import (
    EngineCrashedError,
    InternalError,
    InvalidRequestError,
    QueueFullError,
    RouterError,
    ShuttingDownError,
)
from router.http.dialect import OPENAI
from router.http.error_response import error_reply
from router.http.headers import WORKER_HEADER
from router.http.ignored import noting_ignored
from router.jobs.batches.base import Batch, Line, LineEnd, LineResponse, output_text, result_line
from router.protocols.fields.support import decode_body
from router.protocols.openai.embeddings import embeddings_body, new_embedding_id, read_embedding_request
from router.protocols.openai.request import openai_answering
from router.protocols.openai.schemas import ChatRequest, CompletionRequest
from router.protocols.responses.answering import read_request, response_answering
from router.protocols.serving import RequestService
from router.requests.headers import RequestHeaders
from router.requests.leased import RequestFacts
from router.requests.register import whole_answer
from router.stores.conversations import Conversations

MAX_ATTEMPTS: Final = 5
"""Times that a line is tried whose worker dies."""
_OK: Final = 200
_HEADERS: Final = RequestHeaders(priority=Priority.BACKGROUND)
_OUR_ERRORS = (RouterError, BackendError, RegistryError)


async def run_line(
    serving: RequestService,
    conversations: Conversations,
    batch: Batch,
    line: Line,
    body: bytes,
    worker_id: int | None = None,
) -> LineEnd:
    """Run a line to its end.

    Args:
        body: Of its request, JSON.
        worker_id: The worker that the line names; None = whichever.

    Raises:
        ShuttingDownError: The gateway ends; the line has not ended.
    """
    started_at = time.monotonic()
    request_id: str | None = None
    is_strict = serving.config.server.strict_fields
    with noting_ignored(f"{batch.endpoint} in a batch", is_strict=is_strict) as noted:
        try:
            headers = msgspec.structs.replace(_HEADERS, worker_id=worker_id)
            request_id, answer = await _answer(serving, conversations, batch, body, headers)
            status = _OK
        except ShuttingDownError:
            raise
        except _OUR_ERRORS as exc:
            reply = error_reply(_of_line(exc), OPENAI)
            status, answer = reply.status, reply.body
    ignored = list(noted.paths) or UNSET
    response = LineResponse(status_code=status, request_id=request_id, body=msgspec.Raw(answer), ignored=ignored)
    end = LineEnd(
        number=line.number,
        is_ok=status == _OK,
        result=result_line(batch.batch_id, line, response=response),
        duration_s=time.monotonic() - started_at,
    )
    if not end.is_ok:
        return end
    told = msgspec.json.decode(answer)
    return msgspec.structs.replace(end, output=output_text(told), usage=_usage_of(told.get("usage") or {}))


def _of_line(error: Exception) -> Exception:
    """Return the error with the line's field in the place of the header that says the same of other requests."""
    if not isinstance(error, InvalidRequestError) or error.param != WORKER_HEADER:
        return error
    return InvalidRequestError(str(error).replace(WORKER_HEADER, "worker").replace("the header", "it"), "worker")


def _usage_of(usage: dict[str, Any]) -> Usage:
    """Return the tokens of an answer of any endpoint."""
    of_prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    of_answer = usage.get("completion_tokens_details") or usage.get("output_tokens_details") or {}
    return Usage(
        usage.get("prompt_tokens") or usage.get("input_tokens") or 0,
        of_prompt.get("cached_tokens") or 0,
        usage.get("completion_tokens") or usage.get("output_tokens") or 0,
        of_answer.get("reasoning_tokens") or 0,
    )


async def _answer(
    serving: RequestService, conversations: Conversations, batch: Batch, body: bytes, headers: RequestHeaders
) -> tuple[str, bytes]:
    """Return the request's id and its whole answer, by as many attempts as it takes."""
    num_crashes = 0
    while True:
        try:
            return await _attempt(serving, conversations, batch, body, headers)
        except EngineCrashedError:
            num_crashes += 1
            if num_crashes >= MAX_ATTEMPTS:
                raise
        except QueueFullError as exc:
            await asyncio.sleep(exc.retry_after_s or 1.0)


async def _attempt(
    serving: RequestService, conversations: Conversations, batch: Batch, body: bytes, headers: RequestHeaders
) -> tuple[str, bytes]:
    client = batch.batch_id
    match batch.endpoint:
        case "/v1/embeddings":
            return await _embed(serving, body, client, headers)
        case "/v1/responses":
            head = await read_request(serving, conversations, body, headers)
            _check_whole(head.request.stream, "stream")
            _check_whole(head.request.background, "background")
            answering = await response_answering(conversations, head)
        case endpoint:
            is_text = endpoint == "/v1/completions"
            request = decode_body(body, CompletionRequest) if is_text else decode_body(body, ChatRequest)
            _check_whole(request.stream, "stream")
            answering = await openai_answering(serving, request, headers)
    running = serving.start(answering, client=client, headers=headers)
    answer = await whole_answer(running.follow())
    if not answer:
        raise InternalError
    return running.facts.request_id, answer


async def _embed(serving: RequestService, body: bytes, client: str, headers: RequestHeaders) -> tuple[str, bytes]:
    request, wanted = read_embedding_request(serving, body, headers)
    asked = msgspec.structs.replace(wanted.model_request, worker_id=headers.worker_id)
    wanted = msgspec.structs.replace(wanted, priority=Priority.BACKGROUND, model_request=asked)
    facts = RequestFacts(request_id=new_embedding_id(), protocol="openai", client=client)
    vectors = await serving.start_embedding(wanted, facts).result()
    return facts.request_id, await embeddings_body(request, vectors)


def _check_whole(value: bool | None, name: str) -> None:  # noqa: FBT001 - a field's value
    if value:
        raise InvalidRequestError(f"{name}: a line of a batch is answered as a whole; leave it out", name)
