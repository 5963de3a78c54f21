"""What the routes of all protocols have in common: from the bytes of a request to its running answer, and the reply.

A protocol says what is to be generated and how the answer is written (`Answering`); this module takes the request in,
finds the same one that was sent before, and sends what its encoder writes. Not here: any protocol's shapes.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.types import ASGIApp
from msgspec.structs import replace

from backends.wire.prompts import Prompt
from backends.wire.questions import CountTokens, Question, TokenCount
from registry.threads import in_thread
from router.config import Config, CurrentConfig
from router.documents.reader import DocumentReader
from router.http.access_log import quoted
from router.http.asgi import json_reply
from router.http.body import decode_json, read_body
from router.http.caller import Caller, caller_of
from router.http.dialect import OPENAI, Dialect
from router.http.exchange import note_answer, sent_request_id
from router.http.headers import REQUEST_ID_HEADER, RETRIES_HEADER, WOUND_HEADER
from router.http.ignored import ignored_fields, note_ignored
from router.http.streaming import EventStream, until_disconnect
from router.models.directory import ModelDirectory
from router.models.model_request import ModelRequest
from router.placement.memory import MemoryBudget, read_budget
from router.protocols.documents.inputs import DocumentInputs
from router.protocols.fields.context import wound_header
from router.protocols.fields.mlxr import refuse_winding
from router.protocols.images.fetching import PublicFetcher
from router.protocols.images.reader import ImageReader
from router.requests.accounting import account_of
from router.requests.asking import Reply, ask
from router.requests.embedding import Embeddings, EmbeddingWanted, RunningEmbedding
from router.requests.generation import Generation
from router.requests.headers import NO_HEADERS, RequestHeaders, read_headers
from router.requests.inspector import Inspector
from router.requests.keeping import PromptKeeper
from router.requests.leased import RequestFacts
from router.requests.register import AnswerEncoder, RequestRegister, RunningRequest, whole_answer
from router.requests.request import GenerationRequest
from router.requests.resend import fingerprint
from router.workers.base import WorkerLink
from router.workers.context_lengths import ContextLengths
from router.workers.image_sides import ImageSidesInForce
from router.workers.supervisor import Supervisor

_logger = logging.getLogger(__name__)

StructT = TypeVar("StructT", bound=msgspec.Struct)
ResultT = TypeVar("ResultT")

MAX_LOGGED_BYTES: Final = 10_000
"""Of what a client asks, where it is to be logged."""

_SLOW: Final = (b'"file"', b'"input_file"', b'"document"', b'"context_management"')
"""In every body with a document, and in those of which tokens may have to be counted first."""
_LARGE_BYTES: Final = 1 << 20
"""Bodies above this are hashed on a thread: those with pictures take tens of milliseconds."""


class Answering(msgspec.Struct, frozen=True, kw_only=True):
    """What a valid request of some protocol asks for.

    Attributes:
        answer_id: By which the request is listed and can be cancelled, such as `chatcmpl-…`.
        protocol: By which it came: `openai`, `ollama`, `anthropic`, ...
        on_over: Called when the request is over, however that came.
    """

    answer_id: str
    protocol: str
    wanted: GenerationRequest
    encoder: Callable[[Generation], AnswerEncoder]
    on_over: Callable[[RunningRequest], None] = lambda _: None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request whose body was read.

    Attributes:
        fingerprint: What only the same request has.
    """

    request: Request[Any, Any, Any]
    raw: bytes
    fingerprint: bytes
    headers: RequestHeaders


class RequestService:
    """What routes of all protocols need of the gateway to answer a request.

    Args:
        contexts: Which contexts are in force; None = made here.
        read_budget: Reads what the machine has.

    Attributes:
        read_budget: Reads what the machine has.
        inspector: Keeps the last requests, if the config says so.
        admit: Counts a request that a model is to serve, or refuses it by an error.
        keeper_for: Says who keeps a request's conversation within its context; None = nobody does.
    """

    def __init__(
        self,
        current_config: CurrentConfig,
        models: ModelDirectory,
        supervisor: Supervisor,
        requests: RequestRegister,
        *,
        contexts: ContextLengths | None = None,
        read_budget: Callable[[], MemoryBudget] = read_budget,
    ) -> None:
        self.models = models
        self.contexts = contexts or ContextLengths(
            current_config,
            resolve=models.resolve,
            artifact_of=models.artifact_of,
            workers=lambda: supervisor.workers,
            read=read_budget,
        )
        self.image_sides = ImageSidesInForce(
            current_config,
            models.artifact_of,
            lambda: supervisor.workers,
            context_of=self.contexts.of,
            read=read_budget,
        )
        self.images = ImageReader(current_config, models, self.image_sides.of, fetch=PublicFetcher().fetch)
        self.documents = DocumentInputs(DocumentReader(current_config))
        self.supervisor = supervisor
        self.requests = requests
        self.admit: Callable[[Caller], None] = lambda _: None
        self.keeper_for: Callable[[GenerationRequest], PromptKeeper | None] = lambda _: None
        self.inspector: Final = Inspector(lambda: self.config)
        self.read_budget: Final = read_budget
        self._current_config = current_config

    @property
    def config(self) -> Config:
        """The one in force."""
        return self._current_config.config

    @property
    def fetches_images(self) -> bool:
        """Whether pictures may be named by their address, so that reading a request may take long."""
        return self.config.images.fetch != "off"

    @property
    def config_error(self) -> str | None:
        """Why the last edit of the config file was refused, or None."""
        return self._current_config.error

    async def read(self, request: Request[Any, Any, Any], struct_type: type[StructT]) -> StructT:
        """Read a request's body as JSON; errors as of `read_body` and `decode_json`."""
        return decode_json(await self.read_raw(request), struct_type)

    async def read_raw(self, request: Request[Any, Any, Any]) -> bytes:
        """Read a request's body as it comes; errors as of `read_body`."""
        return await read_body(request.scope, request.receive, limit_bytes=self.config.server.max_body_bytes)

    async def arrive(self, request: Request[Any, Any, Any]) -> Arrival:
        """Read a request's body and headers.

        Raises:
            RouterError: The key has used what it may, the body cannot be read, or a header cannot be as it is.
        """
        self.admit(caller_of(request.scope))
        raw = await self.read_raw(request)
        if self.config.logging.prompts:
            _logger.info("asked: %s", quoted(raw[:MAX_LOGGED_BYTES].decode("utf-8", "replace")))
        self.inspector.on_body(raw, client_of(request))
        marked = partial(fingerprint, request.scope["path"], request.headers, raw)
        mark = marked() if len(raw) <= _LARGE_BYTES else await in_thread(marked)
        await self.requests.let_leave(mark)
        return Arrival(request=request, raw=raw, fingerprint=mark, headers=headers_of(request))

    async def start_or_rejoin(self, arrival: Arrival, answering: Callable[[], Awaitable[Answering]]) -> RunningRequest:
        """Return what the same request was already being given, or else start it.

        Args:
            answering: Says what is asked for; called for a request that is new, and given up when its client goes. Its
                errors are the request's.
        """
        running = self.requests.attachable(arrival.fingerprint)
        if running is not None:
            note_ignored(running.facts.ignored)
            note_answer(running.facts.request_id, partial(account_of, running))
            return running
        return self.start(
            await self.while_wanted(arrival, answering()),
            client=client_of(arrival.request),
            fingerprint=arrival.fingerprint,
            headers=arrival.headers,
        )

    async def while_wanted(self, arrival: Arrival, reading: Awaitable[ResultT]) -> ResultT:
        """Return what is read of a request; what may take long is given up with its client."""
        may_take_long = self.fetches_images or any(each in arrival.raw for each in _SLOW)
        return await (until_disconnect(arrival.request.receive, reading) if may_take_long else reading)

    def start(
        self,
        answering: Answering,
        *,
        client: str,
        fingerprint: bytes | None = None,
        headers: RequestHeaders = NO_HEADERS,
    ) -> RunningRequest:
        """Take a request in; also one that nobody sent by HTTP.

        Args:
            client: Who asks, for the list of running requests.
            fingerprint: What only the same request has; None = it cannot be taken over.
            headers: Its limit for the whole request, and the worker that it names.
        """
        wanted = answering.wanted
        if headers.worker_id is not None or headers.hops:
            asked = replace(wanted.model_request, worker_id=headers.worker_id, hops=headers.hops)
            wanted = replace(wanted, model_request=asked)
        self.models.note_use(wanted.model_request.model)
        facts = RequestFacts(
            request_id=answering.answer_id,
            protocol=answering.protocol,
            client=client,
            fingerprint=fingerprint,
            timeout_s=headers.timeout_s,
            ignored=ignored_fields(),
            sent_id=sent_request_id(),
        )
        generation = Generation(self.supervisor, wanted, keeper=self.keeper_for(wanted))
        self.inspector.on_started(answering.answer_id, generation)
        running = self.requests.start(
            facts, generation, answering.encoder(generation), self.config.limits, answering.on_over
        )
        note_answer(facts.request_id, partial(account_of, running))
        return running

    async def ask_model(
        self,
        request: Request[Any, Any, Any],
        model_request: ModelRequest,
        question: Question | Callable[[WorkerLink], Question],
        *,
        prompt_param: str = "messages",
    ) -> Reply:
        """Return the answer to a question, as long as its client is there; errors as in `asking.ask`."""
        self.models.note_use(model_request.model)
        timeout_s = self.config.limits.stall_timeout_s
        work = ask(self.supervisor, model_request, question, timeout_s=timeout_s, prompt_param=prompt_param)
        return await until_disconnect(request.receive, work)

    async def count_tokens(
        self,
        request: Request[Any, Any, Any],
        model_request: ModelRequest,
        prompt: Prompt,
        *,
        prompt_param: str = "messages",
    ) -> int:
        """Return how many tokens a prompt has; errors as in `ask_model`."""
        found = await self.ask_model(request, model_request, CountTokens(prompt), prompt_param=prompt_param)
        assert isinstance(found.answer, TokenCount)
        return found.answer.num_tokens

    async def embeddings(
        self, arrival: Arrival, wanted: EmbeddingWanted, *, answer_id: str, protocol: str
    ) -> Embeddings:
        """Return vectors, as long as their client is there.

        Args:
            arrival: The request; its headers' priority, time limit and worker hold.
            answer_id: By which the request is listed and can be cancelled.

        Raises:
            RouterError: The request cannot be served, or was ended.
            BackendError: The engine.
            RegistryError: The model is unknown.
        """
        refuse_winding(arrival.headers)
        if arrival.headers.priority is not None:
            wanted = replace(wanted, priority=arrival.headers.priority)
        if arrival.headers.worker_id is not None or arrival.headers.hops:
            headers = arrival.headers
            asked = replace(wanted.model_request, worker_id=headers.worker_id, hops=headers.hops)
            wanted = replace(wanted, model_request=asked)
        client, timeout_s = client_of(arrival.request), arrival.headers.timeout_s
        facts = RequestFacts(
            request_id=answer_id, protocol=protocol, client=client, timeout_s=timeout_s, sent_id=sent_request_id()
        )
        return await until_disconnect(arrival.request.receive, self.start_embedding(wanted, facts).result())

    def start_embedding(self, wanted: EmbeddingWanted, facts: RequestFacts) -> RunningEmbedding:
        """Take a request for vectors in; also one that nobody sent by HTTP."""
        self.models.note_use(wanted.model_request.model)
        running = self.requests.start_embedding(self.supervisor, wanted, facts, self.config.limits)
        note_answer(facts.request_id, partial(account_of, running))
        return running

    async def reply(
        self,
        arrival: Arrival,
        running: RunningRequest,
        *,
        dialect: Dialect = OPENAI,
        chunks: Callable[[RunningRequest], AsyncIterator[bytes]] = RunningRequest.follow,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> ASGIApp:
        """Send an answer as its encoder wants it sent: as one body, or as a stream of its media type."""
        own = [(REQUEST_ID_HEADER, running.facts.request_id.encode()), *headers]
        media_type = running.encoder.media_type
        if media_type is None:
            body = await until_disconnect(arrival.request.receive, whole_answer(running.follow()))
            if running.generation.has_begun_again:
                own.append((RETRIES_HEADER, b"1"))
            if (wound := wound_header(running.generation.context)) is not None:
                own.append((WOUND_HEADER, wound))
            return json_reply(body, headers=own)
        return EventStream(
            chunks(running),
            dialect=dialect,
            media_type=media_type,
            headers=own,
            keep_alive=running.encoder.keep_alive,
            keep_alive_s=self.config.server.keepalive_s,
        )


def headers_of(connection: ASGIConnection[Any, Any, Any, Any]) -> RequestHeaders:
    """Read the headers of a request or a WebSocket; the priority of its caller's key goes before what they say.

    Raises:
        InvalidRequestError: One has a value that it cannot have.
    """
    headers, priority = read_headers(connection.headers), caller_of(connection.scope).priority
    return headers if priority is None else replace(headers, priority=priority)


def client_of(request: Request[Any, Any, Any]) -> str:
    """Return who asks, for the list of running requests."""
    client = request.scope.get("client")
    return f"{client[0]}:{client[1]}" if client else "unix"
