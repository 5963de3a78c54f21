"""What all routes of jobs have in common: a job's events as a stream of server-sent events."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import TypeVar

import msgspec

from router.http.dialect import OPENAI
from router.http.streaming import SSE_KEEP_ALIVE, EventStream
from router.jobs.job import Follower

EventT = TypeVar("EventT")
_encode = msgspec.json.Encoder().encode


def job_stream(
    follower: Follower[EventT],
    *,
    keepalive_s: float,
    encode: Callable[[EventT], bytes] = lambda event: b"data: " + _encode(event) + b"\n\n",
    headers: list[tuple[bytes, bytes]] | None = None,
) -> EventStream:
    """Return the events of a job as a response; the job goes on when its client leaves."""
    return EventStream(
        _chunks(follower, encode),
        dialect=OPENAI,
        headers=headers,
        keep_alive=SSE_KEEP_ALIVE,
        keep_alive_s=keepalive_s,
        commit_after_s=keepalive_s,
    )


async def _chunks(follower: Follower[EventT], encode: Callable[[EventT], bytes]) -> AsyncIterator[bytes]:
    async with aclosing(follower):
        while events := await follower.next_batch():
            yield b"".join(map(encode, events))
