"""GET /schema: the API's document, made when somebody asks for it the first time, and kept."""

import msgspec
from litestar import get
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from registry.pull.threads import in_thread
from router.http.asgi import json_reply
from router.services import Services


@get(["/schema", "/schema/openapi.json"])
async def get_document(services: NamedDependency[Services]) -> ASGIApp:
    """Describe all endpoints, in OpenAPI 3.1."""
    if services.document is None:
        services.document = await in_thread(lambda: _document(services.version))
    return json_reply(services.document)


def _document(version: str) -> bytes:
    from router.protocols.endpoints.openapi import api_document  # what is not served needs no time at the start

    return msgspec.json.encode(api_document(version))
