"""WebSockets of clients that mean harm: bytes on a socket, no client library in between."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from backends.fake.engine import FakeOptions
from tests.support.fake_openai import FakeFront, with_front
from tests.support.waiting import WITHIN_S

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
VERSION = "Sec-WebSocket-Version: 13"
UPGRADE = ("Connection: keep-alive, Upgrade", "Upgrade: WebSocket")
MASK = b"\0\0\0\0"
PROTOCOL_ERROR, INVALID_TEXT, TOO_BIG = 1002, 1007, 1009


class Peer:
    """A connection to the front."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def shake(self, *lines: str, path: str = "/v1/responses") -> bytes:
        """Send a handshake; return the head of the answer."""
        head = [f"GET {path} HTTP/1.1", f"Host: localhost:{self.writer.get_extra_info('peername')[1]}", *lines]
        self.writer.write("\r\n".join([*head, "", ""]).encode("latin-1"))
        return await self.reader.readuntil(b"\r\n\r\n")

    async def close_code(self) -> int:
        """Return the code of the next frame, which must close the connection; what came before is skipped."""
        data = await self.reader.read()
        assert data[0] == 0x88, data
        return int.from_bytes(data[2:4], "big")


@contextlib.asynccontextmanager
async def connected(front: FakeFront) -> AsyncIterator[Peer]:
    url = front.client.base_url
    reader, writer = await asyncio.open_connection(url.host, url.port)
    try:
        async with asyncio.timeout(WITHIN_S):
            yield Peer(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"\x81\x02{}", PROTOCOL_ERROR),  # not masked
        (b"\xf1\x82" + MASK + b"{}", PROTOCOL_ERROR),  # an extension that was not agreed on
        (b"\x83\x82" + MASK + b"{}", PROTOCOL_ERROR),  # no such kind of frame
        (b"\x80\x82" + MASK + b"{}", PROTOCOL_ERROR),  # goes on from nothing
        (b"\x89\xfe\x01\x00" + MASK + b"x" * 256, PROTOCOL_ERROR),  # a ping of more than 125 bytes
        (b"\x81\xff" + (1 << 40).to_bytes(8, "big") + MASK, TOO_BIG),
        (b"\x81\x82" + MASK + b"\xff\xfe", INVALID_TEXT),
    ],
)
@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_broken_frames_close_the_connection_without_a_line_in_the_log(
    front: FakeFront, data: bytes, code: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected(front) as peer:
        assert b" 101 " in await peer.shake(*UPGRADE, KEY, VERSION)
        peer.writer.write(data)
        assert await peer.close_code() == code
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((*UPGRADE, VERSION), b"400"),
        ((*UPGRADE, KEY, KEY, VERSION), b"400"),
        ((*UPGRADE, KEY, "Sec-WebSocket-Version: 12"), b"400"),
        (("Upgrade: websocket", KEY, VERSION), b"405"),  # no Connection: Upgrade, so it is no offer
        ((*UPGRADE, KEY, VERSION, "Origin: null"), b"403"),
        ((*UPGRADE, KEY, VERSION, "Content-Length: 5", "Transfer-Encoding: chunked"), b"400"),
    ],
)
@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_broken_handshakes_are_refused(front: FakeFront, lines: tuple[str, ...], status: bytes) -> None:
    async with connected(front) as peer:
        assert (await peer.shake(*lines)).split(b" ", 2)[1] == status


@with_front(llamacpp=FakeOptions(answer_tokens=2))
async def test_a_socket_may_follow_a_request_on_one_connection(front: FakeFront) -> None:
    async with connected(front) as peer:
        head = await peer.shake(path="/health")
        assert b" 200 " in head
        length = int(next(line for line in head.split(b"\r\n") if line.startswith(b"content-length")).split(b":")[1])
        await peer.reader.readexactly(length)
        assert b" 101 " in await peer.shake(*UPGRADE, KEY, VERSION)
        text = b'{"type":"response.create","model":"m","input":"hi"}'
        peer.writer.write(bytes([0x81, 0x80 | len(text)]) + MASK + text)
        assert b"response.created" in await peer.reader.readuntil(b"response.created")
