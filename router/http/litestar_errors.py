"""Makes a Litestar app answer every error in mlxr's envelopes, and nothing with Litestar's own defaults.

Litestar's habits that a route has to know: a POST answers 201 unless the handler says `status_code=200`; a handler that
returns `EventStream` or `json_reply(...)` is annotated `-> ASGIApp`, and its status is theirs; a body is read by
`read_body`, never by a `data` argument, whose limits and decoding are Litestar's.
"""

import logging
from http import HTTPStatus
from typing import Any

from litestar import Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ExceptionHandlersMap

from backends.errors import BackendError
from registry.errors import RegistryError
from router.errors import (
    ClientDisconnectedError,
    InvalidRequestError,
    MethodNotAllowedError,
    RouteNotFoundError,
    RouterError,
    UnauthorizedError,
)
from router.http.caller import caller_of
from router.http.dialect import Dialects
from router.http.error_response import error_reply
from router.http.error_table import row_for

_logger = logging.getLogger(__name__)

_FIRST_SERVER_STATUS = 500


def exception_handlers(dialects: Dialects) -> ExceptionHandlersMap:
    """Return what every Litestar app of the gateway answers exceptions with, all that there are."""
    answer = _Answering(dialects)
    return {
        RouterError: answer.ours,
        BackendError: answer.ours,
        RegistryError: answer.ours,
        HTTPException: answer.litestars,
        Exception: answer.ours,
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
        response = error_reply(error, self._dialects.of(path, request.headers))
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
    problem = caller_of(request.scope).problem
    if problem is not None:
        return UnauthorizedError(problem)  # who may nothing is not told what there is
    if error.status_code == HTTPStatus.NOT_FOUND:
        return RouteNotFoundError(f"There is no {method} {path}.")
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        return MethodNotAllowedError(f"{path} does not take {method}.")
    if error.status_code >= _FIRST_SERVER_STATUS:
        return error
    return InvalidRequestError(error.detail)
