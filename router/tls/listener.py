"""Accepts connections and encrypts them, before the protocol behind them knows of them.

asyncio's own listener tells nobody of a connection that is still shaking hands: as many of them as somebody likes would
hold their files, and none would count. Not here: what is spoken on a connection.
"""

import asyncio
import logging
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

_RETRY_S: Final = 1.0
"""After this long it is tried again to accept, where the process has no file left for a connection."""

_REASONS: Final = {
    "HTTP_REQUEST": "it speaks plain HTTP; the address begins with https://",
    "SSLV3_ALERT_BAD_CERTIFICATE": "it does not trust the certificate",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not trust the certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the certificate",
}

_logger = logging.getLogger(__name__)


class TlsLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What connections get.

    Attributes:
        backlog: Connections that the system holds until they are accepted.
        handshake_timeout_s: From a connection's first moment to the end of its handshake.
        shutdown_timeout_s: From the end that we make to that of the client, with what is still to be sent between.
    """

    backlog: int
    handshake_timeout_s: float
    shutdown_timeout_s: float


class TlsListener:
    """Accepts on bound sockets, from `start` to `close`.

    Args:
        factory: Makes the protocol of a connection.
        context: Gives what a connection is encrypted with that begins now.
        has_room: Tells whether one more connection may come, by how many are shaking hands.
    """

    def __init__(
        self,
        socks: Sequence[socket.socket],
        factory: Callable[[], asyncio.Protocol],
        *,
        context: Callable[[], ssl.SSLContext],
        has_room: Callable[[int], bool],
        limits: TlsLimits,
    ) -> None:
        self._socks = socks
        self._factory = factory
        self._context = context
        self._has_room = has_room
        self._limits = limits
        self._accepting: list[asyncio.Task[None]] = []
        self._handshakes: set[asyncio.Task[None]] = set()

    @property
    def num_handshakes(self) -> int:
        """Connections that the protocol does not know of yet."""
        return len(self._handshakes)

    def start(self) -> None:
        """Begin to accept."""
        for sock in self._socks:
            sock.listen(self._limits.backlog)
            self._accepting.append(asyncio.create_task(self._accept(sock)))

    def close(self) -> None:
        """Take no more connections, and end those that are shaking hands."""
        for task in [*self._accepting, *self._handshakes]:
            task.cancel()
        for sock in self._socks:
            sock.close()

    async def _accept(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(sock)
            except ConnectionError:
                continue  # it has gone while it waited
            except OSError as exc:
                _logger.warning("no connection can be accepted for now: %s", exc)
                await asyncio.sleep(_RETRY_S)
                continue
            if not self._has_room(len(self._handshakes)):
                connection.close()
                continue
            handshake = asyncio.create_task(self._encrypt(connection, address))
            self._handshakes.add(handshake)
            handshake.add_done_callback(self._handshakes.discard)

    async def _encrypt(self, connection: socket.socket, address: Any) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._factory,
                connection,
                ssl=self._context(),
                ssl_handshake_timeout=self._limits.handshake_timeout_s,
                ssl_shutdown_timeout=self._limits.shutdown_timeout_s,
            )
        except ssl.SSLError as exc:
            reason = exc.reason or "unknown"
            told = _REASONS.get(reason, reason.lower().replace("_", " "))
            _logger.info("no TLS with %s: %s", address[0], told)
        except OSError as exc:  # gone, or too slow
            _logger.debug("no TLS with %s: %s", address[0], exc)
