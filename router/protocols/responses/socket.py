"""The Responses API over a WebSocket: one connection, response after response.

A client sends `response.create` with the fields of a request, and gets the events of its stream, one a message. What
comes meanwhile waits. The last response can be gone on from although nothing is stored. A client that goes away ends
what is being answered.

Source: Open Responses of 2026-04-24, "WebSocket transport"; OpenAI, "WebSocket mode", for `generate: false`.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, Literal

import msgspec
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import websocket

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import ClientDisconnectedError, InvalidRequestError, RouterError, ShuttingDownError
from router.http.caller import caller_of
from router.http.dialect import openai_error
from router.http.error_response import note, shown_error
from router.http.exchange import Exchange, current_exchange, note_endpoint, note_error, note_status, recorded_message
from router.http.websocket import SOCKET_SCOPE, should_end
from router.protocols.answers import AnswerBody
from router.protocols.endpoint import SCOPES
from router.protocols.fields.support import decode_body
from router.protocols.parts import ConversationsPart, ServingPart
from router.protocols.responses.answer_schemas import Response
from router.protocols.responses.answering import chunks_of, head_for, keep, response_answering
from router.protocols.responses.api import RESPONSES_API
from router.protocols.responses.conversation import LocalConversation
from router.protocols.responses.event_schemas import ResponseCompleted, ResponseCreated
from router.protocols.responses.head import ResponseHead
from router.protocols.responses.schemas import ResponseRequest
from router.protocols.responses.turn import begin_answer
from router.protocols.serving import RequestService, headers_of
from router.requests.headers import RequestHeaders
from router.sleep.awake import awake_timeout
from router.stores.conversations import Conversations

MAX_AGE_S: Final = 3600.0
"""How long a connection may be used; a response that was begun is answered to its end."""
MAX_WAITING: Final = 8
"""Requests that may wait on one connection."""
AnySocket = WebSocket[Any, Any, Any]

_LAST_WORD_S: Final = 1.0
_GOOD: Final = 200
_BAD_REQUEST: Final = 400
_TOO_OLD_CODE: Final = "websocket_connection_limit_reached"
_GOING_AWAY: Final = 1001
_TRY_LATER: Final = 1012
_OUR_ERRORS: Final = (RouterError, BackendError, RegistryError)


class ResponseCreate(ResponseRequest, kw_only=True, forbid_unknown_fields=True):
    """What a client sends; `generate: false` keeps the input, to go on from, without an answer."""

    type: Literal["response.create"]
    generate: bool | None = None


class SocketError(AnswerBody, frozen=True, kw_only=True, tag_field="type", tag="error"):
    """A request that could not be answered at all."""

    status: int
    error: msgspec.Raw


class _ClosedError(Exception):
    """The connection has come to its end."""


@websocket("/v1/responses", opt={SCOPES: {SOCKET_SCOPE}})
async def serve_responses(socket: AnySocket, serving: ServingPart, conversations: ConversationsPart) -> None:
    """Answer response after response, until the client goes away or the server ends."""
    await socket.accept()
    await ResponsesSocket(socket, serving, conversations).serve()


class ResponsesSocket:
    """One connection.

    Args:
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        socket: AnySocket,
        serving: RequestService,
        conversations: Conversations,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._socket = socket
        self._serving = serving
        self._conversations = conversations
        self._clock = clock
        self._opened_at = clock()
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue(MAX_WAITING)
        self._last: LocalConversation | None = None
        self._is_gone = False

    async def serve(self) -> None:
        """Answer until the connection's end."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._read())
                tasks.create_task(self._end_in_time())
                tasks.create_task(self._answer())
        except* _ClosedError:
            pass
        except* asyncio.CancelledError:
            # The end of a drain; the connection is closed behind this.
            await self._close(_GOING_AWAY, "the server ends")

    async def _read(self) -> None:
        while True:
            message: Any = await self._socket.receive()
            if message["type"] == "websocket.disconnect":
                raise self._gone()
            text = message.get("text")
            if text is None:
                await self._refuse_unread("send texts with JSON, no binary messages")
            elif self._waiting.full():
                await self._refuse_unread(f"{MAX_WAITING} requests wait already; wait for their answers")
            else:
                self._waiting.put_nowait(text)

    async def _refuse_unread(self, message: str) -> None:
        with self._recorded():
            await self._refuse(InvalidRequestError(message))

    async def _end_in_time(self) -> None:
        await should_end(self._socket.scope).wait()
        await self._waiting.put(None)

    async def _answer(self) -> None:
        while (text := await self._waiting.get()) is not None:
            if self._clock() - self._opened_at > MAX_AGE_S:
                with self._recorded():
                    note_error(_BAD_REQUEST, _TOO_OLD_CODE)
                    await self._tell(_TOO_OLD)
                await self._close(1000, "the connection is too old")
                raise _ClosedError
            with self._recorded() as exchange:
                await self._respond(text, exchange)
        await self._close(_TRY_LATER, "the server ends")
        raise _ClosedError

    @contextlib.contextmanager
    def _recorded(self) -> Iterator[Exchange]:
        """Have a request logged and counted as one by HTTP is."""
        with recorded_message(self._socket.scope["state"]) as exchange:
            note_endpoint(RESPONSES_API.name, needs_model=True)
            try:
                yield exchange
            except (_ClosedError, asyncio.CancelledError):
                note(shown_error(ClientDisconnectedError() if self._is_gone else ShuttingDownError()))
                raise

    async def _respond(self, text: str, exchange: Exchange) -> None:
        try:
            self._serving.admit(caller_of(self._socket.scope))
            headers = headers_of(self._socket)
            body = decode_body(text.encode(errors="replace"), ResponseCreate)
            if body.background:
                raise InvalidRequestError("background is not for WebSockets; send it by POST", "background")
            body = msgspec.structs.replace(body, stream=True)
            head = await head_for(self._serving, self._conversations, body, headers, local=self._last)
            if body.generate is False:
                note_status(exchange, _GOOD)
                await self._keep_unanswered(head)
            else:
                await self._stream(head, headers, exchange)
        except _OUR_ERRORS as exc:
            self._last = None
            await self._refuse(exc)

    async def _stream(self, head: ResponseHead, headers: RequestHeaders, exchange: Exchange) -> None:
        answering = await response_answering(
            self._conversations, head, on_end=lambda response: self._note(head, response)
        )
        client = self._socket.scope.get("client")
        running = self._serving.start(
            answering, client=f"{client[0]}:{client[1]}" if client else "unix", headers=headers
        )
        reading = chunks_of(running)
        try:
            async for chunk in reading:
                if exchange.status is None:
                    note_status(exchange, _GOOD)
                for event in chunk.split(b"\n\n"):
                    data = event.partition(b"data: ")[2]
                    if data:
                        await self._tell(data)
        finally:
            await reading.aclose()

    async def _keep_unanswered(self, head: ResponseHead) -> None:
        response = head.response("completed", [], completed_at=head.created_at)
        created = ResponseCreated(sequence_number=0, response=head.response("in_progress", []))
        growing = await begin_answer(self._conversations, head)
        if growing is not None:
            growing.on_end(response)
        keep(self._conversations, head, response)  # first: whoever reads of it may go on from it at once
        self._note(head, response)
        for event in (created, ResponseCompleted(sequence_number=1, response=response)):
            await self._tell(msgspec.json.encode(event))

    def _note(self, head: ResponseHead, response: Response) -> None:
        """Remember what the next request may go on from; a response that failed is no such thing."""
        ended_well = response.status in {"completed", "incomplete"}
        self._last = LocalConversation.of(head.items, response) if ended_well else None

    async def _refuse(self, error: Exception) -> None:
        shown = shown_error(error)
        note(shown)
        exchange = current_exchange()
        if exchange is not None and exchange.status is None:
            note_status(exchange, shown.row.status)
        said = msgspec.json.encode(openai_error(shown).error)
        await self._tell(msgspec.json.encode(SocketError(status=shown.row.status, error=msgspec.Raw(said))))

    async def _tell(self, data: bytes) -> None:
        """Send one message; a client that does not take it, or is gone, is cut off."""
        try:
            async with awake_timeout(self._serving.config.server.write_stall_s):
                await self._socket.send({"type": "websocket.send", "text": data.decode(), "bytes": None})
        except (OSError, WebSocketDisconnect):  # too late, or gone
            raise self._gone() from None

    def _gone(self) -> _ClosedError:
        self._is_gone = True
        return _ClosedError()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(_LAST_WORD_S):
                await self._socket.close(code, reason)
        except (OSError, WebSocketDisconnect):
            return


_TOO_OLD: Final = msgspec.json.encode(
    {
        "type": "error",
        "status": _BAD_REQUEST,
        "error": {
            "type": "invalid_request_error",
            "code": _TOO_OLD_CODE,
            "message": f"The connection is older than {MAX_AGE_S:.0f} s; open another one.",
            "param": None,
        },
    }
)
