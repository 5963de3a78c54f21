"""A request for embeddings as one of those that run: it is listed, has a deadline, and can be ended by its id."""

import asyncio
import time
from collections.abc import Callable

from router.errors import DeadlineExceededError, RequestCancelledError, RouterError
from router.requests.deadlines import Deadlines
from router.requests.embedding import EmbeddingRun, Embeddings
from router.requests.facts import RequestFacts


class RunningEmbedding:
    """One that has not ended; it ends with `result`, which is awaited once.

    Args:
        deadlines: Only that of the whole request holds: there are no tokens to wait for.
        on_end: Called once, when it has ended.

    Attributes:
        arrived_at: Monotonic seconds.
        started_at: Seconds since 1970.
    """

    def __init__(
        self,
        facts: RequestFacts,
        run: EmbeddingRun,
        *,
        deadlines: Deadlines,
        on_end: Callable[["RunningEmbedding"], None],
    ) -> None:
        self.facts = facts
        self.run = run
        self.arrived_at = time.monotonic()
        self.started_at = time.time()
        self._request_s = deadlines.request_s
        self._on_end = on_end

    async def result(self) -> Embeddings:
        """Wait for the vectors; errors as in `EmbeddingRun.result`, and when it takes too long or is cancelled."""
        timer = None
        if self._request_s is not None:
            error = DeadlineExceededError(f"the request took longer than {self._request_s:g} s")
            timer = asyncio.get_running_loop().call_later(self._request_s, self.fail, error)
        try:
            return await self.run.result()
        finally:
            if timer is not None:
                timer.cancel()
            self._on_end(self)

    def cancel(self) -> None:
        """End the request as somebody who is not its client wants it."""
        self.fail(RequestCancelledError())

    def fail(self, error: RouterError) -> None:
        """End the request with an error; its client is told."""
        self.run.fail(error)
