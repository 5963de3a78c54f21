"""One request for embeddings through the system, whatever protocol it came by: a lease, its vectors, one retry.

It is listed among the requests that run and can be ended by its id, like a generation. Not here: any protocol's shapes.
"""

import asyncio
import time
from collections.abc import Callable

import msgspec

from backends.wire.messages import Embed, Embedded, Finished
from backends.wire.request import Pooling, Priority
from router.errors import ClientDisconnectedError, DeadlineExceededError, EngineCrashedError, RequestCancelledError
from router.models.model_request import ModelRequest
from router.models.targets import Choice
from router.requests.failures import raise_failure
from router.requests.leased import LeasedRequest, RequestFacts
from router.sleep.awake import AwakeTimer
from router.status import WorkerRef
from router.workers.streams import TaskStream
from router.workers.supervisor import Supervisor


class EmbeddingWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's route wants embedded.

    Attributes:
        inputs: Texts or token ids, at least one.
        pooling: How to pool; None = as the model's makers want it, or the mean.
        input_param: The request's field that carries the inputs, for errors.
        truncates: Whether the end of an input is left out where the context does not hold all of it.
        query: Where given, the inputs are documents that a model which ranks judges by it, as `Embed` has it.
    """

    model_request: ModelRequest
    inputs: list[str | list[int]]
    pooling: Pooling | None = None
    priority: Priority = Priority.INTERACTIVE
    input_param: str = "input"
    truncates: bool = False
    query: str | None = None


class Embeddings(msgspec.Struct, frozen=True):
    """The vectors of one request.

    Attributes:
        vectors: Per input, little-endian float32 of L2 length 1; of a document its score.
        worker: Which one made them.
        choice: The model and engine that did.
    """

    vectors: list[bytes]
    num_tokens: int
    pooling: Pooling
    load_ms: float = 0.0
    queue_ms: float = 0.0
    worker: WorkerRef | None = None
    choice: Choice | None = None


class RunningEmbedding(LeasedRequest[TaskStream]):
    """One that has not ended; `result` is awaited once, and whoever leaves it early gives everything back.

    A worker that dies is replaced, once, unseen.

    Args:
        timeout_s: Longest time for the whole request, or None.
        on_end: Called once, when it has ended.

    Attributes:
        arrived_at: Monotonic seconds.
        started_at: Seconds since 1970.
        ended_at: Monotonic seconds, None while it runs.
        error: Why it has no vectors; None while it runs, and where it has them.
        num_tokens_done: Tokens of the inputs that are embedded.
        queue_s: Until a worker took it, without the load it waited for; None before.
        load_s: The load it waited for; None before.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        wanted: EmbeddingWanted,
        facts: RequestFacts,
        *,
        timeout_s: float | None,
        on_end: Callable[["RunningEmbedding"], None],
    ) -> None:
        super().__init__(supervisor)
        self.wanted = wanted
        self.facts = facts
        self.arrived_at = time.monotonic()
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.error: BaseException | None = None
        self.num_tokens_done = 0
        self.queue_s: float | None = None
        self.load_s: float | None = None
        self._timeout_s = timeout_s
        self._on_end = on_end

    @property
    def is_embedding(self) -> bool:
        """Whether a worker has it."""
        return self._stream is not None

    async def result(self) -> Embeddings:
        """Wait for the vectors.

        Raises:
            RouterError: The request cannot be served, was ended, or takes too long.
            BackendError: The engine.
            RegistryError: The model is unknown.
        """
        timer = None
        if self._timeout_s is not None:
            error = DeadlineExceededError(f"the request took longer than {self._timeout_s:g} s")
            timer = AwakeTimer(self._timeout_s, lambda: self.fail(error))
        try:
            return await self._twice()
        except asyncio.CancelledError:
            self.error = ClientDisconnectedError()
            raise
        except BaseException as exc:
            self.error = exc
            raise
        finally:
            if timer is not None:
                timer.cancel()
            self.ended_at = time.monotonic()
            self._on_end(self)

    def cancel(self) -> None:
        """End the request as somebody who is not its client wants it."""
        self.fail(RequestCancelledError())

    async def _twice(self) -> Embeddings:
        try:
            return await self._once()
        except EngineCrashedError:
            if self._error is not None or self.wanted.model_request.worker_id is not None:
                raise
            return await self._once()

    async def _once(self) -> Embeddings:
        wanted = self.wanted
        self.num_tokens_done = 0
        try:
            lease = await self._leased(wanted.model_request, 1, wanted.priority)
            self.queue_s, self.load_s = lease.queue_ms / 1000, lease.load_ms / 1000
            loaded = lease.client.loaded
            used = (None if loaded is None else loaded.pooling) or wanted.pooling or Pooling.MEAN
            self._stream = lease.client.submit(Embed(0, wanted.inputs, wanted.pooling, wanted.truncates, wanted.query))
            vectors, num_tokens = await self._vectors(self._stream)
            return Embeddings(vectors, num_tokens, used, lease.load_ms, lease.queue_ms, lease.worker, lease.choice)
        finally:
            self._give_back()
            self._stream = None

    async def _vectors(self, stream: TaskStream) -> tuple[list[bytes], int]:
        vectors: list[bytes] = []
        while True:
            for event in await stream.read():
                if isinstance(event, Embedded):
                    vectors.append(event.vector)
                    self.num_tokens_done += event.num_tokens
                elif isinstance(event, Finished):
                    return vectors, event.end.usage.num_prompt_tokens
                else:
                    raise_failure(event, self.wanted.input_param)
