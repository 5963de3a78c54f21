"""Who may not do what: keys, sessions of the page, peers, hosts and origins."""

from collections.abc import Iterable

from router.errors.base import RouterError


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
