"""What the gateway can answer instead of a result.

The codes `model_not_found` and `invalid_model_name` are the registry's. Not here: statuses (`router.http.error_table`)
and the bodies that each protocol wants (`router.http.error_response`). This module is light on purpose, so that
commands that do not serve may import it.

    RouterError                          code
    ├── InvalidRequestError              invalid_request
    │   ├── InvalidJSONError             invalid_json
    │   ├── MissingFieldError            missing_required_parameter
    │   ├── UnknownFieldError            unknown_parameter
    │   ├── UnsupportedFieldError        unsupported_parameter
    │   ├── EngineNotAvailableError      engine_not_available
    │   ├── ModelCannotSeeError          model_cannot_see
    │   ├── ContextLengthExceededError   context_length_exceeded
    │   ├── DocumentError                invalid_document
    │   ├── PreviousResponseNotFoundError  previous_response_not_found
    │   ├── ReportCutError               report_cut
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

import math
from collections.abc import Iterable
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


class InvalidRequestError(RouterError, code="invalid_request"):
    """A field of the request has a value that cannot be served; the message names the field."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message, param=param)


class InvalidJSONError(InvalidRequestError, code="invalid_json"):
    """The body is not one JSON object in UTF-8."""


class MissingFieldError(InvalidRequestError, code="missing_required_parameter"):
    """A required field is absent."""


class UnknownFieldError(InvalidRequestError, code="unknown_parameter"):
    """A field that this endpoint does not have."""


class UnsupportedFieldError(InvalidRequestError, code="unsupported_parameter"):
    """A field that exists in the protocol but that mlxr, or the chosen engine, cannot honour."""


class EngineNotAvailableError(InvalidRequestError, code="engine_not_available"):
    """The engine that was asked for has no artifact of this model.

    Args:
        available: The engines the model does have artifacts for.
        remedy: The command that would add the missing artifact, or `None` when there is none.
    """

    def __init__(self, model: str, engine: str, available: list[str], remedy: str | None = None) -> None:
        has = ", ".join(sorted(available)) or "none"
        hint = "" if remedy is None else f" To add one, run: {remedy}"
        super().__init__(f"The model '{model}' cannot run on '{engine}': it has artifacts for: {has}.{hint}", "model")


class ModelCannotSeeError(InvalidRequestError, code="model_cannot_see"):
    """A request has a picture, and what would serve it cannot see.

    Args:
        reference: The model, perhaps with the engine that was set.
        reason: Why not.
        way_out: What would see, or how to get such a model.
        param: The request's field that has the picture.
    """

    def __init__(self, reference: str, reason: str, way_out: str, param: str) -> None:
        super().__init__(f"{param}: the model '{reference}' cannot see pictures: {reason}; {way_out}", param)


class ContextLengthExceededError(InvalidRequestError, code="context_length_exceeded"):
    """The prompt (plus what was asked to be generated) is longer than the context.

    Args:
        message: The worker's; it says "at least" where the prompt was too long to be counted.
        num_prompt_tokens: Tokens of the prompt, or that lower bound.
        context_length: Tokens that the context holds.
    """

    def __init__(self, message: str, *, num_prompt_tokens: int, context_length: int, param: str) -> None:
        super().__init__(message, param)
        self.num_prompt_tokens = num_prompt_tokens
        self.context_length = context_length


class DocumentError(InvalidRequestError, code="invalid_document"):
    """A document cannot be read; the message begins with its name."""


class PreviousResponseNotFoundError(InvalidRequestError, code="previous_response_not_found"):
    """The response that a request goes on from is not kept, or no longer."""

    def __init__(self, response_id: str) -> None:
        super().__init__(
            f"Previous response with id {response_id!r:.80} not found: it was not stored, was deleted, or had to go by "
            "conversations.max_age_s or max_bytes of the config. Send the conversation in input.",
            "previous_response_id",
        )


class ReportCutError(InvalidRequestError, code="report_cut"):
    """A report was not complete after its second try either."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__(
            f"max_tokens: the report was not complete after {num_tokens} tokens; send more if the context has room for "
            "them, or a schema whose texts and lists are bounded (maxLength, maxItems)",
            "max_tokens",
        )


class MalformedRequestError(InvalidRequestError, code="malformed_http"):
    """The HTTP message itself is wrong: target, headers or framing."""


class UnauthorizedError(RouterError, code="invalid_api_key"):
    """The request has no key where one is needed, or one that is not good; nothing more of it was looked at."""


class ForbiddenError(RouterError, code="insufficient_scope"):
    """The key does not allow this.

    Args:
        needed: The scope that does.
        has: That of the key.
    """

    def __init__(self, name: str, *, has: str, needed: str) -> None:
        super().__init__(f"The API key '{name}' has the scope {has}; this needs {needed}.")


class ModelNameNotAllowedError(RouterError, code="model_name_not_allowed"):
    """The key has patterns of models, and what is to be made has a name that none of them knows."""

    def __init__(self, key: str, name: str, patterns: Iterable[str]) -> None:
        super().__init__(
            f"The API key '{key}' may only make and change models named {' or '.join(patterns)}, and {name!r:.140} is "
            "not one of these; choose another name.",
            param="name",
        )


class PeerNotAllowedError(RouterError, code="peer_not_allowed"):
    """Another user of this machine has come to the unix socket."""

    def __init__(self) -> None:
        super().__init__("This socket is for the programs of the user that runs the server.")


class RateLimitedError(RouterError, code="rate_limit_exceeded"):
    """The key has used what it may in a minute."""


class KeyNameError(RouterError, code="invalid_key_name"):
    """What is to be a key's name cannot be one."""


class KeyExistsError(RouterError, code="key_exists"):
    """There is a key of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is a key '{name}' already; choose another name, or `mlxr keys forget {name}` takes it away.",
            param="name",
        )


class TooManyKeysError(RouterError, code="too_many_keys"):
    """There is no room for one more key."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"There are {limit} keys, those that were revoked among them; forget some with `mlxr keys forget NAME`."
        )


class KeyNotFoundError(RouterError, code="key_not_found"):
    """There is no key of that name or id."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no key {name!r:.80}; `mlxr keys list` shows those there are.", param="name")


class SessionNotFoundError(RouterError, code="session_not_found"):
    """There is no session of the page of that id for whoever asks."""

    def __init__(self, session_id: str) -> None:
        super().__init__(f"There is no session {session_id!r:.80}; `mlxr keys sessions` shows those there are.")


class SessionForbiddenError(RouterError, code="session_not_allowed"):
    """What only a key may, or the server's owner: a session of the page does not open others."""

    def __init__(self) -> None:
        super().__init__("A session of the page opens no other; use a key, or `mlxr ui` on the server's machine.")


class HostNotAllowedError(RouterError, code="host_not_allowed"):
    """The Host header names a host that this server is not (DNS rebinding)."""


class OriginNotAllowedError(RouterError, code="origin_not_allowed"):
    """A web page of another origin tried to use the server."""


class RouteNotFoundError(RouterError, code="route_not_found"):
    """No such path."""


class MethodNotAllowedError(RouterError, code="method_not_allowed"):
    """The path exists, but not with this method."""


class NotImplementedHereError(RouterError, code="not_implemented"):
    """A route that the protocol has and that mlxr does nothing for."""


class UpgradeRefusedError(RouterError, code="upgrade_refused"):
    """A WebSocket where there is none; plain HTTP goes on."""


class RequestTimeoutError(RouterError, code="request_timeout"):
    """The client did not send its request in time."""


class RequestTooLargeError(RouterError, code="request_too_large"):
    """The body is larger than the limit."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(
            f"The request body is larger than {limit_bytes} bytes. Send less, or raise max_body_bytes in the config."
        )


class URLTooLongError(RouterError, code="url_too_long"):
    """The request target is longer than the limit."""


class HeadersTooLargeError(RouterError, code="headers_too_large"):
    """The headers are too many or too long."""


class UnsupportedMediaTypeError(RouterError, code="unsupported_media_type"):
    """The body is of a kind that no endpoint reads."""


class QueueFullError(RouterError, code="queue_full"):
    """The queue is at its limit; the request was not accepted.

    Args:
        retry_after_s: Seconds after which the queue will probably have room.
    """

    def __init__(self, *, retry_after_s: float) -> None:
        super().__init__(f"The queue is full. Retry in {math.ceil(retry_after_s)} s.", retry_after_s=retry_after_s)


class ClientDisconnectedError(RouterError, code="client_disconnected"):
    """The client went away; nobody reads the answer any more."""

    def __init__(self, message: str = "The client closed the connection.") -> None:
        super().__init__(message)


class RequestNotFoundError(RouterError, code="request_not_found"):
    """No request of that id runs or waits: it has ended, or there never was one."""

    def __init__(self, request_id: str) -> None:
        super().__init__(
            f"No request {request_id!r:.80} runs or waits; GET /v1/mlxr/requests lists those that do.", param="id"
        )


class RequestCancelledError(RouterError, code="request_cancelled"):
    """Somebody cancelled the request by its id; its client is told so."""

    def __init__(self, message: str = "The request was cancelled on the server.") -> None:
        super().__init__(message)


class InternalError(RouterError, code="internal_error"):
    """A defect of the gateway. The message never carries the cause; the log does."""

    def __init__(self) -> None:
        super().__init__("Internal error of the server; its log has the cause.")


class ModelLoadFailedError(RouterError, code="model_load_failed"):
    """The engine refused the model; the message carries the engine's own words."""


class ModelInUseError(RouterError, code="model_in_use"):
    """The model is loaded and must not go."""

    def __init__(self, model: str, engine: str, drafts_for: str | None = None) -> None:
        loaded, user = (f"is loaded on {engine}", model) if drafts_for is None else ("is loaded", drafts_for)
        why = "" if drafts_for is None else f" to draft for '{drafts_for}'"
        super().__init__(
            f"The model '{model}' {loaded}{why}; unload it first: POST /v1/mlxr/models/stop, or `mlxr stop {user}`.",
            param="model",
        )


class EngineCrashedError(RouterError, code="engine_crashed"):
    """The worker process ended while it served this request."""


class EngineTimeoutError(RouterError, code="engine_timeout"):
    """The worker did not answer within its deadline and was stopped."""


class DeadlineExceededError(EngineTimeoutError, code="deadline_exceeded"):
    """The request took longer than its own limits allow; the engine goes on with the others."""


class UnavailableError(RouterError, code="unavailable"):
    """The server cannot take this request now; a later one may do."""


class InsufficientMemoryError(UnavailableError, code="insufficient_memory"):
    """The model does not fit in the memory that is free, or nothing is loaded while memory is short.

    Args:
        needed_bytes: None = it is not about this model's size.
        message: Replaces the default message, when the caller knows more.
    """

    def __init__(
        self,
        *,
        needed_bytes: int | None = None,
        available_bytes: int | None = None,
        message: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        need, have = (needed_bytes or 0) / 2**20, (available_bytes or 0) / 2**20
        words = message or f"The model needs {need:.0f} MiB, but {have:.0f} MiB are free for models."
        super().__init__(words, retry_after_s=retry_after_s)
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes


class ShuttingDownError(UnavailableError, code="shutting_down"):
    """The server is draining; it takes no new requests. The connection is closed with the answer."""

    def __init__(self, message: str = "The server is shutting down.") -> None:
        super().__init__(message)


class StoreUnavailableError(UnavailableError, code="store_unavailable"):
    """What users stored cannot be read or written now; answers that need nothing stored are given all the same."""


class TooManyConnectionsError(UnavailableError, code="too_many_connections"):
    """The cap on open connections is reached. The connection is closed with the answer."""


class StartupError(RouterError, code="startup_failed"):
    """The server cannot start. Seen by the CLI only: one line, exit status 1."""


class ConfigError(StartupError, code="invalid_config"):
    """The config cannot be used; the message names the file and the key's path."""


class CertificateError(StartupError, code="invalid_certificate"):
    """The certificate of TLS or its key cannot be used; the message names the file and the way out."""


class BindError(StartupError, code="bind_failed"):
    """An address or socket path cannot be listened on."""


class AddressInUseError(BindError, code="address_in_use"):
    """Another process listens on the address."""


class SocketInUseError(BindError, code="socket_in_use"):
    """A server answers on the unix socket, or the path holds something that is not a socket."""


# ---- work that outlives a request -----------------------------------------------------------------------------------


class ResponseNotFoundError(RouterError, code="response_not_found"):
    """No response of that id is kept: it was not stored, was deleted, or there never was one."""

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Response with id {response_id!r:.80} not found.", param="response_id")


class ConversationNotFoundError(RouterError, code="conversation_not_found"):
    """No conversation of that id is kept, or it is another key's."""

    def __init__(self, conversation_id: str) -> None:
        super().__init__(f"Conversation with id {conversation_id!r:.80} not found.", param="conversation")


class ConversationItemNotFoundError(RouterError, code="item_not_found"):
    """A conversation has no item of that id."""

    def __init__(self, conversation_id: str, item_id: str) -> None:
        super().__init__(f"Item with id {item_id!r:.80} not found in conversation {conversation_id!r:.80}.")


class ContextNotFoundError(RouterError, code="context_not_found"):
    """Nothing that was told again of a conversation is kept under that id, or it is another key's."""

    def __init__(self, context_id: str) -> None:
        super().__init__(f"Context with id {context_id!r:.80} not found.", param="context_id")


class ConversationLockedError(RouterError, code="conversation_locked"):
    """What a request goes on from, or is to delete, is still being written."""

    def __init__(self, conversation_id: str, response_id: str) -> None:
        super().__init__(
            f"{response_id} is still being written in conversation {conversation_id!r:.80}: wait for its end, cancel "
            "it, or go on from an earlier item with conversation: {id, after}.",
            param="conversation",
        )


class FileNotFoundHereError(RouterError, code="file_not_found"):
    """No file of that id is kept."""

    def __init__(self, file_id: str, param: str) -> None:
        super().__init__(f"There is no file {file_id!r:.80}; GET /v1/files lists those there are.", param=param)


class FileInUseError(RouterError, code="file_in_use"):
    """A batch that has not ended reads the file."""

    def __init__(self, file_id: str, batch_id: str) -> None:
        super().__init__(f"{file_id} is read by {batch_id}, which has not ended; cancel that first.", param="file_id")


class BatchNotFoundError(RouterError, code="batch_not_found"):
    """There is no batch of that id."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(
            f"There is no batch {batch_id!r:.80}; GET /v1/batches lists those there are.", param="batch_id"
        )


class ConversionError(RouterError, code="conversion_failed"):
    """A model cannot be converted; one sentence with the way out."""


class ConversionNotFoundError(RouterError, code="conversion_not_found"):
    """Nothing is being made of that model."""


class VerificationNotFoundError(RouterError, code="verification_not_found"):
    """Nothing is being verified for whoever asks."""


class BenchError(RouterError, code="invalid_bench"):
    """A benchmark cannot be run as it was asked for, or could not be run to an end."""


class BenchRunningError(BenchError, code="bench_running"):
    """Another benchmark runs: two at once would measure each other."""

    def __init__(self, message: str = "Another benchmark runs on this server; wait for its end.") -> None:
        super().__init__(message)
