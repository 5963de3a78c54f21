"""Errors of this package as the terminal message that crosses the process border."""

from backends.errors import BackendError, ContextLengthError, PromptError
from backends.wire.messages import Failed


def failed(sequence_id: int, exc: BackendError) -> Failed:
    """Return the terminal message for a request that ended with `exc`."""
    details = {}
    if isinstance(exc, ContextLengthError):
        details = {"n_prompt_tokens": exc.num_prompt_tokens, "n_ctx": exc.context_length}
    return Failed(sequence_id, exc.code, str(exc), exc.param if isinstance(exc, PromptError) else None, details)
