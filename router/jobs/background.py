"""Responses that run without a client: polled, followed from any event on, cancelled; ended with the gateway.

They are among the running requests like all others. Not here: what is kept of them (`router.stores.conversations`).
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final, Protocol

import msgspec

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import (
    InvalidRequestError,
    RequestCancelledError,
    RouterError,
    ShuttingDownError,
    StoreUnavailableError,
)
from router.http.caller import current_caller
from router.jobs.job import Job, JobKind
from router.jobs.jobs import Jobs
from router.requests.register import RunningRequest
from router.stores.conversations import Conversations

logger = logging.getLogger(__name__)

FOLLOWABLE_S: Final = 300.0
"""How long the events of a response that has ended can still be read."""
MAX_EVENT_BYTES: Final = 32 << 20
"""Events that are kept of one response: about 100,000."""
MAX_RUNNING: Final = 1_000
"""Responses that run or wait in the background."""

_OUR_ERRORS = (RouterError, BackendError, RegistryError)
_RESPONSE: Final = JobKind[bytes](name="response", ends_late=True, is_answer=True)


class BackgroundEncoder(Protocol):
    """Writes one response; what it returns is whole server-sent events."""

    @property
    def media_type(self) -> bytes | None:
        """Of the stream; None = the answer is one JSON body."""

    @property
    def live_body(self) -> Any:
        """The object of a response that has not ended."""

    def queued(self) -> bytes:
        """Return the first events."""

    def failed(self, error: BaseException) -> bytes:
        """Return how the stream ends with an error."""


class BackgroundResponse:
    """One of them.

    Args:
        running: What generates it; this object reads it.
    """

    def __init__(self, jobs: Jobs, running: RunningRequest, encoder: BackgroundEncoder) -> None:
        self._jobs = jobs
        self._running = running
        self._encoder = encoder
        self._num_bytes = 0
        self.response_id = running.facts.request_id
        self.owner = running.facts.owner
        self.is_stream = encoder.media_type is not None
        kept_s = FOLLOWABLE_S if self.is_stream else 0.0
        self._job = jobs.start(_RESPONSE, self.response_id, self._run, about=self, kept_s=kept_s)

    @property
    def subject(self) -> str:
        """The model that answers."""
        return self._running.generation.request.model_request.model

    @property
    def has_ended(self) -> bool:
        """Whether it has its last state."""
        return self._job.has_ended

    @property
    def live_body(self) -> Any:
        """The object of one that has not ended."""
        return self._encoder.live_body

    async def cancel(self) -> None:
        """End it now, if it has not ended; return when it has its last state."""
        self._job.stop("cancelled")
        await self._job.wait()

    def forget(self) -> None:
        """Drop the events of one that has ended."""
        self._jobs.forget(self._job)

    async def follow(self, after: int) -> AsyncIterator[bytes]:
        """Yield the events behind number `after`, to the last.

        Raises:
            InvalidRequestError: There were too many to be kept.
        """
        async with aclosing(self._job.follow(skip=after + 1)) as follower:
            while self._num_bytes <= MAX_EVENT_BYTES and (events := await follower.next_batch()):
                yield b"".join(events)
        if self._num_bytes > MAX_EVENT_BYTES:
            raise InvalidRequestError("The response is too long to be followed; get it without stream.", "stream")

    async def _run(self, job: Job[bytes]) -> None:
        """Read the answer to its end; the number of an event is its place among those that the job keeps."""
        self._tell(job, self._encoder.queued())
        reading = self._running.follow()
        try:
            async for chunk in reading:
                self._tell(job, chunk)
        except _OUR_ERRORS as exc:
            job.failure = str(exc)
            self._tell(job, self._encoder.failed(exc))
        except asyncio.CancelledError:
            is_cancelled = job.stop_reason == "cancelled"
            self._tell(job, self._encoder.failed(RequestCancelledError() if is_cancelled else ShuttingDownError()))
        finally:
            await reading.aclose()

    def _tell(self, job: Job[bytes], chunk: bytes) -> None:
        if not self.is_stream or self._num_bytes > MAX_EVENT_BYTES:
            return
        self._num_bytes += len(chunk)
        if self._num_bytes > MAX_EVENT_BYTES:
            job.forget_events()
            job.tell(b"")  # so that those who wait for events look
            return
        for block in chunk.split(b"\n\n"):
            if block:
                job.tell(block + b"\n\n")


def has_room(jobs: Jobs) -> bool:
    """Tell whether another response may be started.

    Raises:
        ShuttingDownError: The process is about to end, or just starts.
    """
    jobs.check_open()
    return len(jobs.running(_RESPONSE)) < MAX_RUNNING


def find_response(jobs: Jobs, response_id: str) -> BackgroundResponse | None:
    """Return one that runs, or that has ended a short while ago; None for all others, and for those of another key."""
    job = jobs.get(_RESPONSE, response_id)
    found: BackgroundResponse | None = None if job is None else job.about
    return found if found is not None and current_caller().may_see(found.owner) else None


async def end_cut_off(conversations: Conversations, jobs: Jobs) -> None:
    """Say of the responses that the end of an earlier gateway cut off that they have failed."""
    try:
        for response in await conversations.unfinished():
            if find_response(jobs, response.response_id) is None:
                error = {"code": "server_error", "message": "The server ended before the response did; ask again."}
                body = msgspec.json.decode(response.body) | {"status": "failed", "error": error}
                if response.conversation_id is not None:
                    body["output"] = await conversations.kept.written(response.conversation_id, response.response_id)
                failed = msgspec.structs.replace(response, status="failed", body=msgspec.json.encode(body))
                conversations.keep(failed)
    except StoreUnavailableError as exc:
        logger.warning("responses are not stored: %s", exc)
