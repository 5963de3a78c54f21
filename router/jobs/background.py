"""Responses that run without a client: polled, followed from any event on, cancelled; ended with the gateway.

They are among the running requests like all others. Not here: what is kept of them (`router.stores.conversations`).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

import msgspec

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import InvalidRequestError, RouterError, ShuttingDownError
from router.protocols.responses.encoding import ResponseEncoder
from router.requests.register import RunningRequest

FOLLOWABLE_S: Final = 300.0
"""How long the events of a response that has ended can still be read."""
MAX_EVENT_BYTES: Final = 32 << 20
"""Events that are kept of one response: about 100,000."""
MAX_RUNNING: Final = 1_000
"""Responses that run or wait in the background."""

_OUR_ERRORS = (RouterError, BackendError, RegistryError)


class BackgroundResponse:
    """One of them.

    Args:
        running: What generates it; this object reads it.
    """

    def __init__(self, running: RunningRequest, encoder: ResponseEncoder) -> None:
        self._running = running
        self._encoder = encoder
        self._events: list[bytes] = []
        self._num_bytes = 0
        self._news = asyncio.Event()
        self._ended = asyncio.Event()
        self.is_stream = encoder.media_type is not None
        self._note(encoder.queued())

    @property
    def response_id(self) -> str:
        """Its id."""
        return self._running.facts.request_id

    @property
    def has_ended(self) -> bool:
        """Whether it has its last state."""
        return self._ended.is_set()

    @property
    def live_body(self) -> msgspec.Struct:
        """The object of one that has not ended."""
        return self._encoder.live_body

    async def run(self) -> None:
        """Read the answer to its end."""
        reading = self._running.follow()
        try:
            async for chunk in reading:
                self._note(chunk if self.is_stream else b"")
        except _OUR_ERRORS as exc:
            self._note(self._encoder.failed(exc))
        except asyncio.CancelledError:
            self._note(self._encoder.failed(ShuttingDownError()))
            raise
        finally:
            await reading.aclose()
            self._ended.set()
            self._tell()

    async def cancel(self) -> None:
        """End it now, if it has not ended; return when it has its last state."""
        if not self.has_ended:
            self._running.cancel()
            await self._ended.wait()

    async def follow(self, after: int) -> AsyncIterator[bytes]:
        """Yield the events behind number `after`, to the last.

        Raises:
            InvalidRequestError: There were too many to be kept.
        """
        at = after + 1
        while True:
            news = self._news
            if self._num_bytes > MAX_EVENT_BYTES:
                raise InvalidRequestError("The response is too long to be followed; get it without stream.", "stream")
            if at < len(self._events):
                chunk, at = b"".join(self._events[at:]), len(self._events)
                yield chunk
            elif self.has_ended:
                return
            else:
                await news.wait()

    def _note(self, chunk: bytes) -> None:
        """Keep the events of a chunk; the number of an event is its place."""
        if not self.is_stream or not chunk:
            return
        self._num_bytes += len(chunk)
        if self._num_bytes > MAX_EVENT_BYTES:
            self._events = []
        else:
            self._events += [block + b"\n\n" for block in chunk.split(b"\n\n") if block]
        self._tell()

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()


class BackgroundResponses:
    """Those of a gateway. `run` is their task."""

    def __init__(self) -> None:
        self._responses: dict[str, BackgroundResponse] = {}
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Let responses run until cancelled; those that run then have failed."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await asyncio.get_running_loop().create_future()
        finally:
            self._tasks = None

    @property
    def has_room(self) -> bool:
        """Whether another one may be started."""
        num_running = sum(not response.has_ended for response in self._responses.values())
        return self._tasks is not None and num_running < MAX_RUNNING

    def start(self, running: RunningRequest, encoder: ResponseEncoder) -> BackgroundResponse:
        """Let a response run; `has_room` says whether it can."""
        assert self._tasks is not None
        response = BackgroundResponse(running, encoder)
        self._responses[response.response_id] = response
        self._tasks.create_task(self._run(response))
        return response

    def get(self, response_id: str) -> BackgroundResponse | None:
        """Return one that runs, or that has ended a short while ago; None for all others."""
        return self._responses.get(response_id)

    async def _run(self, response: BackgroundResponse) -> None:
        try:
            await response.run()
        finally:
            if response.is_stream:
                with contextlib.suppress(RuntimeError):  # the loop is closing
                    asyncio.get_running_loop().call_later(FOLLOWABLE_S, self.forget, response.response_id)
            else:
                self.forget(response.response_id)

    def forget(self, response_id: str) -> None:
        """Drop the events of one that has ended."""
        self._responses.pop(response_id, None)
