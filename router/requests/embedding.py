"""One request for embeddings through the system, whatever protocol it came by: a lease, its vectors, one retry.

It is listed among the requests that run and can be ended by its id, like a generation. Not here: any protocol's shapes.
"""

import asyncio

import msgspec

from backends.sequence import Priority
from backends.wire.messages import Aborted, Answered, Embed, Embedded, Failed, Finished
from backends.wire.request import Pooling
from router.errors import EngineCrashedError, RouterError
from router.models.targets import Choice, Target
from router.models.wish import Wish
from router.requests.generation import error_of
from router.workers.streams import TaskEvent, TaskStream
from router.workers.supervisor import Supervisor
from router.workers.waiting import Lease, Ticket


class EmbeddingWanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a protocol's route wants embedded.

    Attributes:
        inputs: Texts or token ids, at least one.
        pooling: How to pool; None = as the model's makers want it, or the mean.
        input_param: The request's field that carries the inputs, for errors.
        truncates: Whether the end of an input is left out where the context does not hold all of it.
    """

    wish: Wish
    inputs: list[str | list[int]]
    pooling: Pooling | None = None
    priority: Priority = Priority.INTERACTIVE
    input_param: str = "input"
    truncates: bool = False


class Embeddings(msgspec.Struct, frozen=True):
    """The vectors of one request.

    Attributes:
        vectors: Per input, little-endian float32 of L2 length 1.
    """

    vectors: list[bytes]
    num_tokens: int
    pooling: Pooling
    load_ms: float = 0.0
    queue_ms: float = 0.0


class EmbeddingRun:
    """A running request. `result` is awaited once; whoever leaves it early gives everything back.

    A worker that dies is replaced, once, unseen.

    Attributes:
        choice: The model and engine that serve it, once they do.
        num_tokens_done: Tokens of the inputs that are embedded.
    """

    def __init__(self, supervisor: Supervisor, wanted: EmbeddingWanted) -> None:
        self._supervisor = supervisor
        self.wanted = wanted
        self.choice: Choice | None = None
        self.num_tokens_done = 0
        self._ticket: Ticket | None = None
        self._lease: Lease | None = None
        self._stream: TaskStream | None = None
        self._error: RouterError | None = None

    @property
    def is_embedding(self) -> bool:
        """Whether a worker has it."""
        return self._stream is not None

    @property
    def waits_for(self) -> Target | None:
        """What the request waits for in the queue; None before and after."""
        return None if self._ticket is None else self._ticket.choice.target

    async def result(self) -> Embeddings:
        """Wait for the vectors.

        Raises:
            RouterError: The request cannot be served, or was ended.
            BackendError: The engine.
            RegistryError: The model is unknown.
        """
        try:
            return await self._once()
        except EngineCrashedError:
            if self._error is not None:
                raise
            return await self._once()

    def fail(self, error: RouterError) -> None:
        """End the request now; who waits for the result gets the error."""
        if self._error is not None:
            return
        self._error = error
        if self._ticket is not None:
            self._supervisor.withdraw(self._ticket)
        if self._stream is not None:
            self._stream.fail(error)

    async def _once(self) -> Embeddings:
        wanted = self.wanted
        self.num_tokens_done = 0
        lease = self._lease = await self._leased()
        try:
            self.choice = lease.choice
            assert lease.client.loaded is not None
            used = lease.client.loaded.pooling or wanted.pooling or Pooling.MEAN
            self._stream = lease.client.submit(Embed(0, wanted.inputs, wanted.pooling, wanted.truncates))
            vectors, num_tokens = await self._vectors(self._stream)
            return Embeddings(vectors, num_tokens, used, lease.load_ms, lease.queue_ms)
        finally:
            self._give_back()

    async def _leased(self) -> Lease:
        if self._error is not None:
            raise self._error
        wanted = self.wanted
        ticket = self._ticket = self._supervisor.submit(wanted.wish, 1, wanted.priority)
        try:
            await asyncio.wait([ticket.lease])
        except asyncio.CancelledError:
            self._supervisor.withdraw(ticket)
            raise
        finally:
            self._ticket = None
        if self._error is not None:
            raise self._error
        return ticket.lease.result()

    async def _vectors(self, stream: TaskStream) -> tuple[list[bytes], int]:
        vectors: list[bytes] = []
        while True:
            for event in await stream.read():
                if isinstance(event, Embedded):
                    vectors.append(event.vector)
                    self.num_tokens_done += event.num_tokens
                elif isinstance(event, Finished):
                    return vectors, event.usage.num_prompt_tokens
                else:
                    self._raise_for(event)

    def _give_back(self) -> None:
        if self._lease is not None:
            lease, self._lease = self._lease, None
            if self._stream is not None:
                lease.client.cancel(self._stream)
                self._stream = None
            lease.release()

    def _raise_for(self, event: TaskEvent) -> None:
        """Raise what a terminal message means that is no answer."""
        if isinstance(event, Failed):
            param = self.wanted.input_param
            raise error_of(event, event.param if event.param and event.param.startswith(param) else param)
        if isinstance(event, Aborted):
            raise EngineCrashedError("the engine gave the request up because it was told to stop")
        assert not isinstance(event, Answered), "an embedding is no question"
