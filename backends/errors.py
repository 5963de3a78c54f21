"""Errors of the backends package.

Tree::

    BackendError
    ├── FrameError            bytes on the channel that are not a frame of ours
    ├── EngineUnavailableError  the engine's library cannot be imported here
    ├── LoadError             the engine refused the model, in its own words
    ├── PromptError           the prompt cannot be used; the client can mend it
    │   ├── ContextLengthError  more tokens than the context holds
    │   ├── TemplateError     the model's chat template failed
    │   ├── UnsupportedByModelError  a field that the model has no means to honour
    │   ├── ImageError        an image that cannot be read, is damaged or too large
    │   └── ConstraintError   a schema, grammar or expression that does not compile or is too complex
    └── EngineError           the engine failed while it generated
        └── CacheGrowthError  there is no memory for the tokens that an answer needs

Each class carries a stable `code` that crosses the process border and ends in the answer to the client.
"""

from typing import ClassVar, Final

FOREIGN_ERRORS: Final = (
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What model code, tensor code, templates and file readers were seen to raise on bad models and on exhausted memory;
no common base exists."""


class BackendError(Exception):
    """Base of everything that this package raises on purpose."""

    code: ClassVar[str] = "backend_error"

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        """Give a class of errors its code; without one it has that of its base."""
        super().__init_subclass__()
        if code is not None:
            cls.code = code


class FrameError(BackendError, code="bad_frame"):
    """The channel carried a frame that is too long or not decodable; the peer is not to be trusted any more."""


class EngineUnavailableError(BackendError, code="engine_unavailable"):
    """The engine's library is missing or broken on this machine."""


class LoadError(BackendError, code="model_load_failed"):
    """The engine could not load the model; the message carries the engine's own words."""


class PromptError(BackendError, code="invalid_prompt"):
    """The prompt cannot be used.

    Attributes:
        param: The request field at fault, or None.
    """

    def __init__(self, message: str, *, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class ContextLengthError(PromptError, code="context_length_exceeded"):
    """The prompt, or what it would need, is longer than the context.

    Args:
        param: The field, where it is not the prompt.
        min_room: Tokens of the context that the answer was to have, >= 1.

    Attributes:
        num_prompt_tokens: Tokens of the prompt, or a lower bound of them when it was not tokenized whole.
        context_length: Tokens that one sequence may hold.
    """

    def __init__(
        self,
        *,
        num_prompt_tokens: int,
        context_length: int,
        is_lower_bound: bool = False,
        param: str | None = None,
        min_room: int = 1,
    ) -> None:
        # Clients know an overflow by words: llama-server's and OpenAI's of a prompt, Ollama's of a text to embed.
        words = "the prompt exceeds the available context size, the model's maximum context length: it"
        if param is not None:
            words = f"input length exceeds the context length: {param} is too large, it"
        at_least = "at least " if is_lower_bound else ""
        answer = f", {min_room} of which are the answer's" if min_room > 1 else ""
        super().__init__(
            f"{words} has {at_least}{num_prompt_tokens} tokens but the context holds {context_length}{answer}; "
            "shorten it, or raise the model's context_length (mlxr models set) or generation.context_length in "
            "the config, if the model allows more",
            param=param or "messages",
        )
        self.num_prompt_tokens = num_prompt_tokens
        self.context_length = context_length


class TemplateError(PromptError, code="template_error"):
    """The model's chat template is not valid, or failed to render."""


class UnsupportedByModelError(PromptError, code="unsupported_by_model"):
    """The field is fine but this model has no means to honour it; `param` names it."""


class ConstraintError(PromptError, code="invalid_grammar"):
    """The schema, grammar or regular expression cannot be used; the message says why."""


class ImageError(PromptError, code="invalid_image"):
    """The image cannot be used; the message is one sentence that says why and what to do."""


class EngineError(BackendError, code="engine_error"):
    """The engine failed in the middle of its work; the sequence is lost, the worker may be sound."""


class CacheGrowthError(EngineError, code="cache_growth_failed"):
    """The KV cache is full and cannot become larger; the sequence ends, others go on.

    Args:
        num_cells: Tokens that it holds.
        reason: Why not, one sentence's end.
    """

    def __init__(self, num_cells: int, reason: str) -> None:
        super().__init__(
            f"the KV cache holds {num_cells} tokens and cannot grow: {reason}. Ask again when others have ended or "
            "memory is free, or have the model take less of it: a smaller context_length, parallel or kv_type "
            "(mlxr models set); kv_cache=whole takes all of it at the load"
        )


class EngineLostError(Exception):
    """The engine cannot go on at all: the worker ends, as if it had crashed. Never an answer to a client."""
