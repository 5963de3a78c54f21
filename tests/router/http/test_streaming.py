import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from router.errors import ClientDisconnectedError, EngineCrashedError, QueueFullError
from router.http.dialect import OPENAI, Dialect
from router.http.error_response import error_chunk
from router.http.streaming import (
    SSE_KEEP_ALIVE,
    EventStream,
    cancelled_on_disconnect,
    until_disconnect,
)
from router.protocols.anthropic.api import ANTHROPIC_ERRORS
from router.protocols.ollama.api import OLLAMA_ERRORS
from tests.support.waiting import WITHIN_S


class Client:
    """The far end of an ASGI request: records what is sent, and goes away when told to."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self._changed = asyncio.Event()
        self.can_read = asyncio.Event()
        self.can_read.set()

    async def receive(self) -> dict[str, Any]:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await self.can_read.wait()
        self.messages.append(message)
        self._changed.set()

    async def until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(WITHIN_S):
            while not is_true():
                await self._changed.wait()
                self._changed.clear()

    async def read(self, stream: EventStream, path: str = "/v1/chat/completions") -> None:
        async with asyncio.timeout(WITHIN_S):
            await stream({"type": "http", "path": path}, self.receive, self.send)

    @property
    def status(self) -> int:
        assert self.messages[0]["type"] == "http.response.start"
        return int(self.messages[0]["status"])

    @property
    def headers(self) -> dict[bytes, bytes]:
        return dict(self.messages[0]["headers"])

    @property
    def body(self) -> bytes:
        return b"".join(m["body"] for m in self.messages[1:])

    @property
    def is_complete(self) -> bool:
        return bool(self.messages) and self.messages[-1].get("more_body") is False


class Source:
    """An iterator of chunks that notes where it was iterated and that it was closed."""

    def __init__(self, *steps: bytes | Exception | asyncio.Event) -> None:
        self.steps = steps
        self.is_closed = False
        self.tasks: set[asyncio.Task[Any] | None] = set()

    async def chunks(self) -> AsyncIterator[bytes]:
        try:
            for step in self.steps:
                self.tasks.add(asyncio.current_task())
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, asyncio.Event):
                    await step.wait()
                else:
                    yield step
        finally:
            self.tasks.add(asyncio.current_task())
            self.is_closed = True


async def test_chunks_are_passed_on_as_they_are() -> None:
    client, source = Client(), Source(b"data: 1\n\n", b"data: [DONE]\n\n")
    await client.read(EventStream(source.chunks(), dialect=OPENAI))
    assert client.status == 200
    assert client.body == b"data: 1\n\ndata: [DONE]\n\n"
    assert client.is_complete
    assert source.is_closed


async def test_headers_keep_proxies_from_holding_the_stream_back() -> None:
    client = Client()
    stream = EventStream(Source(b"x").chunks(), dialect=OPENAI, headers=[(b"x-request-id", b"1")])
    await client.read(stream)
    assert client.headers == {
        b"content-type": b"text/event-stream",
        b"cache-control": b"no-store",
        b"x-accel-buffering": b"no",
        b"x-request-id": b"1",
    }


async def test_a_stream_without_chunks_is_an_empty_success() -> None:
    client = Client()
    await client.read(EventStream(Source().chunks(), dialect=OPENAI))
    assert (client.status, client.body, client.is_complete) == (200, b"", True)


async def test_an_error_before_the_first_chunk_is_a_plain_http_error() -> None:
    client, source = Client(), Source(QueueFullError(retry_after_s=3))
    await client.read(EventStream(source.chunks(), dialect=OPENAI))
    assert client.status == 429
    assert client.headers[b"retry-after"] == b"3"
    assert client.headers[b"content-type"] == b"application/json"
    assert msgspec.json.decode(client.body)["error"]["code"] == "queue_full"
    assert client.is_complete


async def test_an_error_before_the_first_chunk_is_an_answer_in_the_streams_dialect() -> None:
    client = Client()
    await client.read(EventStream(Source(EngineCrashedError("gone")).chunks(), dialect=OLLAMA_ERRORS))
    assert (client.status, client.body) == (502, b'{"error":"gone"}')


async def test_an_error_after_the_first_chunk_is_the_last_chunk() -> None:
    client, source = Client(), Source(b"data: 1\n\n", EngineCrashedError("gone"), b"data: [DONE]\n\n")
    await client.read(EventStream(source.chunks(), dialect=OPENAI))
    assert client.status == 200
    first, last, empty = client.body.split(b"\n\n")
    assert (first, empty) == (b"data: 1", b"")
    assert msgspec.json.decode(last.removeprefix(b"data: "))["error"]["code"] == "engine_crashed"
    assert client.is_complete


async def test_a_defect_propagates_to_the_server_and_still_closes_the_iterator() -> None:
    client, source = Client(), Source(b"data: 1\n\n", ValueError("defect"))
    with pytest.raises(ValueError, match="defect"):
        await client.read(EventStream(source.chunks(), dialect=OPENAI))
    assert source.is_closed
    assert not client.is_complete


@pytest.mark.parametrize("chunks_before", [0, 1], ids=["before the first chunk", "after the first chunk"])
async def test_a_disconnect_closes_the_iterator_at_once_and_in_the_request_task(chunks_before: int) -> None:
    client, source = Client(), Source(*[b"x"] * chunks_before, asyncio.Event())
    stream = EventStream(source.chunks(), dialect=OPENAI)
    async with asyncio.TaskGroup() as group:
        request = group.create_task(client.read(stream))
        await asyncio.sleep(0)
        await client.until(lambda: len(client.messages) >= 2 * chunks_before)
        client.gone.set()
        await request
    assert source.is_closed
    assert source.tasks == {request}


async def test_a_disconnect_closes_an_iterator_that_is_not_a_generator() -> None:
    class Chunks:
        is_closed = False

        def __aiter__(self) -> "Chunks":
            return self

        async def __anext__(self) -> bytes:
            await asyncio.Event().wait()
            raise StopAsyncIteration

        async def aclose(self) -> None:
            self.is_closed = True

    client, chunks = Client(), Chunks()
    client.gone.set()
    await client.read(EventStream(chunks, dialect=OPENAI))
    assert chunks.is_closed
    assert client.messages == []


async def test_cancellation_from_outside_is_not_taken_for_a_disconnect() -> None:
    client, source = Client(), Source(b"x", asyncio.Event())
    request = asyncio.create_task(client.read(EventStream(source.chunks(), dialect=OPENAI)))
    await client.until(lambda: len(client.messages) == 2)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert source.is_closed


async def test_a_silent_stream_is_kept_alive_between_chunks() -> None:
    more = asyncio.Event()
    client, source = Client(), Source(b"data: 1\n\n", more, b"data: 2\n\n")
    stream = EventStream(source.chunks(), dialect=OPENAI, keep_alive=SSE_KEEP_ALIVE, keep_alive_s=0.01)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.read(stream))
        await client.until(lambda: client.body.count(SSE_KEEP_ALIVE) >= 3)
        more.set()
    assert client.body.replace(SSE_KEEP_ALIVE, b"") == b"data: 1\n\ndata: 2\n\n"
    assert client.is_complete


async def test_a_keep_alive_commits_the_status() -> None:
    more = asyncio.Event()
    client, source = Client(), Source(more, QueueFullError(retry_after_s=1))
    stream = EventStream(source.chunks(), dialect=OPENAI, keep_alive=SSE_KEEP_ALIVE, keep_alive_s=0.01)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.read(stream))
        await client.until(lambda: client.body.count(SSE_KEEP_ALIVE) >= 2)
        more.set()
    assert client.status == 200
    last = client.body.replace(SSE_KEEP_ALIVE, b"")
    assert msgspec.json.decode(last.removeprefix(b"data: "))["error"]["code"] == "queue_full"
    assert client.is_complete


async def test_without_keep_alives_the_first_chunk_is_awaited_in_silence() -> None:
    more = asyncio.Event()
    client, source = Client(), Source(more, QueueFullError(retry_after_s=1))
    stream = EventStream(source.chunks(), dialect=OPENAI, keep_alive_s=0.001)
    asyncio.get_running_loop().call_later(0.05, more.set)
    await client.read(stream)
    assert client.status == 429


async def test_keep_alives_do_not_pile_up_while_the_client_does_not_read() -> None:
    more = asyncio.Event()
    client, source = Client(), Source(b"1", more, b"2")
    stream = EventStream(source.chunks(), dialect=OPENAI, keep_alive=b":", keep_alive_s=0.001)
    async with asyncio.TaskGroup() as group:
        group.create_task(client.read(stream))
        await client.until(lambda: b":" in client.body)
        client.can_read.clear()
        num_before = client.body.count(b":")
        loop = asyncio.get_running_loop()
        loop.call_later(0.05, more.set)
        await more.wait()
        client.can_read.set()
        await client.until(lambda: client.is_complete)
    # One may have been in flight, and one more may come before the last chunk is sent.
    assert client.body.count(b":") - num_before <= 2
    assert client.body.replace(b":", b"") == b"12"


async def test_no_task_outlives_the_stream() -> None:
    before = asyncio.all_tasks()
    client = Client()
    stream = EventStream(
        Source(b"1", b"2").chunks(),
        dialect=OPENAI,
        keep_alive=b":",
        keep_alive_s=0.001,
    )
    await client.read(stream)
    assert asyncio.all_tasks() == before


async def test_work_that_does_not_stream_is_cancelled_when_the_client_goes_away() -> None:
    client = Client()
    is_cancelled = asyncio.Event()

    async def work() -> None:
        client.gone.set()
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()

    with pytest.raises(ClientDisconnectedError):
        await until_disconnect(client.receive, work())
    assert is_cancelled.is_set()


async def test_work_that_ends_in_time_gives_its_result() -> None:
    async def work() -> int:
        return 7

    assert await until_disconnect(Client().receive, work()) == 7


@pytest.mark.parametrize("error", [TimeoutError("its own"), EngineCrashedError("x")], ids=["timeout", "ours"])
async def test_the_errors_of_the_work_pass_through(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        async with cancelled_on_disconnect(Client().receive):
            raise error
    assert caught.value is error


async def test_the_rest_of_a_request_is_not_a_disconnect() -> None:
    messages = iter([{"type": "http.request", "body": b"", "more_body": False}])
    client = Client()

    async def receive() -> dict[str, Any]:
        return next(messages, None) or await client.receive()

    async def work() -> int:
        for _ in range(5):
            await asyncio.sleep(0)
        return 7

    assert await until_disconnect(receive, work()) == 7


@pytest.mark.parametrize(
    ("dialect", "chunk"),
    [
        (ANTHROPIC_ERRORS, b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"gone"}}\n\n'),
        (OLLAMA_ERRORS, b'{"error":"gone"}\n'),
    ],
)
def test_each_protocol_has_its_own_error_within_a_stream(dialect: Dialect, chunk: bytes) -> None:
    assert error_chunk(EngineCrashedError("gone"), dialect) == chunk
