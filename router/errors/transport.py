"""HTTP itself: routes, methods, sizes, and clients that are late or gone."""

from router.errors.base import RouterError


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


class ClientDisconnectedError(RouterError, code="client_disconnected"):
    """The client went away; nobody reads the answer any more."""

    def __init__(self, message: str = "The client closed the connection.") -> None:
        super().__init__(message)
