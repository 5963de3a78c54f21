"""Errors that Anthropic's clients know how to go on from.

RouterError
    InvalidRequestError
        UnsupportedFieldError
            ThreadsUnsupportedError
"""

from typing import Any, Final

from router.errors import UnsupportedFieldError


class ThreadsUnsupportedError(UnsupportedFieldError):
    """A conversation was to be stored; clients that read the details send all of it from then on.

    Source: Anthropic's Python client 2.12, lib/threads: `error.details.error_code`.
    """

    anthropic_details: Final[dict[str, Any]] = {
        "error_code": "thread_unsupported_request",
        "unsupported": ["thread"],
    }
