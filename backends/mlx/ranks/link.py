"""The connection between rank 0 and another rank: blocking frames, and how both prove that they have the secret.

Frames are those of workers (`wire.frames`), decoded into declared Structs or refused. The secret protects the
handshake: nobody else becomes a rank. What follows is as open as what MLX sends between the ranks itself.
"""

import contextlib
import hashlib
import hmac
import secrets
import socket
import struct
from typing import Any, Final, TypeVar

import msgspec

from backends.errors import FrameError
from backends.mlx.ranks.messages import Challenge, Proof, Welcome
from backends.wire.frames import MAX_FRAME_BYTES, FrameEncoder

MAX_GREETING_BYTES: Final = 16 * 1024
"""Of a peer that has not proved itself."""
NONCE_BYTES: Final = 32
_HEADER: Final = struct.Struct(">I")
_KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPALIVE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3}
"""Seconds and counts, by what Linux and macOS call them: a cable that is pulled ends the connection within 25 s."""

_T = TypeVar("_T")


class LinkClosedError(Exception):
    """The other end is gone."""


class Link:
    """Frames over one connected socket, which it owns; one thread may send while another one receives."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._encoder = FrameEncoder()
        with contextlib.suppress(OSError):  # a socket pair knows no TCP
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE.items():
                if hasattr(socket, name):
                    sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

    def send(self, message: object) -> None:
        """Write one frame.

        Raises:
            LinkClosedError: The other end is gone.
            FrameError: The message is longer than a frame may be.
        """
        try:
            self._socket.sendall(self._encoder.encode(message))
        except OSError as exc:
            raise LinkClosedError(str(exc)) from exc

    def receive(self, kind: Any, *, max_bytes: int = MAX_FRAME_BYTES, timeout_s: float | None = None) -> Any:
        """Wait for one frame and return it as `kind`.

        Raises:
            LinkClosedError: The other end is gone, or has said nothing for so long.
            FrameError: It claims more bytes than allowed, or is not of that kind.
        """
        self._socket.settimeout(timeout_s)
        (length,) = _HEADER.unpack(self._exactly(_HEADER.size))
        if length > max_bytes:
            raise FrameError(f"a rank's frame claims {length} bytes, more than the {max_bytes} allowed")
        return decoded(self._exactly(length), kind)

    def close(self) -> None:
        """Close the socket, also under a thread that receives."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _exactly(self, num_bytes: int) -> bytes:
        data = bytearray()
        while len(data) < num_bytes:
            try:
                piece = self._socket.recv(min(num_bytes - len(data), 1 << 20))
            except OSError as exc:  # a timeout is one
                raise LinkClosedError(str(exc)) from exc
            if not piece:
                raise LinkClosedError("it has closed the connection")
            data += piece
        return bytes(data)


def decoded(body: bytes, kind: type[_T]) -> _T:
    """Return a frame's body as a message.

    Raises:
        FrameError: It is none of that kind.
    """
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise FrameError(f"a rank's frame of {len(body)} bytes is not a message of ours: {exc}") from exc


def challenge() -> Challenge:
    """Return a new one."""
    return Challenge(secrets.token_bytes(NONCE_BYTES))


def proof_mac(secret: bytes, theirs: bytes, own: bytes, rank: int) -> bytes:
    """Return what proves a rank: over the listener's nonce, its own, and its number."""
    return hmac.digest(secret, b"rank" + rank.to_bytes(4, "big") + theirs + own, hashlib.sha256)


def welcome_mac(secret: bytes, proof: Proof) -> bytes:
    """Return what proves the listener: over what the rank has sent."""
    return hmac.digest(secret, b"leader" + proof.nonce + proof.mac, hashlib.sha256)


def is_proved(secret: bytes, asked: Challenge, proof: Proof) -> bool:
    """Tell whether a rank has the secret."""
    wanted = proof_mac(secret, asked.nonce, proof.nonce, proof.rank)
    return len(proof.nonce) == NONCE_BYTES and hmac.compare_digest(wanted, proof.mac)


def is_welcome(secret: bytes, proof: Proof, welcome: Welcome) -> bool:
    """Tell whether the listener has it."""
    return hmac.compare_digest(welcome_mac(secret, proof), welcome.mac)


def free_port(address: str) -> int:
    """Return a port that nobody listens on now; MLX binds it a moment later."""
    with socket.socket() as sock:
        sock.bind((address, 0))
        return int(sock.getsockname()[1])
