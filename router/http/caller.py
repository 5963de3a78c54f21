"""Who sent a request: the key that it came with, found by the guards before anything else is looked at.

The one who asks is known by the request's scope, and to everything that runs for it by a context variable, so that no
look-up of a model or of something stored can forget to ask. Not here: keys (`router.keys`).
"""

import contextlib
import enum
import fnmatch
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import msgspec

from backends.wire.request import Priority
from router.errors import ForbiddenError, ModelNameNotAllowedError, UnauthorizedError
from router.http.asgi import Scope as AsgiScope

_STATE_KEY: Final = "mlxr_caller"


class Scope(enum.StrEnum):
    """What an endpoint needs of its caller, and what a key gives."""

    PUBLIC = "public"
    """Nothing: it tells no secrets and changes nothing."""
    KEY = "key"
    """A good key, whatever it allows: to know of itself."""
    METRICS = "metrics"
    """To read the metrics."""
    INFERENCE = "inference"
    """To ask models, and to look at what one has asked."""
    MODELS = "models"
    """To pull, load, make, set and remove models, and to look at the whole server, as well."""
    ADMIN = "admin"
    """Everything: also the server's keys, and what belongs to other keys."""

    def covers(self, needed: "Scope") -> bool:
        """Tell whether whoever has this may do what needs the other."""
        return needed in _COVERED[self]


_COVERED: Final = {
    Scope.PUBLIC: frozenset({Scope.PUBLIC}),
    Scope.KEY: frozenset({Scope.PUBLIC, Scope.KEY}),
    Scope.METRICS: frozenset({Scope.PUBLIC, Scope.KEY, Scope.METRICS}),
    Scope.INFERENCE: frozenset({Scope.PUBLIC, Scope.KEY, Scope.INFERENCE}),
    Scope.MODELS: frozenset({Scope.PUBLIC, Scope.KEY, Scope.METRICS, Scope.INFERENCE, Scope.MODELS}),
    Scope.ADMIN: frozenset(Scope),
}


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks.

    Attributes:
        key_id: Stable, what things belong to; None = the owner of the server, or nobody.
        name: For logs, metrics and lists; never a secret.
        scope: What may be asked.
        models: Patterns of names, any of which a model's name must match; None = every model.
        session_id: The session of the page that it asks by; None = by the key itself.
        priority: Of all that is asked, whatever the request says; None = as it says.
        problem: Why whoever asks is nobody; None for all others.
        is_foreign_page: Whether the page of another program asks (`router.http.origin`).
    """

    key_id: str | None = None
    name: str
    scope: Scope
    models: tuple[str, ...] | None = None
    priority: Priority | None = None
    session_id: str | None = None
    problem: str | None = None
    is_foreign_page: bool = False

    def may_use(self, model: str) -> bool:
        """Tell whether a model of that name may be asked, looked at, made, changed or removed."""
        return self.models is None or is_one_of(model, self.models)

    def check_may_name(self, name: str, known: str | None = None) -> None:
        """Refuse a name for a model that is to be made or changed.

        Args:
            known: Own name of the model that is called so already; None = there is none.

        Raises:
            ModelNameNotAllowedError: The key's patterns do not know it.
        """
        if self.models is not None and not (self.may_use(name) and (known is None or self.may_use(known))):
            raise ModelNameNotAllowedError(self.name, name, self.models)

    def may_see(self, owner: str | None) -> bool:
        """Tell whether something that belongs to a key may be looked at and changed.

        Args:
            owner: Id of the key; None = it belongs to the server's owner.
        """
        return self.scope is Scope.ADMIN or (owner is not None and owner == self.key_id)

    def may_see_any(self, owners: Iterable[str | None]) -> bool:
        """Tell the same of something that several have a part in."""
        return any(map(self.may_see, owners))


def base_name(label: str) -> str:
    """Return a model's name without the adapter that is over it."""
    return label.partition("+")[0]


def is_one_of(model: str, patterns: Iterable[str]) -> bool:
    """Tell whether a model's name matches any of some patterns, without case; `:latest` behind it says nothing."""
    names = {model.lower(), model.lower().removesuffix(":latest")}
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for name in names for pattern in patterns)


OWNER: Final = Caller(name="owner", scope=Scope.ADMIN)
"""Everybody who reaches a server for which no key was made, the command line of its user, and the server itself."""

NOBODY: Final = Caller(
    name="nobody",
    scope=Scope.PUBLIC,
    models=(),
    problem="This server wants an API key; send one of its own as `Authorization: Bearer KEY` or `x-api-key: KEY`.",
)
"""Whoever has no key where one is needed."""

_current: ContextVar[Caller] = ContextVar("caller", default=OWNER)


def caller_of(scope: AsgiScope) -> Caller:
    """Return who sent a request; nobody, where no guard has let it in."""
    state: dict[str, Any] = scope.get("state") or {}
    caller: Caller = state.get(_STATE_KEY, NOBODY)
    return caller


def current_caller() -> Caller:
    """Return for whom the code at hand runs; the owner, where it is the server itself."""
    return _current.get()


def set_caller(scope: AsgiScope, caller: Caller) -> None:
    """Say who sent a request; copies of the scope that are made later, and the one at hand, know it."""
    scope.setdefault("state", {})[_STATE_KEY] = caller


def check_scope(caller: Caller, needed: Scope) -> None:
    """Refuse who may not.

    Raises:
        UnauthorizedError: There is no good key.
        ForbiddenError: The key does not have what is needed.
    """
    if caller.scope.covers(needed):
        return
    if caller.problem is not None:
        raise UnauthorizedError(caller.problem)
    raise ForbiddenError(caller.name, has=caller.scope, needed=needed)


@contextlib.contextmanager
def acting_for(caller: Caller) -> Iterator[None]:
    """Run a block, and the tasks that it starts, for somebody."""
    token = _current.set(caller)
    try:
        yield
    finally:
        _current.reset(token)
