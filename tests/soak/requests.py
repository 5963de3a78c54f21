"""The soak's clients: requests of all kinds, each watched until its one terminal event."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal, NamedTuple

import httpx

from tests.support.plain_http import NO_TLS

SILENCE_S = 90.0
"""After so much silence a request counts as hanging: the server sends a comment each few seconds."""

Outcome = Literal[
    "answered", "error", "refused", "left", "unreached", "cut", "open end", "goes on after its end", "hangs"
]


class Watched(NamedTuple):
    """A request that is over; times are monotonic."""

    kind: str
    started_at: float
    ended_at: float
    outcome: Outcome
    detail: str = ""


class _Kind(NamedTuple):
    """How a protocol streams.

    Attributes:
        is_end: Whether a line of the stream is its end; is_error, whether that end is an error.
    """

    path: str
    body: Callable[[int], dict[str, Any]]
    is_end: Callable[[str], bool]
    is_error: Callable[[str], bool]


def _messages(num_tokens: int) -> dict[str, Any]:
    return {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "max_tokens": num_tokens}


def _ollama(num_tokens: int) -> dict[str, Any]:
    options = {"num_predict": num_tokens}
    return {"model": "tiny", "messages": [{"role": "user", "content": "hello fox"}], "options": options}


def _is_error(line: str) -> bool:
    return line.removeprefix("data: ").startswith(('{"error"', '{"type":"error"'))


KINDS = {
    "chat": _Kind("/v1/chat/completions", _messages, lambda line: line == "data: [DONE]" or _is_error(line), _is_error),
    "messages": _Kind(
        "/v1/messages",
        _messages,
        lambda line: line in {"event: message_stop", "event: error"},
        lambda line: "error" in line,
    ),
    "ollama": _Kind("/api/chat", _ollama, lambda line: '"done":true' in line or _is_error(line), _is_error),
}


async def ask(client: httpx.AsyncClient, rng: random.Random) -> Watched:
    """Ask once, in a way that is drawn, and see it end."""
    name = rng.choice(list(KINDS))
    kind, is_stream = KINDS[name], rng.random() < 0.7
    body = kind.body(rng.randint(1, 60)) | {"stream": is_stream}
    leaves_after = rng.randint(0, 5) if is_stream and rng.random() < 0.15 else None
    started_at = time.monotonic()
    outcome, detail = await _outcome(client, kind, body, leaves_after)
    return Watched(name if is_stream else f"{name}, whole", started_at, time.monotonic(), outcome, detail)


async def _outcome(
    client: httpx.AsyncClient, kind: _Kind, body: dict[str, Any], leaves_after: int | None
) -> tuple[Outcome, str]:
    has_head = False
    try:
        async with client.stream("POST", kind.path, json=body) as response:
            has_head = True
            if response.status_code != httpx.codes.OK:
                return _refusal(response.status_code, await response.aread())
            if not body["stream"]:
                json.loads(await response.aread())
                return "answered", ""
            return await _end_of(response.aiter_lines(), kind, leaves_after)
    except httpx.ReadTimeout:
        return "hangs", ""
    except (httpx.HTTPError, OSError) as exc:
        return "cut" if has_head else "unreached", repr(exc)


def _refusal(status: int, body: bytes) -> tuple[Outcome, str]:
    try:
        return ("refused", str(status)) if "error" in json.loads(body) else ("open end", f"{status} {body[:100]!r}")
    except ValueError:
        return "open end", f"{status} {body[:100]!r}"


async def _end_of(lines: AsyncIterator[str], kind: _Kind, leaves_after: int | None) -> tuple[Outcome, str]:
    end, num_lines = "", 0
    async for line in lines:
        num_lines += 1
        if leaves_after is not None and num_lines > leaves_after:
            return "left", ""
        if kind.is_end(line):
            if end:
                return "goes on after its end", f"{end} {line}"
            end = line
    if not end:
        return "open end", f"after {num_lines} lines"
    return ("error", end[:200]) if kind.is_error(end) else ("answered", "")


async def keep_asking(url: str, rng: random.Random, is_over: asyncio.Event, watched: list[Watched]) -> None:
    """Ask one request after the other until it is over."""
    timeout = httpx.Timeout(SILENCE_S, connect=5.0)
    while not is_over.is_set():
        async with httpx.AsyncClient(base_url=url, timeout=timeout, trust_env=False, verify=NO_TLS) as client:
            for _ in range(20):
                watched.append(await ask(client, rng))
                pause_s = 0.5 if watched[-1].outcome in {"unreached", "refused"} else rng.uniform(0.02, 0.3)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(is_over.wait(), pause_s)
                if is_over.is_set():
                    return
