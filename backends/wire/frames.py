"""Frames on the channel between gateway and worker: a 4-byte big-endian length, then msgpack.

Not a transport: bytes in, messages out, and back; sockets belong to the callers. Length-capped, so that a peer gone mad
cannot make the other side allocate what it claims. No pickle: msgspec decodes into the declared Structs or fails.
"""

import struct
from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from backends.errors import FrameError

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Largest frame: above the gateway's body limit (32 MiB), so that every accepted request fits."""

_HEADER = struct.Struct(">I")

MessageT = TypeVar("MessageT")


class FrameEncoder:
    """Turn messages into frames; reuses one msgpack encoder."""

    def __init__(self) -> None:
        self._encoder = msgspec.msgpack.Encoder()

    def encode(self, message: object) -> bytes:
        """Return the frame that carries `message`.

        Raises:
            FrameError: The encoded message is longer than MAX_FRAME_BYTES.
        """
        body = self._encoder.encode(message)
        if len(body) > MAX_FRAME_BYTES:
            raise FrameError(f"message of {len(body)} bytes is longer than the {MAX_FRAME_BYTES} a frame may have")
        return _HEADER.pack(len(body)) + body


class FrameDecoder(Generic[MessageT]):
    """Incremental decoder: feed it whatever the socket gave, iterate over whole messages.

    Args:
        message_type: What every frame must decode to (a Struct, a union of tagged Structs, or a list of them).
    """

    def __init__(self, message_type: type[MessageT]) -> None:
        self._decoder: msgspec.msgpack.Decoder[MessageT] = msgspec.msgpack.Decoder(message_type)
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[MessageT]:
        """Add `data`, yield every message that is now whole.

        Raises:
            FrameError: A length above MAX_FRAME_BYTES, or a body that is not the declared message.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        try:
            while len(buffer) - start >= _HEADER.size:
                (length,) = _HEADER.unpack_from(buffer, start)
                if length > MAX_FRAME_BYTES:
                    raise FrameError(f"a frame claims {length} bytes, more than the {MAX_FRAME_BYTES} allowed")
                end = start + _HEADER.size + length
                if len(buffer) < end:
                    break
                body = bytes(memoryview(buffer)[start + _HEADER.size : end])
                start = end
                yield self._decode(body)
        finally:
            del buffer[:start]

    def _decode(self, body: bytes) -> MessageT:
        try:
            return self._decoder.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as exc:
            raise FrameError(f"a frame of {len(body)} bytes is not a message of ours: {exc}") from exc
