"""GET /schema: the API's document."""

from litestar.di import NamedDependency
from litestar.types import ASGIApp

from registry.pull.threads import in_thread
from router.http.asgi import json_reply
from router.protocols.control.answer_schemas import OpenAPIDocument
from router.protocols.control.api import MLXR_API
from router.protocols.openapi import ApiDocument


@(MLXR_API.get("/schema", OpenAPIDocument) | MLXR_API.get("/schema/openapi.json", OpenAPIDocument))
async def get_document(document: NamedDependency[ApiDocument]) -> ASGIApp:
    """Describe the API: this document."""
    return json_reply(await in_thread(lambda: document.text))
