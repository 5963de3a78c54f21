"""One WebSocket connection: uvicorn's protocol on websockets, which the server's end does not cut in an answer.

Not here: which requests become one (`router.http.protocol`), what their origins may be (`router.http.guards`), and what
is said over it (the protocols).
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.config import Config
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Request

from router.http.asgi import Scope as AsgiScope
from router.http.caller import Scope

SOCKET_PATH: Final = b"/v1/responses"
"""The one path where a WebSocket is served."""

SOCKET_SCOPE: Final = Scope.INFERENCE
"""What a WebSocket's caller must have: models are asked by it."""

PING_INTERVAL_S: Final = 20.0
PING_TIMEOUT_S: Final = 30.0
"""How long a client may be gone without a word before its answer is given up."""

_SHOULD_END: Final = "should_end"

_logger = logging.getLogger(__name__)


class SocketProtocol(WebSocketsSansIOProtocol):
    """A connection that ends between two answers when the server is about to end."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.logger = _logger
        self._should_end = asyncio.Event()

    def handle_connect(self, event: Request) -> None:
        """Begin the handshake; the app is told by the scope when to end."""
        super().handle_connect(event)
        if not self.close_sent:
            self.scope["state"][_SHOULD_END] = self._should_end

    def send_receive_event_to_app(self) -> None:
        """Pass a message on; one that is no text ends the connection, without a line in the log."""
        if self.curr_msg_data_type == "text" and not _is_utf8(b"".join(self.frames)):
            self.frames = []
            self.conn.send_close(CloseCode.INVALID_DATA)
            self.handle_parser_exception()
            return
        super().send_receive_event_to_app()

    async def send(self, message: Any) -> None:
        """Send what the app says; a handshake that was refused is complete."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True

    def shutdown(self) -> None:
        """Let the app end the connection when it is through with what it does."""
        self._should_end.set()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def should_end(scope: AsgiScope) -> asyncio.Event:
    """Return what is set when a connection is to end as soon as nothing is being answered."""
    event: asyncio.Event = scope["state"][_SHOULD_END]
    return event
