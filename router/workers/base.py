"""What a request uses of whatever serves its model: one worker process today (`client`), a remote peer perhaps later.

Not who may use it (`supervisor`, by leases), and not the life of a process: starting, loading, killing and reaping are
the implementation's own business with the supervisor.
"""

import abc
from collections.abc import Mapping, Sequence

from backends.wire.load import LoadedModel
from backends.wire.messages import Ask, Embed, Generate, Hello
from router.errors import RouterError
from router.workers.streams import RequestStream, SequenceProgress, TaskStream


class WorkerLink(abc.ABC):
    """The gateway's end; everything runs on the event loop's thread.

    Every stream that it hands out ends with exactly one terminal event per sequence, or with an error.

    Attributes:
        is_closed: Whether the other end is gone, or about to be: it takes nothing any more.
        hello: What the other end says of its engine; None before it came, or where there is nothing of the kind.
        loaded: What is known of the model that it serves; None before it has one.
        progress: Of the generations that have not ended, by sequence id.
        last_in_slot: The last sequence of each place in the batch, by the place's number.
    """

    is_closed: bool
    hello: Hello | None
    loaded: LoadedModel | None
    progress: Mapping[int, SequenceProgress]
    last_in_slot: dict[int, int]

    @abc.abstractmethod
    def generate(self, requests: Sequence[Generate], *, slot: int | None = None) -> RequestStream:
        """Start the sequences of one request; the ids in `requests` are replaced.

        Args:
            slot: The place in the batch that the first of them is to be called by, where it is free.

        A `ForkPrompt` in there names its source by its place in `requests`, before its own; it is replaced as well.

        Raises:
            EngineCrashedError: The other end is gone, or about to go.
            InvalidRequestError: A prompt is too large to be sent.
        """

    @abc.abstractmethod
    def submit(self, request: Ask | Embed) -> TaskStream:
        """Start something that is no generation; the id in `request` is replaced. Errors as in `generate`."""

    @abc.abstractmethod
    def cancel(self, stream: RequestStream | TaskStream) -> None:
        """Give a request's sequences up; harmless for those that have ended."""

    @abc.abstractmethod
    def fail_streams(self, error: RouterError) -> None:
        """End every open stream with `error`, whatever the other end still sends, and take no new ones."""

    @abc.abstractmethod
    def shut_down(self) -> None:
        """Ask the other end to end."""
