"""The worker's end of the socketpair: frames in, frames out. The gateway's end is asyncio and lives in the router."""

import select
import socket
from collections.abc import Sequence

from backends.wire.frames import FrameDecoder, FrameEncoder
from backends.wire.messages import Command, Event

_READ_BYTES = 256 * 1024


class ChannelClosedError(Exception):
    """The gateway is gone; there is nobody to work for. Ends the worker, never an answer to a client."""


class Channel:
    """Blocking frames over one inherited socket.

    Args:
        sock: A connected stream socket; the channel owns it.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._encoder = FrameEncoder()
        self._decoder: FrameDecoder[list[Command]] = FrameDecoder(list[Command])

    def receive(self, timeout_s: float | None) -> list[Command]:
        """Return the commands that have arrived, waiting for the first at most `timeout_s` (None = for ever).

        Raises:
            ChannelClosedError: The other end is closed.
            FrameError: It sent something that is no frame of ours.
        """
        commands: list[Command] = []
        wait_ms = None if timeout_s is None else timeout_s * 1000
        while self._poll.poll(wait_ms):
            try:
                data = self._socket.recv(_READ_BYTES)
            except ConnectionError as exc:
                raise ChannelClosedError from exc
            if not data:
                raise ChannelClosedError
            for batch in self._decoder.feed(data):
                commands += batch
            wait_ms = None if timeout_s is None and not commands else 0
        return commands

    def send(self, events: Sequence[Event]) -> None:
        """Write one frame that carries `events`.

        Raises:
            ChannelClosedError: The other end is closed.
        """
        try:
            self._socket.sendall(self._encoder.encode(events))
        except (BrokenPipeError, ConnectionError) as exc:
            raise ChannelClosedError from exc

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
