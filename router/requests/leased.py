"""A request's way through the queue to a worker and back: what generations and embeddings have in common."""

import asyncio
from typing import Generic, TypeVar

import msgspec

from backends.wire.request import Priority
from router.errors import RouterError
from router.http.caller import current_caller
from router.models.model_request import ModelRequest
from router.models.targets import Choice, Target
from router.status import WorkerRef
from router.workers.streams import RequestStream, TaskStream
from router.workers.supervisor import Supervisor
from router.workers.waiting import Lease, Ticket

_StreamT = TypeVar("_StreamT", RequestStream, TaskStream)


class RequestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a request from its arrival.

    Attributes:
        request_id: The answer's id, such as `chatcmpl-…`.
        protocol: By which it came: `openai`, `ollama`, ...
        fingerprint: What only the same request has; None = it cannot be taken over.
        timeout_s: Its own limit for the whole request, or None.
        owner: Id of the key that it belongs to; None = it is the server's owner's.
        ignored: What of it had no effect, by paths.
        sent_id: The id that its client gave it, by which it can be found as well; None = it gave none.
    """

    request_id: str
    protocol: str
    client: str
    fingerprint: bytes | None = None
    timeout_s: float | None = None
    ignored: tuple[str, ...] = ()
    sent_id: str | None = None
    owner: str | None = msgspec.field(default_factory=lambda: current_caller().key_id)


class LeasedRequest(Generic[_StreamT]):
    """One that waits for a worker, has one, or had one.

    Attributes:
        choice: The model and engine that serve it, once they do.
        worker: Which worker does, or did last.
    """

    def __init__(self, supervisor: Supervisor) -> None:
        self.choice: Choice | None = None
        self.worker: WorkerRef | None = None
        self._supervisor = supervisor
        self._ticket: Ticket | None = None
        self._lease: Lease | None = None
        self._stream: _StreamT | None = None
        self._error: RouterError | None = None

    @property
    def waits_for(self) -> Target | None:
        """What the request waits for in the queue; None before and after."""
        return None if self._ticket is None else self._ticket.choice.target

    def fail(self, error: RouterError) -> None:
        """End the request now; a reader gets the error after what has come already. Nothing happens after the end."""
        if self._error is not None:
            return
        self._error = error
        self._give_back()
        if self._stream is not None:
            self._stream.fail(error)

    async def _leased(
        self, model_request: ModelRequest, num_sequences: int, priority: Priority, session_id: str | None = None
    ) -> Lease:
        """Wait for a worker; a wait that is cancelled keeps its place in the queue until `_give_back`."""
        if self._error is not None:
            raise self._error
        if self._ticket is None:
            self._ticket = self._supervisor.submit(model_request, num_sequences, priority, session_id)
        granted = self._ticket.lease
        await asyncio.wait([granted])
        if self._error is not None:
            raise self._error
        self._ticket = None
        self._lease = lease = granted.result()
        self.choice = lease.choice
        self.worker = lease.worker
        return lease

    def _give_back(self) -> None:
        """Give up the worker with all that it does for the request, or the place in the queue."""
        if self._ticket is not None:
            ticket, self._ticket = self._ticket, None
            self._supervisor.withdraw(ticket)
        if self._lease is not None:
            lease, self._lease = self._lease, None
            if self._stream is not None:
                lease.client.cancel(self._stream)
            lease.release()
