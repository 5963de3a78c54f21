"""What the gateway can answer instead of a result, and the one table: error class -> HTTP status and type.

The table covers the errors of this module, of `backends.errors` and of `registry.errors`. A class finds its row by
itself or by its nearest listed ancestor; the three bases have no row, so that a new class cannot slip through unmapped
(a test walks all subclasses). The codes `model_not_found` and `invalid_model_name` are the registry's.

Not here: the bodies that each protocol wants (`router.http.error_response`). This module is light on purpose, so that
commands that do not serve may import it.

    RouterError                          code
    ├── InvalidRequestError              invalid_request
    │   ├── InvalidJSONError             invalid_json
    │   ├── MissingFieldError            missing_required_parameter
    │   ├── UnknownFieldError            unknown_parameter
    │   ├── UnsupportedFieldError        unsupported_parameter
    │   ├── EngineNotAvailableError      engine_not_available
    │   ├── ContextLengthExceededError   context_length_exceeded
    │   └── MalformedRequestError        malformed_http
    ├── HostNotAllowedError              host_not_allowed
    ├── OriginNotAllowedError            origin_not_allowed
    ├── RouteNotFoundError               route_not_found
    ├── MethodNotAllowedError            method_not_allowed
    ├── RequestTimeoutError              request_timeout
    ├── RequestTooLargeError             request_too_large
    ├── URLTooLongError                  url_too_long
    ├── HeadersTooLargeError             headers_too_large
    ├── UnsupportedMediaTypeError        unsupported_media_type
    ├── QueueFullError                   queue_full
    ├── ClientDisconnectedError          client_disconnected
    ├── RequestNotFoundError             request_not_found
    ├── RequestCancelledError            request_cancelled
    ├── InternalError                    internal_error
    ├── ModelLoadFailedError             model_load_failed
    ├── EngineCrashedError               engine_crashed
    ├── EngineTimeoutError               engine_timeout
    │   └── DeadlineExceededError        deadline_exceeded
    ├── UnavailableError                 unavailable
    │   ├── InsufficientMemoryError      insufficient_memory
    │   ├── ShuttingDownError            shutting_down
    │   └── TooManyConnectionsError      too_many_connections
    └── StartupError                     startup_failed
        ├── ConfigError                  invalid_config
        ├── router.instance.AlreadyRunningError  already_running
        └── BindError                    bind_failed
            ├── AddressInUseError        address_in_use
            └── SocketInUseError         socket_in_use
"""

import math
from typing import ClassVar

import msgspec

from backends import errors as backend_errors
from registry import errors as registry_errors


class RouterError(Exception):
    """Base of the gateway's errors.

    Attributes:
        code: Stable identifier that clients may switch on; part of the API.
        param: The request field at fault as a path (`messages[0].role`), or `None`.
        retry_after_s: Seconds after which a retry makes sense, or `None`; becomes the header `Retry-After`.
    """

    code: ClassVar[str] = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequestError(RouterError):
    """A field of the request has a value that cannot be served; the message names the field."""

    code = "invalid_request"

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param=param)


class InvalidJSONError(InvalidRequestError):
    """The body is not one JSON object in UTF-8."""

    code = "invalid_json"


class MissingFieldError(InvalidRequestError):
    """A required field is absent."""

    code = "missing_required_parameter"


class UnknownFieldError(InvalidRequestError):
    """A field that this endpoint does not have."""

    code = "unknown_parameter"


class UnsupportedFieldError(InvalidRequestError):
    """A field that exists in the protocol but that mlxr, or the chosen engine, cannot honour."""

    code = "unsupported_parameter"


class EngineNotAvailableError(InvalidRequestError):
    """The engine that was asked for has no artifact of this model.

    Args:
        model: The model's name.
        engine: The engine that was asked for.
        available: The engines the model does have artifacts for.
        remedy: The command that would add the missing artifact, or `None` when there is none.
    """

    code = "engine_not_available"

    def __init__(self, model: str, engine: str, available: list[str], remedy: str | None = None) -> None:
        has = ", ".join(sorted(available)) or "none"
        hint = "" if remedy is None else f" To add one, run: {remedy}"
        super().__init__(f"The model '{model}' cannot run on '{engine}': it has artifacts for: {has}.{hint}", "model")


class ContextLengthExceededError(InvalidRequestError):
    """The prompt (plus what was asked to be generated) is longer than the context.

    Args:
        message: The worker's; it says "at least" where the prompt was too long to be counted.
        num_prompt_tokens: Tokens of the prompt, or that lower bound.
        context_length: Tokens that the context holds.
        param: The field that carries the prompt.
    """

    code = "context_length_exceeded"

    def __init__(self, message: str, *, num_prompt_tokens: int, context_length: int, param: str) -> None:
        super().__init__(message, param)
        self.num_prompt_tokens = num_prompt_tokens
        self.context_length = context_length


class MalformedRequestError(InvalidRequestError):
    """The HTTP message itself is wrong: target, headers or framing."""

    code = "malformed_http"


class HostNotAllowedError(RouterError):
    """The Host header names a host that this server is not (DNS rebinding)."""

    code = "host_not_allowed"


class OriginNotAllowedError(RouterError):
    """A web page of another origin tried to use the server."""

    code = "origin_not_allowed"


class RouteNotFoundError(RouterError):
    """No such path."""

    code = "route_not_found"


class MethodNotAllowedError(RouterError):
    """The path exists, but not with this method."""

    code = "method_not_allowed"


class RequestTimeoutError(RouterError):
    """The client did not send its request in time."""

    code = "request_timeout"


class RequestTooLargeError(RouterError):
    """The body is larger than the limit."""

    code = "request_too_large"

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The request body is larger than {limit_bytes} bytes. Send less, or raise max_body_bytes in the config."
        )


class URLTooLongError(RouterError):
    """The request target is longer than the limit."""

    code = "url_too_long"


class HeadersTooLargeError(RouterError):
    """The headers are too many or too long."""

    code = "headers_too_large"


class UnsupportedMediaTypeError(RouterError):
    """The body is of a kind that no endpoint reads."""

    code = "unsupported_media_type"


class QueueFullError(RouterError):
    """The queue is at its limit; the request was not accepted.

    Args:
        retry_after_s: Seconds after which the queue will probably have room.
    """

    code = "queue_full"

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(f"The queue is full. Retry in {math.ceil(retry_after_s)} s.", retry_after_s=retry_after_s)


class ClientDisconnectedError(RouterError):
    """The client went away; nobody reads the answer any more."""

    code = "client_disconnected"

    def __init__(self, message: str = "The client closed the connection.") -> None:
        super().__init__(message)


class RequestNotFoundError(RouterError):
    """No request of that id runs or waits: it has ended, or there never was one."""

    code = "request_not_found"

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"No request {request_id!r:.80} runs or waits; GET /v1/mlxr/requests lists those that do.", param="id"
        )


class RequestCancelledError(RouterError):
    """Somebody cancelled the request by its id; its client is told so."""

    code = "request_cancelled"

    def __init__(self, message: str = "The request was cancelled on the server.") -> None:
        super().__init__(message)


class InternalError(RouterError):
    """A defect of the gateway. The message never carries the cause; the log does."""

    code = "internal_error"

    def __init__(self) -> None:
        super().__init__("Internal error of the server; its log has the cause.")


class ModelLoadFailedError(RouterError):
    """The engine refused the model; the message carries the engine's own words."""

    code = "model_load_failed"


class EngineCrashedError(RouterError):
    """The worker process ended while it served this request."""

    code = "engine_crashed"


class EngineTimeoutError(RouterError):
    """The worker did not answer within its deadline and was stopped."""

    code = "engine_timeout"


class DeadlineExceededError(EngineTimeoutError):
    """The request took longer than its own limits allow; the engine goes on with the others."""

    code = "deadline_exceeded"


class UnavailableError(RouterError):
    """The server cannot take this request now; a later one may do."""

    code = "unavailable"


class InsufficientMemoryError(UnavailableError):
    """The model does not fit in the memory that is free.

    Args:
        needed_bytes: Memory the model needs.
        available_bytes: Memory that is free for models.
        message: Replaces the default message, when the caller knows more.
    """

    code = "insufficient_memory"

    def __init__(self, *, needed_bytes: int, available_bytes: int, message: str | None = None) -> None:
        need, have = needed_bytes / 2**20, available_bytes / 2**20
        super().__init__(message or f"The model needs {need:.0f} MiB, but {have:.0f} MiB are free for models.")
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes


class ShuttingDownError(UnavailableError):
    """The server is draining; it takes no new requests. The connection is closed with the answer."""

    code = "shutting_down"

    def __init__(self, message: str = "The server is shutting down.") -> None:
        super().__init__(message)


class TooManyConnectionsError(UnavailableError):
    """The cap on open connections is reached. The connection is closed with the answer."""

    code = "too_many_connections"


class StartupError(RouterError):
    """The server cannot start. Seen by the CLI only: one line, exit status 1."""

    code = "startup_failed"


class ConfigError(StartupError):
    """The config cannot be used; the message names the file and the key's path."""

    code = "invalid_config"


class BindError(StartupError):
    """An address or socket path cannot be listened on."""

    code = "bind_failed"


class AddressInUseError(BindError):
    """Another process listens on the address."""

    code = "address_in_use"


class SocketInUseError(BindError):
    """A server answers on the unix socket, or the path holds something that is not a socket."""

    code = "socket_in_use"


class ErrorRow(msgspec.Struct, frozen=True):
    """How one class of errors leaves the gateway.

    Attributes:
        status: HTTP status.
        type: The `type` of OpenAI's error object. Anthropic's follows from the status.
        closes: Whether the connection ends with this answer.
    """

    status: int
    type: str
    closes: bool = False


_INVALID = "invalid_request_error"
_PERMISSION = "permission_error"
_SERVER = "server_error"
_UNAVAILABLE = "unavailable_error"

# 499 is nginx's "client closed request": nobody receives it, the access log shows it. A request that was cancelled by
# its id has it as well, because clients send a 409 or a 5xx again by themselves (OpenAI's does), and nobody wants that.
ERROR_ROWS: dict[type[Exception], ErrorRow] = {
    InvalidRequestError: ErrorRow(400, _INVALID),
    MalformedRequestError: ErrorRow(400, _INVALID, closes=True),
    HostNotAllowedError: ErrorRow(403, _PERMISSION),
    OriginNotAllowedError: ErrorRow(403, _PERMISSION),
    RouteNotFoundError: ErrorRow(404, _INVALID),
    MethodNotAllowedError: ErrorRow(405, _INVALID),
    RequestTimeoutError: ErrorRow(408, _INVALID, closes=True),
    # Not closed: a client that is still sending would see a reset instead of the answer.
    RequestTooLargeError: ErrorRow(413, _INVALID),
    URLTooLongError: ErrorRow(414, _INVALID, closes=True),
    HeadersTooLargeError: ErrorRow(431, _INVALID, closes=True),
    UnsupportedMediaTypeError: ErrorRow(415, _INVALID),
    QueueFullError: ErrorRow(429, "rate_limit_error"),
    ClientDisconnectedError: ErrorRow(499, _INVALID, closes=True),
    RequestCancelledError: ErrorRow(499, _INVALID),
    RequestNotFoundError: ErrorRow(404, _INVALID),
    InternalError: ErrorRow(500, _SERVER),
    ModelLoadFailedError: ErrorRow(500, _SERVER),
    EngineCrashedError: ErrorRow(502, _SERVER),
    EngineTimeoutError: ErrorRow(504, _SERVER),
    UnavailableError: ErrorRow(503, _UNAVAILABLE),
    ShuttingDownError: ErrorRow(503, _UNAVAILABLE, closes=True),
    TooManyConnectionsError: ErrorRow(503, _UNAVAILABLE, closes=True),
    StartupError: ErrorRow(500, _SERVER),
    backend_errors.FrameError: ErrorRow(502, _SERVER),
    backend_errors.EngineUnavailableError: ErrorRow(500, _SERVER),
    backend_errors.LoadError: ErrorRow(500, _SERVER),
    backend_errors.PromptError: ErrorRow(400, _INVALID),
    backend_errors.TemplateError: ErrorRow(500, _SERVER),
    backend_errors.EngineError: ErrorRow(500, _SERVER),
    registry_errors.ArtifactError: ErrorRow(422, _INVALID),
    registry_errors.InvalidModelNameError: ErrorRow(400, _INVALID),
    registry_errors.ModelNotFoundError: ErrorRow(404, _INVALID),
    registry_errors.ModelExistsError: ErrorRow(409, _INVALID),
    registry_errors.ArtifactConflictError: ErrorRow(409, _INVALID),
    registry_errors.InvalidSettingError: ErrorRow(400, _INVALID),
    registry_errors.PullError: ErrorRow(502, _SERVER),
    registry_errors.InvalidReferenceError: ErrorRow(400, _INVALID),
    registry_errors.NothingToPullError: ErrorRow(422, _INVALID),
    registry_errors.PullConflictError: ErrorRow(409, _INVALID),
    registry_errors.PullNotFoundError: ErrorRow(404, _INVALID),
    registry_errors.PullDiskFullError: ErrorRow(507, _SERVER),
    registry_errors.PullStoreError: ErrorRow(500, _SERVER),
    registry_errors.HubNotFoundError: ErrorRow(404, _INVALID),
    registry_errors.HubAuthError: ErrorRow(403, _INVALID),
    registry_errors.HubGatedError: ErrorRow(403, _INVALID),
    registry_errors.HubBusyError: ErrorRow(503, _UNAVAILABLE),
    registry_errors.HubUnreachableError: ErrorRow(504, _SERVER),
    registry_errors.DatabaseError: ErrorRow(500, _SERVER),
    registry_errors.RegistryBusyError: ErrorRow(503, _UNAVAILABLE),
    registry_errors.RegistryFullError: ErrorRow(507, _SERVER),
}


def row_for(error_class: type[BaseException]) -> ErrorRow | None:
    """Find the row of an error class: its own, or that of its nearest listed ancestor.

    Args:
        error_class: Any exception class.

    Returns:
        The row, or `None` when neither the class nor an ancestor is listed: a defect, answered as `InternalError`.
    """
    for ancestor in error_class.__mro__:
        row = ERROR_ROWS.get(ancestor)
        if row is not None:
            return row
    return None
