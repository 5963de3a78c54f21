"""Questions about a model: a lease, the worker's answer, one retry.

Protocol packages turn their requests into these calls and the results into their own shapes; what is generated goes
through `generation`, embeddings through `embedding`.
"""

import contextlib
from collections.abc import Callable

import msgspec

from backends.wire.load import LoadedModel
from backends.wire.messages import Answered, Ask
from backends.wire.questions import Answer, Question
from backends.wire.request import Priority
from router.errors import EngineCrashedError, EngineTimeoutError
from router.models.model_request import ModelRequest
from router.requests.failures import raise_failure
from router.sleep.awake import awake_timeout
from router.workers.base import WorkerLink
from router.workers.supervisor import Supervisor


class Reply(msgspec.Struct, frozen=True):
    """An answer, and who gave it.

    Attributes:
        client: What answered; another one may have the model by now.
    """

    client: WorkerLink
    model: LoadedModel
    path: str
    answer: Answer


async def ask(
    supervisor: Supervisor,
    model_request: ModelRequest,
    question: Question | Callable[[WorkerLink], Question],
    *,
    timeout_s: float,
    prompt_param: str = "messages",
    priority: Priority = Priority.INTERACTIVE,
) -> Reply:
    """Put a question to a model, which is loaded for it if need be.

    Args:
        question: Or what makes it, of whatever is to answer.
        timeout_s: Longest wait for the answer of a worker that has the model.
        prompt_param: The request's field that carries the prompt, for errors.
        priority: Of the wait for a worker that has the model.

    Raises:
        EngineTimeoutError: No answer in time.
        RouterError: The request cannot be served.
        BackendError: The model's template, or the engine.
    """
    try:
        return await _ask_once(supervisor, model_request, question, timeout_s, prompt_param, priority)
    except EngineCrashedError:
        return await _ask_once(supervisor, model_request, question, timeout_s, prompt_param, priority)


async def _ask_once(
    supervisor: Supervisor,
    model_request: ModelRequest,
    question: Question | Callable[[WorkerLink], Question],
    timeout_s: float,
    prompt_param: str,
    priority: Priority,
) -> Reply:
    # No place in the batch: a question does not wait for running sequences to end.
    lease = await supervisor.lease(model_request, 0, priority)
    with contextlib.ExitStack() as on_exit:
        on_exit.callback(lease.release)
        asked = question(lease.client) if callable(question) else question
        stream = lease.client.submit(Ask(0, asked))
        on_exit.callback(lease.client.cancel, stream)
        try:
            async with awake_timeout(timeout_s):
                while True:
                    for event in await stream.read():
                        if isinstance(event, Answered):
                            assert lease.client.loaded is not None
                            path = lease.choice.target.local.path
                            return Reply(lease.client, lease.client.loaded, path, event.answer)
                        raise_failure(event, prompt_param)
        except TimeoutError as exc:
            raise EngineTimeoutError(f"the engine did not answer within {timeout_s:g} s") from exc
