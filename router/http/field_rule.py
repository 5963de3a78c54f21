"""ASGI middleware: whether what a request brings in vain is left out or refused (`router.http.ignored`)."""

from collections.abc import Callable
from typing import Final

from router.http.asgi import App, Receive, Scope, Send
from router.http.headers import STRICT_HEADER
from router.http.ignored import noting_ignored

_STRICT_NAME: Final = STRICT_HEADER.lower().encode()
_NO: Final = frozenset({"false", "0", "no", "off", ""})


class IgnoredFieldsRule:
    """Passes requests on, each with the rule that holds for it.

    Args:
        is_strict: Whether it is refused where the request does not say.
    """

    def __init__(self, app: App, *, is_strict: Callable[[], bool]) -> None:
        self._app = app
        self._is_strict = is_strict

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] not in {"http", "websocket"}:
            await self._app(scope, receive, send)
            return
        said = next((value for name, value in scope["headers"] if name == _STRICT_NAME), None)
        is_strict = self._is_strict() if said is None else said.decode("latin-1").strip().lower() not in _NO
        with noting_ignored(f"{scope.get('method', 'WebSocket')} {scope['path']}", is_strict=is_strict):
            await self._app(scope, receive, send)
