"""The Litestar app: routes, error handlers, dependencies. No sockets, no processes."""

from litestar import Litestar
from litestar.di import Provide

from router.http.litestar_errors import litestar_settings
from router.protocols.openapi import ApiDocument
from router.protocols.table import DIALECTS, ENDPOINTS, ROUTES
from router.services import Services


def create_app(services: Services) -> Litestar:
    """Return the app that serves `services`."""
    document = ApiDocument(services.version, ENDPOINTS, DIALECTS)
    return Litestar(
        route_handlers=ROUTES,
        dependencies={
            "endpoints": Provide(lambda: ENDPOINTS, use_cache=True, sync_to_thread=False),
            "services": Provide(lambda: services, use_cache=True, sync_to_thread=False),
            "document": Provide(lambda: document, use_cache=True, sync_to_thread=False),
        },
        openapi_config=None,
        **litestar_settings(max_body_bytes=services.config.server.max_body_bytes, dialects=DIALECTS),
    )
