"""What a worker's terminal messages mean to whoever made the request, as errors."""

from typing import Final

from backends.errors import (
    CacheGrowthError,
    ConstraintError,
    ContextLengthError,
    EngineError,
    ImageError,
    TemplateError,
    UnsupportedByModelError,
)
from backends.wire.messages import Aborted, Failed
from router.errors import (
    ContextLengthExceededError,
    EngineCrashedError,
    InsufficientMemoryError,
    InvalidRequestError,
    UnsupportedFieldError,
)
from router.workers.streams import TaskEvent

_PROMPT_PARAMS: Final = (None, "prompt", "messages")


def error_of(event: Failed, prompt_param: str) -> Exception:
    """Return the error that a worker's words mean, with the request's own name for the field of the prompt."""
    # The worker does not know by which field the prompt came.
    param = prompt_param if event.param in _PROMPT_PARAMS else event.param
    match event.code:
        case ContextLengthError.code:
            return ContextLengthExceededError(
                event.message,
                num_prompt_tokens=event.details["n_prompt_tokens"],
                context_length=event.details["n_ctx"],
                param=prompt_param,
            )
        case TemplateError.code:
            return TemplateError(event.message, param=param)
        case ConstraintError.code | ImageError.code:
            kind = ConstraintError if event.code == ConstraintError.code else ImageError
            return kind(event.message, param=event.param)
        case UnsupportedByModelError.code:
            return UnsupportedFieldError(event.message, param)
        case EngineError.code | CacheGrowthError.code:
            is_memory = event.code == CacheGrowthError.code
            return InsufficientMemoryError(message=event.message) if is_memory else EngineError(event.message)
        case _:
            return InvalidRequestError(event.message, param)


def raise_failure(event: TaskEvent, param: str) -> None:
    """Raise what an event means that is no answer.

    Args:
        param: The request's field at fault where the worker does not name a part of it.
    """
    if isinstance(event, Failed):
        raise error_of(event, event.param if event.param and event.param.startswith(param) else param)
    if isinstance(event, Aborted):
        raise gave_up()


def gave_up() -> EngineCrashedError:
    """Return what a request ends with whose sequences were aborted unasked."""
    return EngineCrashedError("the engine gave the request up because it was told to stop")
