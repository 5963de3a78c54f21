"""The list of models, which two protocols ask for by one path: OpenAI's, and Anthropic's by its header."""

from typing import Any

from litestar import Request, get
from litestar.di import NamedDependency
from litestar.params import FromPath
from litestar.types import ASGIApp

from router.http.asgi import json_reply
from router.protocols.anthropic.models import VERSION_HEADER, model_info, model_page
from router.protocols.openai.answer_schemas import ModelList
from router.protocols.openai.model_objects import adapter_object, model_object, model_objects
from router.services import Services

_AnyRequest = Request[Any, Any, Any]


@get("/v1/models")
async def list_models(request: _AnyRequest, services: NamedDependency[Services]) -> ASGIApp:
    """List all models of the registry, in Anthropic's shape for its clients."""
    models = services.models.list()
    if VERSION_HEADER in request.headers:
        return json_reply(model_page(models, request.query_params))
    return json_reply(ModelList([item for model in models for item in model_objects(model)]))


@get("/v1/models/{model_id:path}")
async def get_model(request: _AnyRequest, model_id: FromPath[str], services: NamedDependency[Services]) -> ASGIApp:
    """Describe one model, perhaps with an adapter; names may contain a slash."""
    name, plus, adapter = model_id.removeprefix("/").partition("+")
    model = services.models.get(name)
    listed = adapter_object(model, adapter) if plus else model_object(model)  # an error where there is no such adapter
    if VERSION_HEADER in request.headers:
        return json_reply(model_info(model, adapter if plus else None))
    return json_reply(listed)
