"""The one place where mlx's, mlx-lm's and the tokenizer libraries' exceptions become ours."""

import contextlib
from collections.abc import Iterator

from backends.errors import FOREIGN_ERRORS, BackendError


@contextlib.contextmanager
def mlx_errors(error_type: type[BackendError], action: str) -> Iterator[None]:
    """Turn any error of the block into `error_type`, in the library's own words.

    Args:
        action: What was being done, for the message.

    Raises:
        BackendError: As said; errors that are ours already pass unchanged.
    """
    try:
        yield
    except BackendError:
        raise
    except FOREIGN_ERRORS as exc:
        raise error_type(f"mlx could not {action}: {type(exc).__name__}: {exc}") from exc
