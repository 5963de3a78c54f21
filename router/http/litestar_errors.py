"""Makes a Litestar app answer every error in mlxr's envelopes, and nothing with Litestar's own defaults.

Litestar's habits that a route has to know: a POST answers 201 unless the handler says `status_code=200` (`POST_OK`);
a handler that returns `EventStream` or `json_reply(...)` is annotated `-> ASGIApp`, and its status is theirs; a body is
read by `read_json`, never by a `data` argument, whose limits and decoding are Litestar's.
"""

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

from litestar import Request, Response
from litestar.exceptions import HTTPException

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import (
    ClientDisconnectedError,
    InvalidRequestError,
    MethodNotAllowedError,
    RouteNotFoundError,
    RouterError,
)
from router.http.dialect import Dialects
from router.http.error_response import render
from router.http.error_table import row_for

if TYPE_CHECKING:
    from litestar.types import ExceptionHandler

__all__ = ["POST_OK", "LitestarSettings", "litestar_settings"]

POST_OK = int(HTTPStatus.OK)
"""The status of a POST that worked; Litestar's default would be 201."""

_logger = logging.getLogger(__name__)

_FIRST_SERVER_STATUS = 500


class LitestarSettings(TypedDict):
    """Keyword arguments for `Litestar(...)`."""

    exception_handlers: dict[int | type[Exception], "ExceptionHandler[Any]"]
    debug: bool
    logging_config: None
    request_max_body_size: int


def litestar_settings(*, max_body_bytes: int, dialects: Dialects) -> LitestarSettings:
    """Return what every Litestar app of the gateway is created with: `Litestar(handlers, **litestar_settings(...))`.

    Args:
        max_body_bytes: Largest body; `read_json` holds it by itself, this is for what does not use it.

    Returns:
        Keyword arguments: exception handlers for every exception, no debug pages, no logging set-up of Litestar's.
    """
    answer = _Answering(dialects)
    return {
        "exception_handlers": {
            RouterError: answer.ours,
            BackendError: answer.ours,
            RegistryError: answer.ours,
            HTTPException: answer.litestars,
            Exception: answer.ours,
        },
        "debug": False,
        "logging_config": None,
        "request_max_body_size": max_body_bytes,
    }


class _Answering:
    """Answers errors in the dialect of the request's path."""

    def __init__(self, dialects: Dialects) -> None:
        self._dialects = dialects

    def ours(self, request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
        """Answer one of our errors, or a defect: its traceback goes to the log and nowhere else."""
        path = request.scope["path"]
        if row_for(type(error)) is None:
            _logger.error("defect in %s %r", request.method, path, exc_info=error)
        elif isinstance(error, ClientDisconnectedError):
            _logger.debug("client went away in %s %r", request.method, path)
        response = render(error, self._dialects.of(path))
        headers = {name.decode(): value.decode() for name, value in response.headers if name != b"content-type"}
        return Response(response.body, status_code=response.status, headers=headers, media_type="application/json")

    def litestars(self, request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
        """Answer what Litestar itself refuses: an unknown path, a wrong method, a parameter that is no number."""
        response = self.ours(request, _ours(request, error))
        if error.headers and "allow" in {name.lower() for name in error.headers}:
            response.headers["allow"] = next(value for name, value in error.headers.items() if name.lower() == "allow")
        return response


def _ours(request: Request[Any, Any, Any], error: HTTPException) -> Exception:
    method, path = request.method, request.scope["path"]
    if error.status_code == HTTPStatus.NOT_FOUND:
        return RouteNotFoundError(f"There is no {method} {path}.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowedError(f"{path} does not take {method}.")
    if error.status_code >= _FIRST_SERVER_STATUS:
        return error
    return InvalidRequestError(error.detail)
