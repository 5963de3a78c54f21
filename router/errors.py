"""What the gateway can answer instead of a result.

The codes `model_not_found` and `invalid_model_name` are the registry's; what can go wrong with kept work is in
`router.work_errors`. Not here: statuses (`router.http.error_table`) and
the bodies that each protocol wants (`router.http.error_response`). This module is light on purpose, so that commands
that do not serve may import it.

    RouterError                          code
    ├── InvalidRequestError              invalid_request
    │   ├── InvalidJSONError             invalid_json
    │   ├── MissingFieldError            missing_required_parameter
    │   ├── UnknownFieldError            unknown_parameter
    │   ├── UnsupportedFieldError        unsupported_parameter
    │   ├── EngineNotAvailableError      engine_not_available
    │   ├── ContextLengthExceededError   context_length_exceeded
    │   ├── PreviousResponseNotFoundError  previous_response_not_found
    │   └── MalformedRequestError        malformed_http
    ├── HostNotAllowedError              host_not_allowed
    ├── OriginNotAllowedError            origin_not_allowed
    ├── RouteNotFoundError               route_not_found
    ├── MethodNotAllowedError            method_not_allowed
    ├── NotImplementedHereError          not_implemented
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
    ├── ModelInUseError                  model_in_use
    ├── EngineCrashedError               engine_crashed
    ├── EngineTimeoutError               engine_timeout
    │   └── DeadlineExceededError        deadline_exceeded
    ├── UnavailableError                 unavailable
    │   ├── InsufficientMemoryError      insufficient_memory
    │   ├── ShuttingDownError            shutting_down
    │   ├── StoreUnavailableError        store_unavailable
    │   └── TooManyConnectionsError      too_many_connections
    └── StartupError                     startup_failed
        ├── ConfigError                  invalid_config
        ├── router.config.instance.AlreadyRunningError  already_running
        └── BindError                    bind_failed
            ├── AddressInUseError        address_in_use
            └── SocketInUseError         socket_in_use
"""

import math
from typing import ClassVar


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
    """

    code = "context_length_exceeded"

    def __init__(self, message: str, *, num_prompt_tokens: int, context_length: int, param: str) -> None:
        super().__init__(message, param)
        self.num_prompt_tokens = num_prompt_tokens
        self.context_length = context_length


class PreviousResponseNotFoundError(InvalidRequestError):
    """The response that a request goes on from is not kept, or no longer."""

    code = "previous_response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Previous response with id {response_id!r:.80} not found: it was not stored, was deleted, or had to go by "
            "conversations.max_age_s or max_bytes of the config. Send the conversation in input.",
            "previous_response_id",
        )


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


class NotImplementedHereError(RouterError):
    """A route that the protocol has and that mlxr does nothing for."""

    code = "not_implemented"


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


class ModelInUseError(RouterError):
    """The model is loaded and must not go."""

    code = "model_in_use"

    def __init__(self, model: str, engine: str) -> None:
        super().__init__(
            f"The model '{model}' is loaded on {engine}; unload it first: POST /v1/mlxr/models/stop, or "
            f"`mlxr stop {model}`.",
            param="model",
        )


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


class StoreUnavailableError(UnavailableError):
    """What users stored cannot be read or written now; answers that need nothing stored are given all the same."""

    code = "store_unavailable"


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
