"""Requests that generate nothing: questions about a model, and embeddings. A lease, the worker's answer, one retry.

Protocol packages turn their requests into these calls and the results into their own shapes; what is generated goes
through `generation`.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import msgspec

from backends.embedding import Pooling
from backends.messages import Aborted, Answered, Ask, Embed, Embedded, Failed, Finished, LoadedModel
from backends.questions import Answer, Question
from router.errors import EngineCrashedError, EngineTimeoutError
from router.generation import error_of
from router.streams import TaskEvent, TaskStream
from router.supervisor import Supervisor
from router.waiting import Lease, Wish
from router.worker_client import WorkerClient


class Reply(msgspec.Struct, frozen=True):
    """An answer, and who gave it.

    Attributes:
        client: The worker; another one may have the model by now.
        model: What it has loaded.
        path: Where the model was loaded from.
        answer: To the question.
    """

    client: WorkerClient
    model: LoadedModel
    path: str
    answer: Answer


class Embeddings(msgspec.Struct, frozen=True):
    """The vectors of one request.

    Attributes:
        vectors: Per input, little-endian float32 of L2 length 1.
        num_tokens: Of all inputs.
        pooling: How they were pooled.
    """

    vectors: list[bytes]
    num_tokens: int
    pooling: Pooling


async def ask(
    supervisor: Supervisor, wish: Wish, question: Question, *, timeout_s: float, prompt_param: str = "messages"
) -> Reply:
    """Put a question to a model, which is loaded for it if need be.

    Args:
        supervisor: Owner of the workers.
        wish: Model and engine.
        question: What to ask.
        timeout_s: Longest wait for the answer of a worker that has the model.
        prompt_param: The request's field that carries the prompt, for errors.

    Raises:
        EngineTimeoutError: No answer in time.
        RouterError: The request cannot be served.
        BackendError: The model's template, or the engine.
    """
    try:
        return await _ask_once(supervisor, wish, question, timeout_s, prompt_param)
    except EngineCrashedError:
        return await _ask_once(supervisor, wish, question, timeout_s, prompt_param)


async def embed(
    supervisor: Supervisor, wish: Wish, inputs: list[str | list[int]], pooling: Pooling | None
) -> Embeddings:
    """Embed inputs with a model, which is loaded for it if need be.

    Args:
        supervisor: Owner of the workers.
        wish: Model and engine.
        inputs: Texts or token ids, at least one.
        pooling: How to pool; None = as the model's makers want it, or the mean.

    Raises:
        RouterError: The request cannot be served.
        BackendError: The engine.
    """
    try:
        return await _embed_once(supervisor, wish, inputs, pooling)
    except EngineCrashedError:
        return await _embed_once(supervisor, wish, inputs, pooling)


async def _ask_once(
    supervisor: Supervisor, wish: Wish, question: Question, timeout_s: float, prompt_param: str
) -> Reply:
    # No place in the batch: a question does not wait for running sequences to end.
    lease = await supervisor.lease(wish, 0)
    try:
        async with asyncio.timeout(timeout_s), _events(lease, Ask(0, question)) as stream:
            while True:
                for event in await stream.read():
                    if isinstance(event, Answered):
                        assert lease.client.loaded is not None
                        return Reply(lease.client, lease.client.loaded, lease.choice.target.path, event.answer)
                    _raise_for(event, prompt_param)
    except TimeoutError as exc:
        raise EngineTimeoutError(f"the engine did not answer within {timeout_s:g} s") from exc
    finally:
        lease.release()


async def _embed_once(
    supervisor: Supervisor, wish: Wish, inputs: list[str | list[int]], pooling: Pooling | None
) -> Embeddings:
    lease = await supervisor.lease(wish, 1)
    try:
        assert lease.client.loaded is not None
        used = lease.client.loaded.pooling or pooling or Pooling.MEAN
        vectors: list[bytes] = []
        async with _events(lease, Embed(0, inputs, pooling)) as stream:
            while True:
                for event in await stream.read():
                    if isinstance(event, Embedded):
                        vectors.append(event.vector)
                    elif isinstance(event, Finished):
                        return Embeddings(vectors, event.usage.num_prompt_tokens, used)
                    else:
                        _raise_for(event, "input")
    finally:
        lease.release()


@contextlib.asynccontextmanager
async def _events(lease: Lease, request: Ask | Embed) -> AsyncGenerator[TaskStream, None]:
    """Send a request; take it back when the block is left before its end."""
    stream = lease.client.submit(request)
    try:
        yield stream
    finally:
        lease.client.cancel(stream)


def _raise_for(event: TaskEvent, prompt_param: str) -> None:
    """Raise what a terminal message means that is no answer."""
    if isinstance(event, Failed):
        raise error_of(event, event.param if event.param and event.param.startswith(prompt_param) else prompt_param)
    if isinstance(event, Aborted):
        raise EngineCrashedError("the engine gave the request up because it was told to stop")
