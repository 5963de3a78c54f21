"""The one table: error class -> HTTP status and type.

It covers the errors of `router.errors`, `backends.errors` and `registry.errors`. A class finds its row by itself or by
its nearest listed ancestor; the three bases have no row, so that a new class cannot slip through unmapped (a test walks
all subclasses).
"""

from typing import Final, Literal

import msgspec

from backends import errors as backend_errors
from registry import errors as registry_errors
from router.errors import (
    BatchNotFoundError,
    BenchError,
    BenchRunningError,
    ClientDisconnectedError,
    ConfigError,
    ContextNotFoundError,
    ConversationItemNotFoundError,
    ConversationLockedError,
    ConversationNotFoundError,
    ConversionError,
    ConversionNotFoundError,
    EngineCrashedError,
    EngineTimeoutError,
    FileInUseError,
    FileNotFoundHereError,
    ForbiddenError,
    HeadersTooLargeError,
    HostNotAllowedError,
    InternalError,
    InvalidRequestError,
    KeyExistsError,
    KeyNameError,
    KeyNotFoundError,
    MalformedRequestError,
    MethodNotAllowedError,
    ModelInUseError,
    ModelLoadFailedError,
    ModelNameNotAllowedError,
    NotImplementedHereError,
    OriginNotAllowedError,
    PeerNotAllowedError,
    QueueFullError,
    RateLimitedError,
    RequestCancelledError,
    RequestNotFoundError,
    RequestTimeoutError,
    RequestTooLargeError,
    ResponseNotFoundError,
    RouteNotFoundError,
    SessionForbiddenError,
    SessionNotFoundError,
    ShuttingDownError,
    StartupError,
    TooManyConnectionsError,
    TooManyKeysError,
    UnauthorizedError,
    UnavailableError,
    UnsupportedMediaTypeError,
    UpgradeRefusedError,
    UpstreamBusyError,
    UpstreamCeilingError,
    UpstreamError,
    UpstreamTimeoutError,
    URLTooLongError,
    VerificationNotFoundError,
)

ErrorType = Literal[
    "invalid_request_error",
    "authentication_error",
    "permission_error",
    "rate_limit_error",
    "server_error",
    "unavailable_error",
]


class ErrorRow(msgspec.Struct, frozen=True):
    """How one class of errors leaves the gateway.

    Attributes:
        type: The `type` of OpenAI's error object. Anthropic's follows from the status.
        closes: Whether the connection ends with this answer.
        challenge: What the client is to send, where it has not said who it is. Source: RFC 9110 section 11.6.1: "A
            server generating a 401 (Unauthorized) response MUST send a WWW-Authenticate header field".
    """

    status: int
    type: ErrorType
    closes: bool = False
    challenge: bytes | None = None


_INVALID: Final = "invalid_request_error"
_PERMISSION: Final = "permission_error"
_SERVER: Final = "server_error"
_UNAVAILABLE: Final = "unavailable_error"

# 499 is nginx's "client closed request": nobody receives it, the access log shows it. A request that was cancelled by
# its id has it as well, because clients send a 409 or a 5xx again by themselves (OpenAI's does), and nobody wants that.
ERROR_ROWS: dict[type[Exception], ErrorRow] = {
    InvalidRequestError: ErrorRow(400, _INVALID),
    MalformedRequestError: ErrorRow(400, _INVALID, closes=True),
    UnauthorizedError: ErrorRow(401, "authentication_error", challenge=b"Bearer"),
    ForbiddenError: ErrorRow(403, _PERMISSION),
    ModelNameNotAllowedError: ErrorRow(403, _PERMISSION),
    PeerNotAllowedError: ErrorRow(403, _PERMISSION, closes=True),
    RateLimitedError: ErrorRow(429, "rate_limit_error"),
    KeyNameError: ErrorRow(400, _INVALID),
    KeyExistsError: ErrorRow(409, _INVALID),
    TooManyKeysError: ErrorRow(409, _INVALID),
    KeyNotFoundError: ErrorRow(404, _INVALID),
    SessionNotFoundError: ErrorRow(404, _INVALID),
    SessionForbiddenError: ErrorRow(403, _PERMISSION),
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
    UpgradeRefusedError: ErrorRow(426, _INVALID, closes=True),
    QueueFullError: ErrorRow(429, "rate_limit_error"),
    ClientDisconnectedError: ErrorRow(499, _INVALID, closes=True),
    RequestCancelledError: ErrorRow(499, _INVALID),
    RequestNotFoundError: ErrorRow(404, _INVALID),
    ResponseNotFoundError: ErrorRow(404, _INVALID),
    ConversationNotFoundError: ErrorRow(404, _INVALID),
    ContextNotFoundError: ErrorRow(404, _INVALID),
    ConversationItemNotFoundError: ErrorRow(404, _INVALID),
    ConversationLockedError: ErrorRow(409, _INVALID),
    FileNotFoundHereError: ErrorRow(404, _INVALID),
    FileInUseError: ErrorRow(409, _INVALID),
    BatchNotFoundError: ErrorRow(404, _INVALID),
    InternalError: ErrorRow(500, _SERVER),
    ModelInUseError: ErrorRow(409, _INVALID),
    ModelLoadFailedError: ErrorRow(500, _SERVER),
    NotImplementedHereError: ErrorRow(501, _SERVER),
    EngineCrashedError: ErrorRow(502, _SERVER),
    UpstreamBusyError: ErrorRow(429, "rate_limit_error"),
    UpstreamError: ErrorRow(502, _SERVER),
    UpstreamTimeoutError: ErrorRow(504, _SERVER),
    UpstreamCeilingError: ErrorRow(429, "rate_limit_error"),
    EngineTimeoutError: ErrorRow(504, _SERVER),
    UnavailableError: ErrorRow(503, _UNAVAILABLE),
    ShuttingDownError: ErrorRow(503, _UNAVAILABLE, closes=True),
    TooManyConnectionsError: ErrorRow(503, _UNAVAILABLE, closes=True),
    ConversionError: ErrorRow(409, _INVALID),
    ConversionNotFoundError: ErrorRow(404, _INVALID),
    VerificationNotFoundError: ErrorRow(404, _INVALID),
    BenchError: ErrorRow(400, _INVALID),
    BenchRunningError: ErrorRow(409, _INVALID),
    ConfigError: ErrorRow(409, _INVALID),
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
    registry_errors.BenchNotFoundError: ErrorRow(404, _INVALID),
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
    registry_errors.HubOfflineError: ErrorRow(403, _INVALID),
    registry_errors.HubBusyError: ErrorRow(503, _UNAVAILABLE),
    registry_errors.HubUnreachableError: ErrorRow(504, _SERVER),
    registry_errors.DatabaseError: ErrorRow(500, _SERVER),
    registry_errors.RegistryBusyError: ErrorRow(503, _UNAVAILABLE),
    registry_errors.RegistryFullError: ErrorRow(507, _SERVER),
}


def row_for(error_class: type[BaseException]) -> ErrorRow | None:
    """Find the row of an error class: its own, or that of its nearest listed ancestor.

    Returns:
        The row, or `None` when neither the class nor an ancestor is listed: a defect, answered as `InternalError`.
    """
    return next((ERROR_ROWS[each] for each in error_class.__mro__ if each in ERROR_ROWS), None)
