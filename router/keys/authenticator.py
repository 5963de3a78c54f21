"""Who sends a request: by the token of this user's own programs over the unix socket, by a key everywhere."""

from router.config.capability import Capability
from router.http.asgi import Scope, is_over_unix_socket
from router.http.caller import OWNER, Caller
from router.http.credentials import secrets_of
from router.keys.ring import KeyRing


class Authenticator:
    """Says who asks.

    Args:
        capability: Of this user's own programs; None = they need keys as well.
    """

    def __init__(self, ring: KeyRing, capability: Capability | None) -> None:
        self._ring = ring
        self._capability = capability

    def caller(self, scope: Scope) -> Caller:
        """Return who sends a request."""
        secrets = secrets_of(scope["headers"])
        if self._capability is not None and is_over_unix_socket(scope):
            # Over TCP the token opens nothing: whoever listens at an address that was ours would be given it.
            opened = [self._capability.opens(secret) for secret in secrets]
            if any(opened):
                return OWNER
        return self._ring.caller(secrets)
