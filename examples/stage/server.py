"""The running server as scenarios see it: ask, and know when each piece came, from which process.

Not here: the connection and its errors (`router.cli.client`).
"""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import msgspec

from examples.stage.needs import ModelFacts
from router.cli.client.batches import BatchClient
from router.cli.client.errors import ServerAnswerError
from router.protocols.openai.answer_schemas import Timings, Usage
from router.status import WorkerRef

WORKER_HEADER: Final = "X-Mlxr-Worker"
SESSION_HEADER: Final = "X-Session-Id"
LOAD_HEADER: Final = "X-Mlxr-Load"

Message = dict[str, Any]
_T = TypeVar("_T")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. Times are of this process's monotonic clock, seconds.

    Attributes:
        first_s: When its first text came; when it ended, where none came.
        timings: The server's own account: docs/api.md.
        worker: That computed it.
    """

    text: str
    started_s: float
    first_s: float
    ended_s: float
    timings: Timings
    usage: Usage
    worker: WorkerRef

    @property
    def ttft_ms(self) -> float:
        """From sending to the first text."""
        return (self.first_s - self.started_s) * 1000

    @property
    def total_ms(self) -> float:
        """From sending to the end."""
        return (self.ended_s - self.started_s) * 1000


class Server:
    """Asks one model of one server; used by several threads at a time.

    Args:
        load: How the model is to be loaded, as the header X-Mlxr-Load has it: the same for all requests, because
            another load is another swap. None = as it is set.
    """

    def __init__(self, client: BatchClient, model: str, load: str | None = None) -> None:
        self.client = client
        self.model = model
        self._headers: dict[str, str] = {} if load is None else {LOAD_HEADER: load}

    def ask(
        self,
        said: str | Sequence[Message],
        *,
        worker: WorkerRef | None = None,
        session: str | None = None,
        headers: Mapping[str, str] | None = None,
        on_piece: Callable[[str], None] = lambda _: None,
        **fields: Any,
    ) -> Answer:
        """Ask, and read the answer to its end.

        Args:
            said: The question, or a whole conversation.
            worker: The process that is to answer.
            session: The conversation that this is a turn of.
            on_piece: Told each piece of the text as it comes.
            fields: Of POST /v1/chat/completions; the temperature is 0 where they do not say.

        Raises:
            ClientError: Or a subclass, also midway.
        """
        messages = [{"role": "user", "content": said}] if isinstance(said, str) else list(said)
        body = {"temperature": 0, "stream_options": {"include_usage": True}} | fields
        body |= {"model": self.model, "messages": messages}
        sent = self._headers | dict(headers or {})
        sent |= {} if worker is None else {WORKER_HEADER: str(worker.id)}
        sent |= {} if session is None else {SESSION_HEADER: session}
        pieces: list[str] = []
        first_s = timings = usage = None
        started_s = time.monotonic()
        with contextlib.closing(self.client.stream_chat(body, headers=sent)) as stream:
            for chunk in stream:
                timings, usage = chunk.timings or timings, chunk.usage or usage
                for choice in chunk.choices:
                    if choice.delta.content:
                        first_s = first_s or time.monotonic()
                        pieces.append(choice.delta.content)
                        on_piece(choice.delta.content)
        ended_s = time.monotonic()
        if not timings or not usage or timings.worker is None:
            message = "The answer names no worker: another server gave it. Name a model of this machine by `--model`."
            raise ServerAnswerError(message, status=200)
        return Answer(
            text="".join(pieces),
            started_s=started_s,
            first_s=first_s or ended_s,
            ended_s=ended_s,
            timings=timings,
            usage=usage,
            worker=timings.worker,
        )

    def models(self) -> list[ModelFacts]:
        """Ask for the models."""
        return msgspec.convert(self.client.get("/v1/models", dict[str, Any])["data"], list[ModelFacts])


def at_once(calls: Sequence[Callable[[], _T]]) -> list[_T]:
    """Do all at the same time, a thread each; return what they give, in their order.

    Raises:
        Exception: What the first of them raised, once all have ended.
    """
    with ThreadPoolExecutor(max(1, len(calls))) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]
