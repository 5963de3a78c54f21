"""Who may: every request is judged by the declaration of the very route that it has come to, before its body is read.

What is judged is what is routed, so that no way of writing a path leads around it (CVE-2026-48710), and a route that
declares nothing is the administrator's alone. Not here: who asks (`router.http.guards`).
"""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from router.http.caller import caller_of, check_scope
from router.http.exchange import note_endpoint
from router.http.origin import check_own_page
from router.protocols.endpoint import endpoints_of, scopes_of


def check_access(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Let a request through, or refuse it; a guard of Litestar's.

    Raises:
        UnauthorizedError: It has no good key, and needs one.
        ForbiddenError: Its key does not have what the route needs.
        OriginNotAllowedError: The page of another program has sent it, and the route is none for those.
    """
    _note(handler, connection.scope.get("path_template", ""))
    caller = caller_of(connection.scope)
    for needed in scopes_of(handler):
        check_scope(caller, needed)
    if any(row.is_for_own_pages for row in endpoints_of(handler)):
        check_own_page(caller)


def _note(handler: BaseRouteHandler, path_template: str) -> None:
    """Let logs and metrics know whose endpoint is asked."""
    rows = endpoints_of(handler)
    if rows:
        asked = next((row for row in rows if row.url == path_template), rows[0])
        note_endpoint(asked.api.name, needs_model=asked.use is not None)
