"""From a request of the Responses API to what the router answers."""

import time
from collections.abc import AsyncGenerator, Callable, Sequence

import msgspec

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import QueueFullError, RouterError, StoreUnavailableError, UnsupportedFieldError
from router.http.asgi import Receive
from router.http.caller import current_caller
from router.http.ignored import leave_out
from router.http.streaming import until_disconnect
from router.jobs.background import BackgroundResponse, has_room
from router.jobs.jobs import Jobs
from router.models.model_request import ModelRequest
from router.protocols.choice import chosen_model
from router.protocols.fields.mlxr import wished_side
from router.protocols.fields.support import decode_body
from router.protocols.images.read import ReadImages
from router.protocols.openai.progress import PrefillWatch, WatchedEncoder, chunks_with_progress
from router.protocols.openai.request import tier_used
from router.protocols.responses.answer_schemas import CompactionItem, Response
from router.protocols.responses.compaction import wind_items
from router.protocols.responses.conversation import LocalConversation, RequestItems, request_items
from router.protocols.responses.encoding import ResponseEncoder
from router.protocols.responses.files import FILE, has_files, read_files
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.images import sent_images
from router.protocols.responses.items import fresh_id
from router.protocols.responses.request import generation_for
from router.protocols.responses.schemas import ResponseRequest
from router.protocols.responses.tools import ClientTools, read_tools
from router.protocols.responses.truncation import fitted
from router.protocols.responses.turn import begin_answer
from router.protocols.serving import Answering, Arrival, RequestService
from router.requests.context_wish import context_mode
from router.requests.generation import Generation
from router.requests.headers import RequestHeaders
from router.requests.register import AnswerEncoder, Reading, RunningRequest
from router.requests.request import GenerationRequest
from router.stores.conversations import Conversations
from router.workers.supervisor import Supervisor

_BUSY_RETRY_S = 5.0
_FILE = f'"{FILE}"'.encode()


async def read_request(
    serving: RequestService,
    conversations: Conversations,
    raw: bytes,
    headers: RequestHeaders,
    receive: Receive | None = None,
) -> ResponseHead:
    """Read a request, by whatever way it came; otherwise as `head_for`.

    Args:
        receive: The channel of a client that may go away; None = there is none.
    """
    body = decode_body(raw, ResponseRequest)
    reading = head_for(serving, conversations, body, headers)
    may_take_long = body.truncation == "auto" or serving.fetches_images or _FILE in raw
    return await (until_disconnect(receive, reading) if receive is not None and may_take_long else reading)


async def head_for(
    serving: RequestService,
    conversations: Conversations,
    body: ResponseRequest,
    headers: RequestHeaders,
    *,
    local: LocalConversation | None = None,
) -> ResponseHead:
    """Return what a request asks for, with what it goes on from.

    Args:
        local: A conversation that may be gone on from although it is not stored.

    Raises:
        RouterError: It is not valid, or its conversation is not kept.
        RegistryError: There is no such model.
        BackendError: The model's template, where turns have to be counted.
    """
    is_stored = _is_stored(conversations, body)
    model_request = serving.models.model_request(body.model, headers.engine, load=headers.load)
    serving.models.resolve(model_request)
    items = await request_items(conversations, body, local)
    await read_own_files(serving, items, model_request)
    tools = read_tools(body.tools)
    note_left_out(tools, items)
    model_request, images = await images_of(serving, body, items, model_request, headers)
    wanted = generation_for(body, items, tools, chosen_model(serving, model_request), headers, images)
    if body.truncation == "auto" and not _winds(serving, wanted):
        wanted = await fitted(serving, wanted)
    response_id = fresh_id("resp")
    kept_in = items.session_id or (response_id if is_stored else None)
    return ResponseHead(
        response_id=response_id,
        created_at=int(time.time()),
        model=images.stand_in or model_request.named_as(body.model),
        request=body,
        items=items,
        wanted=msgspec.structs.replace(wanted, kept_in=kept_in, is_stored=is_stored),
        service_tier=tier_used(body.service_tier, wanted.spec.priority),
        is_stored=is_stored,
        tools=tools,
        owner=current_caller().key_id,
    )


async def read_own_files(serving: RequestService, items: RequestItems, model_request: ModelRequest) -> None:
    """Read the documents of a request, for the model that it asks; errors as of `read_files`."""
    if not has_files(items.own):
        return
    room = serving.images.room_beside(model_request, sent_images(items.own, items.own_paths, items.question))
    await read_files(serving.documents, items.own, items.own_paths, items.question, max_pictures=room)


async def images_of(
    serving: RequestService,
    body: ResponseRequest,
    items: RequestItems,
    model_request: ModelRequest,
    headers: RequestHeaders,
) -> tuple[ModelRequest, ReadImages]:
    """Return who answers, and the pictures that it is shown; errors as of `ImageReader.read`."""
    sent = sent_images(items.all, items.paths, items.question)
    return await serving.images.read(model_request, sent, wished_side(headers, body.mlxr))


def note_left_out(tools: ClientTools, items: RequestItems) -> None:
    """Note which tools and items of a request have no effect.

    Raises:
        UnsupportedFieldError: What has no effect is to be refused.
    """
    for path in (*tools.ignored, *items.ignored):
        leave_out(path, UnsupportedFieldError(f"{path} is neither run nor shown here; leave it out", path))


async def response_answering(
    conversations: Conversations,
    head: ResponseHead,
    *,
    on_end: Callable[[Response], None] = lambda _: None,
    supervisor: Supervisor | None = None,
) -> Answering:
    """Return what a request asks for; in a kept conversation, what it says is kept now.

    Args:
        on_end: Told the response as it ended, once it is kept.
        supervisor: Where named events of the prefill's progress are wanted in its stream: what they tell of.

    Raises:
        ConversationLockedError: What it goes on from in its conversation is still being written.
        ConversationNotFoundError: Somebody has deleted that meanwhile.
    """
    growing = await begin_answer(conversations, head)

    def over(running: RunningRequest) -> None:
        if growing is not None:
            own = encoder_of(running)
            growing.on_over(running.error, own.items_so_far, is_told=own.is_told)

    def encoder(generation: Generation) -> AnswerEncoder:
        def ended(response: Response) -> None:
            winds = wind_items(head, generation)
            if growing is not None:
                growing.on_end(response)
            keep(conversations, head, response, winds)
            on_end(response)

        if growing is not None:
            growing.winds = lambda: wind_items(head, generation)
        own = ResponseEncoder(head, generation, ended, on_output=None if growing is None else growing.on_output)
        if supervisor is None or own.media_type is None:
            return own
        watch = PrefillWatch(
            supervisor,
            generation.request,
            answer_id=head.response_id,
            created=head.created_at,
            model=head.model,
        )
        return WatchedEncoder(own, watch)

    return Answering(answer_id=head.response_id, protocol="openai", wanted=head.wanted, encoder=encoder, on_over=over)


def keep(
    conversations: Conversations, head: ResponseHead, response: Response, winds: Sequence[CompactionItem] = ()
) -> None:
    """Keep a response as it is now, where it is to be kept.

    Args:
        winds: Items that say how its conversation was wound.
    """
    if head.is_stored:
        conversations.keep(head.stored(response, winds))


async def start_in_background(
    serving: RequestService, conversations: Conversations, jobs: Jobs, arrival: Arrival, head: ResponseHead
) -> BackgroundResponse:
    """Let a response run without its client.

    Raises:
        QueueFullError: Too many run already.
        ShuttingDownError: The server is about to end.
    """
    if not has_room(jobs):
        raise QueueFullError(retry_after_s=_BUSY_RETRY_S)
    running = serving.start(await response_answering(conversations, head), client="background", headers=arrival.headers)
    encoder = encoder_of(running)
    keep(conversations, head, encoder.live_body)
    return BackgroundResponse(jobs, running, encoder)


async def chunks_of(running: RunningRequest) -> AsyncGenerator[bytes, None]:
    """Yield a stream whose errors, once it has begun, are events of this API."""
    encoder, watched = encoder_of(running), running.encoder
    reading: Reading | AsyncGenerator[bytes, None] = running.follow()
    if isinstance(watched, WatchedEncoder):
        reading = chunks_with_progress(reading, watched.watch)
    try:
        async for chunk in reading:
            yield chunk
    except (RouterError, BackendError, RegistryError) as exc:
        if not encoder.has_begun:
            raise
        yield encoder.failed(exc)
    finally:
        await reading.aclose()


def encoder_of(running: RunningRequest) -> ResponseEncoder:
    """Return what writes a response that runs."""
    encoder = running.encoder.encoder if isinstance(running.encoder, WatchedEncoder) else running.encoder
    assert isinstance(encoder, ResponseEncoder)
    return encoder


def _winds(serving: RequestService, wanted: GenerationRequest) -> bool:
    """Tell whether older turns are summarised where there is no room, instead of being left out."""
    settings = serving.models.get(wanted.model_request.model).settings
    return context_mode(wanted.context, settings, serving.config.context) == "wind"


def _is_stored(conversations: Conversations, body: ResponseRequest) -> bool:
    """Tell whether the response is to be kept.

    Raises:
        StoreUnavailableError: It has to be, and cannot.
    """
    keeps = conversations.keeps
    if (body.store or body.background) and not keeps:
        raise StoreUnavailableError(
            "Responses are not stored: conversations.max_bytes is 0, or the log says what is wrong with the database. "
            "Send store: false and no background.",
            param="store",
        )
    return keeps and body.store is not False
