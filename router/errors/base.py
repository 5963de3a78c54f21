"""What all errors of the gateway have."""

from typing import ClassVar


class RouterError(Exception):
    """Base of the gateway's errors.

    Attributes:
        code: Stable identifier that clients may switch on; part of the API.
        param: The request field at fault as a path (`messages[0].role`), or `None`.
        retry_after_s: Seconds after which a retry makes sense, or `None`; becomes the header `Retry-After`.
    """

    code: ClassVar[str] = "internal_error"

    def __init_subclass__(cls, *, code: str | None = None) -> None:
        """Give a class of errors its code; without one it has that of its base."""
        super().__init_subclass__()
        if code is not None:
            cls.code = code

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_s = retry_after_s
