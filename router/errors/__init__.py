"""What the gateway can answer instead of a result.

The codes `model_not_found` and `invalid_model_name` are the registry's. Not here: statuses (`router.http.error_table`)
and the bodies that each protocol wants (`router.http.error_response`). This room is light on purpose, so that
commands that do not serve may import it: by its own name, whichever file a class is in.

    RouterError                          code
    ├── InvalidRequestError              invalid_request
    │   ├── InvalidJSONError             invalid_json
    │   ├── MissingFieldError            missing_required_parameter
    │   ├── UnknownFieldError            unknown_parameter
    │   ├── UnsupportedFieldError        unsupported_parameter
    │   ├── EngineNotAvailableError      engine_not_available
    │   │   └── UpstreamNotAvailableError  upstream_not_available
    │   ├── ModelCannotSeeError          model_cannot_see
    │   ├── ContextLengthExceededError   context_length_exceeded
    │   ├── DocumentError                invalid_document
    │   ├── PreviousResponseNotFoundError  previous_response_not_found
    │   ├── ReportCutError               report_cut
    │   ├── UpstreamRefusedError         upstream_refused
    │   ├── TooManyHopsError             too_many_hops
    │   └── MalformedRequestError        malformed_http
    ├── UnauthorizedError                invalid_api_key
    ├── ForbiddenError                   insufficient_scope
    ├── ModelNameNotAllowedError         model_name_not_allowed
    ├── PeerNotAllowedError              peer_not_allowed
    ├── RateLimitedError                 rate_limit_exceeded
    ├── KeyNameError                     invalid_key_name
    ├── KeyExistsError                   key_exists
    ├── TooManyKeysError                 too_many_keys
    ├── KeyNotFoundError                 key_not_found
    ├── SessionNotFoundError             session_not_found
    ├── SessionForbiddenError            session_not_allowed
    ├── HostNotAllowedError              host_not_allowed
    ├── OriginNotAllowedError            origin_not_allowed
    ├── RouteNotFoundError               route_not_found
    ├── MethodNotAllowedError            method_not_allowed
    ├── NotImplementedHereError          not_implemented
    ├── UpgradeRefusedError              upgrade_refused
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
    │   ├── UpstreamUnreachableError     upstream_unreachable
    │   └── UpstreamBusyError            upstream_busy
    ├── UpstreamError                    upstream_failed
    │   ├── UpstreamKeyError             upstream_key_refused
    │   ├── UpstreamTimeoutError         upstream_timeout
    │   └── UpstreamCeilingError         upstream_ceiling_reached
    ├── EngineTimeoutError               engine_timeout
    │   └── DeadlineExceededError        deadline_exceeded
    ├── UnavailableError                 unavailable
    │   ├── InsufficientMemoryError      insufficient_memory
    │   ├── ShuttingDownError            shutting_down
    │   ├── StoreUnavailableError        store_unavailable
    │   └── TooManyConnectionsError      too_many_connections
    ├── ResponseNotFoundError            response_not_found
    ├── ConversationNotFoundError        conversation_not_found
    ├── ConversationItemNotFoundError    item_not_found
    ├── ConversationLockedError          conversation_locked
    ├── ContextNotFoundError             context_not_found
    ├── FileNotFoundHereError            file_not_found
    ├── FileInUseError                   file_in_use
    ├── BatchNotFoundError               batch_not_found
    ├── ConversionError                  conversion_failed
    ├── ConversionNotFoundError          conversion_not_found
    ├── VerificationNotFoundError        verification_not_found
    ├── BenchError                       invalid_bench
    │   └── BenchRunningError            bench_running
    └── StartupError                     startup_failed
        ├── ConfigError                  invalid_config
        ├── CertificateError             invalid_certificate
        ├── router.config.instance.AlreadyRunningError  already_running
        └── BindError                    bind_failed
            ├── AddressInUseError        address_in_use
            └── SocketInUseError         socket_in_use
"""

from router.errors.access import (
    ForbiddenError,
    HostNotAllowedError,
    KeyExistsError,
    KeyNameError,
    KeyNotFoundError,
    ModelNameNotAllowedError,
    OriginNotAllowedError,
    PeerNotAllowedError,
    RateLimitedError,
    SessionForbiddenError,
    SessionNotFoundError,
    TooManyKeysError,
    UnauthorizedError,
)
from router.errors.base import (
    RouterError,
)
from router.errors.invalid import (
    ContextLengthExceededError,
    DocumentError,
    EngineNotAvailableError,
    InvalidJSONError,
    InvalidRequestError,
    MalformedRequestError,
    MissingFieldError,
    ModelCannotSeeError,
    PreviousResponseNotFoundError,
    ReportCutError,
    UnknownFieldError,
    UnsupportedFieldError,
)
from router.errors.outliving import (
    BatchNotFoundError,
    BenchError,
    BenchRunningError,
    ContextNotFoundError,
    ConversationItemNotFoundError,
    ConversationLockedError,
    ConversationNotFoundError,
    ConversionError,
    ConversionNotFoundError,
    FileInUseError,
    FileNotFoundHereError,
    ResponseNotFoundError,
    VerificationNotFoundError,
)
from router.errors.serving import (
    DeadlineExceededError,
    EngineCrashedError,
    EngineTimeoutError,
    InsufficientMemoryError,
    InternalError,
    ModelInUseError,
    ModelLoadFailedError,
    QueueFullError,
    RequestCancelledError,
    RequestNotFoundError,
    ShuttingDownError,
    StoreUnavailableError,
    TooManyConnectionsError,
    UnavailableError,
)
from router.errors.startup import (
    AddressInUseError,
    BindError,
    CertificateError,
    ConfigError,
    SocketInUseError,
    StartupError,
)
from router.errors.transport import (
    ClientDisconnectedError,
    HeadersTooLargeError,
    MethodNotAllowedError,
    NotImplementedHereError,
    RequestTimeoutError,
    RequestTooLargeError,
    RouteNotFoundError,
    UnsupportedMediaTypeError,
    UpgradeRefusedError,
    URLTooLongError,
)
from router.errors.upstreams import (
    TooManyHopsError,
    UpstreamBusyError,
    UpstreamCeilingError,
    UpstreamError,
    UpstreamKeyError,
    UpstreamNotAvailableError,
    UpstreamRefusedError,
    UpstreamTimeoutError,
    UpstreamUnreachableError,
)

__all__ = [
    "AddressInUseError",
    "BatchNotFoundError",
    "BenchError",
    "BenchRunningError",
    "BindError",
    "CertificateError",
    "ClientDisconnectedError",
    "ConfigError",
    "ContextLengthExceededError",
    "ContextNotFoundError",
    "ConversationItemNotFoundError",
    "ConversationLockedError",
    "ConversationNotFoundError",
    "ConversionError",
    "ConversionNotFoundError",
    "DeadlineExceededError",
    "DocumentError",
    "EngineCrashedError",
    "EngineNotAvailableError",
    "EngineTimeoutError",
    "FileInUseError",
    "FileNotFoundHereError",
    "ForbiddenError",
    "HeadersTooLargeError",
    "HostNotAllowedError",
    "InsufficientMemoryError",
    "InternalError",
    "InvalidJSONError",
    "InvalidRequestError",
    "KeyExistsError",
    "KeyNameError",
    "KeyNotFoundError",
    "MalformedRequestError",
    "MethodNotAllowedError",
    "MissingFieldError",
    "ModelCannotSeeError",
    "ModelInUseError",
    "ModelLoadFailedError",
    "ModelNameNotAllowedError",
    "NotImplementedHereError",
    "OriginNotAllowedError",
    "PeerNotAllowedError",
    "PreviousResponseNotFoundError",
    "QueueFullError",
    "RateLimitedError",
    "ReportCutError",
    "RequestCancelledError",
    "RequestNotFoundError",
    "RequestTimeoutError",
    "RequestTooLargeError",
    "ResponseNotFoundError",
    "RouteNotFoundError",
    "RouterError",
    "SessionForbiddenError",
    "SessionNotFoundError",
    "ShuttingDownError",
    "SocketInUseError",
    "StartupError",
    "StoreUnavailableError",
    "TooManyConnectionsError",
    "TooManyHopsError",
    "TooManyKeysError",
    "URLTooLongError",
    "UnauthorizedError",
    "UnavailableError",
    "UnknownFieldError",
    "UnsupportedFieldError",
    "UnsupportedMediaTypeError",
    "UpgradeRefusedError",
    "UpstreamBusyError",
    "UpstreamCeilingError",
    "UpstreamError",
    "UpstreamKeyError",
    "UpstreamNotAvailableError",
    "UpstreamRefusedError",
    "UpstreamTimeoutError",
    "UpstreamUnreachableError",
    "VerificationNotFoundError",
]
