"""Routes of Ollama's API that manage models: copy and delete here, the others in modules of their own."""

from typing import Any, Final

from litestar import Request
from litestar.di import NamedDependency
from litestar.types import ASGIApp

from router.http.asgi import BytesResponse
from router.http.body import read_json
from router.protocols.ollama.api import OLLAMA_API
from router.protocols.ollama.models.blobs import has_blob, making_of, put_blob
from router.protocols.ollama.models.create import create_model, name_of_new
from router.protocols.ollama.models.listing import list_loaded, list_models
from router.protocols.ollama.models.names import alias_meant, model_of, names_to_make
from router.protocols.ollama.models.pulls import pull_model, push_model
from router.protocols.ollama.models.schemas import CopyRequest, DeleteRequest
from router.protocols.ollama.models.show import show_model
from router.protocols.ollama.names import model_named
from router.services import Services


@OLLAMA_API.post("/api/copy", body=CopyRequest)
async def copy_model(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Give a model a second name."""
    body = await read_json(request, CopyRequest, limit_bytes=services.config.server.max_body_bytes)
    names = names_to_make(model_of(body.destination, field="destination"))
    source = model_named(services.models, model_of(body.source, field="source"))
    name = await name_of_new(services, names)
    if name != source.name:
        await making_of(services).create_from_model(name, source.name)
        services.models.forget()
    return BytesResponse(b"", status=200, headers=[])


@OLLAMA_API.delete("/api/delete", body=DeleteRequest)
async def delete_model(request: Request[Any, Any, Any], services: NamedDependency[Services]) -> ASGIApp:
    """Remove a model."""
    body = await read_json(request, DeleteRequest, limit_bytes=services.config.server.max_body_bytes)
    wanted = model_of(body.model, body.name)
    model = model_named(services.models, wanted)
    alias = alias_meant(model, wanted)
    if alias is not None:
        await making_of(services).remove_alias(alias)
    else:
        await services.supervisor.stop_model(model.name)
        await making_of(services).remove(model.name)
    services.models.forget()
    return BytesResponse(b"", status=200, headers=[])


MODEL_ROUTES: Final = (
    list_models,
    list_loaded,
    show_model,
    pull_model,
    push_model,
    create_model,
    has_blob,
    put_blob,
    copy_model,
    delete_model,
)
