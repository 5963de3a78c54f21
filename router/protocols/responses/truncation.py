"""`truncation: auto`: which turns of a conversation have to go so that the rest fits the model's context.

The oldest turns go, whole: a call stays with its output. System messages and the last turn stay. The worker counts;
nothing is tokenized here.
"""

from typing import Final

import msgspec

from backends.wire.prompts import ChatPrompt, PromptMessage
from backends.wire.questions import CountTokens, TokenCount
from router.errors import ContextLengthExceededError
from router.protocols.serving import RequestService
from router.requests.asking import ask
from router.requests.request import GenerationRequest

_ANSWER_SHARE: Final = 4
"""Without a limit of its own, an answer gets at least one part in so many of the context."""


async def fitted(serving: RequestService, wanted: GenerationRequest) -> GenerationRequest:
    """Return a request whose conversation fits, or the same one when nothing more can go.

    Args:
        services: Of the gateway; the model is loaded if need be.
        wanted: What is asked for, with one chat.

    Raises:
        RouterError: The request cannot be served.
        BackendError: The model's template, or the engine.
    """
    (prompt,) = wanted.prompts
    assert isinstance(prompt, ChatPrompt)
    num_turns = num_droppable_turns(prompt.messages)
    if not num_turns or await _fits(serving, wanted, prompt):
        return wanted
    # The fewest that have to go: below `low` it does not fit, from `high` on it does or nothing helps.
    low, high = 1, num_turns
    while low < high:
        middle = (low + high) // 2
        if await _fits(serving, wanted, _shorter(prompt, middle)):
            high = middle
        else:
            low = middle + 1
    return msgspec.structs.replace(wanted, prompts=(_shorter(prompt, low),))


def _shorter(prompt: ChatPrompt, num_dropped: int) -> ChatPrompt:
    return msgspec.structs.replace(prompt, messages=without_oldest_turns(prompt.messages, num_dropped))


async def _fits(serving: RequestService, wanted: GenerationRequest, prompt: ChatPrompt) -> bool:
    timeout_s = serving.config.limits.stall_timeout_s
    try:
        reply = await ask(
            serving.supervisor,
            wanted.model_request,
            CountTokens(prompt),
            timeout_s=timeout_s,
            prompt_param=wanted.prompt_param,
        )
    except ContextLengthExceededError:
        return False  # so long that it was not even counted
    assert isinstance(reply.answer, TokenCount)
    room = reply.model.context_length // _ANSWER_SHARE
    if wanted.spec.max_tokens is not None:
        room = min(wanted.spec.max_tokens, reply.model.context_length // 2)
    return reply.answer.num_tokens + room <= reply.model.context_length


def _turns(messages: list[PromptMessage]) -> list[list[PromptMessage]]:
    """Cut a conversation at its user messages; what comes before the first is a turn of its own."""
    cut: list[list[PromptMessage]] = []
    for message in messages:
        if not cut or message["role"] == "user":
            cut.append([])
        cut[-1].append(message)
    return cut


def without_oldest_turns(messages: list[PromptMessage], num_dropped: int) -> list[PromptMessage]:
    """Return a conversation without its oldest turns; system messages stay, wherever they are."""
    system = [message for message in messages if message["role"] == "system"]
    said = _turns([message for message in messages if message["role"] != "system"])
    return [*system, *(message for turn in said[num_dropped:] for message in turn)]


def num_droppable_turns(messages: list[PromptMessage]) -> int:
    """Return how many turns there are beside the last, which is what is asked."""
    return max(0, len(_turns([message for message in messages if message["role"] != "system"])) - 1)
