"""What may be asked by pages of the server's own only: the guards say whose page asks, routes say what it may.

Any page of this machine may ask models, whatever its port; what is kept, and what changes the server, is not for the
pages of other programs. A request without an origin is no page's.
"""

from typing import Any, Final

from router.errors import OriginNotAllowedError
from router.http.asgi import Scope

_STATE_KEY: Final = "mlxr_is_foreign_page"


def note_origin(scope: Scope, *, is_own: bool) -> None:
    """Say whether the page that sent a request is the server's own, or one that the config names."""
    scope.setdefault("state", {})[_STATE_KEY] = not is_own


def check_own_page(scope: Scope) -> None:
    """Refuse the request of another program's page.

    Raises:
        OriginNotAllowedError: It is one.
    """
    state: dict[str, Any] = scope.get("state") or {}
    if state.get(_STATE_KEY, False):
        raise OriginNotAllowedError(
            "Of web pages, only the server's own may read or change this. Add the page's origin to "
            "server.allowed_origins in the config."
        )
