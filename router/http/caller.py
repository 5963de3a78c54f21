"""Who sent a request: the key that it came with, found by the guards before anything else is looked at."""

from typing import Any, Final

import msgspec

from backends.wire.request import Priority
from router.http.asgi import Scope as AsgiScope
from router.keys.scope import Scope

_STATE_KEY: Final = "mlxr_caller"


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        key_id: Stable, what things belong to; None = the owner of a server without keys, or nobody.
        name: For logs, metrics and lists; never a secret.
        scope: What may be asked.
        models: Patterns of names, any of which a model's name must match; None = every model.
        priority: Of all that is asked, whatever the request says; None = as it says.
    """

    key_id: str | None = None
    name: str
    scope: Scope
    models: tuple[str, ...] | None = None
    priority: Priority | None = None


OWNER: Final = Caller(name="owner", scope=Scope.ADMIN)
"""Everybody who reaches a server for which no key was made, and the server itself."""

NOBODY: Final = Caller(name="nobody", scope=Scope.PUBLIC)
"""Whoever has no key where one is needed."""


def caller_of(scope: AsgiScope) -> Caller:
    """Return who sent a request; nobody, where no guard has let it in."""
    state: dict[str, Any] = scope.get("state") or {}
    caller: Caller = state.get(_STATE_KEY, NOBODY)
    return caller


def set_caller(scope: AsgiScope, caller: Caller) -> None:
    """Say who sent a request; copies of the scope that are made later, and the one at hand, know it."""
    scope.setdefault("state", {})[_STATE_KEY] = caller
