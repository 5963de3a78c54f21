"""What the routes of jobs have in common: a job's events as a stream."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from router.http.dialect import OPENAI
from router.http.streaming import SSE_KEEP_ALIVE, EventStream
from router.jobs.job import Follower
from router.protocols.answers import sse_event


def job_stream(follower: Follower[Any], *, keepalive_s: float) -> EventStream:
    """Return the events of a job as a response; the job goes on when its client leaves."""
    return long_stream(_encoded(follower), keepalive_s=keepalive_s)


def long_stream(
    chunks: AsyncIterator[bytes], *, keepalive_s: float, headers: Sequence[tuple[bytes, bytes]] = ()
) -> EventStream:
    """Return server-sent events that may be long in coming as a response."""
    return EventStream(
        chunks,
        dialect=OPENAI,
        headers=headers,
        keep_alive=SSE_KEEP_ALIVE,
        keep_alive_s=keepalive_s,
    )


async def _encoded(follower: Follower[Any]) -> AsyncIterator[bytes]:
    async with aclosing(follower):
        while events := await follower.next_batch():
            yield b"".join(map(sse_event, events))
