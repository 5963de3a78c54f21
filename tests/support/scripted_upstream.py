"""A server on loopback that answers as OpenAI's protocol has it, or as a script says: for tests of upstreams.

No library stands between a script and the wire, so that it can break off, lie and stall wherever it wants.
"""

import asyncio
import json
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Self

import msgspec

MODEL_ID = "Their/Big-Model"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Asked(msgspec.Struct):
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Script = Callable[[asyncio.StreamWriter, Asked], Awaitable[None]]


class ScriptedUpstream:
    """One server; POSTs get the next script, or `usual` where none is left.

    Attributes:
        asked: The POSTs that came.
        scripts: What the next POSTs get.
        listing: What GET /v1/models gives, bytes as they are; None = 404.
        num_listed: How often that was asked for.
        left: Set when a client has closed its connection in the middle of an answer.
        is_refusing: Whether connections are closed as they come.
    """

    def __init__(self, *, listing: list[dict[str, Any]] | None = None, usual: Script | None = None) -> None:
        self.asked: list[Asked] = []
        self.scripts: deque[Script] = deque()
        self.listing: list[dict[str, Any]] | bytes | None = [{"id": MODEL_ID}] if listing is None else listing
        self.usual = usual or saying("one", " two", " three")
        self.num_listed = 0
        self.num_connections = 0
        self.left = asyncio.Event()
        self.is_refusing = False
        self.required_key: str | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._on_connection, "127.0.0.1", 0)
        host, port = self._server.sockets[0].getsockname()[:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def _on_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.num_connections += 1
        try:
            while not self.is_refusing and (asked := await _read(reader)) is not None:
                await self._answer(writer, asked)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            self.left.set()
        except asyncio.CancelledError:
            pass  # the server ends; asyncio's own callback would tell of it as of an error
        finally:
            writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, asked: Asked) -> None:
        if self.required_key is not None and asked.headers.get("authorization") != f"Bearer {self.required_key}":
            writer.write(plain(401, {"error": {"message": f"Incorrect API key: {asked.headers.get('authorization')}"}}))
        elif asked.method == "GET":
            self.num_listed += 1
            body: Any = {"object": "list", "data": self.listing}
            if isinstance(self.listing, bytes):
                body = self.listing
            elif asked.path == "/api/tags":
                body = {"models": [{"name": each["id"]} for each in self.listing or ()]}
            writer.write(plain(404, {"error": "no"}) if self.listing is None else plain(200, body))
        else:
            self.asked.append(asked)
            script = self.scripts.popleft() if self.scripts else self.usual
            await script(writer, asked)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n") if not reader.at_eof() else b""
    if not head:
        return None
    first, *lines = head.decode().strip().split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    data = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, json.loads(data) if data else None)


def plain(status: int, body: Any, **headers: str) -> bytes:
    """Return an answer as one piece."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    extra = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(data)}\r\n{extra}\r\n"
    return head.encode() + data


def piece(data: bytes) -> bytes:
    """Return one piece of a chunked answer."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(body: Any) -> bytes:
    """Return one event of a stream."""
    return piece(b"data: " + (body if isinstance(body, bytes) else json.dumps(body).encode()) + b"\n\n")


def chunk(finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    """Return a chat's chunk."""
    return {
        "id": "x",
        "object": "chat.completion.chunk",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}],
    }


def usage(prompt: int = 7, output: int = 3) -> dict[str, Any]:
    """Return the last chunk, with the counts."""
    return {
        "choices": [],
        "usage": {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": prompt + output},
    }


END = piece(b"")


def saying(*texts: str, finish_reason: str = "stop") -> Script:
    """Return a script that answers well, in the shape of the path."""

    async def answer(writer: asyncio.StreamWriter, asked: Asked) -> None:
        is_chat = "/chat/" in asked.path
        writer.write(HEAD)
        for text in texts:
            plain_chunk = {"choices": [{"index": 0, "text": text, "finish_reason": None}]}
            writer.write(event(chunk(content=text) if is_chat else plain_chunk))
            await writer.drain()
        writer.write(
            event(chunk(finish_reason) if is_chat else {"choices": [{"text": "", "finish_reason": finish_reason}]})
        )
        writer.write(event(usage()) + event(b"[DONE]") + END)

    return answer


def sending(*pieces: bytes, closes: bool = False) -> Script:
    """Return a script that writes bytes, and perhaps breaks off."""

    async def answer(writer: asyncio.StreamWriter, _asked: Asked) -> None:
        for data in pieces:
            writer.write(data)
            await writer.drain()
        if closes:
            raise ConnectionResetError

    return answer


def stalling(*pieces: bytes, until: asyncio.Event | None = None, then: bytes = b"") -> Script:
    """Return a script that stalls after some bytes until its client goes; or until an event is set, and goes on."""

    async def answer(writer: asyncio.StreamWriter, _asked: Asked) -> None:
        for data in pieces:
            writer.write(data)
        await writer.drain()
        if until is not None:
            await until.wait()
            writer.write(then)
            return
        while not writer.is_closing():
            writer.write(piece(b": still here\n\n") if pieces else b"")
            await writer.drain()
            await asyncio.sleep(0.02)
        raise ConnectionResetError

    return answer


def dawdling(first: bytes, *, comments_s: float, then: bytes) -> Script:
    """Return a script that sends nothing but comments for some time, and then goes on."""

    async def answer(writer: asyncio.StreamWriter, _asked: Asked) -> None:
        writer.write(first)
        for _ in range(int(comments_s / 0.05)):
            writer.write(piece(b": still here\n\n"))
            await writer.drain()
            await asyncio.sleep(0.05)
        writer.write(then)

    return answer
