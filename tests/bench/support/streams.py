"""A streaming client for any OpenAI-compatible server that takes little CPU, so that two cores are left to the server.

One connection per request, on asyncio's streams. Closing it is how a request is cancelled: cancel the task.
"""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

TIMEOUT_S = 600.0
_LIMIT_BYTES = 1 << 22


class StreamError(RuntimeError):
    """The server answered with an error, or its stream ended in one."""


@dataclass(slots=True)
class Answer:
    """What a client saw of one streamed chat answer; grows while it comes in.

    Attributes:
        sent_at: When the request was sent; all times are of `time.perf_counter`, seconds.
        headers_at: When the status line came in; None before.
        text_times: When each chunk with text came in.
        text: The text so far.
        num_prompt_tokens: By the server's usage; None before its end.
        num_cached_tokens: How many of these came from a cache; None when it does not say.
        num_tokens: Tokens of the answer, by the server's usage; None before its end.
        ended_at: When the stream ended; None before.
    """

    sent_at: float
    headers_at: float | None = None
    text_times: list[float] = field(default_factory=list)
    text: str = ""
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    num_tokens: int | None = None
    ended_at: float | None = None

    @property
    def ttft_s(self) -> float:
        """Seconds from sending to the first text."""
        if not self.text_times:
            raise StreamError("the answer has no text")
        return self.text_times[0] - self.sent_at

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between one chunk with text and the next."""
        return [later - earlier for earlier, later in itertools.pairwise(self.text_times)]


def chat_body(model: str, messages: list[dict[str, str]], max_tokens: int, **more: Any) -> dict[str, Any]:
    """Return a greedy streamed chat request that asks for its usage."""
    return {
        "model": model,
        "messages": messages,
        "max_tokens": max_tokens,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
        **more,
    }


async def stream_chat(
    url: str,
    body: dict[str, Any],
    *,
    headers: dict[str, str] | None = None,
    on_text: Callable[[Answer], None] | None = None,
    answer: Answer | None = None,
) -> Answer:
    """Send one chat request and read its answer to the end.

    Args:
        url: Of the server, without a path.
        body: From `chat_body`.
        headers: More of them.
        on_text: Called after each chunk with text.
        answer: Filled instead of a new one, for those who cancel and want to know how far it came.

    Raises:
        StreamError: The status is not 200, or the stream ended in an error or too early.
    """
    answer = answer or Answer(0.0)
    data = _request(url, "/v1/chat/completions", body, headers)
    answer.sent_at = time.perf_counter()
    reader, writer = await _connected(url)
    try:
        writer.write(data)
        async with asyncio.timeout(TIMEOUT_S):
            await _read_answer(reader, answer, on_text)
    finally:
        writer.transport.abort()
    return answer


def _request(url: str, path: str, body: dict[str, Any], headers: dict[str, str] | None = None) -> bytes:
    """Return a request that is the only one of its connection."""
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {url.removeprefix('http://')}", "Content-Type: application/json"]
    lines += [f"Content-Length: {len(data)}", "Connection: close", *(f"{k}: {v}" for k, v in (headers or {}).items())]
    return "\r\n".join([*lines, "", ""]).encode() + data


async def _connected(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, _, port = url.removeprefix("http://").partition(":")
    return await asyncio.open_connection(host, int(port), limit=_LIMIT_BYTES)


async def _read_answer(reader: asyncio.StreamReader, answer: Answer, on_text: Callable[[Answer], None] | None) -> None:
    """Fill `answer` to its end."""
    head = await reader.readuntil(b"\r\n\r\n")
    answer.headers_at = time.perf_counter()
    if b" 200 " not in head.partition(b"\r\n")[0]:
        raise StreamError(f"{head.decode(errors='replace')}{(await reader.read(2000)).decode(errors='replace')}")
    is_done = False
    async for line in _lines(_body(reader, head)):
        if line == b"data: [DONE]":
            is_done = True
        elif line.startswith(b"data: "):
            _take_event(answer, json.loads(line[6:]), on_text)
    answer.ended_at = time.perf_counter()
    if not is_done:
        raise StreamError(f"the stream ended without [DONE] after {len(answer.text_times)} chunks")


def _body(reader: asyncio.StreamReader, head: bytes) -> AsyncIterator[bytes]:
    return _chunks(reader) if b"transfer-encoding: chunked" in head.lower() else _reads(reader)


async def _chunks(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield the bodies of a chunked answer (RFC 9112, section 7.1)."""
    while size := int((await reader.readuntil(b"\r\n")).partition(b";")[0], 16):
        yield (await reader.readexactly(size + 2))[:-2]


async def _reads(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    """Yield what comes until the connection ends."""
    while data := await reader.read(65536):
        yield data


async def _lines(parts: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = b""
    async for part in parts:
        *whole, rest = (rest + part).split(b"\n")
        for line in whole:
            yield line.rstrip(b"\r")


def _take_event(answer: Answer, event: dict[str, Any], on_text: Callable[[Answer], None] | None) -> None:
    """Put one event of the stream into the answer."""
    if event.get("error"):
        raise StreamError(json.dumps(event["error"]))
    if usage := event.get("usage"):
        answer.num_prompt_tokens = usage["prompt_tokens"]
        answer.num_tokens = usage["completion_tokens"]
        answer.num_cached_tokens = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
    choices = event.get("choices") or []
    text = (choices[0].get("delta") or {}).get("content") if choices else None
    if text:
        answer.text += text
        answer.text_times.append(time.perf_counter())
        if on_text is not None:
            on_text(answer)


async def stream_completion(url: str, body: dict[str, Any], box_s: float) -> list[float]:
    """Send a request to llama-server's own /completion, and hang up after some time.

    Args:
        body: With token ids as its prompt.
        box_s: Until when it hangs up, with the next token; at least one.

    Returns:
        When each token came in, seconds of `time.perf_counter`.
    """
    data = _request(url, "/completion", {**body, "stream": True})
    reader, writer = await _connected(url)
    times: list[float] = []
    begin = time.perf_counter()
    try:
        writer.write(data)
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise StreamError(head.decode(errors="replace"))
        async with asyncio.timeout(TIMEOUT_S):
            async for line in _lines(_body(reader, head)):
                if line.startswith(b"data: "):
                    times.append(time.perf_counter())
                    if times[-1] - begin >= box_s:
                        break
    finally:
        writer.transport.abort()
    return times


async def stream_all(url: str, bodies: list[dict[str, Any]], headers: dict[str, str] | None = None) -> list[Answer]:
    """Send several requests at once and read all answers to their ends."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(stream_chat(url, body, headers=headers)) for body in bodies]
    return [task.result() for task in tasks]
